//! Sets of fields as tries, and `fieldsV1`, their written form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of paths. The node itself belongs to the set when it is a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    member: bool,
    /// In order. Most are few, and made in their order.
    children: Vec<(Element, Fields)>,
}

/// One step of a path, as `fieldsV1` writes it: sets are held against what is written far more often than they are made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    /// `f:`, and a field or a key of a map.
    Field(String),
    /// `k:`, and an item's keys as JSON with sorted keys.
    Key(String),
    /// `v:`, and an item of a set as JSON.
    Value(String),
    /// An item by its place.
    Index(usize),
}

impl Element {
    pub(crate) fn field(name: &str) -> Element {
        Element::Field(["f:", name].concat())
    }

    /// An item by its keys, as JSON with sorted keys.
    pub(crate) fn key(keys: &str) -> Element {
        Element::Key(["k:", keys].concat())
    }

    /// An item of a set.
    pub(crate) fn value(value: &Value) -> Element {
        Element::Value(format!("v:{value}"))
    }

    fn read(text: &str) -> Option<Element> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Element::Field(text.to_owned())),
            "k" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Element::key(&serde_json::to_string(&keys).ok()?))
            }
            "v" => Some(Element::value(&serde_json::from_str(rest).ok()?)),
            "i" => Some(Element::Index(rest.parse().ok()?)),
            _ => None,
        }
    }

    fn written(&self) -> Cow<'_, str> {
        match self {
            Element::Field(written) | Element::Key(written) | Element::Value(written) => Cow::Borrowed(written),
            Element::Index(index) => Cow::Owned(format!("i:{index}")),
        }
    }

    /// The name of the field that it is.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Element::Field(written) => written.strip_prefix("f:"),
            Element::Key(_) | Element::Value(_) | Element::Index(_) => None,
        }
    }

    /// As refusals show it.
    fn shown(&self) -> String {
        let written = self.written();
        let text = written.get(2..).unwrap_or_default();
        match self {
            Element::Field(_) => format!(".{text}"),
            Element::Key(_) => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(text).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", keys.join(","))
            }
            Element::Value(_) => format!("[={text}]"),
            Element::Index(_) => format!("[{text}]"),
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
            fields.set(element, child);
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
            written.insert(element.written().into_owned(), child.write());
        }
        Value::Object(written)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.iter().all(|(_, child)| child.is_empty())
    }

    pub(crate) fn is_member(&self) -> bool {
        self.member
    }

    pub(crate) fn set_member(&mut self, member: bool) {
        self.member = member;
    }

    pub(crate) fn child(&self, element: &Element) -> Option<&Fields> {
        self.place(element).ok().map(|at| &self.children[at].1)
    }

    /// Where a child is, or where it would be.
    fn place(&self, element: &Element) -> Result<usize, usize> {
        match self.children.last() {
            Some((last, _)) if last < element => Err(self.children.len()),
            _ => self.children.binary_search_by(|(own, _)| own.cmp(element)),
        }
    }

    fn set(&mut self, element: Element, child: Fields) {
        match self.place(&element) {
            Ok(at) => self.children[at].1 = child,
            Err(at) => self.children.insert(at, (element, child)),
        }
    }

    /// Puts a child in its place, unless it is empty.
    pub(crate) fn put(&mut self, element: Element, child: Fields) {
        if !child.is_empty() {
            self.set(element, child);
        }
    }

    pub(crate) fn union(&self, other: &Fields) -> Fields {
        let mut union = self.clone();
        union.member |= other.member;
        for (element, child) in &other.children {
            match union.place(element) {
                Ok(at) => union.children[at].1 = union.children[at].1.union(child),
                Err(at) => union.children.insert(at, (element.clone(), child.clone())),
            }
        }
        union
    }

    pub(crate) fn difference(&self, other: &Fields) -> Fields {
        let mut difference = Fields { member: self.member && !other.member, children: Vec::new() };
        for (element, child) in &self.children {
            let rest = other.child(element).map_or_else(|| child.clone(), |other| child.difference(other));
            difference.put(element.clone(), rest);
        }
        difference
    }

    pub(crate) fn intersection(&self, other: &Fields) -> Fields {
        let mut intersection = Fields { member: self.member && other.member, children: Vec::new() };
        for (element, child) in &self.children {
            if let Some(other) = other.child(element) {
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
        let shared = |(element, child): (&Element, &Fields)| {
            other.get(&*element.written()).is_some_and(|other| child.meets_written(other))
        };
        self.member && is_member_written(other) || self.children().any(shared)
    }

    /// True when the other, as `fieldsV1`, has all of it.
    pub(crate) fn is_within_written(&self, other: &Value) -> bool {
        let Some(other) = other.as_object() else { return false };
        let within = |(element, child): (&Element, &Fields)| {
            other.get(&*element.written()).is_some_and(|other| child.is_within_written(other))
        };
        (!self.member || is_member_written(other)) && self.children().all(within)
    }

    /// Without these fields and all below them.
    pub(crate) fn without(mut self, fields: &[&str]) -> Fields {
        self.children.retain(|(element, _)| !element.name().is_some_and(|name| fields.contains(&name)));
        self
    }

    /// Nothing but a field and all below it.
    pub(crate) fn only(&self, field: &str) -> Fields {
        let element = Element::field(field);
        let mut fields = Fields::default();
        if let Some(child) = self.child(&element) {
            fields.put(element, child.clone());
        }
        fields
    }

    /// Changes what stands below a field; what becomes empty is dropped.
    pub(crate) fn change(&mut self, field: &str, by: impl FnOnce(Fields) -> Fields) {
        let element = Element::field(field);
        if let Ok(at) = self.place(&element) {
            let (element, child) = self.children.remove(at);
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
        self.children.iter().map(|(element, child)| (element, child))
    }
}

/// Whether `fieldsV1` has what it stands for itself, and not only what is below.
fn is_member_written(fields: &Map<String, Value>) -> bool {
    fields.is_empty() || fields.contains_key(".")
}
