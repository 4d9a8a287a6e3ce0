//! The judge: takes a log in, look by look, and says what follows.

use crate::answer::{self, Answer};
use crate::policy::Policy;
use crate::sample::{Arm, Entry, Event, Kind, Log, Mark, Millis, Sample};
use crate::state::{State, Way};
use crate::verdict::{Finding, Trouble, Verdict};

/// What a log has come to so far. The same log gives the same verdict, whether it is learnt at once or bit by bit and
/// however often the verdict is asked for.
#[derive(Clone, Debug)]
pub struct Judge {
    pub(crate) policy: Policy,
    pub(crate) states: Vec<State>,
    /// Where the series of the log are among the metrics, with whose and what they are.
    series: Vec<Option<(usize, Arm, Kind)>>,
    /// Entries of the log that were read.
    read: usize,
    /// The samples of the look that may not be whole yet.
    look: Vec<Read>,
    pub(crate) asked: Millis,
    pub(crate) started: Option<Millis>,
    pub(crate) restarts: Vec<(Arm, Millis)>,
    /// When the traffic was last split, and how.
    pub(crate) split: Option<(Millis, f64, f64)>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) at: Millis,
    /// When the canary was first shown to be worse.
    pub(crate) worse_since: Option<Millis>,
    pub(crate) failed_checks: u32,
}

/// So long after their start, pods are not compared with old ones by the quick test, whatever the policy says of warm-up.
const YOUNG: Millis = 60_000;

/// A sample, read.
#[derive(Clone, Debug)]
struct Read {
    to: Millis,
    from: Millis,
    metric: usize,
    arm: Arm,
    answer: Result<Answer, Trouble>,
}

/// What follows from a log.
pub fn judge(log: &Log, policy: &Policy) -> Verdict {
    let mut judge = Judge::new(policy.clone());
    judge.learn(log);
    judge.verdict()
}

impl Judge {
    /// Somebody who has seen nothing yet.
    pub fn new(policy: Policy) -> Self {
        let states = policy.metrics().iter().map(|metric| State::new(&policy, metric)).collect();
        Self {
            policy,
            states,
            series: Vec::new(),
            read: 0,
            look: Vec::new(),
            asked: 0,
            started: None,
            restarts: Vec::new(),
            split: None,
            findings: Vec::new(),
            at: 0,
            worse_since: None,
            failed_checks: 0,
        }
    }

    /// Learns what was added to the log since it was last shown; it must be the same log.
    pub fn learn(&mut self, log: &Log) {
        for series in log.series.iter().skip(self.series.len()) {
            let metric = self.states.iter().position(|state| state.name == series.metric);
            if let (Some(metric), Kind::Histogram { edges }) = (metric, &series.kind) {
                self.states[metric].edges.clone_from(edges);
            }
            self.series.push(metric.map(|metric| (metric, series.arm, series.kind.clone())));
        }
        for entry in log.entries.iter().skip(self.read) {
            match entry {
                Entry::Sample(sample) => self.sample(sample),
                Entry::Mark(mark) => self.mark(mark),
            }
        }
        self.read = log.entries.len();
    }

    /// What follows from all that was learnt.
    pub fn verdict(&self) -> Verdict {
        if self.look.is_empty() {
            return self.decide();
        }
        let mut whole = self.clone();
        whole.close_look();
        whole.decide()
    }

    fn mark(&mut self, mark: &Mark) {
        match mark.what {
            Event::Started => self.started = Some(mark.at),
            Event::Split { canary, baseline } => {
                self.close_look();
                self.split = Some((mark.at, canary, baseline));
                self.states.iter_mut().for_each(|state| state.traffic = Default::default());
            }
            Event::Restarted(arm) => {
                let long = self.policy.warm_up.max(YOUNG);
                self.restarts.retain(|(known, at)| *known != arm || at.saturating_add(long) > mark.at);
                self.restarts.push((arm, mark.at));
            }
        }
    }

    fn sample(&mut self, sample: &Sample) {
        if sample.asked > self.asked {
            self.close_look();
            self.asked = sample.asked;
        }
        let Some(Some((metric, arm, kind))) = self.series.get(sample.series as usize) else { return };
        let answer = answer::read(sample, kind, self.policy.max_age);
        self.look.push(Read { to: sample.to, from: sample.from, metric: *metric, arm: *arm, answer });
    }

    /// Takes in what was asked at one time, in an order that does not depend on which answer came first.
    fn close_look(&mut self) {
        let mut look = std::mem::take(&mut self.look);
        look.sort_by_key(|read| (read.to, read.from, read.metric, read.arm));
        let mut failed = None;
        for read in look.drain(..) {
            self.at = self.at.max(read.to);
            if let Way::Threshold(_) = self.states[read.metric].way {
                failed = failed.max(self.check(&read));
            } else {
                self.put(read);
            }
        }
        self.look = look;
        if let Some(at) = failed {
            self.failed_checks = self.failed_checks.saturating_add(1);
            if self.failed_checks >= self.policy.failed_checks.get() {
                self.worse_since.get_or_insert(at);
            }
        }
        self.compare();
    }

    fn put(&mut self, read: Read) {
        let Read { to, from, metric, arm, answer } = read;
        let asked = self.asked;
        let state = &mut self.states[metric];
        let before = self.started.is_some_and(|started| from < started);
        match answer {
            // How it was before helps where it is known.
            Err(_) if before => {}
            Err(trouble) => {
                if arm == Arm::Canary || state.other == Some(arm) {
                    state.unusable += 1;
                    state.bad = Some(asked);
                    let metric = Some(state.name.clone());
                    self.find(metric, trouble, asked, 1);
                }
            }
            Ok(answer) if before => {
                if let (Arm::Primary | Arm::Baseline, Way::Events(events)) = (arm, &mut state.way) {
                    events.remember(&answer);
                }
            }
            Ok(answer) => {
                if state.put(arm, from, to, answer) && arm == Arm::Canary {
                    state.good = Some(asked);
                }
            }
        }
    }

    /// Flagger's rule for one value; when it failed. That a canary has no value at all is a failed check there.
    fn check(&mut self, read: &Read) -> Option<Millis> {
        let asked = self.asked;
        let state = &mut self.states[read.metric];
        let Way::Threshold(checks) = &mut state.way else { return None };
        if read.arm != Arm::Canary {
            return None;
        }
        let value = match &read.answer {
            Ok(Answer::Value(value)) => Some(*value),
            Ok(Answer::Counts(arm)) => Some(arm.rate()),
            Ok(Answer::Histogram { .. }) => None,
            Err(Trouble::Empty | Trouble::NotANumber) => None,
            Err(trouble) => {
                let (name, trouble) = (state.name.clone(), trouble.clone());
                state.unusable += 1;
                state.bad = Some(asked);
                self.find(Some(name), trouble, asked, 1);
                return None;
            }
        };
        state.good = Some(asked);
        checks.made += 1;
        checks.last = value;
        checks.last_failed = !value.is_some_and(|value| checks.range.contains(value));
        checks.failed += u32::from(checks.last_failed);
        checks.last_failed.then_some(read.to)
    }

    /// Compares the windows that are known of all arms, in the order of time.
    fn compare(&mut self) {
        let mut ready = Vec::new();
        for metric in 0..self.states.len() {
            let dropped = self.states[metric].ready(&mut ready, metric);
            if dropped > 0 {
                self.find(Some(self.states[metric].name.clone()), Trouble::Unpaired, self.asked, dropped);
            }
        }
        ready.sort_by_key(|(to, from, metric, _)| (*to, *from, *metric));
        let mut windows = ready.iter().peekable();
        while let Some((to, from, metric, answers)) = windows.next() {
            let other = self.states[*metric].other;
            if self.warming(*from, *to, Arm::Canary) || other.is_some_and(|other| self.warming(*from, *to, other)) {
                self.states[*metric].warming += 1;
            } else {
                let enough = 1.0 / self.policy.false_promotion_rate.get();
                let young = self.started_within(YOUNG, *from, *to, Arm::Canary);
                let state = &mut self.states[*metric];
                state.feed(*from, *to, answers, young);
                if state.odds_not_worse() >= enough * (1.0 - 1e-12) {
                    state.not_worse_since.get_or_insert(*to);
                }
            }
            if windows.peek().is_none_or(|next| next.0 != *to) {
                self.weigh(*to);
            }
        }
    }

    /// All metrics together: the mean of evidence is evidence, whatever the metrics have to do with each other.
    fn weigh(&mut self, at: Millis) {
        if self.worse_since.is_some() {
            return;
        }
        let odds: f64 = self.states.iter().map(|state| state.share * state.odds()).sum();
        let burnt = self.states.iter().any(|state| matches!(&state.way, Way::Burn(burn) if burn.since.is_some()));
        if burnt || odds * self.policy.false_alarm_rate.get() >= 1.0 - 1e-9 {
            self.worse_since = Some(at);
        }
    }

    fn warming(&self, from: Millis, to: Millis, arm: Arm) -> bool {
        self.started_within(self.policy.warm_up, from, to, arm)
    }

    /// Whether pods of the arm started in the window or so shortly before it.
    fn started_within(&self, before: Millis, from: Millis, to: Millis, arm: Arm) -> bool {
        before > 0 && self.restarts.iter().any(|(of, at)| *of == arm && from < at.saturating_add(before) && to > *at)
    }

    fn find(&mut self, metric: Option<String>, what: Trouble, at: Millis, times: u64) {
        let same = |finding: &&mut Finding| {
            finding.metric == metric && std::mem::discriminant(&finding.what) == std::mem::discriminant(&what)
        };
        match self.findings.iter_mut().find(same) {
            Some(finding) => {
                finding.times += times;
                finding.at = at;
                finding.what = what;
            }
            None => self.findings.push(Finding { metric, what, at, times }),
        }
    }
}
