//! What the judge will do: how long it takes to tell that a release is not worse.

use std::time::Duration;

use judge::plan::{Step, time_to_decide};

use super::{Expected, Forecast, FoundOut, Traffic};
use crate::plan;
use crate::spec::{AutoPlan, Comparison, Metric, Spec};

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

/// The same with `plan: auto`, whose steps follow from the traffic.
pub(super) fn planned(spec: &Spec, auto: AutoPlan, traffic: Traffic, forecast: &mut Forecast) {
    let per_second = traffic.requests_per_minute / 60.0;
    let Some(plan) = plan::at(spec, auto, per_second, 1.0 - traffic.success) else { return };
    let plan = match plan {
        Ok(plan) => plan,
        Err(why) => return forecast.find("CannotDecide", why.to_string()),
    };
    let budget = auto.failed_requests.get() as f64;
    if plan.failed > budget {
        forecast.find("BudgetTooSmall", too_small(plan.failed, budget));
    }
    let mut from = 0.0;
    forecast.steps.clear();
    for Step { weight, soak } in plan.steps {
        forecast.steps.push(Expected {
            weight: Some(weight),
            mirrored: false,
            from: plan::time(from),
            requests: Some(per_second * f64::from(weight) / 100.0 * soak),
            fails: None,
        });
        from += soak;
    }
    forecast.finish = plan::time(plan.finish);
    forecast.found_out = Some(FoundOut { after: plan::time(plan.alarm), failed: plan.failed });
}

/// Seconds until a release that is as good as the primary is shown to be so; `None` where that does not follow from the
/// traffic alone.
fn seconds(spec: &Spec, traffic: Traffic, weight: u8, comparison: Comparison) -> Option<f64> {
    let (per_second, error_rate) = (traffic.requests_per_minute / 60.0, 1.0 - traffic.success);
    plan::circumstances(spec, comparison, per_second, error_rate, f64::MAX).map(|given| time_to_decide(&given, weight))
}

fn too_small(least: f64, budget: f64) -> String {
    format!(
        "a release that is worse by just as much as matters fails about {least:.0} requests more than usual until it can be \
         told, and the budget is {budget}: let a larger difference matter, or allow for more"
    )
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
