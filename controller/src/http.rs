//! The one place that makes HTTP clients and reads what servers answer. All that leaves Serin for anything but the
//! Kubernetes API goes through here, so what holds here holds everywhere: rustls only, no credentials to other
//! hosts, no answer without a bound, no URL in an error.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode};
use url::Url;

/// Longest answer that is read, in bytes.
pub const BODY_LIMIT: usize = 1 << 20;

/// Clients kept for reuse; more kinds than this means that somebody writes ever new proxies.
const CLIENTS_KEPT: usize = 64;

/// Redirects followed in one request.
const REDIRECTS: usize = 3;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What makes one client different from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// Do not verify the server's certificate.
    pub insecure: bool,
    /// Send everything through this proxy, which may carry `user:password@`.
    pub proxy: Option<Url>,
    /// What a redirect may do to the request.
    pub redirects: Redirects,
}

/// Which redirects are followed; never one to another host, another port or from https to http, because headers of
/// the user's may be credentials. Of these, the step from http to https on the usual ports is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Redirects {
    /// Those that keep method and body: 307 and 308.
    #[default]
    SameMethod,
    /// All: the request is a GET.
    Any,
}

/// Why a request had no answer. Its text has neither URL nor credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// There is no client with these options.
    #[error("making an HTTP client failed: {0}")]
    Client(String),
    /// The server was not reached or broke off.
    #[error("{0}")]
    Transport(String),
    /// The answer is longer than [`BODY_LIMIT`].
    #[error("the answer is longer than {BODY_LIMIT} bytes")]
    TooLong,
}

/// What is told of an answer that did not come in time.
pub const LATE: &str = "no answer in time";

/// Clients by their options, made on first use: connections are shared, root certificates are read seldom.
#[derive(Debug, Default)]
pub struct Clients {
    known: Mutex<HashMap<Options, Client>>,
}

impl Clients {
    /// The client with these options.
    pub fn get(&self, options: &Options) -> Result<Client, HttpError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(options) {
            return Ok(client.clone());
        }
        let client = build(options)?;
        if known.len() >= CLIENTS_KEPT {
            known.clear();
        }
        known.insert(options.clone(), client.clone());
        Ok(client)
    }
}

/// Makes ring the cryptography of the process, once; a choice made before stays.
pub fn install_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("another default cryptography provider stands already");
        }
    });
}

/// What went wrong, without the URL: that may hold a secret.
pub fn describe(error: &reqwest::Error) -> HttpError {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let what = if error.is_timeout() {
        return HttpError::Transport(LATE.into());
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_redirect() {
        "cannot follow the redirect"
    } else if error.is_builder() {
        "cannot make the request"
    } else {
        "the request failed"
    };
    // Only reqwest's own errors print the URL, and a cause is never one of them unless it stands alone.
    if deepest.is::<reqwest::Error>() {
        return HttpError::Transport(what.into());
    }
    HttpError::Transport(format!("{what}: {deepest}"))
}

/// The whole answer, at most [`BODY_LIMIT`] bytes.
pub async fn whole_body(response: Response) -> Result<Vec<u8>, HttpError> {
    let (body, cut) = read(response, BODY_LIMIT).await?;
    if cut { Err(HttpError::TooLong) } else { Ok(body) }
}

/// The beginning of an answer as one line for people, at most `characters` long.
pub async fn excerpt_of(response: Response, characters: usize) -> Result<String, HttpError> {
    // Four bytes for the longest character, and room for white space that collapses.
    let (body, _) = read(response, characters.saturating_mul(8).min(BODY_LIMIT)).await?;
    Ok(excerpt(&body, characters))
}

/// Foreign text as one line for people, at most `characters` long: no control characters, white space collapsed.
pub fn excerpt(text: &[u8], characters: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let mut line = String::new();
    let mut written = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if written > 0 {
            line.push(' ');
            written += 1;
        }
        for character in word.chars() {
            if written + 1 >= characters {
                line.push('…');
                return line;
            }
            line.push(character);
            written += 1;
        }
    }
    line
}

/// Where a redirect that was not followed points to, for an error: the host alone, as the rest may be secret.
pub fn redirect_host(response: &Response) -> Option<String> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(reqwest::header::LOCATION)?.to_str().ok()?;
    Some(response.url().join(location).ok()?.host_str()?.to_owned())
}

fn build(options: &Options) -> Result<Client, HttpError> {
    install_cryptography();
    let builder = || -> Result<reqwest::ClientBuilder, HttpError> {
        let redirects = options.redirects;
        let builder =
            Client::builder()
                .user_agent(concat!("serin/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_max_idle_per_host(2)
                .pool_idle_timeout(Duration::from_secs(60))
                .referer(false)
                .redirect(Policy::custom(move |attempt| {
                    if may_follow(redirects, &attempt) { attempt.follow() } else { attempt.stop() }
                }))
                .tls_danger_accept_invalid_certs(options.insecure);
        match &options.proxy {
            None => Ok(builder.no_proxy()),
            Some(proxy) => match reqwest::Proxy::all(proxy.clone()) {
                Ok(proxy) => Ok(builder.proxy(proxy)),
                Err(error) => Err(HttpError::Client(format!("the proxy cannot be used: {}", describe(&error)))),
            },
        }
    };
    match builder()?.build() {
        Ok(client) => Ok(client),
        Err(error) if !options.insecure => {
            // An image without root certificates must still reach http:// servers inside the cluster.
            tracing::warn!(error = %describe(&error), "no root certificates: https servers will not be trusted");
            let client = builder()?.tls_certs_only(std::iter::empty()).build();
            client.map_err(|error| HttpError::Client(describe(&error).to_string()))
        }
        Err(error) => Err(HttpError::Client(describe(&error).to_string())),
    }
}

fn may_follow(redirects: Redirects, attempt: &Attempt<'_>) -> bool {
    let keeps_method = matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let allowed = match redirects {
        Redirects::SameMethod => keeps_method,
        Redirects::Any => true,
    };
    let Some(previous) = attempt.previous().last() else { return false };
    allowed && attempt.previous().len() <= REDIRECTS && same_server(previous, attempt.url())
}

fn same_server(from: &Url, to: &Url) -> bool {
    if from.host_str() != to.host_str() {
        return false;
    }
    let (from_port, to_port) = (from.port_or_known_default(), to.port_or_known_default());
    match (from.scheme(), to.scheme()) {
        ("http", "http") | ("https", "https") => from_port == to_port,
        ("http", "https") => from_port == Some(80) && to_port == Some(443),
        _ => false,
    }
}

async fn read(mut response: Response, limit: usize) -> Result<(Vec<u8>, bool), HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
        let room = limit - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body, true));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::{Answer, Loopback};

    #[test]
    fn a_redirect_stays_on_its_server() {
        let table = [
            ("http://a/x", "http://a/y", true),
            ("http://a/x", "http://b/x", false),
            ("http://a/x", "http://a:8080/x", false),
            ("http://a/x", "https://a/x", true),
            ("http://a:9090/x", "https://a/x", false),
            ("https://a/x", "http://a/x", false),
            ("https://a/x", "https://a:443/x", true),
        ];
        for (from, to, wanted) in table {
            let (from, to) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
            assert_eq!(same_server(&from, &to), wanted, "{from} to {to}");
        }
    }

    #[test]
    fn foreign_text_becomes_one_short_line() {
        assert_eq!(excerpt(b"  one\r\n\ttwo\0three  ", 80), "one two three");
        assert_eq!(excerpt("ääääää".as_bytes(), 4), "äää…");
        assert_eq!(excerpt(&[0xff, b'x'], 10), "\u{fffd}x");
        assert_eq!(excerpt(b"", 10), "");
    }

    #[tokio::test]
    async fn only_redirects_that_keep_the_method_are_followed() {
        let server = Loopback::start(vec![Answer::redirect(302, "/there")]).await;
        let client = Clients::default().get(&Options::default()).unwrap();
        let response = client.post(server.url("/here")).body("x").send().await.unwrap();
        assert_eq!(redirect_host(&response).as_deref(), Some("127.0.0.1"));

        let server = Loopback::start(vec![Answer::redirect(307, "/there"), Answer::text(200, "in")]).await;
        let response = client.post(server.url("/here")).body("x").send().await.unwrap();
        assert_eq!(excerpt_of(response, 80).await.unwrap(), "in");
        let asked = server.asked();
        assert_eq!((asked[1].method.as_str(), asked[1].path.as_str(), asked[1].body.as_str()), ("POST", "/there", "x"));
    }

    #[tokio::test]
    async fn a_redirect_to_another_server_does_not_take_headers_along() {
        let other = Loopback::start(vec![Answer::text(200, "stolen")]).await;
        let server = Loopback::start(vec![Answer::redirect(307, &other.url("/steal"))]).await;
        let client = Clients::default().get(&Options { redirects: Redirects::Any, ..Options::default() }).unwrap();
        let response = client.get(server.url("/")).header("x-api-key", "secret").send().await.unwrap();
        assert_eq!(response.status(), 307);
        assert!(other.asked().is_empty());
    }

    #[tokio::test]
    async fn a_long_answer_is_refused_and_not_kept() {
        let long = "x".repeat(BODY_LIMIT + 1);
        let server = Loopback::start(vec![Answer::text(200, &long), Answer::text(200, &long)]).await;
        let client = Clients::default().get(&Options::default()).unwrap();
        let response = client.get(server.url("/")).send().await.unwrap();
        assert_eq!(whole_body(response).await, Err(HttpError::TooLong));
        let response = client.get(server.url("/")).send().await.unwrap();
        assert_eq!(excerpt_of(response, 10).await.unwrap(), "xxxxxxxxx…");
    }

    #[tokio::test]
    async fn an_error_has_no_url() {
        let client = Clients::default().get(&Options::default()).unwrap();
        let error = client.get(Loopback::nobody("/hooks/secret")).send().await.unwrap_err();
        let text = describe(&error).to_string();
        assert!(text.starts_with("cannot connect: "), "{text}");
        assert!(!text.contains("secret") && !text.contains("127.0.0.1"), "{text}");
    }

    #[test]
    fn clients_are_shared_and_bounded() {
        let clients = Clients::default();
        for port in 1..=200 {
            let proxy = Url::parse(&format!("http://user:password@127.0.0.1:{port}")).ok();
            clients.get(&Options { proxy, insecure: true, ..Options::default() }).unwrap();
        }
        assert!(clients.known.lock().unwrap().len() <= CLIENTS_KEPT);
    }
}
