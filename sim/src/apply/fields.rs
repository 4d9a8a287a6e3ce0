//! Sets of fields as tries, and `fieldsV1`, their written form.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value};

/// A set of paths. The node itself belongs to the set when it is a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    member: bool,
    children: BTreeMap<Element, Fields>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    /// A field or a key of a map.
    Field(String),
    /// An item by its keys, as JSON with sorted keys.
    Key(String),
    /// An item of a set, as JSON.
    Value(String),
    /// An item by its place.
    Index(usize),
}

impl Element {
    fn read(text: &str) -> Option<Element> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Element::Field(rest.to_owned())),
            "k" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Element::Key(serde_json::to_string(&keys).ok()?))
            }
            "v" => Some(Element::Value(serde_json::from_str::<Value>(rest).ok()?.to_string())),
            "i" => Some(Element::Index(rest.parse().ok()?)),
            _ => None,
        }
    }

    fn write(&self) -> String {
        match self {
            Element::Field(name) => format!("f:{name}"),
            Element::Key(keys) => format!("k:{keys}"),
            Element::Value(value) => format!("v:{value}"),
            Element::Index(index) => format!("i:{index}"),
        }
    }

    /// As refusals show it.
    fn shown(&self) -> String {
        match self {
            Element::Field(name) => format!(".{name}"),
            Element::Key(keys) => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", keys.join(","))
            }
            Element::Value(value) => format!("[={value}]"),
            Element::Index(index) => format!("[{index}]"),
        }
    }
}

impl Fields {
    /// Reads `fieldsV1`.
    pub(crate) fn read(value: &Value) -> Fields {
        let mut fields = Fields::default();
        for (name, child) in value.as_object().into_iter().flatten() {
            if name == "." {
                fields.member = true;
                continue;
            }
            let Some(element) = Element::read(name) else { continue };
            let mut child = Fields::read(child);
            if child.children.is_empty() {
                child.member = true;
            }
            fields.children.insert(element, child);
        }
        fields
    }

    /// Writes `fieldsV1`.
    pub(crate) fn write(&self) -> Value {
        let mut written = Map::new();
        if self.member && !self.children.is_empty() {
            written.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (element, child) in &self.children {
            written.insert(element.write(), child.write());
        }
        Value::Object(written)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Fields::is_empty)
    }

    pub(crate) fn is_member(&self) -> bool {
        self.member
    }

    pub(crate) fn set_member(&mut self, member: bool) {
        self.member = member;
    }

    pub(crate) fn child(&self, element: &Element) -> Option<&Fields> {
        self.children.get(element)
    }

    /// Puts a child in its place, unless it is empty.
    pub(crate) fn put(&mut self, element: Element, child: Fields) {
        if !child.is_empty() {
            self.children.insert(element, child);
        }
    }

    pub(crate) fn insert(&mut self, path: &[Element]) {
        match path {
            [] => self.member = true,
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub(crate) fn union(&self, other: &Fields) -> Fields {
        let mut union = self.clone();
        union.member |= other.member;
        for (element, child) in &other.children {
            match union.children.entry(element.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(child.clone());
                }
                Entry::Occupied(mut entry) => {
                    let both = entry.get().union(child);
                    entry.insert(both);
                }
            }
        }
        union
    }

    pub(crate) fn difference(&self, other: &Fields) -> Fields {
        let mut difference = Fields { member: self.member && !other.member, children: BTreeMap::new() };
        for (element, child) in &self.children {
            let rest = other.children.get(element).map_or_else(|| child.clone(), |other| child.difference(other));
            difference.put(element.clone(), rest);
        }
        difference
    }

    pub(crate) fn intersection(&self, other: &Fields) -> Fields {
        let mut intersection = Fields { member: self.member && other.member, children: BTreeMap::new() };
        for (element, child) in &self.children {
            if let Some(other) = other.children.get(element) {
                intersection.put(element.clone(), child.intersection(other));
            }
        }
        intersection
    }

    /// True when the intersection is not empty.
    pub(crate) fn meets(&self, other: &Fields) -> bool {
        let shared =
            |(element, child): (&Element, &Fields)| other.child(element).is_some_and(|other| child.meets(other));
        self.member && other.member || self.children().any(shared)
    }

    /// The same with the other as `fieldsV1`.
    pub(crate) fn meets_written(&self, other: &Value) -> bool {
        let Some(other) = other.as_object() else { return false };
        let member = other.is_empty() || other.contains_key(".");
        let shared = |(element, child): (&Element, &Fields)| {
            other.get(&element.write()).is_some_and(|other| child.meets_written(other))
        };
        self.member && member || self.children().any(shared)
    }

    /// Without these fields and all below them.
    pub(crate) fn without(mut self, fields: &[&str]) -> Fields {
        self.children
            .retain(|element, _| !matches!(element, Element::Field(field) if fields.contains(&field.as_str())));
        self
    }

    /// Nothing but a field and all below it.
    pub(crate) fn only(&self, field: &str) -> Fields {
        let element = Element::Field(field.to_owned());
        let mut fields = Fields::default();
        if let Some(child) = self.children.get(&element) {
            fields.put(element, child.clone());
        }
        fields
    }

    /// Changes what stands below a field; what becomes empty is dropped.
    pub(crate) fn change(&mut self, field: &str, by: impl FnOnce(Fields) -> Fields) {
        let element = Element::Field(field.to_owned());
        if let Some(child) = self.children.remove(&element) {
            self.put(element, by(child));
        }
    }

    /// The paths of all members, as refusals show them.
    pub(crate) fn paths(&self, at: &mut String, paths: &mut Vec<String>) {
        if self.member {
            paths.push(at.clone());
        }
        for (element, child) in &self.children {
            let length = at.len();
            at.push_str(&element.shown());
            child.paths(at, paths);
            at.truncate(length);
        }
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = (&Element, &Fields)> {
        self.children.iter()
    }
}
