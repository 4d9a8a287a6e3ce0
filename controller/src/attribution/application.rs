//! Argo CD: an Application, of one source or several.

use crds::Source;
use rollout::SourceSeen;
use serde_json::{Value, json};

use super::{DEFAULT_BRANCH, Deployer, Sight, annotation, applied_by, label, owned, place, text};
use crate::objects::{At, Kind};

pub(super) const GROUP: &str = "argoproj.io";
const APPLICATION: Kind = Kind { group: GROUP, version: "v1alpha1", kind: "Application", plural: "applications" };

/// Where Argo CD and the Applications that name no namespace live.
const NAMESPACE: &str = "argocd";

pub(super) struct Application;
pub(super) static DEPLOYER: Application = Application;

impl Deployer for Application {
    fn value(&self) -> Option<&'static str> {
        Some("argocd")
    }

    fn resources(&self) -> &'static [Kind] {
        &[APPLICATION]
    }

    fn kept(&self, kind: &str) -> Option<&'static [&'static str]> {
        match kind {
            "Application" => Some(&[
                "/operation/initiatedBy",
                "/spec/source",
                "/spec/sources",
                "/spec/syncPolicy/automated",
                "/status/history",
                "/status/operationState/phase",
                "/status/operationState/syncResult/revision",
                "/status/operationState/syncResult/revisions",
                "/status/sync/status",
                "/status/sync/revision",
                "/status/sync/revisions",
            ]),
            _ => None,
        }
    }

    fn trace(&self, target: &Value, sight: &dyn Sight) -> Option<SourceSeen> {
        let (namespace, name) = named(target)?;
        let application = sight.find(APPLICATION, namespace, name)?;
        let (revisions, at_work) = applied(&application);
        let mut source = git_source(&sources(&application), &revisions);
        source.revision = (!revisions.is_empty()).then(|| revisions.join(", "));
        source.applied_by = Some(applied_by(APPLICATION, namespace, name));
        Some(SourceSeen { source, at_work })
    }

    /// What was compared last; it is compared whether it is applied or not.
    fn head(&self, object: &Value, _: &dyn Sight) -> Option<String> {
        let compared = object.at("/status/sync").map(revisions)?;
        git_source(&sources(object), &compared).commit
    }

    fn is_suspended(&self, object: &Value) -> bool {
        let automated = object.at("/spec/syncPolicy/automated");
        automated.is_none_or(|automated| !automated.is_object() || automated["enabled"] == Value::Bool(false))
    }

    fn hold(&self, object: &Value) -> (Value, Option<String>) {
        let automated = object.at("/spec/syncPolicy/automated").cloned().unwrap_or_default();
        (json!({ "spec": { "syncPolicy": { "automated": null } } }), Some(automated.to_string()))
    }

    fn lift(&self, kept: Option<&str>) -> Value {
        let kept: Option<Value> = kept.and_then(|kept| serde_json::from_str(kept).ok());
        json!({ "spec": { "syncPolicy": { "automated": kept.unwrap_or_else(|| json!({})) } } })
    }

    /// Its credentials are Argo CD's own, kept in Secrets that are found by the URL in them: see `git_rollback`.
    fn secret(&self, _: &Value, _: &dyn Sight) -> Option<(String, String)> {
        None
    }
}

fn sources(application: &Value) -> Vec<&Value> {
    match application.at("/spec/sources").and_then(Value::as_array) {
        Some(sources) if !sources.is_empty() => sources.iter().collect(),
        Some(_) | None => application.at("/spec/source").into_iter().collect(),
    }
}

/// The Application that has applied the target. `app:apps/Deployment:shop/web` is believed only of the object that it names,
/// because copies of the object carry it too; an Application of another namespace is written as `namespace_app`.
fn named(target: &Value) -> Option<(&str, &str)> {
    let instance = match annotation(target, "argocd.argoproj.io/tracking-id") {
        Some(id) => {
            let (application, rest) = id.split_once(':')?;
            let (_, object) = rest.split_once(':')?;
            let own = text(target, "/metadata/name").unwrap_or_default();
            let (_, name) = object.split_once('/')?;
            if name != own {
                return None;
            }
            application
        }
        None => label(target, "argocd.argoproj.io/instance").or_else(|| label(target, "app.kubernetes.io/instance"))?,
    };
    Some(instance.split_once('_').unwrap_or((NAMESPACE, instance)))
}

/// The revisions of the last synchronization, one for each source, and whether it is not certain to stand in the cluster.
/// `status.sync` tells what was compared, which may be newer than what was applied.
fn applied(application: &Value) -> (Vec<String>, bool) {
    let last = application.at("/status/operationState/syncResult").map(revisions).unwrap_or_default();
    let asked = application.at("/operation").is_some();
    match text(application, "/status/operationState/phase") {
        Some("Succeeded") if !last.is_empty() => (last, asked),
        Some(_) if !last.is_empty() => (last, true),
        Some(_) | None => {
            let newest = application.at("/status/history").and_then(Value::as_array).and_then(|all| all.last());
            let newest = newest.map(revisions).unwrap_or_default();
            if newest.is_empty() && text(application, "/status/sync/status") == Some("Synced") {
                return (application.at("/status/sync").map(revisions).unwrap_or_default(), asked);
            }
            (newest, asked)
        }
    }
}

fn revisions(place: &Value) -> Vec<String> {
    let several = place["revisions"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let several: Vec<String> = several.filter(|revision| !revision.is_empty()).map(str::to_owned).collect();
    if several.is_empty() { owned(place, "/revision").into_iter().collect() } else { several }
}

/// Of several sources the one that is changed by commits: the first of Git that has a path, or else one that holds values.
fn git_source(sources: &[&Value], revisions: &[String]) -> Source {
    let pairs = || sources.iter().zip(revisions.iter().map(Some).chain(std::iter::repeat(None)));
    let is_git = |source: &Value, revision: Option<&String>| {
        text(source, "/chart").is_none() && revision.is_none_or(|revision| place::is_commit(revision))
    };
    let chosen = pairs()
        .find(|(source, revision)| is_git(source, *revision) && text(source, "/path").is_some())
        .or_else(|| pairs().find(|(source, revision)| is_git(source, *revision)))
        .or_else(|| pairs().next());
    let Some((source, revision)) = chosen else { return Source::default() };
    let git = is_git(source, revision);
    let follows = owned(source, "/targetRevision").or_else(|| git.then(|| DEFAULT_BRANCH.to_owned()));
    let follows = follows.filter(|follows| !place::is_commit(follows));
    let tag = follows.as_deref().is_some_and(|follows| !git || follows.starts_with("refs/tags/") || is_version(follows));
    let (branch, tag) = if tag { (None, follows) } else { (follows, None) };
    Source {
        repository: text(source, "/repoURL").and_then(place::repository),
        branch: branch.map(|branch| branch.trim_start_matches("refs/heads/").to_owned()),
        tag: tag.map(|tag| tag.trim_start_matches("refs/tags/").to_owned()),
        path: text(source, "/path").and_then(place::path),
        commit: revision.filter(|_| git).filter(|revision| place::is_commit(revision)).cloned(),
        ..Source::default()
    }
}

/// `v1.2.3`, `1.2.*` and the like, which Argo CD looks for among tags.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    text.starts_with(|letter: char| letter.is_ascii_digit() || "^~<>=".contains(letter)) && text.contains('.')
}
