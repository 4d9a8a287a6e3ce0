//! Requests and answers: what a client says over HTTP, done on the cluster.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::access::Attempt;
use crate::actions;
use crate::asked::{Asked, invalid_version, user};
use crate::cluster::Cluster;
use crate::documents;
use crate::faults::{Call, Fault, Faults};
use crate::path::{Parameters, Route, route};
use crate::reviews;
use crate::selector::Selector;
use crate::state::{State, Target, Written};
use crate::status::Status;
use crate::verbs::Deletion;
use crate::watching::Watch;

/// The rim of a cluster: what clients talk to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rim {
    cluster: Cluster,
    faults: Option<Arc<dyn Faults>>,
    calls: Arc<AtomicU64>,
}

impl Rim {
    pub(crate) fn new(cluster: Cluster, faults: Option<Arc<dyn Faults>>) -> Rim {
        Rim { cluster, faults, calls: Arc::default() }
    }

    /// Answers a request whose body has arrived.
    pub(crate) async fn answer(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let parameters = Parameters::parse(parts.uri.query().unwrap_or_default());
        let routed = route(&self.cluster.lock().registry, parts.uri.path());
        let route = match routed {
            Ok(route) => route,
            Err(status) => return refusal(&status),
        };
        let user = user(&parts.headers);
        let (target, subresource) = match &route {
            Route::Document(path) => return documents::answer(&self.cluster, path, &parts.headers),
            Route::Review(kind) => return self.review(kind, &body, &user),
            Route::Resource(target) => (target, target.part.subresource()),
            Route::Action(target, action) => (target, action.as_str()),
        };
        let Some(verb) = verb(&parts.method, target, &parameters) else {
            return refusal(&Status::method_not_allowed());
        };
        let call = Call {
            number: self.calls.fetch_add(1, Ordering::Relaxed) + 1,
            verb: verb.to_owned(),
            group: target.resource.group.clone(),
            kind: target.resource.kind.clone(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            subresource: subresource.to_owned(),
        };
        let fault = self.faults.as_ref().map_or(Fault::Pass, |faults| faults.before(&call));
        let mut asked = Asked { parts: &parts, parameters, body, user, stale: 0, breaks: None };
        let mut answered = true;
        match fault {
            Fault::Pass => {}
            Fault::Refuse(status) => return refusal(&status),
            Fault::Delay(delay) => tokio::time::sleep(delay).await,
            Fault::Unheard => return broken(),
            Fault::Unanswered => answered = false,
            Fault::Stale(changes) => asked.stale = changes,
            Fault::Break(events) => asked.breaks = Some(events),
        }
        let answer = self.perform(&route, target, verb, subresource, &asked).unwrap_or_else(|status| refusal(&status));
        if let Some(faults) = &self.faults {
            faults.after(&call);
        }
        if answered { answer } else { broken() }
    }

    fn perform(
        &self,
        route: &Route,
        target: &Target,
        verb: &str,
        subresource: &str,
        asked: &Asked<'_>,
    ) -> Result<Response<Body>, Status> {
        self.authorize(target, verb, subresource, &asked.user)?;
        match route {
            Route::Action(_, action) => {
                let body = asked.json()?;
                return actions::perform(&self.cluster, target, action, &body, &asked.parameters);
            }
            Route::Document(_) | Route::Review(_) | Route::Resource(_) => {}
        }
        match verb {
            "get" | "list" => self.read(target, asked),
            "watch" => self.watch(target, asked),
            "delete" | "deletecollection" => self.delete(target, asked),
            _ => self.write(target, verb, asked),
        }
    }

    fn authorize(&self, target: &Target, verb: &str, subresource: &str, user: &str) -> Result<(), Status> {
        let resource = &target.resource;
        let mut plural = resource.plural.clone();
        if !subresource.is_empty() {
            plural = format!("{plural}/{subresource}");
        }
        let attempt = Attempt {
            user: user.to_owned(),
            verb: verb.to_owned(),
            group: resource.group.clone(),
            resource: plural,
            namespace: target.namespace.clone(),
            name: target.name.clone(),
        };
        if self.cluster.lock().access.allows(&attempt) {
            return Ok(());
        }
        let place = if target.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", target.namespace)
        };
        let why = format!(
            "User {user:?} cannot {verb} resource {:?} in API group {:?} {place}",
            attempt.resource, resource.group
        );
        let mut status = Status::forbidden(resource, &target.name, &why);
        if target.name.is_empty() {
            status.message = format!("{} is forbidden: {why}", resource.qualified());
            if let Some(details) = status.details.as_object_mut() {
                details.remove("name");
            }
        }
        Err(status)
    }

    fn read(&self, target: &Target, asked: &Asked<'_>) -> Result<Response<Body>, Status> {
        let shape = asked.shape();
        let state = self.cluster.lock();
        let now = state.clock.now();
        let then = state.store.version().saturating_sub(asked.stale);
        if !target.name.is_empty() {
            let object = if asked.stale > 0
                && let Some(objects) = state.store.list_at(&target.resource.storage, &target.namespace, then)
            {
                let object = objects.get(&target.key()).cloned();
                object.ok_or_else(|| Status::not_found(&target.resource, &target.name))?
            } else {
                state.read(target)?
            };
            drop(state);
            return Ok(ok(&shape.object(target, &object, now)));
        }
        let mut query = asked.query(target)?;
        if asked.stale > 0 && query.continued.is_empty() {
            query.exactly = Some(then);
        }
        let page = state.list(target, &query)?;
        drop(state);
        Ok(written(StatusCode::OK, shape.list(target, &page, now)))
    }

    fn watch(&self, target: &Target, asked: &Asked<'_>) -> Result<Response<Body>, Status> {
        let mut labels_and_fields = asked.parameters.text("fieldSelector").to_owned();
        let mut target = target.clone();
        if !target.name.is_empty() {
            labels_and_fields = format!("metadata.name={}", target.name);
            target.name = String::new();
        }
        let labels = asked.parameters.text("labelSelector");
        let selector = Selector::parse(&target.resource, target.version(), labels, &labels_and_fields)?;
        let initial = asked.parameters.is_true("sendInitialEvents");
        let version = asked.parameters.text("resourceVersion");
        let from = match version {
            "" | "0" => None,
            _ if initial => None,
            version => Some(version.parse().map_err(|_| invalid_version(version))?),
        };
        let current = self.cluster.version();
        if let Some(from) = from.filter(|from| *from > current) {
            return Err(too_large(from, current));
        }
        let lines = Watch {
            selector,
            shape: asked.shape(),
            from,
            bookmarks: asked.parameters.is_true("allowWatchBookmarks"),
            marks_initial: initial,
            timeout: asked.parameters.number("timeoutSeconds").filter(|seconds| *seconds > 0).map(Duration::from_secs),
            breaks: asked.breaks,
            target,
        };
        let mut response = Response::new(Body::from_stream(lines.start(&self.cluster)?));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    fn write(&self, target: &Target, verb: &str, asked: &Asked<'_>) -> Result<Response<Body>, Status> {
        let options = asked.options()?;
        let body = asked.json()?;
        let patch = if verb == "patch" { Some(asked.patch(body.clone(), &options)?) } else { None };
        let written = self.cluster.write(|state: &mut State| match (&patch, verb) {
            (Some(patch), _) => state.patch(target, patch, &options),
            (None, "create") => state.create(target, body, &options),
            (None, _) => state.update(target, body, &options),
        })?;
        let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
        let shown = asked.shape().object(target, &written.object, self.cluster.now());
        let mut response = answer(code, &shown);
        warn(&mut response, &written);
        Ok(response)
    }

    fn delete(&self, target: &Target, asked: &Asked<'_>) -> Result<Response<Body>, Status> {
        let mut options = asked.json()?;
        for (parameter, field) in [("propagationPolicy", "propagationPolicy"), ("dryRun", "dryRun")] {
            let text = asked.parameters.text(parameter);
            if !text.is_empty() {
                options[field] = if field == "dryRun" { json!([text]) } else { text.into() };
            }
        }
        if let Some(grace) = asked.parameters.number("gracePeriodSeconds") {
            options["gracePeriodSeconds"] = grace.into();
        }
        let deletion = Deletion::read(&options)?;
        let shape = asked.shape();
        let now = self.cluster.now();
        if target.name.is_empty() {
            let query = asked.query(target)?;
            let items = self.cluster.write(|state| state.delete_collection(target, &query, &deletion))?;
            let version = self.cluster.version();
            let page = crate::verbs::Page { version, items, continued: String::new(), remaining: None };
            return Ok(written(StatusCode::OK, shape.list(target, &page, now)));
        }
        let (object, gone) = self.cluster.write(|state| state.delete(target, &deletion))?;
        let returned = ["Pod", "Service", "ServiceAccount", "PersistentVolumeClaim"];
        if !gone || target.resource.group.is_empty() && returned.contains(&target.resource.kind.as_str()) {
            return Ok(ok(&shape.object(target, &object, now)));
        }
        let mut details =
            json!({ "name": target.name, "kind": target.resource.plural, "uid": object["metadata"]["uid"] });
        if !target.resource.group.is_empty() {
            details["group"] = target.resource.group.clone().into();
        }
        Ok(ok(
            &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details }),
        ))
    }

    fn review(&self, kind: &str, body: &Bytes, user: &str) -> Response<Body> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let state = self.cluster.lock();
        answer(StatusCode::CREATED, &reviews::answer(&state.access, kind, body, user))
    }
}

pub(crate) fn too_large(version: u64, current: u64) -> Status {
    let cause = json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
    let details = json!({ "causes": [cause], "retryAfterSeconds": 1 });
    let message = format!("Timeout: Too large resource version: {version}, current: {current}");
    Status { details, ..Status::new(504, "Timeout", message) }
}

/// The verb as rights name it; `None` when the method does not fit the path.
fn verb(method: &Method, target: &Target, parameters: &Parameters) -> Option<&'static str> {
    let named = !target.name.is_empty();
    match *method {
        Method::GET if parameters.is_true("watch") => Some("watch"),
        Method::GET => Some(if named { "get" } else { "list" }),
        Method::POST => Some("create"),
        Method::PUT if named => Some("update"),
        Method::PATCH if named => Some("patch"),
        Method::DELETE => Some(if named { "delete" } else { "deletecollection" }),
        _ => None,
    }
}

pub(crate) fn ok(object: &Value) -> Response<Body> {
    answer(StatusCode::OK, object)
}

pub(crate) fn answer(code: StatusCode, object: &Value) -> Response<Body> {
    written(code, serde_json::to_vec(object).unwrap_or_default())
}

fn written(code: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) fn refusal(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer(code, &status.to_value());
    if let Some(seconds) = status.details["retryAfterSeconds"].as_u64() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn warn(response: &mut Response<Body>, written: &Written) {
    for warning in &written.warnings {
        let text = format!("299 - {warning:?}");
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// An answer whose body breaks off before it begins.
fn broken() -> Response<Body> {
    let error = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset");
    Response::new(Body::from_stream(stream::iter([Err::<Bytes, _>(error)])))
}

/// Answers a request of a client in this process.
pub(crate) async fn serve_client(rim: Rim, request: Request<kube::client::Body>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    Ok(match body.collect_bytes().await {
        Ok(body) => rim.answer(parts, body).await,
        Err(error) => refusal(&Status::bad_request(format!("the body cannot be read: {error}"))),
    })
}
