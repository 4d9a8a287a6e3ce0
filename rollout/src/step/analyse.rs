//! The analysis: hold until the canary serves what is intended, look at each interval, and go on, hold or end.

use jiff::{SignedDuration, Timestamp};

use crate::desired::{Desired, ScaleAction};
use crate::log::run_name;
use crate::observation::{Ask, TargetSeen, Traffic};
use crate::readiness::Readiness;
use crate::spec::{HookKind, Method, Severity, Strategy};
use crate::state::{Run, Stage};

use super::checks::{FORMER_TRAFFIC, Judgement};
use super::evidence::Weighed;
use super::{Flow, Pass};

/// The reason of a closed confirm-traffic-increase gate.
const TRAFFIC_GATE: &str = "ConfirmTrafficIncrease";

/// How far the time told for the next check may be from the true one.
const A_MOMENT: SignedDuration = SignedDuration::from_secs(2);

/// Where an analysis goes after its checks passed.
enum Next {
    Run(Run, String),
    Promote,
}

impl Pass<'_> {
    pub(super) fn analyse(&mut self, run: Run, target: &TargetSeen) -> Flow {
        match &self.state.applied {
            Some(applied) if applied.id == target.revision.id => {}
            Some(_) => return Ok(self.changed_under_way(run, target)),
            None => self.state.applied = Some(target.revision.clone()),
        }
        if !fits(run, &self.spec.strategy) && self.kept_weight(run.weight) == 0 {
            return Ok(self.strategy_changed(target));
        }
        if target.scaled_down {
            return Ok(self.scale_up_again());
        }
        match &target.readiness {
            Readiness::Ready => {}
            Readiness::NotYet(why) => {
                self.memory.ready_since = None;
                if self.state.checked_at.is_none() {
                    // The first look is at pods that served for a whole interval.
                    self.memory.matched_since = None;
                }
                self.wait_for_pods("CanaryNotReady", format!("{} is not ready: {why}", self.spec.target.name));
                return Ok(Desired::steady(&self.state));
            }
            Readiness::ScaledToZero => return Ok(self.scale_up_again()),
            Readiness::Stuck(why) => {
                let event = format!(
                    "Rolling back {} progress deadline exceeded for {}: {why}",
                    self.canary(),
                    self.target_name()
                );
                let alert = format!("Progress deadline exceeded for {}: {why}", self.target_name());
                return Ok(self.roll_back(event, Severity::Error, alert));
            }
        }
        if self.spec.skip_analysis && !self.state.paused {
            self.event(false, format!("Analysis of {} is skipped", self.canary()));
            return Ok(self.start_promotion(run));
        }
        if self.awaits_baseline(run) {
            return Ok(Desired::steady(&self.state));
        }
        if self.seen.traffic != (Traffic::Split { weight: run.weight, mirrored: run.mirrored }) {
            self.wait_for_traffic(run.weight);
            return Ok(Desired::steady(&self.state));
        }
        if let Some(primary) = &self.seen.primary
            && let Readiness::NotYet(why) = &primary.readiness
        {
            self.wait_for_pods("PrimaryNotReady", format!("{} is not ready: {why}", self.spec.primary_name()));
            return Ok(Desired::steady(&self.state));
        }
        if self.state.paused {
            self.wait("Paused", "paused by command; resume to go on".into());
            return Ok(Desired::steady(&self.state));
        }
        if is_fresh(run) && self.state.checked_at.is_none() && self.settles(&self.spec.target.name) {
            return Ok(Desired::steady(&self.state));
        }
        self.look(run)
    }

    /// The target was changed while its former revision was analysed.
    pub(super) fn changed_under_way(&mut self, run: Run, target: &TargetSeen) -> Desired {
        let weight = self.kept_weight(run.weight);
        let promoted = self.state.promoted.as_ref().is_some_and(|promoted| promoted.id == target.revision.id);
        // A promoted revision whose primary broke is no refuge.
        if promoted && weight == 0 {
            self.state.applied = Some(target.revision.clone());
            self.state.paused = false;
            self.enter(Stage::Finalising { reverted: true });
            self.event(
                false,
                format!("Revision of {} is the promoted one again, ending the analysis", self.target_name()),
            );
            self.wait_for_traffic(0);
            return Desired::steady(&self.state);
        }
        self.begin_run(weight, target);
        self.attribute(target);
        let from = self.by_source();
        self.event(false, format!("New revision detected! Restarting analysis for {}{from}", self.target_name()));
        self.wait("AnalysisRestarted", "a newer revision is being analysed from the start".into());
        Desired::steady(&self.state)
    }

    /// Begins an analysis: what the canary was sent so far belongs to another.
    pub(super) fn begin_run(&mut self, weight: u8, target: &TargetSeen) {
        let sent = self.has_traffic() || self.loses_traffic();
        self.state.applied = Some(target.revision.clone());
        self.state.checked_at = None;
        self.state.checks.clear();
        self.state.unavailable_since = None;
        self.state.baseline = None;
        self.forget_stage();
        self.enter(Stage::Progressing(Run { weight, ..Run::default() }));
        self.state.since = Some(self.now);
        self.state.run = Some(run_name(&self.seen.name, &self.seen.uid, &target.revision.id, self.now));
        if sent {
            self.state.former_traffic = self.state.since;
        }
    }

    /// The weight of one strategy can mean all users in another.
    fn strategy_changed(&mut self, target: &TargetSeen) -> Desired {
        self.begin_run(0, target);
        self.event(false, format!("Strategy changed! Restarting analysis for {}", self.target_name()));
        self.wait("AnalysisRestarted", "the strategy was changed, the analysis begins anew".into());
        Desired::steady(&self.state)
    }

    /// Someone scaled the canary to zero in the middle of its analysis: no pods, no verdict. At most once an
    /// interval, so that two parties who disagree do not write in a circle.
    pub(super) fn scale_up_again(&mut self) -> Desired {
        let due = self.memory.scaled_up_at.map_or(self.now, |at| self.after(at, self.spec.interval));
        self.wait("CanaryScalingUp", format!("{} is scaled to zero and is being scaled up", self.spec.target.name));
        if due > self.now {
            self.wake_at(due);
            return Desired::steady(&self.state);
        }
        self.memory.scaled_up_at = Some(self.now);
        self.wake_at(self.after(self.now, self.spec.interval));
        Desired { target: ScaleAction::Up, ..Desired::steady(&self.state) }
    }

    /// Looks when it is time, and acts on what it sees.
    fn look(&mut self, run: Run) -> Flow {
        let fresh = is_fresh(run);
        let matched = self.memory.matched_since.unwrap_or(self.now);
        let base = self.state.checked_at.map_or(matched, |checked| checked.max(matched));
        let first = fresh && self.state.checked_at.is_none();
        let due = if first { self.traffic_from() } else { self.after(base, self.spec.interval) };
        let due = match &self.memory.held {
            Some(held) if held.reason == FORMER_TRAFFIC => due.min(self.windows_clear_at().unwrap_or(self.now)),
            Some(_) | None => due,
        };
        if due > self.now {
            match self.memory.held.clone() {
                Some(held) => self.waiting.push(held),
                None if first => self.hold_traffic(due),
                None => self.soak(run, due),
            }
            self.wake_at(due);
            return Ok(Desired::steady(&self.state));
        }
        // A canary that only waits for its first traffic was checked already.
        let checked = self.memory.held.take().is_some_and(|held| fresh && held.reason == TRAFFIC_GATE);
        if checked {
            self.need(&[Ask::Hooks(HookKind::Rollback)])?;
        } else if fresh {
            self.need(&[Ask::Hooks(HookKind::Rollback), Ask::Hooks(HookKind::PreRollout)])?;
        } else if self.spec.judge.method == Method::Threshold {
            self.need(&[Ask::Hooks(HookKind::Rollback), Ask::Hooks(HookKind::Rollout), Ask::Metrics])?;
        } else {
            self.need(&[Ask::Hooks(HookKind::Rollback), Ask::Hooks(HookKind::Rollout)])?;
            self.need_evidence()?;
        }
        self.looked = true;
        if self.rollback_asked().is_some() {
            return Ok(self.roll_back_by_hook());
        }
        let judged = if checked {
            Judgement::Passed
        } else if fresh {
            if self.state.checked_at.is_none() {
                self.event(false, format!("Starting canary analysis for {}", self.target_name()));
            }
            self.judge_hooks(HookKind::PreRollout)
        } else if self.spec.judge.method == Method::Threshold {
            self.judge()
        } else {
            match self.judge_evidence(run)? {
                Weighed::Judged(judgement) => judgement,
                Weighed::Ended(desired) => {
                    self.state.checked_at = Some(self.now);
                    return Ok(desired);
                }
            }
        };
        match judged {
            Judgement::Undecided => {
                self.state.checked_at = Some(self.now);
                self.memory.held = self.waiting.last().cloned();
                let again = self.after(self.now, self.spec.interval);
                self.wake_at(self.windows_clear_at().map_or(again, |clear| again.min(clear)));
                Ok(Desired::steady(&self.state))
            }
            Judgement::Failed => {
                self.state.checked_at = Some(self.now);
                Ok(self.count_failure(run))
            }
            Judgement::Passed => {
                if fresh && !checked {
                    self.tell_passed(HookKind::PreRollout);
                }
                self.advance(run)
            }
        }
    }

    fn count_failure(&mut self, run: Run) -> Desired {
        let run = Run { failed_checks: run.failed_checks.saturating_add(1), ..run };
        let threshold = self.spec.threshold;
        self.keep_run(run);
        if run.failed_checks >= threshold {
            let event = format!("Rolling back {} failed checks threshold reached {}", self.canary(), run.failed_checks);
            let alert = format!("Failed checks threshold reached {}", run.failed_checks);
            return self.roll_back(event, Severity::Error, alert);
        }
        let due = self.after(self.now, self.spec.interval);
        self.soak(run, due);
        self.wake_at(due);
        Desired::steady(&self.state)
    }

    /// Changes the counters of the run without its stage.
    fn keep_run(&mut self, run: Run) {
        if let Stage::Progressing(under_way) | Stage::WaitingPromotion(under_way) = &mut self.state.stage {
            *under_way = run;
        }
    }

    /// The checks passed: the next step, unless a gate is closed.
    pub(super) fn advance(&mut self, run: Run) -> Flow {
        let next = self.next(run);
        let more_traffic = match &next {
            Next::Run(next, _) => next.weight > run.weight,
            // All users get the revision: the last increase of all.
            Next::Promote => matches!(self.state.stage, Stage::Progressing(_)),
        };
        let gated = more_traffic && matches!(self.spec.strategy, Strategy::Canary { .. });
        if gated && !self.open(HookKind::ConfirmTrafficIncrease)? {
            self.hold_at_gate(HookKind::ConfirmTrafficIncrease);
            return Ok(Desired::steady(&self.state));
        }
        match next {
            Next::Run(next, told) => {
                self.state.checked_at = Some(self.now);
                self.enter(Stage::Progressing(next));
                self.event(false, told);
                self.begin_soak(next);
                Ok(Desired::steady(&self.state))
            }
            Next::Promote => {
                if !self.open(HookKind::ConfirmPromotion)? {
                    self.state.checked_at = Some(self.now);
                    let entered = !matches!(self.state.stage, Stage::WaitingPromotion(_));
                    if entered {
                        self.enter(Stage::WaitingPromotion(run));
                    }
                    self.hold_at_gate(HookKind::ConfirmPromotion);
                    return Ok(Desired::steady(&self.state));
                }
                Ok(self.start_promotion(run))
            }
        }
    }

    /// The next step by command: neither checks nor gates are asked.
    pub(super) fn force_advance(&mut self, run: Run) {
        match self.next(run) {
            Next::Run(next, told) => {
                self.state.checked_at = Some(self.now);
                self.enter(Stage::Progressing(next));
                self.event(false, told);
            }
            Next::Promote => self.force_promotion(run),
        }
    }

    /// Promotion by command.
    pub(super) fn force_promotion(&mut self, run: Run) {
        self.enter(Stage::Promoting { weight: run.weight });
        self.event(false, self.copying());
    }

    fn copying(&self) -> String {
        format!("Copying {} template spec to {}.{}", self.target_name(), self.spec.primary_name(), self.seen.namespace)
    }

    /// Asks the gate; true when it is open or there is none.
    fn open(&mut self, kind: HookKind) -> Result<bool, Vec<Ask>> {
        if !self.has_hooks(kind) {
            return Ok(true);
        }
        self.need(&[Ask::Hooks(kind)])?;
        if self.refusal(kind).is_some() {
            return Ok(false);
        }
        self.tell_passed(kind);
        Ok(true)
    }

    fn hold_at_gate(&mut self, kind: HookKind) {
        self.state.checked_at = Some(self.now);
        let (gate, why) = self.refusal(kind).unwrap_or_default();
        let (gate, why) = (gate.to_owned(), why.to_owned());
        let told = format!("Halt {} advancement waiting for approval {gate}", self.canary());
        let news = !self.memory.told.contains(&told);
        let (reason, alert) = if kind == HookKind::ConfirmPromotion {
            ("ConfirmPromotion", "Canary promotion is waiting for approval.")
        } else {
            (TRAFFIC_GATE, "Canary traffic increase is waiting for approval.")
        };
        if news {
            self.event(true, told.clone());
            self.memory.told = vec![told];
            if !self.gate_muted(&gate) {
                self.alert(Severity::Warn, false, alert.into());
            }
        }
        let again = self.after(self.now, self.spec.interval);
        self.wait(
            reason,
            format!("gate {gate} is closed: {why}; it is asked again at {} UTC", again.strftime("%H:%M:%S")),
        );
        self.memory.held = self.waiting.last().cloned();
        self.wake_at(again);
    }

    /// A step begins. The routes follow in this very pass, and what keeps them from it is told when it lasts.
    fn begin_soak(&mut self, run: Run) {
        let due = self.after(self.now, self.spec.interval);
        self.soak(run, due);
        self.wake_at(due);
    }

    /// Says until when the present step lasts.
    fn soak(&mut self, run: Run, due: Timestamp) {
        // The moment that the routes take to follow is not worth other words, which cost a write.
        let planned = self.state.checked_at.map(|checked| self.after(checked, self.spec.interval));
        let due = planned.filter(|planned| due.duration_since(*planned) < A_MOMENT).unwrap_or(due);
        let (until, threshold) = (due.strftime("%H:%M:%S"), self.spec.threshold);
        let failed = match run.failed_checks {
            0 => String::new(),
            failed => format!("; failed checks: {failed}, {threshold} end the rollout"),
        };
        let what = describe(run, &self.spec.strategy);
        self.wait("Soaking", format!("{what}, next check at {until} UTC{failed}"));
    }

    fn next(&self, run: Run) -> Next {
        let canary = self.canary();
        match &self.spec.strategy {
            Strategy::Canary { weights, mirror, .. } => {
                if run.weight == 0 && mirror.is_some() && !run.mirrored {
                    return Next::Run(
                        Run { mirrored: true, ..run },
                        format!("Advance {canary} canary mirrored traffic"),
                    );
                }
                let planned = self.planned.filter(|weight| *weight > run.weight);
                match planned.or_else(|| weights.iter().copied().find(|weight| *weight > run.weight)) {
                    Some(weight) => Next::Run(
                        Run { weight, mirrored: false, ..run },
                        format!("Advance {canary} canary weight {weight}"),
                    ),
                    None => Next::Promote,
                }
            }
            Strategy::AbTesting { iterations, .. } => {
                if run.iterations < *iterations {
                    let done = run.iterations + 1;
                    let told = format!("Advance {canary} canary iteration {done}/{iterations}");
                    Next::Run(Run { weight: 100, iterations: done, ..run }, told)
                } else {
                    Next::Promote
                }
            }
            Strategy::BlueGreen { iterations, mirror } => {
                if run.iterations < *iterations {
                    let done = run.iterations + 1;
                    let told = format!("Advance {canary} canary iteration {done}/{iterations}");
                    Next::Run(Run { iterations: done, mirrored: mirror.is_some() && run.weight == 0, ..run }, told)
                } else {
                    Next::Promote
                }
            }
        }
    }

    /// The analysis is over and nothing objects.
    pub(super) fn start_promotion(&mut self, run: Run) -> Desired {
        if matches!(self.spec.strategy, Strategy::BlueGreen { .. }) && run.weight < 100 && !self.spec.skip_analysis {
            // The canary proves itself under all traffic for one interval before the primary is touched.
            let done = run.iterations + 1;
            self.state.checked_at = Some(self.now);
            let proven = Run { weight: 100, iterations: done, mirrored: false, ..run };
            self.enter(Stage::Progressing(proven));
            self.event(false, "Routing all traffic to canary".into());
            self.begin_soak(proven);
            return Desired::steady(&self.state);
        }
        self.enter(Stage::Promoting { weight: run.weight });
        self.event(false, self.copying());
        self.promotion_writes()
    }
}

/// No user has met the canary yet.
fn is_fresh(run: Run) -> bool {
    run.weight == 0 && run.iterations == 0 && !run.mirrored
}

/// False when the run was begun under another strategy.
fn fits(run: Run, strategy: &Strategy) -> bool {
    match strategy {
        Strategy::Canary { .. } => run.iterations == 0,
        Strategy::AbTesting { .. } => run.weight == 0 || run.weight == 100,
        Strategy::BlueGreen { iterations, .. } => run.weight == 0 || run.weight == 100 && run.iterations > *iterations,
    }
}

fn describe(run: Run, strategy: &Strategy) -> String {
    match strategy {
        Strategy::Canary { .. } if run.mirrored => "traffic is mirrored to the canary".into(),
        Strategy::Canary { .. } => format!("the canary has {} % of the traffic", run.weight),
        Strategy::AbTesting { iterations, .. } => format!("iteration {} of {iterations} runs", run.iterations),
        Strategy::BlueGreen { .. } if run.weight == 100 => "the canary has all traffic".into(),
        Strategy::BlueGreen { iterations, .. } => format!("iteration {} of {iterations} runs", run.iterations),
    }
}
