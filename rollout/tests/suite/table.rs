//! The contract (§2.5 to §2.12) as tables: a state, what is seen and answered; then the next state, what is desired,
//! what is told and what is waited for.

mod adoption;
mod baseline;
mod commands;
mod ends;
mod evidence;
mod gates;
mod git;
mod judging;
mod source;
mod steps;
mod undo;
mod windows;

use rollout::Stage;
use rollout::desired::{Desired, FinalizerAction, PrimaryAction, ScaleAction};

use crate::support::look::Look;

/// What one look must come to.
struct Row {
    name: &'static str,
    look: Look,
    stage: Stage,
    /// As [`desired`] writes it.
    desired: &'static str,
    events: &'static [&'static str],
    /// Reasons, by blanks.
    waiting: &'static str,
}

fn check(rows: Vec<Row>) {
    for row in rows {
        let seen = row.look.go();
        let name = row.name;
        assert_eq!(seen.step.state.stage, row.stage, "{name}: stage");
        assert_eq!(desired(&seen.step.desired), row.desired, "{name}: desired");
        assert_eq!(seen.events(), row.events, "{name}: events");
        assert_eq!(seen.reasons().join(" "), row.waiting, "{name}: waiting");
    }
}

/// The weight, and what else is to be done.
fn desired(desired: &Desired) -> String {
    let mut words = vec![desired.intent.canary_weight.to_string()];
    let mut add = |holds: bool, word: &str| {
        if holds {
            words.push(word.into());
        }
    };
    add(desired.intent.mirrored, "mirrored");
    add(desired.services && !desired.routes, "services");
    add(!desired.services && !desired.routes, "untouched");
    add(!desired.services && desired.routes, "routes");
    add(desired.primary == PrimaryAction::Create, "create");
    add(desired.primary == PrimaryAction::Promote, "promote");
    add(desired.target == ScaleAction::Up, "up");
    add(desired.target == ScaleAction::Down, "down");
    add(desired.revert, "revert");
    add(desired.finalizer == FinalizerAction::Add, "finalizer");
    add(desired.finalizer == FinalizerAction::Remove, "release");
    words.join(" ")
}
