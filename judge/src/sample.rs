//! What was asked of metrics servers and what they answered: the log that a verdict follows from.

use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since 1970-01-01 UTC.
pub type Millis = u64;

/// All that a verdict rests on, in the order in which it was learnt. Only ever added to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// What samples are of; a sample names its series by the place in this list.
    pub series: Vec<Series>,
    /// Samples and marks.
    pub entries: Vec<Entry>,
}

/// A query that is asked again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// The metric's name, as the policy knows it.
    pub metric: String,
    /// Whose numbers they are.
    pub arm: Arm,
    /// What the numbers are.
    pub kind: Kind,
    /// The query as it was sent; empty when there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
}

/// Who served the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Arm {
    /// The new version.
    Canary,
    /// The version that users had before.
    Primary,
    /// A copy of the primary, as large and as old as the canary, with an equal share of the traffic.
    Baseline,
}

/// What the numbers of a series are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Requests and how many of them failed.
    Counts,
    /// How many requests fell between the edges of a histogram.
    Histogram {
        /// Upper edges, rising, without the infinite one: a sample has one count more.
        edges: Vec<f64>,
    },
    /// One number, in the metric's own unit.
    Value,
}

/// One thing that was learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Entry {
    /// An answer.
    Sample(Sample),
    /// Something that changes how answers are to be read.
    Mark(Mark),
}

/// An answer of a metrics server about one window of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Place in [`Log::series`].
    pub series: u32,
    /// Begin of the window.
    pub from: Millis,
    /// End of the window, excluded.
    pub to: Millis,
    /// When it was asked; samples of one look have the same.
    pub asked: Millis,
    /// When the newest point behind the answer was measured, if the server tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Millis>,
    /// The answer.
    pub outcome: Outcome,
}

/// An answer. Numbers may be fractions, since servers extrapolate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// What happened within the window.
    Counts {
        /// Requests that were answered.
        requests: f64,
        /// Those of them that failed.
        errors: f64,
    },
    /// What happened within the window, by the histogram's edges.
    Histogram {
        /// Requests below the first edge, between the first and the second, …, above the last.
        counts: Vec<f64>,
        /// Sum of what was measured, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sum: Option<f64>,
    },
    /// The number that the query came to.
    Value(f64),
    /// The server knows no such series, or no point in this window.
    Empty,
    /// The server answered with something that is no number, as after a division by zero.
    NotANumber,
    /// The server could not be asked, or refused; with the reason.
    Outage(String),
    /// A counter went back in this window, so that its increase is not known.
    Reset,
}

/// Something that changes how samples are to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// When it came true.
    pub at: Millis,
    /// What it was.
    pub what: Event,
}

/// What happened to the arms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// The analysis began. Samples of windows before it are history: they say how the primary usually is.
    Started,
    /// The traffic was split anew; shares of all requests, from 0 to 1.
    Split {
        /// Share of the canary.
        canary: f64,
        /// Share of the baseline, 0 without one.
        baseline: f64,
    },
    /// Pods of an arm started; what they answer until they are warm says nothing about their version.
    Restarted(Arm),
}

impl Log {
    /// The place of a series, which is added if it is new.
    pub fn series(&mut self, series: Series) -> u32 {
        let place = self.series.iter().position(|known| *known == series).unwrap_or_else(|| {
            self.series.push(series);
            self.series.len() - 1
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    }
}
