//! From files to objects: as they stand, or by Kustomize or Helm.

pub mod helm;
pub mod kustomize;
pub mod plain;
pub mod program;

use futures::future::BoxFuture;
use serde_json::Value;

pub use program::Programs;

use super::manifest::Manifest;
use super::problem::Problem;
use super::source::Source;
use super::upstream::{File, Mode};

/// Reads what lies below a path of the commit.
pub type Loader<'a> = dyn Fn(String) -> BoxFuture<'a, Result<Vec<File>, Problem>> + Send + Sync + 'a;

/// Renders the folder of the source.
///
/// # Errors
/// When a file is no manifest, or a program is missing or refuses.
pub async fn render(source: &Source, loader: &Loader<'_>, programs: &Programs) -> Result<Vec<Manifest>, Problem> {
    let files = loader(source.path.clone()).await?;
    let chart = if source.path.is_empty() { "Chart.yaml".to_owned() } else { format!("{}/Chart.yaml", source.path) };
    if kustomize::file_of(&files, &source.path).is_some() {
        kustomize::render(source, files, loader, programs).await
    } else if files.iter().any(|file| file.mode == Mode::File && file.path == chart) {
        helm::render(source, files, loader, programs).await
    } else {
        plain::render(&files, &source.path)
    }
}

/// A document as the tools of Kubernetes read it, or the line and the reason why not.
fn parse_yaml(document: &str) -> Result<Value, (usize, String)> {
    let mut options = serde_saphyr::options! {
        // `defaultMode: 0644` is 420.
        legacy_octal_numbers: true,
    };
    options.with_snippet = false;
    serde_saphyr::from_str_with_options(document, options).map_err(|error| {
        let line = error.location().map_or(1, |location| usize::try_from(location.line()).unwrap_or(1));
        let text = error.to_string();
        (line, text.lines().next().unwrap_or_default().trim().chars().take(300).collect())
    })
}
