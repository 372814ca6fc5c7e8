//! Cursors: where a list continues, as opaque text that names its list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The place of a row, as a cursor holds it.
pub(crate) trait Cursor: Serialize + DeserializeOwned {}

impl<T: Serialize + DeserializeOwned> Cursor for T {}

/// The place a cursor of the list `name` goes on behind.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, cursor: &str) -> Option<T> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let parsed: Value = serde_json::from_slice(&bytes).ok()?;
    if !is_storable(&parsed) {
        return None;
    }
    let (list, after): (String, T) = serde_json::from_value(parsed).ok()?;
    (list == name).then_some(after)
}

/// Whether no text in it is one that a store refuses, since none of ours is.
fn is_storable(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains('\0'),
        Value::Array(values) => values.iter().all(is_storable),
        Value::Object(fields) => fields.values().all(is_storable),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The cursor that goes on behind `after` in the list `name`.
pub(crate) fn format<T: Serialize>(name: &str, after: &T) -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&(name, after)).ok()?))
}
