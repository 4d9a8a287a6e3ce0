//! Questions to the cluster's Prometheus, and the builtin queries of the contract as the tests know them.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::wire;

/// The value of an instant query's last series; `None` when it has no series or no number.
///
/// # Errors
/// When Prometheus does not answer.
pub async fn query(cluster: &Cluster, query: &str) -> Result<Option<f64>> {
    let url = format!("{}/api/v1/query?query={}", cluster.prometheus(), wire::escape(query));
    let answer: Value = serde_json::from_slice(&wire::get(&url).await?).context("reading Prometheus's answer")?;
    let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let value = series.last().and_then(|s| s["value"][1].as_str()).and_then(|v| v.parse::<f64>().ok());
    Ok(value.filter(|v| !v.is_nan()))
}

/// The builtin success rate, in percent, for the providers `kubernetes` and `gatewayapi:*`.
#[must_use]
pub fn success_rate(namespace: &str, target: &str, window: &str) -> String {
    let pods = pods_of(namespace, target);
    format!(
        "sum(rate(http_request_duration_seconds_count{{{pods},status!~\"5.*\"}}[{window}])) / \
         sum(rate(http_request_duration_seconds_count{{{pods}}}[{window}])) * 100"
    )
}

/// The builtin 99th percentile of the duration, in milliseconds.
#[must_use]
pub fn duration(namespace: &str, target: &str, window: &str) -> String {
    let pods = pods_of(namespace, target);
    format!(
        "histogram_quantile(0.99, sum(rate(http_request_duration_seconds_bucket{{{pods}}}[{window}])) by (le)) * 1000"
    )
}

fn pods_of(namespace: &str, target: &str) -> String {
    format!("kubernetes_namespace=\"{namespace}\",kubernetes_pod_name=~\"{target}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\"")
}
