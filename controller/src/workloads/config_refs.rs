//! Which ConfigMaps and Secrets a target uses, and what tells their contents apart.

use std::collections::BTreeMap;

use rollout::revision::fingerprint;
use serde_json::{Map, Value};

use crate::objects::{At, Kind, kinds};

use super::{Settings, WorkloadError, describe, rename};

/// Opts a ConfigMap or Secret out of tracking when its value starts with `disable`.
const TRACKING: &str = "flagger.app/config-tracking";

/// Types of Secrets that hold configuration; those of others, such as registry credentials, are not tracked.
const TRACKED_SECRETS: [&str; 4] =
    ["Opaque", "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth", "kubernetes.io/tls"];

/// Where configuration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKind {
    /// ConfigMap.
    ConfigMap,
    /// Secret.
    Secret,
}

impl ConfigKind {
    /// Its kind of object.
    pub const fn object(self) -> Kind {
        match self {
            ConfigKind::ConfigMap => kinds::CONFIG_MAP,
            ConfigKind::Secret => kinds::SECRET,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            ConfigKind::ConfigMap => "configmap",
            ConfigKind::Secret => "secret",
        }
    }
}

/// A ConfigMap or Secret that a pod template uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigRef {
    /// ConfigMap or Secret.
    pub kind: ConfigKind,
    /// Its name.
    pub name: String,
    /// It may be missing; only so when every use of it says so.
    pub optional: bool,
}

/// The ConfigMaps and Secrets that a target uses and that exist and are tracked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tracked(BTreeMap<(ConfigKind, String), String>);

impl Tracked {
    /// True when the primary uses a copy of it.
    pub fn contains(&self, kind: ConfigKind, name: &str) -> bool {
        self.0.contains_key(&(kind, name.to_owned()))
    }

    /// Checksums as the status keeps them: `configmap/<name>` or `secret/<name>`, with 16 hexadecimal digits.
    pub fn checksums(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|((kind, name), checksum)| (format!("{}/{name}", kind.prefix()), checksum.clone())).collect()
    }

    /// Kind and name of each.
    pub fn names(&self) -> impl Iterator<Item = (ConfigKind, &str)> {
        self.0.keys().map(|(kind, name)| (*kind, name.as_str()))
    }
}

/// What was found of a ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It does not exist.
    Missing,
    /// It exists and its contents are of no interest.
    Untracked,
    /// It exists and this tells its contents apart.
    Checksum(String),
}

/// The ConfigMaps and Secrets that a pod template (`spec.template`) uses, sorted and without repetition.
pub fn config_refs(template: &Value) -> Vec<ConfigRef> {
    let mut found = BTreeMap::new();
    if let Some(pod_spec) = template.get("spec") {
        rename::each_config(&mut pod_spec.clone(), &mut |kind, name, optional| {
            *found.entry((kind, name.clone())).or_insert(true) &= optional;
        });
    }
    found.into_iter().map(|((kind, name), optional)| ConfigRef { kind, name, optional }).collect()
}

/// What the target uses and would be tracked, if it exists.
pub fn tracked_refs(target: &Value, settings: &Settings) -> Vec<ConfigRef> {
    if !settings.config_tracking {
        return Vec::new();
    }
    target.at("/spec/template").map(config_refs).unwrap_or_default()
}

/// What of the target's configs is tracked, by what was found of each. Errors when a ConfigMap or Secret that it cannot
/// do without is missing.
pub fn track(target: &Value, found: Vec<(ConfigRef, Found)>) -> Result<Tracked, WorkloadError> {
    let mut tracked = BTreeMap::new();
    for (reference, found) in found {
        match found {
            Found::Checksum(checksum) => {
                tracked.insert((reference.kind, reference.name), checksum);
            }
            Found::Untracked => {}
            Found::Missing if reference.optional => {}
            Found::Missing => {
                return Err(WorkloadError::Missing {
                    object: format!("{} {}", reference.kind.object().kind, reference.name),
                    user: describe(target),
                    mend: "create it, or mark the reference as optional",
                });
            }
        }
    }
    Ok(Tracked(tracked))
}

/// What tells the contents of a ConfigMap or Secret apart: 16 hexadecimal digits, the same as Flagger writes, so that
/// either controller can take over from the other. `None` when it is not tracked.
///
/// `binaryData` does not count, for the same reason.
pub fn checksum(kind: ConfigKind, object: &Value) -> Option<String> {
    let opted_out = object
        .at("/metadata/annotations")
        .and_then(|annotations| annotations.get(TRACKING))
        .and_then(Value::as_str)
        .is_some_and(|value| value.starts_with("disable"));
    let tracked = match kind {
        ConfigKind::ConfigMap => true,
        ConfigKind::Secret => match object.get("type").and_then(Value::as_str) {
            Some(found) => TRACKED_SECRETS.contains(&found),
            None => true,
        },
    };
    let data = object.get("data").and_then(Value::as_object);
    (tracked && !opted_out).then(|| fingerprint(go_json(data).as_bytes(), 8))
}

/// A map of strings as Go writes it: sorted keys, and characters that mean something in HTML escaped.
fn go_json(data: Option<&Map<String, Value>>) -> String {
    let Some(data) = data else { return "null".into() };
    let sorted: BTreeMap<&str, &str> =
        data.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default())).collect();
    let text: Map<String, Value> = sorted.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    let mut escaped = String::new();
    // None of these can stand outside a string, so the whole text may be treated alike.
    for character in Value::Object(text).to_string().chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escaped.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::Case;
    use super::*;

    #[test]
    fn references_are_sorted_and_unique_and_required_wins() {
        let template = json!({"spec": {
            "volumes": [{"secret": {"secretName": "z", "optional": true}}, {"configMap": {"name": "a", "optional": true}}],
            "containers": [{"envFrom": [{"secretRef": {"name": "z"}}, {"configMapRef": {"name": "b"}}]}],
        }});
        let reference = |kind, name: &str, optional| ConfigRef { kind, name: name.into(), optional };
        assert_eq!(
            config_refs(&template),
            [
                reference(ConfigKind::ConfigMap, "a", true),
                reference(ConfigKind::ConfigMap, "b", false),
                reference(ConfigKind::Secret, "z", false),
            ]
        );
    }

    #[test]
    fn checksums_are_over_go_json() {
        assert_eq!(go_json(None), "null");
        let data = json!({"b": "<a&b>", "a": "\n\u{2028}\"ü\u{7f}\u{1}"});
        assert_eq!(
            go_json(data.as_object()),
            "{\"a\":\"\\n\\u2028\\\"ü\u{7f}\\u0001\",\"b\":\"\\u003ca\\u0026b\\u003e\"}"
        );
    }

    #[test]
    fn what_is_not_tracked_has_no_checksum() {
        let opted_out = |value: &str| json!({"metadata": {"annotations": {TRACKING: value}}, "data": {}});
        for (kind, object, tracked) in [
            (ConfigKind::ConfigMap, json!({"data": {"a": "b"}}), true),
            (ConfigKind::ConfigMap, json!({}), true),
            (ConfigKind::ConfigMap, opted_out("disabled"), false),
            (ConfigKind::ConfigMap, opted_out("disable"), false),
            (ConfigKind::ConfigMap, opted_out("enabled"), true),
            (ConfigKind::Secret, opted_out("disabled"), false),
            (ConfigKind::Secret, json!({"type": "Opaque"}), true),
            (ConfigKind::Secret, json!({"type": "kubernetes.io/tls"}), true),
            (ConfigKind::Secret, json!({"type": "kubernetes.io/dockerconfigjson"}), false),
            (ConfigKind::Secret, json!({"type": "helm.sh/release.v1"}), false),
        ] {
            assert_eq!(checksum(kind, &object).is_some(), tracked, "{kind:?} {object}");
        }
    }

    #[test]
    fn a_required_config_that_is_missing_is_named_with_the_mend() {
        let mut case = Case::deployment();
        case.remove(kinds::CONFIG_MAP, "settings");
        assert_eq!(
            case.plan().unwrap_err().to_string(),
            "ConfigMap settings not found, but Deployment podinfo uses it: create it, or mark the reference as optional"
        );
    }

    #[test]
    fn optional_configs_may_be_missing_and_keep_their_names() {
        let mut case = Case::deployment();
        case.target["spec"]["template"]["spec"]["volumes"] =
            json!([{"name": "x", "configMap": {"name": "absent", "optional": true}}]);
        let plan = case.plan().unwrap();
        assert!(!plan.tracked.contains(ConfigKind::ConfigMap, "absent"));
        let template = super::super::primary_template(&plan);
        assert_eq!(template.pointer("/spec/volumes/0/configMap/name"), Some(&json!("absent")));
    }

    #[test]
    fn tracking_can_be_switched_off() {
        let mut case = Case::deployment();
        case.settings.config_tracking = false;
        case.remove(kinds::CONFIG_MAP, "settings");
        let plan = case.plan().unwrap();
        assert_eq!(plan.tracked.checksums(), BTreeMap::new());
        let template = super::super::primary_template(&plan);
        assert_eq!(template.pointer("/spec/volumes/0/configMap/name"), Some(&json!("settings")));
    }
}
