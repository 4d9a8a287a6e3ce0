//! What people and pipelines do to the cluster while a scenario plays.

use std::collections::BTreeMap;

use controller::command::{self, Verb};
use controller::image::parts;
use serde_json::{Value, json};
use sim::Cluster;
use sim::Kind;

use super::scenario::ScenarioError;

const WORKLOADS: [&str; 2] = ["Deployment", "DaemonSet"];

/// Gives the workload's container a new image: the one of the same repository, or the only one.
pub(crate) fn set_image(cluster: &Cluster, namespace: &str, workload: &str, image: &str) -> Result<(), ScenarioError> {
    let found = WORKLOADS.into_iter().find_map(|kind| {
        let kind = Kind { group: "apps", kind };
        cluster.get(kind, namespace, workload).map(|object| (kind, object))
    });
    let Some((kind, object)) = found else {
        return Err(unknown(cluster, namespace, workload));
    };
    let containers = object["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let wanted = parts(image).repository;
    let same = |container: &&Value| parts(container["image"].as_str().unwrap_or_default()).repository == wanted;
    let container = containers.iter().find(same).or_else(|| containers.first().filter(|_| containers.len() == 1));
    let Some(container) = container else {
        let images: Vec<&str> = containers.iter().filter_map(|container| container["image"].as_str()).collect();
        let why =
            format!("image {image}: none of the containers of {workload} has it; theirs are {}", images.join(", "));
        return Err(ScenarioError::Stage(why));
    };
    let change = json!({
        "apiVersion": object["apiVersion"], "kind": kind.kind,
        "metadata": { "name": workload, "namespace": namespace },
        "spec": { "template": { "spec": { "containers": [{ "name": container["name"], "image": image }] } } },
    });
    cluster
        .apply_as("pipeline", change)
        .map(drop)
        .map_err(|status| ScenarioError::Stage(format!("setting the image of {workload}: {status}")))
}

/// Sets annotations of the workload, and takes off those without a value.
pub(crate) fn annotate(
    cluster: &Cluster,
    namespace: &str,
    workload: &str,
    annotations: &BTreeMap<String, Option<String>>,
) -> Result<(), ScenarioError> {
    let kinds = WORKLOADS.into_iter().map(|kind| Kind { group: "apps", kind });
    let Some(kind) = kinds.into_iter().find(|kind| cluster.get(*kind, namespace, workload).is_some()) else {
        return Err(unknown(cluster, namespace, workload));
    };
    let patch = json!({ "metadata": { "annotations": annotations } });
    cluster
        .patch("pipeline", kind, namespace, workload, patch)
        .map(drop)
        .map_err(|status| ScenarioError::Stage(format!("annotating {workload}: {status}")))
}

/// Deletes `Kind/name`.
pub(crate) fn delete(cluster: &Cluster, namespace: &str, object: &str) -> Result<(), ScenarioError> {
    let (kind, name) = named(object)?;
    cluster.delete(kind, namespace, name).map_err(|status| ScenarioError::Stage(format!("deleting {object}: {status}")))
}

/// Kind and name of `Kind/name`.
pub(crate) fn named(object: &str) -> Result<(Kind<'static>, &str), ScenarioError> {
    const KINDS: [(&str, &str); 6] = [
        ("flagger.app", "Canary"),
        ("flagger.app", "MetricTemplate"),
        ("serin.dev", "CanaryTemplate"),
        ("apps", "Deployment"),
        ("apps", "DaemonSet"),
        ("", "Service"),
    ];
    let named = object.split_once('/').and_then(|(wanted, name)| {
        KINDS.iter().find(|(_, kind)| *kind == wanted).map(|(group, kind)| (Kind { group, kind }, name))
    });
    named.ok_or_else(|| {
        let known = KINDS.map(|(_, kind)| kind).join(", ");
        ScenarioError::Stage(format!("object {object:?}: write Kind/name; known kinds are {known}"))
    })
}

/// Gives a Canary a command, as the command line does.
pub(crate) fn command(cluster: &Cluster, namespace: &str, canary: &str, word: &str) -> Result<(), ScenarioError> {
    let Some(verb) = Verb::of(word) else {
        let known: Vec<&str> = Verb::ALL.iter().map(|verb| verb.as_str()).collect();
        let why = format!("command {word:?} is not known; known: {}", known.join(", "));
        return Err(ScenarioError::Stage(why));
    };
    let patch = command::written(verb, &command::random_id(), "scenario");
    cluster
        .patch("serin-cli", super::CANARY, namespace, canary, patch)
        .map(drop)
        .map_err(|status| ScenarioError::Stage(format!("telling {canary} to {word}: {status}")))
}

fn unknown(cluster: &Cluster, namespace: &str, workload: &str) -> ScenarioError {
    let all = WORKLOADS.into_iter().flat_map(|kind| cluster.list(Kind { group: "apps", kind }, namespace));
    let known: Vec<String> = all.filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect();
    ScenarioError::Stage(format!(
        "image of {workload}: there is no Deployment or DaemonSet of that name in {namespace}; there are {}",
        known.join(", ")
    ))
}
