//! Patches of four kinds.

use std::sync::Arc;

use serde_json::{Value, json};

use super::write::{matches_request, scale_view};
use crate::apply;
use crate::patch;
use crate::state::{Author, Options, Part, State, Target, Written};
use crate::status::Status;
use crate::views;

/// A change to an object.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Lists by merge keys, with directives. Not for custom resources.
    Strategic(Value),
    /// Server-side apply.
    Apply(Value),
}

impl State {
    /// Patches an object, its status or its scale. An apply creates what is missing.
    pub(crate) fn patch(&mut self, target: &Target, patch: &Patch, options: &Options) -> Result<Written, Status> {
        let changed = |base: &Value| match patch {
            Patch::Json(patch) => patch::json(base, patch),
            Patch::Merge(patch) => patch::merge(base, patch),
            Patch::Strategic(_) if target.resource.custom => Err(Status::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            )),
            Patch::Strategic(patch) => patch::strategic(&target.version().schema, base, patch),
            Patch::Apply(config) => Ok(config.clone()),
        };
        if let Patch::Apply(config) = patch {
            return self.apply(target, config, options);
        }
        let live = self.stored(target)?;
        let base = views::outbound(target, &live);
        let base = if target.part == Part::Scale { Arc::new(scale_view(target, &base)?) } else { base };
        let object = changed(&base)?;
        if !object.is_object() {
            return Err(Status::bad_request("the patched object is no object any more"));
        }
        matches_request(target, &object)?;
        self.update_from(target, &live, object, Author::ByChange, options)
    }

    fn apply(&mut self, target: &Target, config: &Value, options: &Options) -> Result<Written, Status> {
        if options.manager.is_empty() {
            return Err(Status::new(
                422,
                "Invalid",
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ));
        }
        let text = |pointer| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if !config.is_object() || text("/apiVersion").is_empty() || text("/kind").is_empty() {
            return Err(Status::bad_request("an applied object must state its apiVersion and kind"));
        }
        let kind = if target.part == Part::Scale { "Scale" } else { &target.resource.kind };
        if text("/kind") != kind {
            return Err(Status::bad_request(format!(
                "invalid object type: {}, Kind={}",
                text("/apiVersion"),
                text("/kind")
            )));
        }
        if config["metadata"]["managedFields"].as_array().is_some_and(|entries| !entries.is_empty()) {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        let name = text("/metadata/name");
        if !name.is_empty() && name != target.name {
            return Err(Status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                target.name
            )));
        }
        let live = self.store.get(&target.key()).cloned();
        let stated = |field: &str| config["metadata"][field].as_str().is_some_and(|text| !text.is_empty());
        if live.is_none() && (target.part != Part::Whole || stated("resourceVersion")) {
            return Err(Status::not_found(&target.resource, &target.name));
        }
        if live.is_none() && stated("uid") {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                text("/metadata/uid")
            );
            return Err(Status::conflict(&target.resource, &target.name, &why));
        }
        if let (Part::Scale, Some(live)) = (target.part, &live) {
            return self.apply_scale(target, live, config, options);
        }
        let seen = live.as_ref().map(|live| views::outbound(target, live));
        let api_version = target.api_version();
        let subresource = target.part.subresource();
        let writer = apply::Writer { manager: &options.manager, api_version: &api_version, subresource };
        let mut config = config.clone();
        if let Some(config) = config.as_object_mut() {
            let meant = |name: &str| match target.part {
                Part::Status => name != "spec",
                Part::Whole => name != "status" || !target.version().status,
                Part::Scale => true,
            };
            config.retain(|name, _| meant(name));
        }
        let mut unknown = vec![];
        crate::schema::prune(&target.version().schema, &mut config, &mut unknown);
        if let Some(field) = unknown.first() {
            let place = format!("{}/{}; {api_version}, Kind={kind}", target.namespace, target.name);
            return Err(Status::new(
                500,
                "",
                format!("failed to create typed patch object ({place}): .{field}: field not declared in schema"),
            ));
        }
        let now = self.now_text();
        let merged = apply::apply(&target.version().schema, seen.as_deref(), &config, &writer, options.force, &now)?;
        self.settle(target, live.as_ref(), merged, Author::Settled, options)
    }

    fn apply_scale(
        &mut self,
        target: &Target,
        live: &Arc<Value>,
        config: &Value,
        options: &Options,
    ) -> Result<Written, Status> {
        let Some(scale) = target.version().scale.clone() else { return Err(Status::no_such_path()) };
        let mut stated = json!({ "apiVersion": target.api_version(), "kind": target.resource.kind });
        let mut at = &mut stated;
        for name in scale.spec_replicas.split('/').skip(1) {
            at = &mut at[name];
        }
        *at = config["spec"]["replicas"].clone();
        let api_version = target.api_version();
        let writer = apply::Writer { manager: &options.manager, api_version: &api_version, subresource: "scale" };
        let seen = views::outbound(target, live);
        let now = self.now_text();
        let merged = apply::apply(&target.version().schema, Some(&seen), &stated, &writer, options.force, &now)?;
        let written = self.settle(target, Some(live), merged, Author::Settled, options)?;
        Ok(Written { object: Arc::new(scale_view(target, &written.object)?), ..written })
    }
}
