//! Schemas of single fields, where the type alone would say less, or refuse more, than the published API does.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

const DNS_SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const DNS_SUBDOMAIN_OR_EMPTY: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const KIND: &str = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";

/// A duration, by its beginning: the rest is checked when the Canary is parsed, with a better message.
pub(crate) fn optional_duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": r"^([0-9]+(\.[0-9]*)?(h|m|s|us|µs|ns)|$)" })
}

/// A whole number, or none.
pub(crate) fn optional_integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer" })
}

/// A whole number from 1, or none.
pub(crate) fn optional_positive_integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1 })
}

/// A port, or none.
pub(crate) fn optional_port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535 })
}

/// Seconds that a cookie lives.
pub(crate) fn cookie_max_age(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number", "default": 86400 })
}

/// An object whose fields belong to someone else.
pub(crate) fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Group of a Gateway API parent.
pub(crate) fn gateway_group(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "default": "gateway.networking.k8s.io", "maxLength": 253, "pattern": DNS_SUBDOMAIN_OR_EMPTY
    })
}

/// Kind of a Gateway API parent.
pub(crate) fn gateway_kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "default": "Gateway", "minLength": 1, "maxLength": 63, "pattern": KIND })
}

/// Group of a Gateway API backend.
pub(crate) fn backend_group(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "default": "", "maxLength": 253, "pattern": DNS_SUBDOMAIN_OR_EMPTY })
}

/// Kind of a Gateway API backend.
pub(crate) fn backend_kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "default": "Service", "minLength": 1, "maxLength": 63, "pattern": KIND })
}

/// A namespace, or none.
pub(crate) fn namespace(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 63, "pattern": DNS_LABEL })
}

/// A listener of a Gateway, or none.
pub(crate) fn section_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 253, "pattern": DNS_SUBDOMAIN })
}

/// Kinds that can be rolled out.
pub(crate) fn target_kinds(schema: &mut Schema) {
    kinds(schema, &["DaemonSet", "Deployment", "Service"]);
}

/// Kinds that the Ingress routers copy.
pub(crate) fn ingress_kinds(schema: &mut Schema) {
    kinds(schema, &["Ingress"]);
}

/// Kinds that the apisix router copies.
pub(crate) fn route_kinds(schema: &mut Schema) {
    kinds(schema, &["ApisixRoute"]);
}

/// Kinds that the gloo router copies.
pub(crate) fn upstream_kinds(schema: &mut Schema) {
    kinds(schema, &["Upstream"]);
}

fn kinds(schema: &mut Schema, kinds: &[&str]) {
    fn narrow(value: &mut Value, kinds: &[&str]) {
        if let Some(kind) = value.pointer_mut("/properties/kind").and_then(Value::as_object_mut) {
            kind.insert("enum".into(), json!(kinds));
        }
        if let Some(branches) = value.get_mut("anyOf").and_then(Value::as_array_mut) {
            branches.iter_mut().for_each(|branch| narrow(branch, kinds));
        }
    }
    let mut value = schema.clone().to_value();
    narrow(&mut value, kinds);
    if let Ok(narrowed) = Schema::try_from(value) {
        *schema = narrowed;
    }
}
