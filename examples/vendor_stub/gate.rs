//! What the vendor's gateway checks before a call reaches its service.

use hyper::Method;
use serde_json::Value;

use super::stub::Options;
use super::ticket;

/// What a call is about, once its query is in order.
pub(super) struct Asked<'a> {
    pub(super) app: i64,
    pub(super) service: &'a str,
    pub(super) action: &'a str,
    pub(super) nettype: Option<&'a str>,
    pub(super) body: Value,
}

/// Checks what the vendor's gateway checks; says the code it refuses with.
pub(super) fn examine<'a>(
    options: &Options,
    method: &Method,
    path: &'a str,
    query: &'a [(String, String)],
    body: &[u8],
) -> Result<Asked<'a>, i64> {
    let one = |name: &str| {
        let mut values = query.iter().filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value.as_str());
        value.filter(|_| values.next().is_none())
    };
    let (service, action) =
        path.strip_prefix("/v4/").and_then(|rest| rest.split_once('/')).ok_or(60009)?;
    if !CALLS.contains(&(service, action)) {
        return Err(60009);
    }
    if method != Method::POST {
        return Err(60008);
    }
    let app = one("sdkappid").ok_or(60012)?.parse::<i64>().map_err(|_| 60006)?;
    if one("contenttype") != Some("json") {
        return Err(60025);
    }
    let (identifier, usersig) =
        one("identifier").zip(one("usersig").filter(|text| !text.is_empty())).ok_or(60025)?;
    one("random").and_then(|random| random.parse::<u32>().ok()).ok_or(60002)?;
    let known = options.apps.iter().find(|known| known.id == app).ok_or(70020)?;
    if known.site != options.site {
        return Err(60026);
    }
    let now = options.clock.now().as_secs();
    ticket::check(usersig, (app, identifier, &known.key), now)?;
    if !known.admins.iter().any(|admin| admin == identifier) {
        return Err(60010);
    }
    let body: Value = serde_json::from_slice(body).map_err(|_| 60003)?;
    if !body.is_object() {
        return Err(60003);
    }
    Ok(Asked { app, service, action, nettype: one("nettype"), body })
}

/// Every call there is. Call has no `update_callback`, and only Live has tokens.
const CALLS: [(&str, &str); 15] = [
    ("call_config", "set_callback"),
    ("call_config", "get_callback"),
    ("call_config", "delete_callback"),
    ("room_config", "set_callback"),
    ("room_config", "update_callback"),
    ("room_config", "get_callback"),
    ("room_config", "delete_callback"),
    ("live_config", "set_callback"),
    ("live_config", "update_callback"),
    ("live_config", "get_callback"),
    ("live_config", "delete_callback"),
    ("live_config", "set_callback_token"),
    ("live_config", "get_callback_token"),
    ("live_config", "delete_callback_token"),
    ("ConfigSvc", "GetIPList"),
];
