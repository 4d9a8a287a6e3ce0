//! From a template and a workload to a Canary: variables filled in, and every field held against the schema of Canaries.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crds::CanaryTemplateSpec;
use serde_json::{Map, Value};

use super::{VARIABLE_PREFIX, Workload};

/// What is always the workload's.
const FIXED: [&str; 3] = ["name", "namespace", "kind"];

/// What a template says of one workload.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rendered {
    pub(super) spec: Value,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// Fills the template in, or says all that is wrong with it.
pub(super) fn render(template: &CanaryTemplateSpec, workload: &Workload) -> Result<Rendered, Vec<String>> {
    let mut rendering = Rendering { template, workload, problems: Vec::new() };
    rendering.check_variables();
    for (field, why) in [
        ("targetRef", "is the annotated workload; leave it out"),
        ("revertOnDeletion", "is always true here; leave it out"),
    ] {
        if template.template.contains_key(field) {
            rendering.problems.push(format!("spec.template.{field}: {why}"));
        }
    }
    let spec = rendering.object(&template.template, "", schema());
    let labels = rendering.metadata("labels", &template.metadata.labels);
    let annotations = rendering.metadata("annotations", &template.metadata.annotations);
    if rendering.problems.is_empty() {
        Ok(Rendered { spec: Value::Object(spec), labels, annotations })
    } else {
        Err(rendering.problems)
    }
}

struct Rendering<'a> {
    template: &'a CanaryTemplateSpec,
    workload: &'a Workload,
    problems: Vec<String>,
}

impl Rendering<'_> {
    /// An annotation for a variable that nobody reads is a slip.
    fn check_variables(&mut self) {
        for variable in &self.template.variables {
            if FIXED.contains(&variable.name.as_str()) {
                self.problems
                    .push(format!("spec.variables: {} is always the workload's; take another name", variable.name));
            }
        }
        for key in self.workload.annotations.keys() {
            let Some(name) = key.strip_prefix(VARIABLE_PREFIX) else { continue };
            if name != "port" && !self.template.variables.iter().any(|variable| variable.name == name) {
                let mut known: Vec<&str> = self.template.variables.iter().map(|known| known.name.as_str()).collect();
                if !known.contains(&"port") {
                    known.push("port");
                }
                self.problems.push(format!(
                    "the annotation {key} is for no variable of the template; its variables are {}",
                    known.join(", ")
                ));
            }
        }
    }

    fn metadata(&mut self, field: &str, texts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut rendered = BTreeMap::new();
        for (key, text) in texts {
            let path = format!("spec.metadata.{field}[{key:?}]");
            if is_claim(key) {
                self.problems.push(format!(
                    "{path}: by this key a GitOps operator, or Serin, would know an object of its own; leave it out"
                ));
            }
            rendered.insert(key.clone(), self.text(text, &path));
        }
        rendered
    }

    fn value(&mut self, value: &Value, path: &str, schema: &Value) -> Value {
        match value {
            Value::Object(fields) => Value::Object(self.object(fields, path, schema)),
            Value::Array(items) => {
                let of_items = schema.get("items").unwrap_or(&Value::Null);
                let items = items.iter().enumerate();
                items.map(|(index, item)| self.value(item, &format!("{path}[{index}]"), of_items)).collect()
            }
            // Queries have variables of their own, which are filled in when they are asked.
            Value::String(text) if path.starts_with("analysis.metrics[") && path.ends_with("].query") => {
                text.as_str().into()
            }
            Value::String(text) => {
                let filled = self.text(text, &format!("spec.template.{path}"));
                if is_one_variable(text) { typed(filled, schema) } else { filled.into() }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn object(&mut self, fields: &Map<String, Value>, path: &str, schema: &Value) -> Map<String, Value> {
        let mut rendered = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        for (key, value) in fields {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let inner = properties.and_then(|properties| properties.get(key));
            if let (Some(properties), None) = (properties, inner) {
                let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                self.problems.push(format!(
                    "spec.template.{below}: is no field of a Canary; known here are {}",
                    known.join(", ")
                ));
                continue;
            }
            if value.is_null() {
                // Says nothing, and the API server would not keep it.
                continue;
            }
            let inner = inner.or_else(|| schema.get("additionalProperties")).unwrap_or(&Value::Null);
            rendered.insert(key.clone(), self.value(value, &below, inner));
        }
        rendered
    }

    fn text(&mut self, text: &str, path: &str) -> String {
        match fill(text, |name| self.look_up(name)) {
            Ok(filled) => filled,
            Err(why) => {
                self.problems.push(format!("{path}: {why}"));
                String::new()
            }
        }
    }

    fn look_up(&self, name: &str) -> Result<String, String> {
        let Some(variable) = self.template.variables.iter().find(|variable| variable.name == name) else {
            return self.known_of_workload(name);
        };
        let annotation = format!("{VARIABLE_PREFIX}{name}");
        match (self.workload.annotations.get(&annotation), &variable.default) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(default)) => fill(default, |name| self.known_of_workload(name))
                .map_err(|why| format!("the default of {name}: {why}")),
            (None, None) => {
                Err(format!("{name} has no default; annotate the {} with {annotation}", self.workload.kind.as_str()))
            }
        }
    }

    fn known_of_workload(&self, name: &str) -> Result<String, String> {
        let workload = self.workload;
        let kind = workload.kind.as_str();
        let among = |what: &str, texts: &BTreeMap<String, String>, key: &str| {
            texts.get(key).cloned().ok_or_else(|| {
                let known: Vec<&str> = texts.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                format!("the {kind} has no {what} {key}; it has {known}")
            })
        };
        match name {
            "name" => Ok(workload.name.clone()),
            "namespace" => Ok(workload.namespace.clone()),
            "kind" => Ok(kind.to_owned()),
            "port" => {
                let annotation = format!("{VARIABLE_PREFIX}port");
                let said = workload.annotations.get(&annotation).cloned();
                said.or_else(|| workload.port.map(|port| port.to_string()))
                    .ok_or_else(|| format!("the containers of the {kind} name no port; annotate it with {annotation}"))
            }
            _ => match name.split_once('.') {
                Some(("labels", key)) => among("label", &workload.labels, key),
                Some(("annotations", key)) => among("annotation", &workload.annotations, key),
                Some(_) | None => {
                    let own = self.template.variables.iter().map(|variable| variable.name.as_str());
                    let fixed = FIXED.into_iter().chain(["port", "labels.KEY", "annotations.KEY"]);
                    let known: Vec<&str> = fixed.chain(own).collect();
                    Err(format!("{{{{ {name} }}}} is not known; known are {}", known.join(", ")))
                }
            },
        }
    }
}

/// The text with every `{{ name }}` replaced.
fn fill(text: &str, look_up: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else {
            return Err("{{ has no }}".to_owned());
        };
        filled.push_str(before);
        filled.push_str(&look_up(name.trim())?);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn is_one_variable(text: &str) -> bool {
    let inside = text.trim().strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    inside.is_some_and(|inside| !inside.contains("{{"))
}

/// A number or truth value where the field takes no text.
fn typed(text: String, schema: &Value) -> Value {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let number_or_text = schema.get("x-kubernetes-int-or-string").is_some();
    let trimmed = text.trim();
    let value = match kind {
        "integer" => trimmed.parse::<i64>().ok().map(Value::from),
        "number" => {
            trimmed.parse::<i64>().ok().map(Value::from).or_else(|| trimmed.parse::<f64>().ok().map(Value::from))
        }
        "boolean" => trimmed.parse::<bool>().ok().map(Value::from),
        _ if number_or_text => trimmed.parse::<i64>().ok().map(Value::from),
        _ => None,
    };
    value.unwrap_or_else(|| text.into())
}

/// The schema of `spec` in the published definition of Canaries.
fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let canaries = crds::all_crds().into_iter().find(|crd| crd["spec"]["names"]["kind"] == "Canary");
        let spec =
            canaries.as_ref().and_then(|crd| crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec"));
        spec.cloned().unwrap_or_default()
    })
}

/// Keys that make an object somebody's: a Canary that bore them would be pruned, or be called drift.
fn is_claim(key: &str) -> bool {
    ["serin.dev/", "argocd.argoproj.io/", "meta.helm.sh/"].iter().any(|prefix| key.starts_with(prefix))
        || key.contains("toolkit.fluxcd.io")
        || matches!(
            key,
            "app.kubernetes.io/instance"
                | "kubectl.kubernetes.io/last-applied-configuration"
                | "config.k8s.io/owning-inventory"
        )
}
