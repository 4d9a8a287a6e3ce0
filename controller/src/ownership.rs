//! Field ownership in `metadata.managedFields`: what Flagger wrote becomes Serin's, and a replica count that Serin no
//! longer states is given up instead of taken away.

use serde_json::{Map, Value, json};

use crate::rest::FIELD_MANAGER;

/// The JSON patch that makes Flagger's fields Serin's by apply, and gives up `spec.replicas` unless `states_replicas`.
/// Without the former, server-side apply would not take out fields that Flagger wrote; without the latter, it would take
/// the replica count out as soon as an autoscaler is left to decide it, and the API server would put 1 in its place.
/// `None` when there is nothing to do.
pub(crate) fn transfer(live: &Value, states_replicas: bool) -> Option<Value> {
    let managed_fields = live.pointer("/metadata/managedFields")?.as_array()?;
    let resource_version = live.pointer("/metadata/resourceVersion")?.clone();
    let (from_flagger, others): (Vec<&Value>, Vec<&Value>) =
        managed_fields.iter().partition(|entry| is_entry(entry, "flagger", "Update"));
    let (own, mut rest): (Vec<&Value>, Vec<&Value>) =
        others.into_iter().partition(|entry| is_entry(entry, FIELD_MANAGER, "Apply"));
    let first = own.first().or(from_flagger.first())?;
    let mut merged = (*first).clone();
    merged["manager"] = FIELD_MANAGER.into();
    merged["operation"] = "Apply".into();
    for entry in own.iter().chain(&from_flagger) {
        unite(&mut merged["fieldsV1"], &entry["fieldsV1"]);
    }
    if !states_replicas && let Some(Value::Object(spec)) = merged.pointer_mut("/fieldsV1/f:spec") {
        spec.remove("f:replicas");
    }
    if from_flagger.is_empty() && own.first().is_some_and(|own| **own == merged) {
        return None;
    }
    rest.push(&merged);
    Some(json!([
        { "op": "replace", "path": "/metadata/managedFields", "value": rest },
        { "op": "replace", "path": "/metadata/resourceVersion", "value": resource_version },
    ]))
}

fn is_entry(entry: &Value, manager: &str, operation: &str) -> bool {
    entry["manager"] == manager
        && entry["operation"] == operation
        && entry["subresource"].as_str().unwrap_or_default().is_empty()
}

/// Union of two field sets, which are tries of nested objects.
fn unite(into: &mut Value, from: &Value) {
    let Some(from) = from.as_object() else { return };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Some(into) = into.as_object_mut() else { return };
    for (key, value) in from {
        unite(into.entry(key.clone()).or_insert_with(|| Value::Object(Map::new())), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(managed_fields: Value) -> Value {
        json!({ "metadata": { "resourceVersion": "7", "managedFields": managed_fields } })
    }

    #[test]
    fn what_flagger_wrote_becomes_serins_and_others_keep_theirs() {
        let live = live(json!([
            { "manager": "flagger", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
              "fieldsV1": { "f:spec": { "f:replicas": {}, "f:template": { "f:a": {} } } } },
            { "manager": "flagger", "operation": "Update", "subresource": "status", "fieldsV1": { "f:status": {} } },
            { "manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {} },
            { "manager": "serin", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
              "fieldsV1": { "f:spec": { "f:template": { "f:b": {} } } } },
        ]));
        let patch = transfer(&live, false).unwrap();
        let entries = patch[0]["value"].as_array().unwrap();
        assert_eq!(entries.len(), 3);
        let expected = json!({
            "manager": "serin", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "fieldsV1": { "f:spec": { "f:template": { "f:a": {}, "f:b": {} } } },
        });
        assert_eq!(entries[2], expected);
        assert_eq!(patch[1]["value"], "7");
    }

    #[test]
    fn replicas_stay_owned_when_they_are_stated() {
        let own = json!([{ "manager": "serin", "operation": "Apply", "fieldsV1": { "f:spec": { "f:replicas": {} } } }]);
        assert_eq!(transfer(&live(own.clone()), true), None);
        let given_up = transfer(&live(own), false).unwrap();
        assert_eq!(given_up[0]["value"][0]["fieldsV1"], json!({ "f:spec": {} }));
    }

    #[test]
    fn nothing_of_ours_is_nothing_to_do() {
        assert_eq!(
            transfer(&live(json!([{ "manager": "kubectl", "operation": "Update", "fieldsV1": {} }])), true),
            None
        );
        assert_eq!(transfer(&json!({ "metadata": {} }), true), None);
    }
}
