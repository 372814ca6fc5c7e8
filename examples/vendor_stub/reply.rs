//! The answers, in the forms that the vendor documents.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

pub(super) fn ip_list(nettype: Option<&str>) -> Response<Full<Bytes>> {
    let list = match nettype {
        Some("5") => json!(["203.0.113.7", "198.51.100.0/25"]),
        Some("6") => json!(["192.0.2.0/24", "2001:db8::/32"]),
        Some("0" | "1" | "2" | "3" | "4") => json!([]),
        _ => return failure(60002, true),
    };
    reply(&json!({ "ActionStatus": "OK", "ErrorCode": 0, "IPList": list }))
}

pub(super) fn success(more: &Value) -> Response<Full<Bytes>> {
    let mut body = json!({ "ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0,
        "RequestId": request_id() });
    if let Some(response) = more.get("Response") {
        body["Response"] = response.clone();
    }
    reply(&body)
}

/// A failure: those of the gateway are `bare`, they have no `RequestId`.
pub(super) fn failure(code: i64, bare: bool) -> Response<Full<Bytes>> {
    let mut body = json!({ "ActionStatus": "FAIL", "ErrorCode": code, "ErrorInfo": "" });
    if !bare {
        body["ErrorInfo"] = format!("it went wrong with {code}").into();
        body["RequestId"] = request_id().into();
    }
    reply(&body)
}

/// Of the form that the vendor's have.
fn request_id() -> String {
    let random = uuid::Uuid::new_v4();
    format!("Id-{}-O-Seq-{}", random.simple(), random.as_u128() % 100_000)
}

pub(super) fn reply(body: &Value) -> Response<Full<Bytes>> {
    with_status(200, &body.to_string())
}

pub(super) fn with_status(status: u16, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response
}
