//! How applications behave, by the tag of their image and the time since their container started. The pretend
//! kubelet asks the same about starting and crashing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::Error;

use super::latency::Distributed;
use super::quantity::{Percent, duration, some_duration};
use super::routing::version_of;
use crate::controllers::Life;

/// All versions that a scenario describes, by tag. The entry `*` is for all others; without it they are healthy:
/// no errors, and answers after 10 ms (50 ms at the 99th percentile).
#[derive(Clone, Debug, Default)]
pub struct Applications {
    by_version: BTreeMap<String, Manner>,
    healthy: Manner,
}

/// How one version behaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manner {
    /// The share of requests that are answered with 500.
    errors: Percent,
    /// How long answers take.
    latency: Latency,
    /// `Missing` when it cannot be pulled.
    image: Image,
    /// How long its image is pulled.
    #[serde(deserialize_with = "duration")]
    pull: Duration,
    /// From the start of the container to its readiness.
    #[serde(deserialize_with = "duration")]
    start: Duration,
    /// From the request to end to its end.
    #[serde(deserialize_with = "duration")]
    stop: Duration,
    /// `Never` keeps it from becoming ready.
    readiness: Readiness,
    /// It crashes this long after each start.
    #[serde(deserialize_with = "some_duration")]
    crash: Option<Duration>,
    /// It is slower at first.
    warm_up: Option<WarmUp>,
    /// From some time after its start on it behaves otherwise.
    changes: Vec<Change>,
    /// Counters of its own: their name, and the share of requests that they count.
    counters: BTreeMap<String, Percent>,
}

/// Whether its image can be pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Image {
    /// It can.
    #[default]
    Present,
    /// It cannot.
    Missing,
}

/// Whether it becomes ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Readiness {
    /// After `start`.
    #[default]
    AfterStart,
    /// At no time.
    Never,
}

/// Slower by `factor` at the start, and by less and less until `for` has passed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WarmUp {
    #[serde(rename = "for", deserialize_with = "duration")]
    lasts: Duration,
    factor: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(deserialize_with = "duration")]
    after: Duration,
    #[serde(default)]
    errors: Option<Percent>,
    #[serde(default)]
    latency: Option<Latency>,
}

/// Median and 99th percentile of a lognormal distribution.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "WrittenLatency")]
pub(super) struct Latency(Distributed);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLatency {
    #[serde(deserialize_with = "duration")]
    median: Duration,
    #[serde(deserialize_with = "duration")]
    p99: Duration,
}

impl TryFrom<WrittenLatency> for Latency {
    type Error = String;

    fn try_from(written: WrittenLatency) -> Result<Self, String> {
        if written.median.is_zero() || written.p99 < written.median {
            return Err("median must be more than nothing, and p99 not less than the median".into());
        }
        Ok(Latency(Distributed::new(written.median.as_secs_f64(), written.p99.as_secs_f64())))
    }
}

impl Default for Latency {
    fn default() -> Self {
        Latency(Distributed::new(0.01, 0.05))
    }
}

impl<'de> Deserialize<'de> for Applications {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let by_version = BTreeMap::<String, Manner>::deserialize(deserializer)?;
        for (version, manner) in &by_version {
            let at_fault = manner.warm_up.as_ref().filter(|warm_up| !(warm_up.factor >= 1.0 && warm_up.factor < 1e6));
            if let Some(warm_up) = at_fault {
                let what = format!("{version:?}: warm_up.factor is {}, and must be at least 1", warm_up.factor);
                return Err(D::Error::custom(what));
            }
        }
        Ok(Applications { by_version, healthy: Manner::default() })
    }
}

impl Applications {
    pub(super) fn of(&self, image: &str) -> &Manner {
        self.of_version(version_of(image))
    }

    pub(super) fn of_version(&self, version: &str) -> &Manner {
        let found = self.by_version.get(version).or_else(|| self.by_version.get("*"));
        found.unwrap_or(&self.healthy)
    }
}

/// What the kubelet makes happen.
impl crate::controllers::Behaviour for Applications {
    fn of(&self, image: &str, _age: Duration) -> Life {
        let manner = self.of(image);
        Life {
            pull: (manner.image == Image::Present).then_some(manner.pull),
            ready_after: (manner.readiness == Readiness::AfterStart).then_some(manner.start),
            crash_after: manner.crash,
            end_after: manner.stop,
        }
    }
}

impl Default for Manner {
    fn default() -> Self {
        Manner {
            errors: Percent::default(),
            latency: Latency::default(),
            image: Image::Present,
            pull: Duration::ZERO,
            start: Duration::ZERO,
            stop: Duration::from_secs(1),
            readiness: Readiness::AfterStart,
            crash: None,
            warm_up: None,
            changes: Vec::new(),
            counters: BTreeMap::new(),
        }
    }
}

impl Manner {
    /// The share of errors and the latencies at that age.
    pub(super) fn at(&self, age: Duration) -> (f64, Cow<'_, Distributed>) {
        let changes = || self.changes.iter().filter(|change| change.after <= age);
        let errors = changes().filter_map(|change| change.errors).next_back().unwrap_or(self.errors);
        let latency = changes().filter_map(|change| change.latency.as_ref()).next_back().unwrap_or(&self.latency);
        let cold = self.warm_up.as_ref().filter(|warm_up| age < warm_up.lasts);
        let latency = match cold {
            None => Cow::Borrowed(&latency.0),
            Some(WarmUp { lasts, factor }) => {
                let left = 1.0 - age.as_secs_f64() / lasts.as_secs_f64();
                Cow::Owned(latency.0.slower(1.0 + (factor - 1.0) * left))
            }
        };
        (errors.0, latency)
    }

    /// Name and share of its own counters.
    pub(super) fn counters(&self) -> impl Iterator<Item = (&str, f64)> {
        self.counters.iter().map(|(name, share)| (name.as_str(), share.0))
    }
}
