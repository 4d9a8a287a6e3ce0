//! The schemas of the built-in kinds: `kubernetes.json`, taken from the OpenAPI document of Kubernetes 1.36. `x-omit`
//! marks fields that the server does not store when they are empty, after the types of `k8s.io/api`.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::{Schema, Shape, parse};

const TEXT: &str = include_str!("kubernetes.json");
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

struct Facts {
    definitions: BTreeMap<String, Value>,
    schemas: BTreeMap<String, Arc<Schema>>,
    /// Definition by group, version and kind.
    kinds: BTreeMap<(String, String, String), String>,
}

/// Name of the definition of a kind; empty when there is none.
pub(crate) fn definition(group: &str, version: &str, kind: &str) -> &'static str {
    facts().kinds.get(&(group.to_owned(), version.to_owned(), kind.to_owned())).map_or("", String::as_str)
}

/// The schema of a definition; anything goes when there is none of that name.
pub(crate) fn schema(definition: &str) -> Arc<Schema> {
    facts().schemas.get(definition).cloned().unwrap_or_else(Schema::unspecified)
}

/// The schema of `metadata`.
pub(crate) fn metadata() -> Arc<Schema> {
    schema(META)
}

/// All definitions as OpenAPI has them.
pub(crate) fn definitions() -> &'static BTreeMap<String, Value> {
    &facts().definitions
}

/// Parsing takes milliseconds and always gives the same, so it is done once.
fn facts() -> &'static Facts {
    static FACTS: OnceLock<Facts> = OnceLock::new();
    FACTS.get_or_init(|| {
        let definitions: BTreeMap<String, Value> =
            serde_json::from_str(TEXT).expect("kubernetes.json is part of this program and is JSON");
        let mut schemas = BTreeMap::new();
        for name in definitions.keys() {
            resolve(name, &definitions, &mut schemas, &mut vec![]);
        }
        let mut kinds = BTreeMap::new();
        for (name, definition) in &definitions {
            let Some(list) = definition["x-kubernetes-group-version-kind"].as_array() else { continue };
            for kind in list {
                let text = |field: &str| kind[field].as_str().unwrap_or_default().to_owned();
                kinds.insert((text("group"), text("version"), text("kind")), name.clone());
            }
        }
        Facts { definitions, schemas, kinds }
    })
}

fn resolve(
    name: &str,
    definitions: &BTreeMap<String, Value>,
    done: &mut BTreeMap<String, Arc<Schema>>,
    under_way: &mut Vec<String>,
) -> Arc<Schema> {
    if let Some(schema) = done.get(name) {
        return schema.clone();
    }
    // Only the schemas of schemas refer to themselves; those are kept as they are written.
    let short = name.rsplit('.').next().unwrap_or_default();
    let free = ["JSONSchemaProps", "RawExtension", "FieldsV1", "JSON"].contains(&short);
    if free || under_way.iter().any(|above| above == name) {
        return Schema::unspecified();
    }
    let Some(definition) = definitions.get(name) else { return Schema::unspecified() };
    under_way.push(name.to_owned());
    let mut nested = |name: &str| resolve(name, definitions, done, under_way);
    let mut schema = parse(definition, &mut nested);
    under_way.pop();
    match short {
        "IntOrString" | "Quantity" => schema = Schema { shape: Shape::IntOrString, ..Schema::default() },
        _ => {}
    }
    let schema = Arc::new(schema);
    done.insert(name.to_owned(), schema.clone());
    schema
}

#[cfg(test)]
mod tests {
    use super::super::ListKind;
    use super::*;

    #[test]
    fn containers_are_known_by_name_and_ports_by_port_and_protocol() {
        let deployment = schema(definition("apps", "v1", "Deployment"));
        let mut at = deployment;
        for field in ["spec", "template", "spec", "containers"] {
            at = at.field(field).unwrap().clone();
        }
        assert_eq!(at.list, ListKind::Map(vec!["name".to_owned()]));
        assert_eq!(at.strategy.merge_key.as_deref(), Some("name"));
        let ports = at.items.clone().unwrap().field("ports").unwrap().clone();
        assert_eq!(ports.list, ListKind::Map(vec!["containerPort".to_owned(), "protocol".to_owned()]));
        assert_eq!(ports.strategy.merge_key.as_deref(), Some("containerPort"));
    }
}
