//! What the judge will do: how long it takes to tell that a release is not worse.

use std::time::Duration;

use crds::Baseline;
use judge::plan::{Circumstances, time_to_decide};
use judge::policy::{Effect as Larger, Rate as JudgeRate};

use super::{Forecast, Traffic};
use crate::spec::{Comparison, Measure, Method, Metric, Spec};

/// Longer than that nobody waits for a verdict.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Puts into the forecast what follows from the evidence that the traffic brings: a first step lasts until a good release is
/// shown to be not worse, and the others an interval each.
pub(super) fn weigh(spec: &Spec, traffic: Traffic, forecast: &mut Forecast) {
    let first = forecast.steps.iter().find_map(|step| step.weight.filter(|weight| *weight > 0));
    let Some(weight) = first else { return };
    let mut longest = spec.interval;
    let compared = spec.metrics.iter().filter_map(|metric| Some((metric, metric.comparison?)));
    for (metric, comparison) in compared {
        let Some(seconds) = seconds(spec, traffic, weight, comparison) else { continue };
        match Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= PATIENCE) {
            Some(time) => longest = longest.max(time),
            None => forecast.find("CannotDecide", undecided(metric, traffic, weight, seconds)),
        }
    }
    let more = longest.saturating_sub(spec.interval);
    let begun = forecast.steps.iter().position(|step| step.weight == Some(weight)).unwrap_or_default();
    for step in forecast.steps.iter_mut().skip(begun + 1) {
        step.from += more;
    }
    forecast.finish += more;
}

/// Seconds until a release that is as good as the primary is shown to be so; `None` where that does not follow from the
/// traffic alone.
fn seconds(spec: &Spec, traffic: Traffic, weight: u8, comparison: Comparison) -> Option<f64> {
    let (Measure::Errors, Method::Sequential { false_alarm_rate, false_promotion_rate }) =
        (comparison.measure, spec.judge.method)
    else {
        return None;
    };
    // A version that never fails cannot be compared with; one in a million is next to that.
    let error_rate = (1.0 - traffic.success).max(1e-6);
    let effect = Larger::new(comparison.smallest_effect.relative(), comparison.smallest_effect.absolute()).ok()?;
    let given = Circumstances {
        traffic: traffic.requests_per_minute / 60.0,
        error_rate,
        ratio: 1.0 + effect.beside(error_rate) / error_rate,
        false_alarm_rate: JudgeRate::try_from(false_alarm_rate.get()).ok()?,
        false_promotion_rate: JudgeRate::try_from(false_promotion_rate.get()).ok()?,
        budget: f64::MAX,
        baseline: spec.judge.baseline == Baseline::Concurrent,
    };
    Some(time_to_decide(&given, weight))
}

fn undecided(metric: &Metric, traffic: Traffic, weight: u8, seconds: f64) -> String {
    let rate = traffic.requests_per_minute;
    let time =
        if seconds.is_finite() { format!("takes about {:.0} h", seconds / 3600.0) } else { "never comes".into() };
    format!(
        "at {weight} % of {rate} requests a minute evidence about {} {time}: accept a larger smallest effect, begin with a \
         larger weight, or decide by hand",
        metric.name
    )
}
