//! Workloads: what the target and the primary are, and what the primary should be. Objects in, objects out.
//!
//! Objects stay `serde_json::Value`s, so that a field newer than our bindings survives the way from the target to the
//! primary. A malformed object is an error or is left alone; it never panics.

mod autoscaler;
mod baseline;
mod config_copies;
mod config_refs;
mod history;
mod metadata;
mod primary;
mod readiness;
mod rename;
mod requests;
mod scale;
mod services;

#[cfg(test)]
mod adoption_tests;
#[cfg(test)]
mod fixtures;

pub use autoscaler::{AutoscalerMode, autoscaler};
pub use baseline::{baseline_seen, desired_baseline, remove_baseline};
pub use config_copies::{config_copies, copy_name};
pub use config_refs::{ConfigKind, ConfigRef, Found, Tracked, checksum, config_refs, track, tracked_refs};
pub use history::{former_target, history_kind, history_labels};
pub use primary::{
    PrimaryMode, REVISION_ANNOTATION, desired_primary, primary_matches, primary_template, written_revision,
};
pub use readiness::{readiness, refused_pods};
pub use scale::{ScaleTo, replicas_from_zero, scale, scaled_down};
pub use services::{apex_sends_to_primary, apex_service, baseline_service, revert_apex, services};

use rollout::Spec;
use rollout::spec::TargetKind;
use serde_json::Value;

use crate::objects::{At, Kind, Owner, kinds};

/// What the controller is told about workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Keys that may tell the target's pods from the primary's; the first that the target selects by is used.
    pub selector_labels: Vec<String>,
    /// Labels and annotations with these prefixes are copied to what is made; `*` means all, empty means none.
    pub include_label_prefix: Vec<String>,
    /// Track the ConfigMaps and Secrets of the target.
    pub config_tracking: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            selector_labels: ["app", "name", "app.kubernetes.io/name"].map(String::from).to_vec(),
            include_label_prefix: Vec::new(),
            config_tracking: true,
        }
    }
}

/// The label that tells the pods of the target from those of the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Its key.
    pub key: String,
    /// Its value on the pods of the target.
    pub value: String,
}

impl Selector {
    /// Its value on the pods of the primary.
    pub fn primary_value(&self) -> String {
        format!("{}-primary", self.value)
    }

    /// Its value on the pods of the copy of the primary.
    pub fn baseline_value(&self) -> String {
        format!("{}-baseline", self.value)
    }
}

/// All that is needed to say what should be made of a target.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The Canary.
    pub owner: &'a Owner,
    /// The parsed Canary.
    pub spec: &'a Spec,
    /// What the controller is told.
    pub settings: &'a Settings,
    /// The target as it stands; one that has a pod template.
    pub target: &'a Value,
    /// The label that tells its pods from those of the primary.
    pub selector: Selector,
    /// The ConfigMaps and Secrets that it uses.
    pub tracked: Tracked,
}

impl<'a> Plan<'a> {
    /// Looks at the target; see [`track`] for what it uses.
    ///
    /// Errors when the target has no pod template, no label to select by, or an update strategy that Serin cannot drive.
    pub fn new(
        owner: &'a Owner,
        spec: &'a Spec,
        settings: &'a Settings,
        target: &'a Value,
        tracked: Tracked,
    ) -> Result<Self, WorkloadError> {
        let named = || format!("{} {}", spec.target.kind.as_str(), spec.target.name);
        match target.at("/spec/template/spec") {
            Some(Value::Object(_)) => {}
            Some(_) | None => {
                return Err(WorkloadError::Malformed {
                    object: named(),
                    field: "spec.template.spec",
                    mend: "give the workload a pod template",
                });
            }
        }
        match spec.target.kind {
            TargetKind::Deployment => {}
            TargetKind::DaemonSet => {
                let strategy = target.at("/spec/updateStrategy/type").and_then(Value::as_str);
                if let Some(found) = strategy.filter(|found| *found != "RollingUpdate") {
                    return Err(WorkloadError::UpdateStrategy { object: named(), found: found.into() });
                }
            }
        }
        let selector = selector(target, settings)?;
        Ok(Plan { owner, spec, settings, target, selector, tracked })
    }

    /// Kind of the target and of the primary.
    pub fn kind(&self) -> Kind {
        object_kind(self.spec.target.kind)
    }

    /// Identity of the revision that the target holds now.
    pub fn revision(&self) -> rollout::Revision {
        let spec = rollout::revision::template_hash(self.spec.target.kind, self.target);
        let configs = self.tracked.checksums();
        rollout::Revision { id: rollout::revision::revision(&spec, &configs), spec, configs }
    }
}

/// The kind of object that a target is.
pub fn object_kind(kind: TargetKind) -> Kind {
    match kind {
        TargetKind::Deployment => kinds::DEPLOYMENT,
        TargetKind::DaemonSet => kinds::DAEMON_SET,
    }
}

/// The first of the selector labels that the target selects its pods by.
pub fn selector(target: &Value, settings: &Settings) -> Result<Selector, WorkloadError> {
    let labels = target.at("/spec/selector/matchLabels").and_then(Value::as_object);
    let found = settings.selector_labels.iter().find_map(|key| {
        let value = labels?.get(key)?.as_str()?;
        Some(Selector { key: key.clone(), value: value.to_owned() })
    });
    found.ok_or_else(|| WorkloadError::NoSelectorLabel {
        object: describe(target),
        labels: settings.selector_labels.join(", "),
    })
}

/// Why a workload cannot be rolled out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// Target and primary could not be told apart.
    #[error(
        "{object}: spec.selector.matchLabels has none of {labels}: add one of them, or name one that it has in --selector-labels"
    )]
    NoSelectorLabel {
        /// Kind and name.
        object: String,
        /// The labels looked for.
        labels: String,
    },
    /// A DaemonSet that does not replace its pods by itself.
    #[error("{object}: spec.updateStrategy.type is {found}: set it to RollingUpdate")]
    UpdateStrategy {
        /// Kind and name.
        object: String,
        /// The strategy found.
        found: String,
    },
    /// Something that the target needs is not there.
    #[error("{object} not found, but {user} uses it: {mend}")]
    Missing {
        /// Kind and name of what is missing.
        object: String,
        /// Who uses it.
        user: String,
        /// What to do.
        mend: &'static str,
    },
    /// A field that cannot be understood.
    #[error("{object}: {field} is missing or malformed: {mend}")]
    Malformed {
        /// Kind and name.
        object: String,
        /// Path of the field.
        field: &'static str,
        /// What to do.
        mend: &'static str,
    },
    /// The pods to be would not belong to the primary, and its selector cannot be changed.
    #[error(
        "{object}: spec.selector wants {key}={value}, which the pods of the promoted revision would not have: delete {object} while the target serves, or put the label back"
    )]
    SelectorChanged {
        /// Kind and name.
        object: String,
        /// Key of the label.
        key: String,
        /// The value that the selector wants.
        value: String,
    },
    /// The autoscaler of the primary would have no room.
    #[error(
        "autoscalerRef.primaryScalerReplicas: minReplicas {min} is above maxReplicas {max} of {object}: lower one or raise the other"
    )]
    ReplicaRange {
        /// Kind and name of the autoscaler to be made.
        object: String,
        /// Least replicas.
        min: i64,
        /// Most replicas.
        max: i64,
    },
}

fn describe(object: &Value) -> String {
    let field = |pointer| object.at(pointer).and_then(Value::as_str).unwrap_or("unnamed");
    match object.get("kind").and_then(Value::as_str) {
        Some(kind) => format!("{kind} {}", field("/metadata/name")),
        None => format!("target {}", field("/metadata/name")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::fixtures::Case;
    use super::*;

    fn target(labels: Value) -> Value {
        json!({"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": labels}}})
    }

    #[test]
    fn the_first_known_label_tells_target_and_primary_apart() {
        let settings = Settings::default();
        for (labels, expected) in [
            (json!({"app": "a"}), ("app", "a")),
            (json!({"app.kubernetes.io/name": "n", "app": "a"}), ("app", "a")),
            (json!({"app.kubernetes.io/name": "n", "name": "m"}), ("name", "m")),
            (json!({"app.kubernetes.io/name": "n", "tier": "web"}), ("app.kubernetes.io/name", "n")),
        ] {
            let found = selector(&target(labels), &settings).unwrap();
            assert_eq!((found.key.as_str(), found.value.as_str()), expected);
        }
    }

    #[test]
    fn a_target_without_a_known_label_is_told_the_labels_and_the_mend() {
        let error = selector(&target(json!({"tier": "web"})), &Settings::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Deployment web: spec.selector.matchLabels has none of app, name, app.kubernetes.io/name: add one of them, \
             or name one that it has in --selector-labels"
        );
    }

    #[test]
    fn only_a_daemon_set_that_rolls_its_pods_can_be_a_target() {
        let mut case = Case::daemon_set();
        case.target["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        let error = case.plan().unwrap_err();
        assert_eq!(
            error.to_string(),
            "DaemonSet podinfo: spec.updateStrategy.type is OnDelete: set it to RollingUpdate"
        );
    }

    #[test]
    fn a_target_without_a_template_is_an_error() {
        for template in [Value::Null, json!("x"), json!({"spec": []}), json!({})] {
            let mut case = Case::deployment();
            case.target["spec"]["template"] = template;
            assert!(matches!(case.plan(), Err(WorkloadError::Malformed { field: "spec.template.spec", .. })));
        }
    }
}
