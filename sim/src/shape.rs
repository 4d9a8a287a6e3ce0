//! How objects and lists are shown: whole, as metadata, or as a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::state::Target;
use crate::table;
use crate::verbs::Page;

/// The form that `Accept` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Whole,
    Metadata,
    Table(RowObject),
}

/// What rows of a table carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowObject {
    None,
    Metadata,
    Whole,
}

impl Shape {
    pub(crate) fn of(accept: &str, include_object: &str) -> Shape {
        // The first form that is known wins, as the client prefers.
        for form in accept.split(',') {
            if form.contains("as=Table") {
                return Shape::Table(match include_object {
                    "None" => RowObject::None,
                    "Object" => RowObject::Whole,
                    _ => RowObject::Metadata,
                });
            }
            if form.contains("as=PartialObjectMetadata") {
                return Shape::Metadata;
            }
            if form.contains("json") && !form.contains("as=") || form.contains("*/*") {
                return Shape::Whole;
            }
        }
        Shape::Whole
    }

    /// One object.
    pub(crate) fn object(self, target: &Target, object: &Arc<Value>, now: jiff::Timestamp) -> Arc<Value> {
        Arc::new(match self {
            Shape::Whole => return object.clone(),
            Shape::Metadata => metadata_of(object),
            Shape::Table(rows) => {
                let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
                let columns = Some(table::columns(target));
                table_of(
                    target,
                    std::slice::from_ref(object),
                    rows,
                    columns,
                    &json!({ "resourceVersion": version }),
                    now,
                )
            }
        })
    }

    /// The object of a watch event; a table names its columns once.
    pub(crate) fn event_object(
        self,
        target: &Target,
        object: &Arc<Value>,
        first: bool,
        now: jiff::Timestamp,
    ) -> Arc<Value> {
        Arc::new(match self {
            Shape::Whole => return object.clone(),
            Shape::Metadata => return self.object(target, object, now),
            Shape::Table(rows) => {
                let columns = first.then(|| table::columns(target));
                let version = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
                table_of(target, std::slice::from_ref(object), rows, columns, &version, now)
            }
        })
    }

    /// A page of a list, written.
    pub(crate) fn list(self, target: &Target, page: &Page, now: jiff::Timestamp) -> Vec<u8> {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".to_owned(), page.version.to_string().into());
        if !page.continued.is_empty() {
            metadata.insert("continue".to_owned(), page.continued.clone().into());
        }
        if let Some(remaining) = page.remaining {
            metadata.insert("remainingItemCount".to_owned(), remaining.into());
        }
        let metadata = Value::Object(metadata);
        let written = match self {
            Shape::Whole => {
                let items: Vec<Item<'_>> =
                    page.items.iter().map(|object| Item { object, typed: !target.resource.custom }).collect();
                serde_json::to_vec(&List {
                    kind: format!("{}List", target.resource.kind),
                    api_version: target.api_version(),
                    metadata: &metadata,
                    items,
                })
            }
            Shape::Metadata => {
                let items: Vec<Value> = page.items.iter().map(metadata_of).collect();
                serde_json::to_vec(&json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                    "items": items,
                }))
            }
            Shape::Table(rows) => {
                let columns = Some(table::columns(target));
                serde_json::to_vec(&table_of(target, &page.items, rows, columns, &metadata, now))
            }
        };
        written.unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    kind: String,
    api_version: String,
    metadata: &'a Value,
    items: Vec<Item<'a>>,
}

/// Items of lists of built-in kinds do not repeat what they are.
struct Item<'a> {
    object: &'a Value,
    typed: bool,
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.object.as_object().into_iter().flatten();
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in fields {
            if !(self.typed && ["apiVersion", "kind"].contains(&name.as_str())) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

fn metadata_of(object: &Arc<Value>) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

fn table_of(
    target: &Target,
    objects: &[Arc<Value>],
    rows: RowObject,
    columns: Option<Vec<Value>>,
    metadata: &Value,
    now: jiff::Timestamp,
) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row = BTreeMap::from([("cells", Value::Array(table::cells(target, object, now)))]);
            match rows {
                RowObject::None => {}
                RowObject::Metadata => {
                    row.insert("object", metadata_of(object));
                }
                RowObject::Whole => {
                    row.insert("object", (**object).clone());
                }
            }
            json!(row)
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns.map_or(Value::Null, Value::Array), "rows": rows,
    })
}
