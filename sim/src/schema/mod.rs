//! Schemas: what may stand in an object, what stands there when nothing is said, and how lists and maps are merged.

pub(crate) mod builtin;
mod defaults;
mod parse;
mod place;
mod prune;
mod validate;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use regex::Regex;
use serde_json::Value;

pub(crate) use defaults::fill;
pub(crate) use parse::{custom, parse};
pub(crate) use prune::{prune, tidy};
pub(crate) use validate::validate;

/// The schema of one value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    pub(crate) shape: Shape,
    pub(crate) properties: BTreeMap<String, Nested>,
    pub(crate) additional: Option<Nested>,
    pub(crate) items: Option<Nested>,
    pub(crate) required: Vec<String>,
    pub(crate) default: Option<Value>,
    pub(crate) nullable: bool,
    /// Unknown fields stay.
    pub(crate) preserve: bool,
    /// A whole object with metadata of its own.
    pub(crate) embedded: bool,
    pub(crate) list: ListKind,
    /// The map or object is one value to server-side apply.
    pub(crate) atomic: bool,
    /// How strategic merge patches treat it.
    pub(crate) strategy: Strategy,
    /// An empty value is the same as none, and is not stored.
    pub(crate) omit_empty: bool,
    /// Most values have none beyond their type.
    pub(crate) rules: Option<Box<Rules>>,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

/// What makes items of a list the same item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// The list is one value.
    #[default]
    Atomic,
    /// The item itself.
    Set,
    /// These fields of the item.
    Map(Vec<String>),
}

/// `x-kubernetes-patch-strategy` and `x-kubernetes-patch-merge-key`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strategy {
    pub(crate) merge: bool,
    pub(crate) replace: bool,
    pub(crate) merge_key: Option<String>,
}

/// What a value must satisfy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) allowed: Vec<Value>,
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) exclusive_maximum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) unique_items: bool,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) format: Option<String>,
    pub(crate) all_of: Vec<Arc<Schema>>,
    pub(crate) any_of: Vec<Arc<Schema>>,
    pub(crate) one_of: Vec<Arc<Schema>>,
    pub(crate) not: Option<Arc<Schema>>,
}

/// A schema that is read when it is first asked for: a cluster knows many more kinds than anybody uses.
pub(crate) struct Lazy {
    schema: OnceLock<Arc<Schema>>,
    read: Box<dyn Fn() -> Arc<Schema> + Send + Sync>,
}

impl Lazy {
    pub(crate) fn new(read: impl Fn() -> Arc<Schema> + Send + Sync + 'static) -> Lazy {
        Lazy { schema: OnceLock::new(), read: Box::new(read) }
    }

    fn shared(&self) -> &Arc<Schema> {
        self.schema.get_or_init(&self.read)
    }
}

impl fmt::Debug for Lazy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.schema.fmt(formatter)
    }
}

/// The schema of a part.
#[derive(Clone, Debug)]
pub(crate) enum Nested {
    /// As it is written in its place.
    Written(Arc<Schema>),
    /// A definition of its own: of the many that a pod refers to few are ever needed.
    Defined(Arc<Lazy>),
}

impl Deref for Nested {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        match self {
            Nested::Written(schema) => schema,
            Nested::Defined(schema) => schema,
        }
    }
}

impl Deref for Lazy {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        self.shared()
    }
}

/// A regular expression that is compiled when something is first held against it.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Pattern {
        Pattern { text: text.to_owned(), compiled: OnceLock::new() }
    }

    /// Everything is, for one that cannot be read.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| Regex::new(&self.text).ok());
        compiled.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Schema {
    /// The schema of a field; `None` when the field is not named.
    pub(crate) fn field(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name).or(self.additional.as_ref()).map(|field| &**field)
    }

    /// The schema of an item or field that the schema says nothing about.
    pub(crate) fn unspecified() -> Arc<Schema> {
        Arc::new(Schema { preserve: true, ..Schema::default() })
    }
}
