//! The verbs: what can be asked of a rollout, when, and how it is written. Whoever asks – command line, dashboard, Git –
//! asks by three annotations on the Canary, and the answer is in its status.

use crds::Phase;
use serde_json::{Value, json};

use crate::observe::{COMMAND, COMMAND_BY, COMMAND_ID};
use crate::rollout_view::{phase_word, read_status};

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
    /// Go back in Git to what was promoted before.
    Undo,
}

impl Verb {
    /// All there are.
    pub const ALL: [Verb; 7] =
        [Verb::Promote, Verb::PromoteFull, Verb::Pause, Verb::Resume, Verb::Abort, Verb::Retry, Verb::Undo];

    /// The verb of that word in the annotation.
    pub fn of(word: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.as_str() == word)
    }

    /// The word in the annotation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Promote => "promote",
            Verb::PromoteFull => "promote-full",
            Verb::Abort => "abort",
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::Retry => "retry",
            Verb::Undo => "undo",
        }
    }
}

/// The patch (RFC 7386) of the Canary's annotations by which the command is given.
pub fn written(verb: Verb, id: &str, by: &str) -> Value {
    annotations(verb.as_str(), id, by)
}

/// The same for [`Verb::Undo`] to this commit.
pub fn written_undo(commit: &str, id: &str, by: &str) -> Value {
    annotations(&format!("{} {commit}", Verb::Undo.as_str()), id, by)
}

fn annotations(command: &str, id: &str, by: &str) -> Value {
    json!({"metadata": {"annotations": {COMMAND: command, COMMAND_ID: id, COMMAND_BY: by}}})
}

/// Why the command cannot be carried out in the present state, if so.
pub fn refusal(canary: &Value, verb: Verb) -> Option<String> {
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
        Verb::Pause if status.paused => Some(format!("{name} is paused already; resume it to let it go on")),
        Verb::Promote | Verb::PromoteFull | Verb::Abort | Verb::Pause => analysed(),
        Verb::Resume => (!status.paused).then(|| format!("{name} is not paused; it is {phase}")),
        Verb::Retry => (status.phase != Phase::Failed)
            .then(|| format!("nothing to retry: {name} is {phase}; only what has failed can be retried")),
        Verb::Undo => match status.phase {
            Phase::Initialized | Phase::Succeeded | Phase::Failed => {
                let by = status.source.as_ref().and_then(|source| source.applied_by.as_ref());
                by.is_none().then(|| format!("nothing says that the target of {name} comes from Git"))
            }
            Phase::Waiting | Phase::Progressing | Phase::WaitingPromotion => {
                Some(format!("{name} is {phase}; abort the rollout first"))
            }
            Phase::New
            | Phase::Initializing
            | Phase::Promoting
            | Phase::Finalising
            | Phase::Terminating
            | Phase::Terminated => Some(format!("{name} is {phase}; wait until that is over")),
        },
    }
}

/// An id that no other command has, in the shape of a random UUID.
pub fn random_id() -> String {
    let mut bytes = fastrand::u128(..).to_be_bytes();
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
        use Verb::{Abort, Pause, Promote, PromoteFull, Resume, Retry, Undo};
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
            for verb in [Promote, PromoteFull, Abort, Pause, Resume, Retry, Undo] {
                let refused = refusal(&canary(phase, paused), verb);
                assert_eq!(refused.is_none(), allowed.contains(&verb), "{phase} {verb:?}: {refused:?}");
            }
        }
    }

    #[test]
    fn what_comes_from_git_and_stands_still_can_be_undone() {
        let by = json!({"apiVersion": "serin.dev/v1alpha1", "kind": "GitSource", "namespace": "shop", "name": "apps"});
        for (phase, allowed) in
            [("Initialized", true), ("Progressing", false), ("Promoting", false), ("Succeeded", true), ("Failed", true)]
        {
            let mut canary = canary(phase, false);
            canary["status"]["source"] = json!({"appliedBy": by});
            assert_eq!(refusal(&canary, Verb::Undo).is_none(), allowed, "{phase}");
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
