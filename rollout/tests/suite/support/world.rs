//! A small world that is driven as the shell drives a cluster: observe, ask, decide, persist, converge in order,
//! tell, remember. Only the status survives a crash, as text.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{BaselineStatus, CanaryRunSpec, CanaryStatus};
use jiff::{SignedDuration, Timestamp};
use rollout::desired::{BaselineAction, FinalizerAction, Intent, PrimaryAction, ScaleAction};
use rollout::log::missing;
use rollout::replay::replay;
use rollout::spec::{HookKind, TargetKind};
use rollout::{
    Answers, Ask, BaselineSeen, Command, Desired, Effect, History, HookAnswer, Input, Measured, Memory, Observation,
    Outcome, PrimarySeen, Readiness, Reading, Spec, State, Step, TargetSeen, Traffic, report, step,
};

use super::build::{at, measured, revision, settings};

/// What becomes of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    Good,
    /// Its metrics are bad.
    Bad,
    /// Its pods never become ready.
    Crashing,
    /// It is good as canary and breaks as primary.
    BreaksPrimary,
}

/// Pods of one workload.
#[derive(Clone, Debug)]
pub(crate) struct Pods {
    pub(crate) revision: String,
    pub(crate) up: bool,
    pub(crate) since: Timestamp,
    pub(crate) broken: bool,
}

/// The route, and when it is in force.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) weight: u8,
    pub(crate) baseline: u8,
    pub(crate) mirrored: bool,
    pub(crate) accepted: Timestamp,
}

/// A gate: when it opens and closes; seconds after noon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) spec: Spec,
    pub(crate) now: Timestamp,
    pub(crate) status: CanaryStatus,
    pub(crate) memory: Memory,
    pub(crate) target: Option<Pods>,
    pub(crate) primary: Option<Pods>,
    /// Its revision is the one that it stands beside.
    pub(crate) baseline: Option<Pods>,
    pub(crate) apex: bool,
    pub(crate) route: Option<Route>,
    pub(crate) command: Option<Command>,
    pub(crate) deleting: bool,
    pub(crate) finalizer: bool,
    /// Revisions that are not good.
    pub(crate) quality: BTreeMap<String, Quality>,
    /// Gates that are not always open, and rollback hooks that say yes at times, by name.
    pub(crate) gates: BTreeMap<String, Open>,
    /// The metrics server is away.
    pub(crate) away: Open,
    /// Until when a bad canary was sent requests.
    pub(crate) bad_until: Option<Timestamp>,
    /// Seconds until pods are ready, and until a route is in force.
    pub(crate) delays: (i64, i64),
    /// Records of rollouts, by name.
    pub(crate) runs: BTreeMap<String, CanaryRunSpec>,
    /// The process has just started.
    pub(crate) resumed: bool,
}

/// What one pass did.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) at: Timestamp,
    pub(crate) before: State,
    pub(crate) step: Step,
    /// Writes that were made, by what they touched.
    pub(crate) writes: Vec<&'static str>,
    /// True when every check passed that was asked; `None` when no metrics were asked.
    pub(crate) passed: Option<bool>,
    pub(crate) crashed: bool,
}

impl World {
    pub(crate) fn new(spec: Spec) -> World {
        World {
            spec,
            now: at(0),
            status: CanaryStatus::default(),
            memory: Memory::default(),
            target: Some(Pods { revision: "r0".into(), up: true, since: at(-3600), broken: false }),
            primary: None,
            baseline: None,
            apex: false,
            route: None,
            command: None,
            deleting: false,
            finalizer: false,
            quality: BTreeMap::new(),
            gates: BTreeMap::new(),
            away: Open { from: 0, until: 0 },
            bad_until: None,
            delays: (10, 2),
            runs: BTreeMap::new(),
            resumed: false,
        }
    }

    /// Someone deploys a revision.
    pub(crate) fn push(&mut self, id: &str) {
        let since = self.now;
        self.bad_canary_serves(since + secs(self.delays.0));
        if let Some(target) = &mut self.target
            && target.revision != id
        {
            *target = Pods { revision: id.into(), since, ..target.clone() };
        }
    }

    pub(crate) fn state(&self) -> State {
        let text = serde_json::to_string(&self.status).expect("a status is JSON");
        State::from_status(&serde_json::from_str(&text).expect("a status is read back"))
    }

    pub(crate) fn weight(&self) -> u8 {
        self.route.as_ref().map_or(0, |route| route.weight)
    }

    /// The next moment at which something changes of itself, or is to be looked at.
    pub(crate) fn next_change(&self) -> Option<Timestamp> {
        let ready = |pods: &Pods| [pods.since + secs(self.delays.0), pods.since + deadline(&self.spec)];
        let pods = self.target.iter().chain(&self.primary).chain(&self.baseline).flat_map(ready);
        pods.chain(self.route.iter().map(|route| route.accepted)).filter(|moment| *moment > self.now).min()
    }

    /// When the canary is bad, it goes on being sent what the route says until then.
    fn bad_canary_serves(&mut self, until: Timestamp) {
        let bad = self.target.as_ref().is_some_and(|pods| pods.up && self.quality(&pods.revision) == Quality::Bad);
        if bad && self.route.as_ref().is_some_and(|route| route.weight > 0 || route.mirrored) {
            self.bad_until = self.bad_until.max(Some(until));
        }
    }

    fn quality(&self, id: &str) -> Quality {
        self.quality.get(id).copied().unwrap_or(Quality::Good)
    }

    fn readiness(&self, pods: &Pods, primary: bool) -> Readiness {
        let quality = self.quality(&pods.revision);
        let never = pods.broken || quality == Quality::Crashing || primary && quality == Quality::BreaksPrimary;
        if !pods.up {
            Readiness::ScaledToZero
        } else if never && self.now >= pods.since + deadline(&self.spec) {
            Readiness::Stuck("0 of 2 pods are available".into())
        } else if never || self.now < pods.since + secs(self.delays.0) {
            Readiness::NotYet("0 of 2 pods are available".into())
        } else {
            Readiness::Ready
        }
    }

    pub(crate) fn primary_stuck(&self) -> bool {
        self.primary.as_ref().is_none_or(|pods| matches!(self.readiness(pods, true), Readiness::Stuck(_)))
    }

    pub(crate) fn canary_ready(&self) -> bool {
        self.target.as_ref().is_some_and(|pods| self.readiness(pods, false) == Readiness::Ready)
    }

    pub(crate) fn observe(&self) -> Observation {
        let promoted = self.primary.as_ref().map(|primary| &primary.revision);
        Observation {
            uid: "uid-1".into(),
            namespace: "eve".into(),
            name: "shop".into(),
            generation: 1,
            deleting: self.deleting,
            finalizer: self.finalizer,
            command: self.command.clone(),
            target: self.target.as_ref().map(|target| TargetSeen {
                revision: revision(&target.revision),
                scaled_down: !target.up,
                readiness: self.readiness(target, false),
                matches_primary: Some(&target.revision) == promoted,
                source: None,
            }),
            primary: self.primary.as_ref().map(|primary| PrimarySeen {
                revision: Some(primary.revision.clone()),
                readiness: self.readiness(primary, true),
            }),
            baseline: self.baseline.as_ref().map(|pods| self.baseline_seen(pods)),
            apex: self.apex,
            traffic: match &self.route {
                None => Traffic::Missing,
                Some(route) if route.accepted > self.now => Traffic::Pending("the gateway has not accepted it".into()),
                Some(route) if route.baseline != Intent::of(&self.spec, &self.state()).baseline_weight => {
                    Traffic::Pending("the baseline has another share".into())
                }
                Some(route) => Traffic::Split { weight: route.weight, mirrored: route.mirrored },
            },
            deployer: None,
            problems: Vec::new(),
        }
    }

    fn baseline_seen(&self, pods: &Pods) -> BaselineSeen {
        let younger = self.state().applied.is_none_or(|applied| applied.id == pods.revision);
        let readiness = match self.readiness(pods, false) {
            Readiness::Ready if !younger => Readiness::NotYet("it stands beside another revision".into()),
            readiness @ (Readiness::Ready | Readiness::NotYet(_) | Readiness::ScaledToZero | Readiness::Stuck(_)) => {
                readiness
            }
        };
        let cost = BaselineStatus { pods: 2, cpu: "200m".into(), memory: "128Mi".into() };
        BaselineSeen { serves: self.baseline_serves(), readiness, cost }
    }

    pub(crate) fn baseline_serves(&self) -> bool {
        let ready = |pods: &Pods| !pods.broken && self.now >= pods.since + secs(self.delays.0);
        self.baseline.as_ref().is_some_and(ready)
    }

    fn answer(&self, asks: &[Ask], answers: &mut Answers) {
        let open = |name: &str| self.gates.get(name).map(|open| at(open.from) <= self.now && self.now < at(open.until));
        for ask in asks {
            match ask {
                Ask::Hooks(kind) => {
                    let hooks = self.spec.webhooks.iter().filter(|hook| hook.kind == *kind).map(|hook| {
                        let yes = open(&hook.name).unwrap_or(*kind != HookKind::Rollback);
                        (hook.name.clone(), if yes { HookAnswer::Yes } else { HookAnswer::No("closed".into()) })
                    });
                    answers.hooks.insert(*kind, hooks.collect());
                }
                Ask::Evidence { .. } => answers.gathered = Some(Vec::new()),
                Ask::Past => answers.past = Some(Vec::new()),
                Ask::History => answers.history = Some(History::Kept),
                Ask::Metrics => {
                    let quality = self.target.as_ref().map(|target| self.quality(&target.revision));
                    let away = at(self.away.from) <= self.now && self.now < at(self.away.until);
                    let reading = |window: Duration| match quality {
                        Some(_) if away => Reading::Unavailable("connection refused".into()),
                        // A query by name sees all pods that the canary had within its window.
                        Some(_) if self.bad_until.is_some_and(|until| until + window > self.now) => {
                            Reading::Value(50.0)
                        }
                        Some(Quality::Bad) => Reading::Value(50.0),
                        Some(Quality::Good | Quality::Crashing | Quality::BreaksPrimary) => Reading::Value(100.0),
                        None => Reading::NoValue,
                    };
                    let metrics = self.spec.metrics.iter();
                    let metrics = metrics.map(|metric| measured(metric, reading(metric.interval), self.now));
                    answers.metrics = Some(metrics.collect());
                }
            }
        }
    }

    /// One pass. With `crash` the process dies before the write of that number, and starts again with no memory.
    pub(crate) fn pass(&mut self, crash: Option<usize>) -> Pass {
        let (before, seen, mut answers) = (self.state(), self.observe(), Answers::default());
        let decided = loop {
            let input = Input {
                spec: &self.spec,
                state: &before,
                seen: &seen,
                memory: &self.memory,
                answers: &answers,
                settings: &settings(),
                now: self.now,
            };
            match step(input) {
                Outcome::Ask(asks) => self.answer(&asks, &mut answers),
                Outcome::Step(step) => break *step,
            }
        };
        let status = self.status.clone();
        let good = |measured: &Measured| matches!(measured.reading, Reading::Value(value) if value >= 99.0);
        let mut hooks = answers.hooks.get(&HookKind::Rollout).into_iter().flatten();
        let hooks = hooks.all(|(_, answer)| *answer == HookAnswer::Yes);
        let passed = answers.metrics.as_ref().map(|metrics| metrics.iter().all(good) && hooks);
        let mut pass = Pass { at: self.now, before, step: decided, writes: Vec::new(), passed, crashed: false };
        let made = self.write(&pass.step, crash.unwrap_or(usize::MAX));
        pass.writes = made.0;
        pass.crashed = made.1;
        self.memory = if pass.crashed { Memory::default() } else { pass.step.memory.clone() };
        if pass.crashed {
            self.resumed = true;
        } else {
            self.record(&pass.step, &status);
            for effect in &pass.step.effects {
                match effect {
                    Effect::Deliver(owed) => self.memory.delivered.push(owed.clone()),
                    Effect::Event { .. } | Effect::Ended { .. } | Effect::RevertInGit | Effect::FindRevertInGit => {}
                }
            }
        }
        pass
    }

    /// Adds to the records as the shell does, and marks what is missing.
    fn record(&mut self, step: &Step, before: &CanaryStatus) {
        for logged in step.log.clone() {
            let name = logged.run.clone();
            let run = self.runs.entry(name.clone()).or_insert_with(|| CanaryRunSpec {
                canary: "shop".into(),
                revision: step.state.applied.clone().expect("a rollout has a revision").id,
                source: None,
                begun: self.now,
                phase: step.state.stage.phase(),
                drain_seconds: 30,
                policies: Vec::new(),
                queries: Vec::new(),
                truncated: 0,
                entries: Vec::new(),
            });
            let goes_on = before.run.as_ref() == Some(&name);
            if goes_on {
                run.entries.extend(missing(run.entries.last(), before));
            }
            let mut entry = logged.numbered(&mut run.queries);
            entry.resumed = std::mem::take(&mut self.resumed) && goes_on;
            run.entries.push(entry);
        }
    }

    /// Every record leads to the decisions that it tells of.
    pub(crate) fn assert_replays(&self) {
        for (name, run) in &self.runs {
            let replayed = replay(run, "eve", vec![(run.begun, self.spec.clone())]).expect("it was just recorded");
            assert_eq!(replayed.difference, None, "{name}: {run:#?}");
        }
    }

    /// Writes what differs, in the order of the shell, until the process dies.
    fn write(&mut self, step: &Step, until: usize) -> (Vec<&'static str>, bool) {
        let mut made = Vec::new();
        let status = report::status(step, &self.status, TargetKind::Deployment, 1, self.now);
        let Desired { intent, primary, target, .. } = &step.desired;
        for what in ["status", "services", "primary", "baseline", "routes", "scale", "no baseline", "finalizer"] {
            let mut next = self.clone();
            let differs = match what {
                "status" => {
                    next.status = status.clone();
                    self.status != status
                }
                "services" => false,
                "primary" => next.write_primary(*primary),
                "baseline" => next.write_baseline(&step.desired.baseline),
                "no baseline" => step.desired.baseline == BaselineAction::Remove && next.baseline.take().is_some(),
                "routes" if step.desired.revert => std::mem::replace(&mut next.apex, false),
                "routes" if step.desired.routes => {
                    let wanted = (intent.canary_weight, intent.baseline_weight, intent.mirrored);
                    let same = |route: &Route| (route.weight, route.baseline, route.mirrored) == wanted;
                    let differs = !self.route.as_ref().is_some_and(same) || !self.apex;
                    if differs {
                        let accepted = self.now + secs(self.delays.1);
                        next.bad_canary_serves(accepted);
                        if intent.canary_weight == 0 {
                            next.bad_until = next.bad_until.map(|until| until.min(accepted));
                        }
                        let (weight, baseline, mirrored) = wanted;
                        next.route = Some(Route { weight, baseline, mirrored, accepted });
                        next.apex = true;
                    }
                    differs
                }
                "scale" => next.write_scale(*target),
                "finalizer" => match step.desired.finalizer {
                    FinalizerAction::Keep => false,
                    FinalizerAction::Add => !std::mem::replace(&mut next.finalizer, true),
                    FinalizerAction::Remove => std::mem::replace(&mut next.finalizer, false),
                },
                _ => false,
            };
            if differs {
                if made.len() == until {
                    return (made, true);
                }
                *self = next;
                made.push(what);
            }
        }
        let crashed = made.len() == until;
        (made, crashed)
    }

    fn write_primary(&mut self, action: PrimaryAction) -> bool {
        let Some(target) = &self.target else { return false };
        let held = self.primary.as_ref().map(|primary| &primary.revision);
        let revision = match action {
            PrimaryAction::Keep => None,
            PrimaryAction::Create => Some(&target.revision).filter(|_| held.is_none()),
            PrimaryAction::Promote => Some(&target.revision).filter(|revision| held != Some(revision)),
            PrimaryAction::Rebuild => self.status.promoted_revision.as_ref().filter(|_| held.is_none()),
        };
        let Some(revision) = revision.cloned() else { return false };
        self.primary = Some(Pods { up: true, since: self.now, broken: false, revision });
        true
    }

    /// Its pods are made anew with each revision that it stands beside.
    fn write_baseline(&mut self, action: &BaselineAction) -> bool {
        match action {
            BaselineAction::Run { beside } if self.baseline.as_ref().is_none_or(|pods| pods.revision != *beside) => {
                let revision = beside.clone();
                self.baseline = Some(Pods { revision, up: true, since: self.now, broken: false });
                true
            }
            BaselineAction::Keep | BaselineAction::Run { .. } | BaselineAction::Remove => false,
        }
    }

    fn write_scale(&mut self, action: ScaleAction) -> bool {
        let now = self.now;
        let Some(target) = &mut self.target else { return false };
        let up = match action {
            ScaleAction::Keep => return false,
            ScaleAction::Up => true,
            ScaleAction::Down => false,
        };
        let differs = target.up != up;
        if differs {
            (target.up, target.since) = (up, now);
        }
        differs
    }

    /// Passes until nothing more is due before `until`, hands each to `look`, and leaves the clock there.
    pub(crate) fn run(&mut self, until: Timestamp, look: &mut impl FnMut(&World, &Pass)) {
        while self.now < until {
            let pass = self.pass(None);
            look(self, &pass);
            self.now = self.next_look(&pass).map_or(until, |next| next.min(until));
        }
    }

    /// When the shell would look next: after a write at once, else when it asked to be woken or something changes.
    pub(crate) fn next_look(&self, pass: &Pass) -> Option<Timestamp> {
        if pass.crashed || !pass.writes.is_empty() {
            return Some(self.now + secs(1));
        }
        pass.step.wake.into_iter().chain(self.next_change()).min()
    }
}

fn secs(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn deadline(spec: &Spec) -> SignedDuration {
    SignedDuration::try_from(spec.progress_deadline).expect("a deadline of minutes")
}
