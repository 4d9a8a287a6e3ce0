//! The verbs: a command is written to the Canary as annotations, and the controller's answer is awaited.

use std::pin::pin;
use std::time::Duration;

use crds::{CommandTaken, Phase};
use futures::TryStreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};

use crate::args::Asked;
use crate::cluster::{Cluster, Kind, as_value};
use crate::complaint::Complaint;
use crate::paint::write_out;
use crate::view::{phase_word, read_status};

/// What can be asked of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Open the gate, or take the next step now.
    Promote,
    /// Skip the rest of the analysis.
    PromoteFull,
    /// Take the new revision back.
    Abort,
    /// Hold.
    Pause,
    /// Let go.
    Resume,
    /// Roll out again what was taken back.
    Retry,
}

impl Verb {
    /// The word in the annotation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Promote => "promote",
            Verb::PromoteFull => "promote-full",
            Verb::Abort => "abort",
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::Retry => "retry",
        }
    }
}

/// Gives the command, and prints what came of it.
pub async fn give(cluster: &Cluster, asked: &Asked, verb: Verb) -> Result<(), Complaint> {
    let name = asked.name.as_str();
    let canary = cluster.canary(name).await?;
    if let Some(why) = refusal(&canary, verb) {
        return Err(Complaint::Refused(why));
    }
    let id = random_id();
    let annotations = json!({
        "serin.dev/command": verb.as_str(),
        "serin.dev/command-id": id,
        "serin.dev/command-by": cluster.asker().await,
    });
    cluster.annotate(name, annotations).await?;
    match tokio::time::timeout(Duration::from_secs(asked.timeout), taken(cluster, name, &id)).await {
        Ok(Ok(taken)) if taken.outcome.starts_with("refused") => {
            Err(Complaint::Refused(format!("{name}: {}: {}", taken.command, taken.outcome)))
        }
        Ok(Ok(taken)) => Ok(write_out(&format!("{name}: {}: {}\n", taken.command, taken.outcome))?),
        Ok(Err(complaint)) => Err(complaint),
        Err(_) => Err(Complaint::NotTaken {
            command: verb.as_str(),
            seconds: asked.timeout,
            name: name.to_owned(),
            namespace: cluster.namespace.clone(),
        }),
    }
}

/// Follows the Canary until its status holds the answer to the command of this id.
async fn taken(cluster: &Cluster, name: &str, id: &str) -> Result<CommandTaken, Complaint> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let changes = watcher(cluster.api(Kind::Canary), config).default_backoff().applied_objects();
    let mut changes = pin!(changes);
    loop {
        match changes.try_next().await {
            Ok(Some(object)) => {
                let status = read_status(&as_value(&object, Kind::Canary), &mut Vec::new());
                if let Some(taken) = status.last_command.filter(|taken| taken.id == id) {
                    return Ok(taken);
                }
            }
            Ok(None) => return Err(Complaint::Refused(format!("the watch of canary {name} ended"))),
            Err(watcher::Error::InitialListFailed(failure) | watcher::Error::WatchStartFailed(failure)) => {
                return Err(Complaint::of_api(format!("the command stands, but watching canary {name}"), failure));
            }
            Err(watcher::Error::WatchFailed(_) | watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion) => {
            }
        }
    }
}

/// Why the command cannot be carried out in the present state, if so.
fn refusal(canary: &Value, verb: Verb) -> Option<String> {
    let name = canary["metadata"]["name"].as_str().unwrap_or_default();
    if !canary["metadata"]["deletionTimestamp"].is_null() {
        return Some(format!("{name} is being deleted; it takes no commands any more"));
    }
    if canary["spec"]["suspend"] == true {
        return Some(format!(
            "{name} is suspended: the controller leaves it alone. Set spec.suspend to false where the canary is \
             defined (in Git, if it comes from there), then try again"
        ));
    }
    let status = read_status(canary, &mut Vec::new());
    let phase = phase_word(status.phase);
    let analysed = || match status.phase {
        Phase::Waiting | Phase::Progressing | Phase::WaitingPromotion => None,
        Phase::Promoting | Phase::Finalising => {
            Some(format!("too late to {}: {name} is {phase}, the primary is being updated", verb.as_str()))
        }
        Phase::New
        | Phase::Initializing
        | Phase::Initialized
        | Phase::Succeeded
        | Phase::Failed
        | Phase::Terminating
        | Phase::Terminated => {
            Some(format!("nothing to {}: {name} is {phase}, no analysis is under way", verb.as_str()))
        }
    };
    match verb {
        Verb::Pause if status.paused => Some(format!("{name} is paused already; `serin resume {name}` lets it go on")),
        Verb::Promote | Verb::PromoteFull | Verb::Abort | Verb::Pause => analysed(),
        Verb::Resume => (!status.paused).then(|| format!("{name} is not paused; it is {phase}")),
        Verb::Retry => (status.phase != Phase::Failed)
            .then(|| format!("nothing to retry: {name} is {phase}; only what has failed can be retried")),
    }
}

/// An id that no other command has, in the shape of a random UUID.
fn random_id() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(phase: &str, paused: bool) -> Value {
        json!({"metadata": {"name": "podinfo"}, "spec": {}, "status": {"phase": phase, "paused": paused}})
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_sentence() {
        use Verb::{Abort, Pause, Promote, PromoteFull, Resume, Retry};
        for (phase, paused, allowed) in [
            ("", false, vec![]),
            ("Initializing", false, vec![]),
            ("Initialized", false, vec![]),
            ("Waiting", false, vec![Promote, PromoteFull, Abort, Pause]),
            ("Progressing", false, vec![Promote, PromoteFull, Abort, Pause]),
            ("Progressing", true, vec![Promote, PromoteFull, Abort, Resume]),
            ("WaitingPromotion", false, vec![Promote, PromoteFull, Abort, Pause]),
            ("Promoting", false, vec![]),
            ("Finalising", false, vec![]),
            ("Succeeded", false, vec![]),
            ("Failed", false, vec![Retry]),
        ] {
            for verb in [Promote, PromoteFull, Abort, Pause, Resume, Retry] {
                let refused = refusal(&canary(phase, paused), verb);
                assert_eq!(refused.is_none(), allowed.contains(&verb), "{phase} {verb:?}: {refused:?}");
            }
        }
    }

    #[test]
    fn suspended_and_dying_canaries_take_no_commands() {
        let mut suspended = canary("Progressing", false);
        suspended["spec"]["suspend"] = true.into();
        assert!(refusal(&suspended, Verb::Promote).is_some_and(|why| why.contains("spec.suspend")));
        let mut dying = canary("Progressing", false);
        dying["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert!(refusal(&dying, Verb::Promote).is_some_and(|why| why.contains("being deleted")));
    }

    #[test]
    fn ids_differ_and_look_like_uuids() {
        let id = random_id();
        assert_ne!(id, random_id());
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(id.as_bytes()[14], b'4');
    }
}
