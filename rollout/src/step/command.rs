//! Commands from people: taken once, each with what came of it.

use crds::{CommandTaken, Phase};

use crate::effect::Effect;
use crate::observation::{Command, TargetSeen};
use crate::readiness::Readiness;
use crate::spec::Severity;
use crate::state::{Run, Stage};

use super::Pass;

/// The verbs that a command may ask for.
pub(crate) const VERBS: &[&str] = &["promote", "promote-full", "abort", "pause", "resume", "retry", "undo"];

impl Pass<'_> {
    /// Takes the command that stands on the Canary, unless it was taken before. A command that cannot be carried out
    /// is answered, not kept.
    pub(super) fn take_command(&mut self) {
        let Some(command) = &self.seen.command else { return };
        if self.state.last_command.as_ref().is_some_and(|last| last.id == command.id) {
            return;
        }
        let before = self.effects.len();
        let outcome = self.carry_out(command);
        let by = command.by.clone().unwrap_or_else(|| "someone".into());
        let message = format!("Command {} by {by} on {}: {outcome}", command.verb, self.canary());
        // What it brought about is told after it.
        self.effects.insert(before, Effect::Event { warning: false, message });
        self.state.last_command = Some(CommandTaken {
            id: command.id.clone(),
            command: command.verb.clone(),
            by: command.by.clone(),
            outcome,
            time: self.now,
        });
    }

    fn carry_out(&mut self, command: &Command) -> String {
        let phase = self.state.stage.phase().as_str();
        let by = command.by.as_deref().unwrap_or("someone");
        let (verb, revision) = match command.verb.split_once(' ') {
            Some(("undo", revision)) => ("undo", Some(revision.trim())),
            Some(_) | None => (command.verb.as_str(), None),
        };
        match (verb, self.state.stage.run()) {
            ("pause", Some(_)) => {
                self.state.paused = true;
                "paused".into()
            }
            ("resume", _) if self.state.paused => {
                self.state.paused = false;
                "resumed".into()
            }
            ("resume", _) => "refused: it is not paused".into(),
            ("promote", Some(run)) => self.promote_by_command(run, false),
            ("promote-full", Some(run)) => self.promote_by_command(run, true),
            ("abort", Some(_)) => {
                let event = format!("Rolling back {} aborted by {by}", self.canary());
                self.roll_back(event, Severity::Warn, format!("Rolled back, aborted by {by}"));
                self.waiting.clear();
                "aborted".into()
            }
            ("retry", _) => match (&self.state.stage, &self.seen.target) {
                (Stage::Failed { .. }, Some(target)) => {
                    self.start_by_command(target);
                    "the revision is being rolled out again".into()
                }
                _ => {
                    format!("refused: only a rollout in phase Failed can be tried again, this one is in phase {phase}")
                }
            },
            ("undo", _) => match self.undo(revision, by) {
                Ok(outcome) => outcome,
                Err(why) => format!("refused: {why}"),
            },
            ("promote" | "promote-full" | "pause" | "abort", None) => {
                format!("refused: no analysis is under way, the phase is {phase}")
            }
            (other, _) => format!("refused: unknown command {other:?}; known are {}", VERBS.join(", ")),
        }
    }

    /// The arm of the new stage scales the canary up and says what it waits for.
    fn start_by_command(&mut self, target: &TargetSeen) {
        self.start(target);
        self.waiting.clear();
        self.memory.scaled_up_at = None;
    }

    fn promote_by_command(&mut self, run: Run, full: bool) -> String {
        let Some(target) = &self.seen.target else { return "refused: the target does not exist".into() };
        if matches!(self.state.stage, Stage::Waiting { .. }) {
            self.start_by_command(target);
            return "the rollout was approved".into();
        }
        if self.state.applied.as_ref().is_none_or(|applied| applied.id != target.revision.id) {
            return "refused: a newer revision has just arrived".into();
        }
        match &target.readiness {
            Readiness::Ready => {}
            Readiness::NotYet(why) | Readiness::Stuck(why) => {
                return format!("refused: the canary is not ready: {why}");
            }
            Readiness::ScaledToZero => return "refused: the canary is scaled to zero".into(),
        }
        self.state.paused = false;
        let weight = run.weight;
        if full {
            self.force_promotion(run);
        } else {
            self.force_advance(run);
        }
        let now = self.state.stage.weight();
        if self.state.stage.phase() == Phase::Promoting {
            "the primary is being updated".into()
        } else if now != weight {
            format!("the canary gets {now} % of the traffic")
        } else {
            "the next step began".into()
        }
    }
}
