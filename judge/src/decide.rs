//! From what was gathered to a verdict.

use crate::judge::Judge;
use crate::policy::Method;
use crate::ranks::beta_binomial_log_mixture;
use crate::sample::{Arm, Millis};
use crate::state::{State, Way};
use crate::values::Ranked;
use crate::verdict::{Decision, Evidence, Finding, Measured, Needs, Opinion, Reason, Strength, Trouble, Verdict};

/// A split that is off by chance looks this unlikely once in a thousand rollouts.
const SPLIT_ALPHA: f64 = 0.001;
/// Routers and long connections split a little unevenly; so much of the canary's part does no harm.
const SPLIT_TOLERANCE: f64 = 0.25;
/// How sure the mixture against the intended split is of it, in requests.
const SPLIT_PRIOR: f64 = 100.0;

impl Judge {
    pub(crate) fn decide(&self) -> Verdict {
        let ranked: Vec<Option<Ranked>> = self.states.iter().map(|state| self.ranked(state)).collect();
        let metrics: Vec<Evidence> =
            self.states.iter().zip(&ranked).map(|(state, ranked)| self.evidence(state, ranked)).collect();
        let mut findings = self.findings.clone();
        let split = self.wrong_split();
        if let Some((intended, seen)) = split {
            findings.push(Finding {
                metric: None,
                what: Trouble::WrongSplit { intended, seen },
                at: self.at,
                times: 1,
            });
        }
        for state in &self.states {
            let share = state.windows() as f64 / (state.windows() + state.unusable).max(1) as f64;
            if state.unusable > 0 {
                let metric = Some(state.name.clone());
                findings.push(Finding { metric, what: Trouble::Coverage { share }, at: self.at, times: 1 });
            }
        }
        let decision = self.decision(&metrics, split);
        Verdict { decision, at: self.at, metrics, findings }
    }

    fn decision(&self, metrics: &[Evidence], split: Option<(f64, f64)>) -> Decision {
        let since = self.worse_since.or_else(|| {
            let ranked = metrics.iter().zip(self.policy.metrics());
            let mut worse = ranked.filter(|(evidence, metric)| {
                matches!(metric.method, Method::MannWhitney(_)) && evidence.opinion == Opinion::Worse
            });
            worse.next().map(|_| self.at)
        });
        if let Some(since) = since {
            return Decision::Worse { metrics: strongest(metrics), since };
        }
        let open = |reason, needs, then| Decision::CannotTell { reason, needs, then };
        if self.states.is_empty() {
            return open(Reason::NoMetrics, None, None);
        }
        if let Some(since) = self.missing_since() {
            let until = since.saturating_add(self.policy.missing.hold_for);
            let then = (self.asked >= until).then_some(self.policy.missing.then);
            return open(Reason::MissingData { since, until }, None, then);
        }
        if let Some((intended, seen)) = split {
            return open(Reason::WrongSplit { intended, seen }, None, None);
        }
        if metrics.iter().all(|evidence| evidence.opinion == Opinion::NotWorse) {
            let since = metrics.iter().filter_map(|evidence| evidence.since).max().unwrap_or(self.at);
            return Decision::NotWorse { since };
        }
        if metrics.iter().any(|evidence| evidence.opinion == Opinion::Failing) {
            let (failed, limit) = (self.failed_checks, self.policy.failed_checks.get());
            return open(Reason::FailedCheck { failed, limit }, None, None);
        }
        if self.states.iter().all(|state| state.windows() == 0) {
            let ends = self.restarts.iter().map(|(_, at)| at.saturating_add(self.policy.warm_up)).max();
            return match ends.filter(|_| self.states.iter().any(|state| state.warming > 0)) {
                Some(until) => open(Reason::WarmingUp { until }, None, None),
                None => open(Reason::NoData, None, None),
            };
        }
        let close = |evidence: &Evidence| {
            evidence.opinion == Opinion::Open && evidence.worse.reached >= evidence.worse.needed * (1.0 - 1e-9)
        };
        let needs = metrics.iter().filter(|evidence| evidence.opinion == Opinion::Open).map(|evidence| evidence.needs);
        let most = needs.reduce(|one, two| Some(if one?.seconds >= two?.seconds { one? } else { two? })).flatten();
        open(if metrics.iter().any(close) { Reason::Close } else { Reason::NotEnoughTraffic }, most, None)
    }

    /// Since when a metric has not been readable: its newest answers are unusable, or it has none while others do.
    fn missing_since(&self) -> Option<Millis> {
        let start = self.started.or(self.states.iter().filter_map(|state| state.good).min());
        let missing = |state: &State| match (state.good, state.bad) {
            (Some(good), Some(bad)) if bad > good => Some(good),
            (Some(good), _) if good.saturating_add(self.policy.max_age) < self.asked => Some(good),
            (Some(_), _) => None,
            (None, Some(bad)) => Some(start.unwrap_or(bad)),
            (None, None) => start.filter(|start| start.saturating_add(self.policy.max_age) < self.asked),
        };
        self.states.iter().filter_map(missing).min()
    }

    /// The intended part of the canary beside the arm that it is compared with, and the real one, if they differ by more
    /// than chance and more than does harm.
    fn wrong_split(&self) -> Option<(f64, f64)> {
        let (_, canary, baseline) = self.split?;
        let state = self.states.iter().find(|state| state.traffic.canary > 0.0 && state.traffic.other > 0.0)?;
        let other = match state.other? {
            Arm::Baseline => baseline,
            Arm::Primary => 1.0 - canary - baseline,
            Arm::Canary => return None,
        };
        let intended = canary / (canary + other);
        if !(intended > 0.0 && intended < 1.0) {
            return None;
        }
        let all = state.traffic.canary + state.traffic.other;
        let seen = state.traffic.canary / all;
        let (a, b) = (SPLIT_PRIOR * intended, SPLIT_PRIOR * (1.0 - intended));
        let odds = beta_binomial_log_mixture(state.traffic.canary, all, intended, a, b);
        let harms = (seen - intended).abs() > SPLIT_TOLERANCE * intended.min(1.0 - intended);
        (harms && odds > -libm::log(SPLIT_ALPHA)).then_some((intended, seen))
    }

    fn ranked(&self, state: &State) -> Option<Ranked> {
        match &state.way {
            Way::Ranks(ranks) => {
                ranks.judge(self.policy.false_alarm_rate.get() * state.share, self.policy.false_promotion_rate.get())
            }
            Way::Threshold(_) | Way::Events(_) | Way::Means(_) | Way::Burn(_) => None,
        }
    }

    fn evidence(&self, state: &State, ranked: &Option<Ranked>) -> Evidence {
        let needed = 1.0 / (self.policy.false_alarm_rate.get() * state.share);
        let enough = 1.0 / self.policy.false_promotion_rate.get();
        let limit = f64::from(self.policy.failed_checks.get());
        let strength = |reached: f64, needed: f64| Strength { reached, needed };
        let odds = state.odds_not_worse();
        let ((canary, reference), ratio, worse, not_worse) = match &state.way {
            Way::Threshold(checks) => {
                let passed = f64::from(u8::from(checks.made > 0 && !checks.last_failed));
                let canary = checks.last.map(Measured::Value);
                ((canary, None), None, strength(checks.failed.into(), limit), strength(passed, 1.0))
            }
            Way::Events(events) => {
                (events.measured(), events.ratio(), strength(events.worse(), needed), strength(odds, enough))
            }
            Way::Means(means) => {
                (means.measured(), means.ratio(), strength(means.worse.wealth.total(), needed), strength(odds, enough))
            }
            Way::Ranks(ranks) => {
                let reached = ranked.as_ref().map_or(1.0, |ranked| 1.0 / ranked.p.max(1e-300));
                let passed = f64::from(u8::from(ranked.as_ref().is_some_and(|ranked| ranked.not_worse)));
                (ranks.measured(), None, strength(reached, needed), strength(passed, 1.0))
            }
            Way::Burn(burn) => {
                ((None, None), None, strength(burn.rate, 1.0), strength(f64::from(u8::from(burn.fine())), 1.0))
            }
        };
        let opinion = self.opinion(state, ranked, worse);
        let since = match opinion {
            Opinion::Worse => self.worse_since,
            Opinion::NotWorse => Some(state.not_worse_since.unwrap_or(self.at)),
            Opinion::Open | Opinion::Failing | Opinion::Missing => None,
        };
        let needs = if opinion == Opinion::Open { self.needs(state, enough) } else { None };
        let (windows, unusable) = (state.windows(), state.unusable);
        let metric = state.name.clone();
        Evidence { metric, opinion, canary, reference, ratio, worse, not_worse, windows, unusable, since, needs }
    }

    fn opinion(&self, state: &State, ranked: &Option<Ranked>, worse: Strength) -> Opinion {
        let missing = match (state.good, state.bad) {
            (Some(good), Some(bad)) => bad > good,
            (None, Some(_)) => true,
            (Some(_), None) | (None, None) => false,
        };
        let bad = match &state.way {
            Way::Threshold(checks) => checks.failed > 0 && self.failed_checks >= self.policy.failed_checks.get(),
            Way::Events(_) | Way::Means(_) => state.odds() >= worse.needed * (1.0 - 1e-9),
            Way::Ranks(_) => ranked.as_ref().is_some_and(|ranked| ranked.worse),
            Way::Burn(burn) => burn.since.is_some(),
        };
        let good = match &state.way {
            Way::Threshold(checks) => checks.made > 0 && !checks.last_failed,
            Way::Events(_) | Way::Means(_) => state.not_worse_since.is_some(),
            Way::Ranks(_) => ranked.as_ref().is_some_and(|ranked| ranked.not_worse),
            Way::Burn(burn) => burn.fine(),
        };
        let failing = matches!(&state.way, Way::Threshold(checks) if checks.last_failed);
        match (bad, missing, good, failing) {
            (true, _, _, _) => Opinion::Worse,
            (_, true, _, _) => Opinion::Missing,
            (_, _, true, _) => Opinion::NotWorse,
            (_, _, _, true) => Opinion::Failing,
            (false, false, false, false) => Opinion::Open,
        }
    }

    fn needs(&self, state: &State, enough: f64) -> Option<Needs> {
        let traffic = state.traffic;
        if traffic.canary <= 0.0 {
            return None;
        }
        let requests = match &state.way {
            Way::Events(events) => {
                events.needs(traffic.canary / traffic.windows, traffic.other / traffic.windows, enough)?
            }
            // What more than that it takes nobody can tell.
            Way::Ranks(ranks) if ranks.lacks() > 0 => traffic.canary / traffic.windows * ranks.lacks() as f64,
            Way::Ranks(_) | Way::Threshold(_) | Way::Means(_) | Way::Burn(_) => return None,
        };
        Some(Needs { requests, seconds: requests / traffic.canary * traffic.millis / 1000.0 })
    }
}

/// The metrics that say that the canary is worse, or that say so most when only all together do.
fn strongest(metrics: &[Evidence]) -> Vec<String> {
    let part = |evidence: &Evidence| evidence.worse.reached / evidence.worse.needed;
    let mut sure: Vec<&Evidence> = metrics.iter().filter(|evidence| evidence.opinion == Opinion::Worse).collect();
    if sure.is_empty() {
        sure = metrics.iter().filter(|evidence| part(evidence) > 0.1).collect();
    }
    sure.sort_by(|one, two| part(two).total_cmp(&part(one)));
    sure.into_iter().map(|evidence| evidence.metric.clone()).collect()
}
