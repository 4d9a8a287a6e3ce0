//! Requests about objects, read: bodies, options, selectors, and who asks.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::path::Parameters;
use crate::selector::Selector;
use crate::shape::Shape;
use crate::state::{Options, Target, UnknownFields};
use crate::status::Status;
use crate::verbs::{Patch, Query};

/// A request about objects, read.
pub(crate) struct Asked<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) parameters: Parameters,
    pub(crate) body: Bytes,
    pub(crate) user: String,
    /// Changes that a read is behind.
    pub(crate) stale: u64,
    /// Events after which a watch breaks.
    pub(crate) breaks: Option<usize>,
}

impl Asked<'_> {
    pub(crate) fn shape(&self) -> Shape {
        Shape::of(text(&self.parts.headers, header::ACCEPT), self.parameters.text("includeObject"))
    }

    fn content_type(&self) -> &str {
        text(&self.parts.headers, header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim()
    }

    /// The body; an empty one is an empty object.
    pub(crate) fn json(&self) -> Result<Value, Status> {
        if self.body.is_empty() {
            return Ok(json!({}));
        }
        if self.content_type().contains("protobuf") {
            return Err(Status::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: application/json, \
                 application/yaml",
            ));
        }
        let wrong =
            |error: String| Status::bad_request(format!("couldn't get version/kind; json parse error: {error}"));
        // Clients write JSON, which is YAML, where they may write YAML.
        match serde_json::from_slice(&self.body) {
            Err(_) if self.content_type().contains("yaml") => {
                let text = std::str::from_utf8(&self.body).map_err(|error| wrong(error.to_string()))?;
                serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))
            }
            read => read.map_err(|error| wrong(error.to_string())),
        }
    }

    pub(crate) fn options(&self) -> Result<Options, Status> {
        let unknown_fields = match self.parameters.text("fieldValidation") {
            "Ignore" => UnknownFields::Ignore,
            "Strict" => UnknownFields::Refuse,
            "" | "Warn" => UnknownFields::Warn,
            other => {
                return Err(Status::bad_request(format!("fieldValidation {other:?} is not Ignore, Warn or Strict")));
            }
        };
        let dry_run = self.parameters.text("dryRun");
        if !["", "All"].contains(&dry_run) {
            let message = format!("Invalid value: {dry_run:?}: dryRun must be All");
            return Err(Status::new(422, "Invalid", message));
        }
        let named = self.parameters.text("fieldManager");
        let agent = text(&self.parts.headers, header::USER_AGENT).split('/').next().unwrap_or_default();
        let applies = self.content_type() == "application/apply-patch+yaml";
        let manager = if named.is_empty() && !applies { agent } else { named };
        let manager = if manager.is_empty() && !applies { "unknown" } else { manager };
        let dry_run = !dry_run.is_empty();
        Ok(Options { manager: manager.to_owned(), dry_run, force: self.parameters.is_true("force"), unknown_fields })
    }

    pub(crate) fn patch(&self, body: Value, options: &Options) -> Result<Patch, Status> {
        let patch = match self.content_type() {
            "application/json-patch+json" => Patch::Json(body),
            "application/merge-patch+json" => Patch::Merge(body),
            "application/strategic-merge-patch+json" => Patch::Strategic(body),
            "application/apply-patch+yaml" => return Ok(Patch::Apply(body)),
            other => {
                return Err(Status::unsupported_media_type(format!(
                    "the body of the request was in an unknown format ({other}) - accepted media types include: \
                     application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
                     application/apply-patch+yaml"
                )));
            }
        };
        if options.force {
            return Err(Status::new(
                422,
                "Invalid",
                "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
            ));
        }
        Ok(patch)
    }

    pub(crate) fn query(&self, target: &Target) -> Result<Query, Status> {
        let (labels, fields) = (self.parameters.text("labelSelector"), self.parameters.text("fieldSelector"));
        let version = self.parameters.text("resourceVersion");
        let stated = match version {
            "" | "0" => None,
            version => Some(version.parse::<u64>().map_err(|_| invalid_version(version))?),
        };
        let exact = self.parameters.text("resourceVersionMatch") == "Exact";
        Ok(Query {
            selector: Selector::parse(&target.resource, target.version(), labels, fields)?,
            limit: self.parameters.number("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or_default(),
            continued: self.parameters.text("continue").to_owned(),
            exactly: stated.filter(|_| exact),
            at_least: stated.filter(|_| !exact),
        })
    }
}

pub(crate) fn invalid_version(version: &str) -> Status {
    let why = format!("Invalid value: {version:?}: strconv.ParseUint: parsing {version:?}: invalid syntax");
    Status::new(422, "Invalid", format!("resourceVersion: {why}"))
}

/// Who asks: a bearer token is a user's name here.
pub(crate) fn user(headers: &HeaderMap) -> String {
    let impersonated = headers.get("impersonate-user").and_then(|user| user.to_str().ok());
    let token = text(headers, header::AUTHORIZATION).strip_prefix("Bearer ").filter(|token| !token.is_empty());
    impersonated.or(token).unwrap_or("admin").to_owned()
}

pub(crate) fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
