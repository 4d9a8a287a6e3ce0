//! Patches as functions of objects.

mod strategic;

use serde_json::{Value, json};

use crate::status::Status;

pub(crate) use strategic::strategic;

/// RFC 6902.
pub(crate) fn json(base: &Value, patch: &Value) -> Result<Value, Status> {
    let patch: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    let mut object = base.clone();
    json_patch::patch(&mut object, &patch).map_err(|error| {
        let message = "the server rejected our request due to an error in our request";
        let cause = json!({ "reason": "UnexpectedServerResponse", "message": error.to_string() });
        Status { details: json!({ "causes": [cause] }), ..Status::new(422, "Invalid", message) }
    })?;
    Ok(object)
}

/// RFC 7386.
pub(crate) fn merge(base: &Value, patch: &Value) -> Result<Value, Status> {
    if !patch.is_object() {
        return Err(Status::bad_request("a merge patch must be an object"));
    }
    let mut object = base.clone();
    json_patch::merge(&mut object, patch);
    Ok(object)
}
