//! OpenAPI v3: the schemas, and of the paths as much as clients look for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::registry::{Registry, Resource, Version};
use crate::schema::builtin;

/// Which documents there are.
pub(crate) fn index(group_versions: &[(String, String)], kinds_changed: u64) -> Value {
    let mut paths = Map::new();
    for (group, version) in group_versions {
        let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
        let address = format!("/openapi/v3/{path}?hash={kinds_changed}");
        paths.insert(path, json!({ "serverRelativeURL": address }));
    }
    json!({ "paths": paths })
}

/// The document of one group and version.
pub(crate) fn document(registry: &Registry, group: &str, version: &str) -> Value {
    let mut schemas = BTreeMap::new();
    let mut paths = Map::new();
    for resource in registry.all().filter(|resource| resource.group == group) {
        let Some(version) = resource.versions.iter().find(|known| known.name == version && known.served) else {
            continue;
        };
        describe(resource, version, &mut schemas);
        for (path, item) in paths_of(resource, version) {
            paths.insert(path, item);
        }
    }
    json!({
        "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1.36.3" }, "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn describe(resource: &Resource, version: &Version, schemas: &mut BTreeMap<String, Value>) {
    if let Value::String(definition) = &*version.raw {
        collect(definition, schemas);
        return;
    }
    let mut schema = Value::clone(&version.raw);
    let metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    collect(metadata, schemas);
    schema["properties"]["apiVersion"] = json!({ "type": "string" });
    schema["properties"]["kind"] = json!({ "type": "string" });
    schema["properties"]["metadata"] = json!({ "allOf": [{ "$ref": format!("#/components/schemas/{metadata}") }] });
    schema["x-kubernetes-group-version-kind"] = json!([kind_of(resource, version)]);
    let group: Vec<&str> = resource.group.split('.').rev().collect();
    schemas.insert(format!("{}.{}.{}", group.join("."), version.name, resource.kind), schema);
}

/// A definition and all that it refers to.
fn collect(name: &str, schemas: &mut BTreeMap<String, Value>) {
    if schemas.contains_key(name) {
        return;
    }
    let Some(definition) = builtin::definitions().get(name) else { return };
    let mut referred = vec![];
    let shown = shown(definition, &mut referred);
    schemas.insert(name.to_owned(), shown);
    for name in referred {
        collect(&name, schemas);
    }
}

/// A definition as clients read it: full references, and what stands beside one in the same place beside `allOf`.
fn shown(value: &Value, referred: &mut Vec<String>) -> Value {
    match value {
        Value::Object(fields) => {
            let mut written: Map<String, Value> = fields
                .iter()
                .filter(|(name, _)| name.as_str() != "x-omit")
                .map(|(name, value)| (name.clone(), shown(value, referred)))
                .collect();
            if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                referred.push(name.to_owned());
                let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
                if written.len() == 1 {
                    return reference;
                }
                written.remove("$ref");
                written.insert("allOf".to_owned(), json!([reference]));
            }
            Value::Object(written)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| shown(item, referred)).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn kind_of(resource: &Resource, version: &Version) -> Value {
    json!({ "group": resource.group, "version": version.name, "kind": resource.kind })
}

fn paths_of(resource: &Resource, version: &Version) -> Vec<(String, Value)> {
    let start = if resource.group.is_empty() {
        format!("/api/{}", version.name)
    } else {
        format!("/apis/{}/{}", resource.group, version.name)
    };
    let inside = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{start}{inside}/{}", resource.plural);
    let kind = kind_of(resource, version);
    let operation = |action: &str, parameters: &[&str]| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string" } }))
            .collect();
        json!({
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind, "parameters": parameters,
            "responses": { "200": { "description": "OK" } },
        })
    };
    let writing = ["dryRun", "fieldManager", "fieldValidation"];
    let patching = ["dryRun", "fieldManager", "fieldValidation", "force"];
    vec![
        (
            format!("{collection}/{{name}}"),
            json!({
                "get": operation("get", &[]), "put": operation("put", &writing), "patch": operation("patch", &patching),
                "delete": operation("delete", &["dryRun"]),
            }),
        ),
        (collection, json!({ "get": operation("list", &[]), "post": operation("post", &writing) })),
    ]
}
