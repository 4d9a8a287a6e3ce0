//! What the API says about itself: versions, kinds, health.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::asked::text;
use crate::cluster::Cluster;
use crate::openapi;
use crate::path;
use crate::registry::{Registry, Resource, Version};
use crate::service::{ok, refusal};
use crate::status::Status;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Answers a path that names no objects.
pub(crate) fn answer(cluster: &Cluster, path: &str, headers: &HeaderMap) -> Response<Body> {
    let accept = text(headers, header::ACCEPT);
    let aggregated = accept.contains("as=APIGroupDiscoveryList") && accept.contains("v=v2");
    let state = cluster.lock();
    let registry = &state.registry;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["version"] => ok(&version()),
        ["healthz" | "readyz" | "livez", ..] => {
            let mut response = Response::new(Body::from("ok"));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            response
        }
        ["api"] if aggregated => aggregate(registry, true),
        ["apis"] if aggregated => aggregate(registry, false),
        ["api"] => ok(&json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443" }],
        })),
        ["apis"] => {
            let groups: Vec<Value> = groups(registry).iter().map(|group| group_of(registry, group)).collect();
            ok(&json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
        }
        ["apis", group] if groups(registry).iter().any(|known| known == group) => {
            let mut group = group_of(registry, group);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            ok(&group)
        }
        ["api", version] => resources(registry, "", version),
        ["apis", group, version] => resources(registry, group, version),
        ["openapi", "v3"] => ok(&openapi::index(&group_versions(registry), state.kinds_changed)),
        ["openapi", "v3", "api", version] => document(registry, "", version),
        ["openapi", "v3", "apis", group, version] => document(registry, group, version),
        [] => {
            let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
            paths.extend(group_versions(registry).iter().map(|(group, version)| format!("/apis/{group}/{version}")));
            ok(&json!({ "paths": paths }))
        }
        _ => refusal(&Status::no_such_path()),
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "in memory",
    })
}

fn document(registry: &Registry, group: &str, version: &str) -> Response<Body> {
    if !serves(registry, group, version) {
        return refusal(&Status::no_such_path());
    }
    ok(&openapi::document(registry, group, version))
}

/// Groups other than the core group.
fn groups(registry: &Registry) -> Vec<String> {
    let mut groups: Vec<String> = registry.all().map(|resource| resource.group.clone()).collect();
    groups.extend(["authentication.k8s.io", "authorization.k8s.io"].map(str::to_owned));
    groups.sort();
    groups.dedup();
    groups.retain(|group| !group.is_empty());
    groups
}

/// Versions of a group, most preferred first.
fn versions(registry: &Registry, group: &str) -> Vec<String> {
    let mut versions: Vec<String> = vec![];
    for resource in registry.all().filter(|resource| resource.group == group) {
        for version in resource.versions.iter().filter(|version| version.served) {
            if !versions.contains(&version.name) {
                versions.push(version.name.clone());
            }
        }
    }
    if versions.is_empty() && !path::reviews(group).is_empty() {
        versions.push("v1".to_owned());
    }
    versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
    versions
}

/// `v2` before `v1` before `v1beta2` before `v1alpha1`.
fn priority(version: &str) -> (u8, u32, u32) {
    let numbers = version.strip_prefix('v').unwrap_or(version);
    for (stage, word) in [(1, "beta"), (0, "alpha")] {
        if let Some((major, minor)) = numbers.split_once(word) {
            return (stage, major.parse().unwrap_or_default(), minor.parse().unwrap_or_default());
        }
    }
    (2, numbers.parse().unwrap_or_default(), 0)
}

fn group_versions(registry: &Registry) -> Vec<(String, String)> {
    let mut all = vec![(String::new(), "v1".to_owned())];
    for group in groups(registry) {
        all.extend(versions(registry, &group).into_iter().map(|version| (group.clone(), version)));
    }
    all
}

fn serves(registry: &Registry, group: &str, version: &str) -> bool {
    versions(registry, group).iter().any(|known| known == version)
}

fn group_of(registry: &Registry, group: &str) -> Value {
    let versions: Vec<Value> = versions(registry, group)
        .iter()
        .map(|version| json!({ "groupVersion": format!("{group}/{version}"), "version": version }))
        .collect();
    json!({ "name": group, "versions": versions, "preferredVersion": versions[0] })
}

fn served<'a>(
    registry: &'a Registry,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = (&'a Resource, &'a Version)> {
    registry.all().filter(move |resource| resource.group == group).filter_map(move |resource| {
        let version = resource.versions.iter().find(|known| known.name == version && known.served)?;
        Some((resource.as_ref(), version))
    })
}

fn resources(registry: &Registry, group: &str, version: &str) -> Response<Body> {
    if !serves(registry, group, version) {
        return refusal(&Status::no_such_path());
    }
    let mut resources = vec![];
    for (resource, served) in served(registry, group, version) {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": VERBS, "storageVersionHash": "",
        });
        for (field, names) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
            if !names.is_empty() {
                entry[field] = json!(names);
            }
        }
        resources.push(entry);
        for (name, kind, verbs) in subresources(resource, served) {
            let mut entry = json!({
                "name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "kind": kind, "verbs": verbs,
            });
            if name == "scale" {
                entry["group"] = "autoscaling".into();
                entry["version"] = "v1".into();
            }
            resources.push(entry);
        }
    }
    for (plural, kind) in path::reviews(group) {
        resources.push(json!({
            "name": plural, "singularName": kind.to_lowercase(), "namespaced": plural.starts_with("local"), "kind": kind,
            "verbs": ["create"],
        }));
    }
    let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ok(&json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources }))
}

fn subresources(resource: &Resource, version: &Version) -> Vec<(&'static str, String, Vec<&'static str>)> {
    let mut all = vec![];
    if version.status {
        all.push(("status", resource.kind.clone(), vec!["get", "patch", "update"]));
    }
    if version.scale.is_some() {
        all.push(("scale", "Scale".to_owned(), vec!["get", "patch", "update"]));
    }
    for action in path::actions(&resource.group, &resource.kind) {
        let (kind, verb) = match *action {
            "log" => ("Pod", "get"),
            "eviction" => ("Eviction", "create"),
            "binding" => ("Binding", "create"),
            "token" => ("TokenRequest", "create"),
            _ => (resource.kind.as_str(), "update"),
        };
        all.push((action, kind.to_owned(), vec![verb]));
    }
    all
}

/// All kinds in one answer.
fn aggregate(registry: &Registry, core: bool) -> Response<Body> {
    let groups = if core { vec![String::new()] } else { groups(registry) };
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let versions: Vec<Value> = versions(registry, group)
                .iter()
                .map(|version| json!({ "version": version, "freshness": "Current", "resources": aggregated(registry, group, version) }))
                .collect();
            let metadata = if core { json!({}) } else { json!({ "name": group }) };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    let list = json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items });
    let mut response = ok(&list);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
    *response.status_mut() = StatusCode::OK;
    response
}

fn aggregated(registry: &Registry, group: &str, version: &str) -> Vec<Value> {
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let mut all: Vec<Value> = served(registry, group, version)
        .map(|(resource, served)| {
            let subresources: Vec<Value> = subresources(resource, served)
                .into_iter()
                .map(|(name, kind, verbs)| {
                    let kind = if name == "scale" {
                        json!({ "group": "autoscaling", "version": "v1", "kind": kind })
                    } else {
                        response_kind(resource, version, &kind)
                    };
                    json!({ "subresource": name, "responseKind": kind, "verbs": verbs })
                })
                .collect();
            let mut entry = json!({
                "resource": resource.plural, "scope": scope(resource.namespaced), "singularResource": resource.singular,
                "responseKind": response_kind(resource, version, &resource.kind), "verbs": VERBS,
            });
            for (field, names) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
                if !names.is_empty() {
                    entry[field] = json!(names);
                }
            }
            if !subresources.is_empty() {
                entry["subresources"] = Value::Array(subresources);
            }
            entry
        })
        .collect();
    all.extend(path::reviews(group).iter().map(|(plural, kind)| {
        json!({
            "resource": plural, "scope": scope(plural.starts_with("local")), "singularResource": kind.to_lowercase(),
            "responseKind": { "group": "", "version": "", "kind": kind }, "verbs": ["create"],
        })
    }));
    all
}

/// Built-in kinds leave out what is said above them already.
fn response_kind(resource: &Resource, version: &str, kind: &str) -> Value {
    let (group, version) = if resource.custom { (resource.group.as_str(), version) } else { ("", "") };
    json!({ "group": group, "version": version, "kind": kind })
}
