//! Flux: a Kustomization.

use rollout::SourceSeen;
use serde_json::{Value, json};

use super::flux::{self, Progress};
use super::{Deployer, Sight, applied_by, label, place, text};
use crate::objects::{At, Kind};

const GROUP: &str = "kustomize.toolkit.fluxcd.io";
const KUSTOMIZATION: Kind = Kind { group: GROUP, version: "v1", kind: "Kustomization", plural: "kustomizations" };

pub(super) struct Kustomization;
pub(super) static DEPLOYER: Kustomization = Kustomization;

impl Deployer for Kustomization {
    fn value(&self) -> Option<&'static str> {
        Some("flux")
    }

    fn resources(&self) -> &'static [Kind] {
        &[KUSTOMIZATION, flux::GIT_REPOSITORY, flux::OCI_REPOSITORY, flux::BUCKET]
    }

    fn kept(&self, kind: &str) -> Option<&'static [&'static str]> {
        match kind {
            "Kustomization" => Some(&[
                "/spec/path",
                "/spec/suspend",
                "/spec/sourceRef",
                "/status/lastAppliedRevision",
                "/status/lastAppliedOriginRevision",
                "/status/lastAttemptedRevision",
                "/status/conditions",
            ]),
            _ => Some(flux::KEPT_OF_SOURCE),
        }
    }

    fn trace(&self, target: &Value, sight: &dyn Sight) -> Option<SourceSeen> {
        let name = label(target, "kustomize.toolkit.fluxcd.io/name")?;
        let namespace = label(target, "kustomize.toolkit.fluxcd.io/namespace")?;
        let object = sight.find(KUSTOMIZATION, namespace, name)?;
        let progress = flux::progress(&object);
        let applied = text(&object, "/status/lastAppliedRevision");
        let attempted = text(&object, "/status/lastAttemptedRevision");
        let (word, origin) = match progress {
            Progress::Done => (applied, text(&object, "/status/lastAppliedOriginRevision")),
            // What it tries is written down before it is applied.
            Progress::AtWork | Progress::Applied => (attempted.or(applied), None),
        };
        let mut source = flux::source(object.at("/spec/sourceRef")?, namespace, word, origin, sight);
        source.path = text(&object, "/spec/path").and_then(place::path);
        source.applied_by = Some(applied_by(KUSTOMIZATION, namespace, name));
        Some(SourceSeen { source, at_work: progress == Progress::AtWork })
    }

    fn head(&self, object: &Value, sight: &dyn Sight) -> Option<String> {
        flux::head(object.at("/spec/sourceRef")?, flux::namespace(object), sight)
    }

    fn secret(&self, object: &Value, sight: &dyn Sight) -> Option<(String, String)> {
        flux::secret(object.at("/spec/sourceRef")?, flux::namespace(object), sight)
    }

    fn is_suspended(&self, object: &Value) -> bool {
        object.at("/spec/suspend") == Some(&Value::Bool(true))
    }

    fn hold(&self, _: &Value) -> (Value, Option<String>) {
        (json!({ "spec": { "suspend": true } }), None)
    }

    fn lift(&self, _: Option<&str>) -> Value {
        json!({ "spec": { "suspend": null } })
    }
}
