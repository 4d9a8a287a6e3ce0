//! The steps of `plan: auto`: shares of the traffic, and how long each lasts, as they follow from the traffic, from the
//! smallest effect that matters, and from how many requests of users a bad canary may fail.

use std::time::Duration;

use crds::Baseline;
use jiff::Timestamp;
use judge::plan::{Circumstances, Impossible, Plan};
use judge::policy::{Effect, Rate};
use judge::sample::{Arm, Entry, Event, Log, Mark, Millis, Outcome};

use crate::spec::{AutoPlan, Comparison, Measure, Method, Spec, Strategy};

/// Traffic changes over the day: only what was measured so shortly before the newest sample says how much there is.
const RECENT: Millis = 600_000;
/// A version that never fails cannot be compared with; one in a million is next to that.
const RAREST: f64 = 1e-6;

/// Where a rollout stands in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    /// The share that follows, in percent; `None` at the last one.
    pub(crate) next: Option<u8>,
    /// How much longer the present share lasts.
    pub(crate) left: Duration,
    /// In what time a release as good as the primary is expected to have been shown to be so.
    pub(crate) finish: Duration,
}

/// What the judge plans with for a metric; `None` for one that does not count failed requests. `traffic` is in requests
/// per second, `error_rate` the share of them that fails anyhow.
pub(crate) fn circumstances(
    spec: &Spec,
    comparison: Comparison,
    traffic: f64,
    error_rate: f64,
    budget: f64,
) -> Option<Circumstances> {
    let (Measure::Errors, Method::Sequential { false_alarm_rate, false_promotion_rate }) =
        (comparison.measure, spec.judge.method)
    else {
        return None;
    };
    let error_rate = error_rate.max(RAREST);
    let effect = Effect::new(comparison.smallest_effect.relative(), comparison.smallest_effect.absolute()).ok()?;
    let compared = spec.metrics.iter().filter(|metric| metric.comparison.is_some()).count().max(1);
    Some(Circumstances {
        traffic,
        error_rate,
        ratio: 1.0 + effect.beside(error_rate) / error_rate,
        // One metric of several needs so much more to alarm alone.
        false_alarm_rate: Rate::try_from(false_alarm_rate.get() / compared as f64).ok()?,
        false_promotion_rate: Rate::try_from(false_promotion_rate.get()).ok()?,
        budget,
        baseline: spec.judge.baseline == Baseline::Concurrent,
        last: last_weight(spec),
        look: spec.interval.as_secs_f64(),
    })
}

/// The plan at this traffic, of the metric that takes longest; `None` when no metric counts failed requests.
pub(crate) fn at(spec: &Spec, auto: AutoPlan, traffic: f64, error_rate: f64) -> Option<Result<Plan, Impossible>> {
    let budget = auto.failed_requests.get() as f64;
    let compared = spec.metrics.iter().filter_map(|metric| metric.comparison);
    let given = compared.filter_map(|comparison| circumstances(spec, comparison, traffic, error_rate, budget));
    let finish = |plan: &Result<Plan, Impossible>| plan.as_ref().map_or(f64::INFINITY, |plan| plan.finish);
    given.map(|given| judge::plan::plan(&given)).max_by(|one, other| finish(one).total_cmp(&finish(other)))
}

/// Where a canary of this weight stands; `None` as long as the evidence tells nothing of the traffic.
pub(crate) fn course(
    spec: &Spec,
    auto: AutoPlan,
    evidence: &Log,
    weight: u8,
    now: Timestamp,
) -> Option<Result<Course, Impossible>> {
    let measured = measured(evidence)?;
    let course = |plan: Plan| {
        let later = || plan.steps.iter().filter(|step| step.weight > weight);
        // A share that is not in the plan is left at once.
        let lasts = plan.steps.iter().find(|step| step.weight == weight).map_or(Duration::ZERO, |step| time(step.soak));
        let left = lasts.saturating_sub(since_split(evidence, now));
        let after: f64 = later().map(|step| step.soak).sum();
        Course { next: later().map(|step| step.weight).next(), left, finish: left + time(after) }
    };
    Some(at(spec, auto, measured.traffic, measured.error_rate)?.map(course))
}

/// Seconds as a duration; a year stands for all that is longer.
pub(crate) fn time(seconds: f64) -> Duration {
    const YEAR: f64 = 31_536_000.0;
    Duration::from_secs_f64(seconds.clamp(0.0, YEAR))
}

fn last_weight(spec: &Spec) -> u8 {
    match &spec.strategy {
        Strategy::Canary { weights, .. } => weights.last().copied().unwrap_or(100),
        Strategy::AbTesting { .. } | Strategy::BlueGreen { .. } => 100,
    }
}

struct Measured {
    /// Requests per second to all arms.
    traffic: f64,
    /// Share of failed requests of what the canary is compared with.
    error_rate: f64,
}

/// What the counts of requests say.
fn measured(evidence: &Log) -> Option<Measured> {
    let newest = evidence.entries.iter().filter_map(window_end).max()?;
    let (mut canary, mut baseline) = (0.0, 0.0);
    // Requests and, in seconds of the whole traffic, how long they took to come.
    let (mut requests, mut seconds) = (0.0, 0.0);
    let (mut others, mut failed) = (0.0, 0.0);
    let mut started = None;
    for entry in &evidence.entries {
        let sample = match entry {
            Entry::Mark(Mark { what: Event::Started, at }) => {
                started = Some(*at);
                continue;
            }
            Entry::Mark(Mark { what: Event::Split { canary: one, baseline: other }, .. }) => {
                (canary, baseline) = (*one, *other);
                continue;
            }
            Entry::Mark(_) => continue,
            Entry::Sample(sample) => sample,
        };
        let Outcome::Counts { requests: counted, errors } = sample.outcome else { continue };
        let arm = evidence.series.get(usize::try_from(sample.series).ok()?)?.arm;
        let share = match arm {
            Arm::Canary => canary,
            Arm::Baseline => baseline,
            Arm::Primary => 1.0 - canary - baseline,
        };
        let before = started.is_some_and(|started| sample.from < started);
        if !before && sample.to + RECENT >= newest {
            requests += counted;
            seconds += share * sample.to.saturating_sub(sample.from) as f64 / 1000.0;
        }
        match arm {
            Arm::Canary => {}
            Arm::Baseline | Arm::Primary => {
                others += counted;
                failed += errors;
            }
        }
    }
    // Half a request that failed stands for what has not been seen yet.
    let measured = Measured { traffic: requests / seconds, error_rate: (failed + 0.5) / (others + 1.0) };
    (requests > 0.0 && seconds > 0.0).then_some(measured)
}

fn window_end(entry: &Entry) -> Option<Millis> {
    match entry {
        Entry::Sample(sample) => Some(sample.to),
        Entry::Mark(_) => None,
    }
}

/// How long the traffic has been split as it is.
fn since_split(evidence: &Log, now: Timestamp) -> Duration {
    let split = evidence.entries.iter().rev().find_map(|entry| match entry {
        Entry::Mark(Mark { at, what: Event::Split { .. } }) => Some(*at),
        Entry::Mark(_) | Entry::Sample(_) => None,
    });
    let now = u64::try_from(now.as_millisecond()).unwrap_or_default();
    split.map_or(Duration::ZERO, |split| Duration::from_millis(now.saturating_sub(split)))
}
