//! Asks for what the judge compares: each metric of each arm, over the time since it was asked last.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use judge::sample::Arm;
use rollout::Reading;
use rollout::evidence::{Counted, Gathered, arms};
use rollout::spec::{Comparison, Measure, Metric, Spec};

use super::question;
use crate::context::Context;
use crate::objects::Owner;
use crate::providers::builtin::{Signal, milliseconds, tells_workloads};
use crate::providers::{self, Query, QueryError};
use crate::view::View;

/// All arms of all metrics that are compared, side by side.
pub(super) async fn gather(
    context: &Context,
    view: &View,
    owner: &Owner,
    spec: &Spec,
    since: Timestamp,
) -> Vec<Gathered> {
    let asked = context.now();
    // Whole seconds are what every server understands.
    let seconds = asked.duration_since(since).as_secs().max(1);
    let window = Duration::from_secs(seconds.unsigned_abs());
    let compared = spec.metrics.iter().filter_map(|metric| Some((metric, metric.comparison?)));
    let all = compared
        .flat_map(|(metric, comparison)| arms(&comparison).into_iter().map(move |arm| (metric, comparison, arm)));
    join_all(all.map(|(metric, comparison, arm)| async move {
        let metric = Metric { interval: window, interval_text: format!("{seconds}s"), ..metric.clone() };
        let spec = of_arm(spec, arm);
        let (query, answer) = ask(context, view, owner, &spec, &metric, comparison, arm, asked).await;
        Gathered { metric: metric.name, arm, query, asked, window, answer }
    }))
    .await
}

/// The policy as if the arm were the target.
fn of_arm(spec: &Spec, arm: Arm) -> Spec {
    let mut spec = spec.clone();
    match arm {
        Arm::Canary => {}
        Arm::Primary => spec.target.name = spec.primary_name(),
        Arm::Baseline => spec.target.name = spec.baseline_name(),
    }
    spec
}

#[expect(clippy::too_many_arguments, reason = "a question has that many parts")]
async fn ask(
    context: &Context,
    view: &View,
    owner: &Owner,
    spec: &Spec,
    metric: &Metric,
    comparison: Comparison,
    arm: Arm,
    asked: Timestamp,
) -> (Option<String>, Counted) {
    match comparison.measure {
        Measure::Errors => errors(context, owner, spec, metric, arm, asked).await,
        Measure::Mean => match question(context, view, owner, spec, metric).await {
            Ok(query) => {
                let reading = context.outside.read(&query, asked).await;
                (Some(query.text), Counted::Reading(reading))
            }
            Err(reading) => (None, Counted::Reading(reading)),
        },
        Measure::Quantile(_) => times(context, owner, spec, metric, arm, asked).await,
    }
}

async fn errors(
    context: &Context,
    owner: &Owner,
    spec: &Spec,
    metric: &Metric,
    arm: Arm,
    asked: Timestamp,
) -> (Option<String>, Counted) {
    let query = |signal| query(context, owner, spec, metric, arm, signal);
    let queries = query(Signal::Requests).and_then(|all| Ok((all, query(Signal::Errors)?)));
    let (all, failed): (Query, Query) = match queries {
        Ok(queries) => queries,
        Err(problem) => return (None, Counted::Reading(problem.into())),
    };
    let (requests, errors) = futures::join!(context.outside.read(&all, asked), context.outside.read(&failed, asked));
    let answer = match (requests, errors) {
        // Extrapolation may leave a little less than nothing.
        (Reading::Value(all), Reading::Value(failed)) => {
            Counted::Requests { all, failed: failed.clamp(0.0, all.max(0.0)) }
        }
        // No series of requests: nobody sent any, or nobody measures.
        (Reading::NoValue, _) | (_, Reading::NoValue) => Counted::Reading(Reading::NoValue),
        (Reading::Value(_), other) | (other, _) => Counted::Reading(other),
    };
    (Some(all.text), answer)
}

async fn times(
    context: &Context,
    owner: &Owner,
    spec: &Spec,
    metric: &Metric,
    arm: Arm,
    asked: Timestamp,
) -> (Option<String>, Counted) {
    let query = match query(context, owner, spec, metric, arm, Signal::Buckets) {
        Ok(query) => query,
        Err(problem) => return (None, Counted::Reading(problem.into())),
    };
    let reading = match context.outside.read(&query, asked).await {
        Reading::Buckets(buckets) => {
            let unit = milliseconds(&spec.provider);
            Reading::Buckets(buckets.into_iter().map(|(edge, count)| (edge * unit, count)).collect())
        }
        other @ (Reading::Value(_)
        | Reading::NoValue
        | Reading::Unavailable(_)
        | Reading::Stale { .. }
        | Reading::Invalid(_)) => other,
    };
    (Some(query.text), Counted::Reading(reading))
}

fn query(
    context: &Context,
    owner: &Owner,
    spec: &Spec,
    metric: &Metric,
    arm: Arm,
    signal: Signal,
) -> Result<Query, QueryError> {
    match arm {
        Arm::Canary => {}
        Arm::Primary | Arm::Baseline => tells_workloads(&spec.provider)?,
    }
    providers::count(signal, metric.interval, spec, &owner.namespace, &context.settings.metrics_server)
}
