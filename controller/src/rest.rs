//! Requests to the Kubernetes API for objects as values: paths, verbs, deadlines, and errors that say what was tried.

use std::time::Duration;

use http::{Method, Request, header};
use kube::Client;
use serde_json::{Value, json};

use crate::metrics::Metrics;
use crate::objects::Kind;
use crate::problem::{ApiProblem, Class};

/// Field manager of everything Serin writes for Canaries.
pub const FIELD_MANAGER: &str = "serin";

/// Objects as they are.
const WHOLE: &str = "application/json";

/// Lists of metadata alone.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// A request that takes longer is given up; the server ends them after 60 s anyway.
const DEADLINE: Duration = Duration::from_secs(30);

/// The Kubernetes API, object by object. Cheap to clone.
#[derive(Clone)]
pub struct Rest {
    client: Client,
    metrics: Metrics,
    manager: &'static str,
}

/// How a patch body is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// Server-side apply by the field manager of this [`Rest`], forced.
    Apply,
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
}

/// Which objects of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select<'a> {
    /// Those with these labels.
    Labels(&'a str),
    /// Those with these values of fields that the kind can be selected by.
    Fields(&'a str),
}

impl Rest {
    /// Over this client; writes are counted.
    pub fn new(client: Client, metrics: Metrics) -> Rest {
        Rest { client, metrics, manager: FIELD_MANAGER }
    }

    /// The same, with another field manager.
    #[must_use]
    pub fn managed_by(self, manager: &'static str) -> Rest {
        Rest { manager, ..self }
    }

    /// The client below.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The object, or `None` when there is none.
    pub async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Value>, ApiProblem> {
        let path = path(kind, namespace, Some(name), None).map_err(|message| invalid("read", kind, name, message))?;
        match self.send("read", kind, &display(namespace, name), Method::GET, path, None).await {
            Ok(value) => Ok(Some(value)),
            Err(ApiProblem { class: Class::NotFound, .. }) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// At most `limit` objects of the namespace.
    pub async fn list(
        &self,
        kind: Kind,
        namespace: &str,
        select: Select<'_>,
        limit: usize,
    ) -> Result<Vec<Value>, ApiProblem> {
        self.list_as(WHOLE, kind, namespace, select, limit).await
    }

    /// The metadata alone of at most `limit` objects of the namespace.
    pub async fn list_metadata(
        &self,
        kind: Kind,
        namespace: &str,
        select: Select<'_>,
        limit: usize,
    ) -> Result<Vec<Value>, ApiProblem> {
        self.list_as(METADATA, kind, namespace, select, limit).await
    }

    async fn list_as(
        &self,
        shape: &'static str,
        kind: Kind,
        namespace: &str,
        select: Select<'_>,
        limit: usize,
    ) -> Result<Vec<Value>, ApiProblem> {
        let path = path(kind, namespace, None, None).map_err(|message| invalid("list", kind, namespace, message))?;
        let (parameter, selector) = match select {
            Select::Labels(selector) => ("labelSelector", selector),
            Select::Fields(selector) => ("fieldSelector", selector),
        };
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair(parameter, selector)
            .append_pair("limit", &limit.to_string())
            .finish();
        let path = format!("{path}?{query}");
        let mut list = self.send_for(shape, "list", kind, namespace, Method::GET, path, None).await?;
        Ok(match list["items"].take() {
            Value::Array(items) => items,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Vec::new(),
        })
    }

    /// Creates the object; one that exists already is a [`Class::Conflict`].
    pub async fn create(&self, kind: Kind, namespace: &str, body: &Value) -> Result<Value, ApiProblem> {
        let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let path = path(kind, namespace, None, None).map_err(|message| invalid("create", kind, name, message))?;
        let path = format!("{path}?fieldManager={}", self.manager);
        let body = Some(("application/json", body));
        self.send("create", kind, &display(namespace, name), Method::POST, path, body).await
    }

    /// Replaces the object; `metadata.resourceVersion` in `body` guards against concurrent writers.
    pub async fn replace(&self, kind: Kind, namespace: &str, name: &str, body: &Value) -> Result<Value, ApiProblem> {
        let path =
            path(kind, namespace, Some(name), None).map_err(|message| invalid("replace", kind, name, message))?;
        let path = format!("{path}?fieldManager={}", self.manager);
        let body = Some(("application/json", body));
        self.send("replace", kind, &display(namespace, name), Method::PUT, path, body).await
    }

    /// Patches the object or, when named, one of its subresources.
    pub async fn patch(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
        patch: PatchType,
        body: &Value,
    ) -> Result<Value, ApiProblem> {
        let (verb, content_type, query) = match patch {
            PatchType::Apply => ("apply", "application/apply-patch+yaml", "&force=true"),
            PatchType::Json => ("patch", "application/json-patch+json", ""),
            PatchType::Merge => ("patch", "application/merge-patch+json", ""),
        };
        let path =
            path(kind, namespace, Some(name), subresource).map_err(|message| invalid(verb, kind, name, message))?;
        let path = format!("{path}?fieldManager={}{query}", self.manager);
        let object = match subresource {
            Some(subresource) => format!("{} ({subresource})", display(namespace, name)),
            None => display(namespace, name),
        };
        self.send(verb, kind, &object, Method::PATCH, path, Some((content_type, body))).await
    }

    /// Deletes the object with that uid, its dependents in the background. One that is gone already is fine.
    pub async fn delete(&self, kind: Kind, namespace: &str, name: &str, uid: &str) -> Result<(), ApiProblem> {
        let path = path(kind, namespace, Some(name), None).map_err(|message| invalid("delete", kind, name, message))?;
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": { "uid": uid },
        });
        let body = Some(("application/json", &options));
        match self.send("delete", kind, &display(namespace, name), Method::DELETE, path, body).await {
            Ok(_) | Err(ApiProblem { class: Class::NotFound, .. }) => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    async fn send(
        &self,
        verb: &'static str,
        kind: Kind,
        object: &str,
        method: Method,
        path: String,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Value, ApiProblem> {
        self.send_for(WHOLE, verb, kind, object, method, path, body).await
    }

    #[expect(clippy::too_many_arguments, reason = "a request has that many parts")]
    async fn send_for(
        &self,
        shape: &'static str,
        verb: &'static str,
        kind: Kind,
        object: &str,
        method: Method,
        path: String,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Value, ApiProblem> {
        if method != Method::GET {
            self.metrics.api_write(kind.kind, verb);
        }
        let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, shape);
        let mut bytes = Vec::new();
        if let Some((content_type, body)) = body {
            request = request.header(header::CONTENT_TYPE, content_type);
            bytes = serde_json::to_vec(body).map_err(|error| invalid(verb, kind, object, error.to_string()))?;
        }
        let request = request.body(bytes).map_err(|error| invalid(verb, kind, object, error.to_string()))?;
        match tokio::time::timeout(DEADLINE, self.client.request::<Value>(request)).await {
            Ok(answer) => answer.map_err(|error| ApiProblem::of(error, verb, kind, object)),
            Err(_) => Err(ApiProblem {
                class: Class::Unreachable,
                doing: format!("{verb} {} {object}", kind.kind),
                message: format!("no answer within {} s", DEADLINE.as_secs()),
            }),
        }
    }
}

fn display(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

fn invalid(verb: &str, kind: Kind, name: &str, message: String) -> ApiProblem {
    ApiProblem { class: Class::Invalid, doing: format!("{verb} {} {name}", kind.kind), message }
}

/// Path of a collection or an object. Names come out of users' objects, so they are looked at before they go into a
/// path.
fn path(kind: Kind, namespace: &str, name: Option<&str>, subresource: Option<&str>) -> Result<String, String> {
    for part in [Some(namespace).filter(|namespace| !namespace.is_empty()), name].into_iter().flatten() {
        let allowed = |character: char| character.is_ascii_alphanumeric() || "-._:".contains(character);
        if part.is_empty() || part == "." || part == ".." || !part.chars().all(allowed) {
            return Err(format!("{part:?} is not a name of a Kubernetes object"));
        }
    }
    let mut path = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    if !namespace.is_empty() {
        path.push_str("/namespaces/");
        path.push_str(namespace);
    }
    path.push('/');
    path.push_str(kind.plural);
    for part in [name, subresource].into_iter().flatten() {
        path.push('/');
        path.push_str(part);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::kinds::{DEPLOYMENT, SERVICE};

    #[test]
    fn paths_of_the_core_group_and_of_others() {
        assert_eq!(path(SERVICE, "shop", None, None).unwrap(), "/api/v1/namespaces/shop/services");
        assert_eq!(
            path(DEPLOYMENT, "shop", Some("web"), Some("scale")).unwrap(),
            "/apis/apps/v1/namespaces/shop/deployments/web/scale"
        );
    }

    #[test]
    fn a_name_cannot_lead_out_of_its_place() {
        for name in ["", "..", "a/b", "a?b", "a%2fb", "a b"] {
            assert!(path(DEPLOYMENT, "shop", Some(name), None).is_err(), "{name}");
        }
    }
}
