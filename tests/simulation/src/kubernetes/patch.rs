//! Bodies and patches: from bytes to the object that a write would make.

use bytes::Bytes;
use json_patch::{PatchOperation, TestOperation};
use serde_json::Value;

use super::refusal::Refusal;

/// Reads a body.
///
/// # Errors
/// 400 when it is no JSON object.
pub(super) fn decode(body: &Bytes) -> Result<Value, Refusal> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("the body of the request is no JSON: {error}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Refusal::bad("the body of the request is no object"))
    }
}

/// Applies a merge patch (RFC 7386).
pub(super) fn merge(old: &Value, body: &Bytes) -> Result<Value, Refusal> {
    let patch = decode(body)?;
    let mut new = old.clone();
    json_patch::merge(&mut new, &patch);
    Ok(new)
}

/// Applies a JSON patch (RFC 6902), with the real server's one licence: a test for null passes
/// where the path leads nowhere.
pub(super) fn operate(old: &Value, body: &Bytes) -> Result<Value, Refusal> {
    let patch: json_patch::Patch = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("error decoding patch: {error}")))?;
    let mut new = old.clone();
    for operation in &patch.0 {
        if let PatchOperation::Test(TestOperation {
            path,
            value: Value::Null,
        }) = operation
            && path.resolve(&new).is_err()
        {
            continue;
        }
        json_patch::patch(&mut new, std::slice::from_ref(operation)).map_err(|error| {
            Refusal::new(
                http::StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid",
                error.to_string(),
            )
        })?;
    }
    Ok(new)
}
