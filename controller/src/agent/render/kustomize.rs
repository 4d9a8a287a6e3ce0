//! Kustomize: the folder and all that it refers to, rendered by `kustomize build` or `kubectl kustomize`. What it refers
//! to must be in the repository; nothing is fetched from elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

use serde_json::Value;

use super::super::manifest::Manifest;
use super::super::problem::{Problem, Reason};
use super::super::source::Source;
use super::super::upstream::{File, Mode};
use super::plain::{self, leads_out};
use super::program::{Programs, Workplace};
use super::{Loader, parse_yaml};

const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Fields that may name folders, and so other repositories.
const REFERENCES: [&str; 6] = ["resources", "bases", "components", "generators", "transformers", "validators"];

/// The Kustomize file of a folder.
pub fn file_of<'a>(files: &'a [File], folder: &str) -> Option<&'a File> {
    files.iter().find(|file| {
        let name = if folder.is_empty() {
            Some(file.path.as_str())
        } else {
            file.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'))
        };
        file.mode == Mode::File && name.is_some_and(|name| NAMES.contains(&name))
    })
}

/// Renders the folder of the source.
///
/// # Errors
/// When it refers to what is not in the repository, there is no program, or the program refuses.
pub async fn render(
    source: &Source,
    files: Vec<File>,
    loader: &Loader<'_>,
    programs: &Programs,
) -> Result<Vec<Manifest>, Problem> {
    let (program, verb) = match (&programs.kustomize, &programs.kubectl) {
        (Some(kustomize), _) => (kustomize, "build"),
        (None, Some(kubectl)) => (kubectl, "kustomize"),
        (None, None) => {
            let message = "the path holds a kustomization.yaml, and neither kustomize nor kubectl is installed beside Serin: \
                           use an image with one of them, or plain YAML";
            return Err(Problem::new(Reason::RenderFailed, message));
        }
    };
    let files = closure(source, files, loader).await?;
    let folder = if source.path.is_empty() { "." } else { &source.path };
    let spoken = format!("kustomize build {folder}");
    let workplace = Workplace::new(&files)?;
    let arguments = [OsStr::new(verb), OsStr::new(folder)];
    let output = workplace.run(program, &arguments, &spoken, source.timeout).await?;
    plain::read(&spoken, &output)
}

/// The files of the folder and of all folders that it refers to.
async fn closure(source: &Source, files: Vec<File>, loader: &Loader<'_>) -> Result<Vec<File>, Problem> {
    let mut known: BTreeMap<String, File> = files.into_iter().map(|file| (file.path.clone(), file)).collect();
    let mut seen = BTreeSet::new();
    let mut open = vec![source.path.clone()];
    while let Some(folder) = open.pop() {
        if !seen.insert(folder.clone()) {
            continue;
        }
        let here: Vec<File> = NAMES.iter().filter_map(|name| known.get(&join(&folder, name)).cloned()).collect();
        let Some(file) = here.first() else { continue };
        for reference in references(file)? {
            let refused = |why: &str| {
                let message = format!("{} refers to {reference:?}, {why}", file.path);
                Problem::new(Reason::RenderFailed, message)
            };
            let elsewhere = "which is not in this repository: nothing is fetched from elsewhere, so copy it here";
            if is_remote(&reference) {
                return Err(refused(elsewhere));
            }
            let path = resolve(&folder, &reference).ok_or_else(|| refused("which leads out of the repository"))?;
            if known.contains_key(&path) {
                continue;
            }
            let inside =
                |known: &BTreeMap<String, File>| NAMES.iter().any(|name| known.contains_key(&join(&path, name)));
            if !inside(&known) {
                let loaded = loader(path.clone()).await;
                let loaded = loaded
                    .map_err(|problem| if problem.reason == Reason::NotFound { refused(elsewhere) } else { problem })?;
                known.extend(loaded.into_iter().map(|file| (file.path.clone(), file)));
                if !inside(&known) {
                    return Err(refused(
                        "which is neither a file nor a folder with a kustomization.yaml of this repository",
                    ));
                }
            }
            open.push(path);
        }
    }
    if let Some(link) = known.values().find(|file| file.mode == Mode::Link && leads_out(&file.path, &file.bytes)) {
        let message = format!("{} is a symbolic link that leads out of the repository: take it out", link.path);
        return Err(Problem::new(Reason::NotFollowed, message));
    }
    Ok(known.into_values().collect())
}

/// What a Kustomize file refers to that may be a folder.
fn references(file: &File) -> Result<Vec<String>, Problem> {
    let invalid = |why: String| Problem::new(Reason::InvalidManifest, format!("{}: {why}", file.path));
    let text = std::str::from_utf8(&file.bytes).map_err(|_| invalid("it is not UTF-8".into()))?;
    let kustomization = parse_yaml(text).map_err(|(line, why)| invalid(format!("line {line}: {why}")))?;
    if !kustomization["helmCharts"].is_null() || !kustomization["helmChartInflationGenerator"].is_null() {
        return Err(invalid(
            "helmCharts fetches charts, which is not allowed: let spec.path name a chart in the repository".into(),
        ));
    }
    let mut found = Vec::new();
    for field in REFERENCES {
        for entry in kustomization[field].as_array().into_iter().flatten().filter_map(Value::as_str) {
            // Plugins may be written out instead of referred to.
            if !entry.contains('\n') {
                found.push(entry.to_owned());
            }
        }
    }
    Ok(found)
}

fn is_remote(reference: &str) -> bool {
    reference.contains("://")
        || reference.contains('?')
        || reference.split('/').next().is_some_and(|host| host.contains([':', '@']))
}

/// The path from the root of the repository; `None` when it leads above.
fn resolve(folder: &str, reference: &str) -> Option<String> {
    if reference.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in reference.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
