//! Steps that follow from the traffic and from what may go wrong, and what can be said of a policy beforehand.

use libm::{ceil, log, pow};

use crate::compare::Tests;
use crate::policy::{Range, Rate};
use crate::ranks::{Alternative, binomial_test};

/// What a plan is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circumstances {
    /// Requests per second to all arms together.
    pub traffic: f64,
    /// The share of them that fails anyhow, above 0.
    pub error_rate: f64,
    /// How many times as many have to fail to matter, above 1.
    pub ratio: f64,
    /// False alarms that are accepted.
    pub false_alarm_rate: Rate,
    /// False promotions that are accepted.
    pub false_promotion_rate: Rate,
    /// Requests beyond the usual that a bad canary may fail.
    pub budget: f64,
    /// Whether a baseline of the canary's size gets as much of the traffic.
    pub baseline: bool,
    /// The largest share of the traffic for the canary, in percent: the last step has it.
    pub last: u8,
    /// Seconds from one look to the next.
    pub look: f64,
}

/// A share of the traffic for a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Percent of all requests that go to the canary.
    pub weight: u8,
    /// For how long, in seconds.
    pub soak: f64,
}

/// Steps and what is to be expected of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In their order; the last one lasts until the verdict is to be expected.
    pub steps: Vec<Step>,
    /// When a canary that is as good as what there was is expected to have been shown so, in seconds from the first step.
    pub finish: f64,
    /// When one that is worse by as much as matters is expected to have been found out.
    pub alarm: f64,
    /// Requests beyond the usual that fail until then.
    pub failed: f64,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Impossible {
    /// Numbers that nothing follows from.
    #[error(
        "a plan takes traffic, an error rate above 0 and below 1, a ratio above 1, a budget above 0, looks that take time, and a last share of 1 to 100 %"
    )]
    Circumstances,
    /// It would take too long.
    #[error(
        "this traffic cannot decide within a week: it would take about {0:.0} h; accept a larger effect, or decide by hand"
    )]
    TooLittleTraffic(f64),
}

/// Shares before the last one, of which those below it are taken.
const WEIGHTS: [u8; 8] = [1, 2, 5, 10, 20, 35, 50, 75];
const WEEK: f64 = 7.0 * 86_400.0;
/// Nothing is found out sooner, in looks.
const SOONEST: f64 = 2.0;
/// What not knowing the effect costs, in units of the logarithm of evidence.
const UNKNOWN: f64 = 0.5;

/// The quickest steps at which no canary, however bad, is expected to fail more requests than the budget has.
///
/// How many requests a canary fails until it is found out hardly depends on its share if it is a little worse: evidence
/// comes with the harm. If it is much worse it does, for it is not found out within a look. So a step has the share at
/// which the worst canary that has not been ruled out yet stays within the budget for the looks that this takes, and lasts
/// until so much is ruled out that the next share may follow. The last step lasts until the verdict is to be expected.
pub fn plan(given: &Circumstances) -> Result<Plan, Impossible> {
    let Circumstances { traffic, error_rate, ratio, budget, look, .. } = *given;
    let fine = traffic > 0.0 && error_rate > 0.0 && error_rate < 1.0 && ratio > 1.0 && budget > 0.0 && look > 0.0;
    let fine = fine && (1..=100).contains(&given.last);
    if !fine || !(traffic + ratio + budget + look).is_finite() {
        return Err(Impossible::Circumstances);
    }
    let finish = log(1.0 / given.false_promotion_rate.get()) + UNKNOWN;
    let weights: Vec<u8> = WEIGHTS.into_iter().filter(|weight| *weight < given.last).chain([given.last]).collect();
    // What is spent at the shares before adds up to less than the same again.
    let whole = (budget / 2.0).max(least_harm(given));
    let worst = (1.0 / error_rate).max(ratio);
    // The worst ratio at which this share stays within the budget for as long as nothing can be found out.
    let bearable = |weight: u8| {
        let harm = traffic * f64::from(weight) / 100.0 * error_rate * SOONEST * look;
        (1.0 + whole / harm).clamp(ratio, worst)
    };
    let first = weights.iter().rposition(|weight| bearable(*weight) >= worst);
    let (mut steps, mut good, mut place) = (Vec::new(), 0.0, first.unwrap_or_default());
    while let Some(next) = weights.get(place + 1) {
        let (weight, next) = (weights[place], bearable(*next));
        let lacks = alarm(given) - evidence(given, &steps, next);
        let soak = ceil((lacks / alarm_growth(given, weight, next)).max(SOONEST * look) / look) * look;
        good += soak * promotion_growth(given, weight);
        steps.push(Step { weight, soak });
        let ruled_out = ruled_out(given, &steps, worst);
        let allowed = weights.iter().rposition(|weight| bearable(*weight) >= ruled_out);
        place = allowed.unwrap_or_default().max(place + 1);
    }
    let last = ((finish - good) / promotion_growth(given, given.last)).max(SOONEST * look);
    steps.push(Step { weight: given.last, soak: last });
    let finish = steps.iter().map(|step| step.soak).sum::<f64>();
    if finish.is_nan() || finish > WEEK {
        return Err(Impossible::TooLittleTraffic(finish / 3600.0));
    }
    let (alarm, failed) = found_out(given, &steps, ratio);
    Ok(Plan { steps, finish, alarm, failed })
}

/// When a canary of this ratio is expected to be found out in these steps, and the requests beyond the usual that have
/// failed by then.
fn found_out(given: &Circumstances, steps: &[Step], ratio: f64) -> (f64, f64) {
    let (mut lacks, mut clock, mut failed) = (alarm(given), 0.0, 0.0);
    for (place, Step { weight, soak }) in steps.iter().enumerate() {
        let growth = alarm_growth(given, *weight, ratio);
        let until = (lacks / growth).max(if clock > 0.0 { 0.0 } else { SOONEST * given.look });
        let found = until <= *soak || place + 1 == steps.len();
        let lasts = if found { until } else { *soak };
        failed += lasts * given.traffic * f64::from(*weight) / 100.0 * given.error_rate * (ratio - 1.0);
        clock += lasts;
        if found {
            break;
        }
        lacks -= growth * soak;
    }
    (clock, failed)
}

/// Requests beyond the usual that a canary fails in any case which is worse by just as much as matters.
fn least_harm(given: &Circumstances) -> f64 {
    let weight = given.last.min(10);
    let per_second = given.traffic * f64::from(weight) / 100.0 * given.error_rate * (given.ratio - 1.0);
    per_second * alarm(given) / alarm_growth(given, weight, given.ratio)
}

/// How much evidence an alarm takes.
fn alarm(given: &Circumstances) -> f64 {
    log(1.0 / given.false_alarm_rate.get()) + UNKNOWN
}

/// Evidence that these steps bring for a canary of this ratio being worse.
fn evidence(given: &Circumstances, steps: &[Step], ratio: f64) -> f64 {
    steps.iter().map(|Step { weight, soak }| soak * alarm_growth(given, *weight, ratio)).sum()
}

/// The smallest ratio that is expected to have been found out after these steps.
fn ruled_out(given: &Circumstances, steps: &[Step], worst: f64) -> f64 {
    let (mut open, mut out) = (given.ratio, worst);
    if evidence(given, steps, open) >= alarm(given) {
        return open;
    }
    for _ in 0..40 {
        let middle = (open + out) / 2.0;
        if evidence(given, steps, middle) >= alarm(given) {
            out = middle;
        } else {
            open = middle;
        }
    }
    out
}

/// Evidence per second for a canary of this ratio being worse.
fn alarm_growth(given: &Circumstances, weight: u8, ratio: f64) -> f64 {
    let (canary, other) = arms(given, weight);
    if other <= 0.0 {
        return 0.0; // there is nobody to compare with
    }
    let share = canary / (canary + other);
    let believed = ratio * canary / (ratio * canary + other);
    let per_event = believed * log(believed / share) + (1.0 - believed) * log((1.0 - believed) / (1.0 - share));
    per_event * given.error_rate * (ratio * canary + other)
}

/// Evidence per second for a canary as good as the reference being not worse.
fn promotion_growth(given: &Circumstances, weight: u8) -> f64 {
    let (canary, other) = arms(given, weight);
    if other <= 0.0 {
        return 0.0;
    }
    Tests::growth(canary * given.look, other * given.look, given.error_rate, given.ratio) * canary
}

/// Requests per second to the canary and to what it is compared with.
fn arms(given: &Circumstances, weight: u8) -> (f64, f64) {
    let share = f64::from(weight) / 100.0;
    let other = if given.baseline { share.min(1.0 - share) } else { 1.0 - share };
    (given.traffic * share, given.traffic * other)
}

/// Seconds until a canary of this weight is expected to be shown not to be worse; infinite if never.
pub fn time_to_decide(given: &Circumstances, weight: u8) -> f64 {
    let growth = promotion_growth(given, weight);
    let lacks = log(1.0 / given.false_promotion_rate.get()) + UNKNOWN;
    if growth > 0.0 { lacks / growth } else { f64::INFINITY }
}

/// How often a rule of thresholds takes back a release that is as good as what there was: `checks` of a success rate in
/// percent, each over `requests`, of which so many have to fail as the limit says.
pub fn kills_good_releases(accepted: Range, failed_checks: u32, checks: u32, requests: f64, error_rate: f64) -> f64 {
    let of = requests.max(0.0) as u64;
    // The chance that a check fails: that so many requests fail that the rate is no longer accepted.
    let limit = (0..=of).find(|errors| {
        let rate = 100.0 * (1.0 - *errors as f64 / of.max(1) as f64);
        accepted.min().is_some_and(|min| rate < min)
    });
    let fails = limit.map_or(0.0, |limit| binomial_test(limit, of, error_rate, Alternative::Greater));
    if fails >= 1.0 {
        return if checks >= failed_checks { 1.0 } else { 0.0 };
    }
    if failed_checks == 1 {
        1.0 - pow(1.0 - fails, f64::from(checks))
    } else {
        binomial_test(failed_checks.into(), checks.into(), fails, Alternative::Greater)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(traffic: f64, budget: f64) -> Circumstances {
        let rate = Rate::try_from(0.05).unwrap();
        Circumstances {
            traffic,
            error_rate: 0.005,
            ratio: 4.0,
            false_alarm_rate: rate,
            false_promotion_rate: rate,
            budget,
            baseline: true,
            last: 50,
            look: 30.0,
        }
    }

    #[test]
    fn steps_rise_and_harm_stays_within_the_budget() {
        for traffic in [10.0, 100.0, 1000.0] {
            for budget in [30.0, 100.0, 1000.0] {
                let plan = plan(&given(traffic, budget)).unwrap();
                assert!(plan.steps.is_sorted_by(|one, two| one.weight < two.weight), "{plan:?}");
                assert!(plan.failed <= budget, "{traffic} {budget}: {plan:?}");
                assert!(plan.finish >= plan.steps.iter().map(|step| step.soak).sum::<f64>() - 1.0);
            }
        }
    }

    #[test]
    fn no_canary_is_expected_to_spend_more_than_the_budget() {
        for traffic in [10.0, 100.0, 1000.0, 10_000.0] {
            for budget in [100.0, 1000.0, 10_000.0] {
                let given = given(traffic, budget);
                let plan = plan(&given).unwrap();
                assert!(plan.steps.is_sorted_by(|one, two| one.weight < two.weight), "{plan:?}");
                let enough = budget >= 2.0 * least_harm(&given);
                let smallest = traffic / 100.0 * SOONEST * given.look;
                for ratio in [4.0, 6.0, 10.0, 20.0, 50.0, 100.0, 200.0] {
                    let (_, failed) = found_out(&given, &plan.steps, ratio);
                    let bounded = failed <= budget || !enough || budget < 2.0 * smallest;
                    assert!(bounded, "{traffic} {budget} {ratio}: {failed} {plan:?}");
                }
            }
        }
    }

    #[test]
    fn a_larger_budget_takes_less_time() {
        let finish = |budget| plan(&given(1000.0, budget)).unwrap().finish;
        assert!(finish(100.0) > finish(5000.0) && finish(5000.0) > finish(100_000.0));
        assert_eq!(plan(&given(1000.0, 1e9)).unwrap().steps.len(), 1, "nothing keeps it from half of the users");
    }

    #[test]
    fn the_last_share_is_as_asked_for() {
        for last in [1, 3, 20, 50, 60, 99] {
            let given = Circumstances { last, baseline: false, ..given(100.0, 100.0) };
            assert_eq!(plan(&given).unwrap().steps.last().map(|step| step.weight), Some(last));
        }
        assert_eq!(plan(&Circumstances { last: 0, ..given(100.0, 100.0) }), Err(Impossible::Circumstances));
    }

    #[test]
    fn too_little_traffic_is_said() {
        assert!(matches!(plan(&given(0.0001, 10.0)), Err(Impossible::TooLittleTraffic(_))));
        assert_eq!(plan(&given(-1.0, 10.0)), Err(Impossible::Circumstances));
    }

    #[test]
    fn a_threshold_near_the_usual_rate_is_a_lottery() {
        let accepted = Range::new(Some(99.0), None).unwrap();
        let lottery = kills_good_releases(accepted, 5, 30, 60.0, 0.005);
        assert!((0.8..0.99).contains(&lottery), "{lottery}");
        assert!(kills_good_releases(accepted, 5, 30, 60_000.0, 0.005) < 1e-6);
    }
}
