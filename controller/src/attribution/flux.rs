//! What the kinds of Flux share: sources, revisions, and whether an object is being worked on.

use crds::Source;
use serde_json::Value;

use super::{Sight, owned, place, text};
use crate::objects::Kind;

pub(super) const SOURCE_GROUP: &str = "source.toolkit.fluxcd.io";
pub(super) const GIT_REPOSITORY: Kind =
    Kind { group: SOURCE_GROUP, version: "v1", kind: "GitRepository", plural: "gitrepositories" };
pub(super) const OCI_REPOSITORY: Kind =
    Kind { group: SOURCE_GROUP, version: "v1", kind: "OCIRepository", plural: "ocirepositories" };
pub(super) const BUCKET: Kind = Kind { group: SOURCE_GROUP, version: "v1", kind: "Bucket", plural: "buckets" };

/// What is kept of a source.
pub(super) const KEPT_OF_SOURCE: &[&str] = &[
    "/spec/url",
    "/spec/ref",
    "/spec/endpoint",
    "/spec/bucketName",
    "/status/artifact/revision",
    "/status/artifact/metadata",
];

/// Where what has this revision comes from: repository, branch or tag, and commit. `origin` is the revision that the operator
/// names as the one an artifact was built from.
pub(super) fn source(
    reference: &Value,
    namespace: &str,
    word: Option<&str>,
    origin: Option<&str>,
    sight: &dyn Sight,
) -> Source {
    let (kind, name) = (text(reference, "/kind").unwrap_or_default(), text(reference, "/name").unwrap_or_default());
    let namespace = text(reference, "/namespace").unwrap_or(namespace);
    let mut source = Source { revision: word.map(str::to_owned), ..Source::default() };
    match kind {
        "GitRepository" => {
            let object = sight.find(GIT_REPOSITORY, namespace, name);
            if let Some(object) = &object {
                source.repository = text(object, "/spec/url").and_then(place::repository);
            }
            let (named, commit) = word.map(place::revision).unwrap_or_default();
            source.commit = commit.map(str::to_owned);
            let reference = object.as_ref().and_then(|object| object.pointer("/spec/ref"));
            let is_tag = reference
                .is_some_and(|reference| ["/tag", "/semver"].iter().any(|field| text(reference, field).is_some()));
            let branch = reference.and_then(|reference| owned(reference, "/branch"));
            let named = named.map(str::to_owned);
            if is_tag {
                source.tag = named;
            } else {
                source.branch = branch.or(named);
            }
        }
        "OCIRepository" => {
            let Some(object) = sight.find(OCI_REPOSITORY, namespace, name) else { return source };
            source.repository = text(&object, "/spec/url").and_then(place::repository);
            source.tag = owned(&object, "/spec/ref/tag");
            // What the artifact says of itself counts only while it is this one.
            let same = word.is_some() && text(&object, "/status/artifact/revision") == word;
            let says = |name: &str| object.pointer("/status/artifact/metadata")?.get(name)?.as_str().filter(|_| same);
            if let Some(repository) = says("org.opencontainers.image.source").and_then(place::repository) {
                source.repository = Some(repository);
                source.tag = None;
            }
            let built = says("org.opencontainers.image.revision").or(origin);
            let (named, commit) = built.map(place::revision).unwrap_or_default();
            source.commit = commit.map(str::to_owned);
            source.branch = named.map(str::to_owned);
        }
        "Bucket" => {
            let Some(object) = sight.find(BUCKET, namespace, name) else { return source };
            let place = text(&object, "/spec/endpoint").zip(text(&object, "/spec/bucketName"));
            source.repository = place.and_then(|(endpoint, bucket)| place::repository(&format!("{endpoint}/{bucket}")));
        }
        _ => {}
    }
    source
}

/// How far an operator has come with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is at rest.
    Done,
    /// It is at work, or did not succeed: what it tries may stand in the cluster or not.
    AtWork,
    /// What it tries stands in the cluster; it waits for pods, or waited in vain.
    Applied,
}

/// Out of the conditions of the object.
pub(super) fn progress(object: &Value) -> Progress {
    let condition = |name: &str| {
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        conditions.into_iter().find(|condition| condition["type"] == name)
    };
    let reconciling = condition("Reconciling").filter(|condition| condition["status"] == "True");
    let ready = condition("Ready");
    if reconciling.is_some_and(|condition| condition["message"] == HEALTH) {
        return Progress::Applied;
    }
    match ready.map(|ready| (ready["status"].as_str(), ready["reason"].as_str())) {
        Some((Some("True"), _)) if reconciling.is_none() => Progress::Done,
        Some((Some("False"), Some("HealthCheckFailed"))) => Progress::Applied,
        Some(_) | None => Progress::AtWork,
    }
}

const HEALTH: &str = "Running health";

/// Of the message of a condition only that is kept which tells that pods are waited for: it changes several times in each
/// round, and every change would be a look at the Canary.
pub(super) fn thin_condition(condition: &mut Value) {
    let waits = condition["message"].as_str().is_some_and(|message| message.starts_with(HEALTH));
    if let Some(fields) = condition.as_object_mut() {
        fields.retain(|key, _| matches!(key.as_str(), "type" | "status" | "reason"));
        if waits {
            fields.insert("message".into(), HEALTH.into());
        }
    }
}
