//! The examples and guides of GitOps: an API server that refuses unknown fields takes the objects, Canaries are understood
//! without a warning, and guides lead to files that are there.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use sim::kinds::NAMESPACE;
use sim::{Cluster, RuntimeClock};

use crate::parse;

/// Groups of objects that other programs define, and no API server of these tests knows.
const OTHERS: [&str; 8] = [
    "argoproj.io",
    "gateway.networking.k8s.io",
    "helm.toolkit.fluxcd.io",
    "image.toolkit.fluxcd.io",
    "kustomize.config.k8s.io",
    "kustomize.toolkit.fluxcd.io",
    "notification.toolkit.fluxcd.io",
    "source.toolkit.fluxcd.io",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Names and texts of the files below a folder of the repository.
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|own| own == extension) {
                let name = path.strip_prefix(root()).expect("a file below the root").to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).expect("text")));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no .{extension} below {folder}");
    found
}

/// Documents of all examples, each with the name of its file.
fn documents() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (name, text) in files("examples/gitops", "yaml") {
        let parsed: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{name} is no YAML: {error}"));
        assert!(!parsed.is_empty(), "{name} says nothing");
        all.extend(parsed.into_iter().map(|document| (name.clone(), document)));
    }
    all
}

/// The definition of that kind of Serin's.
fn definition(kind: &str) -> Option<Value> {
    crds::all_crds().into_iter().find(|definition| definition["spec"]["names"]["kind"] == kind)
}

/// Whether the object can be looked at. What an example has ahead of its definition is taken out, and looked at as soon as
/// the definition is there.
fn is_defined(object: &mut Value) -> bool {
    match object["kind"].as_str() {
        Some("GitSource") => definition("GitSource").is_some(),
        Some("Canary") => {
            let canary = definition("Canary").expect("the definition of Canary");
            let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/git";
            if canary.pointer(spec).is_none() {
                object["spec"].as_object_mut().expect("a spec").remove("git");
            }
            true
        }
        _ => true,
    }
}

#[tokio::test]
async fn objects_are_taken_by_an_api_server_that_knows_every_field() {
    let cluster = Cluster::new(RuntimeClock::starting_at(Timestamp::UNIX_EPOCH));
    for definition in crds::all_crds() {
        cluster.apply_as("test", definition).expect("a definition");
    }
    let mut taken = 0;
    for (file, mut object) in documents() {
        let Some(api_version) = object["apiVersion"].as_str().map(str::to_owned) else { continue };
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        if OTHERS.contains(&group) || !is_defined(&mut object) {
            continue;
        }
        let kind = object["kind"].as_str().unwrap_or_default();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let api: Api<DynamicObject> = if kind == "Namespace" {
            Api::all_with(cluster.client(), &resource)
        } else {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("shop");
            if cluster.get(NAMESPACE, "", namespace).is_none() {
                let missing = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
                cluster.create("test", missing).expect("a namespace");
            }
            Api::namespaced_with(cluster.client(), namespace, &resource)
        };
        let strictly = PatchParams::apply("test").force().validation_strict().dry_run();
        let answer = api.patch(&name, &strictly, &Patch::Apply(&object)).await;
        answer.unwrap_or_else(|error| panic!("{file}: {name}: {error}"));
        taken += 1;
    }
    assert!(taken > 20, "only {taken} objects were looked at");
}

#[test]
fn canaries_are_understood_without_a_warning() {
    let canaries: Vec<_> = documents().into_iter().filter(|(_, object)| object["kind"] == "Canary").collect();
    assert!(canaries.len() >= 5, "{}", canaries.len());
    for (file, object) in &canaries {
        let spec = parse(file, object);
        assert!(spec.warnings.is_empty(), "{file}: {:?}", spec.warnings);
        assert!(!spec.metrics.is_empty(), "{file}: an example should judge by something");
    }
}

#[test]
fn kustomizations_name_files_that_are_there() {
    for (file, document) in documents().iter().filter(|(file, _)| file.ends_with("/kustomization.yaml")) {
        let folder = root().join(file).with_file_name("");
        for resource in document["resources"].as_array().expect("resources") {
            let path = folder.join(resource.as_str().expect("a path"));
            assert!(path.exists(), "{file} names {resource}, which is not there");
        }
    }
}

#[test]
fn guides_lead_to_what_is_there_and_to_every_example() {
    let mut reached = String::new();
    for (file, text) in files("docs/gitops", "md") {
        let folder = root().join(&file).with_file_name("");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || link.contains("://") {
                continue;
            }
            assert!(folder.join(path).exists(), "{file} links to {link}, which is not there");
            reached.push_str(path);
            reached.push('\n');
        }
    }
    for entry in std::fs::read_dir(root().join("examples/gitops")).expect("examples") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(reached.contains(&format!("examples/gitops/{name}")), "no guide leads to examples/gitops/{name}");
    }
}
