//! What the client is told in the router's place.

use std::time::Duration;

use serde_json::{Value, json};

use super::Effect;
use crate::error::{CallError, Reason};
use crate::wire::message::write_response;
use crate::wire::{RequestId, codes};

/// The response to a request that failed between client and router.
pub(super) fn failed(id: &RequestId, reason: Reason, waited: Duration) -> Effect {
    let error = CallError {
        waited,
        ..CallError::from(reason)
    };
    // The words speak of the router where they would speak of a backend; for programs there was none.
    let wire = error.at("the router").to_wire();
    let error = match serde_json::from_str::<Value>(&wire) {
        Ok(mut error) => {
            error["data"]["backend"] = Value::Null;
            error.to_string()
        }
        Err(_) => wire,
    };
    Effect::Write(write_response(id.as_raw(), Err(&error)))
}

/// The response to what is no message, or to one that is refused here.
pub(super) fn refused(id: &str, code: i64, why: &str) -> Effect {
    let error = json!({ "code": code, "message": why });
    Effect::Write(write_response(id, Err(&error.to_string())))
}

/// The response to a message of more than `limit` bytes.
pub(super) fn too_long(id: &str, limit: usize) -> Effect {
    let why = format!("the message is longer than {limit} bytes, which listen.max-body allows");
    refused(id, codes::INVALID_REQUEST, &why)
}

/// JSON text as one line: between values, where alone it has line ends, a blank is the same.
pub(super) fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
