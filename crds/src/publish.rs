//! The CustomResourceDefinitions, as they are applied to a cluster.

use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::{AlertProvider, Canary, CanaryRun, CanaryTemplate, ClusterCanaryTemplate, GitSource, MetricTemplate};

/// A file to be applied, or to apply the others with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedFile {
    /// Its name, without a folder.
    pub name: String,
    /// YAML.
    pub text: String,
}

/// Every CustomResourceDefinition: canaries, metrictemplates and alertproviders first, then those of Serin's own group.
pub fn all_crds() -> Vec<Value> {
    vec![
        published(json!(Canary::crd()), |spec| {
            let analysis = &mut spec["properties"]["analysis"];
            analysis["required"] = json!(["interval"]);
            analysis["oneOf"] = required(&[&["iterations"], &["stepWeight"], &["stepWeights"], &["plan"]]);
            // A judge with a method of its own counts no failed checks.
            analysis["anyOf"] = required(&[&["threshold"], &["judge"]]);
        }),
        published(json!(MetricTemplate::crd()), |_| {}),
        published(json!(AlertProvider::crd()), |spec| {
            // Both as well: a forge has an address, and its token is in a Secret.
            spec["anyOf"] = required(&[&["type", "address"], &["type", "secretRef"]]);
        }),
        without_status(published(json!(CanaryTemplate::crd()), |_| {})),
        without_status(published(json!(ClusterCanaryTemplate::crd()), |_| {})),
        published(json!(GitSource::crd()), |_| {}),
        without_status(published(json!(CanaryRun::crd()), |_| {})),
    ]
}

/// What [`all_crds`] makes, from text that was written when the types changed: deriving a schema takes longer than all else
/// that a small program does.
pub fn definitions() -> Vec<Value> {
    serde_json::from_str(include_str!("definitions.json")).expect("a test compares this file with the types")
}

/// The text of `src/definitions.json`, a definition a line.
pub fn written_definitions() -> String {
    let lines: Vec<String> = all_crds().iter().map(Value::to_string).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// The files of `crds/`: one for each kind and a `kustomization.yaml`.
///
/// # Errors
/// When a definition cannot be written as YAML.
pub fn published_files() -> Result<Vec<PublishedFile>, serde_saphyr::ser_error::Error> {
    let mut files = Vec::new();
    for crd in all_crds() {
        let plural = crd["spec"]["names"]["plural"].as_str().unwrap_or_default();
        files.push(PublishedFile { name: format!("{plural}.yaml"), text: serde_saphyr::to_string(&crd)? });
    }
    let resources: Vec<_> = files.iter().map(|file| &file.name).collect();
    let kustomization =
        json!({ "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources });
    files.push(PublishedFile { name: "kustomization.yaml".into(), text: serde_saphyr::to_string(&kustomization)? });
    Ok(files)
}

fn published(mut crd: Value, amend: impl Fn(&mut Value)) -> Value {
    let version = &mut crd["spec"]["versions"][0];
    version["subresources"] = json!({ "status": {} });
    let schema = &mut version["schema"]["openAPIV3Schema"];
    tidy(schema, "");
    schema["description"] = schema["properties"]["spec"]["description"].clone();
    amend(&mut schema["properties"]["spec"]);
    sorted(&crd)
}

/// For kinds about which nothing is told but what users wrote.
fn without_status(mut crd: Value) -> Value {
    if let Some(version) = crd["spec"]["versions"][0].as_object_mut() {
        version.remove("subresources");
    }
    crd
}

/// Structural schemas forbid types inside `oneOf` and `anyOf`, so this says only which fields must be there.
fn required(choices: &[&[&str]]) -> Value {
    choices.iter().map(|fields| json!({ "required": fields })).collect()
}

/// The API server writes a default into every object that lacks the field: only those stand that the published API
/// has, for any other would be an edit of users' objects.
fn tidy(schema: &mut Value, property: &str) {
    const DEFAULTED: [&str; 3] = ["group", "kind", "maxAge"];
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("title");
    // Null is what `kubectl` removes a field with; stored, it would only be one more way to say nothing.
    fields.remove("nullable");
    if !DEFAULTED.contains(&property) {
        fields.remove("default");
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.iter_mut().for_each(|(name, schema)| tidy(schema, name));
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(schema) = fields.get_mut(inner) {
            tidy(schema, "");
        }
    }
}

/// Keys in alphabetical order, however serde_json was built.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(Map::from_iter(fields))
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
