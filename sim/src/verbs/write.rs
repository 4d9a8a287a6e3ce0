//! Create and update.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::registry::Scale;
use crate::state::{Author, Options, Part, State, Target, Written, must_be_object, text};
use crate::status::{Cause, Status};
use crate::views;

/// A name given as `generateName` keeps so many characters.
const GENERATED_LENGTH: usize = 63 - 5;

impl State {
    /// Creates an object; without a name, `generateName` starts one.
    pub(crate) fn create(&mut self, target: &Target, object: Value, options: &Options) -> Result<Written, Status> {
        must_be_object(&object)?;
        let mut target = target.clone();
        if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
            return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        if target.name.is_empty() {
            target.name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        }
        if target.name.is_empty() {
            let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default();
            if prefix.is_empty() {
                let cause = Cause::required("metadata.name", "name or generateName is required");
                return Err(Status::invalid(&target.resource, "", &[cause]));
            }
            let prefix = prefix.get(..GENERATED_LENGTH).unwrap_or(prefix);
            target.name = format!("{prefix}{}", self.ids.suffix());
        }
        matches_request(&target, &object)?;
        if self.store.get(&target.key()).is_some() {
            return Err(Status::already_exists(&target.resource, &target.name));
        }
        self.settle(&target, None, object, Author::ByChange, options)
    }

    /// Replaces an object, its status or its scale.
    pub(crate) fn update(&mut self, target: &Target, object: Value, options: &Options) -> Result<Written, Status> {
        must_be_object(&object)?;
        matches_request(target, &object)?;
        let live = self.stored(target)?;
        self.update_from(target, &live, object, Author::ByChange, options)
    }

    /// Replaces `live` by an object that is known to be meant for it.
    pub(crate) fn update_from(
        &mut self,
        target: &Target,
        live: &Arc<Value>,
        object: Value,
        author: Author,
        options: &Options,
    ) -> Result<Written, Status> {
        if target.part != Part::Scale {
            return self.settle(target, Some(live), object, author, options);
        }
        let scale = scale_of(target)?;
        let mut next = (*views::outbound(target, live)).clone();
        if let Some(version) = object["metadata"]["resourceVersion"].as_str() {
            next["metadata"]["resourceVersion"] = version.into();
        }
        let replicas = object["spec"]["replicas"].clone();
        let replicas = if replicas.is_null() { json!(0) } else { replicas };
        if replicas.as_i64().is_some_and(|replicas| replicas < 0) {
            let cause = Cause::invalid("spec.replicas", &replicas, "must be greater than or equal to 0");
            return Err(Status::invalid(&target.resource, &target.name, &[cause]));
        }
        set(&mut next, &scale.spec_replicas, replicas);
        let written = self.settle(target, Some(live), next, author, options)?;
        Ok(Written { object: Arc::new(scale_view(target, &written.object)?), ..written })
    }
}

/// The `Scale` of an object.
pub(crate) fn scale_view(target: &Target, object: &Value) -> Result<Value, Status> {
    let scale = scale_of(target)?;
    let metadata = &object["metadata"];
    let selector = scale.selector.as_deref().and_then(|at| object.pointer(at)).map(selector_text);
    let mut view = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {},
        "status": { "replicas": object.pointer(&scale.status_replicas).cloned().unwrap_or(json!(0)) },
    });
    // None is left out, as everything that is empty.
    if let Some(replicas) = object.pointer(&scale.spec_replicas).filter(|replicas| **replicas != 0) {
        view["spec"]["replicas"] = replicas.clone();
    }
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        view["status"]["selector"] = selector.into();
    }
    Ok(view)
}

fn scale_of(target: &Target) -> Result<Scale, Status> {
    target.version().scale.clone().ok_or_else(Status::no_such_path)
}

/// A selector as the text that label selectors are written in.
pub(crate) fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let mut parts: Vec<String> = vec![];
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for name in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name];
    }
    *at = value;
}

/// The body must be about what the path names.
pub(super) fn matches_request(target: &Target, object: &Value) -> Result<(), Status> {
    let (api_version, kind) = if target.part == Part::Scale {
        ("autoscaling/v1".to_owned(), "Scale")
    } else {
        (target.api_version(), target.resource.kind.as_str())
    };
    let (given_version, given_kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    if !given_version.is_empty() && given_version != api_version || !given_kind.is_empty() && given_kind != kind {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {given_version}, Kind={given_kind} is not \
             {api_version}, Kind={kind}"
        )));
    }
    let name = text(&object["metadata"]["name"]);
    if !name.is_empty() && name != target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    let namespace = text(&object["metadata"]["namespace"]);
    if target.resource.namespaced && !namespace.is_empty() && namespace != target.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}
