//! Prometheus and all that speaks its HTTP API (Thanos, Mimir, VictoriaMetrics).
//!
//! The time of the query is left to the server, so that its clock may differ from ours; ours only judges staleness.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use jiff::Timestamp;
use prometheus_http_query::response::{Data, PromqlResult};
use prometheus_http_query::{Client, Error};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode};
use rollout::Reading;
use serde_json::Value;
use url::Url;

use super::{Endpoint, Provider, Query, QueryError, Transient};
use crate::http;

pub(super) static PROVIDER: Prometheus = Prometheus;

/// Longest query sent by GET, which every proxy understands, in bytes; longer ones go by POST.
const LONGEST_GET: usize = 2048;

/// Longest text of the server's that is passed on, in characters.
const REASON: usize = 300;

pub(super) struct Prometheus;

impl Provider for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn check(&self, endpoint: &Endpoint) -> Result<(), QueryError> {
        headers(endpoint, &address(endpoint)?).map(drop)
    }

    fn ask<'a>(
        &'a self,
        query: &'a Query,
        client: reqwest::Client,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Reading, Transient>> {
        Box::pin(async move {
            let (base, headers) = match access(&query.endpoint) {
                Ok(access) => access,
                Err(error) => return Ok(error.into()),
            };
            let client = match Client::from(client, base.as_str()) {
                Ok(client) => client,
                Err(_) => return Ok(Reading::Invalid(format!("{} is not a URL", query.endpoint.field))),
            };
            let text = query.text.split_whitespace().collect::<Vec<_>>().join(" ");
            let long = text.len() > LONGEST_GET;
            let mut asked = client.query(text);
            for (name, value) in &headers {
                asked = asked.header(name.clone(), value.clone());
            }
            let answer = if long { asked.post_raw().await } else { asked.get_raw().await };
            let response = match answer {
                Ok(response) => response,
                Err(error) => return Err(Transient(describe(&error))),
            };
            answered(query, response, now).await
        })
    }

    fn answered<'a>(
        &'a self,
        query: &'a Query,
        answer: Response,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Reading, Transient>> {
        Box::pin(answered(query, answer, now))
    }
}

fn access(endpoint: &Endpoint) -> Result<(Url, HeaderMap), QueryError> {
    let written = address(endpoint)?;
    let headers = headers(endpoint, &written)?;
    let mut base = written;
    // Sent as a header, once; in the URL they would be sent a second time and end in errors.
    let stripped = base.set_username("").and_then(|()| base.set_password(None));
    if stripped.is_err() {
        return Err(bad_address(endpoint, "has credentials that cannot be read"));
    }
    let path = base.path().trim_end_matches('/').to_owned();
    base.set_path(&path);
    base.set_query(None);
    base.set_fragment(None);
    Ok((base, headers))
}

fn address(endpoint: &Endpoint) -> Result<Url, QueryError> {
    if endpoint.address.trim().is_empty() {
        return Err(bad_address(endpoint, "is empty: write the URL of a Prometheus server"));
    }
    // The address is not repeated: it may have a password in it.
    let url = Url::parse(endpoint.address.trim()).map_err(|error| bad_address(endpoint, &not_a_url(&error)))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad_address(endpoint, "is not a URL that begins with http:// or https://"));
    }
    Ok(url)
}

fn not_a_url(error: &url::ParseError) -> String {
    format!("is not a URL, as in http://prometheus:9090: {error}")
}

fn bad_address(endpoint: &Endpoint, why: &str) -> QueryError {
    QueryError::Address { field: endpoint.field.clone(), why: why.to_owned() }
}

/// The user's headers and exactly one Authorization: the Secret's token, else its username and password, else the
/// user's own header, else what stands in the URL. A new map each time; the template is never touched.
fn headers(endpoint: &Endpoint, url: &Url) -> Result<HeaderMap, QueryError> {
    let mut headers = HeaderMap::new();
    for (name, values) in &endpoint.headers {
        let bad = |what: &str| QueryError::Credentials(format!("header {name} of the MetricTemplate has {what}"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("a name that HTTP does not allow"))?;
        for value in values {
            let mut value = HeaderValue::from_str(value).map_err(|_| bad("a value that HTTP does not allow"))?;
            value.set_sensitive(true);
            headers.append(key.clone(), value);
        }
    }
    let secret = |key: &str| -> Result<Option<&str>, QueryError> {
        let Some(value) = endpoint.secret.get(key) else { return Ok(None) };
        let text = std::str::from_utf8(value);
        let text = text.map_err(|_| QueryError::Credentials(format!("key {key} of the Secret is not text")))?;
        // Secrets made with `echo` end with a line break, which no header may have.
        Ok(Some(text.trim_end_matches(['\r', '\n'])))
    };
    let authorization = if let Some(token) = secret("token")? {
        Some(format!("Bearer {token}"))
    } else if let Some(username) = secret("username")? {
        Some(basic(username, secret("password")?.unwrap_or_default()))
    } else if !endpoint.secret.is_empty() {
        return Err(QueryError::Credentials("the Secret has neither key token nor keys username and password".into()));
    } else if headers.contains_key(AUTHORIZATION) || (url.username().is_empty() && url.password().is_none()) {
        None
    } else {
        Some(basic(&percent_decoded(url.username()), &percent_decoded(url.password().unwrap_or_default())))
    };
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| {
            QueryError::Credentials("the Secret's token has characters that HTTP does not allow".to_owned())
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

fn percent_decoded(text: &str) -> String {
    // `+` stands for itself in this part of a URL, unlike in a form.
    let form = format!("x={}", text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D"));
    url::form_urlencoded::parse(form.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn describe(error: &Error) -> String {
    // Only the client's errors have a cause; the texts of the others may have the URL.
    if let Error::Client(client) = error
        && let Some(cause) = client.inner()
    {
        return http::describe(cause).to_string();
    }
    "the request failed".to_owned()
}

async fn answered(query: &Query, response: Response, now: Timestamp) -> Result<Reading, Transient> {
    let status = response.status();
    let redirect = http::redirect_host(&response);
    let body = match http::whole_body(response).await {
        Ok(body) => body,
        Err(http::HttpError::TooLong) => {
            let limit = http::BODY_LIMIT;
            let text = format!("the answer is longer than {limit} bytes: aggregate the query to one series");
            return Ok(Reading::Invalid(text));
        }
        Err(error @ (http::HttpError::Client(_) | http::HttpError::Transport(_))) => {
            return Err(Transient(error.to_string()));
        }
    };
    if let Some(host) = redirect {
        let field = &query.endpoint.field;
        return Ok(Reading::Invalid(format!(
            "{field} answers {status}, a redirect to {host} that is not followed: write that address there"
        )));
    }
    let reading = match judge(status, &body, query.window, now) {
        Ok(_) if query.buckets && status.is_success() => Ok(buckets(&body)),
        reading => reading,
    };
    let scrub = |text: String| scrubbed(text, &query.endpoint);
    match reading {
        Ok(Reading::Invalid(text)) => Ok(Reading::Invalid(scrub(text))),
        Ok(Reading::Unavailable(text)) => {
            Ok(Reading::Unavailable(format!("{}: {}", query.endpoint.field, scrub(text))))
        }
        Ok(reading @ (Reading::Value(_) | Reading::Buckets(_) | Reading::NoValue | Reading::Stale { .. })) => Ok(reading),
        Err(Transient(text)) => Err(Transient(scrub(text))),
    }
}

/// A server may repeat what it was sent.
fn scrubbed(mut text: String, endpoint: &Endpoint) -> String {
    let of_url = Url::parse(&endpoint.address).ok().and_then(|url| url.password().map(percent_decoded));
    let of_secret = endpoint.secret.values().filter_map(|value| String::from_utf8(value.clone()).ok());
    let of_headers = endpoint.headers.values().flatten().cloned();
    for secret in of_secret.chain(of_headers).chain(of_url) {
        let secret = secret.trim();
        if secret.len() >= 4 {
            text = text.replace(secret, "***");
        }
    }
    text
}

fn judge(status: StatusCode, body: &[u8], window: Duration, now: Timestamp) -> Result<Reading, Transient> {
    let said = || said(body);
    match status.as_u16() {
        200..=299 => Ok(judge_answer(body, window, now)),
        401 | 403 => Ok(Reading::Unavailable(format!(
            "prometheus does not let us in ({status}): mend token, or username and password, in the Secret of the \
             MetricTemplate"
        ))),
        404 => Ok(Reading::Invalid(format!(
            "there is no Prometheus API at this address ({status}): is the path before /api/v1 right?"
        ))),
        408 | 429 => Err(Transient(format!("{status}: {}", said()))),
        400..=499 => Ok(Reading::Invalid(format!("prometheus refuses the query ({status}): {}", said()))),
        500..=599 => Err(Transient(format!("{status}: {}", said()))),
        _ => Ok(Reading::Invalid(format!("the answer is not one of a Prometheus server ({status})"))),
    }
}

/// What the server says about its failure, as one line.
fn said(body: &[u8]) -> String {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let error = parsed.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str);
    http::excerpt(error.map_or(body, str::as_bytes), REASON)
}

fn judge_answer(body: &[u8], window: Duration, now: Timestamp) -> Reading {
    let Ok(mut answer) = serde_json::from_slice::<Value>(body) else {
        return invalid("the answer is not JSON: is this the address of a Prometheus server?");
    };
    if answer.get("status").and_then(Value::as_str) != Some("success") {
        return Reading::Invalid(format!("prometheus refuses the query: {}", said(body)));
    }
    let mut data = answer.get_mut("data").map(Value::take).unwrap_or_default();
    match data.get("resultType").and_then(Value::as_str) {
        Some("vector") => {
            let Some(last) = data.get_mut("result").and_then(Value::as_array_mut).and_then(Vec::pop) else {
                return Reading::NoValue;
            };
            if last.get("histogram").is_some() {
                return invalid(
                    "the query gives a native histogram: make it a number, as by histogram_quantile() or \
                     histogram_avg()",
                );
            }
            data["result"] = Value::Array(vec![last]);
        }
        Some("scalar") => {}
        Some("matrix") => {
            return invalid(
                "the query gives a range of samples: make it an instant vector, as by rate() or avg_over_time()",
            );
        }
        Some(_) | None => return invalid("the query gives neither a vector nor a scalar"),
    }
    let sample = match serde_json::from_value::<PromqlResult>(data).map(|result| result.into_inner().0) {
        Ok(Data::Vector(series)) => match series.last() {
            Some(series) => *series.sample(),
            None => return Reading::NoValue,
        },
        Ok(Data::Scalar(sample)) => sample,
        Ok(Data::Matrix(_)) | Err(_) => return invalid("the answer of the server cannot be read as a number"),
    };
    let age = now.as_millisecond() as f64 / 1000.0 - sample.timestamp();
    // A server whose clock is ahead is not stale; a time that is no number is not a time.
    let age = Duration::try_from_secs_f64(age.max(0.0)).unwrap_or(Duration::MAX);
    if sample.value().is_nan() {
        Reading::NoValue
    } else if sample.value().is_infinite() {
        invalid(
            "the query gives an infinite number: does it divide by zero, or take a quantile beyond the last bucket?",
        )
    } else if age > window {
        Reading::Stale { age, window }
    } else {
        Reading::Value(sample.value())
    }
}

/// A histogram: of each series its `le` and its number.
fn buckets(body: &[u8]) -> Reading {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return invalid("the answer is not JSON: is this the address of a Prometheus server?");
    };
    if answer.get("status").and_then(Value::as_str) != Some("success") {
        return Reading::Invalid(format!("prometheus refuses the query: {}", said(body)));
    }
    let series = answer.pointer("/data/result").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let bucket = |series: &Value| -> Option<(f64, f64)> {
        let edge = match series.pointer("/metric/le")?.as_str()? {
            "+Inf" => f64::INFINITY,
            edge => edge.parse().ok()?,
        };
        let count: f64 = series.pointer("/value/1")?.as_str()?.parse().ok()?;
        count.is_finite().then_some((edge, count))
    };
    let Some(mut buckets) = series.iter().map(bucket).collect::<Option<Vec<_>>>() else {
        return invalid("the answer is no histogram: each series needs the label le and a number");
    };
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    if buckets.is_empty() { Reading::NoValue } else { Reading::Buckets(buckets) }
}

fn invalid(text: &str) -> Reading {
    Reading::Invalid(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:01:00Z";

    fn reading(body: &str) -> Reading {
        judge_answer(body.as_bytes(), Duration::from_secs(60), NOW.parse().unwrap())
    }

    fn vector(samples: &[&str]) -> String {
        let series: Vec<_> = samples.iter().map(|sample| format!(r#"{{"metric":{{}},{sample}}}"#)).collect();
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#, series.join(","))
    }

    fn at(age: i64, value: &str) -> String {
        let now: Timestamp = NOW.parse().unwrap();
        format!(r#""value":[{}.5,"{value}"]"#, now.as_second() - age)
    }

    #[test]
    fn every_answer_has_its_reading() {
        assert_eq!(reading(&vector(&[&at(1, "99.5")])), Reading::Value(99.5));
        assert_eq!(reading(&vector(&[&at(1, "1"), &at(1, "2")])), Reading::Value(2.0), "the last series wins");
        assert_eq!(reading(&vector(&[])), Reading::NoValue);
        assert_eq!(reading(&vector(&[&at(1, "NaN")])), Reading::NoValue);
        assert_eq!(reading(&vector(&[&at(-600, "1")])), Reading::Value(1.0), "the server's clock is ahead");
        let stale = Reading::Stale { age: Duration::from_millis(60_500), window: Duration::from_secs(60) };
        assert_eq!(reading(&vector(&[&at(61, "1")])), stale);
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1767225660,"3"]}}"#;
        assert_eq!(reading(scalar), Reading::Value(3.0));
    }

    #[test]
    fn a_histogram_is_read_by_its_edges() {
        let bucket = |le: &str, count: &str| format!(r#"{{"metric":{{"le":"{le}"}},"value":[1767225660,"{count}"]}}"#);
        let body = |buckets: &[String]| {
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#, buckets.join(","))
        };
        let read = |buckets_: &[String]| buckets(body(buckets_).as_bytes());
        let wanted = Reading::Buckets(vec![(0.5, 1.0), (2.0, 3.5), (f64::INFINITY, 4.0)]);
        assert_eq!(read(&[bucket("+Inf", "4"), bucket("0.5", "1"), bucket("2", "3.5")]), wanted);
        assert_eq!(read(&[]), Reading::NoValue);
        assert!(matches!(read(&[bucket("wide", "4")]), Reading::Invalid(_)));
        assert!(matches!(read(&[bucket("1", "NaN")]), Reading::Invalid(_)));
    }

    #[test]
    fn what_the_user_must_mend_says_how() {
        let histogram = r#""histogram":[1767225660,{"count":"1","sum":"1","buckets":[[0,"1","2","1"]]}]"#;
        let table = [
            (vector(&[histogram]), "histogram_quantile()"),
            (vector(&[&at(1, "+Inf")]), "infinite"),
            (vector(&[&at(1, "many")]), "cannot be read as a number"),
            (vector(&[r#""value":[1]"#]), "cannot be read as a number"),
            (vector(&[r#""value":["NaN","1"]"#]), "cannot be read as a number"),
            (r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#.into(), "avg_over_time()"),
            (r#"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#.into(), "neither a vector"),
            (r#"{"status":"success"}"#.into(), "neither a vector"),
            (r#"{"status":"error","errorType":"bad_data","error":"no such function"}"#.into(), "no such function"),
            ("<html>login</html>".into(), "not JSON"),
            ("null".into(), "refuses the query"),
            (String::new(), "not JSON"),
        ];
        for (body, wanted) in table {
            let Reading::Invalid(text) = reading(&body) else { panic!("{body}: {:?}", reading(&body)) };
            assert!(text.contains(wanted), "{body}: {text}");
        }
        // Only the last series counts, so a histogram before it does no harm.
        assert_eq!(reading(&vector(&[histogram, &at(1, "1")])), Reading::Value(1.0));
    }

    #[test]
    fn a_url_gives_its_credentials_back_as_they_were() {
        for (written, wanted) in [("p%40ss", "p@ss"), ("a+b", "a+b"), ("a&b=c", "a&b=c"), ("%zz", "%zz"), ("", "")] {
            assert_eq!(percent_decoded(written), wanted);
        }
    }
}
