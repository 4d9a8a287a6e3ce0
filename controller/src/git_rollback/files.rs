//! Which of the files that changed speak of the workload: the others belong to somebody else's change.

use super::Job;

/// A file that changed, as it was with the failed commit and with the good one; `None` where it was not there.
pub(super) struct Changed {
    pub(super) path: String,
    pub(super) failed: Option<String>,
    pub(super) good: Option<String>,
}

/// The paths that speak of the workload or of its images; all of them when none does, as the change then came by a way that
/// is not seen, such as values that a template puts together.
pub(super) fn of_workload(job: &Job, changed: &[Changed]) -> Vec<String> {
    let speaks = |file: &&Changed| [&file.failed, &file.good].into_iter().flatten().any(|text| names(job, text));
    let own: Vec<String> = changed.iter().filter(speaks).map(|file| file.path.clone()).collect();
    if own.is_empty() { changed.iter().map(|file| file.path.clone()).collect() } else { own }
}

fn names(job: &Job, text: &str) -> bool {
    let (kind, name) = &job.target;
    let field = |key: &str, value: &str| {
        text.lines().any(|line| {
            let line = line.trim_start_matches([' ', '-', '{', '"']);
            let rest = line.strip_prefix(key).map(|rest| rest.trim_start_matches('"'));
            let said = rest.and_then(|rest| rest.strip_prefix(':')).map(|rest| rest.split(" #").next().unwrap_or(rest));
            said.is_some_and(|said| said.trim().trim_matches(['"', '\'', ',', '}']) == value)
        })
    };
    let itself = field("kind", kind) && field("name", name);
    itself || job.source.images.iter().any(|image| text.contains(repository(&image.image)))
}

/// Without tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        Some(_) | None => image,
    }
}
