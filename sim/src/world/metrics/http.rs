//! The HTTP face of the metrics server: `/api/v1/query` as Prometheus has it, for a real client.

use std::time::Duration;

use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::promql::{Answer, QueryError};
use super::super::series::{Labels, Point};
use super::{AskError, Reply};

/// Longer than every client waits.
const TOO_LONG: Duration = Duration::from_secs(60);

/// A router whose queries are answered by `ask`, which gets the text and the time that was asked for, if one was.
pub fn router<A>(ask: A) -> Router
where
    A: Fn(&str, Option<Timestamp>) -> Result<Reply, AskError> + Clone + Send + Sync + 'static,
{
    let by_get = async |State(ask): State<A>, Query(asked): Query<Asked>| answer(ask, asked).await;
    let by_post = async |State(ask): State<A>, Form(asked): Form<Asked>| answer(ask, asked).await;
    Router::new().route("/api/v1/query", get(by_get).post(by_post)).with_state(ask)
}

/// What a reply looks like in Prometheus' API.
pub fn to_json(reply: &Reply) -> Value {
    let data = match &reply.answer {
        Answer::Scalar(value) => json!({"resultType": "scalar", "result": value_at(reply.at, *value)}),
        Answer::Vector(samples) => {
            let samples = samples
                .iter()
                .map(|sample| json!({"metric": labels(&sample.labels), "value": value_at(reply.at, sample.value)}));
            json!({"resultType": "vector", "result": samples.collect::<Vec<_>>()})
        }
        Answer::Matrix(series) => {
            let series = series.iter().map(|(own, points)| {
                let points: Vec<Value> = points.iter().map(|Point { at, value }| point(*at, *value)).collect();
                json!({"metric": labels(own), "values": points})
            });
            json!({"resultType": "matrix", "result": series.collect::<Vec<_>>()})
        }
    };
    json!({"status": "success", "data": data})
}

#[derive(Deserialize)]
struct Asked {
    query: String,
    time: Option<String>,
}

async fn answer<A>(ask: A, asked: Asked) -> Response
where
    A: Fn(&str, Option<Timestamp>) -> Result<Reply, AskError>,
{
    let refused = |status: StatusCode, kind: &str, error: String| {
        (status, Json(json!({"status": "error", "errorType": kind, "error": error}))).into_response()
    };
    let time = match asked.time.as_deref().map(|text| time(text).ok_or(text)).transpose() {
        Ok(time) => time,
        Err(text) => {
            let what = format!("reading the parameter time: {text:?} is neither seconds nor RFC 3339");
            return refused(StatusCode::BAD_REQUEST, "bad_data", what);
        }
    };
    match ask(&asked.query, time) {
        Ok(reply) => Json(to_json(&reply)).into_response(),
        Err(AskError::Query(error)) => match error {
            QueryError::Syntax { .. } | QueryError::Unsupported(_) => {
                refused(StatusCode::BAD_REQUEST, "bad_data", error.to_string())
            }
            QueryError::Execution(_) => refused(StatusCode::UNPROCESSABLE_ENTITY, "execution", error.to_string()),
        },
        Err(AskError::TooSlow) => {
            tokio::time::sleep(TOO_LONG).await;
            refused(StatusCode::SERVICE_UNAVAILABLE, "timeout", AskError::TooSlow.to_string())
        }
        // As the Service before a server that is gone would say it.
        Err(AskError::Unreachable) => {
            refused(StatusCode::SERVICE_UNAVAILABLE, "unavailable", AskError::Unreachable.to_string())
        }
    }
}

fn time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let seconds: f64 = text.parse().ok().filter(|seconds: &f64| seconds.abs() < 1e11)?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok()
}

fn labels(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<serde_json::Map<_, _>>().into()
}

fn value_at(at: Timestamp, value: f64) -> Value {
    point(at.as_millisecond(), value)
}

fn point(at: i64, value: f64) -> Value {
    let value = match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    };
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 milliseconds")]
    let seconds = at as f64 / 1000.0;
    json!([seconds, value])
}
