//! Routers: desired objects out, observed split in. No client: a router is tested by YAML in, YAML out.

use std::collections::BTreeMap;

pub use rollout::Cookies;
pub use rollout::desired::Intent;
use rollout::spec::{RouterAbility, Spec};
use serde_json::{Value, json};

use crate::objects::{Desired, Kind, Lookup, Owner};

macro_rules! routers {
    ($($module:ident),+ $(,)?) => {
        $(mod $module;)+
        /// Every router Serin knows.
        pub static ROUTERS: &[&dyn Router] = &[$(&$module::ROUTER),+];
    };
}

routers! { gatewayapi, kubernetes, nginx, traefik }

/// One way to steer traffic.
pub trait Router: Send + Sync {
    /// The names this router answers to in `spec.provider`, with what it can do.
    fn abilities(&self) -> &'static [RouterAbility];

    /// The kinds it reads (`false`) or writes (`true`) under the given name; watches and RBAC derive from this.
    fn resources(&self, provider: &str) -> Vec<(Kind, bool)>;

    /// The objects that make `route.intent` true. Errors name the object and the mend.
    fn render(&self, route: &Route<'_>, current: &dyn Lookup) -> Result<Vec<Desired>, RouteError>;

    /// The split that the objects express now; what the data plane has not accepted yet is [`Observed::Pending`].
    fn observe(&self, route: &Route<'_>, current: &dyn Lookup) -> Result<Observed, RouteError>;

    /// What to write when the Canary is deleted with `revertOnDeletion`.
    fn finalize(&self, _route: &Route<'_>, _current: &dyn Lookup) -> Result<Vec<Desired>, RouteError> {
        Ok(Vec::new())
    }

    /// What makes the routes send to the apex Service and belong to `heir` (an owner reference), so that users reach the
    /// target when the Canary is gone. Empty where no route of Serin's stands between users and that Service.
    fn hand_over(&self, _route: &Route<'_>, _current: &dyn Lookup, _heir: &Value) -> Result<Vec<Desired>, RouteError> {
        Ok(Vec::new())
    }
}

/// All that a router may know.
pub struct Route<'a> {
    /// Owner of what is rendered.
    pub owner: &'a Owner,
    /// The parsed Canary.
    pub spec: &'a Spec,
    /// What the state wants.
    pub intent: &'a Intent,
    /// Annotation prefix of the NGINX Ingress controller, `nginx.ingress.kubernetes.io` unless set otherwise.
    pub ingress_annotations_prefix: &'a str,
    /// Ingress class to set on copies, when given.
    pub ingress_class: Option<&'a str>,
}

impl Route<'_> {
    /// Name of the Service that users know, and of most routing objects.
    pub fn apex_name(&self) -> &str {
        &self.spec.service_name
    }

    /// Name of the Service in front of the primary.
    pub fn primary_name(&self) -> String {
        format!("{}-primary", self.spec.service_name)
    }

    /// Name of the Service in front of the canary.
    pub fn canary_name(&self) -> String {
        format!("{}-canary", self.spec.service_name)
    }

    /// Percent that the intent wants on the canary.
    fn canary_weight(&self) -> u8 {
        self.intent.canary_weight.min(100)
    }

    /// Percent that the intent wants on the copy of the primary.
    fn baseline_weight(&self) -> u8 {
        self.intent.baseline_weight.min(100 - self.canary_weight())
    }

    /// The metadata of an object of that name: the labels and annotations that Serin owns (Flux is told to leave the
    /// object alone) and the owner. An object that somebody else made stays theirs, so that deleting the Canary
    /// does not delete it.
    fn metadata(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        mut annotations: BTreeMap<String, String>,
        live: Option<&Value>,
    ) -> Value {
        annotations.extend(FLUX_OPT_OUTS.map(|key| (key.to_owned(), "disabled".to_owned())));
        let mut metadata = json!({ "name": name, "namespace": self.owner.namespace, "annotations": annotations });
        // An empty object would mean that nobody else may have labels there.
        if !labels.is_empty() {
            metadata["labels"] = json!(labels);
        }
        match live {
            None => metadata["ownerReferences"] = json!([self.owner.reference()]),
            // All references as they are: leaving one out would give it up, and a shorter list would never cover.
            Some(live) if self.owner.controls(live) => {
                metadata["ownerReferences"] = live["metadata"]["ownerReferences"].clone();
            }
            Some(_) => {}
        }
        metadata
    }

    /// Makes `heir` the owner of what the Canary, or already the heir, owns.
    fn bequeath(&self, metadata: &mut Value, live: &Value, heir: &Value) {
        let owners = live.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let inherited = owners.into_iter().flatten().any(|owner| owner["uid"] == heir["uid"]);
        if inherited || self.owner.controls(live) {
            metadata["ownerReferences"] = json!([heir]);
        }
    }

    /// Labels and annotations of `spec.service.apex`.
    fn apex_metadata(&self) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let Some(apex) = &self.spec.service.apex else { return Default::default() };
        (apex.labels.clone(), apex.annotations.clone())
    }
}

/// Flux neither reconciles nor corrects objects with these.
const FLUX_OPT_OUTS: [&str; 2] = ["helm.toolkit.fluxcd.io/driftDetection", "kustomize.toolkit.fluxcd.io/reconcile"];

/// The part of `canary` (or of the baseline) of `total` in percent; 0 and 100 only when it is exactly none or all.
fn percent(canary: u64, total: u64) -> u8 {
    if canary == 0 || total == 0 {
        return 0;
    }
    if canary >= total {
        return 100;
    }
    let rounded = (u128::from(canary) * 100 + u128::from(total) / 2) / u128::from(total);
    u8::try_from(rounded.clamp(1, 99)).unwrap_or(99)
}

/// What a router saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The split in force.
    Split {
        /// Percent for the canary.
        canary_weight: u8,
        /// Percent for the copy of the primary that it is compared with.
        baseline_weight: u8,
        /// The canary gets a copy.
        mirrored: bool,
    },
    /// Written, but not in force yet; with the reason, for people.
    Pending(String),
    /// There is no route yet.
    Missing,
}

/// Why a route cannot be rendered or read.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// An object that the user must provide is not there.
    #[error("{kind} {name} not found: {mend}")]
    Missing {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What to do.
        mend: String,
    },
    /// A field of the Canary does not fit this router.
    #[error("{field}: {why}")]
    Field {
        /// Path in the Canary.
        field: String,
        /// What is wrong and what to do.
        why: String,
    },
}

/// The router of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Router> {
    ROUTERS.iter().copied().find(|router| router.abilities().iter().any(|ability| ability.name == name))
}
