//! What the judge compares: the same metric of several arms within a window, the policy that it is judged by, and how both
//! become [`judge`]'s.

use std::num::NonZeroU32;
use std::time::Duration;

use crds::{AfterHold, Baseline, RunEntry, RunSample, Worse};
use jiff::Timestamp;
use judge::policy::{self, Direction, Policy, Sequential};
use judge::sample::{Arm, Event, Kind, Log, Mark, Millis, Outcome, Sample, Series};
use judge::verdict::Then;

use crate::desired::share_beside;
use crate::log;
use crate::reading::{Measured, Reading};
use crate::spec::{Against, Comparison, Measure, Method, MissingData, Spec};

/// Points of each arm that the ranks of two samples need.
const POINTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// What an arm came to within a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Gathered {
    /// Name of the metric.
    pub metric: String,
    /// Whose requests.
    pub arm: Arm,
    /// What was asked, in the provider's language; `None` when no question could be made.
    pub query: Option<String>,
    /// When it was asked, and the end of the window.
    pub asked: Timestamp,
    /// Length of the window.
    pub window: Duration,
    /// What was answered.
    pub answer: Counted,
}

/// What was answered about an arm.
#[derive(Clone, Debug, PartialEq)]
pub enum Counted {
    /// Requests within the window, and those of them that failed.
    Requests {
        /// All.
        all: f64,
        /// The failed ones.
        failed: f64,
    },
    /// One number or none.
    Reading(Reading),
}

/// The time before the analysis from which the judge learns how the primary usually is.
pub const USUAL: Duration = Duration::from_secs(6 * 3600);

/// Whether the judge learns of the metric how the primary usually is.
pub fn has_usual(spec: &Spec, comparison: &Comparison) -> bool {
    let events = match comparison.measure {
        Measure::Errors | Measure::Quantile(_) => true,
        Measure::Mean => false,
    };
    let beside = match comparison.against {
        Against::Baseline | Against::Primary => true,
        Against::Objective(_) => false,
    };
    events && beside && matches!(spec.judge.method, Method::Sequential { .. })
}

/// The arms that a metric is measured at.
pub fn arms(spec: &Spec, comparison: &Comparison) -> Vec<Arm> {
    match comparison.against {
        // All that is not the canary together shows an outage sooner.
        Against::Baseline if has_usual(spec, comparison) => vec![Arm::Canary, Arm::Baseline, Arm::Primary],
        Against::Baseline => vec![Arm::Canary, Arm::Baseline],
        Against::Primary => vec![Arm::Canary, Arm::Primary],
        Against::Objective(_) => vec![Arm::Canary],
    }
}

/// What the judge is told of the policy; `None` with [`Method::Threshold`].
///
/// # Errors
/// When the judge does not take it; the parser leaves nothing of that kind.
pub fn policy(spec: &Spec) -> Option<Result<Policy, policy::Wrong>> {
    match spec.judge.method {
        Method::Threshold => None,
        Method::Sequential { .. } | Method::MannWhitney { .. } => Some(told(spec)),
    }
}

fn told(spec: &Spec) -> Result<Policy, policy::Wrong> {
    let metrics: Result<Vec<_>, _> = spec
        .metrics
        .iter()
        .filter_map(|metric| Some((metric, metric.comparison?)))
        .map(|(metric, comparison)| {
            let method = method(&spec.judge.method, comparison)?;
            Ok(policy::Metric { name: metric.name.clone(), weight: policy::Weight::try_from(1.0)?, method })
        })
        .collect();
    let mut policy = Policy::new(metrics?)?;
    match spec.judge.method {
        Method::Threshold => {}
        Method::Sequential { false_alarm_rate, false_promotion_rate } => {
            policy.false_alarm_rate = false_alarm_rate.get().try_into()?;
            policy.false_promotion_rate = false_promotion_rate.get().try_into()?;
        }
        Method::MannWhitney { false_alarm_rate } => policy.false_alarm_rate = false_alarm_rate.get().try_into()?,
    }
    policy.warm_up = milliseconds(spec.judge.warm_up);
    let MissingData { hold_for, then } = spec.judge.missing_data.unwrap_or_default();
    let then = match then {
        AfterHold::Rollback => Then::Rollback,
        AfterHold::Promote => Then::Promote,
        AfterHold::Pause => Then::Pause,
    };
    policy.missing = policy::Missing { hold_for: milliseconds(hold_for), then };
    Ok(policy)
}

fn method(method: &Method, comparison: Comparison) -> Result<policy::Method, policy::Wrong> {
    let Comparison { measure, worse, against, smallest_effect } = comparison;
    let effect = policy::Effect::new(smallest_effect.relative(), smallest_effect.absolute())?;
    let worse = match worse {
        Worse::Higher => Direction::Higher,
        Worse::Lower => Direction::Lower,
    };
    if let Method::MannWhitney { .. } = method {
        let against = match against {
            Against::Baseline => policy::Other::Baseline,
            Against::Primary | Against::Objective(_) => policy::Other::Primary,
        };
        let quantile = match measure {
            Measure::Quantile(quantile) => Some(quantile.get().try_into()?),
            Measure::Errors | Measure::Mean => None,
        };
        let rule = policy::MannWhitney { against, worse, effect, points: POINTS, quantile };
        return Ok(policy::Method::MannWhitney(rule));
    }
    let measure = match measure {
        Measure::Errors => policy::Measure::Errors,
        Measure::Quantile(quantile) => policy::Measure::Quantile(quantile.get().try_into()?),
        Measure::Mean => policy::Measure::Mean,
    };
    let against = match against {
        Against::Baseline => policy::Against::Baseline,
        Against::Primary => policy::Against::Primary,
        Against::Objective(value) => policy::Against::Objective(value),
    };
    Ok(policy::Method::Sequential(Sequential::new(measure, worse, against, effect)?))
}

/// Adds to what the judge knows. The traffic was split so over the whole window.
pub fn add(known: &mut Log, gathered: &[Gathered], weight: u8, baseline: Baseline) {
    let of_canary = gathered.iter().filter(|gathered| gathered.arm == Arm::Canary);
    let Some(from) = of_canary.map(begin).min() else { return };
    let first = known.entries.is_empty();
    if first {
        // Pods without traffic do not get warm, so they count as young from here on.
        let young = match baseline {
            Baseline::Concurrent => &[Arm::Canary, Arm::Baseline][..],
            Baseline::Primary | Baseline::None => &[Arm::Canary],
        };
        let begins = std::iter::once(Event::Started).chain(young.iter().map(|arm| Event::Restarted(*arm)));
        known.entries.extend(begins.map(|what| judge::sample::Entry::Mark(Mark { at: from, what })));
    }
    let canary = f64::from(weight) / 100.0;
    let beside = match baseline {
        Baseline::Concurrent => f64::from(share_beside(weight)) / 100.0,
        Baseline::Primary | Baseline::None => 0.0,
    };
    let split = Event::Split { canary, baseline: beside };
    let last = known.entries.iter().rev().find_map(|entry| match entry {
        judge::sample::Entry::Mark(Mark { what: split @ Event::Split { .. }, .. }) => Some(split),
        judge::sample::Entry::Mark(_) | judge::sample::Entry::Sample(_) => None,
    });
    if last != Some(&split) {
        known.entries.push(judge::sample::Entry::Mark(Mark { at: from, what: split }));
    }
    for gathered in gathered {
        // What was usual is learnt once; it is asked for again by who has lost the memory of that.
        if !first && begin(gathered) < from {
            continue;
        }
        let kind = match &gathered.answer {
            Counted::Requests { .. } => Kind::Counts,
            Counted::Reading(Reading::Buckets(buckets)) => Kind::Histogram {
                edges: buckets.iter().map(|(edge, _)| *edge).filter(|edge| edge.is_finite()).collect(),
            },
            Counted::Reading(
                Reading::Value(_)
                | Reading::NoValue
                | Reading::Unavailable(_)
                | Reading::Stale { .. }
                | Reading::Invalid(_),
            ) => Kind::Value,
        };
        // Queries name their window, which is another each time; the record has them.
        let series =
            known.series(Series { metric: gathered.metric.clone(), arm: gathered.arm, kind, query: String::new() });
        let asked = moment(gathered.asked);
        let sample = Sample {
            series,
            from: begin(gathered),
            to: asked,
            asked,
            newest: None,
            outcome: outcome(&gathered.answer),
        };
        known.entries.push(judge::sample::Entry::Sample(sample));
    }
}

fn outcome(answer: &Counted) -> Outcome {
    match answer {
        Counted::Requests { all, failed } => Outcome::Counts { requests: *all, errors: *failed },
        Counted::Reading(Reading::Value(value)) => Outcome::Value(*value),
        Counted::Reading(Reading::Buckets(buckets)) => histogram(buckets),
        Counted::Reading(Reading::NoValue) => Outcome::Empty,
        Counted::Reading(Reading::Unavailable(why) | Reading::Invalid(why)) => Outcome::Outage(why.clone()),
        Counted::Reading(Reading::Stale { age, .. }) => {
            Outcome::Outage(format!("the answer was {} s old", age.as_secs()))
        }
    }
}

/// From requests below each edge to those between the edges.
fn histogram(buckets: &[(f64, f64)]) -> Outcome {
    let mut below = 0.0;
    let mut counts: Vec<f64> = Vec::new();
    for (_, cumulative) in buckets {
        // Extrapolation may leave a little less than nothing.
        counts.push((cumulative - below).max(0.0));
        below = cumulative.max(below);
    }
    if buckets.last().is_none_or(|(edge, _)| edge.is_finite()) {
        counts.push(0.0);
    }
    if below > 0.0 { Outcome::Histogram { counts, sum: None } } else { Outcome::Empty }
}

/// What the judge knows from the record of the rollout so far.
pub(crate) fn known(past: &[RunEntry], baseline: Baseline) -> Log {
    let mut known = Log::default();
    let mut weight = 0;
    for entry in past {
        let gathered: Vec<Gathered> = entry.samples.iter().filter_map(|sample| gathered(sample).ok()?).collect();
        add(&mut known, &gathered, weight, baseline);
        weight = u8::try_from(entry.weight).unwrap_or_default();
    }
    known
}

/// What was gathered, for the record; without the query.
pub(crate) fn sample(gathered: &Gathered) -> RunSample {
    let reading = match &gathered.answer {
        Counted::Requests { .. } => Reading::NoValue,
        Counted::Reading(reading) => reading.clone(),
    };
    let measured = Measured {
        metric: gathered.metric.clone(),
        reading,
        query: None,
        asked: gathered.asked,
        window: gathered.window,
    };
    let mut sample = RunSample { arm: Some(word(gathered.arm).to_owned()), ..log::sample(&measured) };
    if let Counted::Requests { all, failed } = gathered.answer {
        sample.missing = None;
        sample.requests = Some(all.to_string());
        sample.errors = Some(failed.to_string());
    }
    sample
}

/// Reads what [`sample`] wrote; `None` for a sample of another kind.
pub(crate) fn gathered(sample: &RunSample) -> Result<Option<Gathered>, String> {
    let Some(arm) = &sample.arm else { return Ok(None) };
    let arms = [Arm::Canary, Arm::Primary, Arm::Baseline];
    let arm = arms.into_iter().find(|known| word(*known) == arm);
    let arm = arm.ok_or_else(|| "arm is none of Canary, Primary, Baseline".to_owned())?;
    let number = |text: &String| text.parse::<f64>().map_err(|_| format!("{text:?} is no number"));
    let (answer, asked, window) = match (&sample.requests, &sample.errors) {
        (Some(all), Some(failed)) => {
            let window = Duration::from_millis(sample.window_milliseconds);
            (Counted::Requests { all: number(all)?, failed: number(failed)? }, sample.asked, window)
        }
        (None, None) => {
            let Measured { reading, asked, window, .. } = log::measured(sample)?;
            (Counted::Reading(reading), asked, window)
        }
        (Some(_), None) | (None, Some(_)) => return Err("requests and errors go together".to_owned()),
    };
    Ok(Some(Gathered { metric: sample.metric.clone(), arm, query: None, asked, window, answer }))
}

/// The arm, as the record has it.
pub const fn word(arm: Arm) -> &'static str {
    match arm {
        Arm::Canary => "Canary",
        Arm::Primary => "Primary",
        Arm::Baseline => "Baseline",
    }
}

fn begin(gathered: &Gathered) -> Millis {
    moment(gathered.asked).saturating_sub(milliseconds(gathered.window))
}

fn moment(time: Timestamp) -> Millis {
    u64::try_from(time.as_millisecond()).unwrap_or_default()
}

fn milliseconds(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
