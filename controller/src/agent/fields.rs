//! Which fields are the agent's, as the API server noted them: when somebody else sets one of them, it is theirs, so a
//! change of this note is drift, and no content has to be compared.

use serde_json::Value;

use super::plan::{canonical, checksum};

/// Field manager of what the agent applies.
pub const AGENT: &str = "serin-agent";

/// Checksum of the agent's fields in `metadata`; empty when it has none.
pub fn fields(metadata: &Value) -> String {
    match entry(metadata) {
        Some(entry) => checksum(canonical(&entry["fieldsV1"]).as_bytes()),
        None => String::new(),
    }
}

/// True when the agent has applied `spec.replicas` and nobody has set it since.
pub fn owns_replicas(metadata: &Value) -> bool {
    entry(metadata).is_some_and(|entry| entry.pointer("/fieldsV1/f:spec/f:replicas").is_some())
}

/// Who wrote last, other than the agent and other than a status.
pub fn last_writer(metadata: &Value) -> Option<&str> {
    let entries = metadata["managedFields"].as_array()?.iter();
    let others = entries.filter(|entry| entry["manager"] != AGENT && entry["subresource"] != "status");
    // Times are written in one form, so their order is that of their letters.
    others.max_by_key(|entry| entry["time"].as_str().unwrap_or_default())?["manager"].as_str()
}

fn entry(metadata: &Value) -> Option<&Value> {
    metadata["managedFields"].as_array()?.iter().find(|entry| {
        entry["manager"] == AGENT
            && entry["operation"] == "Apply"
            && entry["subresource"].as_str().unwrap_or_default().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_note_changes_when_a_field_is_taken_and_not_when_one_is_added() {
        let mine = |fields: Value| json!({ "manager": AGENT, "operation": "Apply", "fieldsV1": fields });
        let other = json!({ "manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": { "f:spec": {} } });
        let status = json!({ "manager": "kubelet", "operation": "Update", "subresource": "status", "time": "2026-01-03T00:00:00Z" });
        let whole = mine(json!({ "f:spec": { "f:replicas": {}, "f:paused": {} } }));
        let before = json!({ "managedFields": [whole] });
        let added = json!({ "managedFields": [other, status, whole] });
        let taken = json!({ "managedFields": [mine(json!({ "f:spec": { "f:paused": {} } })), other] });
        assert_eq!(fields(&before), fields(&added));
        assert_ne!(fields(&before), fields(&taken));
        assert_eq!((owns_replicas(&before), owns_replicas(&taken)), (true, false));
        assert_eq!(last_writer(&added), Some("kubectl-edit"));
        assert_eq!(fields(&json!({})), "");
    }
}
