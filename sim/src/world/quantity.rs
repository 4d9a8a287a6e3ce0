//! Quantities as scenarios write them: `600/min`, `5%`, `30ms`. Errors name what was written and how to write it.

use std::time::Duration;

use jiff::SignedDuration;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Requests per second, written `10/s`, `600/min` or `36000/h`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct PerSecond(pub f64);

/// A part of one, written `5%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

impl PerSecond {
    fn parse(text: &str) -> Result<PerSecond, String> {
        let wrong = || format!("{text:?} is no rate: write it as 10/s, 600/min or 36000/h");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let count = amount(count.trim()).ok_or_else(wrong)?;
        Ok(PerSecond(count / seconds))
    }
}

impl Percent {
    fn parse(text: &str) -> Result<Percent, String> {
        let count = text.strip_suffix('%').and_then(|count| amount(count.trim())).filter(|count| *count <= 100.0);
        count.map(|count| Percent(count / 100.0)).ok_or_else(|| format!("{text:?} is no share: write 0% to 100%"))
    }
}

fn amount(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0)
}

impl<'de> Deserialize<'de> for PerSecond {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PerSecond::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Percent::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A duration as `30ms`, `15s`, `10m` or `1h30m`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| D::Error::custom(format!("{text:?} is no duration: write it as 30ms, 15s, 10m or 1h30m")))
}

/// The same where it may be left out.
pub(super) fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}
