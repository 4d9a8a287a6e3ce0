//! Helm: a chart in the repository, rendered by `helm template`. Its dependencies must be in its `charts` folder.

use std::ffi::{OsStr, OsString};

use super::super::manifest::Manifest;
use super::super::problem::{Problem, Reason};
use super::super::source::Source;
use super::super::upstream::File;
use super::program::{Programs, Workplace};
use super::{Loader, plain};

/// Name of the file with the values of the spec; no tree of Git can have it.
const VALUES: &str = ".git/serin-values.json";

/// Renders the chart of the source.
///
/// # Errors
/// When a file of values is not in the repository, there is no program, or the program refuses.
pub async fn render(
    source: &Source,
    mut files: Vec<File>,
    loader: &Loader<'_>,
    programs: &Programs,
) -> Result<Vec<Manifest>, Problem> {
    let Some(program) = &programs.helm else {
        let message =
            "the path holds a Chart.yaml, and helm is not installed beside Serin: use an image with it, or plain YAML";
        return Err(Problem::new(Reason::RenderFailed, message));
    };
    for path in &source.helm.values_files {
        if files.iter().any(|file| file.path == *path) {
            continue;
        }
        let found = loader(path.clone()).await?;
        if !found.iter().any(|file| file.path == *path) {
            let message = format!("spec.helm.valuesFiles: {path} is not a file of the repository");
            return Err(Problem::new(Reason::NotFound, message));
        }
        files.extend(found);
    }
    let workplace = Workplace::new(&files)?;
    let chart = if source.path.is_empty() { "." } else { &source.path };
    let release = source.helm.release_name.as_deref().unwrap_or(&source.key.name);
    let mut arguments: Vec<OsString> = vec!["template".into(), release.into(), format!("./{chart}").into()];
    arguments.push(format!("--namespace={}", source.namespace).into());
    // Hooks are steps of an installation, and this is none; definitions are objects like others.
    arguments.extend(["--include-crds", "--no-hooks", "--skip-tests"].map(OsString::from));
    for path in &source.helm.values_files {
        arguments.push(format!("--values=./{path}").into());
    }
    if let Some(values) = &source.helm.values {
        let bytes = serde_json::to_vec(values).map_err(|error| Problem::new(Reason::InvalidSpec, error.to_string()))?;
        workplace.write(VALUES, &bytes)?;
        arguments.push(format!("--values=./{VALUES}").into());
    }
    let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    let spoken = format!("helm template {chart}");
    let output = workplace.run(program, &arguments, &spoken, source.timeout).await?;
    plain::read(&spoken, &output)
}
