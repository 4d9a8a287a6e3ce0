//! The metrics server: what applications and data planes export, scraped in virtual time, and asked in PromQL.

pub mod http;
mod meters;
mod outage;

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::promql::{Answer, Query, QueryError};
use super::quantity::duration;
use super::series::Store;
pub(super) use meters::Meters;
pub use outage::{Outage, OutageKind};

/// How the metrics server works.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Between two scrapes.
    #[serde(deserialize_with = "duration")]
    pub scrape: Duration,
    /// How long samples are kept.
    #[serde(deserialize_with = "duration")]
    pub retention: Duration,
    /// When it does not answer as it should.
    pub outage: Vec<Outage>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { scrape: Duration::from_secs(15), retention: Duration::from_secs(3600), outage: Vec::new() }
    }
}

/// An answer, and of when it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// What was found.
    pub answer: Answer,
    /// The time that it was evaluated for.
    pub at: Timestamp,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The query's fault.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// An outage: nothing listens.
    #[error("the metrics server cannot be reached")]
    Unreachable,
    /// An outage: it answers after everybody's deadline.
    #[error("the metrics server does not answer in time")]
    TooSlow,
}

/// What the server has, and how it is at some time.
#[derive(Debug)]
pub(super) struct MetricsServer {
    settings: Settings,
    begin: Timestamp,
    pub(super) meters: Meters,
    store: Store,
    next_scrape: i64,
}

impl MetricsServer {
    pub(super) fn new(settings: Settings, begin: Timestamp) -> MetricsServer {
        let next_scrape = begin.as_millisecond() + milliseconds(settings.scrape);
        MetricsServer { settings, begin, meters: Meters::default(), store: Store::default(), next_scrape }
    }

    /// When it scrapes next, in milliseconds.
    pub(super) fn next_scrape(&self) -> i64 {
        self.next_scrape
    }

    pub(super) fn scrape(&mut self, pods: &[super::routing::Pod]) {
        self.meters.scrape(self.next_scrape, pods, &mut self.store);
        let interval = milliseconds(self.settings.scrape);
        // Once in a hundred scrapes is often enough: only memory is at stake.
        if (self.next_scrape / interval) % 100 == 0 {
            self.store.forget_before(self.next_scrape - milliseconds(self.settings.retention));
        }
        self.next_scrape += interval;
    }

    pub(super) fn query(&self, now: Timestamp, text: &str) -> Result<Reply, AskError> {
        let since = Duration::try_from(now.duration_since(self.begin)).unwrap_or_default();
        let outage = self.settings.outage.iter().find(|outage| outage.from <= since && since < outage.to);
        let at = match outage.map(|outage| (outage.kind, outage.from)) {
            None => now,
            Some((OutageKind::Unreachable, _)) => return Err(AskError::Unreachable),
            Some((OutageKind::Slow, _)) => return Err(AskError::TooSlow),
            Some((OutageKind::Empty, _)) => {
                Query::parse(text)?;
                return Ok(Reply { answer: Answer::Vector(Vec::new()), at: now });
            }
            Some((OutageKind::Stale, from)) => self.begin.checked_add(from).unwrap_or(now),
        };
        let answer = Query::parse(text)?.at(&self.store, at.as_millisecond())?;
        Ok(Reply { answer, at })
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }
}

/// At least one.
pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).max(1)
}
