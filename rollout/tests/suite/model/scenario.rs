//! What may happen in a random world.

use crds::{
    AppliedBy, Author, Baseline, BaselineStatus, Check, CommandTaken, GitRollback, GitRollbackState, Hold, HoldState,
    Phase, PromotedCommit, Source,
};
use proptest::prelude::*;
use rollout::spec::{HookKind, Severity, Strategy as Shift};
use rollout::state::{Foreign, Promoted};
use rollout::{Command, Cookies, Owed, Revision, Run, Spec, Stage, State};

use crate::support::build::{ab, affinity, at, blue_green, gradual, hook, mirrored, spec, weights};
use crate::support::world::{Open, Quality, World};

#[derive(Clone, Debug)]
pub(super) enum Event {
    Push(u8),
    Drift(u8),
    ScaleToZero,
    BreakPrimary,
    MendPrimary,
    LosePrimary,
    LoseBaseline,
    BreakBaseline,
    Concurrent(bool),
    Command(&'static str),
    Suspend(bool),
    LoseTarget,
}

#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) strategy: Shift,
    pub(super) skip: bool,
    pub(super) affinity: bool,
    pub(super) baseline: bool,
    pub(super) gates: Vec<(HookKind, Open)>,
    pub(super) away: Open,
    pub(super) delays: (i64, i64),
    /// Of the metric, in seconds.
    pub(super) window: u64,
    /// Seconds after noon, in order.
    pub(super) events: Vec<(i64, Event)>,
    /// Number of the pass, and of the write before which the process dies.
    pub(super) crashes: Vec<(usize, usize)>,
}

/// Where a world came to rest.
#[derive(Debug, PartialEq)]
pub(super) struct End {
    phase: Phase,
    applied: Option<String>,
    promoted: Option<String>,
    primary: Option<String>,
    weight: u8,
    up: bool,
    baseline: bool,
    owed: usize,
}

impl End {
    pub(super) fn of(world: &World) -> End {
        let state = world.state();
        End {
            phase: state.stage.phase(),
            applied: state.applied.map(|applied| applied.id),
            promoted: state.promoted.map(|promoted| promoted.id),
            primary: world.primary.as_ref().map(|primary| primary.revision.clone()),
            weight: world.weight(),
            up: world.target.as_ref().is_some_and(|target| target.up),
            baseline: world.baseline.is_some(),
            owed: state.owed.len(),
        }
    }
}

impl Event {
    pub(super) fn happen(&self, world: &mut World) {
        let now = world.now;
        match self {
            Event::Push(number) if world.target.is_none() => {
                let mut target = World::new(world.spec.clone()).target.expect("a new world has a target");
                target.revision = format!("r{number}");
                target.since = now;
                world.target = Some(target);
            }
            Event::Push(number) => world.push(&format!("r{number}")),
            Event::Drift(weight) => {
                if let Some(route) = &mut world.route {
                    route.weight = *weight;
                    route.mirrored = false;
                }
            }
            Event::ScaleToZero => {
                if let Some(target) = &mut world.target {
                    target.up = false;
                }
            }
            Event::BreakPrimary => {
                if let Some(primary) = &mut world.primary {
                    primary.broken = true;
                }
            }
            Event::MendPrimary => {
                if let Some(primary) = &mut world.primary {
                    primary.broken = false;
                }
            }
            Event::LosePrimary => world.primary = None,
            Event::LoseBaseline => world.baseline = None,
            Event::BreakBaseline => {
                if let Some(baseline) = &mut world.baseline {
                    baseline.broken = true;
                }
            }
            Event::Concurrent(on) => {
                world.spec.judge.baseline = if *on { fitting(&world.spec) } else { Baseline::Primary }
            }
            Event::Command(verb) => {
                let id = now.to_string();
                world.command = Some(Command { id, verb: (*verb).into(), by: None });
            }
            Event::Suspend(on) => world.spec.suspend = *on,
            Event::LoseTarget => world.target = None,
        }
    }
}

impl Scenario {
    pub(super) fn world(&self) -> World {
        let mut spec = Spec { skip_analysis: self.skip, ..spec(self.strategy.clone()) };
        spec.affinity = self.affinity.then(affinity);
        spec.judge.baseline = if self.baseline { fitting(&spec) } else { Baseline::Primary };
        spec.webhooks = self.gates.iter().map(|(kind, _)| hook(*kind, kind.as_str())).collect();
        spec.webhooks.push(hook(HookKind::PostRollout, "after"));
        let mut world = World::new(spec);
        world.gates = self.gates.iter().map(|(kind, open)| (kind.as_str().to_owned(), *open)).collect();
        world.away = self.away;
        world.delays = self.delays;
        world.spec.metrics[0].interval = std::time::Duration::from_secs(self.window);
        let quality = [Quality::Bad, Quality::Crashing, Quality::BreaksPrimary];
        world.quality = (1..).zip(quality).map(|(number, quality)| (format!("r{number}"), quality)).collect();
        world
    }
}

/// A baseline where a Canary may ask for one.
fn fitting(spec: &Spec) -> Baseline {
    match &spec.strategy {
        Shift::Canary { mirror: None, .. } if spec.affinity.is_none() => Baseline::Concurrent,
        Shift::Canary { .. } | Shift::AbTesting { .. } | Shift::BlueGreen { .. } => Baseline::Primary,
    }
}

fn strategies() -> impl Strategy<Value = Shift> {
    prop_oneof![
        Just(weights(&[20, 40, 60])),
        Just(weights(&[1, 100])),
        Just(weights(&[50])),
        Just(gradual(25)),
        Just(gradual(60)),
        Just(mirrored()),
        Just(blue_green(2)),
        Just(Shift::BlueGreen { iterations: 1, mirror: Some(rollout::spec::Mirror { percent: 50 }) }),
        Just(ab(1)),
        Just(ab(3)),
    ]
}

/// Open from a time on; never, at times.
fn gate(kind: HookKind) -> impl Strategy<Value = (HookKind, Open)> {
    prop_oneof![2 => 0..1500_i64, 1 => Just(i64::MAX / 2_000_000_000)]
        .prop_map(move |from| (kind, Open { from, until: 100_000_000 }))
}

fn gates() -> impl Strategy<Value = Vec<(HookKind, Open)>> {
    let kinds = [
        HookKind::ConfirmRollout,
        HookKind::PreRollout,
        HookKind::Rollout,
        HookKind::ConfirmTrafficIncrease,
        HookKind::ConfirmPromotion,
    ];
    proptest::sample::subsequence(kinds.to_vec(), 0..3)
        .prop_flat_map(|kinds| kinds.into_iter().map(gate).collect::<Vec<_>>())
}

fn base(
    events: impl Strategy<Value = Vec<(i64, Event)>>,
    gates: impl Strategy<Value = Vec<(HookKind, Open)>>,
    away: impl Strategy<Value = Open>,
) -> impl Strategy<Value = Scenario> {
    let delays = (1..90_i64, 0..15_i64, proptest::sample::select(vec![30, 60, 600]));
    let crashes = proptest::collection::vec((0..60_usize, 0..4_usize), 0..6);
    let switches = (proptest::bool::weighted(0.1), any::<bool>(), any::<bool>());
    (strategies(), switches, gates, away, delays, events, crashes).prop_map(
        |(strategy, (skip, affinity, baseline), gates, away, delays, mut events, crashes)| {
            events.sort_by_key(|(time, _)| *time);
            let (pods, route, window) = delays;
            let delays = (pods, route);
            Scenario { strategy, skip, affinity, baseline, gates, away, delays, window, events, crashes }
        },
    )
}

/// Anything may happen.
pub(super) fn wild() -> impl Strategy<Value = Scenario> {
    let verbs = ["promote", "promote-full", "abort", "pause", "resume", "retry", "dance"];
    let event = prop_oneof![
        4 => (0..7_u8).prop_map(Event::Push),
        1 => (0..=100_u8).prop_map(Event::Drift),
        1 => Just(Event::ScaleToZero),
        1 => Just(Event::BreakPrimary),
        1 => Just(Event::MendPrimary),
        1 => Just(Event::LosePrimary),
        1 => Just(Event::LoseBaseline),
        1 => Just(Event::BreakBaseline),
        1 => any::<bool>().prop_map(Event::Concurrent),
        3 => proptest::sample::select(verbs.to_vec()).prop_map(Event::Command),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => Just(Event::LoseTarget),
    ];
    // Things tend to happen while others are under way.
    let pause = prop_oneof![0..60_i64, 0..300_i64, 300..2000_i64];
    let events = proptest::collection::vec((pause, event), 0..8).prop_map(|events| {
        let mut time = 60;
        let clock = events.into_iter().map(|(pause, event)| {
            time += pause;
            (time, event)
        });
        clock.collect::<Vec<_>>()
    });
    let rollback = prop_oneof![
        4 => Just(Vec::new()),
        1 => (200..900_i64).prop_map(|from| vec![(HookKind::Rollback, Open { from, until: from + 100 })]),
    ];
    let gates = (gates(), rollback).prop_map(|(gates, rollback)| [gates, rollback].concat());
    let away = (0..2000_i64, 0..2000_i64).prop_map(|(from, time)| Open { from, until: from + time });
    base(events, gates, away)
}

/// What happens does not depend on when exactly: one new revision, perhaps a drift or a scale to zero, and gates
/// that open for good or never.
pub(super) fn calm() -> impl Strategy<Value = Scenario> {
    let upset = prop_oneof![(0..=100_u8).prop_map(Event::Drift), Just(Event::ScaleToZero)];
    let events = (1..7_u8, proptest::collection::vec((500..700_i64, upset), 0..2)).prop_map(|(number, upsets)| {
        let mut events = upsets;
        events.push((400, Event::Push(number)));
        events
    });
    let gates = gates().prop_map(|gates| {
        // A closed hook counts as a failed check; how often it is asked depends on the time.
        gates.into_iter().filter(|(kind, _)| !matches!(kind, HookKind::PreRollout | HookKind::Rollout)).collect()
    });
    base(events, gates, (0..900_i64, 0..300_i64).prop_map(|(from, time)| Open { from, until: from + time }))
}

fn word() -> impl Strategy<Value = String> {
    "[a-z/:= ]{1,12}"
}

fn time() -> impl Strategy<Value = jiff::Timestamp> {
    (0..1_000_000_i64).prop_map(at)
}

fn stages() -> impl Strategy<Value = Stage> {
    let run = (0..=100_u8, 0..50_u32, 0..50_u32, any::<bool>())
        .prop_map(|(weight, iterations, failed_checks, mirrored)| Run { weight, iterations, failed_checks, mirrored });
    prop_oneof![
        Just(Stage::New),
        Just(Stage::Initializing),
        Just(Stage::Initialized),
        (0..=100_u8).prop_map(|weight| Stage::Waiting { weight }),
        run.clone().prop_map(Stage::Progressing),
        run.prop_map(Stage::WaitingPromotion),
        (0..=100_u8).prop_map(|weight| Stage::Promoting { weight }),
        any::<bool>().prop_map(|reverted| Stage::Finalising { reverted }),
        Just(Stage::Succeeded),
        (0..=100_u8, 0..50_u32).prop_map(|(weight, failed_checks)| Stage::Failed { weight, failed_checks }),
        Just(Stage::Terminating),
        Just(Stage::Terminated),
    ]
}

/// Every state that the machine may come to, or find.
pub(super) fn any_state() -> impl Strategy<Value = State> {
    let configs = || proptest::collection::btree_map(word(), word(), 0..3);
    let applied = (word(), word(), configs()).prop_map(|(id, spec, configs)| Revision { id, spec, configs });
    let promoted = (word(), word()).prop_map(|(id, spec)| Promoted { id, spec });
    let foreign = (word(), proptest::option::of(word()), proptest::option::of(configs()))
        .prop_map(|(applied, promoted, configs)| Foreign { applied, promoted, configs });
    type Known = (Option<Revision>, Option<Promoted>, Option<Foreign>);
    let known = prop_oneof![
        Just::<Known>((None, None, None)),
        (applied, proptest::option::of(promoted)).prop_map(|(applied, promoted)| (Some(applied), promoted, None)),
        foreign.prop_map(|foreign| (None, None, Some(foreign))),
    ];
    let cookie = || proptest::option::of(word());
    let cookies =
        (cookie(), cookie(), cookie()).prop_map(|(canary, primary, previous)| Cookies { canary, primary, previous });
    let severity = proptest::sample::select(vec![Severity::Info, Severity::Warn, Severity::Error]);
    let owed = prop_oneof![
        Just(Owed::ScaleDown),
        Just(Owed::PostRollout),
        (severity, any::<bool>(), ".{0,20}").prop_map(|(severity, fields, message)| Owed::Alert {
            severity,
            fields,
            message
        }),
    ];
    let check = (word(), word(), cookie(), cookie(), cookie())
        .prop_map(|(name, result, value, threshold, message)| Check { name, result, value, threshold, message });
    let command = (word(), word(), cookie(), word(), time())
        .prop_map(|(id, command, by, outcome, time)| CommandTaken { id, command, by, outcome, time });
    let lists = (proptest::collection::vec(owed, 0..4), proptest::collection::vec(check, 0..3));
    let moment = || proptest::option::of(time());
    let times = (moment(), moment(), moment(), moment());
    let source = || proptest::option::of(source());
    let baseline = proptest::option::of((0..9_u32, word(), word()))
        .prop_map(|seen| seen.map(|(pods, cpu, memory)| BaselineStatus { pods, cpu, memory }));
    let promoted_commit = (word(), word(), proptest::collection::vec(word(), 0..2), time())
        .prop_map(|(revision, commit, images, time)| PromotedCommit { revision, commit, images, time });
    let sources = (source(), source(), proptest::collection::vec(promoted_commit, 0..3), baseline);
    let answers = (proptest::option::of(command), proptest::option::of(git_rollback()));
    (stages(), known, sources, cookies, any::<bool>(), lists, times, answers).prop_map(
        |(
            stage,
            (applied, promoted, foreign),
            sources,
            cookies,
            paused,
            (owed, checks),
            times,
            (last_command, git),
        )| {
            let (since, checked_at, former_traffic, unavailable_since) = times;
            let (source, promoted_source, promoted_commits, baseline) = sources;
            State {
                stage,
                applied,
                promoted,
                source,
                promoted_source,
                promoted_commits,
                cookies,
                paused,
                owed,
                since,
                checked_at,
                former_traffic,
                unavailable_since,
                baseline,
                checks,
                run: None,
                last_command,
                git,
                foreign,
            }
        },
    )
}

fn git_rollback() -> impl Strategy<Value = GitRollback> {
    use GitRollbackState::{Blocked, MovedOn, Pending, Proposed, Reverted};
    use HoldState::{Held, Lifted, Lifting, NotOurs, Wanted};
    let text = || proptest::option::of("[a-z]{1,8}");
    let object =
        AppliedBy { api_version: "v1".into(), kind: "GitSource".into(), namespace: "eve".into(), name: "shop".into() };
    let hold = (text(), proptest::sample::select(vec![Wanted, Held, Lifting, Lifted, NotOurs]))
        .prop_map(move |(commit, state)| Hold { object: object.clone(), commit, state });
    let state = proptest::sample::select(vec![Pending, Reverted, Proposed, MovedOn, Blocked]);
    let texts = (text(), text(), text(), text(), text(), text());
    (word(), texts, time(), state, proptest::option::of(hold)).prop_map(
        |(
            revision,
            (failed_commit, good_commit, revert_commit, pull_request, message, undone_by),
            since,
            state,
            hold,
        )| {
            GitRollback {
                revision,
                failed_commit,
                good_commit,
                why: "it failed".into(),
                since,
                state,
                revert_commit,
                pull_request,
                message,
                hold,
                undone_by,
            }
        },
    )
}

fn source() -> impl Strategy<Value = Source> {
    let text = || proptest::option::of("[a-z]{1,8}");
    (text(), text(), text(), any::<bool>()).prop_map(|(commit, name, revision, provisional)| Source {
        commit,
        author: name.map(|name| Author { name: Some(name), mail: None }),
        revision,
        provisional,
        ..Source::default()
    })
}
