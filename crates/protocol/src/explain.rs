//! Where what we say of an event stands in its body: for people who look at one.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{clipped, contained};
use crate::body::decoded::Body;
use crate::command::description::Command;
use crate::json::raw::Object;
use crate::json::scalar::Scalar;
use crate::time::UnixMillis;

/// How deep a body is taken apart. What lies deeper is one field.
const DEPTH_MAX: usize = 16;
/// How many letters of a value are given.
const VALUE_CHARS_MAX: usize = 300;

/// Where a column's value stood in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The column of `events`.
    pub column: &'static str,
    /// The path in the body, in the language of [`Command`].
    pub path: &'static str,
    /// The value as it was sent, in JSON.
    pub sent: String,
}

/// One value of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Member names between dots, `[0]` for the place in an array.
    pub path: String,
    /// As it was sent, in JSON; `None` where it was sent by another name.
    pub sent: Option<String>,
    /// As the command's type has it, in JSON; `None` where the type has no such field.
    pub typed: Option<String>,
}

/// Where the columns of an event come from: those that are not from the body are left out.
#[must_use]
pub fn origins(command: &str, json: &str, event_time: UnixMillis) -> Vec<Origin> {
    let Some(body) = Object::parse(json) else {
        return Vec::new();
    };
    let row = Command::find(command).copied().unwrap_or_else(|| Command::unknown(command));
    let first = |column, paths: &[&'static str], is_it: &dyn Fn(Scalar<'_>) -> bool| {
        let path = *paths.iter().find(|path| body.at(path).is_some_and(is_it))?;
        Some(Origin { column, path, sent: shown(body.at(path)?) })
    };
    let is_id = |scalar: Scalar<'_>| scalar.into_id().is_some_and(|id| !clipped(&id).is_empty());
    let is_time = |scalar: Scalar<'_>| {
        let number = scalar.into_integer();
        number == Some(event_time.0)
            || number.and_then(|s| s.checked_mul(1000)) == Some(event_time.0)
    };
    [
        first("command", &["CallbackCommand"], &|scalar| matches!(scalar, Scalar::Text(_))),
        first("event_time", row.time, &is_time),
        first("call_id", row.call_id, &is_id),
        first("room_id", row.room_id, &is_id),
        first("operator", row.operator, &is_id),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn shown(scalar: Scalar<'_>) -> String {
    match scalar {
        Scalar::Text(text) => cut(&serde_json::to_string(&text).unwrap_or_default()),
        Scalar::Number(digits) => cut(&digits),
        Scalar::Bool(flag) => flag.to_string(),
    }
}

/// The accounts of which a `Call.CallbackAfterMemberChanged` tells something.
#[must_use]
pub fn changed_accounts(json: &str) -> Vec<String> {
    let users =
        Object::parse(json).and_then(|body| Vec::deserialize(body.get("ChangedUserList")?).ok());
    let users: Vec<&RawValue> = users.unwrap_or_default();
    let account =
        |user: &RawValue| Some(clipped(&Object::parse(user.get())?.at("User_Account")?.into_id()?));
    users.into_iter().filter_map(account).collect()
}

/// Every value of a body beside what its command's type made of it, at most `fields_max`.
#[must_use]
pub fn fields(command: &str, json: &str, fields_max: usize) -> Vec<Field> {
    let mut fields: Vec<Field> = leaves(json, fields_max)
        .into_iter()
        .map(|(path, sent)| Field { path, sent: Some(sent), typed: None })
        .collect();
    for (path, typed) in
        typed(command, json).map_or_else(Vec::new, |typed| leaves(&typed, fields_max))
    {
        let is_full = fields.len() >= fields_max;
        match fields.iter_mut().find(|field| field.path == path) {
            Some(field) => field.typed = Some(typed),
            None if typed == "null" || is_full => {}
            None => fields.push(Field { path, sent: None, typed: Some(typed) }),
        }
    }
    fields
}

/// The typed body as JSON, without the names of its family and command.
fn typed(command: &str, json: &str) -> Option<String> {
    let decode = Command::find(command)?.decode?;
    // It was read when it came; should this version stumble over it, its type is left out.
    let body = contained(|| decode(json).ok()).flatten()?.body;
    if matches!(body, Body::Untyped | Body::Undecoded) {
        return None;
    }
    let json = serde_json::to_string(&body).ok()?;
    let family = Object::parse(&json)?;
    let command = Object::parse(family.members().next()?.1.get())?;
    Some(command.members().next()?.1.get().to_owned())
}

/// The values of a body that are no objects or arrays, or are empty, each with its path.
fn leaves(json: &str, leaves_max: usize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str::<&RawValue>(json) {
        walk(value, String::new(), 0, leaves_max, &mut found);
    }
    found
}

fn walk(
    value: &RawValue,
    path: String,
    depth: usize,
    leaves_max: usize,
    found: &mut Vec<(String, String)>,
) {
    if found.len() >= leaves_max {
        return;
    }
    let text = value.get();
    if depth < DEPTH_MAX {
        if text.starts_with('{')
            && let Some(object) = Object::parse(text)
            && object.members().next().is_some()
        {
            for (name, value) in object.members() {
                let dot = if path.is_empty() { "" } else { "." };
                walk(value, format!("{path}{dot}{name}"), depth + 1, leaves_max, found);
            }
            return;
        }
        if text.starts_with('[')
            && let Ok(elements) = Vec::<&RawValue>::deserialize(value)
            && !elements.is_empty()
        {
            for (index, value) in elements.into_iter().enumerate() {
                walk(value, format!("{path}[{index}]"), depth + 1, leaves_max, found);
            }
            return;
        }
    }
    found.push((path, cut(text)));
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The same JSON with a line for each value, at most about `bytes_max` of it. No value is read, so that every digit and
/// every escape stays as it was sent. `true` where there is more.
#[must_use]
pub fn indented(json: &str, bytes_max: usize) -> (String, bool) {
    /// Indents no further than this, so that deep nesting does not make a large text of a small one.
    const INDENT_MAX: usize = 20;
    let mut out = String::with_capacity(json.len().min(bytes_max) * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth.min(INDENT_MAX)));
    };
    let mut letters = json.chars().peekable();
    while let Some(letter) = letters.next() {
        if out.len() >= bytes_max {
            return (out, true);
        }
        if in_string {
            in_string = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            out.push(letter);
            continue;
        }
        match letter {
            '{' | '[' => {
                out.push(letter);
                while letters.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(close) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ if letter.is_ascii_whitespace() => {}
            _ => {
                in_string = letter == '"';
                out.push(letter);
            }
        }
    }
    (out, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = r#"{"CallbackCommand":"Call.CallbackAfterStartCall","CallInfo":{"CallId":"c","RoomId":"7"},"New":{},
        "UserList":[{"User_Account":"w","Status":"Waiting"},{"User_Account":99999999999999999999,"Status":"Calling"}],
        "EventTime":1740464128807}"#;
    const COMMAND: &str = "Call.CallbackAfterStartCall";

    #[test]
    fn columns_name_the_path_and_the_value_as_sent() {
        let origins = origins(COMMAND, START, UnixMillis(1_740_464_128_807));
        let said: Vec<_> = origins.iter().map(|o| (o.column, o.path, o.sent.as_str())).collect();
        assert_eq!(
            said,
            [
                ("command", "CallbackCommand", r#""Call.CallbackAfterStartCall""#),
                ("event_time", "EventTime", "1740464128807"),
                ("call_id", "CallInfo.CallId", r#""c""#),
                ("room_id", "CallInfo.RoomId", r#""7""#),
                ("operator", "UserList[Status=Calling].User_Account", "99999999999999999999"),
            ]
        );
        assert!(super::origins("x", "[1]", UnixMillis(0)).is_empty());
    }

    #[test]
    fn changed_accounts_are_those_of_the_list() {
        let body = r#"{"ChangedUserList":[{"User_Account":"a"},7,{"User_Account":18446744073709551617},{}],"x":1}"#;
        assert_eq!(changed_accounts(body), ["a", "18446744073709551617"]);
        assert!(changed_accounts("{}").is_empty() && changed_accounts("7").is_empty());
    }

    #[test]
    fn every_value_is_explained_with_its_type() {
        let fields = fields(COMMAND, START, 100);
        let field = |path: &str| fields.iter().find(|field| field.path == path).unwrap();
        let account = field("UserList[1].User_Account");
        assert_eq!(account.sent.as_deref(), Some("99999999999999999999"));
        assert_eq!(account.typed.as_deref(), Some(r#""99999999999999999999""#));
        assert_eq!((field("New").sent.as_deref(), &field("New").typed), (Some("{}"), &None));
        assert_eq!(super::fields(COMMAND, START, 3).len(), 3);
    }

    #[test]
    fn a_value_that_does_not_fit_has_no_type() {
        let fields = fields(COMMAND, r#"{"UserList":7,"EventTime":"1"}"#, 100);
        let field = |path: &str, sent: &str, typed: &str| Field {
            path: path.into(),
            sent: Some(sent.into()),
            typed: Some(typed.into()),
        };
        assert_eq!(fields[..2], [field("UserList", "7", "null"), field("EventTime", "\"1\"", "1")]);
        let deep = format!("{}1{}", "[".repeat(900), "]".repeat(900));
        assert_eq!(super::fields(COMMAND, &deep, 100).len(), 1);
    }

    #[test]
    fn indenting_keeps_every_letter_of_the_values() {
        let (text, more) =
            indented(r#"{"a":[1.10,{}, [ ]],"b":"x:{,\"\\","c":12345678901234567890123}"#, 10_000);
        let expected = "{\n  \"a\": [\n    1.10,\n    {},\n    []\n  ],\n  \"b\": \"x:{,\\\"\\\\\",\n  \"c\": 12345678901234567890123\n}";
        assert_eq!((text.as_str(), more), (expected, false));
        let deep = "[".repeat(100_000);
        let (text, more) = indented(&deep, 50_000);
        assert!(more && text.len() < 60_000);
    }
}
