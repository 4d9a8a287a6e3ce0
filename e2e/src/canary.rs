//! What a user can see of a rollout: the Canary's status, the route's weights, the primary's release.

use anyhow::{Context, Result};
use serde_json::Value;

/// A Canary's status.
#[derive(Clone, Debug)]
pub struct Observed {
    /// `status.phase`; empty before there is one.
    pub phase: String,
    /// `status.canaryWeight`.
    pub weight: i64,
    /// `status.iterations`.
    pub iterations: i64,
    /// `status.failedChecks`.
    pub failed_checks: i64,
    /// Status and reason of the condition `Promoted`.
    pub promoted: Option<(String, String)>,
}

impl Observed {
    /// Reads it off a Canary.
    #[must_use]
    pub fn of(canary: &Value) -> Self {
        let status = &canary["status"];
        let number = |field: &str| status[field].as_i64().unwrap_or(0);
        let promoted = status["conditions"].as_array().and_then(|conditions| {
            let promoted = conditions.iter().find(|condition| condition["type"] == "Promoted")?;
            Some((promoted["status"].as_str()?.to_owned(), promoted["reason"].as_str()?.to_owned()))
        });
        Self {
            phase: status["phase"].as_str().unwrap_or_default().to_owned(),
            weight: number("canaryWeight"),
            iterations: number("iterations"),
            failed_checks: number("failedChecks"),
            promoted,
        }
    }
}

/// Weights of primary and canary in the rule of an HTTPRoute that shares users among them; a backend that is not listed has none.
///
/// # Errors
/// When the route has no rules.
pub fn route_weights(route: &Value, name: &str) -> Result<(i64, i64)> {
    let rules = route["spec"]["rules"].as_array().context("the route has no rules")?;
    let weight = |rule: &Value, backend: &str| {
        let backends = rule["backendRefs"].as_array()?;
        let found = backends.iter().find(|b| b["name"] == backend)?;
        Some(found["weight"].as_i64().unwrap_or(1))
    };
    let (primary, canary) = (format!("{name}-primary"), format!("{name}-canary"));
    // With session affinity the rules before the weighted one belong to users who have a cookie; they name both, too.
    let both = |rule: &&Value| weight(rule, &primary).is_some() && weight(rule, &canary).is_some();
    let rule = rules.iter().rfind(both).or_else(|| rules.first()).context("the route has no rules")?;
    Ok((weight(rule, &primary).unwrap_or(0), weight(rule, &canary).unwrap_or(0)))
}

/// The tag of the first container's image.
#[must_use]
pub fn release_of(deployment: &Value) -> String {
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    image.rsplit(':').next().unwrap_or_default().to_owned()
}
