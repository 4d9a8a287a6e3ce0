//! Asks for what the judge compares: each metric of each arm, over the time since it was asked last.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use judge::sample::Arm;
use rollout::Reading;
use rollout::evidence::{Counted, Gathered, USUAL, arms, has_usual};
use rollout::spec::{Comparison, Measure, Metric, Spec};

use super::question;
use crate::context::Context;
use crate::objects::Owner;
use crate::providers::builtin::{Signal, milliseconds, tells_workloads};
use crate::providers::{self, Query, QueryError, Span};
use crate::view::View;

/// All arms of all metrics that are compared, side by side; before them how the primary was in the hours until then, where
/// that is asked for too.
pub(super) async fn gather(
    context: &Context,
    view: &View,
    owner: &Owner,
    spec: &Spec,
    since: Timestamp,
    usual: bool,
) -> Vec<Gathered> {
    let now = context.now();
    // Whole seconds are what every server understands.
    let seconds = Duration::from_secs(now.duration_since(since).as_secs().max(1).unsigned_abs());
    let look = Span::until_now(seconds);
    let past = Span { window: USUAL, before: seconds };
    let compared: Vec<_> = spec.metrics.iter().filter_map(|metric| Some((metric, metric.comparison?))).collect();
    let of_past = compared.iter().filter(|(_, comparison)| usual && has_usual(spec, comparison));
    let of_past = of_past.map(|(metric, comparison)| (*metric, *comparison, Arm::Primary, past));
    let of_look = compared.iter().flat_map(|(metric, comparison)| {
        arms(spec, comparison).into_iter().map(|arm| (*metric, *comparison, arm, look))
    });
    join_all(of_past.chain(of_look).map(|(metric, comparison, arm, span)| async move {
        let spec = of_arm(spec, arm);
        let (query, answer) = ask(context, view, owner, &spec, metric, comparison, arm, span).await;
        Gathered { metric: metric.name.clone(), arm, query, asked: now - span.before, window: span.window, answer }
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
    span: Span,
) -> (Option<String>, Counted) {
    match comparison.measure {
        Measure::Errors => errors(context, owner, spec, arm, span).await,
        Measure::Mean => {
            let interval_text = format!("{}s", span.window.as_secs());
            let metric = Metric { interval: span.window, interval_text, ..metric.clone() };
            match question(context, view, owner, spec, &metric).await {
                Ok(query) => {
                    let reading = context.outside.read(&query, context.now()).await;
                    (Some(query.text), Counted::Reading(reading))
                }
                Err(reading) => (None, Counted::Reading(reading)),
            }
        }
        Measure::Quantile(_) => times(context, owner, spec, arm, span).await,
    }
}

async fn errors(context: &Context, owner: &Owner, spec: &Spec, arm: Arm, span: Span) -> (Option<String>, Counted) {
    let query = |signal| query(context, owner, spec, arm, span, signal);
    let queries = query(Signal::Requests).and_then(|all| Ok((all, query(Signal::Errors)?)));
    let (all, failed): (Query, Query) = match queries {
        Ok(queries) => queries,
        Err(problem) => return (None, Counted::Reading(problem.into())),
    };
    let now = context.now();
    let (requests, errors) = futures::join!(context.outside.read(&all, now), context.outside.read(&failed, now));
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

async fn times(context: &Context, owner: &Owner, spec: &Spec, arm: Arm, span: Span) -> (Option<String>, Counted) {
    let query = match query(context, owner, spec, arm, span, Signal::Buckets) {
        Ok(query) => query,
        Err(problem) => return (None, Counted::Reading(problem.into())),
    };
    let reading = match context.outside.read(&query, context.now()).await {
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
    arm: Arm,
    span: Span,
    signal: Signal,
) -> Result<Query, QueryError> {
    match arm {
        Arm::Canary => {}
        Arm::Primary | Arm::Baseline => tells_workloads(&spec.provider)?,
    }
    providers::count(signal, span, spec, &owner.namespace, &context.settings.metrics_server)
}
