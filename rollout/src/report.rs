//! The status as it is written: the state, its conditions, and why nothing moves.

use crds::{CanaryCondition, CanaryStatus, Phase, WaitingFor};
use jiff::Timestamp;

use crate::spec::TargetKind;
use crate::state::State;
use crate::step::Step;

/// The reason of what a policy of the cluster refuses, in `waitingFor` and in the `Ready` condition.
pub const POLICY_DENIED: &str = "PolicyDenied";

/// The status to write after a step. Equal to `before` when nothing differs but time.
pub fn status(step: &Step, before: &CanaryStatus, kind: TargetKind, generation: i64, now: Timestamp) -> CanaryStatus {
    let mut status = step.state.to_status();
    status.waiting_for.clone_from(&step.waiting);
    status.observed_generation = Some(generation);
    let ready = ready(&step.state, &step.waiting);
    status.conditions = Some(conditions(before, promoted(status.phase, kind), ready, now));
    status
}

/// True when the two say the same of the rollout, each condition included, and differ only in the words for it: in
/// `waitingFor` and the messages of the conditions.
pub fn differ_in_words_only(before: &CanaryStatus, after: &CanaryStatus) -> bool {
    before != after && without_words(before) == without_words(after)
}

fn without_words(status: &CanaryStatus) -> CanaryStatus {
    let mut status = CanaryStatus { waiting_for: Vec::new(), ..status.clone() };
    for condition in status.conditions.iter_mut().flatten() {
        condition.message = None;
        condition.last_update_time = None;
    }
    status
}

/// The status of a Canary that cannot be understood: as it was, but for the `Ready` condition.
pub fn invalid(before: &CanaryStatus, problems: &[String], generation: i64, now: Timestamp) -> CanaryStatus {
    let mut status = before.clone();
    status.observed_generation = Some(generation);
    let ready = Judged { status: "False", reason: "InvalidSpec".into(), message: problems.join("; ") };
    let kept = before.conditions.iter().flatten().find(|condition| condition.type_ == "Promoted");
    let promoted = Judged {
        status: match kept.map(|condition| condition.status.as_str()) {
            Some("True") => "True",
            Some("False") => "False",
            Some(_) | None => "Unknown",
        },
        reason: kept.and_then(|condition| condition.reason.clone()).unwrap_or_else(|| "InvalidSpec".into()),
        message: kept
            .and_then(|condition| condition.message.clone())
            .unwrap_or_else(|| "The Canary cannot be understood.".into()),
    };
    status.waiting_for =
        problems.iter().map(|problem| WaitingFor { reason: "InvalidSpec".into(), message: problem.clone() }).collect();
    status.conditions = Some(conditions(before, promoted, ready, now));
    status
}

/// What is told of the template that a Canary is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The Canary is as the template says; with the template's kind and name.
    Current(String),
    /// The Canary is as the template once said.
    Left {
        /// One word for programs.
        reason: String,
        /// Why, for people.
        message: String,
    },
}

/// Adds to the status what is known of the template, as the condition `FromTemplate`.
pub fn add_origin(status: &mut CanaryStatus, before: &CanaryStatus, origin: &Origin, now: Timestamp) {
    let judged = match origin {
        Origin::Current(template) => {
            Judged { status: "True", reason: "UpToDate".into(), message: format!("made from {template}") }
        }
        Origin::Left { reason, message } => {
            Judged { status: "False", reason: reason.clone(), message: message.clone() }
        }
    };
    status.conditions.get_or_insert_default().push(condition(before, "FromTemplate", judged, now));
}

struct Judged {
    status: &'static str,
    reason: String,
    message: String,
}

fn conditions(before: &CanaryStatus, promoted: Judged, ready: Judged, now: Timestamp) -> Vec<CanaryCondition> {
    [("Promoted", promoted), ("Ready", ready)]
        .into_iter()
        .map(|(type_, judged)| condition(before, type_, judged, now))
        .collect()
}

fn condition(before: &CanaryStatus, type_: &str, judged: Judged, now: Timestamp) -> CanaryCondition {
    let old = before.conditions.iter().flatten().find(|condition| condition.type_ == type_);
    let same = old.filter(|old| {
        old.status == judged.status
            && old.reason.as_deref() == Some(&judged.reason)
            && old.message.as_deref() == Some(&judged.message)
    });
    if let Some(same) = same {
        return same.clone();
    }
    let kept = old.filter(|old| old.status == judged.status).and_then(|old| old.last_transition_time);
    CanaryCondition {
        type_: type_.into(),
        status: judged.status.into(),
        reason: Some(judged.reason),
        message: Some(judged.message),
        last_update_time: Some(now),
        last_transition_time: Some(kept.unwrap_or(now)),
    }
}

/// Flagger's condition, word for word: other programs match on it.
fn promoted(phase: Phase, kind: TargetKind) -> Judged {
    let kind = kind.as_str();
    let (status, message) = match phase {
        Phase::New | Phase::Initializing | Phase::Terminating | Phase::Terminated => {
            ("Unknown", format!("New {kind} detected, starting initialization."))
        }
        Phase::Initialized => ("True", format!("{kind} initialization completed.")),
        Phase::Waiting | Phase::WaitingPromotion => ("Unknown", "Waiting for approval.".into()),
        Phase::Progressing => ("Unknown", "New revision detected, progressing canary analysis.".into()),
        Phase::Promoting => ("Unknown", "Canary analysis completed, starting primary rolling update.".into()),
        Phase::Finalising => ("Unknown", "Canary analysis completed, routing all traffic to primary.".into()),
        Phase::Succeeded => ("True", "Canary analysis completed successfully, promotion finished.".into()),
        Phase::Failed => ("False", format!("Canary analysis failed, {kind} scaled to zero.")),
    };
    let reason = match phase {
        Phase::New => "Initializing",
        Phase::Initializing
        | Phase::Initialized
        | Phase::Waiting
        | Phase::Progressing
        | Phase::WaitingPromotion
        | Phase::Promoting
        | Phase::Finalising
        | Phase::Succeeded
        | Phase::Failed
        | Phase::Terminating
        | Phase::Terminated => phase.as_str(),
    };
    Judged { status, reason: reason.into(), message }
}

/// For kstatus: True when nothing is under way and the newest revision serves.
fn ready(state: &State, waiting: &[WaitingFor]) -> Judged {
    // Whatever the phase: until the policy or the object changes, nothing goes on.
    if let Some(denied) = waiting.iter().find(|wait| wait.reason == POLICY_DENIED) {
        return Judged { status: "False", reason: denied.reason.clone(), message: denied.message.clone() };
    }
    let why = waiting.first().map(|first| first.message.clone());
    let phase = state.stage.phase();
    let (status, reason, message) = match phase {
        Phase::Initialized | Phase::Succeeded => match waiting.first() {
            None => ("True", phase.as_str().to_owned(), "the primary serves the newest revision".to_owned()),
            Some(first) => ("False", first.reason.clone(), first.message.clone()),
        },
        Phase::Failed => {
            ("False", "Failed".to_owned(), why.unwrap_or_else(|| "the newest revision was taken back".to_owned()))
        }
        Phase::New
        | Phase::Initializing
        | Phase::Waiting
        | Phase::Progressing
        | Phase::WaitingPromotion
        | Phase::Promoting
        | Phase::Finalising
        | Phase::Terminating
        | Phase::Terminated => (
            "False",
            if phase == Phase::New { "Initializing".to_owned() } else { phase.as_str().to_owned() },
            why.unwrap_or_else(|| "a rollout is under way".to_owned()),
        ),
    };
    Judged { status, reason, message }
}
