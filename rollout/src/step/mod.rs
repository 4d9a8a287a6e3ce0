//! The state machine: what was seen goes in, the next state and what should be true come out.
//!
//! [`step`] either says what must still be asked ([`Outcome::Ask`]) or decides ([`Outcome::Step`]). It is called
//! again with the answers until it decides, so that asking and deciding cannot drift apart.

mod adopt;
mod analyse;
mod baseline;
mod begin;
mod checks;
pub(crate) mod command;
mod end;
mod evidence;
mod git;
mod idle;
mod initialize;
mod promote;
mod source;
mod undo;

use crds::WaitingFor;
use jiff::Timestamp;

use crate::desired::{Desired, FinalizerAction, PrimaryAction};
use crate::effect::{Effect, Owed};
use crate::evidence as compared;
use crate::log::{self, Logged};
use crate::observation::{Answers, Ask, Memory, Observation, Settings, TargetSeen, Traffic};
use crate::readiness::Readiness;
use crate::reading::HookAnswer;
use crate::spec::{HookKind, Severity, Spec};
use crate::state::{Stage, State};

/// What came of a call of [`step`].
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// These must be asked before anything is decided.
    Ask(Vec<Ask>),
    /// Decided.
    Step(Box<Step>),
}

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// To be written first.
    pub state: State,
    /// To be made true next.
    pub desired: Desired,
    /// To be told last.
    pub effects: Vec<Effect>,
    /// Why nothing moves; empty when something does or nothing has to.
    pub waiting: Vec<WaitingFor>,
    /// When to look again although nothing was seen to change.
    pub wake: Option<Timestamp>,
    /// To be handed in next time.
    pub memory: Memory,
    /// To be added to the records of rollouts, after the status was written.
    pub log: Vec<Logged>,
}

/// All that a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What is asked for.
    pub spec: &'a Spec,
    /// Where the rollout stands.
    pub state: &'a State,
    /// What was seen.
    pub seen: &'a Observation,
    /// What was remembered, unless the process died.
    pub memory: &'a Memory,
    /// What was answered in this pass.
    pub answers: &'a Answers,
    /// The controller's settings.
    pub settings: &'a Settings,
    /// The time.
    pub now: Timestamp,
}

/// Decides, or says what must be asked first.
pub fn step(input: Input<'_>) -> Outcome {
    let mut pass = Pass {
        spec: input.spec,
        seen: input.seen,
        answers: input.answers,
        settings: input.settings,
        now: input.now,
        state: input.state.clone(),
        former: input.state,
        memory: input.memory.clone(),
        effects: Vec::new(),
        waiting: Vec::new(),
        wake: None,
        looked: false,
        planned: None,
    };
    match pass.decide() {
        Err(asks) => Outcome::Ask(asks),
        Ok(desired) => Outcome::Step(Box::new(pass.finish(desired))),
    }
}

/// What an arm of the machine returns: what should be true, or what must be asked first.
type Flow = Result<Desired, Vec<Ask>>;

/// One call of [`step`] under way. What it changes is thrown away when it ends in a question.
struct Pass<'a> {
    spec: &'a Spec,
    seen: &'a Observation,
    answers: &'a Answers,
    settings: &'a Settings,
    now: Timestamp,
    state: State,
    former: &'a State,
    memory: Memory,
    effects: Vec<Effect>,
    waiting: Vec<WaitingFor>,
    wake: Option<Timestamp>,
    /// The canary was looked at.
    looked: bool,
    /// The share that follows by `plan: auto`.
    planned: Option<u8>,
}

impl Pass<'_> {
    fn decide(&mut self) -> Flow {
        let delivered = std::mem::take(&mut self.memory.delivered);
        self.state.owed.retain(|owed| !delivered.contains(owed));
        if self.seen.deleting {
            return self.terminate();
        }
        if !self.seen.problems.is_empty() {
            for (reason, message) in &self.seen.problems {
                self.waiting.push(WaitingFor { reason: reason.clone(), message: message.clone() });
            }
            return Ok(Desired::untouched(&self.state));
        }
        if self.spec.suspend {
            self.wait("Suspended", "spec.suspend is true; set it to false to go on".into());
            return Ok(Desired::untouched(&self.state));
        }
        let Some(target) = &self.seen.target else {
            let mut desired = self.without_target();
            self.with_baseline(&mut desired);
            return Ok(desired);
        };
        if let Some(foreign) = self.state.foreign.take() {
            self.adopt(foreign, target);
        }
        self.match_traffic();
        self.pay_hooks()?;
        self.take_command();
        let rebuild = self.rebuilds_primary(target)?;
        let flow = match self.state.stage.clone() {
            Stage::New | Stage::Initializing => self.initialize(target),
            Stage::Initialized | Stage::Succeeded | Stage::Failed { .. } => self.idle(target),
            Stage::Waiting { weight } => self.waiting_for_rollout(weight, target),
            Stage::Progressing(run) | Stage::WaitingPromotion(run) => self.analyse(run, target),
            Stage::Promoting { weight } => self.promote(weight, target),
            Stage::Finalising { reverted } => self.finalise(reverted, target),
            // The Canary was not deleted after all, or made anew from a backup: start over.
            Stage::Terminating | Stage::Terminated => {
                self.enter(Stage::Initializing);
                self.initialize(target)
            }
        };
        let mut desired = Desired { finalizer: self.finalizer(), ..flow? };
        if rebuild && desired.primary == PrimaryAction::Keep {
            desired.primary = PrimaryAction::Rebuild;
        }
        self.with_baseline(&mut desired);
        Ok(desired)
    }

    fn finish(mut self, mut desired: Desired) -> Step {
        self.memory.looked = true;
        if let Some(target) = &self.seen.target {
            self.attribute(target);
            self.remember_commit();
        }
        self.follow_git(&mut desired);
        for owed in &self.state.owed {
            match owed {
                Owed::Alert { .. } => self.effects.push(Effect::Deliver(owed.clone())),
                Owed::ScaleDown | Owed::PostRollout => {}
            }
        }
        // Looks again to take note of the delivery, or to try it once more.
        if self.state.owed.iter().any(|owed| matches!(owed, Owed::Alert { .. })) {
            self.wake_at(self.after(self.now, self.spec.interval));
        }
        Step {
            log: self.log(),
            state: self.state,
            desired,
            effects: self.effects,
            waiting: self.waiting,
            wake: self.wake,
            memory: self.memory,
        }
    }

    /// What this pass adds to the record of its rollout, and to that of a rollout that ends by another's beginning. Passes
    /// that decide nothing add nothing.
    fn log(&self) -> Vec<Logged> {
        let commanded = self.state.last_command != self.former.last_command;
        let begun = self.state.run != self.former.run;
        if !(self.looked || commanded || begun || self.state.stage != self.former.stage) {
            return Vec::new();
        }
        let told = self.effects.iter().filter_map(|effect| match effect {
            Effect::Event { message, .. } => Some(message.clone()),
            Effect::Ended { .. } | Effect::RevertInGit | Effect::FindRevertInGit | Effect::Deliver(_) => None,
        });
        let asked = self.answers.metrics.iter().flatten().filter(|_| self.looked);
        let gathered = self.answers.gathered.iter().flatten().filter(|_| self.looked);
        let entry = crds::RunEntry {
            looked: self.looked,
            command: self.state.last_command.clone().filter(|_| commanded),
            hooks: log::hooks(self.answers),
            samples: asked.clone().map(log::sample).chain(gathered.clone().map(compared::sample)).collect(),
            waiting_for: self.waiting.first().cloned(),
            // What the decision rested on, not what it came to.
            former_traffic_time: self.former.former_traffic,
            unavailable_since: self.former.unavailable_since,
            ..log::entry(&self.state, self.now, told)
        };
        let queries = asked.map(|measured| measured.query.clone());
        let queries: Vec<_> = queries.chain(gathered.map(|gathered| gathered.query.clone())).collect();
        let under_way = self.former.stage.run().is_some();
        let former = self.former.run.clone().filter(|_| begun && under_way);
        let runs = former.into_iter().chain(self.state.run.clone());
        runs.map(|run| Logged { run, entry: entry.clone(), queries: queries.clone() }).collect()
    }

    fn finalizer(&self) -> FinalizerAction {
        // Who is held must be let go before the Canary is.
        match (self.spec.revert_on_deletion || self.holds(), self.seen.finalizer) {
            (true, false) => FinalizerAction::Add,
            (false, true) => FinalizerAction::Remove,
            (true, true) | (false, false) => FinalizerAction::Keep,
        }
    }

    /// Notes since when the routes express what the state wants. After a restart, and when another controller has moved
    /// them, the time of the last transition stands in, because the routes were written right after it.
    fn match_traffic(&mut self) {
        let wanted = Traffic::Split { weight: self.state.stage.weight(), mirrored: self.state.stage.mirrored() };
        if self.seen.traffic == wanted {
            let by_another = self.memory.matched.as_ref().is_some_and(|matched| *matched != wanted);
            if by_another {
                self.memory.matched_since = None;
            }
            self.memory.matched = Some(wanted);
            let stands = !self.memory.looked || by_another;
            let known = stands && !matches!(self.state.stage, Stage::New | Stage::Initializing);
            let since = if known { self.state.since.unwrap_or(self.now) } else { self.now };
            self.memory.matched_since.get_or_insert(since);
            let ready = |target: &TargetSeen| target.readiness == Readiness::Ready;
            // A canary that keeps its traffic is still in part the former one until all of its pods are new.
            let gone = self.state.stage.weight() == 0 || self.seen.target.as_ref().is_some_and(ready);
            if gone && self.loses_traffic() {
                self.state.former_traffic = Some(self.now);
            }
        } else {
            self.memory.matched_since = None;
            self.memory.matched = None;
        }
    }

    /// What was asked, held back and told so far was of another stage, or of another revision at the same.
    fn forget_stage(&mut self) {
        self.memory.asked_at = None;
        self.memory.held = None;
        self.memory.told.clear();
    }

    /// Goes to another stage, or to another weight or iteration of the same.
    fn enter(&mut self, stage: Stage) {
        let moved = stage.weight() != self.state.stage.weight() || stage.mirrored() != self.state.stage.mirrored();
        if moved {
            self.memory.matched_since = None;
            self.memory.matched = None;
        }
        let had_traffic = self.has_traffic();
        if stage != self.state.stage {
            let loses_traffic = self.loses_traffic();
            self.state.since = Some(self.now);
            if loses_traffic {
                self.state.former_traffic = self.state.since;
            }
            self.forget_stage();
        }
        self.state.stage = stage;
        if !self.state.stage.analyses() {
            self.state.baseline = None;
        }
        if had_traffic && !self.has_traffic() {
            self.state.former_traffic = self.state.since;
        }
        self.update_cookies();
    }

    /// The canary is sent requests, or its hooks may have sent some.
    fn has_traffic(&self) -> bool {
        let looked = match &self.state.stage {
            Stage::Progressing(_) | Stage::WaitingPromotion(_) | Stage::Promoting { .. } => {
                self.state.checked_at.is_some()
            }
            Stage::New
            | Stage::Initializing
            | Stage::Initialized
            | Stage::Waiting { .. }
            | Stage::Finalising { .. }
            | Stage::Succeeded
            | Stage::Failed { .. }
            | Stage::Terminating
            | Stage::Terminated => false,
        };
        looked || self.state.stage.weight() > 0
    }

    /// The canary had traffic before this analysis and was not yet seen without.
    fn loses_traffic(&self) -> bool {
        self.state.former_traffic.is_some() && self.state.former_traffic == self.state.since
    }

    /// Cookies live as long as the canary has traffic; then they are remembered once, to be expired.
    fn update_cookies(&mut self) {
        let Some(affinity) = &self.spec.affinity else {
            self.state.cookies = Default::default();
            return;
        };
        if self.state.stage.weight() > 0 {
            if self.state.cookies.canary.is_none() {
                let revision = self.state.applied.as_ref().map_or("", |applied| applied.id.as_str());
                let seed = format!("{}/{revision}/{}", self.seen.uid, self.now);
                self.state.cookies.canary = Some(crate::cookie::make(&affinity.cookie_name, &seed, "canary"));
                self.state.cookies.primary =
                    affinity.primary_cookie_name.as_ref().map(|name| crate::cookie::make(name, &seed, "primary"));
            }
        } else if let Some(cookie) = self.state.cookies.canary.take() {
            self.state.cookies.previous = Some(cookie);
            self.state.cookies.primary = None;
        }
    }

    fn wait(&mut self, reason: &str, message: String) {
        self.waiting.push(WaitingFor { reason: reason.to_owned(), message });
    }

    /// Waits for pods. That they make no progress any more is nothing that would be seen to change, so it is looked for
    /// when their time is up.
    fn wait_for_pods(&mut self, reason: &str, message: String) {
        self.wait(reason, message);
        self.wake_at(self.after(self.now, self.spec.progress_deadline));
    }

    /// Waits and says so as an event, once as long as the words stay the same.
    fn wait_told(&mut self, reason: &str, message: String) {
        if !self.memory.told.contains(&message) {
            self.memory.told = vec![message.clone()];
            self.event(true, message.clone());
        }
        self.wait(reason, message);
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn event(&mut self, warning: bool, message: String) {
        self.effects.push(Effect::Event { warning, message });
    }

    fn alert(&mut self, severity: Severity, fields: bool, message: String) {
        let heard = self.settings.global_notifier || self.spec.alerts.iter().any(|alert| alert.severity <= severity);
        let owed = Owed::Alert { severity, fields, message };
        if heard && !self.state.owed.contains(&owed) {
            self.state.owed.push(owed);
        }
    }

    fn owe(&mut self, owed: Owed) {
        if !self.state.owed.contains(&owed) {
            self.state.owed.push(owed);
        }
    }

    fn has_hooks(&self, kind: HookKind) -> bool {
        self.spec.webhooks.iter().any(|hook| hook.kind == kind)
    }

    /// Ends the call with a question when one of these was not answered yet.
    fn need(&self, asks: &[Ask]) -> Result<(), Vec<Ask>> {
        let open: Vec<Ask> = asks
            .iter()
            .filter(|ask| match ask {
                Ask::Hooks(kind) => self.has_hooks(*kind) && !self.answers.hooks.contains_key(kind),
                Ask::History => self.answers.history.is_none(),
                Ask::Evidence { .. } => self.answers.gathered.is_none(),
                Ask::Past => self.answers.past.is_none(),
                Ask::Metrics => {
                    self.spec.metrics.iter().any(|metric| self.window_clear_at(metric).is_none())
                        && self.answers.metrics.is_none()
                }
            })
            .cloned()
            .collect();
        if open.is_empty() { Ok(()) } else { Err(open) }
    }

    /// The first hook of the kind that did not answer yes, with its reason.
    fn refusal(&self, kind: HookKind) -> Option<(&str, &str)> {
        self.answers.hooks.get(&kind)?.iter().find_map(|(name, answer)| match answer {
            HookAnswer::Yes => None,
            HookAnswer::No(reason) | HookAnswer::Failed(reason) => Some((name.as_str(), reason.as_str())),
        })
    }

    /// A rollback hook that answered yes.
    fn rollback_asked(&self) -> Option<&str> {
        self.answers.hooks.get(&HookKind::Rollback)?.iter().find_map(|(name, answer)| match answer {
            HookAnswer::Yes => Some(name.as_str()),
            HookAnswer::No(_) | HookAnswer::Failed(_) => None,
        })
    }

    fn tell_passed(&mut self, kind: HookKind) {
        let title = match kind {
            HookKind::ConfirmRollout => "Confirm-rollout",
            HookKind::PreRollout => "Pre-rollout",
            HookKind::ConfirmTrafficIncrease => "Confirm-traffic-increase",
            HookKind::ConfirmPromotion => "Confirm-promotion",
            HookKind::PostRollout => "Post-rollout",
            HookKind::Rollout | HookKind::Rollback | HookKind::Event => return,
        };
        for (name, _) in self.answers.hooks.get(&kind).into_iter().flatten() {
            self.effects.push(Effect::Event { warning: false, message: format!("{title} check {name} passed") });
        }
    }

    /// `name.namespace` of the Canary, as events write it.
    fn canary(&self) -> String {
        format!("{}.{}", self.seen.name, self.seen.namespace)
    }

    /// `name.namespace` of the target, as events write it.
    fn target_name(&self) -> String {
        format!("{}.{}", self.spec.target.name, self.seen.namespace)
    }

    fn after(&self, since: Timestamp, wait: std::time::Duration) -> Timestamp {
        jiff::SignedDuration::try_from(wait)
            .ok()
            .and_then(|wait| since.checked_add(wait).ok())
            .unwrap_or(Timestamp::MAX)
    }

    /// Whether gateways may not know yet of the pods that are ready. They hear of pods by another way than workloads do, and
    /// some stop answering at all when a route leads to a Service that has none.
    fn settles(&mut self, workload: &str) -> bool {
        let since = *self.memory.ready_since.get_or_insert(self.now);
        let settled = self.after(since, self.settings.settle);
        if settled <= self.now {
            return false;
        }
        self.wait("Settling", format!("gateways learn of the pods of {workload}, which are ready"));
        self.wake_at(settled);
        true
    }

    /// When the canary has been without traffic long enough to be scaled down; `None` while it has traffic.
    fn drained_at(&self) -> Option<Timestamp> {
        self.memory.matched_since.map(|since| self.after(since, self.settings.drain))
    }
}
