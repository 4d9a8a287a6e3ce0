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
    /// Requests that may fail beyond the usual, if the canary is worse by just as much as matters.
    pub budget: f64,
    /// Whether a baseline of the canary's size gets as much of the traffic.
    pub baseline: bool,
    /// The largest share of the traffic for the canary, in percent: the last step has it.
    pub last: u8,
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
    #[error("a plan takes traffic, an error rate above 0 and below 1, a ratio above 1, a budget above 0 and a last share of 1 to 100 %")]
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
/// A window of a metrics server, in seconds.
const WINDOW: f64 = 10.0;
/// What not knowing the effect costs, in units of the logarithm of evidence.
const UNKNOWN: f64 = 0.5;

/// The quickest steps whose expected harm stays within the budget. Each step may use an equal part of it, and the last one
/// what is left; a first step that uses less than its part is left out.
pub fn plan(given: &Circumstances) -> Result<Plan, Impossible> {
    let Circumstances { traffic, error_rate, ratio, budget, .. } = *given;
    let fine = traffic > 0.0 && error_rate > 0.0 && error_rate < 1.0 && ratio > 1.0 && budget > 0.0;
    let fine = fine && (1..=100).contains(&given.last);
    if !fine || !(traffic + ratio + budget).is_finite() {
        return Err(Impossible::Circumstances);
    }
    let alarm = log(1.0 / given.false_alarm_rate.get()) + UNKNOWN;
    let finish = log(1.0 / given.false_promotion_rate.get()) + UNKNOWN;
    // Failed requests beyond the usual until evidence is complete, at any weight: harm is evidence.
    let harm_rate = |weight: u8| traffic * f64::from(weight) / 100.0 * error_rate * (ratio - 1.0);
    let weights: Vec<u8> = WEIGHTS.into_iter().filter(|weight| *weight < given.last).chain([given.last]).collect();
    let whole = budget / weights.len() as f64;
    let (mut steps, mut worse, mut good, mut failed, mut clock) = (Vec::new(), 0.0, 0.0, 0.0, 0.0);
    let (mut alarm_at, mut last) = (None, 0.0);
    for (place, weight) in weights.iter().copied().enumerate() {
        let harm = harm_rate(weight);
        let left = alarm - worse;
        let is_last = place + 1 == weights.len();
        let soak = (whole / harm).min(left.max(0.0) / alarm_growth(given, weight));
        // What is over in two windows is no step.
        if !is_last && soak < 2.0 * WINDOW {
            continue;
        }
        let soak = if is_last {
            last = ((finish - good) / promotion_growth(given, weight)).max(2.0 * WINDOW);
            last
        } else {
            ceil(soak / WINDOW) * WINDOW
        };
        let until_alarm = (left / alarm_growth(given, weight)).max(0.0);
        if alarm_at.is_none() {
            failed += harm * soak.min(until_alarm);
            if until_alarm <= soak {
                alarm_at = Some(clock + until_alarm);
            }
        }
        worse += soak * alarm_growth(given, weight);
        good += soak * promotion_growth(given, weight);
        clock += soak;
        steps.push(Step { weight, soak });
    }
    if !(clock <= WEEK && last.is_finite()) {
        return Err(Impossible::TooLittleTraffic(clock / 3600.0));
    }
    Ok(Plan { steps, finish: clock, alarm: alarm_at.unwrap_or(clock), failed })
}

/// Evidence per second for a canary of just the ratio that matters being worse.
fn alarm_growth(given: &Circumstances, weight: u8) -> f64 {
    let (canary, other) = arms(given, weight);
    if other <= 0.0 {
        return 0.0; // there is nobody to compare with
    }
    let share = canary / (canary + other);
    let believed = given.ratio * canary / (given.ratio * canary + other);
    let per_event = believed * log(believed / share) + (1.0 - believed) * log((1.0 - believed) / (1.0 - share));
    per_event * given.error_rate * (given.ratio * canary + other)
}

/// Evidence per second for a canary as good as the reference being not worse.
fn promotion_growth(given: &Circumstances, weight: u8) -> f64 {
    let (canary, other) = arms(given, weight);
    if other <= 0.0 {
        return 0.0;
    }
    Tests::growth(canary * WINDOW, other * WINDOW, given.error_rate, given.ratio) * canary
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
    fn the_last_share_is_as_asked_for() {
        for last in [1, 3, 20, 50, 60, 100] {
            let given = Circumstances { last, baseline: false, ..given(100.0, 100.0) };
            // With all users on the canary there is nobody to compare with.
            let ends = plan(&given).map(|plan| plan.steps.last().map(|step| step.weight));
            assert_eq!(ends.ok().flatten(), (last < 100).then_some(last));
        }
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
