//! The primary's own copies of the ConfigMaps and Secrets that the target uses.

use serde_json::{Value, json};

use crate::objects::{Desired, Lookup, Owner};

use super::config_refs::ConfigKind;
use super::{Plan, metadata};

/// A copy named `<name>-primary` of each tracked ConfigMap and Secret, with `data` and `binaryData`. To be written
/// when the primary is created and when it is promoted, before the primary itself.
///
/// `current` must have the tracked objects themselves and the copies that stand; of a source that went meanwhile there
/// is no copy.
pub fn config_copies(plan: &Plan<'_>, current: &dyn Lookup) -> Vec<Desired> {
    let sources = plan.tracked.names().filter_map(|(kind, name)| Some((kind, name, current.get(kind.object(), name)?)));
    sources.map(|(kind, name, source)| config_copy(plan, kind, name, &source, current)).collect()
}

/// Name of the primary's copy of a ConfigMap or Secret.
pub fn copy_name(name: &str) -> String {
    format!("{name}-primary")
}

fn config_copy(plan: &Plan<'_>, config: ConfigKind, name: &str, source: &Value, current: &dyn Lookup) -> Desired {
    let kind = config.object();
    let name = copy_name(name);
    let live = current.get(kind, &name);
    let labels = metadata::with_prefix(metadata::of(source, "/metadata/labels"), &plan.settings.include_label_prefix);
    let mut pointers = vec!["/data".to_owned()];
    pointers.extend(metadata::pointers("/metadata/labels", &labels));
    let mut body = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": plan.owner.namespace},
    });
    let copied: &[&str] = match config {
        ConfigKind::ConfigMap => {
            pointers.push("/binaryData".into());
            &["data", "binaryData"]
        }
        ConfigKind::Secret => &["data", "type"],
    };
    for field in copied {
        if let Some(value) = source.get(*field).filter(|value| !value.is_null()) {
            body[*field] = value.clone();
        }
    }
    if !labels.is_empty() {
        body["metadata"]["labels"] = Value::Object(labels);
    }
    let (owners, ours) = owners(plan.owner, live.as_deref());
    body["metadata"]["ownerReferences"] = owners;
    if !ours {
        pointers.push("/metadata/ownerReferences".into());
    }
    Desired::Replace { kind, body, pointers }
}

/// The owners that the copy should have, and whether the Canary is one already. Two targets may share a config, and an
/// object has one controller: who came first stays it, so that the two do not take it from each other for ever.
fn owners(owner: &Owner, live: Option<&Value>) -> (Value, bool) {
    let mut owners = live
        .and_then(|live| live.pointer("/metadata/ownerReferences"))
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if owners.iter().any(|other| other.get("uid").and_then(Value::as_str) == Some(&owner.uid)) {
        return (Value::Array(owners), true);
    }
    let controlled = owners.iter().any(|other| other.get("controller") == Some(&Value::Bool(true)));
    let mut reference = owner.reference();
    reference["controller"] = (!controlled).into();
    owners.push(reference);
    (Value::Array(owners), false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{Case, apply};
    use super::*;
    use crate::objects::kinds;

    fn copy<'d>(copies: &'d [Desired], name: &str) -> (&'d Value, &'d [String]) {
        match copies.iter().find(|copy| copy.name() == name) {
            Some(Desired::Replace { body, pointers, .. }) => (body, pointers),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn binary_data_is_copied_too() {
        let mut case = Case::deployment();
        let source = json!({"metadata": {"name": "settings"}, "binaryData": {"logo": "aGVsbG8="}});
        case.put(kinds::CONFIG_MAP, "settings", source);
        let copies = config_copies(&case.plan().unwrap(), &case.objects);
        let (body, pointers) = copy(&copies, "settings-primary");
        assert_eq!(body["binaryData"], json!({"logo": "aGVsbG8="}));
        assert_eq!(body.get("data"), None);
        assert!(pointers.contains(&"/binaryData".to_owned()));
    }

    #[test]
    fn keys_that_left_the_source_leave_the_copy() {
        let mut case = Case::deployment();
        let live = json!({"metadata": {"name": "settings-primary", "ownerReferences": [case.owner.reference()]},
            "data": {"a": "1", "stale": "2"}, "binaryData": {"x": "eA=="}});
        case.put(kinds::CONFIG_MAP, "settings-primary", live.clone());
        case.put(kinds::CONFIG_MAP, "settings", json!({"metadata": {"name": "settings"}, "data": {"a": "1"}}));
        let copies = config_copies(&case.plan().unwrap(), &case.objects);
        let wanted = copies.iter().find(|copy| copy.name() == "settings-primary").unwrap();
        assert!(!wanted.met_by(Some(&live)));
        let after = apply(Some(&live), wanted);
        assert_eq!((after.get("data"), after.get("binaryData")), (Some(&json!({"a": "1"})), None));
    }

    #[test]
    fn a_config_shared_by_two_targets_keeps_its_first_controller() {
        let mut case = Case::deployment();
        let other = Owner { name: "other".into(), uid: "u-other".into(), ..case.owner.clone() };
        let live =
            json!({"metadata": {"name": "settings-primary", "ownerReferences": [other.reference()]}, "data": {}});
        case.put(kinds::CONFIG_MAP, "settings-primary", live);
        let copies = config_copies(&case.plan().unwrap(), &case.objects);
        let (body, pointers) = copy(&copies, "settings-primary");
        let owners = &body["metadata"]["ownerReferences"];
        assert_eq!((&owners[0], &owners[1]["controller"]), (&other.reference(), &json!(false)));
        assert!(pointers.contains(&"/metadata/ownerReferences".to_owned()));
    }

    #[test]
    fn secrets_keep_their_type() {
        let mut case = Case::deployment();
        let source =
            json!({"metadata": {"name": "credentials"}, "type": "kubernetes.io/tls", "data": {"tls.key": "eA=="}});
        case.put(kinds::SECRET, "credentials", source);
        let copies = config_copies(&case.plan().unwrap(), &case.objects);
        let (body, pointers) = copy(&copies, "credentials-primary");
        assert_eq!((&body["type"], &body["data"]), (&json!("kubernetes.io/tls"), &json!({"tls.key": "eA=="})));
        // The type of a Secret cannot be changed.
        assert!(!pointers.contains(&"/type".to_owned()));
    }
}
