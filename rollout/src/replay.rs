//! A recorded rollout once more: [`crate::step`] is given what the record says that was asked and answered, at the times
//! when it was, and comes to the same decisions, or to those that another policy would have led to.

mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crds::{BaselineStatus, Canary, CanaryRunSpec, Check, Phase, RunEntry, RunPolicy};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use self::entry::{known_answers, outcome, state, unasked, words};
use crate::observation::{
    Answers, Ask, BaselineSeen, Command, History, Memory, Observation, PrimarySeen, Settings, TargetSeen, Traffic,
};
use crate::parse;
use crate::readiness::Readiness;
use crate::spec::{Defaults, Spec};
use crate::state::{Revision, State};
use crate::step::{Input, Outcome, Step, step};

/// Questions in one pass at most, as in the controller.
const ROUNDS: usize = 8;

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The revision was to become the primary.
    Promoted {
        /// When that was decided.
        at: Timestamp,
    },
    /// The revision was taken back.
    RolledBack {
        /// When that was decided.
        at: Timestamp,
        /// The sentence that told it.
        why: String,
    },
    /// The analysis ended without a verdict: another revision came, or this one was withdrawn.
    Withdrawn {
        /// When.
        at: Timestamp,
        /// The sentence that told it.
        why: String,
    },
    /// The record ends before a decision.
    Open {
        /// When it ends.
        at: Timestamp,
        /// Percent of the traffic meant for the canary then.
        weight: u8,
    },
}

/// A pass of the replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Place of the entry in the record, from 0.
    pub entry: usize,
    /// The entry, with what came of it this time.
    pub replayed: RunEntry,
    /// What each check came to.
    pub checks: Vec<Check>,
    /// It rests on what no record holds, as on pods that do not become ready, and is taken as it was.
    pub given: bool,
}

/// The first entry whose replay comes to something else than is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Place of the entry in the record, from 0.
    pub entry: usize,
    /// When it was taken.
    pub time: Timestamp,
    /// What the record says.
    pub recorded: String,
    /// What the replay says.
    pub replayed: String,
}

/// What came of a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// When the rollout began.
    pub begun: Timestamp,
    /// How it ended.
    pub recorded: Ending,
    /// How it ends this time.
    pub replayed: Ending,
    /// Pass after pass.
    pub turns: Vec<Turn>,
    /// Where the two part; `None` when they never do.
    pub difference: Option<Difference>,
    /// What must be known to believe the result.
    pub notes: Vec<String>,
}

/// Why a record cannot be replayed, with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Unreadable {
    /// A field, as `spec.entries[3].samples[0]`.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

/// The policy as it was recorded, parsed like a Canary.
///
/// # Errors
/// When it is none that this version understands.
pub fn spec_of(run: &CanaryRunSpec, policy: &RunPolicy, defaults: &Defaults<'_>) -> Result<Spec, Unreadable> {
    let unreadable = |why: String| Unreadable { place: format!("policy of {}", policy.time), why };
    // Where the routes hang decides nothing; the routers that need it are content with any.
    let mut spec = json!({
        "service": { "port": 80, "gatewayRefs": [{ "name": "recorded" }] },
        "ingressRef": { "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "recorded" },
        "routeRef": { "apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": "recorded" },
    });
    for (field, value) in &policy.spec {
        spec[field] = value.clone();
    }
    let canary = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": { "name": run.canary, "namespace": "default" }, "spec": spec,
    });
    let canary: Canary = parse::from_value(&canary).map_err(|invalid| unreadable(invalid.to_string()))?;
    parse::parse(&canary, defaults)
        .map_err(|invalid| unreadable(invalid.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
}

/// How the recorded rollout ended.
pub fn recorded(run: &CanaryRunSpec) -> Ending {
    ending(run.entries.iter(), run.begun)
}

/// The policies of the record, parsed, each with the time from which on it held.
///
/// # Errors
/// When one of them is none that this version understands.
pub fn policies(run: &CanaryRunSpec, defaults: &Defaults<'_>) -> Result<Vec<(Timestamp, Spec)>, Unreadable> {
    run.policies.iter().map(|policy| Ok((policy.time, spec_of(run, policy, defaults)?))).collect()
}

/// Decides once more by the policies as they were, see [`policies`].
///
/// # Errors
/// When the record is not one that the controller wrote.
pub fn replay(run: &CanaryRunSpec, namespace: &str, policies: Vec<(Timestamp, Spec)>) -> Result<Replay, Unreadable> {
    Player::new(run, namespace, policies, false)?.play()
}

/// Decides once more by another policy.
///
/// # Errors
/// When the record is not one that the controller wrote.
pub fn what_if(run: &CanaryRunSpec, namespace: &str, policy: Spec) -> Result<Replay, Unreadable> {
    let measured: BTreeSet<&str> =
        run.entries.iter().flat_map(|entry| &entry.samples).map(|sample| sample.metric.as_str()).collect();
    let mut policy = policy;
    let mut notes =
        vec!["samples are those of the weights that the record has, whatever the other policy's".to_owned()];
    policy.metrics.retain(|metric| {
        let known = measured.contains(metric.name.as_str());
        if !known {
            notes.push(format!("metric {} was not measured and is left out", metric.name));
        }
        known
    });
    let mut player = Player::new(run, namespace, vec![(run.begun, policy)], true)?;
    player.notes = notes;
    player.play()
}

struct Player<'a> {
    run: &'a CanaryRunSpec,
    policies: Vec<(Timestamp, Spec)>,
    /// Another policy than the record's.
    otherwise: bool,
    state: State,
    memory: Memory,
    seen: Observation,
    settings: Settings,
    next: usize,
    turns: Vec<Turn>,
    difference: Option<Difference>,
    notes: Vec<String>,
}

impl Ending {
    /// When it was decided, or when the record ends.
    pub fn at(&self) -> Timestamp {
        match self {
            Ending::Promoted { at }
            | Ending::RolledBack { at, .. }
            | Ending::Withdrawn { at, .. }
            | Ending::Open { at, .. } => *at,
        }
    }
}

impl<'a> Player<'a> {
    fn new(
        run: &'a CanaryRunSpec,
        namespace: &str,
        policies: Vec<(Timestamp, Spec)>,
        otherwise: bool,
    ) -> Result<Self, Unreadable> {
        if policies.is_empty() {
            return Err(Unreadable { place: "spec.policies".into(), why: "there is none".into() });
        }
        // What was left out stood behind the first entry; the one after the gap has all that the rest goes on from.
        let start = usize::from(run.truncated > 0);
        let Some(first) = run.entries.get(start) else {
            return Err(Unreadable { place: "spec.entries".into(), why: "there is none".into() });
        };
        let revision = Revision { id: run.revision.clone(), spec: run.revision.clone(), configs: BTreeMap::new() };
        let target = TargetSeen {
            revision,
            scaled_down: false,
            readiness: Readiness::Ready,
            matches_primary: false,
            source: None,
        };
        let seen = Observation {
            uid: String::new(),
            namespace: namespace.to_owned(),
            name: run.canary.clone(),
            generation: 0,
            deleting: false,
            finalizer: false,
            command: None,
            target: Some(target),
            primary: Some(PrimarySeen { revision: None, readiness: Readiness::Ready }),
            baseline: None,
            apex: true,
            traffic: Traffic::Missing,
            deployer: None,
            problems: Vec::new(),
        };
        let drain = Duration::from_secs(u64::from(run.drain_seconds));
        Ok(Player {
            state: state(run, first),
            run,
            policies,
            otherwise,
            memory: Memory::default(),
            seen,
            settings: Settings { drain, settle: Duration::ZERO, global_notifier: false },
            next: start + 1,
            turns: Vec::new(),
            difference: None,
            notes: Vec::new(),
        })
    }

    fn play(mut self) -> Result<Replay, Unreadable> {
        while self.under_way()
            && let Some(entry) = self.run.entries.get(self.next)
        {
            self.turn(self.next, entry)?;
            self.next += 1;
        }
        let told: Vec<_> = self.turns.iter().map(|turn| &turn.replayed).collect();
        Ok(Replay {
            begun: self.run.begun,
            recorded: recorded(self.run),
            replayed: ending(told.into_iter(), self.run.begun),
            turns: self.turns,
            difference: self.difference,
            notes: self.notes,
        })
    }

    fn under_way(&self) -> bool {
        self.state.stage.analyses()
    }

    fn turn(&mut self, place: usize, entry: &RunEntry) -> Result<(), Unreadable> {
        if entry.resumed {
            self.memory = Memory::default();
        }
        // Whoever told of it was late or told it twice, and somebody else may have noted a gap meanwhile.
        let again =
            |known: &RunEntry| known.time == entry.time && (known.gap || entry.gap || words(known) == words(entry));
        if self.run.entries[..place].iter().any(again) {
            return Ok(());
        }
        if entry.gap {
            if !self.otherwise {
                self.take_as_given(place, entry);
            }
            return Ok(());
        }
        // As the controller moves what it remembers when its clock is set.
        let set = self.clock_set(place, entry);
        self.state = if entry.resumed {
            self.resumed(entry, set)
        } else {
            self.state.clone().by_clock(&self.state.times(), set, entry.time)
        };
        self.memory = std::mem::take(&mut self.memory).by_clock(set, entry.time);
        self.state.former_traffic = entry.former_traffic_time;
        let before = (self.memory.matched_since, self.memory.matched.clone(), self.memory.looked);
        let Some(step) = self.pass(place, entry, entry.looked)? else { return Ok(()) };
        let mut replayed = outcome(&step, entry);
        let differs = words(&replayed) != words(entry);
        if differs && !entry.looked {
            let ends = !matches!(entry.phase, Phase::Progressing | Phase::WaitingPromotion);
            if !self.otherwise || ends {
                self.take_as_given(place, entry);
            }
            return Ok(());
        }
        if differs && self.difference.is_none() {
            self.difference =
                Some(Difference { entry: place, time: entry.time, recorded: words(entry), replayed: words(&replayed) });
        }
        let moved = step.state.stage.weight() != self.state.stage.weight()
            || step.state.stage.mirrored() != self.state.stage.mirrored();
        let checks = step.state.checks.clone();
        replayed.samples.clone_from(&entry.samples);
        self.turns.push(Turn { entry: place, replayed, checks, given: false });
        self.state = step.state;
        self.memory = step.memory;
        if !moved && !entry.looked {
            // That the routes were not followed then was made up.
            (self.memory.matched_since, self.memory.matched, self.memory.looked) = before;
        }
        if moved && self.under_way() {
            // The routes follow at once; that they took a moment only made the next look later.
            let after = RunEntry { time: entry.time, ..RunEntry::default() };
            if let Some(step) = self.pass(place, &after, true)? {
                self.state = step.state;
                self.memory = step.memory;
            }
        }
        Ok(())
    }

    /// By how much the clock was set since what is known. A gap was noted by the clock as it was set, unless enough time has
    /// passed since for it to have been set later.
    fn clock_set(&self, place: usize, entry: &RunEntry) -> SignedDuration {
        let set = SignedDuration::from_nanos(entry.clock_set_nanoseconds.unwrap_or_default());
        let before = place.checked_sub(1).and_then(|before| self.run.entries.get(before));
        let Some(gap) = before.filter(|before| before.gap) else { return set };
        let passed = entry.time.duration_since(gap.time);
        let later = if set.is_negative() { passed.is_negative() } else { passed >= set };
        if later { set } else { SignedDuration::ZERO }
    }

    /// The state as somebody found it who had just started. When that was is not on record, and their clock may be another;
    /// that they looked says that it was time to.
    fn resumed(&self, entry: &RunEntry, set: SignedDuration) -> State {
        let interval = self.policy_at(entry.time).map(|spec| spec.interval).unwrap_or_default();
        let interval = SignedDuration::try_from(interval).unwrap_or_default();
        let due = entry.time.saturating_sub(interval).unwrap_or(entry.time);
        let state = State { unavailable_since: entry.unavailable_since, ..self.state.clone() };
        if !entry.looked {
            let known = state.times();
            return state.by_clock(&known, set, entry.time);
        }
        let earlier = |time: Option<Timestamp>| time.map(|time| time.min(due));
        State { since: earlier(state.since), checked_at: earlier(state.checked_at), ..state }
    }

    fn policy_at(&self, time: Timestamp) -> Option<&Spec> {
        let in_time = self.policies.iter().rev().find(|(from, _)| *from <= time);
        in_time.or(self.policies.first()).map(|(_, spec)| spec)
    }

    fn take_as_given(&mut self, place: usize, entry: &RunEntry) {
        let given = State { checks: Vec::new(), ..state(self.run, entry) };
        if given.stage != self.state.stage {
            self.memory = Memory::default();
        }
        self.state = given;
        self.turns.push(Turn { entry: place, replayed: entry.clone(), checks: Vec::new(), given: true });
    }

    /// One pass at the time of the entry; `None` when it asks what the entry does not answer, because it would not have
    /// looked then.
    fn pass(&mut self, place: usize, entry: &RunEntry, in_force: bool) -> Result<Option<Step>, Unreadable> {
        let stage = &self.state.stage;
        self.seen.traffic = if in_force {
            Traffic::Split { weight: stage.weight(), mirrored: stage.mirrored() }
        } else {
            Traffic::Pending("this was no look".into())
        };
        self.seen.command = entry.command.as_ref().map(|taken| Command {
            id: taken.id.clone(),
            verb: taken.command.clone(),
            by: taken.by.clone(),
        });
        let known = known_answers(place, entry)?;
        // Whoever looked had it take part.
        let beside = self.policy_at(entry.time).is_some_and(Spec::runs_baseline) && self.state.stage.analyses();
        self.state.baseline = beside.then(BaselineStatus::default);
        let seen =
            |cost: &BaselineStatus| BaselineSeen { readiness: Readiness::Ready, serves: true, cost: cost.clone() };
        self.seen.baseline = self.state.baseline.as_ref().map(seen);
        let Some(spec) = self.policy_at(entry.time) else { return Ok(None) };
        let mut answers = Answers::default();
        for _ in 0..ROUNDS {
            let input = Input {
                spec,
                state: &self.state,
                seen: &self.seen,
                memory: &self.memory,
                answers: &answers,
                settings: &self.settings,
                now: entry.time,
            };
            match step(input) {
                Outcome::Step(step) => return Ok(Some(*step)),
                Outcome::Ask(asks) => {
                    for ask in asks {
                        match ask {
                            Ask::Hooks(kind) => {
                                let hooks = spec.webhooks.iter().filter(|hook| hook.kind == kind);
                                let said = hooks.map(|hook| {
                                    let answer = known
                                        .hooks
                                        .get(&kind)
                                        .and_then(|known| known.iter().find(|(name, _)| *name == hook.name));
                                    (hook.name.clone(), answer.map_or_else(|| unasked(kind), |(_, said)| said.clone()))
                                });
                                answers.hooks.insert(kind, said.collect());
                            }
                            Ask::Metrics => match &known.metrics {
                                Some(metrics) if !metrics.is_empty() => answers.metrics = Some(metrics.clone()),
                                Some(_) | None => return Ok(None),
                            },
                            Ask::Evidence { .. } => match &known.gathered {
                                Some(gathered) if !gathered.is_empty() => answers.gathered = Some(gathered.clone()),
                                Some(_) | None => return Ok(None),
                            },
                            Ask::Past => answers.past = Some(self.run.entries[..place].to_vec()),
                            Ask::History => answers.history = Some(History::Kept),
                        }
                    }
                }
            }
        }
        Ok(None)
    }
}

fn ending<'a>(entries: impl DoubleEndedIterator<Item = &'a RunEntry>, begun: Timestamp) -> Ending {
    let mut last: Option<&RunEntry> = None;
    for entry in entries {
        let at = entry.time;
        let why = || {
            let decisive = entry.told.iter().find(|told| told.starts_with("Rolling back"));
            decisive.or(entry.told.first()).cloned().unwrap_or_default()
        };
        match entry.phase {
            Phase::Promoting | Phase::Succeeded => return Ending::Promoted { at },
            Phase::Failed => return Ending::RolledBack { at, why: why() },
            Phase::New
            | Phase::Initializing
            | Phase::Initialized
            | Phase::Waiting
            | Phase::Finalising
            | Phase::Terminating
            | Phase::Terminated => return Ending::Withdrawn { at, why: why() },
            Phase::Progressing | Phase::WaitingPromotion => last = Some(entry),
        }
    }
    let (at, weight) = last.map_or((begun, 0), |last| (last.time, last.weight));
    Ending::Open { at, weight: u8::try_from(weight).unwrap_or_default() }
}
