//! Times in which the metrics server is not as it should be.

use std::time::Duration;

use serde::Deserialize;
use serde::de::Error;

use super::super::quantity::duration;

/// A time in which the metrics server is not as it should be, counted from the begin of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// It begins.
    pub from: Duration,
    /// It is over.
    pub to: Duration,
    /// What happens.
    pub kind: OutageKind,
}

/// What an outage does to answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum OutageKind {
    /// There are none: nothing listens.
    Unreachable,
    /// They come after every deadline.
    Slow,
    /// They are those of the begin of the outage, and say so.
    Stale,
    /// They have no series.
    Empty,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(deserialize_with = "duration")]
    from: Duration,
    #[serde(deserialize_with = "duration")]
    to: Duration,
    kind: OutageKind,
}

impl<'de> Deserialize<'de> for Outage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { from, to, kind } = Written::deserialize(deserializer)?;
        if to <= from {
            return Err(D::Error::custom("an outage must end after it began: to is not after from"));
        }
        Ok(Outage { from, to, kind })
    }
}
