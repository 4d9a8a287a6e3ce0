//! What the commit and the pull request say: what was taken back, by whom and why, with the evidence.

use super::Job;

/// The trailer by which a revert is known again.
pub(super) fn trailer(job: &Job) -> String {
    let (canary, record) = (&job.canary, &job.record);
    let commit = record.failed_commit.as_deref().unwrap_or_default();
    match (&record.undone_by, &record.good_commit) {
        (Some(_), Some(good)) => format!("Serin-Undo: {}/{}@{commit}..{good}", canary.namespace, canary.name),
        (Some(_), None) | (None, _) => format!("Serin-Rollback: {}/{}@{commit}", canary.namespace, canary.name),
    }
}

/// The branch of a pull request; another Canary or another commit has another one.
pub(super) fn branch(job: &Job) -> String {
    let (canary, record) = (&job.canary, &job.record);
    match (&record.undone_by, &record.good_commit) {
        (Some(_), Some(good)) => {
            format!("serin/undo-{}-{}-{}-{}", short(job), abbreviated(good), canary.namespace, canary.name)
        }
        (Some(_), None) | (None, _) => format!("serin/revert-{}-{}-{}", short(job), canary.namespace, canary.name),
    }
}

/// One line.
pub(super) fn title(job: &Job) -> String {
    let (kind, name) = &job.target;
    match job.serving.as_slice() {
        [image] => format!("Revert {} {name} to {image}", kind.to_lowercase()),
        [] | [_, ..] if job.record.undone_by.is_some() => {
            let good = job.record.good_commit.as_deref().map(abbreviated).unwrap_or_default();
            format!("Revert {} {name} to what commit {good} had", kind.to_lowercase())
        }
        [] | [_, ..] => format!("Revert {} {name}, taken back after commit {}", kind.to_lowercase(), short(job)),
    }
}

/// The whole message of the commit.
pub(super) fn commit(job: &Job, paths: &[String]) -> String {
    format!("{}\n\n{}\n\n{}\n", title(job), account(job, paths), trailer(job))
}

/// What a pull request says, in Markdown; checks stand in a block of their own anyway.
pub(super) fn pull_request(job: &Job, paths: &[String], why: Option<&str>) -> String {
    let why =
        why.map(|why| format!("\n\nIt is a pull request because it could not be pushed: {why}")).unwrap_or_default();
    format!("{}{why}\n\n`{}`\n", account(job, paths), trailer(job))
}

fn account(job: &Job, paths: &[String]) -> String {
    let (canary, record) = (&job.canary, &job.record);
    let images: Vec<&str> = job.source.images.iter().map(|image| image.image.as_str()).collect();
    let what = if images.is_empty() { "The revision".to_owned() } else { images.join(", ") };
    let time = record.since.strftime("%Y-%m-%d %H:%M:%S UTC");
    let mut text = match &record.undone_by {
        Some(by) => {
            format!("{by} asked Serin at {time} to take back {what},\nCanary {}/{}", canary.namespace, canary.name)
        }
        None => format!(
            "{what} was taken back in the cluster by Serin, Canary {}/{}, at\n{time}: {}",
            canary.namespace, canary.name, record.why
        ),
    };
    if record.undone_by.is_none() && !job.checks.is_empty() {
        text.push_str("\n\nThe checks of the last look:\n");
        for check in &job.checks {
            let value = check.value.as_ref().map(|value| format!(" {value}")).unwrap_or_default();
            let threshold =
                check.threshold.as_ref().map(|threshold| format!(", wanted {threshold}")).unwrap_or_default();
            text.push_str(&format!("\n    {}: {}{value}{threshold}", check.name, check.result));
        }
    }
    text.push_str(&format!(
        "\n\nThis reverts what commit {} changed",
        record.failed_commit.as_deref().unwrap_or_default()
    ));
    if let Some(sentence) = job.source.message.as_ref() {
        text.push_str(&format!(" (\"{sentence}\")"));
    }
    if let Some(good) = &record.good_commit {
        text.push_str(&format!(",\nback to what commit {good} had,"));
    }
    text.push_str(" in\n");
    for path in paths {
        text.push_str(&format!("\n    {path}"));
    }
    text
}

fn short(job: &Job) -> &str {
    abbreviated(job.record.failed_commit.as_deref().unwrap_or_default())
}

fn abbreviated(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}
