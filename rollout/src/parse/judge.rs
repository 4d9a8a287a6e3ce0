//! How samples become a verdict, and what runs beside the canary for it.

use std::num::NonZeroU64;
use std::time::Duration;

use crds::{AnalysisPlan, Baseline, CanaryAnalysis, CanaryMetric, CanarySpec, JudgeMethod, JudgePolicy, Worse};

use super::notes::{Notes, quoted};
use super::{names, strategy, written};
use crate::spec::{
    Against, AutoPlan, Comparison, Defaults, Effect, Judge, Measure, Method, Metric, MetricSource, MissingData,
    Quantile, Range, Rate, RouterAbility,
};

/// Shares of `plan: auto` as long as the traffic is not known, in percent.
const FIRST_WEIGHTS: [u8; 5] = [1, 2, 5, 10, 25];

/// Where `plan: auto` ends when the Canary does not say: equal shares tell most.
const LAST_WEIGHT: u8 = 50;

const FIELD: &str = "spec.analysis.judge";

pub(super) fn judge(policy: Option<&JudgePolicy>, notes: &mut Notes) -> Judge {
    let Some(policy) = policy else { return Judge::default() };
    let method = policy.method.unwrap_or_default();
    let mut baseline = policy.baseline.unwrap_or_default();
    let rate = |field: &str, value: Option<f64>, kept: bool, notes: &mut Notes| {
        let Some(value) = value else { return Rate::USUAL };
        if !kept {
            let why = format!("the method {method:?} keeps to no such rate");
            notes.refuse(format!("{FIELD}.{field}"), why, "write method: Sequential, or leave it out");
        }
        Rate::new(value).unwrap_or_else(|| {
            let why = format!("{value} is no rate to keep to");
            notes.refuse(format!("{FIELD}.{field}"), why, "write a number above 0, at most 0.5, as 0.05");
            Rate::USUAL
        })
    };
    let false_alarm_rate = rate("falseAlarmRate", policy.false_alarm_rate, method != JudgeMethod::Threshold, notes);
    let false_promotion_rate =
        rate("falsePromotionRate", policy.false_promotion_rate, method == JudgeMethod::Sequential, notes);
    let missing_data = policy.missing_data.as_ref().map(|missing| MissingData {
        hold_for: match written(&missing.hold_for) {
            None => MissingData::default().hold_for,
            Some(text) => notes.duration(format!("{FIELD}.missingData.holdFor"), text).unwrap_or_default(),
        },
        then: missing.then.unwrap_or_default(),
    });
    let warm_up = match written(&policy.warm_up) {
        None => Duration::ZERO,
        Some(text) => notes.duration(format!("{FIELD}.warmUp"), text).unwrap_or_default(),
    };
    if method == JudgeMethod::MannWhitney && baseline == Baseline::None {
        let why = "None leaves MannWhitney without a second sample";
        notes.refuse(format!("{FIELD}.baseline"), why, "write Primary or Concurrent, or method: Sequential");
        baseline = Baseline::Primary;
    }
    let usual = || Some(missing_data.unwrap_or_default());
    let (method, missing_data) = match method {
        JudgeMethod::Threshold => (Method::Threshold, missing_data),
        JudgeMethod::Sequential => (Method::Sequential { false_alarm_rate, false_promotion_rate }, usual()),
        JudgeMethod::MannWhitney => (Method::MannWhitney { false_alarm_rate }, usual()),
    };
    Judge { method, baseline, missing_data, warm_up }
}

/// What a copy of the primary needs: a third of the routes, and a canary that gets its share by weight.
pub(super) fn concurrent(
    spec: &CanarySpec,
    service_name: &str,
    router: &RouterAbility,
    defaults: &Defaults<'_>,
    notes: &mut Notes,
) {
    let analysis = &spec.analysis;
    names::with_baseline(&spec.target_ref.name, service_name, notes);
    let field = format!("{FIELD}.baseline");
    let mut refuse = |why: String, mend: String| notes.refuse(field.clone(), why, mend);
    const OR_PRIMARY: &str = "or write baseline: Primary";
    if !router.baseline {
        let able = strategy::able(defaults, |router| router.baseline);
        refuse(
            format!("Concurrent needs a router that shares traffic among three, and {} cannot", router.name),
            format!("set spec.provider to one that can: {able}; {OR_PRIMARY}"),
        );
    }
    if spec.target_ref.kind == "DaemonSet" {
        let why = "Concurrent needs a copy beside the canary, and of a DaemonSet each node has one pod".to_owned();
        refuse(why, "write baseline: Primary".into());
    }
    if analysis.iterations.is_some_and(|iterations| iterations > 0) {
        let why =
            "Concurrent gets the same share of the traffic as the canary, and with iterations there are no shares";
        refuse(why.into(), format!("write stepWeight or stepWeights instead of iterations, {OR_PRIMARY}"));
    }
    if analysis.mirror {
        let why = "Concurrent gets the same share of the traffic as the canary, and a mirror sends to the canary alone";
        refuse(why.into(), format!("leave mirror out, {OR_PRIMARY}"));
    }
    if analysis.session_affinity.is_some() {
        let why = "Concurrent needs equal shares, and users whom sessionAffinity keeps make the canary's grow";
        refuse(why.into(), format!("leave sessionAffinity out, {OR_PRIMARY}"));
    }
}

/// `Some` when the traffic is to say how traffic moves.
pub(super) fn plan(
    analysis: &CanaryAnalysis,
    router: &RouterAbility,
    defaults: &Defaults<'_>,
    notes: &mut Notes,
) -> Option<AutoPlan> {
    const BUDGET: &str = "spec.analysis.failedRequestBudget";
    let budget = analysis.failed_request_budget.map(|budget| {
        let budget = u64::try_from(budget).ok().and_then(NonZeroU64::new);
        if budget.is_none() {
            notes.refuse(BUDGET, "leaves no request to find anything out with", "write a whole number from 1");
        }
        budget
    });
    match analysis.plan {
        Some(AnalysisPlan::Auto) => {}
        None => {
            if budget.is_some() {
                notes.refuse(BUDGET, "stands without a plan to keep to it", "add plan: auto, or leave it out");
            }
            return None;
        }
    }
    const FIELD: &str = "spec.analysis.plan";
    let others = [
        ("stepWeight", analysis.step_weight.is_some_and(|step| step > 0)),
        ("stepWeights", !analysis.step_weights.is_empty()),
        ("iterations", analysis.iterations.is_some_and(|iterations| iterations > 0)),
    ];
    for (other, _) in others.iter().filter(|(_, written)| *written) {
        notes.refuse(FIELD, format!("stands beside {other}"), format!("keep one of plan, {other}"));
    }
    let method = analysis.judge.as_ref().and_then(|judge| judge.method).unwrap_or_default();
    if method != JudgeMethod::Sequential {
        let why = format!("auto follows from what Sequential needs, and the method is {method:?}");
        notes.refuse(FIELD, why, "write judge: {method: Sequential}, or stepWeight instead of plan");
    }
    if !router.weights {
        let able = strategy::able(defaults, |router| router.weights);
        let why = format!("the {} router cannot share traffic", router.name);
        notes.refuse(FIELD, why, format!("set spec.provider to one that can: {able}; or write iterations"));
    }
    if budget.is_none() {
        let mend = "write how many requests of users a bad canary may fail before it is found out, as 500";
        notes.refuse(BUDGET, "is missing, and plan: auto keeps to it", mend);
    }
    budget.flatten().map(|failed_requests| AutoPlan { failed_requests })
}

/// A plan follows from a metric that counts failed requests.
pub(super) fn plan_follows(metrics: &[Metric], notes: &mut Notes) {
    let counts =
        |metric: &Metric| metric.comparison.is_none_or(|comparison| matches!(comparison.measure, Measure::Errors));
    if !metrics.is_empty() && notes.errors.is_empty() && !metrics.iter().any(counts) {
        let why = "auto follows from how many requests fail, and no metric counts them";
        notes.refuse("spec.analysis.plan", why, "add the metric {name: request-success-rate, smallestEffect: 0.5}");
    }
}

/// Where an automatic plan starts before the traffic is known.
pub(super) fn first_weights(analysis: &CanaryAnalysis, notes: &mut Notes) -> Option<Vec<u8>> {
    let last = match analysis.max_weight {
        None | Some(0) => LAST_WEIGHT,
        Some(weight) => notes.percent("spec.analysis.maxWeight", weight)?,
    };
    if last == 100 {
        let why = "100 leaves nobody to compare the canary with";
        notes.refuse("spec.analysis.maxWeight", why, "write at most 99; 50 tells most");
        return None;
    }
    Some(FIRST_WEIGHTS.into_iter().filter(|weight| *weight < last).chain([last]).collect())
}

/// How a metric is compared; `None` with thresholds, and when it is wrong.
pub(super) fn comparison(
    field: &str,
    metric: &CanaryMetric,
    source: &MetricSource,
    range: Range,
    judge: &Judge,
    notes: &mut Notes,
) -> Option<Comparison> {
    let sequential = match judge.method {
        Method::Threshold => {
            unused(field, metric, notes);
            return None;
        }
        Method::Sequential { .. } => true,
        Method::MannWhitney { .. } => false,
    };
    let known = notes.errors.len();
    let (quantile, objective) = (quantile(field, metric, source, notes), metric.objective);
    let measure = match source {
        MetricSource::SuccessRate => Measure::Errors,
        MetricSource::Duration => Measure::Quantile(quantile),
        MetricSource::Inline(_) | MetricSource::Template { .. } => Measure::Mean,
    };
    let worse = worse(field, metric, measure, range, notes);
    let smallest_effect = effect(field, metric, measure, notes);
    if objective.is_some() && !sequential {
        notes.refuse(
            format!("{field}.objective"),
            "is a number, and MannWhitney compares two samples",
            "leave it out, or write method: Sequential",
        );
    }
    let against = match (objective, judge.baseline) {
        (Some(value), _) => self::objective(field, "objective", value, measure, notes).map(Against::Objective),
        (None, Baseline::Primary) => Some(Against::Primary),
        (None, Baseline::Concurrent) => Some(Against::Baseline),
        (None, Baseline::None) => {
            let bound = match (measure, worse) {
                (Measure::Errors, _) | (Measure::Mean, Some(Worse::Lower)) => range.min,
                (Measure::Quantile(_), _) | (Measure::Mean, Some(Worse::Higher) | None) => range.max,
            };
            if bound.is_none() {
                notes.refuse(
                    format!("{field}.objective"),
                    "is missing, and baseline: None leaves nothing else to compare with",
                    "write what the canary must reach, as 99.5, or baseline: Primary",
                );
            }
            bound
                .and_then(|bound| self::objective(field, "thresholdRange", bound, measure, notes))
                .map(Against::Objective)
        }
    };
    let comparison = Comparison { measure, worse: worse?, against: against?, smallest_effect: smallest_effect? };
    (notes.errors.len() == known).then_some(comparison)
}

fn unused(field: &str, metric: &CanaryMetric, notes: &mut Notes) {
    let unused: Vec<_> = [
        ("smallestEffect", metric.smallest_effect.is_some()),
        ("smallestEffectPercent", metric.smallest_effect_percent.is_some()),
        ("objective", metric.objective.is_some()),
        ("quantile", metric.quantile.is_some()),
        ("worse", metric.worse.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, written)| written.then_some(name))
    .collect();
    if !unused.is_empty() {
        let unused = unused.join(", ");
        notes.warn(format!("{field}: {unused} ignored with the method Threshold; write judge: {{method: Sequential}}"));
    }
}

fn quantile(field: &str, metric: &CanaryMetric, source: &MetricSource, notes: &mut Notes) -> Quantile {
    let Some(written) = metric.quantile else { return Quantile::USUAL };
    match source {
        MetricSource::Duration => {}
        MetricSource::SuccessRate | MetricSource::Inline(_) | MetricSource::Template { .. } => {
            let why = format!("{} has no quantiles", quoted(&metric.name));
            notes.refuse(format!("{field}.quantile"), why, "write it for request-duration, or leave it out");
        }
    }
    Quantile::new(written).unwrap_or_else(|| {
        let why = format!("{written} is no quantile");
        notes.refuse(format!("{field}.quantile"), why, "write a number above 0 and below 1, as 0.99");
        Quantile::USUAL
    })
}

fn worse(field: &str, metric: &CanaryMetric, measure: Measure, range: Range, notes: &mut Notes) -> Option<Worse> {
    match measure {
        Measure::Errors | Measure::Quantile(_) => {
            if metric.worse.is_some() {
                let why = format!("of {} it is known which way is worse", quoted(&metric.name));
                notes.refuse(format!("{field}.worse"), why, "leave it out");
            }
            Some(Worse::Higher)
        }
        Measure::Mean => {
            let written = metric.worse.or(match (range.min, range.max) {
                (None, Some(_)) => Some(Worse::Higher),
                (Some(_), None) => Some(Worse::Lower),
                (Some(_), Some(_)) | (None, None) => None,
            });
            if written.is_none() {
                let why = format!("is missing, and nothing else tells which way {} is worse", quoted(&metric.name));
                notes.refuse(format!("{field}.worse"), why, "write Higher or Lower");
            }
            written
        }
    }
}

fn effect(field: &str, metric: &CanaryMetric, measure: Measure, notes: &mut Notes) -> Option<Effect> {
    let (absolute, percent) = (metric.smallest_effect, metric.smallest_effect_percent);
    if absolute.is_none() && percent.is_none() {
        notes.refuse(
            format!("{field}.smallestEffect"),
            "is missing, and the judge must know which difference matters",
            "write smallestEffect in the metric's unit, as 0.5, or smallestEffectPercent, as 50",
        );
        return None;
    }
    for (name, value) in [("smallestEffect", absolute), ("smallestEffectPercent", percent)] {
        if let Some(value) = value
            && !(value > 0.0 && value.is_finite())
        {
            notes.refuse(format!("{field}.{name}"), format!("{value} is no difference"), "write a number above 0");
        }
    }
    let unit = match measure {
        Measure::Errors => 100.0,
        Measure::Quantile(_) | Measure::Mean => 1.0,
    };
    Effect::new(percent.unwrap_or(0.0) / 100.0, absolute.unwrap_or(0.0) / unit)
}

/// An objective in the unit of what is measured.
fn objective(field: &str, name: &str, value: f64, measure: Measure, notes: &mut Notes) -> Option<f64> {
    let (possible, value_measured, mend) = match measure {
        Measure::Errors => {
            (value > 0.0 && value < 100.0, 1.0 - value / 100.0, "write a success rate above 0 and below 100, as 99.5")
        }
        Measure::Quantile(_) => (value > 0.0, value, "write milliseconds above 0, as 500"),
        Measure::Mean => (true, value, "write a number"),
    };
    if !(possible && value.is_finite()) {
        let why = format!("{value} is no objective for {}", measure_of(measure));
        notes.refuse(format!("{field}.{name}"), why, mend);
        return None;
    }
    Some(value_measured)
}

const fn measure_of(measure: Measure) -> &'static str {
    match measure {
        Measure::Errors => "requests that succeed",
        Measure::Quantile(_) => "the time that requests take",
        Measure::Mean => "this metric",
    }
}
