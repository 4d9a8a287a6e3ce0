//! Get and list.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::write::scale_view;
use crate::selector::Selector;
use crate::state::{Part, State, Target};
use crate::status::Status;
use crate::store::Key;
use crate::views;

/// Which part of a collection is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub(crate) selector: Selector,
    /// 0 for no limit.
    pub(crate) limit: usize,
    /// The token that the last page ended with.
    pub(crate) continued: String,
    /// `resourceVersion` when that very version is asked for.
    pub(crate) exactly: Option<u64>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) version: u64,
    pub(crate) items: Vec<Arc<Value>>,
    /// Empty at the end.
    pub(crate) continued: String,
    pub(crate) remaining: Option<usize>,
}

impl State {
    /// An object, its status or its scale.
    pub(crate) fn read(&self, target: &Target) -> Result<Arc<Value>, Status> {
        let object = views::outbound(target, &self.stored(target)?);
        match target.part {
            Part::Whole | Part::Status => Ok(object),
            Part::Scale => Ok(Arc::new(scale_view(target, &object)?)),
        }
    }

    /// A page of a collection, as it was when the first page was read.
    pub(crate) fn list(&self, target: &Target, query: &Query) -> Result<Page, Status> {
        let expired = || {
            Status::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new \
                 list without the continue parameter, or use the continue token in this response to retrieve the \
                 remainder of the results.",
            )
        };
        let (version, after) = if query.continued.is_empty() {
            (query.exactly.unwrap_or(self.store.version()), None)
        } else {
            let token = URL_SAFE_NO_PAD.decode(&query.continued).ok();
            let token: Value = token.and_then(|token| serde_json::from_slice(&token).ok()).unwrap_or_default();
            let text = |field: &str| token[field].as_str().map(str::to_owned);
            let (Some(version), Some(namespace), Some(name)) =
                (token["version"].as_u64(), text("namespace"), text("name"))
            else {
                return Err(Status::bad_request("continue key is not valid"));
            };
            (version, Some(Key { resource: target.resource.storage.clone(), namespace, name }))
        };
        if version > self.store.version() {
            let message = format!("Too large resource version: {version}, current: {}", self.store.version());
            return Err(Status {
                details: json!({ "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }], "retryAfterSeconds": 1 }),
                ..Status::new(504, "Timeout", message)
            });
        }
        let resource = &target.resource.storage;
        let objects: Vec<(Key, Arc<Value>)> = if version == self.store.version() {
            let now = self.store.list(resource, &target.namespace);
            now.map(|(key, object)| (key.clone(), object.clone())).collect()
        } else {
            let then = self.store.list_at(resource, &target.namespace, version).ok_or_else(expired)?;
            then.into_iter().collect()
        };
        let mut matching = objects
            .into_iter()
            .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
            .filter(|(_, object)| {
                query.selector.is_everything() || query.selector.matches(&views::outbound(target, object))
            });
        let limit = if query.limit == 0 { usize::MAX } else { query.limit };
        let taken: Vec<(Key, Arc<Value>)> = matching.by_ref().take(limit).collect();
        let remaining = matching.count();
        let continued = match taken.last() {
            Some((last, _)) if remaining > 0 => {
                let token = json!({ "version": version, "namespace": last.namespace, "name": last.name });
                URL_SAFE_NO_PAD.encode(token.to_string())
            }
            Some(_) | None => String::new(),
        };
        let counted = !continued.is_empty() && query.selector.is_everything();
        Ok(Page {
            version,
            items: taken.iter().map(|(_, object)| views::outbound(target, object)).collect(),
            continued,
            remaining: counted.then_some(remaining),
        })
    }
}
