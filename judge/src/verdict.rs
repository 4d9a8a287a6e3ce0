//! What the judge says, with the numbers behind it.

use serde::{Deserialize, Serialize};

use crate::sample::Millis;

/// What follows from a log and a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The answer.
    pub decision: Decision,
    /// The end of the newest window, or the newest question, that it takes into account.
    pub at: Millis,
    /// Each metric of the policy, in its order.
    pub metrics: Vec<Evidence>,
    /// What is wrong with the data. Nothing of it speaks against the canary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// The canary is worse.
    Worse {
        /// The metrics that say so, the strongest first.
        metrics: Vec<String>,
        /// From when on the samples said so.
        since: Millis,
    },
    /// There is positive evidence that the canary is not worse by as much as matters, on every metric.
    NotWorse {
        /// From when on the samples said so.
        since: Millis,
    },
    /// Neither is shown.
    CannotTell {
        /// Why not.
        reason: Reason,
        /// What would be enough, if more of the same would.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        needs: Option<Needs>,
        /// What the policy wants done now, once the time to hold for missing data has passed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        then: Option<Then>,
    },
}

/// Why a verdict is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The policy asks for nothing.
    NoMetrics,
    /// Nothing usable has been measured yet.
    NoData,
    /// All windows so far lie within the warm-up.
    WarmingUp {
        /// When it ends.
        until: Millis,
    },
    /// Evidence grows with traffic and there is not enough yet.
    NotEnoughTraffic,
    /// The difference is larger than nothing and it is open whether by as much as matters.
    Close,
    /// The last check failed, and fewer than the limit have.
    FailedCheck {
        /// Checks that failed so far.
        failed: u32,
        /// How many it takes.
        limit: u32,
    },
    /// A metric cannot be read, or not used.
    MissingData {
        /// Since when.
        since: Millis,
        /// Until when the policy holds for it.
        until: Millis,
    },
    /// The traffic is not split as intended, so arms cannot be compared.
    WrongSplit {
        /// Share of the canary that was intended.
        intended: f64,
        /// Share that was seen.
        seen: f64,
    },
}

/// What is to be done when data stays missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Take the canary back.
    Rollback,
    /// Go on as if it were not worse.
    Promote,
    /// Wait for a person.
    Pause,
}

/// Traffic and time until a verdict is to be expected, at the present rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Needs {
    /// Requests to the canary still needed; infinite needs are not told at all.
    pub requests: f64,
    /// How long that takes.
    pub seconds: f64,
}

/// What one metric says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The metric's name.
    pub metric: String,
    /// What follows for this metric alone.
    pub opinion: Opinion,
    /// What the canary had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Measured>,
    /// What it was compared with: another arm, or the objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Measured>,
    /// Ratio of the two, slightly drawn to 1 where numbers are small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Strength of the evidence that the canary is worse, and what it takes: odds at which a fair bet would have paid.
    pub worse: Strength,
    /// The same for not being worse by as much as matters.
    pub not_worse: Strength,
    /// Windows that were compared.
    pub windows: u64,
    /// Windows that could not be used, for whatever reason.
    pub unusable: u64,
    /// When it was first shown to be worse, or not worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Millis>,
    /// What would be enough, if more of the same would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
}

/// What a metric says by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Opinion {
    /// Worse.
    Worse,
    /// Not worse by as much as matters.
    NotWorse,
    /// Open.
    Open,
    /// The last check failed, and fewer than the limit have.
    Failing,
    /// It cannot be read.
    Missing,
}

/// How strong evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Strength {
    /// What was reached: an e-value for sequential methods, 1/p for tests made once, failed checks for thresholds.
    pub reached: f64,
    /// What is enough.
    pub needed: f64,
}

/// What an arm came to over all windows that were compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Measured {
    /// Requests and those that failed, or were slow.
    Counts {
        /// All.
        requests: f64,
        /// The failed or slow ones.
        events: f64,
    },
    /// A number in the metric's own unit, for values the mean over the windows.
    Value(f64),
}

/// Something that is wrong with the data, or worth knowing about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The metric it is about; none when it is about the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// What.
    pub what: Trouble,
    /// Last time it was seen.
    pub at: Millis,
    /// How often.
    pub times: u64,
}

/// What can be wrong with data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trouble {
    /// The server knew no such series.
    Empty,
    /// The answer was no number, negative where that makes no sense, or of another shape than its series.
    NotANumber,
    /// The server could not be asked; with the reason it gave last.
    Outage(String),
    /// A counter went back.
    Reset,
    /// The newest point was older than the policy accepts.
    Stale,
    /// One arm was measured in a window and the other was not.
    Unpaired,
    /// The real split is not the intended one.
    WrongSplit {
        /// Share of the canary that was intended.
        intended: f64,
        /// Share that was seen.
        seen: f64,
    },
    /// The share of windows since the start that could be used.
    Coverage {
        /// From 0 to 1.
        share: f64,
    },
}
