//! What a policy will do at a given traffic: how long it takes, how many requests each check rests on, how often it takes
//! back a release that is as good as the primary, and what it cannot see. Of the threshold rule the windows are taken as
//! independent; of the judge it is told how long evidence takes.

mod evidence;

use std::time::Duration;

use judge::ranks::{Alternative, binomial_test};

use crate::spec::{HookKind, Method, Metric, MetricSource, Spec, Strategy};

/// Share of good releases that a policy may take back before it is told, as 0.05.
const TOO_OFTEN: f64 = 0.05;

/// The traffic that is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Requests of all users in a minute.
    requests_per_minute: f64,
    /// Share of requests that a good version answers well.
    success: f64,
}

impl Traffic {
    /// So many requests a minute, of which a good version answers so many percent well; `None` when that is no traffic.
    pub fn new(requests_per_minute: f64, success_percent: f64) -> Option<Traffic> {
        let possible = requests_per_minute > 0.0
            && requests_per_minute.is_finite()
            && success_percent > 0.0
            && success_percent <= 100.0;
        possible.then_some(Traffic { requests_per_minute, success: success_percent / 100.0 })
    }
}

/// What will happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The steps of the analysis, each with the look that ends it.
    pub steps: Vec<Expected>,
    /// From the first look at the canary's pods to the promotion, when nothing fails and no gate is closed.
    pub finish: Duration,
    /// Share of good releases that are taken back; `None` when no traffic is known, or its share that the canary gets.
    pub false_rollbacks: Option<f64>,
    /// Requests that fail until a canary is taken back that fails them all; `None` as above, and when nothing would.
    pub lost_in_outage: Option<f64>,
    /// When a canary is found out that is worse by just as much as matters; `None` but with `plan: auto` and known traffic.
    pub found_out: Option<FoundOut>,
    /// What should be changed.
    pub findings: Vec<Finding>,
}

/// What a canary does until it is found out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundOut {
    /// When, from the first look at its pods.
    pub after: Duration,
    /// Requests beyond the usual that have failed by then.
    pub failed: f64,
}

/// A step of the analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Percent of the traffic meant for the canary; `None` where matches decide.
    pub weight: Option<u8>,
    /// The canary gets a copy of the traffic.
    pub mirrored: bool,
    /// When it begins.
    pub from: Duration,
    /// Requests to the canary that the look at its end rests on, for the shortest window among the metrics.
    pub requests: Option<f64>,
    /// How often that look finds a failed check at a good release.
    pub fails: Option<f64>,
}

/// Something about the policy that should be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// One word for programs.
    pub reason: &'static str,
    /// A sentence with the mend.
    pub message: String,
}

/// Looks ahead.
pub fn forecast(spec: &Spec, traffic: Option<Traffic>) -> Forecast {
    let window = spec.metrics.iter().map(|metric| metric.interval).min();
    let mut steps = steps(spec);
    for step in &mut steps {
        step.requests = traffic.zip(window).and_then(|(traffic, window)| requests(step, traffic, window));
        step.fails = traffic.and_then(|traffic| fails(spec, step, traffic));
    }
    let judged = match spec.judge.method {
        Method::Threshold => None,
        Method::Sequential { false_alarm_rate, .. } | Method::MannWhitney { false_alarm_rate } => {
            Some(false_alarm_rate)
        }
    };
    if judged.is_some() {
        steps.iter_mut().for_each(|step| step.fails = None);
    }
    let odds: Option<Vec<f64>> = steps.iter().map(|step| step.fails).collect();
    let threshold = usize::try_from(spec.threshold).unwrap_or(usize::MAX);
    let mut forecast = Forecast {
        finish: spec.interval.saturating_mul(u32::try_from(steps.len()).unwrap_or(u32::MAX)),
        false_rollbacks: match judged {
            Some(rate) => Some(rate.get()),
            None => odds.map(|odds| false_rollbacks(&odds, threshold)),
        },
        lost_in_outage: traffic.filter(|_| judged.is_none()).and_then(|traffic| lost_in_outage(spec, &steps, traffic)),
        steps,
        found_out: None,
        findings: Vec::new(),
    };
    if spec.skip_analysis {
        forecast.find("AnalysisSkipped", "skipAnalysis promotes without a look at the canary".into());
    } else {
        blind_spots(spec, &mut forecast);
        match (traffic, judged) {
            (Some(traffic), None) => at_traffic(spec, traffic, &mut forecast),
            (Some(traffic), Some(_)) => match spec.plan {
                Some(auto) => evidence::planned(spec, auto, traffic, &mut forecast),
                None => evidence::weigh(spec, traffic, &mut forecast),
            },
            (None, _) => {}
        }
    }
    forecast
}

impl Forecast {
    fn find(&mut self, reason: &'static str, message: String) {
        self.findings.push(Finding { reason, message });
    }
}

fn steps(spec: &Spec) -> Vec<Expected> {
    let step = |place: usize, weight: Option<u8>, mirrored: bool| Expected {
        weight,
        mirrored,
        from: spec.interval.saturating_mul(u32::try_from(place).unwrap_or(u32::MAX)),
        requests: None,
        fails: None,
    };
    let numbered = |steps: Vec<(Option<u8>, bool)>| {
        steps.into_iter().enumerate().map(|(place, (weight, mirrored))| step(place, weight, mirrored)).collect()
    };
    let count = |iterations: u32| usize::try_from(iterations).unwrap_or(usize::MAX);
    match &spec.strategy {
        Strategy::Canary { weights, mirror, .. } => {
            let first = mirror.iter().map(|_| (Some(0), true));
            numbered(first.chain(weights.iter().map(|weight| (Some(*weight), false))).collect())
        }
        Strategy::AbTesting { iterations, .. } => numbered(vec![(None, false); count(*iterations).min(1000)]),
        Strategy::BlueGreen { iterations, mirror } => {
            let mut steps = vec![(Some(0), mirror.is_some()); count(*iterations).min(1000)];
            steps.push((Some(100), false));
            numbered(steps)
        }
    }
}

/// Requests to the canary within a window of that step.
fn requests(step: &Expected, traffic: Traffic, window: Duration) -> Option<f64> {
    let share = match (step.weight, step.mirrored) {
        (_, true) => 1.0,
        (Some(weight), false) => f64::from(weight) / 100.0,
        (None, false) => return None,
    };
    Some(traffic.requests_per_minute * share * window.as_secs_f64() / 60.0)
}

/// How often the look at the end of the step finds a failed check at a good release; metrics of which the traffic does not
/// say anything count as good.
fn fails(spec: &Spec, step: &Expected, traffic: Traffic) -> Option<f64> {
    let mut passes = 1.0;
    for metric in &spec.metrics {
        let requests = requests(step, traffic, metric.interval)?;
        // Without a request there is no value, and no value is a failed check.
        let silent = (-requests).exp();
        let fails = match allowed(metric) {
            Some(allowed) => silent + (1.0 - silent) * too_many(requests, 1.0 - traffic.success, allowed),
            None if measures_requests(metric) => silent,
            None => 0.0,
        };
        passes *= 1.0 - fails.clamp(0.0, 1.0);
    }
    Some(1.0 - passes)
}

fn measures_requests(metric: &Metric) -> bool {
    match metric.source {
        MetricSource::SuccessRate | MetricSource::Duration => true,
        MetricSource::Inline(_) | MetricSource::Template { .. } => false,
    }
}

/// Share of requests that may fail, of the builtin success rate.
fn allowed(metric: &Metric) -> Option<f64> {
    match metric.source {
        MetricSource::SuccessRate => metric.range.min.map(|min| (1.0 - min / 100.0).clamp(0.0, 1.0)),
        MetricSource::Duration | MetricSource::Inline(_) | MetricSource::Template { .. } => None,
    }
}

/// How often more than the allowed share of that many requests fails, when each fails at this rate.
fn too_many(requests: f64, rate: f64, allowed: f64) -> f64 {
    let count = requests.round().max(1.0);
    if rate <= 0.0 {
        return 0.0;
    }
    if rate >= 1.0 {
        return if allowed < 1.0 { 1.0 } else { 0.0 };
    }
    let most = (count * allowed + 1e-9).floor();
    if most >= count {
        return 0.0;
    }
    binomial_test(most as u64 + 1, count as u64, rate, Alternative::Greater)
}

/// How often that many failed checks come together before each step was passed once.
fn false_rollbacks(odds: &[f64], threshold: usize) -> f64 {
    const MOST: usize = 1000;
    let threshold = threshold.clamp(1, MOST);
    // Chances of so many failed checks when the step begins.
    let mut standing = vec![0.0; threshold];
    standing[0] = 1.0;
    let mut ended = 0.0;
    for fails in odds {
        // A failed look is followed by another one at the same step.
        for failed in 0..threshold {
            let here = standing[failed];
            standing[failed] = here * (1.0 - fails);
            match standing.get_mut(failed + 1) {
                Some(next) => *next += here * fails,
                None => ended += here * fails,
            }
        }
    }
    ended
}

/// A canary that fails every request is seen by the builtin success rate at each look.
fn lost_in_outage(spec: &Spec, steps: &[Expected], traffic: Traffic) -> Option<f64> {
    let seen = spec.metrics.iter().any(|metric| allowed(metric).is_some_and(|allowed| allowed < 1.0));
    let first = steps.iter().find(|step| step.weight.is_none_or(|weight| weight > 0))?;
    let weight = first.weight?;
    // The last look but one is an interval before the last.
    let time = spec.interval.saturating_mul(spec.threshold);
    seen.then(|| traffic.requests_per_minute * f64::from(weight) / 100.0 * time.as_secs_f64() / 60.0)
}

fn blind_spots(spec: &Spec, forecast: &mut Forecast) {
    let judging = |kind: HookKind| matches!(kind, HookKind::Rollout);
    let hooks = spec.webhooks.iter().any(|hook| judging(hook.kind));
    if spec.metrics.is_empty() && !hooks {
        let mend = "add a metric, as {name: request-success-rate, thresholdRange: {min: 99}}";
        forecast.find("NothingJudged", format!("no metric and no hook can speak against the canary: {mend}"));
    }
    for metric in &spec.metrics {
        let name = &metric.name;
        if metric.comparison.is_none() && metric.range.min.is_none() && metric.range.max.is_none() {
            forecast.find("EveryValuePasses", format!("metric {name} has no thresholdRange, so every value passes"));
        }
        if metric.comparison.is_none() && metric.interval > spec.interval.saturating_mul(4) {
            let (window, interval) = (metric.interval.as_secs(), spec.interval.as_secs());
            forecast.find(
                "SlowWindow",
                format!(
                    "the window of {name} is {window} s and a step {interval} s: most of what a check sees is of the \
                     steps before; make the window shorter or spec.analysis.interval longer"
                ),
            );
        }
    }
    let unseen = matches!(&spec.strategy, Strategy::BlueGreen { mirror: None, .. });
    if unseen && spec.metrics.iter().any(measures_requests) && !hooks {
        forecast.find(
            "NoRequests",
            "with iterations and without a mirror no user sends requests to the canary, and its metrics have no values: \
             add a rollout hook that runs a load test, or mirror: true"
                .into(),
        );
    }
}

fn at_traffic(spec: &Spec, traffic: Traffic, forecast: &mut Forecast) {
    let rate = traffic.requests_per_minute;
    let sparse = forecast.steps.iter().find(|step| step.requests.is_some_and(|requests| requests < 1.0));
    if let Some((weight, requests)) = sparse.and_then(|step| Some((step.weight?, step.requests?)))
        && weight > 0
    {
        forecast.find(
            "TooFewRequests",
            format!(
                "at {weight} % of {rate} requests a minute a check rests on {requests:.1} requests, and no value is a \
                 failed check: begin with a larger weight or make the windows longer"
            ),
        );
    }
    for metric in &spec.metrics {
        let Some(allowed) = allowed(metric) else { continue };
        let first = forecast.steps.iter().find(|step| step.weight.is_some_and(|weight| weight > 0));
        let Some((weight, requests)) =
            first.and_then(|step| Some((step.weight?, requests(step, traffic, metric.interval)?)))
        else {
            continue;
        };
        if requests >= 1.0 && requests * allowed < 1.0 {
            forecast.find(
                "OneFailureDecides",
                format!(
                    "at {weight} % of {rate} requests a minute one failed request of {requests:.0} is a failed check of {}: \
                     make its window at least {:.0} s long, or begin with a larger weight",
                    metric.name,
                    (metric.interval.as_secs_f64() / (requests * allowed).max(f64::MIN_POSITIVE)).ceil()
                ),
            );
        }
        if 1.0 - traffic.success > allowed {
            forecast.find(
                "StricterThanPrimary",
                format!(
                    "metric {} allows {:.3} % of the requests to fail, and {:.3} % do already",
                    metric.name,
                    allowed * 100.0,
                    (1.0 - traffic.success) * 100.0
                ),
            );
        }
    }
    if let Some(share) = forecast.false_rollbacks.filter(|share| *share > TOO_OFTEN) {
        forecast.find(
            "KillsGoodReleases",
            format!(
                "{:.0} of 100 releases as good as the primary are taken back: raise spec.analysis.threshold, make the \
                 windows longer, or begin with a larger weight",
                share * 100.0
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_failures_are_as_rare_as_the_binomial_says() {
        // 1 - 0.99^20, 1 - binom.cdf(5, 100, 0.02), 1 - binom.cdf(30, 1000, 0.02).
        for (requests, rate, allowed, wanted) in [
            (20.0, 0.01, 0.01, 0.182_093_061_4),
            (100.0, 0.02, 0.05, 0.015_480_9),
            (1000.0, 0.02, 0.03, 0.012_4),
            (60_000.0, 0.001, 0.01, 0.0),
        ] {
            let found = too_many(requests, rate, allowed);
            assert!((found - wanted).abs() < 1e-3, "{requests} {rate} {allowed}: {found}");
        }
        assert_eq!(too_many(10.0, 0.0, 0.01), 0.0);
        assert_eq!(too_many(10.0, 1.0, 0.5), 1.0);
    }

    #[test]
    fn failed_checks_add_up() {
        assert_eq!(false_rollbacks(&[0.5], 1), 0.5);
        // Two failures before the one pass that is needed.
        assert_eq!(false_rollbacks(&[0.5], 2), 0.25);
        assert!((false_rollbacks(&[0.1, 0.1], 1) - 0.19).abs() < 1e-12);
        assert_eq!(false_rollbacks(&[], 3), 0.0);
        assert_eq!(false_rollbacks(&[0.0; 5], 1), 0.0);
    }
}
