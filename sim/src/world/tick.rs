//! What flowed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::chance::float;
use super::latency::Latencies;
use super::routing::Failure;

/// What flowed in some time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tick {
    /// Requests that users sent.
    pub requests: u64,
    /// What applications answered, by version.
    pub by_version: BTreeMap<String, Answers>,
    /// What the data plane answered by itself, by status; redirects are not failures.
    pub refused: BTreeMap<u16, u64>,
    /// Why requests failed. [`Failure::NoReadyPod`] counts those that found a Service without ready pods.
    pub failures: BTreeMap<Failure, u64>,
    /// Requests by Service, as `namespace/name`, whether or not it could answer.
    pub by_service: BTreeMap<String, u64>,
    /// Requests that a version answered, by class of users.
    pub by_class: BTreeMap<String, BTreeMap<String, u64>>,
    /// Copies of requests that a version answered; no user saw the answer.
    pub mirrored: BTreeMap<String, u64>,
    /// Each request, where the traffic is `exact`.
    pub exchanges: Vec<Exchange>,
}

/// What a version answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// How often with which status.
    pub by_status: BTreeMap<u16, u64>,
    /// How long it took.
    pub latencies: Latencies,
}

/// One request and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// When it was answered, as exactly as the tick is long.
    pub at: Timestamp,
    /// Of which class the user was.
    pub class: String,
    /// Whether the user had cookies.
    pub with_cookies: bool,
    /// What answered; nothing where the data plane did.
    pub version: Option<String>,
    /// The status.
    pub status: u16,
    /// How long it took, in seconds.
    pub took: f64,
}

impl Answers {
    /// How many.
    pub fn count(&self) -> u64 {
        self.by_status.values().sum()
    }

    /// How many with 500 and more.
    pub fn errors(&self) -> u64 {
        self.by_status.range(500..).map(|(_, count)| count).sum()
    }
}

impl Tick {
    /// All requests that failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Requests that got any answer: applications' and the data plane's.
    pub fn answers(&self) -> u64 {
        self.by_version.values().map(Answers::count).sum::<u64>() + self.refused.values().sum::<u64>()
    }

    /// The part of all requests that a version answered; zero of none.
    pub fn share_of_version(&self, version: &str) -> f64 {
        part(self.by_version.get(version).map_or(0, Answers::count), self.requests)
    }

    /// The part of all requests that was for a Service, written `namespace/name`; zero of none.
    pub fn share_of_service(&self, service: &str) -> f64 {
        part(self.by_service.get(service).copied().unwrap_or(0), self.requests)
    }

    /// Adds another time, without its single exchanges.
    pub fn merge(&mut self, other: &Tick) {
        self.requests += other.requests;
        for (version, answers) in &other.by_version {
            let own = self.by_version.entry(version.clone()).or_default();
            add(&mut own.by_status, &answers.by_status);
            own.latencies.merge(&answers.latencies);
        }
        add(&mut self.refused, &other.refused);
        add(&mut self.failures, &other.failures);
        add(&mut self.by_service, &other.by_service);
        for (class, versions) in &other.by_class {
            add(self.by_class.entry(class.clone()).or_default(), versions);
        }
        add(&mut self.mirrored, &other.mirrored);
    }
}

/// What is counted under a name, which is not made anew when it is there.
pub(super) fn at<'a, V: Default>(counts: &'a mut BTreeMap<String, V>, name: &str) -> &'a mut V {
    if !counts.contains_key(name) {
        counts.insert(name.to_owned(), V::default());
    }
    counts.get_mut(name).expect("it was put in if it was not there")
}

/// One more entry, without making a name anew that is there.
pub(super) fn bump(counts: &mut BTreeMap<String, u64>, name: &str, more: u64) {
    *at(counts, name) += more;
}

fn add<K: Ord + Clone>(own: &mut BTreeMap<K, u64>, other: &BTreeMap<K, u64>) {
    for (key, more) in other {
        *own.entry(key.clone()).or_default() += more;
    }
}

fn part(of: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { float(of) / float(all) }
}
