//! What surrounds the simulated cluster: users whose requests go where the routers' objects send them, applications
//! that answer as a scenario says, and a metrics server that knows what flowed. It has no clock and no chance of its
//! own: the same objects, times and seed give the same world.

pub mod application;
mod chance;
mod flow;
mod jars;
pub mod latency;
pub mod metrics;
pub mod promql;
pub mod quantity;
pub mod routing;
pub mod series;
mod tick;
pub mod traffic;

use std::sync::Arc;

use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use application::Applications;
use flow::Flow;
use metrics::{AskError, MetricsServer, Reply};
use routing::{KINDS, Objects, Routes};
use traffic::Traffic;

pub use tick::{Answers, Exchange, Tick};

/// Longest step in which everything is drawn at once, in milliseconds.
const STEP: i64 = 1000;

/// The world as a scenario writes it: `traffic`, `versions`, `metrics`.
#[derive(Clone, Debug)]
pub struct Description {
    /// Who asks.
    pub traffic: Traffic,
    /// Who answers, and how.
    pub versions: Applications,
    /// Who counts.
    pub metrics: metrics::Settings,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    traffic: Traffic,
    #[serde(default)]
    versions: Applications,
    #[serde(default)]
    metrics: metrics::Settings,
}

impl<'de> Deserialize<'de> for Description {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { traffic, versions, metrics } = Written::deserialize(deserializer)?;
        traffic.check().map_err(serde::de::Error::custom)?;
        Ok(Description { traffic, versions, metrics })
    }
}

/// Users, applications and a metrics server around a cluster.
#[derive(Debug)]
pub struct World {
    applications: Applications,
    flow: Flow,
    metrics: MetricsServer,
    /// Until when everything has flowed, in milliseconds.
    at: i64,
    seen: Vec<Vec<Arc<Value>>>,
    /// What counted the changes when `seen` was found.
    version: Option<u64>,
    routes: Routes,
    total: Tick,
}

impl World {
    /// Begins at that time, with nothing in it. All chance comes from `rng`.
    pub fn new(description: Description, begin: Timestamp, rng: ChaCha8Rng) -> World {
        World {
            applications: description.versions,
            flow: Flow::new(description.traffic, begin, rng),
            metrics: MetricsServer::new(description.metrics, begin),
            at: begin.as_millisecond(),
            seen: Vec::new(),
            version: None,
            routes: Routes::default(),
            total: Tick::default(),
        }
    }

    /// Lets everything flow from the last time until `now`, by the objects as they are now. Tells what flowed.
    pub fn tick(&mut self, now: Timestamp, objects: &(impl Objects + ?Sized)) -> Tick {
        let mut tick = Tick::default();
        self.flow_into(&mut tick, now, objects);
        self.total.merge(&tick);
        tick
    }

    /// As [`World::tick`], for those who are told by [`World::total`] in the end: a simulation of an hour has thousands of
    /// seconds.
    pub fn advance(&mut self, now: Timestamp, objects: &(impl Objects + ?Sized)) {
        let mut total = std::mem::take(&mut self.total);
        self.flow_into(&mut total, now, objects);
        total.exchanges.clear();
        self.total = total;
    }

    fn flow_into(&mut self, tick: &mut Tick, now: Timestamp, objects: &(impl Objects + ?Sized)) {
        self.look_at(objects);
        let now = now.as_millisecond();
        while self.at < now {
            let next = now.min(self.at.saturating_add(STEP)).min(self.metrics.next_scrape());
            self.flow.step(self.at, next, &self.routes, &self.applications, &mut self.metrics.meters, tick);
            self.at = next;
            if self.at >= self.metrics.next_scrape() {
                self.metrics.scrape(self.routes.pods());
            }
        }
    }

    /// Asks the metrics server an instant query.
    ///
    /// # Errors
    /// A query that it does not understand, and outages.
    pub fn query(&self, now: Timestamp, text: &str) -> Result<Reply, AskError> {
        self.metrics.query(now, text)
    }

    /// How applications start and crash, for the kubelet.
    pub fn applications(&self) -> &Applications {
        &self.applications
    }

    /// The routes as the last tick saw them.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// All that has flowed; without the single exchanges.
    pub fn total(&self) -> &Tick {
        &self.total
    }

    /// All series, for comparisons with other servers.
    pub fn store(&self) -> &series::Store {
        self.metrics.store()
    }

    /// Compiles the routes when an object is another than before.
    fn look_at(&mut self, objects: &(impl Objects + ?Sized)) {
        let version = objects.version();
        if version.is_some() && self.version.is_some_and(|seen| !objects.changed_since(seen)) {
            self.version = version;
            return;
        }
        self.version = version;
        let found: Vec<Vec<Arc<Value>>> = KINDS.iter().map(|(group, kind)| objects.list(group, kind)).collect();
        let same = found.len() == self.seen.len()
            && found
                .iter()
                .zip(&self.seen)
                .all(|(new, old)| new.len() == old.len() && new.iter().zip(old).all(|(new, old)| is_same(new, old)));
        if !same {
            self.routes = Routes::compile(objects);
            self.flow.forget_plans();
            self.seen = found;
        }
    }
}

/// The same memory, or the same version of the same object.
fn is_same(new: &Arc<Value>, old: &Arc<Value>) -> bool {
    let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
    Arc::ptr_eq(new, old)
        || (version(new).is_some() && version(new) == version(old) && new["metadata"]["uid"] == old["metadata"]["uid"])
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
