//! CloudEvents 1.0 in structured mode: the whole event as one JSON document.

use serde_json::{Map, Value, json};

use super::{Notice, Notifier, Sender};

pub(super) static NOTIFIER: CloudEvents = CloudEvents;

pub(super) struct CloudEvents;

impl Notifier for CloudEvents {
    fn name(&self) -> &'static str {
        "cloudevents"
    }

    fn content_type(&self) -> &'static str {
        "application/cloudevents+json"
    }

    fn body(&self, notice: &Notice, _sender: &Sender) -> Value {
        let phase = notice.phase.as_str();
        let fields: Map<String, Value> =
            notice.fields.iter().map(|(title, value)| (title.clone(), value.as_str().into())).collect();
        let mut data = json!({
            "canary": notice.canary,
            "namespace": notice.namespace,
            "cluster": notice.cluster,
            "phase": phase,
            "severity": notice.severity.as_str(),
            "message": notice.message,
            "checks": notice.checks,
            "fields": fields,
        });
        if let Some(change) = &notice.change {
            data["source"] = json!({
                "repository": change.repository,
                "commit": change.commit,
                "pullRequest": change.pull_request,
            });
        }
        json!({
            "specversion": "1.0",
            "id": notice.id,
            "source": source(&notice.cluster),
            "type": format!("dev.serin.canary.{}", phase.to_ascii_lowercase()),
            "subject": format!("{}/{}", notice.namespace, notice.canary),
            "time": notice.time.to_string(),
            "datacontenttype": "application/json",
            "data": data,
        })
    }
}

/// A reference, in which not every letter of a name may stand.
fn source(cluster: &str) -> String {
    if cluster.is_empty() {
        return "/serin".into();
    }
    format!("/serin/{}", percent_encoding::utf8_percent_encode(cluster, percent_encoding::NON_ALPHANUMERIC))
}
