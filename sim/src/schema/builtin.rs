//! The schemas of the built-in kinds: `kubernetes.json`, taken from the OpenAPI document of Kubernetes 1.36. `x-omit`
//! marks fields that the server does not store when they are empty, after the types of `k8s.io/api`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Schema, Shape, parse};

const TEXT: &str = include_str!("kubernetes.json");
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Definitions by name, each as it is written: few are ever needed.
type Texts = BTreeMap<&'static str, &'static RawValue>;

static TEXTS: LazyLock<Texts> =
    LazyLock::new(|| serde_json::from_str(TEXT).expect("kubernetes.json is part of this program and is JSON"));

/// What a definition says of itself.
#[derive(Deserialize)]
struct Stated {
    #[serde(rename = "x-kubernetes-group-version-kind", default)]
    kinds: Vec<Stands>,
}

#[derive(Deserialize)]
struct Stands {
    group: String,
    version: String,
    kind: String,
}

/// Name of the definition of a kind; empty when there is none.
pub(crate) fn definition(group: &str, version: &str, kind: &str) -> &'static str {
    let is = |text: &RawValue| {
        let stated: Option<Stated> = serde_json::from_str(text.get()).ok();
        let kinds = stated.map(|stated| stated.kinds).unwrap_or_default();
        kinds.iter().any(|own| own.group == group && own.version == version && own.kind == kind)
    };
    // Their names end so; most need not be read to be told apart.
    let ending = format!(".{version}.{kind}");
    let found = TEXTS.iter().find(|(name, text)| name.ends_with(&ending) && is(text));
    found.map_or("", |(name, _)| name)
}

/// The schema of a definition; anything goes when there is none of that name.
pub(crate) fn schema(definition: &str) -> Arc<Schema> {
    static SCHEMAS: Mutex<BTreeMap<String, Arc<Schema>>> = Mutex::new(BTreeMap::new());
    let mut schemas = SCHEMAS.lock().unwrap_or_else(PoisonError::into_inner);
    resolve(definition, &TEXTS, &mut schemas, &mut vec![])
}

/// The schema of `metadata`.
pub(crate) fn metadata() -> &'static Arc<Schema> {
    static METADATA: LazyLock<Arc<Schema>> = LazyLock::new(|| schema(META));
    &METADATA
}

/// All definitions as OpenAPI has them.
pub(crate) fn definitions() -> &'static BTreeMap<String, Value> {
    static DEFINITIONS: LazyLock<BTreeMap<String, Value>> =
        LazyLock::new(|| TEXTS.iter().map(|(name, text)| ((*name).to_owned(), read(text))).collect());
    &DEFINITIONS
}

fn read(text: &RawValue) -> Value {
    serde_json::from_str(text.get()).expect("kubernetes.json is part of this program and is JSON")
}

fn resolve(
    name: &str,
    definitions: &Texts,
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
    let mut schema = parse(&read(definition), &mut nested);
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
