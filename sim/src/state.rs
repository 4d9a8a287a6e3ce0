//! The cluster as one value: what a request becomes before it is stored, whoever sends it.

use std::sync::Arc;

use jiff::{Timestamp, TimestampRound, Unit};
use serde_json::{Value, json};

use crate::access::Access;
use crate::admission;
use crate::apply;
use crate::clock::Clock;
use crate::ids::Ids;
use crate::registry::{Kind, Registry, Resource, Version};
use crate::schema;
use crate::status::Status;
use crate::store::{Key, Store};
use crate::views;

/// Everything there is.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) ids: Ids,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) access: Access,
    /// Counts changes of the kinds themselves, so that discovery documents can be told apart.
    pub(crate) kinds_changed: u64,
}

/// What a request is about.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    /// Index of the version that was asked for.
    pub(crate) version: usize,
    /// Empty for what belongs to the cluster, and for lists over all namespaces.
    pub(crate) namespace: String,
    /// Empty for collections.
    pub(crate) name: String,
    pub(crate) part: Part,
}

/// The object or one of its subresources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Status,
    Scale,
}

impl Part {
    pub(crate) fn subresource(self) -> &'static str {
        match self {
            Part::Whole => "",
            Part::Status => "status",
            Part::Scale => "scale",
        }
    }
}

/// How a write is meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) manager: String,
    pub(crate) dry_run: bool,
    pub(crate) force: bool,
    pub(crate) unknown_fields: UnknownFields,
}

/// What happens to fields that the schema does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UnknownFields {
    Ignore,
    #[default]
    Warn,
    Refuse,
}

/// What a write made.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) object: Arc<Value>,
    pub(crate) created: bool,
    pub(crate) warnings: Vec<String>,
}

/// Who counts as the author of the fields.
pub(crate) enum Author {
    /// The writer owns what it changes.
    ByChange,
    /// `metadata.managedFields` is right already.
    Settled,
}

impl Target {
    pub(crate) fn key(&self) -> Key {
        Key { resource: self.resource.storage.clone(), namespace: self.namespace.clone(), name: self.name.clone() }
    }

    pub(crate) fn version(&self) -> &Version {
        &self.resource.versions[self.version]
    }

    pub(crate) fn api_version(&self) -> String {
        self.resource.api_version(self.version)
    }

    pub(crate) fn named(&self, name: &str) -> Target {
        Target { name: name.to_owned(), ..self.clone() }
    }
}

impl State {
    pub(crate) fn new(clock: Arc<dyn Clock>, seed: u64) -> State {
        let mut state = State {
            store: Store::default(),
            registry: Registry::new(),
            ids: Ids::seeded(seed),
            clock,
            access: Access::default(),
            kinds_changed: 0,
        };
        state.found();
        state
    }

    /// Now, in whole seconds as objects show it.
    pub(crate) fn now_text(&self) -> String {
        seconds(self.clock.now())
    }

    /// The target of an object's kind; `None` when there is no such kind. The namespace is dropped for kinds without.
    pub(crate) fn target(&self, kind: Kind<'_>, namespace: &str, name: &str) -> Option<Target> {
        let resource = self.registry.by_kind(kind)?.clone();
        let namespace = if resource.namespaced { namespace.to_owned() } else { String::new() };
        Some(Target { resource, version: 0, namespace, name: name.to_owned(), part: Part::Whole })
    }

    /// The target of a whole object, by its own apiVersion, kind, namespace and name.
    pub(crate) fn target_of(&self, object: &Value) -> Result<Target, Status> {
        let metadata = &object["metadata"];
        let api_version = text(&object["apiVersion"]);
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = Kind { group, kind: text(&object["kind"]) };
        let target = self.target(kind, text(&metadata["namespace"]), text(&metadata["name"]));
        let mut target = target.ok_or_else(Status::no_such_path)?;
        let position = target.resource.versions.iter().position(|known| known.name == version);
        target.version = position.ok_or_else(Status::no_such_path)?;
        Ok(target)
    }

    /// The object as stored.
    pub(crate) fn stored(&self, target: &Target) -> Result<Arc<Value>, Status> {
        let found = self.store.get(&target.key()).cloned();
        found.ok_or_else(|| Status::not_found(&target.resource, &target.name))
    }

    /// Takes an object from a request's idea of it to the stored one: unknown fields, defaults, ownership, rules.
    /// `live` is what is replaced. Nothing is written when nothing differs.
    pub(crate) fn settle(
        &mut self,
        target: &Target,
        live: Option<&Arc<Value>>,
        mut next: Value,
        author: Author,
        options: &Options,
    ) -> Result<Written, Status> {
        let resource = target.resource.clone();
        let version = target.version();
        let live_seen = live.map(|live| views::outbound(target, live));
        next["apiVersion"] = target.api_version().into();
        next["kind"] = resource.kind.clone().into();
        self.keep_identity(target, live_seen.as_deref(), &mut next)?;
        let warnings = clean(target, live_seen.as_deref(), &mut next, options)?;
        keep_other_part(target, live_seen.as_deref(), &mut next);
        if resource.custom {
            schema::fill(&version.schema, &mut next);
        }
        admission::default(&resource, live_seen.as_deref(), &mut next);
        match author {
            Author::ByChange => {
                let writer = apply::Writer {
                    manager: &options.manager,
                    api_version: &target.api_version(),
                    subresource: target.part.subresource(),
                };
                apply::track(&version.schema, live_seen.as_deref(), &mut next, &writer, &self.now_text());
            }
            Author::Settled => {}
        }
        if live.is_none() {
            self.admit_new(target)?;
        }
        admission::allocate(self, &resource, live_seen.as_deref(), &mut next);
        let mut causes = vec![];
        if resource.custom {
            schema::validate(&version.schema, &next, &mut causes);
        }
        admission::validate(&resource, live_seen.as_deref(), &next, &mut causes);
        if !causes.is_empty() {
            return Err(Status::invalid(&resource, &target.name, &causes));
        }
        if resource.generations {
            count_generation(target, live_seen.as_deref(), &mut next);
        }
        let next = views::inbound(target, next);
        if let Some(live) = live
            && same_but_for_times(live, &next)
        {
            return Ok(Written { object: views::outbound(target, live), created: false, warnings });
        }
        if options.dry_run {
            let mut next = next;
            if let Some(live) = live {
                next["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
            }
            return Ok(Written { object: views::outbound(target, &Arc::new(next)), created: live.is_none(), warnings });
        }
        let finished = !next["metadata"]["deletionTimestamp"].is_null() && !has_finalizers(&next) && live.is_some();
        let grace = next["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() > 0;
        let object = self.store.put(target.key(), next);
        if finished && !grace && !admission::is_emptying(&object) {
            self.erase(&target.key());
        }
        self.react(&target.key(), &object);
        Ok(Written { object: views::outbound(target, &object), created: live.is_none(), warnings })
    }

    /// Metadata that writers do not decide.
    fn keep_identity(&mut self, target: &Target, live: Option<&Value>, next: &mut Value) -> Result<(), Status> {
        if !next["metadata"].is_object() {
            next["metadata"] = json!({});
        }
        let now = self.now_text();
        let uid = if live.is_none() { self.ids.uid() } else { String::new() };
        let Some(metadata) = next["metadata"].as_object_mut() else { return Ok(()) };
        metadata.remove("selfLink");
        metadata.insert("name".to_owned(), target.name.clone().into());
        if target.resource.namespaced {
            metadata.insert("namespace".to_owned(), target.namespace.clone().into());
        } else {
            metadata.remove("namespace");
        }
        let Some(live) = live else {
            for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
                metadata.remove(field);
            }
            metadata.insert("uid".to_owned(), uid.into());
            metadata.insert("creationTimestamp".to_owned(), now.into());
            if target.resource.generations {
                metadata.insert("generation".to_owned(), 1.into());
            }
            return Ok(());
        };
        let given = |field: &str| metadata.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        if given("uid").is_some_and(|uid| live["metadata"]["uid"] != uid) {
            let why = format!(
                "Precondition failed: UID in precondition: {}, UID in object meta: {}",
                given("uid").unwrap_or_default(),
                live["metadata"]["uid"].as_str().unwrap_or_default()
            );
            return Err(Status::conflict(&target.resource, &target.name, &why));
        }
        if given("resourceVersion").is_some_and(|version| live["metadata"]["resourceVersion"] != version) {
            let why = "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Status::conflict(&target.resource, &target.name, why));
        }
        for field in [
            "uid",
            "creationTimestamp",
            "generation",
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generateName",
        ] {
            match live["metadata"].get(field) {
                Some(value) => metadata.insert(field.to_owned(), value.clone()),
                None => metadata.remove(field),
            };
        }
        Ok(())
    }

    /// What only new objects must pass.
    fn admit_new(&self, target: &Target) -> Result<(), Status> {
        let resource = &target.resource;
        if let Some(cause) = admission::name_cause(resource, &target.name) {
            return Err(Status::invalid(resource, &target.name, &[cause]));
        }
        if resource.namespaced {
            let kind = Kind { group: "", kind: "Namespace" };
            let namespace = self.target(kind, "", &target.namespace).ok_or_else(Status::no_such_path)?;
            let namespace = self.stored(&namespace)?;
            if !namespace["metadata"]["deletionTimestamp"].is_null() {
                let why = format!(
                    "unable to create new content in namespace {} because it is being terminated",
                    target.namespace
                );
                return Err(Status::forbidden(resource, &target.name, &why));
            }
        }
        Ok(())
    }
}

/// Takes out what the schema does not know; a value of the wrong type in a built-in kind cannot even be read.
fn clean(target: &Target, live: Option<&Value>, next: &mut Value, options: &Options) -> Result<Vec<String>, Status> {
    let schema = &target.version().schema;
    let mut unknown = vec![];
    if target.resource.custom {
        schema::prune(schema, next, &mut unknown);
        if let Some(metadata) = next.get_mut("metadata")
            && let Some(schema) = schema.properties.get("metadata")
        {
            schema::tidy(schema, metadata);
        }
    } else {
        let unchanged = live.map(|live| take_unchanged(target, live, next)).unwrap_or_default();
        schema::prune(schema, next, &mut unknown);
        schema::tidy(schema, next);
        let mut causes = vec![];
        schema::validate(schema, next, &mut causes);
        if let Some(cause) = causes.iter().find(|cause| cause.reason == "FieldValueTypeInvalid") {
            let (kind, version) = (&target.resource.kind, &target.version().name);
            return Err(Status::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: {}",
                cause.message
            )));
        }
        if let Some(next) = next.as_object_mut() {
            next.extend(unchanged);
        }
    }
    let warnings: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    match options.unknown_fields {
        UnknownFields::Ignore => Ok(vec![]),
        UnknownFields::Warn => Ok(warnings),
        UnknownFields::Refuse if warnings.is_empty() => Ok(warnings),
        UnknownFields::Refuse => {
            let (kind, version) = (&target.resource.kind, &target.version().name);
            let text = format!("strict decoding error: {}", warnings.join(", "));
            Err(Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {text}")))
        }
    }
}

/// What is as it is stored need not be looked at: most writes change one part of an object, and the schemas of built-in
/// kinds do not change. Events have two, and times of a deletion are written by the server alone.
fn take_unchanged(target: &Target, live: &Value, next: &mut Value) -> Vec<(String, Value)> {
    if target.resource.kind == "Event" || !live["metadata"]["deletionTimestamp"].is_null() {
        return vec![];
    }
    let (Some(live), Some(next)) = (live.as_object(), next.as_object_mut()) else { return vec![] };
    let mut unchanged = vec![];
    next.retain(|name, value| {
        let same = live.get(name) == Some(&*value);
        if same {
            unchanged.push((name.clone(), value.take()));
        }
        !same
    });
    unchanged
}

/// A write to the status leaves the rest alone, and the other way round.
fn keep_other_part(target: &Target, live: Option<&Value>, next: &mut Value) {
    if !target.version().status {
        return;
    }
    match (target.part, live) {
        (Part::Whole | Part::Scale, live) => {
            let status = live.and_then(|live| live.get("status")).cloned();
            put(next, "status", status);
        }
        (Part::Status, Some(live)) => {
            restore(next, live, &["status", "metadata"]);
            // Controllers of built-in kinds annotate as they report.
            let written: &[&str] =
                if target.resource.custom { &["managedFields"] } else { &["managedFields", "annotations"] };
            restore(&mut next["metadata"], &live["metadata"], written);
            let managed = live["metadata"].get("managedFields");
            if let (Some(metadata), Some(managed)) = (next["metadata"].as_object_mut(), managed) {
                metadata.entry("managedFields").or_insert_with(|| managed.clone());
            }
        }
        (Part::Status, None) => {}
    }
}

/// Makes the fields as they were, but for those with these names. Most have not changed, and are not copied.
fn restore(next: &mut Value, live: &Value, but: &[&str]) {
    let (Some(next), Some(live)) = (next.as_object_mut(), live.as_object()) else { return };
    next.retain(|name, _| but.contains(&name.as_str()) || live.contains_key(name));
    for (name, value) in live.iter().filter(|(name, _)| !but.contains(&name.as_str())) {
        if next.get(name) != Some(value) {
            next.insert(name.clone(), value.clone());
        }
    }
}

fn put(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(object) = object.as_object_mut() else { return };
    match value {
        Some(value) => object.insert(field.to_owned(), value),
        None => object.remove(field),
    };
}

/// Anything but metadata and, where it is a subresource, status counts.
fn count_generation(target: &Target, live: Option<&Value>, next: &mut Value) {
    let Some(live) = live else { return };
    if target.part == Part::Status {
        return;
    }
    let counted = |name: &str| {
        let meant = !["metadata", "apiVersion", "kind"].contains(&name);
        meant && (name != "status" || target.resource.custom && !target.version().status)
    };
    if !same_fields(live, next, counted) {
        let generation = live["metadata"]["generation"].as_i64().unwrap_or_default();
        next["metadata"]["generation"] = (generation + 1).into();
    }
}

fn same_but_for_times(live: &Value, next: &Value) -> bool {
    let timeless = |metadata: &Value| {
        let mut entries = metadata["managedFields"].clone();
        for entry in entries.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            entry.remove("time");
        }
        entries
    };
    let (old, new) = (&live["metadata"], &next["metadata"]);
    // The parts that differ most often come first; whole copies would be the better half of the cost of a write.
    same_fields(live, next, |name| name != "metadata")
        && same_fields(old, new, |name| name != "managedFields")
        && (old["managedFields"] == new["managedFields"] || timeless(old) == timeless(new))
}

/// True when the fields with these names are the same in both objects.
fn same_fields(left: &Value, right: &Value, meant: impl Fn(&str) -> bool) -> bool {
    let (left, right) = (left.as_object().into_iter().flatten(), right.as_object().into_iter().flatten());
    left.filter(|(name, _)| meant(name)).eq(right.filter(|(name, _)| meant(name)))
}

pub(crate) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// The text that it is; empty for anything else.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A time as objects show it, in whole seconds.
pub(crate) fn seconds(time: Timestamp) -> String {
    let round = TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc);
    time.round(round).unwrap_or(time).to_string()
}

/// The causes of an object that cannot be stored at all.
pub(crate) fn must_be_object(value: &Value) -> Result<(), Status> {
    if value.is_object() { Ok(()) } else { Err(Status::bad_request("the body of the request is no object")) }
}
