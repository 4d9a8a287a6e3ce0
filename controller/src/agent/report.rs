//! The status of a GitSource, from what a pass found. No client here.

use crds::{AppliedCommit, CommitAuthor, DriftEntry, GitSource, GitSourceCondition, GitSourceStatus, InventoryEntry};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::health::Health;
use super::plan::{Entry, Inventory};
use super::problem::Problem;
use super::upstream::Commit;

/// Drifted objects that are told.
const MOST_DRIFT: usize = 50;
/// Problems and objects that one message tells of.
const TOLD: usize = 3;
/// Letters of a message.
const LONGEST: usize = 2_000;
/// Letters of the first line of a commit's message.
const SUBJECT: usize = 120;

/// How a pass ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// All of the revision stands.
    Applied,
    /// Nothing is to be done.
    Suspended,
    /// The newest commit was taken back and waits for the next.
    Held(String),
    /// Objects are about to be applied.
    Applying,
    /// Objects are about to be deleted, with the GitSource.
    Deleting,
    /// Not all is as it should be; at least one.
    Problems(Vec<Problem>),
}

/// What a status is made of.
pub struct Findings<'a> {
    /// How the pass ended.
    pub ending: &'a Ending,
    /// Generation that was looked at.
    pub generation: i64,
    /// Revision that was tried.
    pub attempted: Option<String>,
    /// Revision that stands now; `None`: the one before still does.
    pub applied: Option<(String, &'a Commit)>,
    /// What was applied.
    pub inventory: &'a Inventory,
    /// What others have changed, with what they did.
    pub drift: Vec<(String, String)>,
    /// How what was applied is, object by object; empty while that is not known, `None` when it is not watched.
    pub health: Option<Vec<(String, Health)>>,
    /// Why some kinds cannot be watched, and what was kept though it left Git.
    pub notes: Vec<String>,
    /// The request that was answered.
    pub requested_at: Option<String>,
    /// Path of the webhook receiver.
    pub webhook_path: Option<String>,
}

/// The status after a pass.
pub fn status(before: &GitSourceStatus, findings: Findings<'_>, now: Timestamp) -> GitSourceStatus {
    let Findings {
        ending,
        generation,
        attempted,
        applied,
        inventory,
        drift,
        health,
        notes,
        requested_at,
        webhook_path,
    } = findings;
    let (last_applied_revision, commit) = match applied {
        Some((revision, commit)) => (Some(revision), Some(told_commit(commit))),
        None => (before.last_applied_revision.clone(), before.commit.clone()),
    };
    let last_attempted_revision = attempted.or_else(|| before.last_attempted_revision.clone());
    let (ready, reason, message) = match ending {
        Ending::Applied => {
            let revision = last_applied_revision.as_deref().unwrap_or_default();
            let words = std::iter::once(format!("{revision} is applied, {} objects", inventory.len())).chain(notes);
            ("True", "Applied", words.collect::<Vec<_>>().join("; "))
        }
        Ending::Suspended => ("True", "Suspended", "spec.suspend is set, so nothing is done".to_owned()),
        Ending::Held(commit) => {
            let message = format!(
                "commit {commit} was taken back, as serin.dev/hold says, so it is not applied; the next one is"
            );
            ("True", "Held", message)
        }
        Ending::Applying => {
            ("Unknown", "Applying", format!("applying {}", last_attempted_revision.as_deref().unwrap_or_default()))
        }
        Ending::Deleting => ("Unknown", "Deleting", "deleting what was applied".to_owned()),
        Ending::Problems(problems) => {
            let reason = problems.first().map_or("Retrying", |problem| problem.reason.as_str());
            ("False", reason, few(problems.iter().map(ToString::to_string)))
        }
    };
    let mut conditions = vec![condition("Ready", ready, reason, message)];
    match health {
        Some(objects) if !objects.is_empty() => conditions.push(healthy(objects)),
        // Not seen yet, as after a restart: what was known still holds.
        Some(_) => conditions.extend(before.conditions.iter().find(|condition| condition.type_ == "Healthy").cloned()),
        None => {}
    }
    for condition in &mut conditions {
        let old = before.conditions.iter().find(|old| old.type_ == condition.type_);
        let same = old.filter(|old| old.status == condition.status);
        condition.last_transition_time = same.and_then(|old| old.last_transition_time).or(Some(now));
        condition.observed_generation = Some(generation);
        // How many are not ready changes by the second, and is of no matter.
        if condition.type_ == "Healthy"
            && let Some(old) = same.filter(|old| old.reason == condition.reason && old.reason == "Progressing")
        {
            condition.message.clone_from(&old.message);
        }
    }
    let drift = drift.into_iter().take(MOST_DRIFT).map(|(id, what)| DriftEntry { id, what }).collect();
    GitSourceStatus {
        observed_generation: Some(generation),
        conditions,
        last_attempted_revision,
        last_applied_revision,
        commit,
        last_handled_requested_at: requested_at,
        webhook_path,
        inventory: inventory.iter().map(|(id, entry)| told_entry(id, entry)).collect(),
        drift,
    }
}

/// The inventory as a status has it.
pub fn inventory(source: &GitSource) -> Inventory {
    let entries = source.status.iter().flat_map(|status| &status.inventory);
    let read = entries.filter_map(|entry| {
        let id = entry.id.parse().ok()?;
        let InventoryEntry { id: _, v, hash, fields, commit } = entry.clone();
        Some((id, Entry { version: v, hash, fields, commit }))
    });
    read.collect()
}

/// A merge patch from one status to the other; `None` when nothing differs.
pub fn patch(before: &GitSourceStatus, after: &GitSourceStatus) -> Option<Value> {
    let (before, after) = (json!(before), json!(after));
    if before == after {
        return None;
    }
    let mut changed = Map::new();
    for (key, value) in after.as_object().into_iter().flatten() {
        if before.get(key) != Some(value) {
            // A merge would keep fields that the new value has not; lists are replaced anyway.
            if value.is_object() && before[key].is_object() {
                let mut value = value.clone();
                for old in before[key].as_object().into_iter().flat_map(Map::keys) {
                    if value.get(old).is_none() {
                        value[old] = Value::Null;
                    }
                }
                changed.insert(key.clone(), value);
            } else {
                changed.insert(key.clone(), value.clone());
            }
        }
    }
    for key in before.as_object().into_iter().flat_map(Map::keys) {
        if after.get(key).is_none() {
            changed.insert(key.clone(), Value::Null);
        }
    }
    Some(json!({ "status": changed }))
}

fn told_entry(id: &super::manifest::ObjectId, entry: &Entry) -> InventoryEntry {
    // The checksum of a Secret would let anybody who may read the status try passwords.
    let secret = id.group.is_empty() && id.kind == "Secret";
    let hash = if secret { String::new() } else { entry.hash.clone() };
    let Entry { version, hash: _, fields, commit } = entry.clone();
    InventoryEntry { id: id.to_string(), v: version, hash, fields, commit }
}

fn told_commit(commit: &Commit) -> AppliedCommit {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let author = CommitAuthor { name: some(&commit.author_name), mail: some(&commit.author_mail) };
    let subject =
        commit.message.lines().map(str::trim).find(|line| !line.is_empty()).map(|line| shortened(line, SUBJECT));
    AppliedCommit {
        id: commit.id.clone(),
        author: Some(author).filter(|author| *author != CommitAuthor::default()),
        message: subject,
        time: commit.time,
    }
}

fn healthy(objects: Vec<(String, Health)>) -> GitSourceCondition {
    let bad: Vec<String> = objects
        .iter()
        .filter_map(|(name, health)| match health {
            Health::Bad(why) => Some(format!("{name}: {why}")),
            Health::Good | Health::Busy | Health::NotAsked => None,
        })
        .collect();
    if !bad.is_empty() {
        return condition("Healthy", "False", "Degraded", few(bad.into_iter()));
    }
    let busy: Vec<String> =
        objects.into_iter().filter(|(_, health)| *health == Health::Busy).map(|(name, _)| name).collect();
    if busy.is_empty() {
        condition("Healthy", "True", "Healthy", "what was applied works".to_owned())
    } else {
        condition("Healthy", "Unknown", "Progressing", format!("not ready yet: {}", few(busy.into_iter())))
    }
}

fn condition(type_: &str, status: &str, reason: &str, message: String) -> GitSourceCondition {
    GitSourceCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: shortened(&message, LONGEST),
        last_transition_time: None,
        observed_generation: None,
    }
}

fn few(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(TOLD);
    let told: Vec<String> = all.take(TOLD).collect();
    let told = told.join("; ");
    if more == 0 { told } else { format!("{told}; and {more} more") }
}

fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::super::problem::Reason;
    use super::*;

    fn findings<'a>(ending: &'a Ending, inventory: &'a Inventory) -> Findings<'a> {
        Findings {
            ending,
            generation: 1,
            attempted: Some("main@sha1:b".into()),
            applied: None,
            inventory,
            drift: Vec::new(),
            health: None,
            notes: Vec::new(),
            requested_at: None,
            webhook_path: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn times_change_with_the_status_alone_and_equal_statuses_need_no_write() {
        let nothing = Inventory::new();
        let failed = Ending::Problems(vec![Problem::new(Reason::Denied, "no")]);
        let first = status(&GitSourceStatus::default(), findings(&failed, &nothing), at(1));
        let second = status(&first, findings(&failed, &nothing), at(2));
        assert_eq!(patch(&first, &second), None);
        let other = Ending::Problems(vec![Problem::new(Reason::Forbidden, "may not")]);
        let third = status(&second, findings(&other, &nothing), at(3));
        assert_eq!(third.conditions[0].last_transition_time, Some(at(1)));
        assert_eq!(third.conditions[0].reason, "Forbidden");
        let applied = status(&third, findings(&Ending::Applied, &nothing), at(4));
        assert_eq!(applied.conditions[0].last_transition_time, Some(at(4)));
    }

    #[test]
    fn checksums_of_secrets_are_not_told() {
        let entry = Entry { hash: "sum".into(), fields: "f".into(), ..Entry::default() };
        let inventory: Inventory = ["Secret/shop/a", "ConfigMap/shop/a", "Secret.example.com/shop/a"]
            .into_iter()
            .map(|id| (id.parse().unwrap(), entry.clone()))
            .collect();
        let told = status(&GitSourceStatus::default(), findings(&Ending::Applied, &inventory), at(1)).inventory;
        let hashes: Vec<(&str, &str)> = told.iter().map(|entry| (entry.id.as_str(), entry.hash.as_str())).collect();
        assert_eq!(hashes, [("ConfigMap/shop/a", "sum"), ("Secret/shop/a", ""), ("Secret.example.com/shop/a", "sum")]);
    }

    #[test]
    fn a_patch_takes_out_what_is_no_longer_said() {
        let before = GitSourceStatus {
            webhook_path: Some("/hook/x".into()),
            commit: Some(AppliedCommit { id: "a".into(), message: Some("m".into()), ..AppliedCommit::default() }),
            ..GitSourceStatus::default()
        };
        let commit = Some(AppliedCommit { id: "b".into(), ..AppliedCommit::default() });
        let after = GitSourceStatus { commit, ..GitSourceStatus::default() };
        assert_eq!(
            patch(&before, &after),
            Some(json!({ "status": { "webhookPath": null, "commit": { "id": "b", "message": null } } }))
        );
    }

    #[test]
    fn of_many_problems_the_first_are_told() {
        let problems = (0..9).map(|number| Problem::new(Reason::Denied, format!("p{number}"))).collect();
        let ending = Ending::Problems(problems);
        let told = status(&GitSourceStatus::default(), findings(&ending, &Inventory::new()), at(1));
        assert_eq!(told.conditions[0].message, "p0; p1; p2; and 6 more");
    }

    #[test]
    fn health_is_that_of_the_worst() {
        let of = |all: &[Health]| {
            let all = all.iter().enumerate().map(|(number, health)| (number.to_string(), health.clone())).collect();
            healthy(all).reason
        };
        assert_eq!(of(&[Health::Good, Health::NotAsked]), "Healthy");
        assert_eq!(of(&[Health::Good, Health::Busy]), "Progressing");
        assert_eq!(of(&[Health::Busy, Health::Bad("x".into())]), "Degraded");
    }
}
