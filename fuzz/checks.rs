//! What must hold for any input at all. The fuzz targets run these checks on inputs they make up, and the test suite
//! runs them on every input that is kept in `corpus/` and `found/` (`tests/it/corpus.rs`).
//!
//! Inputs are laid out in lines, so that a file of the corpus can be read and written by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::UnixMillis;
use protocol::event::Payload;
use protocol::rtc::sign as rtc_signing;
use protocol::{
    AppId, Apps, Body, Command, Delivery, Dialect, Event, Kind, Query, Rejection, Verified,
    event_id, verify as signing,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use serde_json::value::RawValue;

/// A check of one input; it panics where something does not hold.
type Check = fn(&[u8]);

/// Every target: its name, which is also its folder's, and its check.
pub(crate) const TARGETS: [(&str, Check); 5] = [
    ("query", query),
    ("verify", verify),
    ("decode", decode),
    ("rtc", rtc),
    ("delivery", delivery),
];

/// Runs the check of one target.
pub(crate) fn run(target: &str, input: &[u8]) {
    let (_, check) = TARGETS.iter().find(|(name, _)| *name == target).expect("TARGETS names it");
    check(input);
}

const APP: &str = "1400000001";
/// What some programs write before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// 2026-11-01 12:00 UTC.
const NOW: UnixMillis = UnixMillis(1_793_534_400_000);
/// Times before 2015 are no event's.
const EARLIEST: UnixMillis = UnixMillis(1_420_070_400_000);
/// How many characters go into an indexed column.
const COLUMN_CHARS_MAX: usize = 255;
/// A reason is made of our words and the type's, of the first few misfits: it does not grow with the body.
const REASON_BYTES_MAX: usize = 600;

/// The query parser. The input is the query.
fn query(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let query = Query::parse(&text);
    assert_eq!(query, Query::parse(&text), "the same text is read the same way");
    let _ = query.platform_known();

    let fields = [
        ("SDKAPPID", &query.sdk_app_id),
        ("callbackcommand", &query.command),
        ("cLIENTip", &query.client_ip),
        ("OptPlatform", &query.platform),
        ("sign", &query.sign),
        ("RequestTime", &query.request_time),
        ("requestid", &query.request_id),
    ];
    let mut written = form_urlencoded::Serializer::new(String::new());
    for (key, value) in fields {
        if let Some(value) = value {
            assert!(!value.is_empty(), "an empty value is absent");
            assert!(value.len() <= text.len(), "a value is not longer than the query");
            written.append_pair(key, value);
        }
    }
    // All but the text itself.
    let said = |text: &str| Query { text: String::new(), ..Query::parse(text) };
    let query = Query { text: String::new(), ..query };
    assert_eq!(said(&written.finish()), query, "what was read can be written and read");
    // Whatever stands in the configured URL, the vendor's part behind it counts.
    let behind = said(&format!("{text}&SdkAppid=7"));
    assert_eq!(behind, Query { sdk_app_id: Some("7".to_owned()), ..query });
    // Keys of its own, in looser spellings, never do.
    let exact =
        "SdkAppid=7&CallbackCommand=c&ClientIP=a&OptPlatform=o&Sign=s&RequestTime=r&RequestId=i";
    let loose = "&sdkAppid=8&command=x&WebhookCommand=x&clientip=x&OPTPLATFORM=x&sign=x&requesttime=x\
                 &requestid=x";
    let closest = said(&format!("{text}&{exact}"));
    assert_eq!(said(&format!("{text}&{exact}{loose}")), closest);
}

/// The signature check. The input is, a line each: our time in ms, the window in s, the time that is signed, our tokens
/// with blanks between, the query.
fn verify(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(5, '\n');
    let mut line = || lines.next().unwrap_or("");
    let now = UnixMillis(line().parse().unwrap_or(NOW.0));
    let window: u64 = line().parse().unwrap_or(60);
    let time = line();
    let tokens = secrets(line());
    let query = line();
    let apps = Apps::new()
        .with(AppId::parse(APP).expect("it is an id"), tokens.clone())
        .with_request_time_window(Duration::from_secs(window));
    let admitted = |query: &str| {
        let query = Query::parse(query);
        let found = apps.verify(query.clone(), now).map_err(Rejection::reason);
        let expected = verdict(&tokens, window, now, &query);
        assert_eq!(found.as_ref().map(Verified::app).map_err(|reason| *reason), expected);
        expected
    };

    let _ = admitted(query);
    for token in &tokens {
        let sign = signing::sign(token, time);
        let signed = |sign: &str| {
            let signed = form_urlencoded::Serializer::new(String::new())
                .append_pair("SdkAppid", APP)
                .append_pair("Sign", sign)
                .append_pair("RequestTime", time)
                .finish();
            admitted(&format!("{query}&{signed}"))
        };
        let _ = signed(&sign);
        // One digit less, more, or other than the right ones. Which one, the input decides.
        assert!(signed(&sign[1..]).is_err());
        assert!(signed(&format!("{sign}0")).is_err());
        let place = input.len() % sign.len();
        let other = if sign[place..].starts_with('0') { "1" } else { "0" };
        assert!(signed(&[&sign[..place], other, &sign[place + 1..]].concat()).is_err());
    }
}

/// Secrets with blanks between, or none.
fn secrets(line: &str) -> Vec<SecretString> {
    let words = Some(line).filter(|line| !line.is_empty());
    words.into_iter().flat_map(|line| line.split(' ')).map(SecretString::from).collect()
}

/// What the check must say, written down a second time and in another way.
fn verdict(
    tokens: &[SecretString],
    window: u64,
    now: UnixMillis,
    query: &Query,
) -> Result<AppId, &'static str> {
    let Some(id) = &query.sdk_app_id else { return Err("app_missing") };
    let id = id.trim();
    let number = id.parse::<i64>().unwrap_or(0);
    if number <= 0 || id.starts_with('+') {
        return Err("app_malformed");
    }
    if number.to_string() != APP {
        return Err("app_foreign");
    }
    let ours = AppId::parse(APP).expect("it is an id");
    if tokens.is_empty() {
        return Ok(ours);
    }
    let (Some(sign), Some(time)) = (&query.sign, &query.request_time) else {
        return Err("sign_missing");
    };
    let known = tokens.iter().filter(|token| !token.expose_secret().is_empty());
    if !known.map(|token| signing::sign(token, time)).any(|right| right.eq_ignore_ascii_case(sign))
    {
        return Err("sign_wrong");
    }
    let apart = |time: i128| (i128::from(now.0.div_euclid(1000)) - time).unsigned_abs();
    match time.parse().map(apart) {
        Ok(seconds) if seconds <= u128::from(window) => Ok(ours),
        _ => Err("request_time_stale"),
    }
}

/// The query's line, and the body behind it.
pub(crate) fn query_and_body(input: &[u8]) -> (String, &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let body = input.get(end + 1..).unwrap_or_default();
    (format!("{}&SdkAppid={APP}", String::from_utf8_lossy(&input[..end])), body)
}

/// The decoder. The input is the query's line, then the body.
fn decode(input: &[u8]) {
    let (query, body) = query_and_body(input);
    let event = read(&query, body);
    check_event(&event, body, |body| read(&query, body));
    let body = event.payload.as_bytes();

    let delivery = Delivery::of_event(&event);
    check_line(&delivery, body);
    check_identity(&event, &read(&delivery.query, body));
    check_one_place(input, body, |body| read(&query, body));
}

/// What holds for an event in either dialect, however its body came.
fn check_event(event: &Event, body: &[u8], read: impl Fn(&[u8]) -> Event) {
    assert!(!event.decode_panicked, "{:?}", event.decode_error);
    check_payload(event, body);
    check_columns(event);
    check_identity(event, &read(body));
    if matches!(event.payload, Payload::Json(_)) && !body.starts_with(BYTE_ORDER_MARK) {
        let marked = read(&[BYTE_ORDER_MARK, body].concat());
        assert_eq!(marked.payload, event.payload, "the mark is no part of the body");
        check_identity(event, &marked);
    }
}

/// One place of the body, which the input decides, with each of [`VALUES`].
fn check_one_place(input: &[u8], body: &[u8], read: impl Fn(&[u8]) -> Event) {
    if let Ok(value) = serde_json::from_slice::<Value>(body)
        && value.is_object()
    {
        let places = places(&value);
        let place = &places[input.len() % places.len()];
        for sent in VALUES {
            check_replaced(&read, &value, place, sent);
        }
    }
}

/// The events of the RTC Engine. The input is, a line each: our keys with blanks between, the header `Sign`, the query, and then the
/// body.
fn rtc(input: &[u8]) {
    let mut lines = input.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let keys = secrets(&String::from_utf8_lossy(line()));
    let (sign, query, body) = (line(), String::from_utf8_lossy(line()).into_owned(), line());
    check_rtc_signature(&keys, sign, body);

    let event = read_rtc(&query, body);
    check_event(&event, body, |body| read_rtc(&query, body));
    check_tried_again(&event, &query);
    let body = event.payload.as_bytes();

    let delivery = Delivery::of_event(&event);
    check_line(&delivery, body);
    // A longer query is not kept.
    if query.len() <= 4096 {
        check_identity(&event, &delivery.event(NOW).expect("it names its app"));
    }
    let mut restored = Event { body: Body::Untyped, ..event.clone() };
    restored.restore_body();
    assert_eq!(restored.body, event.body);
    check_one_place(input, body, |body| read_rtc(&query, body));
}

/// Exactly what one of our keys signs is taken, and with no key all.
fn check_rtc_signature(keys: &[SecretString], sign: &[u8], body: &[u8]) {
    let app = AppId::parse(APP).expect("it is an id");
    let apps = Apps::new().with(app, Vec::new()).with_rtc_keys(app, keys.to_vec());
    let taken = |sign: &[u8], body: &[u8]| {
        let verified = apps.verify_rtc(app, [sign], body, Query::default());
        assert!(
            verified.as_ref().is_ok_and(Verified::is_checked)
                || verified.is_err()
                || keys.is_empty()
        );
        verified.is_ok()
    };
    let known = || keys.iter().filter(|key| !key.expose_secret().is_empty());
    let is_ours = |key: &SecretString| rtc_signing::sign(key, body).as_bytes() == sign.trim_ascii();
    assert_eq!(taken(sign, body), keys.is_empty() || known().any(is_ours));
    for key in known() {
        let sign = rtc_signing::sign(key, body);
        assert!(taken(sign.as_bytes(), body));
        assert!(!taken(sign.as_bytes(), &[body, b"\n"].concat()));
        let place = body.len() % sign.len();
        let other = if sign[place..].starts_with('A') { "B" } else { "A" };
        assert!(!taken([&sign[..place], other, &sign[place + 1..]].concat().as_bytes(), body));
    }
}

/// The same event with another time of the try, and its members in another order, is no other event.
fn check_tried_again(event: &Event, query: &str) {
    let members =
        serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(event.payload.as_bytes());
    let Ok(mut members) = members else { return };
    for tried_at in ["1760000000345", r#""1760000010345""#, "null", "[]"] {
        let raw = RawValue::from_string(tried_at.to_owned()).expect("it is JSON");
        members.insert("CallbackTs".to_owned(), raw);
        let body = serde_json::to_vec(&members).expect("names and JSON");
        let again = read_rtc(query, &body);
        assert_eq!(again.timed, event.timed);
        assert_eq!(event_id::content(again.id), event_id::content(event.id), "{again:?}");
        assert!(!event.timed || again.id == event.id, "{again:?}");
        assert_eq!((&again.command, again.body == Body::Undecoded), (&event.command, false));
    }
}

/// A JSON value of each kind, and some that a type may take for another's.
pub(crate) const VALUES: [&str; 13] = [
    "null",
    "true",
    "7",
    "1.5",
    "123456789012345678901234567890",
    r#""some words""#,
    r#""7""#,
    r#""cut \ud83d""#,
    "[]",
    r#"["ann", 7, [], {}]"#,
    "{}",
    r#"{"User_Account": [], "RoomId": "r", "\ud83d": 1}"#,
    r#""{\"RoomId\": {}}""#,
];

/// Every place in a body, as JSON pointers, its own among them.
pub(crate) fn places(body: &Value) -> Vec<String> {
    fn walk(value: &Value, here: String, found: &mut Vec<String>) {
        let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
        match value {
            Value::Object(members) => members
                .iter()
                .for_each(|(key, member)| walk(member, format!("{here}/{}", escaped(key)), found)),
            Value::Array(elements) => elements
                .iter()
                .enumerate()
                .for_each(|(index, element)| walk(element, format!("{here}/{index}"), found)),
            _ => {}
        }
        found.push(here);
    }
    let mut found = Vec::new();
    walk(body, String::new(), &mut found);
    found
}

/// With the value at `place` replaced by another (`sent`, in JSON), all other fields of the typed body are as they were,
/// and what does not fit is absent and named.
pub(crate) fn check_replaced(read: impl Fn(&[u8]) -> Event, body: &Value, place: &str, sent: &str) {
    const MARK: &str = "\u{1}the value that is replaced\u{1}";
    // These say which type it is.
    const NAMING: [&str; 4] = ["", "/CallbackCommand", "/EventGroupId", "/EventType"];
    if NAMING.contains(&place) || !body.is_object() {
        return;
    }
    let mut marked = body.clone();
    *marked.pointer_mut(place).expect("it is one of its places") = MARK.into();
    let mark = serde_json::to_string(MARK).expect("a text is JSON");
    let replaced = marked.to_string().replace(&mark, sent);
    let before = read(body.to_string().as_bytes());
    let after = read(replaced.as_bytes());
    let shown = || {
        format!("{place} = {sent}\n{:?}\n{:?}\n{:?}", before.body, after.body, after.decode_error)
    };
    assert_eq!(after.command, before.command, "{}", shown());
    assert!(after.body != Body::Undecoded, "{}", shown());

    let (was, is) = (typed(&before), typed(&after));
    let others = without(&was, place);
    // An element that does not fit is not in its list at all.
    let is_left_out = is == others;
    assert!(is_left_out || without(&is, place) == others, "{}", shown());
    if was != others && is_left_out && sent != "null" {
        let name =
            place.rsplit('/').find(|step| step.parse::<usize>().is_err()).unwrap_or_default();
        let reason = after.decode_error.as_deref().unwrap_or_default();
        assert!(reason.contains(name), "{}", shown());
    }
    let Some(row) = Command::find(&before.command) else { return };
    for (paths, was, is) in [
        (row.call_id, &before.call_id, &after.call_id),
        (row.room_id, &before.room_id, &after.room_id),
        (row.operator, &before.operator, &after.operator),
    ] {
        assert!(was == is || paths.iter().any(|path| concerns(path, place)), "{}", shown());
    }
}

/// The typed body, without what is absent.
fn typed(event: &Event) -> Value {
    fn drop_nulls(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|_, member| !member.is_null());
                members.values_mut().for_each(drop_nulls);
            }
            Value::Array(elements) => elements.iter_mut().for_each(drop_nulls),
            _ => {}
        }
    }
    let inner = |value: Value| match value {
        Value::Object(members) => {
            members.into_iter().next().map_or(Value::Null, |(_, inner)| inner)
        }
        other => other,
    };
    let body = serde_json::to_value(&event.body).expect("a body is texts, numbers and JSON");
    let mut body = inner(inner(body));
    drop_nulls(&mut body);
    body
}

/// `value` without what stands at `place`, there or in the object that a flat table leaves out.
fn without(value: &Value, place: &str) -> Value {
    let mut value = value.clone();
    for root in ["", "/CallInfo", "/CallRecord"] {
        let place = format!("{root}{place}");
        let Some((parent, last)) = place.rsplit_once('/') else { continue };
        match value.pointer_mut(parent) {
            Some(Value::Object(members)) => {
                _ = members.remove(&last.replace("~1", "/").replace("~0", "~"));
            }
            Some(Value::Array(elements)) => match last.parse::<usize>() {
                Ok(index) if index < elements.len() => _ = elements.remove(index),
                _ => {}
            },
            _ => {}
        }
    }
    value
}

/// Whether a path of the registry leads through `place`, or `place` through it.
fn concerns(path: &str, place: &str) -> bool {
    // Which element of an array it leads to may depend on all of them.
    let names = path.split('[').next().unwrap_or_default().split('.');
    let place = place.split('/').skip(1).filter(|step| step.parse::<usize>().is_err());
    names.zip(place).all(|(name, step)| name == step)
}

/// An event of the dialect of Chat.
pub(crate) fn read(query: &str, body: &[u8]) -> Event {
    let app = AppId::parse(APP).expect("it is an id");
    let verified = Apps::new().with(app, Vec::new()).verify(Query::parse(query), NOW);
    Event::decode(&verified.expect("an app without tokens is let in"), body, NOW)
}

/// An event of the RTC Engine.
pub(crate) fn read_rtc(query: &str, body: &[u8]) -> Event {
    let app = AppId::parse(APP).expect("it is an id");
    let apps = Apps::new().with(app, Vec::new());
    let verified = apps.verify_rtc(app, [], body, Query::parse(query));
    Event::decode(&verified.expect("an app without keys is let in"), body, NOW)
}

/// The bytes are kept as they came, and it is known whether they were understood.
fn check_payload(event: &Event, body: &[u8]) {
    let unmarked = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let is_json = matches!(event.payload, Payload::Json(_));
    assert_eq!(event.payload.as_bytes(), if is_json { unmarked } else { body });
    if let Payload::Json(text) = &event.payload {
        assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "a store's JSON column takes it");
    }
    assert!(event.body != Body::Undecoded || event.decode_error.is_some());
    if let Some(reason) = &event.decode_error {
        assert!(reason.len() <= REASON_BYTES_MAX, "{reason}");
        assert!(!reason.contains('\0'));
    }
}

/// Every store takes them, and those with an index are short enough for it.
fn check_columns(event: &Event) {
    assert!(!event.command.is_empty());
    let command = Some(&*event.command);
    let ids = [&event.call_id, &event.room_id, &event.operator];
    for column in ids.map(Option::as_deref).into_iter().chain([command]).flatten() {
        assert!(!column.is_empty());
        assert!(column.chars().count() <= COLUMN_CHARS_MAX, "{column}");
        assert!(!column.contains('\0'), "{column:?}");
    }
    let as_sent = [&event.command_sent, &event.client_ip, &event.platform, &event.request_id];
    for column in as_sent.into_iter().chain([&event.query]).flatten() {
        assert!(!column.is_empty());
        assert!(!column.contains('\0'), "{column:?}");
    }
    let latest = NOW.plus(Duration::from_hours(24));
    assert!((EARLIEST..=latest).contains(&event.event_time), "{}", event.event_time);
    let is_rtc = event.family.dialect() == Dialect::RtcEngine;
    assert!(event.timed || event.event_time == NOW || is_rtc);
}

/// Two readings of one request are one event where the vendor may repeat it, and else two that differ in nothing but
/// their id.
fn check_identity(event: &Event, again: &Event) {
    let is_rtc = event.family.dialect() == Dialect::RtcEngine;
    let repeatable =
        is_rtc || event.kind == Kind::After && (event.timed || event.request_id.is_some());
    assert_eq!(event.id.get_version_num(), if repeatable { 8 } else { 7 });
    assert_eq!(event_id::time_of(event.id), event.event_time);
    assert_eq!(event.id == again.id, repeatable);
    let columns = |event: &Event| {
        let names = (event.family, event.command.clone(), event.kind, event.event_time);
        let subject = (event.call_id.clone(), event.room_id.clone(), event.operator.clone());
        let sender = (event.client_ip.clone(), event.platform.clone(), event.request_id.clone());
        (names, subject, sender, event.body.clone(), event.decode_error.clone())
    };
    assert_eq!(columns(event), columns(again));
}

/// What is written down of a request is one line, and gives the request back.
pub(crate) fn check_line(delivery: &Delivery, body: &[u8]) {
    let line = delivery.to_line();
    assert!(!line.contains(['\n', '\r']), "{line}");
    let kept = Delivery::parse(&line).expect("what was written can be read");
    assert_eq!((kept.dialect, &kept.headers), (delivery.dialect, &delivery.headers));
    assert_eq!(kept.query, delivery.query);
    assert_eq!(kept.bytes().expect("it was just read"), body);
}

/// The reader of recorded requests. The input is one, as fixtures and error logs hold them.
fn delivery(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(delivery) = Delivery::parse(&text) else { return };
    let body = delivery.bytes().expect("it was just read");
    check_line(&delivery, &body);
    if let Some(event) = delivery.event(NOW) {
        assert!(!event.decode_panicked, "{:?}", event.decode_error);
        assert_eq!(event.family.dialect(), delivery.dialect);
    }
}
