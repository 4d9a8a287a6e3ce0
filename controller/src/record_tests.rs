//! Records of rollouts, against an API in memory.

use std::time::Duration;

use crds::{CanaryRunSpec, CanaryStatus, RunEntry, RunSample};
use jiff::{SignedDuration, Timestamp};
use rollout::desired::Desired;
use rollout::log::Logged;
use rollout::{Memory, Revision, Run, Stage, State, Step};
use serde_json::{Value, json};

use crate::fake::Fake;
use crate::metrics::Metrics;
use crate::objects::Owner;
use crate::objects::kinds::CANARY_RUN;
use crate::record::{Decision, Recording, record};
use crate::rest::Rest;
use crate::spec_fixture::spec;

const RUN: &str = "shop-20260301t120000-00000000";

/// A rollout whose passes are recorded.
struct Rollout {
    fake: Fake,
    recording: Recording,
    status: CanaryStatus,
    now: Timestamp,
    canary: Value,
}

impl Rollout {
    fn new() -> Rollout {
        let canary = json!({"spec": {"analysis": {"threshold": 2}}});
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        Rollout { fake: Fake::new(), recording: Recording::default(), status: CanaryStatus::default(), now, canary }
    }

    /// A pass that leads to this stage, half a minute after the one before; with a look or without, or with nothing to tell.
    async fn pass(&mut self, run: &str, stage: Stage, looked: Option<bool>) {
        self.now += SignedDuration::from_secs(30);
        let (step, status) = self.decide(run, stage, looked);
        self.record(&step).await;
        self.status = status;
    }

    /// The process dies between its writes: the status is there, and nothing else.
    fn dies(&mut self, run: &str, stage: Stage) {
        self.now += SignedDuration::from_secs(30);
        self.status = self.decide(run, stage, Some(true)).1;
        self.recording = Recording::default();
    }

    fn decide(&self, run: &str, stage: Stage, looked: Option<bool>) -> (Step, CanaryStatus) {
        let state = State {
            applied: Some(Revision { id: "r1".into(), spec: "r1".into(), configs: Default::default() }),
            since: Some(self.now),
            checked_at: looked.filter(|looked| *looked).map(|_| self.now),
            run: Some(run.to_owned()),
            stage,
            ..State::default()
        };
        let status = state.to_status();
        let log = looked.map(|looked| Logged {
            run: run.to_owned(),
            entry: RunEntry {
                time: self.now,
                looked,
                phase: status.phase,
                weight: status.canary_weight,
                failed_checks: status.failed_checks,
                samples: vec![RunSample { metric: "errors".into(), value: Some("1.5".into()), ..RunSample::default() }],
                ..RunEntry::default()
            },
            queries: vec![Some("sum(errors)".into())],
        });
        let desired = Desired::steady(&state);
        let log = log.into_iter().collect();
        let (effects, waiting) = (Vec::new(), Vec::new());
        (Step { state, desired, effects, waiting, wake: None, memory: Memory::default(), log }, status)
    }

    async fn record(&mut self, step: &Step) {
        let owner = Owner { namespace: "eve".into(), name: "shop".into(), uid: "uid-c".into() };
        let spec = spec();
        let rest = Rest::new(self.fake.client(), Metrics::new("test", "traefik"));
        let decision = Decision {
            owner: &owner,
            canary: &self.canary,
            spec: &spec,
            before: &self.status,
            step,
            now: self.now,
            clock_set: SignedDuration::ZERO,
        };
        record(&rest, Duration::from_secs(5), decision, &mut self.recording).await;
    }

    fn run(&self, name: &str) -> CanaryRunSpec {
        let object = self.fake.object(CANARY_RUN, "eve", name).expect("a record");
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "uid-c");
        serde_json::from_value(object["spec"].clone()).unwrap()
    }

    /// Requests since the last time, by method.
    fn requests(&self, since: usize) -> Vec<String> {
        let requests = self.fake.requests();
        requests[since..].iter().map(|request| request.split(' ').next().unwrap_or_default().to_owned()).collect()
    }
}

fn at(weight: u8) -> Stage {
    Stage::Progressing(Run { weight, ..Run::default() })
}

#[tokio::test]
async fn a_look_costs_one_write_and_a_pass_that_decides_nothing_none() {
    let mut rollout = Rollout::new();
    rollout.pass(RUN, at(0), Some(false)).await;
    assert_eq!(rollout.fake.requests().len(), 0, "the beginning waits for the first look");
    rollout.pass(RUN, at(10), Some(true)).await;
    let before = rollout.fake.requests().len();
    for weight in [20, 30] {
        rollout.pass(RUN, at(weight), Some(true)).await;
        rollout.pass(RUN, at(weight), None).await;
    }
    assert_eq!(rollout.requests(before), ["PATCH", "PATCH"]);
    rollout.canary["spec"]["analysis"]["threshold"] = 5.into();
    rollout.pass(RUN, Stage::Failed { weight: 0, failed_checks: 2 }, Some(true)).await;
    let run = rollout.run(RUN);
    let weights: Vec<i32> = run.entries.iter().map(|entry| entry.weight).collect();
    assert_eq!((weights, run.phase), (vec![0, 10, 20, 30, 0], crds::Phase::Failed));
    assert_eq!((run.queries, run.entries[4].samples[0].query), (vec!["sum(errors)".to_owned()], Some(0)));
    assert_eq!(run.policies.len(), 2, "the policy was changed under way");
    let before = rollout.fake.requests().len();
    rollout.pass(RUN, Stage::Failed { weight: 0, failed_checks: 2 }, None).await;
    assert_eq!(rollout.fake.requests().len(), before);
}

#[tokio::test]
async fn what_was_lost_with_the_process_is_marked() {
    let mut rollout = Rollout::new();
    rollout.pass(RUN, at(0), Some(true)).await;
    rollout.pass(RUN, at(10), Some(true)).await;
    rollout.dies(RUN, at(20));
    rollout.pass(RUN, at(30), Some(true)).await;
    let marks = |run: &CanaryRunSpec| -> Vec<(i32, bool, bool)> {
        run.entries.iter().map(|entry| (entry.weight, entry.gap, entry.resumed)).collect()
    };
    let lost = [(0, false, false), (10, false, false), (20, true, false), (30, false, true)];
    assert_eq!(marks(&rollout.run(RUN)), lost);
    // The end itself was lost, and nothing more will be decided.
    rollout.dies(RUN, Stage::Failed { weight: 0, failed_checks: 2 });
    rollout.pass(RUN, Stage::Failed { weight: 0, failed_checks: 2 }, None).await;
    let run = rollout.run(RUN);
    assert_eq!((run.phase, marks(&run)[4]), (crds::Phase::Failed, (0, true, false)));
    rollout.recording = Recording::default();
    rollout.pass(RUN, Stage::Failed { weight: 0, failed_checks: 2 }, None).await;
    assert_eq!(rollout.run(RUN).entries.len(), 5);
}

#[tokio::test]
async fn ten_records_are_kept() {
    let mut rollout = Rollout::new();
    let names: Vec<String> = (0..12).map(|minute| format!("shop-20260301t12{minute:02}00-00000000")).collect();
    for name in &names {
        rollout.pass(name, at(0), Some(true)).await;
        rollout.pass(name, Stage::Succeeded, Some(true)).await;
    }
    let kept = names.iter().map(|name| rollout.fake.object(CANARY_RUN, "eve", name).is_some()).collect::<Vec<_>>();
    assert_eq!(kept, [vec![false; 2], vec![true; 10]].concat());
}

#[tokio::test]
async fn a_record_stays_small_and_says_what_it_lacks() {
    let mut rollout = Rollout::new();
    rollout.pass(RUN, at(0), Some(true)).await;
    let mut object = rollout.fake.object(CANARY_RUN, "eve", RUN).expect("a record");
    let told = json!([object["spec"]["entries"][0], {"time": rollout.now, "phase": "Progressing", "told": ["x".repeat(300_000)]},
        object["spec"]["entries"][0]]);
    object["spec"]["entries"] = told;
    rollout.fake.put(CANARY_RUN, object);
    rollout.recording = Recording::default();
    rollout.pass(RUN, at(10), Some(true)).await;
    let run = rollout.run(RUN);
    assert_eq!((run.truncated, run.entries.len()), (1, 3));
    assert_eq!(run.entries[2].weight, 10);
}

#[tokio::test]
async fn without_the_definition_nothing_piles_up() {
    let mut rollout = Rollout::new();
    rollout.fake.uninstall(CANARY_RUN, true);
    for weight in [0, 10, 20] {
        rollout.pass(RUN, at(weight), Some(true)).await;
    }
    rollout.fake.uninstall(CANARY_RUN, false);
    rollout.pass(RUN, at(30), Some(true)).await;
    let run = rollout.run(RUN);
    assert_eq!(
        run.entries.iter().map(|entry| (entry.weight, entry.gap)).collect::<Vec<_>>(),
        [(20, true), (30, false)]
    );
}
