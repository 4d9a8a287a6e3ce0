//! What must hold in every world: a reference that knows nothing of how the machine decides.

use std::collections::{BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use rollout::Stage;
use rollout::desired::{BaselineAction, PrimaryAction, ScaleAction};
use rollout::spec::Strategy;

use crate::support::look::events;
use crate::support::world::{Pass, World};

/// More passes than this within a minute are a busy loop; each event, crash and write may cause one.
const PASSES_PER_MINUTE: usize = 40;

pub(super) struct Rules {
    /// What was analysed and passed in this run: weight, iteration, mirrored.
    passed: BTreeSet<(u8, u32, bool)>,
    /// The weight that the run began with; not 0 when the primary was broken.
    began: u8,
    /// Someone asked for promotion.
    forced: bool,
    /// The target was gone, and came back as its owner wants it.
    replaced: bool,
    recent: VecDeque<Timestamp>,
    story: Vec<String>,
}

impl Rules {
    pub(super) fn new() -> Rules {
        Rules {
            passed: BTreeSet::new(),
            began: 0,
            forced: false,
            replaced: false,
            recent: VecDeque::new(),
            story: Vec::new(),
        }
    }

    fn hold(&self, holds: bool, rule: &str) {
        let recent = self.story.len().saturating_sub(40);
        assert!(holds, "{rule}\n{}", self.story[recent..].join("\n"));
    }

    pub(super) fn check(&mut self, before: &World, after: &World, pass: &Pass) {
        self.tell(pass);
        self.replaced |= before.target.is_none();
        self.recent.push_back(pass.at);
        while self.recent.front().is_some_and(|first| *first + SignedDuration::from_secs(60) < pass.at) {
            self.recent.pop_front();
        }
        self.hold(self.recent.len() <= PASSES_PER_MINUTE, "no busy loop");
        if pass.crashed && pass.writes.is_empty() {
            return; // Nothing came of it.
        }
        self.weights(before, pass);
        self.waiting(pass);
        self.scale(before, after, pass);
        self.baseline(before, pass);
        self.count(before, pass);
        self.promotion(before, after, pass);
    }

    fn tell(&mut self, pass: &Pass) {
        let (stage, told) = (&pass.step.state.stage, events(&pass.step.effects).join(" / "));
        let reasons: Vec<_> = pass.step.waiting.iter().map(|waiting| waiting.reason.as_str()).collect();
        let died = if pass.crashed { " DIED" } else { "" };
        let line = format!("{} {stage:?} {reasons:?} wrote {:?}{died}: {told}", pass.at, pass.writes);
        self.story.push(line);
    }

    fn weights(&self, world: &World, pass: &Pass) {
        let (was, is) = (pass.before.stage.weight(), pass.step.state.stage.weight());
        let intent = &pass.step.desired.intent;
        self.hold(is <= 100 && intent.canary_weight == is, "the split is a share of 100 and as the state says");
        let next = match &world.spec.strategy {
            Strategy::Canary { weights, .. } => weights.iter().copied().find(|weight| *weight > was),
            Strategy::AbTesting { .. } | Strategy::BlueGreen { .. } => Some(100),
        };
        let back = match &world.spec.strategy {
            Strategy::Canary { promotion_step, .. } => promotion_step.map(|step| was.saturating_sub(step)),
            Strategy::AbTesting { .. } | Strategy::BlueGreen { .. } => None,
        };
        let promoting = matches!(pass.before.stage, Stage::Promoting { .. });
        let broke = promoting && is == 100 && matches!(pass.step.state.stage, Stage::Failed { .. });
        let scheduled = is == 0 || is == was || Some(is) == next || promoting && Some(is) == back || broke;
        self.hold(scheduled, &format!("a weight of {was} does not become {is}"));
        let refuge = is == 0 && was == 100 && world.primary_stuck() && world.canary_ready() && !world.deleting;
        self.hold(!refuge, "no traffic goes back to a broken primary");
        let cookie = pass.step.state.cookies.canary.is_some();
        self.hold(
            cookie == (is > 0 && world.spec.affinity.is_some()),
            "a cookie lives as long as the canary has traffic",
        );
    }

    fn waiting(&self, pass: &Pass) {
        let idle = matches!(pass.step.state.stage, Stage::Initialized | Stage::Succeeded | Stage::Failed { .. });
        let still = pass.writes.is_empty() && !pass.crashed;
        self.hold(idle || !still || !pass.step.waiting.is_empty(), "what stands still says why");
        self.hold(pass.step.wake.is_none_or(|wake| wake > pass.at), "a wake lies ahead");
    }

    fn scale(&self, before: &World, after: &World, pass: &Pass) {
        if pass.writes.contains(&"scale") && pass.step.desired.target == ScaleAction::Down {
            let route = before.route.as_ref();
            let clear = route.is_some_and(|route| (route.weight, route.mirrored) == (0, false));
            self.hold(clear && after.weight() == 0, "no canary with traffic is scaled down");
            self.hold(route.is_some_and(|route| route.accepted <= pass.at), "nor one whose route is not in force yet");
        }
    }

    fn baseline(&self, before: &World, pass: &Pass) {
        let desired = &pass.step.desired;
        let (weight, share) = (desired.intent.canary_weight, desired.intent.baseline_weight);
        let analyses = pass.step.state.stage.analyses() && before.spec.runs_baseline();
        self.hold(analyses || share == 0, "a baseline has users only while the canary is analysed");
        self.hold(
            share == 0 || share == weight.min(100 - weight),
            "and as many as the canary, or those that it leaves",
        );
        let more = share > before.route.as_ref().map_or(0, |route| route.baseline);
        self.hold(!more || before.baseline_serves(), "and gets them only when its pods serve");
        let runs = matches!(desired.baseline, BaselineAction::Run { .. });
        self.hold(!runs || analyses, "it is wanted only while the canary is analysed");
        self.hold(pass.step.state.baseline.is_none() || analyses, "and told only as long");
        if pass.writes.contains(&"no baseline") {
            let clear = before.route.as_ref().is_some_and(|route| route.baseline == 0 && route.accepted <= pass.at);
            self.hold(clear, "no baseline with users goes");
        }
    }

    /// Counts what was analysed, and notices when a run begins.
    fn count(&mut self, before: &World, pass: &Pass) {
        if let Stage::Progressing(run) | Stage::WaitingPromotion(run) = pass.before.stage {
            let same = pass.before.applied.as_ref().map(|applied| &applied.id)
                == before.target.as_ref().map(|target| &target.revision);
            if pass.passed == Some(true) && same {
                self.passed.insert((run.weight, run.iterations, run.mirrored));
            }
        }
        if let Stage::Progressing(run) = pass.step.state.stage
            && pass.step.state.checked_at.is_none()
        {
            self.passed.clear();
            self.began = run.weight;
            self.forced = false;
        }
        if pass.step.state.last_command != pass.before.last_command {
            let taken = pass.step.state.last_command.as_ref().expect("a command was taken");
            let promote = taken.command.starts_with("promote") && !taken.outcome.starts_with("refused");
            self.forced |= promote && taken.outcome != "the rollout was approved";
        }
    }

    fn promotion(&self, before: &World, after: &World, pass: &Pass) {
        if !pass.writes.contains(&"primary") || pass.step.desired.primary != PrimaryAction::Promote {
            return;
        }
        let promoted = &after.primary.as_ref().expect("a primary was written").revision;
        let applied = pass.step.state.applied.as_ref().map(|applied| &applied.id);
        self.hold(applied == Some(promoted), "what is promoted is what was rolled out");
        if before.spec.skip_analysis || self.forced {
            return;
        }
        let passed = |wanted: &dyn Fn(u8, u32, bool) -> bool| self.passed.iter().any(|(w, i, m)| wanted(*w, *i, *m));
        let enough = match &before.spec.strategy {
            Strategy::Canary { .. } if self.began == 100 => passed(&|weight, _, _| weight == 100),
            Strategy::Canary { weights, mirror, .. } => {
                weights.iter().all(|wanted| *wanted < self.began || passed(&|weight, _, _| weight == *wanted))
                    && (mirror.is_none() || self.began > 0 || passed(&|_, _, mirrored| mirrored))
            }
            Strategy::AbTesting { iterations, .. } => {
                (1..=*iterations).all(|wanted| passed(&|weight, done, _| weight == 100 && done == wanted))
            }
            Strategy::BlueGreen { iterations, .. } => {
                (1..=*iterations).all(|wanted| passed(&|_, done, _| done == wanted))
                    && passed(&|weight, _, _| weight == 100)
            }
        };
        self.hold(enough, &format!("{promoted} was promoted before each step had passed: {:?}", self.passed));
    }

    /// Nothing is due any more: two further looks change nothing.
    pub(super) fn check_rest(&self, world: &World, last: &Pass) {
        let mut again = world.clone();
        for _ in 0..2 {
            let pass = again.pass(None);
            self.hold(pass.writes.is_empty(), &format!("a world at rest is left alone, but {:?} written", pass.writes));
        }
        self.hold(again.status == world.status, "a world at rest keeps its status");
        self.hold(last.step.wake.is_none(), "a world at rest needs no wake");
    }

    /// The run ended, or says what it waits for; no revision was lost.
    pub(super) fn check_end(&self, world: &World, settled: bool) {
        let state = world.state();
        let waits: Vec<_> = world.status.waiting_for.iter().map(|waiting| waiting.reason.as_str()).collect();
        let target = world.target.as_ref().map(|target| target.revision.as_str());
        let applied = state.applied.as_ref().map(|applied| applied.id.as_str());
        let held = ["Suspended", "TargetMissing", "Paused", "PrimaryNotReady", "BaselineNotReady", "ConfirmRollout"];
        let gates = ["ConfirmRollout", "ConfirmTrafficIncrease", "ConfirmPromotion"];
        if !settled {
            self.hold(
                gates.iter().any(|gate| waits.contains(gate)),
                &format!("only a gate holds for ever, not {waits:?}"),
            );
        }
        if held.iter().any(|held| waits.contains(held)) || !settled {
            return;
        }
        self.hold(applied == target, "the revision that stands was judged");
        self.hold(world.baseline.is_none(), "a baseline does not outlive its analysis");
        let up = world.target.as_ref().is_some_and(|target| target.up);
        self.hold(!up || world.weight() > 0 || self.replaced, "a canary without traffic does not stay up");
        match state.stage {
            Stage::Initialized | Stage::Succeeded => {
                let primary = world.primary.as_ref().map(|primary| primary.revision.as_str());
                self.hold(primary == target, "the primary serves what was promoted");
                self.hold(world.weight() == 0, "and serves all of it");
            }
            Stage::Failed { weight, .. } => {
                self.hold(world.weight() == weight, "the route is as the status says");
                self.hold(up || weight == 0, "a canary that serves is up");
                self.hold(state.owed.is_empty(), "nothing is owed");
            }
            Stage::New
            | Stage::Initializing
            | Stage::Waiting { .. }
            | Stage::Progressing(_)
            | Stage::WaitingPromotion(_)
            | Stage::Promoting { .. }
            | Stage::Finalising { .. }
            | Stage::Terminating
            | Stage::Terminated => self.hold(false, &format!("a run ends; this one waits for {waits:?}")),
        }
    }
}
