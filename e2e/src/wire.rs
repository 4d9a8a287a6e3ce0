//! HTTP to addresses of the test cluster, without TLS and without a pool that would hide a refused connection.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A client of HTTP/1.1 that keeps connections alive.
pub type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A new client with its own connections.
#[must_use]
pub fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(10)).build(connector)
}

/// Sends `request` and reads the whole answer within ten seconds.
///
/// # Errors
/// When nothing answers, or not in time.
pub async fn send(client: &HttpClient, request: Request<Empty<Bytes>>) -> Result<Answer> {
    let exchange = async {
        let response = client.request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        anyhow::Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    };
    tokio::time::timeout(Duration::from_secs(10), exchange).await.context("no whole answer within ten seconds")?
}

/// GETs `url`, which must answer with a success status.
///
/// # Errors
/// When nothing answers, or the status is not a success.
pub async fn get(url: &str) -> Result<Bytes> {
    let request = Request::get(url).body(Empty::new()).with_context(|| format!("asking {url}"))?;
    let answer = send(&client(), request).await.with_context(|| format!("asking {url}"))?;
    if !(200..300).contains(&answer.status) {
        bail!("{url} answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    Ok(answer.body)
}

/// Escapes `text` for a query string.
#[must_use]
pub fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
