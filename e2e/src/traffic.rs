//! Users: a bounded stream of requests through the gateway, with a record of which release answered each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::{Request, Uri};
use http_body_util::Empty;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::wire::{self, Answer, HttpClient};

/// No test sends more than this, whatever it asked for.
const MOST_REQUESTS: u64 = 200_000;
const MOST_IN_FLIGHT: usize = 64;

/// What to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `address:port` of the gateway.
    pub gateway: String,
    /// The host that the route answers to.
    pub host: String,
    /// The path; podinfo's `/` by default.
    pub path: String,
    /// Requests per second.
    pub rate: u32,
    /// The traffic ends by itself after this time.
    pub duration: Duration,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Users with a cookie jar each, taking turns; none by default.
    pub users: usize,
}

impl Plan {
    /// A hundred requests per second for at most ten minutes.
    #[must_use]
    pub fn new(gateway: String, host: &str) -> Self {
        let duration = Duration::from_secs(600);
        Self { gateway, host: host.to_owned(), path: "/".into(), rate: 100, duration, headers: Vec::new(), users: 0 }
    }
}

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// When it was sent, after the traffic began.
    pub at: Duration,
    /// Who sent it.
    pub user: usize,
    /// Whether the user already had a cookie.
    pub with_cookie: bool,
    /// The status; zero when there was no answer.
    pub status: u16,
    /// The release that answered, or the transport's error.
    pub release: String,
    /// How long it took.
    pub took: Duration,
}

impl Exchange {
    /// Whether the user saw an error: no answer, or a status of 500 and more.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.status == 0 || self.status >= 500
    }
}

/// A summary of some requests.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// All of them.
    pub total: usize,
    /// Those that the user saw fail.
    pub failed: usize,
    /// By the release that answered.
    pub by_release: BTreeMap<String, usize>,
    /// By status; zero is no answer.
    pub by_status: BTreeMap<u16, usize>,
}

impl Counts {
    /// Sums up.
    pub fn of<'a>(exchanges: impl IntoIterator<Item = &'a Exchange>) -> Self {
        let mut counts = Self::default();
        for exchange in exchanges {
            counts.total += 1;
            counts.failed += usize::from(exchange.failed());
            *counts.by_release.entry(exchange.release.clone()).or_default() += 1;
            *counts.by_status.entry(exchange.status).or_default() += 1;
        }
        counts
    }

    /// Percent of all requests that `release` answered.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "at most 200,000 requests")]
    pub fn share(&self, release: &str) -> f64 {
        self.by_release.get(release).copied().unwrap_or(0) as f64 * 100.0 / self.total.max(1) as f64
    }
}

type Exchanges = Arc<Mutex<Vec<Exchange>>>;

fn locked(exchanges: &Exchanges) -> MutexGuard<'_, Vec<Exchange>> {
    exchanges.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream of requests in the background.
pub struct Traffic {
    exchanges: Exchanges,
    sender: JoinHandle<()>,
    rate: u32,
}

impl Traffic {
    /// Starts sending.
    ///
    /// # Errors
    /// When the plan asks for more than a test may send, or for a host or header that is none.
    pub fn start(plan: Plan) -> Result<Self> {
        let asked = u64::from(plan.rate) * plan.duration.as_secs();
        ensure!(asked <= MOST_REQUESTS, "{asked} requests are more than the {MOST_REQUESTS} a test may send");
        request(&plan, None).context("making a request out of the traffic's plan")?;
        let (exchanges, rate) = (Exchanges::default(), plan.rate);
        let sender = tokio::spawn(send_all(plan, Arc::clone(&exchanges)));
        Ok(Self { exchanges, sender, rate })
    }

    /// How many requests were answered until now: a mark for `since`.
    #[must_use]
    pub fn mark(&self) -> usize {
        locked(&self.exchanges).len()
    }

    /// The exchanges after a mark.
    #[must_use]
    pub fn since(&self, mark: usize) -> Vec<Exchange> {
        locked(&self.exchanges)[mark..].to_vec()
    }

    /// The counts after a mark.
    #[must_use]
    pub fn counts_since(&self, mark: usize) -> Counts {
        Counts::of(&locked(&self.exchanges)[mark..])
    }

    /// The next `requests` requests from now on.
    ///
    /// # Errors
    /// When they take more than twice the time they should.
    pub async fn next(&self, requests: usize) -> Result<Vec<Exchange>> {
        let mark = self.mark();
        let seconds = requests as u64 * 2 / u64::from(self.rate.max(1)) + 10;
        crate::wait_for(&format!("{requests} requests"), Duration::from_secs(seconds), || async {
            let got = self.mark() - mark;
            ensure!(got >= requests, "{got} were answered");
            Ok(())
        })
        .await?;
        Ok(self.since(mark))
    }

    /// Asserts that `release` answers `weight` percent, within three points, of the next thousand requests.
    ///
    /// The gateway takes a moment to follow the route, so the thousand are counted from the first fifty that look right.
    ///
    /// # Errors
    /// When the share is another, with the counts.
    pub async fn expect_share(&self, release: &str, weight: f64) -> Result<Counts> {
        crate::wait_for(&format!("{weight} % of the traffic at {release}"), Duration::from_secs(20), || async {
            let counts = Counts::of(&self.next(100).await?);
            ensure!((counts.share(release) - weight).abs() <= 10.0, "a hundred requests went {:?}", counts.by_release);
            Ok(())
        })
        .await?;
        let counts = Counts::of(&self.next(1000).await?);
        let share = counts.share(release);
        if (share - weight).abs() > 3.0 {
            bail!("{release} should answer {weight} % of requests, it answers {share:.1} %: {:?}", counts.by_release);
        }
        Ok(counts)
    }

    /// Stops sending, and sums up everything that was answered.
    #[must_use]
    pub fn stop(&self) -> Counts {
        self.sender.abort();
        self.counts_since(0)
    }

    /// Writes one line per request.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_transcript(&self, file: &Path) -> Result<()> {
        let mut text = String::from("ms,user,cookie,status,release,took_us\n");
        for e in locked(&self.exchanges).iter() {
            let (at, took) = (e.at.as_millis(), e.took.as_micros());
            writeln!(text, "{at},{},{},{},{},{took}", e.user, e.with_cookie, e.status, e.release)?;
        }
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

type Jar = Arc<Mutex<BTreeMap<String, String>>>;

async fn send_all(plan: Plan, exchanges: Exchanges) {
    let (client, plan) = (wire::client(), Arc::new(plan));
    let in_flight = Arc::new(Semaphore::new(MOST_IN_FLIGHT));
    let jars: Vec<Jar> = (0..plan.users).map(|_| Jar::default()).collect();
    let started = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / plan.rate.max(1));
    // A busy machine delays the traffic; it must not answer with a burst.
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut turn = 0;
    while started.elapsed() < plan.duration {
        pace.tick().await;
        let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { return };
        let user = if jars.is_empty() { 0 } else { turn % jars.len() };
        turn += 1;
        let jar = jars.get(user).cloned();
        let (client, plan, exchanges) = (client.clone(), Arc::clone(&plan), Arc::clone(&exchanges));
        tokio::spawn(async move {
            let exchange = exchange(&client, &plan, user, jar, started).await;
            locked(&exchanges).push(exchange);
            drop(permit);
        });
    }
}

async fn exchange(client: &HttpClient, plan: &Plan, user: usize, jar: Option<Jar>, started: Instant) -> Exchange {
    let cookies = jar.as_ref().map(|jar| {
        let jar = jar.lock().unwrap_or_else(PoisonError::into_inner);
        jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    });
    let with_cookie = cookies.as_ref().is_some_and(|cookies| !cookies.is_empty());
    let (sent, at) = (Instant::now(), started.elapsed());
    let answer = match request(plan, cookies.as_deref()) {
        Ok(request) => wire::send(client, request).await,
        Err(error) => Err(error),
    };
    let took = sent.elapsed();
    match answer {
        Ok(answer) => {
            if let Some(jar) = jar {
                keep_cookies(&jar, &answer);
            }
            let release = answer.headers.get("x-release").and_then(|v| v.to_str().ok()).unwrap_or("none").to_owned();
            Exchange { at, user, with_cookie, status: answer.status, release, took }
        }
        Err(error) => {
            Exchange { at, user, with_cookie, status: 0, release: format!("{error:#}").replace(',', ";"), took }
        }
    }
}

fn request(plan: &Plan, cookies: Option<&str>) -> Result<Request<Empty<hyper::body::Bytes>>> {
    let uri: Uri =
        format!("http://{}{}", plan.gateway, plan.path).parse().context("the gateway's address is no URL")?;
    let mut request = Request::get(uri).header(HOST, &plan.host);
    for (name, value) in &plan.headers {
        request = request.header(name, value);
    }
    if let Some(cookies) = cookies.filter(|cookies| !cookies.is_empty()) {
        request = request.header(COOKIE, cookies);
    }
    request.body(Empty::new()).context("a host or header is not valid")
}

fn keep_cookies(jar: &Jar, answer: &Answer) {
    let mut jar = jar.lock().unwrap_or_else(PoisonError::into_inner);
    for cookie in answer.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
        let mut parts = cookie.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
        let expired =
            parts.any(|part| part.eq_ignore_ascii_case("max-age=0") || part.eq_ignore_ascii_case("max-age=-1"));
        if expired {
            jar.remove(name);
        } else {
            jar.insert(name.to_owned(), value.to_owned());
        }
    }
}
