//! Refusals, as the API server words them.

use serde_json::{Map, Value, json};

use crate::registry::Resource;

/// An answer other than success: the API's `Status` object.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason such as `NotFound`.
    pub reason: String,
    /// What people read.
    pub message: String,
    /// `details`: name, group, kind, uid, causes, retryAfterSeconds. Null when there are none.
    pub details: Value,
}

/// One cause in `details.causes`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Cause {
    pub(crate) fn invalid(field: &str, value: &Value, why: &str) -> Cause {
        Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value}: {why}"),
            field: field.to_owned(),
        }
    }

    pub(crate) fn required(field: &str, why: &str) -> Cause {
        let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Cause { reason: "FieldValueRequired", message, field: field.to_owned() }
    }

    pub(crate) fn unsupported(field: &str, value: &Value, allowed: &[Value]) -> Cause {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        Cause {
            reason: "FieldValueNotSupported",
            message: format!("Unsupported value: {value}: supported values: {}", allowed.join(", ")),
            field: field.to_owned(),
        }
    }

    pub(crate) fn forbidden(field: &str, why: &str) -> Cause {
        Cause { reason: "FieldValueForbidden", message: format!("Forbidden: {why}"), field: field.to_owned() }
    }
}

impl Status {
    /// A refusal with nothing in `details`.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Status {
        Status { code, reason: reason.to_owned(), message: message.into(), details: Value::Null }
    }

    /// True for 404.
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// True for 409 of a stale `resourceVersion`, a failed precondition or fields that others own.
    pub fn is_conflict(&self) -> bool {
        self.code == 409 && self.reason == "Conflict"
    }

    /// True when something of that name exists.
    pub fn is_already_exists(&self) -> bool {
        self.code == 409 && self.reason == "AlreadyExists"
    }

    /// The object that goes over the wire.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.clone().into();
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", message)
    }

    pub(crate) fn no_such_path() -> Status {
        let status = Status::new(404, "NotFound", "the server could not find the requested resource");
        Status { details: json!({}), ..status }
    }

    pub(crate) fn method_not_allowed() -> Status {
        let message = "the server does not allow this method on the requested resource";
        Status { details: json!({}), ..Status::new(405, "MethodNotAllowed", message) }
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Status {
        Status::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn expired(message: impl Into<String>) -> Status {
        Status::new(410, "Expired", message)
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Status {
        let message = format!("{} {name:?} not found", resource.qualified());
        Status::new(404, "NotFound", message).about(resource, name)
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Status {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Status::new(409, "AlreadyExists", message).about(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Status {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
        Status::new(409, "Conflict", message).about(resource, name)
    }

    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Status {
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified());
        Status::new(403, "Forbidden", message).about(resource, name)
    }

    /// A deletion that was meant for another object; worded by kind, not by resource.
    pub(crate) fn precondition(resource: &Resource, name: &str, why: &str) -> Status {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified_kind());
        let mut status = Status::new(409, "Conflict", message).about(resource, name);
        status.details["kind"] = resource.kind.clone().into();
        status
    }

    pub(crate) fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Status {
        let kind = resource.qualified_kind();
        let texts: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let text = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
        let mut status =
            Status::new(422, "Invalid", format!("{kind} {name:?} is invalid: {text}")).about(resource, name);
        status.details["kind"] = resource.kind.clone().into();
        let causes = causes
            .iter()
            .map(|cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field }));
        status.details["causes"] = causes.collect();
        status
    }

    fn about(mut self, resource: &Resource, name: &str) -> Status {
        let mut details = Map::new();
        details.insert("name".to_owned(), name.into());
        if !resource.group.is_empty() {
            details.insert("group".to_owned(), resource.group.clone().into());
        }
        details.insert("kind".to_owned(), resource.plural.clone().into());
        self.details = Value::Object(details);
        self
    }
}
