//! The traffic that there really is, asked of a metrics server.

use std::time::Duration;

use controller::http::Clients;
use controller::providers::builtin::{Signal, tells_workloads};
use controller::providers::{self, Patience, Span};
use jiff::Timestamp;
use rollout::{Reading, Spec};

use crate::complaint::Complaint;

/// What users did.
pub(super) struct Measured {
    pub(super) requests_per_minute: f64,
    /// Percent of the requests.
    pub(super) success_rate: f64,
}

/// Asks for all requests to the primary, or where the router does not tell workloads apart, to whatever is behind it.
pub(super) async fn traffic(spec: &Spec, namespace: &str, server: &str, over: Duration) -> Result<Measured, Complaint> {
    controller::http::install_cryptography();
    let mut spec = spec.clone();
    spec.metrics_server = None;
    if tells_workloads(&spec.provider).is_ok() {
        spec.target.name = spec.primary_name();
    }
    let who = format!("requests to {namespace}/{} in the last {} s", spec.target.name, over.as_secs());
    let clients = Clients::default();
    let mut counts = [0.0, 0.0];
    for (count, signal) in counts.iter_mut().zip([Signal::Requests, Signal::Errors]) {
        let refused = |why: String| Complaint::Refused(format!("asking {server} for {who}: {why}"));
        let query = providers::count(signal, Span::until_now(over), &spec, namespace, server)
            .map_err(|error| refused(error.to_string()))?;
        *count = match providers::read(&query, &clients, Patience::default(), Timestamp::now()).await {
            Reading::Value(value) => value,
            Reading::NoValue => 0.0,
            Reading::Unavailable(why) | Reading::Invalid(why) => return Err(refused(why)),
            Reading::Stale { age, .. } => return Err(refused(format!("the answer is {} s old", age.as_secs()))),
            Reading::Buckets(_) => return Err(refused("it answered with a histogram".into())),
        };
    }
    let [requests, errors] = counts;
    if requests < 1.0 {
        let mend = "name another time with --over, or the traffic with --requests-per-minute";
        return Err(Complaint::Refused(format!("{server} knows of no {who}: {mend}")));
    }
    Ok(Measured {
        requests_per_minute: (requests * 60.0 / over.as_secs_f64()).round(),
        success_rate: 100.0 * (1.0 - (errors / requests).clamp(0.0, 1.0)),
    })
}
