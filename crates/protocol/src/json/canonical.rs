//! A JSON value as bytes that are the same for every way to write it: order of members, white space, escapes.

use serde_json::value::RawValue;

use crate::json::raw::Object;
use crate::json::scalar::string;

/// Values that nest deeper are taken as they are written: each level is read once more for each level around it.
const DEPTH_MAX: usize = 12;

/// Gives the value's canonical bytes to `out`, in pieces. Members whose names are in `without` are left out, at the top level only.
pub(crate) fn write(json: &str, without: &[&str], out: &mut impl FnMut(&[u8])) {
    write_level(json, without, 0, out);
}

fn write_level(json: &str, without: &[&str], depth: usize, out: &mut impl FnMut(&[u8])) {
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'{' | b'[') if depth == DEPTH_MAX => text(json, out),
        Some(b'{') => {
            let Some(object) = Object::parse(json) else { return out(json.as_bytes()) };
            let mut members: Vec<(&str, &RawValue)> =
                object.members().filter(|(name, _)| !without.contains(name)).collect();
            // Of a member that repeats the last counts; the sort keeps their order.
            members.sort_by_key(|(name, _)| *name);
            out(b"{");
            for (place, (name, value)) in members.iter().enumerate() {
                if members.get(place + 1).is_some_and(|(next, _)| next == name) {
                    continue;
                }
                text(name, out);
                write_level(value.get(), &[], depth + 1, out);
            }
            out(b"}");
        }
        Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(json) {
            Ok(elements) => {
                out(b"[");
                for element in elements {
                    write_level(element.get(), &[], depth + 1, out);
                }
                out(b"]");
            }
            Err(_) => out(json.as_bytes()),
        },
        Some(b'"') => text(&string(json), out),
        // As written: 1 and 1.0 are two values.
        _ => {
            out(b"#");
            text(json, out);
        }
    }
}

/// A text with its length, so that no two sequences of texts give the same bytes.
fn text(text: &str, out: &mut impl FnMut(&[u8])) {
    out(&(text.len() as u64).to_be_bytes());
    out(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(json, &["CallbackTs"], &mut |part| bytes.extend_from_slice(part));
        bytes
    }

    #[test]
    fn order_space_escapes_and_left_out_members_do_not_count() {
        let one = canonical(r#"{"A":1,"B":[{"x":"\u0041","y":null}],"CallbackTs":5}"#);
        let two =
            canonical("{ \"CallbackTs\": 6,\n \"B\" : [ {\"y\":null,\"x\":\"A\"} ], \"A\":1 }");
        assert_eq!(one, two);
        assert_eq!(canonical(r#"{"A":1,"A":2}"#), canonical(r#"{"A":2}"#));
    }

    #[test]
    fn other_values_are_other_bytes() {
        let all = [
            r#"{"A":1}"#,
            r#"{"A":"1"}"#,
            r#"{"A":1.0}"#,
            r#"{"A":[1]}"#,
            r#"{"A":[1,2]}"#,
            r#"{"A":[12]}"#,
            r#"{"A":{"CallbackTs":1}}"#,
            r#"{"A":{}}"#,
            r#"{"A":null}"#,
            r#"{"A":""}"#,
            "{}",
            r#"{"a":1}"#,
            "[]",
            "\"\"",
            "0",
            "true",
        ];
        for (place, one) in all.iter().enumerate() {
            for other in &all[place + 1..] {
                assert_ne!(canonical(one), canonical(other), "{one} {other}");
            }
        }
    }
}
