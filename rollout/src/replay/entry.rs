//! Entries of a record: what was answered, the state that was left behind, and what a decision would have been written as.

use std::collections::BTreeMap;

use crds::{CanaryRunSpec, CanaryStatus, RunEntry};

use super::Unreadable;
use crate::effect::Effect;
use crate::observation::Answers;
use crate::reading::HookAnswer;
use crate::spec::HookKind;
use crate::state::State;
use crate::step::Step;
use crate::{evidence, log};

/// What a hook would have said that nobody asked.
pub(super) fn unasked(kind: HookKind) -> HookAnswer {
    match kind {
        HookKind::Rollback => HookAnswer::No("it was not asked".into()),
        HookKind::ConfirmRollout
        | HookKind::PreRollout
        | HookKind::Rollout
        | HookKind::ConfirmTrafficIncrease
        | HookKind::ConfirmPromotion
        | HookKind::PostRollout
        | HookKind::Event => HookAnswer::Yes,
    }
}

pub(super) fn known_answers(place: usize, entry: &RunEntry) -> Result<Answers, Unreadable> {
    let mut answers = Answers::default();
    for (index, hook) in entry.hooks.iter().enumerate() {
        let (kind, answer) = log::hook_answer(hook)
            .map_err(|why| Unreadable { place: format!("spec.entries[{place}].hooks[{index}]"), why })?;
        answers.hooks.entry(kind).or_default().push((hook.name.clone(), answer));
    }
    let of_arms = entry.samples.iter().enumerate().filter(|(_, sample)| sample.arm.is_some());
    let gathered = of_arms.map(|(index, sample)| {
        let read = evidence::gathered(sample);
        read.map_err(|why| Unreadable { place: format!("spec.entries[{place}].samples[{index}]"), why })
    });
    answers.gathered = Some(gathered.filter_map(Result::transpose).collect::<Result<_, _>>()?);
    let measured =
        entry.samples.iter().enumerate().filter(|(_, sample)| sample.arm.is_none()).map(|(index, sample)| {
            log::measured(sample)
                .map_err(|why| Unreadable { place: format!("spec.entries[{place}].samples[{index}]"), why })
        });
    answers.metrics = Some(measured.collect::<Result<_, _>>()?);
    Ok(answers)
}

/// The state that an entry left behind.
pub(super) fn state(run: &CanaryRunSpec, entry: &RunEntry) -> State {
    let checked = entry.looked || entry.weight > 0;
    State::from_status(&CanaryStatus {
        phase: entry.phase,
        canary_weight: entry.weight,
        iterations: entry.iterations,
        failed_checks: entry.failed_checks,
        mirrored: entry.mirrored,
        paused: entry.paused,
        applied_revision: Some(run.revision.clone()),
        last_applied_spec: Some(run.revision.clone()),
        tracked_configs: Some(BTreeMap::new()),
        promoted_revision: Some("the former one".into()),
        last_transition_time: Some(entry.time),
        last_check_time: Some(entry.time).filter(|_| checked),
        former_traffic_time: entry.former_traffic_time,
        // But for a gap it is what the decision rested on, and not what it came to.
        unavailable_since: entry.unavailable_since.filter(|_| entry.gap),
        run: Some(String::new()),
        ..CanaryStatus::default()
    })
}

/// The entry as the step would have written it.
pub(super) fn outcome(step: &Step, entry: &RunEntry) -> RunEntry {
    let told = step.effects.iter().filter_map(|effect| match effect {
        Effect::Event { message, .. } => Some(message.clone()),
        Effect::Ended { .. } | Effect::RevertInGit | Effect::FindRevertInGit | Effect::Deliver(_) => None,
    });
    RunEntry {
        resumed: entry.resumed,
        looked: entry.looked,
        command: entry.command.clone(),
        hooks: entry.hooks.clone(),
        waiting_for: step.waiting.first().cloned(),
        ..log::entry(&step.state, entry.time, told)
    }
}

/// What an entry came to, for comparison and for people.
pub(super) fn words(entry: &RunEntry) -> String {
    let RunEntry { phase, weight, iterations, failed_checks, mirrored, paused, .. } = entry;
    let mut words = format!(
        "phase {}, weight {weight}, iterations {iterations}, failed checks {failed_checks}, mirrored {mirrored}, paused \
         {paused}",
        phase.as_str()
    );
    for told in &entry.told {
        words.push_str("; ");
        words.push_str(told);
    }
    words
}
