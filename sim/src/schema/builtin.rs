//! The schemas of the built-in kinds: `kubernetes.json`, taken from the OpenAPI document of Kubernetes 1.36. `x-omit`
//! marks fields that the server does not store when they are empty, after the types of `k8s.io/api`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Lazy, Nested, Schema, Shape, parse};

const TEXT: &str = include_str!("kubernetes.json");
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Definitions by name, each as it is written: few are ever needed.
type Texts = BTreeMap<&'static str, &'static RawValue>;

fn texts() -> &'static Texts {
    static TEXTS: OnceLock<Texts> = OnceLock::new();
    TEXTS.get_or_init(|| serde_json::from_str(TEXT).expect("kubernetes.json is part of this program and is JSON"))
}

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
    let found = texts().iter().find(|(name, text)| name.ends_with(&ending) && is(text));
    found.map_or("", |(name, _)| name)
}

/// The schema of a definition; anything goes when there is none of that name.
pub(crate) fn schema(definition: &str) -> Arc<Schema> {
    match defined(definition) {
        Nested::Written(schema) => schema,
        Nested::Defined(schema) => schema.shared().clone(),
    }
}

/// The same, read when it is first asked for.
fn defined(name: &str) -> Nested {
    static DEFINED: Mutex<BTreeMap<&str, Arc<Lazy>>> = Mutex::new(BTreeMap::new());
    let short = name.rsplit('.').next().unwrap_or_default();
    // Only the schemas of schemas refer to themselves; those are kept as they are written.
    let free = ["JSONSchemaProps", "RawExtension", "FieldsV1", "JSON"].contains(&short);
    let Some((name, text)) = texts().get_key_value(name).filter(|_| !free) else {
        return Nested::Written(Schema::unspecified());
    };
    let mut all = DEFINED.lock().unwrap_or_else(PoisonError::into_inner);
    let read = || {
        let schema = match name.rsplit('.').next() {
            Some("IntOrString" | "Quantity") => Schema { shape: Shape::IntOrString, ..Schema::default() },
            Some(_) | None => parse(&read(text), &defined),
        };
        Arc::new(schema)
    };
    Nested::Defined(all.entry(name).or_insert_with(|| Arc::new(Lazy::new(read))).clone())
}

/// The schema of `metadata`.
pub(crate) fn metadata() -> &'static Arc<Schema> {
    static METADATA: OnceLock<Arc<Schema>> = OnceLock::new();
    METADATA.get_or_init(|| schema(META))
}

/// All definitions as OpenAPI has them.
pub(crate) fn definitions() -> &'static BTreeMap<String, Value> {
    static DEFINITIONS: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    DEFINITIONS.get_or_init(|| texts().iter().map(|(name, text)| ((*name).to_owned(), read(text))).collect())
}

fn read(text: &RawValue) -> Value {
    serde_json::from_str(text.get()).expect("kubernetes.json is part of this program and is JSON")
}

#[cfg(test)]
mod tests {
    use super::super::ListKind;
    use super::*;

    #[test]
    fn containers_are_known_by_name_and_ports_by_port_and_protocol() {
        let deployment = schema(definition("apps", "v1", "Deployment"));
        let mut at = &*deployment;
        for field in ["spec", "template", "spec", "containers"] {
            at = at.field(field).unwrap();
        }
        assert_eq!(at.list, ListKind::Map(vec!["name".to_owned()]));
        assert_eq!(at.strategy.merge_key.as_deref(), Some("name"));
        let ports = at.items.clone().unwrap().field("ports").unwrap().clone();
        assert_eq!(ports.list, ListKind::Map(vec!["containerPort".to_owned(), "protocol".to_owned()]));
        assert_eq!(ports.strategy.merge_key.as_deref(), Some("containerPort"));
    }
}
