//! Flagger's threshold rule: each value within its range, each hook answering yes. What could not be read is
//! neither good nor bad.

use std::time::Duration;

use crds::Check;
use jiff::Timestamp;

use crate::reading::{HookAnswer, Reading};
use crate::spec::{HookKind, Metric, MetricSource};

use super::Pass;

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Passed,
    Failed,
    /// Nothing speaks against the canary, but not all could be judged.
    Undecided,
}

/// The reason of a metric whose window reaches back before this analysis.
pub(super) const FORMER_TRAFFIC: &str = "FormerTraffic";

impl Pass<'_> {
    pub(super) fn judge_hooks(&mut self, kind: HookKind) -> Judgement {
        self.state.checks.clear();
        let mut judgement = Judgement::Passed;
        let canary = self.canary();
        for (name, answer) in self.answers.hooks.get(&kind).cloned().unwrap_or_default() {
            let message = match answer {
                HookAnswer::Yes => None,
                HookAnswer::No(why) | HookAnswer::Failed(why) => Some(why),
            };
            if let Some(why) = &message {
                judgement = Judgement::Failed;
                let what = if kind == HookKind::PreRollout { "pre-rollout" } else { "external" };
                self.event(true, format!("Halt {canary} advancement {what} check {name} failed {why}"));
            }
            let result = if message.is_some() { "Failed" } else { "Passed" };
            self.state.checks.push(Check { name, result: result.into(), value: None, threshold: None, message });
        }
        judgement
    }

    pub(super) fn judge(&mut self) -> Judgement {
        let mut judgement = self.judge_hooks(HookKind::Rollout);
        let (mut missing, mut early) = (Vec::new(), Vec::new());
        let readings = self.answers.metrics.clone().unwrap_or_default();
        let spec = self.spec;
        for metric in &spec.metrics {
            if self.window_clear_at(metric).is_some() {
                self.state.checks.push(Check {
                    name: metric.name.clone(),
                    result: "Held".into(),
                    value: None,
                    threshold: Some(range(metric)),
                    message: None,
                });
                continue;
            }
            let reading = readings.iter().find(|measured| measured.metric == metric.name);
            let unasked = Reading::Unavailable("it was not asked".into());
            let reading = reading.map_or(&unasked, |measured| &measured.reading);
            let (mut result, value, message) = self.judge_reading(metric, reading);
            if *reading == Reading::NoValue && self.step_is_shorter_than(metric.interval) {
                result = "Held";
                early.push(metric.name.as_str());
            }
            match result {
                "Failed" | "NoData" => {
                    judgement = Judgement::Failed;
                    let message = message.clone().unwrap_or_default();
                    let canary = self.canary();
                    self.event(true, format!("Halt {canary} advancement {message}"));
                }
                "Unavailable" => missing.push(message.clone().unwrap_or_default()),
                _ => {}
            }
            self.state.checks.push(Check {
                name: metric.name.clone(),
                result: result.into(),
                value: value.map(number),
                threshold: Some(range(metric)),
                message,
            });
        }
        if missing.is_empty() {
            self.state.unavailable_since = None;
            return if judgement == Judgement::Failed { judgement } else { self.hold_for_windows(&early) };
        }
        let since = *self.state.unavailable_since.get_or_insert(self.now);
        if judgement == Judgement::Failed {
            return judgement;
        }
        let deadline = self.after(since, self.spec.progress_deadline);
        let why = missing.join("; ");
        if deadline <= self.now {
            self.event(
                true,
                format!("Halt {} advancement metrics missing beyond the progress deadline: {why}", self.canary()),
            );
            return Judgement::Failed;
        }
        let told = format!("Halt {} advancement {why}", self.canary());
        if !self.memory.told.contains(&told) {
            self.event(true, told.clone());
            self.memory.told = vec![told];
        }
        self.wait("MetricsUnavailable", format!("the canary cannot be judged: {why}"));
        Judgement::Undecided
    }

    /// Passed, unless the windows of some metrics are not clear yet (requests from before this analysis speak neither
    /// for the canary nor against it) or not full yet (no value may mean that nobody has looked).
    fn hold_for_windows(&mut self, early: &[&str]) -> Judgement {
        let (reason, why) = if let Some(clear) = self.windows_clear_at() {
            (FORMER_TRAFFIC, format!("{}; judged from {} UTC", self.unclear_windows(), clear.strftime("%H:%M:%S")))
        } else if !early.is_empty() {
            let early = early.join(", ");
            ("NoValueYet", format!("there is no value for {early} yet, and this step is shorter than its window"))
        } else {
            return Judgement::Passed;
        };
        self.hold(reason, why);
        Judgement::Undecided
    }

    /// Keeps the canary from its first traffic, so that a bad one does not have it for longer than to its first check.
    pub(super) fn hold_traffic(&mut self, until: Timestamp) {
        let why =
            format!("{}; the canary gets traffic from {} UTC", self.unclear_windows(), until.strftime("%H:%M:%S"));
        self.hold(FORMER_TRAFFIC, why);
    }

    /// When the canary may get its first traffic: an interval before it can be judged.
    pub(super) fn traffic_from(&self) -> Timestamp {
        let interval = jiff::SignedDuration::try_from(self.spec.interval).ok();
        let from = self.windows_clear_at().zip(interval).and_then(|(clear, interval)| clear.checked_sub(interval).ok());
        from.map_or(self.now, |from| from.max(self.now))
    }

    fn hold(&mut self, reason: &str, why: String) {
        if !self.memory.told.contains(&why) {
            self.event(false, format!("Halt {} advancement {why}", self.canary()));
            self.memory.told = vec![why.clone()];
        }
        self.wait(reason, why);
    }

    fn unclear_windows(&self) -> String {
        let unclear = self.spec.metrics.iter().filter(|metric| self.window_clear_at(metric).is_some());
        let names: Vec<_> = unclear.map(|metric| metric.name.as_str()).collect();
        format!("the window of {} still holds requests from before this analysis", names.join(", "))
    }

    fn step_is_shorter_than(&self, window: Duration) -> bool {
        self.state.since.is_some_and(|since| self.after(since, window) > self.now)
    }

    /// From when on every metric can be judged; `None` when that is now.
    pub(super) fn windows_clear_at(&self) -> Option<Timestamp> {
        self.spec.metrics.iter().filter_map(|metric| self.window_clear_at(metric)).max()
    }

    /// From when on the metric's window holds no requests from before this analysis; `None` when that is now. A gateway
    /// may take a moment from accepting a route to following it: requests may come until the canary counts as drained.
    pub(super) fn window_clear_at(&self, metric: &Metric) -> Option<Timestamp> {
        let drained = self.after(self.state.former_traffic?, self.settings.drain);
        let clear = self.after(drained, metric.interval);
        (clear > self.now).then_some(clear)
    }

    fn judge_reading(&self, metric: &Metric, reading: &Reading) -> (&'static str, Option<f64>, Option<String>) {
        let name = &metric.name;
        match reading {
            Reading::Value(value) => match out_of_range(metric, *value) {
                None => ("Passed", Some(*value), None),
                Some(message) => ("Failed", Some(*value), Some(message)),
            },
            Reading::Buckets(_) => {
                ("Unavailable", None, Some(format!("metric {name} cannot be used: it is more than one number")))
            }
            Reading::NoValue => (
                "NoData",
                None,
                Some(format!(
                    "no values found for metric {name} probably {} is not receiving traffic",
                    self.target_name()
                )),
            ),
            Reading::Unavailable(why) => ("Unavailable", None, Some(format!("metric {name} cannot be read: {why}"))),
            Reading::Stale { age, window } => (
                "Unavailable",
                None,
                Some(format!(
                    "metric {name} is {} s old, older than its window of {} s",
                    age.as_secs(),
                    window.as_secs()
                )),
            ),
            Reading::Invalid(why) => ("Unavailable", None, Some(format!("metric {name} cannot be used: {why}"))),
        }
    }
}

/// Why the value is not accepted, in the words of the contract's events.
fn out_of_range(metric: &Metric, value: f64) -> Option<String> {
    let (sign, bound) = match (metric.range.min, metric.range.max) {
        (Some(min), _) if value < min => ("<", min),
        (_, Some(max)) if value > max => (">", max),
        _ => return None,
    };
    Some(match &metric.source {
        MetricSource::SuccessRate => format!("success rate {value:.2}% {sign} {bound}%"),
        MetricSource::Duration => format!("request duration {}ms {sign} {bound}ms", number(value)),
        MetricSource::Inline(_) | MetricSource::Template { .. } => {
            format!("{} {value:.2} {sign} {bound}", metric.name)
        }
    })
}

fn range(metric: &Metric) -> String {
    let unit = match metric.source {
        MetricSource::SuccessRate => " %",
        MetricSource::Duration => " ms",
        MetricSource::Inline(_) | MetricSource::Template { .. } => "",
    };
    match (metric.range.min, metric.range.max) {
        (Some(min), Some(max)) => format!("{min} to {max}{unit}"),
        (Some(min), None) => format!("at least {min}{unit}"),
        (None, Some(max)) => format!("at most {max}{unit}"),
        (None, None) => "any".into(),
    }
}

/// At most four decimals, none that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}
