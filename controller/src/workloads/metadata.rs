//! Which labels and annotations go along when an object is made from another.

use serde_json::{Map, Value};

use crate::objects::{At, pointer_to};

/// Annotation that tells Flux's kustomize-controller to leave an object alone.
const FLUX_RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
/// Annotation that tells Flux's helm-controller to leave an object alone.
const FLUX_DRIFT: &str = "helm.toolkit.fluxcd.io/driftDetection";

/// Labels or annotations of an object, by pointer (`/metadata/labels`).
pub(super) fn of<'v>(object: &'v Value, pointer: &str) -> Option<&'v Map<String, Value>> {
    object.at(pointer).and_then(Value::as_object)
}

/// True when the key marks an object as Flux's own: a copy that had it would be pruned.
pub(super) fn is_flux(key: &str) -> bool {
    key.contains("toolkit.fluxcd.io")
}

/// Those with one of the prefixes; `*` means all.
pub(super) fn with_prefix(source: Option<&Map<String, Value>>, prefixes: &[String]) -> Map<String, Value> {
    let wanted = |key: &str| {
        prefixes.iter().any(|prefix| prefix == "*" || (!prefix.is_empty() && key.starts_with(prefix.as_str())))
    };
    filtered(source, |key| wanted(key) && !is_claim(key))
}

/// All but those that would make another controller, or Serin itself, take the copy for its own.
pub(super) fn without_claims(source: Option<&Map<String, Value>>) -> Map<String, Value> {
    filtered(source, |key| !is_claim(key))
}

/// All but Flux's.
pub(super) fn without_flux(source: Option<&Map<String, Value>>) -> Map<String, Value> {
    filtered(source, |key| !is_flux(key))
}

/// Tells Flux to leave the object alone.
pub(super) fn opt_out_of_flux(annotations: &mut Map<String, Value>) {
    for key in [FLUX_RECONCILE, FLUX_DRIFT] {
        annotations.insert(key.into(), "disabled".into());
    }
}

/// A pointer to each key of the object at `parent`.
pub(super) fn pointers(parent: &str, fields: &Map<String, Value>) -> Vec<String> {
    fields.keys().map(|key| pointer_to(parent, key)).collect()
}

fn filtered(source: Option<&Map<String, Value>>, keep: impl Fn(&str) -> bool) -> Map<String, Value> {
    let all = source.into_iter().flatten();
    all.filter(|(key, _)| keep(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn is_claim(key: &str) -> bool {
    is_flux(key)
        || key.starts_with("serin.dev/")
        || key.starts_with("argocd.argoproj.io/")
        || key.starts_with("meta.helm.sh/")
        || matches!(
            key,
            "kubectl.kubernetes.io/last-applied-configuration"
                | "deployment.kubernetes.io/revision"
                | "deprecated.daemonset.template.generation"
                | "config.k8s.io/owning-inventory"
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn copies_carry_no_claim_of_another_controller() {
        let source = json!({
            "example.com/owner": "shop", "kustomize.toolkit.fluxcd.io/name": "apps", "argocd.argoproj.io/tracking-id": "x",
            "kubectl.kubernetes.io/last-applied-configuration": "{}", "serin.dev/canary": "web", "meta.helm.sh/release-name": "r",
            "deployment.kubernetes.io/revision": "3",
        });
        let expected = json!({"example.com/owner": "shop"});
        assert_eq!(Value::Object(without_claims(source.as_object())), expected);
        assert_eq!(Value::Object(with_prefix(source.as_object(), &["*".into()])), expected);
    }

    #[test]
    fn prefixes_choose_what_goes_along() {
        let source = json!({"app.kubernetes.io/part-of": "shop", "app": "a", "example.com/x": "1"});
        for (prefixes, expected) in [
            (vec![], json!({})),
            (vec![""], json!({})),
            (vec!["app.kubernetes.io"], json!({"app.kubernetes.io/part-of": "shop"})),
            (vec!["app"], json!({"app.kubernetes.io/part-of": "shop", "app": "a"})),
            (vec!["*"], source.clone()),
        ] {
            let prefixes: Vec<String> = prefixes.into_iter().map(String::from).collect();
            assert_eq!(Value::Object(with_prefix(source.as_object(), &prefixes)), expected, "{prefixes:?}");
        }
    }
}
