//! `metadata.managedFields`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde_json::{Map, Value, json};

use super::Writer;
use super::fields::Fields;

/// Who owns fields. Ordered as the API server lists them, but for the time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    operation: &'static str,
    manager: String,
    /// Empty for those who apply: they stay themselves when they change the version.
    api_version: String,
    subresource: String,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    fields: Owned,
    api_version: String,
    time: String,
}

/// What an owner owns. Most writes change what one owner owns, so the others' is not read.
#[derive(Clone, Debug)]
enum Owned {
    /// As this module wrote it once.
    Written(Value),
    Read(Fields),
}

/// All owners of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Managed {
    entries: BTreeMap<Owner, Entry>,
}

impl Owner {
    pub(super) fn update(writer: &Writer<'_>) -> Owner {
        Owner {
            operation: "Update",
            manager: writer.manager.to_owned(),
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
        }
    }

    pub(super) fn apply(writer: &Writer<'_>) -> Owner {
        Owner { operation: "Apply", api_version: String::new(), ..Owner::update(writer) }
    }
}

impl Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(formatter, " with subresource {:?}", self.subresource)?;
        }
        if self.operation == "Update" {
            write!(formatter, " using {}", self.api_version)?;
        }
        Ok(())
    }
}

impl Default for Owned {
    fn default() -> Owned {
        Owned::Read(Fields::default())
    }
}

impl Owned {
    fn read(&self) -> Cow<'_, Fields> {
        match self {
            Owned::Written(written) => Cow::Owned(Fields::read(written)),
            Owned::Read(fields) => Cow::Borrowed(fields),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Owned::Written(_) => false,
            Owned::Read(fields) => fields.is_empty(),
        }
    }

    fn meets(&self, fields: &Fields) -> bool {
        match self {
            Owned::Written(written) => fields.meets_written(written),
            Owned::Read(own) => own.meets(fields),
        }
    }

    /// True when it is plain to see that all of these are among them.
    fn has(&self, fields: &Fields) -> bool {
        match self {
            Owned::Written(written) => fields.is_within_written(written),
            Owned::Read(_) => false,
        }
    }

    fn write(self) -> Value {
        match self {
            Owned::Written(written) => written,
            Owned::Read(fields) => fields.write(),
        }
    }
}

impl Managed {
    /// As an object says that is stored.
    pub(super) fn of(object: &Value) -> Managed {
        let entries = object["metadata"]["managedFields"].as_array().cloned();
        Managed::from_entries(entries.unwrap_or_default())
    }

    /// The same, taken out of the object.
    pub(super) fn out_of(object: &mut Value) -> Managed {
        match object["metadata"].get_mut("managedFields").map(Value::take) {
            Some(Value::Array(entries)) => Managed::from_entries(entries),
            None | Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                Managed::default()
            }
        }
    }

    fn from_entries(entries: Vec<Value>) -> Managed {
        let mut managed = Managed::default();
        for mut entry in entries {
            let fields = entry.get_mut("fieldsV1").map(Value::take).unwrap_or_default();
            if fields.as_object().is_none_or(Map::is_empty) {
                continue;
            }
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            let applied = entry["operation"] == "Apply";
            let owner = Owner {
                operation: if applied { "Apply" } else { "Update" },
                manager: text("manager"),
                api_version: if applied { String::new() } else { text("apiVersion") },
                subresource: text("subresource"),
            };
            let entry = Entry { fields: Owned::Written(fields), api_version: text("apiVersion"), time: text("time") };
            managed.entries.insert(owner, entry);
        }
        managed
    }

    /// As a writer states it: one empty entry takes all owners away, nothing leaves them as they are.
    pub(super) fn stated(next: &Value, before: Managed) -> Managed {
        let entries = &next["metadata"]["managedFields"];
        let reset = entries.as_array().is_some_and(|entries| entries.len() == 1 && entries[0] == json!({}));
        if reset {
            return Managed::default();
        }
        let mut stated = Managed::of(next);
        // Others write it in their own way.
        stated.entries.retain(|_, entry| {
            entry.fields = Owned::Read(entry.fields.read().into_owned());
            !entry.fields.is_empty()
        });
        if stated.is_empty() { before } else { stated }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn fields(&self, owner: &Owner) -> Option<Fields> {
        self.entries.get(owner).map(|entry| entry.fields.read().into_owned())
    }

    /// What anybody owns.
    pub(super) fn everything(&self) -> Fields {
        self.entries.values().fold(Fields::default(), |all, entry| all.union(&entry.fields.read()))
    }

    /// The owner owns these fields as well.
    pub(super) fn give(&mut self, owner: Owner, fields: &Fields, now: &str) {
        let api_version = owner.api_version.clone();
        let entry = self.entries.entry(owner).or_default();
        if !entry.fields.has(fields) {
            entry.fields = Owned::Read(entry.fields.read().union(fields));
        }
        entry.api_version = api_version;
        entry.time = now.to_owned();
    }

    /// The owner owns these fields and no others.
    pub(super) fn replace(&mut self, owner: Owner, fields: Fields, api_version: &str, now: &str) {
        if fields.is_empty() {
            self.entries.remove(&owner);
            return;
        }
        let entry = Entry { fields: Owned::Read(fields), api_version: api_version.to_owned(), time: now.to_owned() };
        self.entries.insert(owner, entry);
    }

    /// Those of the fields that others own.
    pub(super) fn conflicts(&self, owner: &Owner, fields: &Fields) -> Vec<(Owner, Fields)> {
        let others = self.entries.iter().filter(|(other, entry)| *other != owner && entry.fields.meets(fields));
        others.map(|(other, entry)| (other.clone(), entry.fields.read().intersection(fields))).collect()
    }

    /// Nobody but `owner` owns these fields any more.
    pub(super) fn take_from_others(&mut self, owner: Option<&Owner>, fields: &Fields) {
        self.entries.retain(|other, entry| {
            if Some(other) != owner && entry.fields.meets(fields) {
                entry.fields = Owned::Read(entry.fields.read().difference(fields));
            }
            !entry.fields.is_empty()
        });
    }

    pub(super) fn write_into(self, object: &mut Value) {
        let mut entries: Vec<(Owner, Entry)> = self.entries.into_iter().collect();
        entries.sort_by(|(left, left_entry), (right, right_entry)| {
            (left.operation, &left_entry.time, left).cmp(&(right.operation, &right_entry.time, right))
        });
        let entries: Vec<Value> = entries
            .into_iter()
            .map(|(owner, entry)| {
                let mut written = Map::new();
                written.insert("manager".to_owned(), owner.manager.into());
                written.insert("operation".to_owned(), owner.operation.into());
                written.insert("apiVersion".to_owned(), entry.api_version.into());
                written.insert("time".to_owned(), entry.time.into());
                written.insert("fieldsType".to_owned(), "FieldsV1".into());
                written.insert("fieldsV1".to_owned(), entry.fields.write());
                if !owner.subresource.is_empty() {
                    written.insert("subresource".to_owned(), owner.subresource.into());
                }
                Value::Object(written)
            })
            .collect();
        let Some(metadata) = object["metadata"].as_object_mut() else { return };
        if entries.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".to_owned(), Value::Array(entries));
        }
    }
}
