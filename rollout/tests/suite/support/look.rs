//! One look at a hand-made cluster, for tables: what is not said is as it should be.

use crds::{Baseline, BaselineStatus, RunEntry, WaitingFor};
use jiff::Timestamp;
use rollout::evidence::Gathered;
use rollout::spec::HookKind;
use rollout::{
    Answers, Ask, BaselineSeen, Command, Effect, History, HookAnswer, Input, Memory, Observation, Outcome, PrimarySeen,
    Readiness, Reading, Settings, Spec, State, Step, TargetSeen, Traffic, step,
};

use super::build::{at, measured, revision, settings};

/// One call of the machine, with all that goes into it.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) spec: Spec,
    pub(crate) state: State,
    pub(crate) seen: Observation,
    pub(crate) memory: Memory,
    pub(crate) settings: Settings,
    pub(crate) now: Timestamp,
    /// Answers by name of the hook; who is not named says yes, rollback hooks no.
    pub(crate) hooks: Vec<(&'static str, HookAnswer)>,
    /// Readings in the order of the metrics; who is not named is 100.
    pub(crate) readings: Vec<Reading>,
    /// What the arms came to.
    pub(crate) gathered: Vec<Gathered>,
    /// The record so far.
    pub(crate) past: Vec<RunEntry>,
    /// What the target's history holds of the promoted revision.
    pub(crate) history: History,
}

impl Look {
    /// At noon and two minutes: target `new` and primary `old` are ready, the routes are as the state wants since
    /// noon, and nothing was forgotten.
    pub(crate) fn new(spec: Spec, state: State) -> Look {
        let traffic = Traffic::Split { weight: state.stage.weight(), mirrored: state.stage.mirrored() };
        Look {
            seen: Observation {
                uid: "uid-1".into(),
                namespace: "eve".into(),
                name: "shop".into(),
                generation: 1,
                deleting: false,
                finalizer: false,
                command: None,
                target: Some(TargetSeen {
                    revision: revision("new"),
                    scaled_down: false,
                    readiness: Readiness::Ready,
                    matches_primary: false,
                    source: None,
                }),
                primary: Some(PrimarySeen { revision: Some("old".into()), readiness: Readiness::Ready }),
                baseline: None,
                apex: true,
                traffic,
                deployer: None,
                problems: Vec::new(),
            },
            spec,
            state,
            memory: Memory { looked: true, matched_since: Some(at(0)), ..Memory::default() },
            settings: settings(),
            now: at(120),
            hooks: Vec::new(),
            readings: Vec::new(),
            gathered: Vec::new(),
            past: Vec::new(),
            history: History::Gone,
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Look)) -> Look {
        change(&mut self);
        self
    }

    /// Beside a copy of the primary that takes part.
    pub(crate) fn beside_baseline(self) -> Look {
        self.with(|look| {
            look.spec.judge.baseline = Baseline::Concurrent;
            let cost = BaselineStatus { pods: 2, cpu: "200m".into(), memory: "128Mi".into() };
            look.state.baseline = Some(cost.clone()).filter(|_| look.state.stage.analyses());
            look.seen.baseline = Some(BaselineSeen { readiness: Readiness::Ready, serves: true, cost });
        })
    }

    pub(crate) fn target(self, id: &str) -> Look {
        let id = revision(id);
        self.with(|look| look.target_mut().revision = id)
    }

    pub(crate) fn canary_is(self, readiness: Readiness) -> Look {
        self.with(|look| {
            let target = look.target_mut();
            target.scaled_down = readiness == Readiness::ScaledToZero;
            target.readiness = readiness;
        })
    }

    pub(crate) fn primary_is(self, readiness: Readiness) -> Look {
        self.with(|look| look.seen.primary.as_mut().expect("a primary").readiness = readiness)
    }

    pub(crate) fn primary_runs(self, id: &str) -> Look {
        self.with(|look| look.seen.primary.as_mut().expect("a primary").revision = Some(id.into()))
    }

    pub(crate) fn split(self, weight: u8) -> Look {
        self.with(|look| look.seen.traffic = Traffic::Split { weight, mirrored: false })
    }

    pub(crate) fn hook(self, kind: HookKind, name: &'static str, answer: HookAnswer) -> Look {
        self.with(|look| {
            look.spec.webhooks.push(super::build::hook(kind, name));
            look.hooks.push((name, answer));
        })
    }

    pub(crate) fn reading(self, reading: Reading) -> Look {
        self.with(|look| look.readings = vec![reading])
    }

    pub(crate) fn command(self, verb: &str) -> Look {
        self.with(|look| {
            look.seen.command = Some(Command { id: "1".into(), verb: verb.into(), by: Some("ann".into()) })
        })
    }

    fn target_mut(&mut self) -> &mut TargetSeen {
        self.seen.target.as_mut().expect("a target")
    }

    /// Asks and answers until the machine decides.
    pub(crate) fn go(&self) -> Seen {
        let (mut answers, mut asked) = (Answers::default(), Vec::new());
        loop {
            let input = Input {
                spec: &self.spec,
                state: &self.state,
                seen: &self.seen,
                memory: &self.memory,
                answers: &answers,
                settings: &self.settings,
                now: self.now,
            };
            match step(input) {
                Outcome::Step(step) => return Seen { step: *step, asked },
                Outcome::Ask(asks) => {
                    assert!(!asks.is_empty(), "a question without words");
                    for ask in asks {
                        assert!(!asked.contains(&ask), "asked twice in one pass: {ask:?}");
                        self.answer(&ask, &mut answers);
                        asked.push(ask);
                    }
                }
            }
        }
    }

    fn answer(&self, ask: &Ask, answers: &mut Answers) {
        match ask {
            Ask::Hooks(kind) => {
                let said = self.spec.webhooks.iter().filter(|hook| hook.kind == *kind).map(|hook| {
                    let answer = self.hooks.iter().find(|(name, _)| *name == hook.name);
                    let usual = if *kind == HookKind::Rollback { HookAnswer::No("no".into()) } else { HookAnswer::Yes };
                    (hook.name.clone(), answer.map_or(usual, |(_, answer)| answer.clone()))
                });
                answers.hooks.insert(*kind, said.collect());
            }
            Ask::Evidence { .. } => answers.gathered = Some(self.gathered.clone()),
            Ask::Past => answers.past = Some(self.past.clone()),
            Ask::History => answers.history = Some(self.history.clone()),
            Ask::Metrics => {
                let reading = |index: usize| self.readings.get(index).cloned().unwrap_or(Reading::Value(100.0));
                let metrics = self.spec.metrics.iter().enumerate();
                let metrics = metrics.map(|(index, metric)| measured(metric, reading(index), self.now));
                answers.metrics = Some(metrics.collect());
            }
        }
    }
}

/// What came of a [`Look`].
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) step: Step,
    pub(crate) asked: Vec<Ask>,
}

impl Seen {
    pub(crate) fn events(&self) -> Vec<String> {
        events(&self.step.effects)
    }

    pub(crate) fn alerts(&self) -> Vec<String> {
        self.step.state.owed.iter().map(ToString::to_string).filter(|owed| owed.starts_with("alert/")).collect()
    }

    pub(crate) fn reasons(&self) -> Vec<&str> {
        self.step.waiting.iter().map(|WaitingFor { reason, .. }| reason.as_str()).collect()
    }
}

/// The events, a warning with an exclamation mark in front.
pub(crate) fn events(effects: &[Effect]) -> Vec<String> {
    let event = |effect: &Effect| match effect {
        Effect::Event { warning, message } => Some(format!("{}{message}", if *warning { "! " } else { "" })),
        Effect::Ended { .. } | Effect::Deliver(_) | Effect::RevertInGit | Effect::FindRevertInGit => None,
    };
    effects.iter().filter_map(event).collect()
}
