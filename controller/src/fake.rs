//! A Kubernetes API in memory, behind a real client: enough to list, watch, get, create, patch, replace and delete.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body as Answer;
use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::objects::Kind;

/// The API. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    version: u64,
    /// By collection path without namespace (`/apis/apps/v1/deployments`), then namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    watchers: Vec<Watcher>,
    requests: Vec<String>,
    failure: Option<(u16, String)>,
    missing: Vec<String>,
    forbidden: Vec<String>,
    /// Collection and message of writes that admission refuses.
    denied: Option<(String, String)>,
    reviews: BTreeMap<String, Reviewer>,
}

/// From a review to its status.
type Reviewer = Arc<dyn Fn(&Value) -> Value + Send + Sync>;

struct Watcher {
    collection: String,
    metadata_only: bool,
    lines: mpsc::UnboundedSender<String>,
}

impl Fake {
    pub(crate) fn new() -> Fake {
        Fake::default()
    }

    pub(crate) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// Stores the object as somebody else would, and tells the watchers.
    pub(crate) fn put(&self, kind: Kind, object: Value) {
        self.lock().store(&collection(kind), object);
    }

    pub(crate) fn remove(&self, kind: Kind, namespace: &str, name: &str) {
        self.lock().delete(&(collection(kind), namespace.into(), name.into()));
    }

    pub(crate) fn object(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        self.lock().objects.get(&(collection(kind), namespace.into(), name.into())).cloned()
    }

    /// Every request but watches is answered like this from now on.
    pub(crate) fn fail(&self, code: u16, message: &str) {
        self.lock().failure = Some((code, message.to_owned()));
    }

    /// The API of the kind is not there; or there again.
    pub(crate) fn uninstall(&self, kind: Kind, missing: bool) {
        let mut state = self.lock();
        state.missing.retain(|path| *path != collection(kind));
        if missing {
            state.missing.push(collection(kind));
            state.watchers.retain(|watcher| watcher.collection != collection(kind));
        }
    }

    pub(crate) fn forbid(&self, kind: Kind) {
        self.lock().forbidden.push(collection(kind));
    }

    /// Writes of the kind are refused by a policy with this message; with `None` no longer.
    pub(crate) fn deny(&self, kind: Kind, message: Option<&str>) {
        self.lock().denied = message.map(|message| (collection(kind), message.to_owned()));
    }

    /// Objects of the kind are answered with this status and not stored, as reviews of tokens and rights are.
    pub(crate) fn review(&self, kind: Kind, reviewer: impl Fn(&Value) -> Value + Send + Sync + 'static) {
        self.lock().reviews.insert(collection(kind), Arc::new(reviewer));
    }

    /// Requests so far that were no lists and no watches, as `METHOD path?query body`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// The watches break off.
    pub(crate) fn hang_up(&self) {
        self.lock().watchers.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.expect("bodies are in memory");
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let content_type = parts.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let accept = parts.headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let metadata_only = accept.contains("PartialObjectMetadata");
        let (collection, namespace, name, subresource) = take_apart(parts.uri.path());
        let mut state = self.lock();
        if state.missing.contains(&collection) {
            return failure(404, "NotFound", "the server could not find the requested resource");
        }
        if state.forbidden.contains(&collection) {
            return failure(403, "Forbidden", "forbidden: User \"x\" cannot list resource");
        }
        let Some(name) = name else {
            if parts.method == Method::POST {
                let body: Value = serde_json::from_slice(&bytes).expect("bodies are JSON");
                state.requests.push(format!("POST {}?{query} {body}", parts.uri.path()));
                if let Some((code, message)) = &state.failure {
                    return failure(*code, "InternalError", message);
                }
                if let Some(message) = state.denies(&collection) {
                    return failure(403, "Forbidden", &message);
                }
                if let Some(reviewer) = state.reviews.get(&collection) {
                    let mut review = body.clone();
                    review["status"] = reviewer(&body);
                    return ok(&review);
                }
                return state.create(&collection, &namespace.unwrap_or_default(), body);
            }
            return if query.contains("watch=true") {
                state.watch(&collection, &query, metadata_only)
            } else {
                state.list(&collection, namespace.as_deref(), &query, metadata_only)
            };
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        state.requests.push(format!("{} {}?{query} {text}", parts.method, parts.uri.path()));
        if let Some((code, message)) = &state.failure {
            return failure(*code, "InternalError", message);
        }
        if matches!(parts.method, Method::PUT | Method::PATCH)
            && let Some(message) = state.denies(&collection)
        {
            return failure(403, "Forbidden", &message);
        }
        let key = (collection, namespace.unwrap_or_default(), name);
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match parts.method {
            Method::GET => state.objects.get(&key).map_or_else(not_found, ok),
            Method::PUT => state.replace(&key, body),
            Method::DELETE => {
                let uid = &body["preconditions"]["uid"];
                match state.objects.get(&key) {
                    None => not_found(),
                    Some(live) if live["metadata"]["uid"] != *uid => failure(409, "Conflict", "uid"),
                    Some(_) => {
                        state.delete(&key);
                        ok(&json!({}))
                    }
                }
            }
            _ => state.patch(&key, content_type, subresource.as_deref(), body),
        }
    }
}

impl State {
    fn denies(&self, collection: &str) -> Option<String> {
        self.denied.as_ref().filter(|(denied, _)| denied == collection).map(|(_, message)| message.clone())
    }

    fn store(&mut self, collection: &str, mut object: Value) -> Value {
        self.version += 1;
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (collection.to_owned(), text("/metadata/namespace"), text("/metadata/name"));
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            let earlier = self.objects.get(&key).map(|earlier| earlier["metadata"]["uid"].clone());
            object["metadata"]["uid"] = earlier.unwrap_or_else(|| format!("uid-{}", self.version).into());
        }
        let event = if self.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        self.objects.insert(key, object.clone());
        self.tell(collection, event, &object);
        object
    }

    fn delete(&mut self, key: &(String, String, String)) {
        if let Some(mut object) = self.objects.remove(key) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.tell(&key.0, "DELETED", &object);
        }
    }

    fn tell(&mut self, collection: &str, event: &str, object: &Value) {
        self.watchers.retain(|watcher| {
            let object = seen_by(object, watcher.metadata_only);
            let line = format!("{}\n", json!({ "type": event, "object": object }));
            watcher.collection != collection || watcher.lines.send(line).is_ok()
        });
    }

    fn list(
        &mut self,
        collection: &str,
        namespace: Option<&str>,
        query: &str,
        metadata_only: bool,
    ) -> Response<Answer> {
        // A selection of some objects is somebody's question; those of the watches leave a few out.
        if query.contains("involvedObject") {
            self.requests.push(format!("GET {collection} {namespace:?} {query}"));
        }
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let selector: Option<String> =
            pairs.into_iter().find(|(key, _)| key == "labelSelector").map(|(_, value)| value.into());
        let selector = match selector.as_deref().map(label_selector) {
            Some(None) => return failure(400, "BadRequest", "only `label in (values)` is understood"),
            Some(Some(selector)) => {
                self.requests.push(format!("GET {collection} {namespace:?} {selector:?}"));
                Some(selector)
            }
            None => None,
        };
        let items: Vec<Value> = self
            .objects
            .iter()
            .filter(|((path, own, _), _)| path == collection && namespace.is_none_or(|namespace| own == namespace))
            .filter(|(_, object)| {
                selector.as_ref().is_none_or(|(label, values)| {
                    object["metadata"]["labels"][label]
                        .as_str()
                        .is_some_and(|value| values.iter().any(|one| one == value))
                })
            })
            .map(|(_, object)| seen_by(object, metadata_only))
            .collect();
        ok(&json!({
            "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": self.version.to_string() }, "items": items,
        }))
    }

    fn watch(&mut self, collection: &str, query: &str, metadata_only: bool) -> Response<Answer> {
        let (lines, receiver) = mpsc::unbounded_channel::<String>();
        // What came between the list and the watch is told first.
        let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")?.parse::<u64>().ok());
        let version = |object: &Value| object["metadata"]["resourceVersion"].as_str()?.parse::<u64>().ok();
        for (_, object) in self.objects.iter().filter(|((of, ..), _)| of == collection) {
            if from.is_some_and(|from| version(object) > Some(from)) {
                let object = seen_by(object, metadata_only);
                // The receiver is here.
                let _ = lines.send(format!("{}\n", json!({ "type": "ADDED", "object": object })));
            }
        }
        self.watchers.push(Watcher { collection: collection.to_owned(), metadata_only, lines });
        let lines = stream::unfold(receiver, |mut receiver| async move {
            let line = receiver.recv().await?;
            Some((Ok::<_, Infallible>(Bytes::from(line)), receiver))
        });
        Response::new(Answer::from_stream(lines))
    }

    fn create(&mut self, collection: &str, namespace: &str, mut object: Value) -> Response<Answer> {
        object["metadata"]["namespace"] = namespace.into();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if self.objects.contains_key(&(collection.to_owned(), namespace.to_owned(), name)) {
            return failure(409, "AlreadyExists", "already exists");
        }
        ok(&self.store(collection, object))
    }

    fn replace(&mut self, key: &(String, String, String), object: Value) -> Response<Answer> {
        match self.objects.get(key) {
            None => not_found(),
            Some(live) if live["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] => {
                failure(409, "Conflict", "the object has been modified")
            }
            Some(_) => ok(&self.store(&key.0, object)),
        }
    }

    fn patch(
        &mut self,
        key: &(String, String, String),
        content_type: &str,
        subresource: Option<&str>,
        patch: Value,
    ) -> Response<Answer> {
        let live = self.objects.get(key).cloned();
        let mut object = match (live.clone(), content_type) {
            (None, "application/apply-patch+yaml") => json!({ "metadata": { "namespace": key.1, "name": key.2 } }),
            (None, _) => return not_found(),
            (Some(live), _) => live,
        };
        if content_type == "application/json-patch+json" {
            let patch: json_patch::Patch = serde_json::from_value(patch).expect("a JSON patch");
            if let Err(error) = json_patch::patch(&mut object, &patch) {
                return failure(422, "Invalid", &error.to_string());
            }
        } else {
            json_patch::merge(&mut object, &patch);
        }
        if let Some(live) = live {
            if live["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                return failure(409, "Conflict", "the object has been modified");
            }
            if subresource == Some("status") {
                let status = object["status"].clone();
                object = live.clone();
                object["status"] = status;
            }
            if live == object {
                return ok(&live);
            }
        }
        ok(&self.store(&key.0, object))
    }
}

fn seen_by(object: &Value, metadata_only: bool) -> Value {
    if metadata_only { json!({ "metadata": object["metadata"] }) } else { object.clone() }
}

fn collection(kind: Kind) -> String {
    if kind.group.is_empty() {
        format!("/api/{}/{}", kind.version, kind.plural)
    } else {
        format!("/apis/{}/{}/{}", kind.group, kind.version, kind.plural)
    }
}

/// Label and values of `label in (values)`.
fn label_selector(text: &str) -> Option<(String, Vec<String>)> {
    let (label, values) = text.split_once(" in (")?;
    Some((label.to_owned(), values.strip_suffix(')')?.split(',').map(str::to_owned).collect()))
}

/// Collection without namespace, namespace, name, subresource.
fn take_apart(path: &str) -> (String, Option<String>, Option<String>, Option<String>) {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let group = if parts[0] == "api" { 2 } else { 3 };
    let (namespace, rest) = match &parts[group..] {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
        rest => (None, rest),
    };
    let collection = format!("/{}/{}", parts[..group].join("/"), rest[0]);
    (collection, namespace, rest.get(1).map(|name| (*name).to_owned()), rest.get(2).map(|name| (*name).to_owned()))
}

fn ok(object: &Value) -> Response<Answer> {
    Response::new(Answer::from(object.to_string().into_bytes()))
}

fn not_found() -> Response<Answer> {
    failure(404, "NotFound", "not found")
}

fn failure(code: u16, reason: &str, message: &str) -> Response<Answer> {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    let mut response = ok(&status);
    *response.status_mut() = StatusCode::from_u16(code).expect("a status code");
    response
}
