//! How traffic moves, and how far it has moved.

use crds::CanaryStatus;
use serde::Serialize;
use serde_json::Value;

/// How traffic moves, and how far it has moved.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StrategyView {
    /// `canary`, `ab-testing` or `blue-green`, as metrics and notices have it.
    pub name: &'static str,
    /// The router, when the Canary names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Percent of the traffic meant for the canary.
    pub weight: i32,
    /// The weights that the rollout goes through; empty when it does not go by weight.
    pub weights: Vec<i64>,
    /// How many of them are reached.
    pub step: usize,
    /// Iterations done.
    pub iteration: i32,
    /// Iterations to do; 0 when the rollout goes by weight.
    pub iterations: i64,
    /// The canary gets a copy of the traffic.
    pub mirrored: bool,
    /// Users stay where they are by cookie.
    pub session_affinity: bool,
}

impl StrategyView {
    /// Reads the strategy of a Canary as its documentation has it.
    pub fn of(canary: &Value, status: &CanaryStatus) -> Self {
        let analysis = &canary["spec"]["analysis"];
        let router = canary.pointer("/spec/provider").and_then(Value::as_str).map(str::to_owned);
        let written = analysis["iterations"].as_i64().unwrap_or(0);
        let matches = analysis["match"].as_array().is_some_and(|matches| !matches.is_empty());
        let without_routes = router.as_deref() == Some("kubernetes");
        let iterations = if without_routes && written < 1 { 10 } else { written.max(0) };
        let name = match (iterations > 0, matches && !without_routes) {
            (false, _) => "canary",
            (true, true) => "ab-testing",
            (true, false) => "blue-green",
        };
        let weights = if iterations > 0 { Vec::new() } else { weights(analysis) };
        StrategyView {
            name,
            router,
            weight: status.canary_weight,
            step: weights.iter().filter(|weight| **weight <= i64::from(status.canary_weight)).count(),
            weights,
            iteration: status.iterations,
            iterations,
            mirrored: status.mirrored,
            session_affinity: analysis["sessionAffinity"].is_object(),
        }
    }

    /// How far the rollout has come, in two words: `weight 30`, `iteration 2/10`.
    pub fn progress(&self) -> String {
        if self.iterations > 0 {
            format!("iteration {}/{}", self.iteration, self.iterations)
        } else {
            format!("weight {}", self.weight)
        }
    }
}

/// The weights of a linear canary, or those that are listed; none is above 100, and the last is the largest.
fn weights(analysis: &Value) -> Vec<i64> {
    if let Some(listed) = analysis["stepWeights"].as_array().filter(|listed| !listed.is_empty()) {
        return listed.iter().filter_map(Value::as_i64).map(|weight| weight.clamp(0, 100)).collect();
    }
    // As parsed: where it starts, until the traffic says more.
    if analysis["plan"] == "auto" {
        let last = analysis["maxWeight"].as_i64().filter(|last| *last > 0).unwrap_or(50).min(100);
        return [1, 2, 5, 10, 25].into_iter().filter(|weight| *weight < last).chain([last]).collect();
    }
    let step = analysis["stepWeight"].as_i64().unwrap_or(0);
    let last = analysis["maxWeight"].as_i64().filter(|last| *last > 0).unwrap_or(100).min(100);
    if step <= 0 {
        return Vec::new();
    }
    let mut weights: Vec<i64> = (1..).map(|index| index * step.min(100)).take_while(|weight| *weight < last).collect();
    weights.push(last);
    weights
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_steps_are_those_of_the_documentation() {
        for (analysis, expected) in [
            (json!({"stepWeight": 10, "maxWeight": 50}), vec![10, 20, 30, 40, 50]),
            (json!({"stepWeight": 30}), vec![30, 60, 90, 100]),
            (json!({"stepWeight": 30, "maxWeight": 50}), vec![30, 50]),
            (json!({"stepWeight": 200}), vec![100]),
            (json!({"stepWeights": [1, 5, 120]}), vec![1, 5, 100]),
            (json!({"plan": "auto", "maxWeight": 10}), vec![1, 2, 5, 10]),
            (json!({}), vec![]),
        ] {
            assert_eq!(weights(&analysis), expected, "{analysis}");
        }
    }

    #[test]
    fn the_names_are_those_of_metrics_and_notices() {
        let of = |provider: &str, analysis: Value| {
            let canary = json!({"spec": {"provider": provider, "analysis": analysis}});
            let view = StrategyView::of(&canary, &CanaryStatus { canary_weight: 30, ..CanaryStatus::default() });
            (view.name, view.step, view.iterations)
        };
        let matches = json!([{"headers": {"x": {"exact": "y"}}}]);
        assert_eq!(of("gatewayapi:v1", json!({"stepWeight": 10})), ("canary", 3, 0));
        assert_eq!(of("gatewayapi:v1", json!({"iterations": 5})), ("blue-green", 0, 5));
        assert_eq!(of("gatewayapi:v1", json!({"iterations": 5, "match": matches})), ("ab-testing", 0, 5));
        assert_eq!(of("kubernetes", json!({"stepWeight": 10})), ("blue-green", 0, 10));
    }
}
