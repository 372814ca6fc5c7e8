//! Takes an account out of stored text: another name stands in its place, and all else stays byte for byte.
//!
//! Works on the text itself and never through a parsed value, so that numbers of any length, the order of members and
//! the spelling of everything else are kept.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::event::clipped;
use crate::json::lexer::{Token, Tokens, Unescaped};
use crate::json::raw;
use crate::request::recorded_request::Delivery;
use crate::time::UnixMillis;

/// How deep JSON inside strings inside JSON is looked into. The vendor nests once.
const NESTED_MAX: usize = 8;
/// Query keys that say where and with what the operator acted.
const OF_OPERATOR: [&str; 2] = ["clientip", "optplatform"];

/// An account, and what is to stand in its place.
#[derive(Debug, Clone)]
pub struct Erasure {
    account: String,
    pseudonym: String,
}

/// What is to become of a parked delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erased {
    /// It does not name the account.
    Unchanged,
    /// This line takes its place.
    Changed(String),
    /// The account acted in it.
    ByOperator(String),
}

impl Erasure {
    /// The pseudonym must be plain letters, digits and `-`, so that it means the same wherever it is put.
    ///
    /// `None` when it is not, or the account is empty.
    #[must_use]
    pub fn new(account: &str, pseudonym: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let sound = !account.is_empty() && !pseudonym.is_empty() && pseudonym.bytes().all(plain);
        sound.then(|| Self { account: account.to_owned(), pseudonym: pseudonym.to_owned() })
    }

    /// Whether a column, such as `operator`, holds the account: as it is, or cut to what a column holds.
    #[must_use]
    pub fn is_account(&self, column: &str) -> bool {
        column == self.account || column == clipped(&self.account)
    }

    /// What stands in the account's place.
    #[must_use]
    pub fn pseudonym(&self) -> &str {
        &self.pseudonym
    }

    /// A JSON text without the account; `None` when it does not name it.
    ///
    /// Strings and member names that equal the account, and integers that do under a name that stands for an account,
    /// become the pseudonym; also in JSON that stands in a string.
    #[must_use]
    pub fn json(&self, text: &str) -> Option<String> {
        let edits = self.edits(text, 0);
        (!edits.is_empty()).then(|| applied(text, &edits))
    }

    /// A body that is not JSON without the account; `None` when it does not name it.
    ///
    /// Where a string begins and ends cannot be told there: the account is replaced wherever it stands as a word, that
    /// is, between characters that are no ASCII letters or digits, `_` or `-`, and not parts of other letters.
    #[must_use]
    pub fn raw(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let account = self.account.as_bytes();
        let in_word = |byte: &u8| {
            byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'-' || !byte.is_ascii()
        };
        let mut erased = Vec::with_capacity(bytes.len());
        let mut place = 0;
        let mut found = false;
        while place < bytes.len() {
            let behind = place + account.len();
            let alone = bytes[place..].starts_with(account)
                && !bytes[..place].last().is_some_and(in_word)
                && !bytes.get(behind).is_some_and(in_word);
            if alone {
                erased.extend_from_slice(self.pseudonym.as_bytes());
                place = behind;
                found = true;
            } else {
                erased.push(bytes[place]);
                place += 1;
            }
        }
        found.then_some(erased)
    }

    /// A delivery on one line, as dead letters are kept, without the account. Where the account acted, its address
    /// and platform go from the query too.
    #[must_use]
    pub fn delivery(&self, line: &str) -> Erased {
        let Ok(mut delivery) = Delivery::parse(line) else {
            let erased = self.raw(line.as_bytes());
            return erased.map_or(Erased::Unchanged, |bytes| Erased::Changed(lossy(bytes)));
        };
        // Without a token nothing is stale, so the moment does not matter.
        let operator = delivery.event(UnixMillis(0)).and_then(|event| event.operator);
        let by_operator = operator.is_some_and(|operator| self.is_account(&operator));
        let changed = self.body(&mut delivery);
        if by_operator {
            delivery.query = without_operator(&delivery.query);
            return Erased::ByOperator(delivery.to_line());
        }
        if changed { Erased::Changed(delivery.to_line()) } else { Erased::Unchanged }
    }

    /// Takes the account out of a delivery's body, and says whether it was there.
    fn body(&self, delivery: &mut Delivery) -> bool {
        if let Some(body) = &delivery.body {
            let erased = self.json(body.get()).and_then(|text| RawValue::from_string(text).ok());
            return erased.map(|body| delivery.body = Some(body)).is_some();
        }
        if let Some(text) = &delivery.body_text {
            let erased = match raw::text(text.as_bytes()) {
                Ok(text) => self.json(text),
                Err(_) => self.raw(text.as_bytes()).map(lossy),
            };
            return erased.map(|text| delivery.body_text = Some(text)).is_some();
        }
        let coded = delivery.body_base64.as_ref().and_then(|coded| STANDARD.decode(coded).ok());
        let erased = coded.and_then(|bytes| self.raw(&bytes));
        erased.map(|bytes| delivery.body_base64 = Some(STANDARD.encode(bytes))).is_some()
    }

    /// What has to change in a JSON text, in its order.
    fn edits(&self, text: &str, nested: usize) -> Vec<Edit> {
        let mut edits = Vec::new();
        for token in Tokens::new(text) {
            match token {
                Token::Number { at, names_account } => {
                    if names_account && text[at.clone()] == self.account {
                        edits.push(Edit { at, text: format!("\"{}\"", self.pseudonym) });
                    }
                }
                Token::String { at } => self.edit_string(text, at, nested, &mut edits),
            }
        }
        edits
    }

    /// Whether a string is the account. Columns and what databases read of a body have U+FFFD in the place of NUL, so the
    /// account is given so.
    fn is_named(&self, text: &str) -> bool {
        text == self.account
            || text.contains('\0') && text.replace('\0', "\u{fffd}") == self.account
    }

    /// `at` is the content of a string, without its quotes.
    fn edit_string(&self, text: &str, at: Range<usize>, nested: usize, edits: &mut Vec<Edit>) {
        let plain = &text[at.clone()];
        let content = if plain.contains('\\') { Some(Unescaped::new(plain)) } else { None };
        if self.is_named(content.as_ref().map_or(plain, |content| &content.text)) {
            edits.push(Edit { at, text: self.pseudonym.clone() });
            return;
        }
        // JSON that names anything has quotes, and they are escaped in a string.
        let Some(content) = content else { return };
        let inner = content.text.trim_start();
        if nested == NESTED_MAX || !inner.starts_with(['{', '[']) {
            return;
        }
        if raw::text(content.text.as_bytes()).is_err() {
            return;
        }
        edits.extend(self.edits(&content.text, nested + 1).into_iter().map(|edit| Edit {
            at: at.start + content.places[edit.at.start]..at.start + content.places[edit.at.end],
            text: edit.text.replace('\\', "\\\\").replace('"', "\\\""),
        }));
    }
}

/// The text that is to stand at a place.
struct Edit {
    at: Range<usize>,
    text: String,
}

fn applied(text: &str, edits: &[Edit]) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut done = 0;
    for edit in edits {
        changed.push_str(&text[done..edit.at.start]);
        changed.push_str(&edit.text);
        done = edit.at.end;
    }
    changed + &text[done..]
}

/// A query without what says where and with what the operator acted.
#[must_use]
pub fn without_operator(query: &str) -> String {
    let query = query.replace('?', "&");
    let kept = form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| !OF_OPERATOR.contains(&key.to_ascii_lowercase().as_str()));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()
}

/// Replacing whole words by ASCII keeps a text a text, so nothing is ever lost here.
fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn erasure(account: &str) -> Erasure {
        Erasure::new(account, "erased-0").unwrap()
    }

    fn json(account: &str, text: &str) -> String {
        erasure(account).json(text).unwrap_or_else(|| "unchanged".into())
    }

    #[test]
    fn strings_and_names_that_equal_the_account_are_replaced() {
        let text =
            r#"{ "From_Account":"bob", "bob" : {"x":["bob","bobby","Bob"," bob"]}, "n":1e999 }"#;
        assert_eq!(
            json("bob", text),
            r#"{ "From_Account":"erased-0", "erased-0" : {"x":["erased-0","bobby","Bob"," bob"]}, "n":1e999 }"#
        );
        assert_eq!(json("bob", r#"{"text":"hello bob","a":"bobby","b":["bo"]}"#), "unchanged");
        assert_eq!(json("bob", r#""bob""#), r#""erased-0""#);
    }

    #[test]
    fn an_escaped_account_is_found() {
        assert_eq!(
            json("bob", r#"["\u0062ob","\u0062o\u0062y"]"#),
            r#"["erased-0","\u0062o\u0062y"]"#
        );
        assert_eq!(json("a\"b\\c/d", r#"["a\"b\\c\/d"]"#), r#"["erased-0"]"#);
        assert_eq!(
            json("é😀", r#"["\u00e9\ud83d\ude00","é😀","\u00e9\ud83d"]"#),
            r#"["erased-0","erased-0","\u00e9\ud83d"]"#
        );
    }

    #[test]
    fn an_account_with_nul_is_found_in_its_column_form() {
        for account in ["c\0t", "c\u{fffd}t"] {
            assert_eq!(json(account, r#"["c\u0000t","ct"]"#), r#"["erased-0","ct"]"#);
        }
        assert_eq!(json("c\u{fffd}t", r#"["c\ud83dt"]"#), r#"["erased-0"]"#);
    }

    #[test]
    fn json_in_a_string_is_rewritten_in_place() {
        let text = r#"{"Data":"{\"u\":\"bob\",\"x\":\"\\u00e9\\/\ud800\",\"n\":1.0}"}"#;
        assert_eq!(
            json("bob", text),
            r#"{"Data":"{\"u\":\"erased-0\",\"x\":\"\\u00e9\\/\ud800\",\"n\":1.0}"}"#
        );
        let number = r#"["[\"{\\\"UserId\\\":77}\"]"]"#;
        assert_eq!(json("77", number), r#"["[\"{\\\"UserId\\\":\\\"erased-0\\\"}\"]"]"#);
        assert_eq!(json("bob", r#"["{bob}"]"#), "unchanged");
    }

    #[test]
    fn an_integer_is_an_account_only_under_an_account_key() {
        let text = r#"{"User_Account":144327509918264371,"RoomId":144327509918264371,
            "CalleeList_Account":[1,144327509918264371],
            "L":[{"UserID":144327509918264371,"x":[144327509918264371]}],"UserIds":[144327509918264371]}"#;
        assert_eq!(
            json("144327509918264371", text),
            r#"{"User_Account":"erased-0","RoomId":144327509918264371,
            "CalleeList_Account":[1,"erased-0"],
            "L":[{"UserID":"erased-0","x":[144327509918264371]}],"UserIds":["erased-0"]}"#
        );
        assert_eq!(json("14432750991826437", text), "unchanged");
        assert_eq!(json("1", r#"{"UserId":1.0,"Owner_Account":1e0,"To_Account":-1}"#), "unchanged");
    }

    #[test]
    fn outside_json_the_account_is_replaced_as_a_whole_word() {
        let raw = |text: &str| erasure("bob").raw(text.as_bytes()).map(lossy);
        assert_eq!(raw("{\"a\":\"bob\"} x").unwrap(), "{\"a\":\"erased-0\"} x");
        assert_eq!(raw("bob,bobby bob").unwrap(), "erased-0,bobby erased-0");
        for other in ["", "bobby", "xbob", "bob-2", "bob_2", "ébob", "bobé", "bo"] {
            assert_eq!(raw(other), None, "{other}");
        }
    }

    #[test]
    fn a_delivery_loses_the_address_of_its_operator() {
        let query = "SdkAppid=1&CallbackCommand=x&ClientIP=10.0.0.1&OptPlatform=Web";
        let line = |body: &str| format!("{{\"query\":\"{query}\",{body}}}");
        let acted = line(r#""body":{"Operator_Account":"bob","n":1.0}"#);
        let Erased::ByOperator(erased) = erasure("bob").delivery(&acted) else { panic!("{acted}") };
        assert_eq!(
            erased,
            r#"{"query":"SdkAppid=1&CallbackCommand=x","body":{"Operator_Account":"erased-0","n":1.0}}"#
        );
        let named = line(r#""body_text":"bob said""#);
        let changed = line(r#""body_text":"erased-0 said""#);
        assert_eq!(erasure("bob").delivery(&named), Erased::Changed(changed));
        let coded = line(r#""body_base64":"/2JvYv8=""#);
        assert_eq!(erasure("bob").delivery(&coded), Erased::Unchanged);
        let coded = line(r#""body_base64":"/yBib2IA""#);
        let changed = line(r#""body_base64":"/yBlcmFzZWQtMAA=""#);
        assert_eq!(erasure("bob").delivery(&coded), Erased::Changed(changed));
        assert_eq!(
            erasure("bob").delivery("cut off \"bob\""),
            Erased::Changed("cut off \"erased-0\"".into())
        );
    }

    #[test]
    fn a_pseudonym_is_plain_and_an_account_is_not_empty() {
        assert!(Erasure::new("", "erased-0").is_none());
        assert!(Erasure::new("bob", "a\"b").is_none());
        assert!(Erasure::new("bob", "").is_none());
    }

    /// A JSON text with the account here and there, and the same text with the pseudonym there.
    fn texts() -> impl Strategy<Value = (String, String)> {
        let spaces = prop::sample::select(vec!["", " ", "\n\t"]);
        let same = |text: &str| (text.to_owned(), text.to_owned());
        let leaf = prop_oneof![
            Just(("\"a\\\"é\"".to_owned(), "\"erased-0\"".to_owned())),
            Just(("\"\\u0061\\\"\\u00E9\"".to_owned(), "\"erased-0\"".to_owned())),
            "-?[1-9][0-9]{0,30}(\\.[0-9]{1,3})?(e[0-9]{1,3})?".prop_map(move |text| same(&text)),
            ".*".prop_filter("not the account itself, nor JSON", |text| {
                text != "a\"é" && !text.trim_start().starts_with(['{', '['])
            })
            .prop_map(move |text| same(&serde_json::to_string(&text).unwrap())),
            prop::sample::select(vec!["null", "true", "\"\\ud800\\/\""]).prop_map(same),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            let name = prop_oneof![
                Just(("\"a\\\"é\"".to_owned(), "\"erased-0\"".to_owned())),
                Just(same("\"User_Account\"")),
                Just(same("\"b\"")),
            ];
            let join = |parts: Vec<((String, String), &str)>, open: &str, close: &str| {
                let side = |pick: fn(&(String, String)) -> &String| {
                    let parts =
                        parts.iter().map(|(part, space)| format!("{space}{}{space}", pick(part)));
                    format!("{open}{}{close}", parts.collect::<Vec<_>>().join(","))
                };
                (side(|part| &part.0), side(|part| &part.1))
            };
            prop_oneof![
                prop::collection::vec((inner.clone(), spaces.clone()), 0..5)
                    .prop_map(move |parts| join(parts, "[", "]")),
                prop::collection::vec((name, inner.clone(), spaces.clone()), 0..5).prop_map(
                    move |members| {
                        let member = |((name, new_name), (value, new_value), space)| {
                            (
                                (
                                    format!("{name}{space}:{value}"),
                                    format!("{new_name}{space}:{new_value}"),
                                ),
                                space,
                            )
                        };
                        join(members.into_iter().map(member).collect(), "{", "}")
                    }
                ),
                // The same within a string.
                inner.prop_map(|(text, erased)| {
                    let quoted = |text: &str| serde_json::to_string(&format!("[{text}]")).unwrap();
                    (quoted(&text), quoted(&erased))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn exactly_the_equal_strings_change((text, erased) in texts()) {
            prop_assert!(raw::text(text.as_bytes()).is_ok(), "{}", text);
            let changed = erasure("a\"é").json(&text);
            prop_assert_eq!(changed.as_deref().unwrap_or(&text), &erased);
            prop_assert_eq!(changed.is_some(), text != erased);
        }

        #[test]
        fn redacting_any_text_does_not_panic(text: String, bytes: Vec<u8>, account in ".+") {
            let _ = erasure(&account).json(&text);
            let _ = erasure(&account).raw(&bytes);
            let _ = erasure(&account).delivery(&text);
        }

        #[test]
        fn a_redacted_account_does_not_occur_again(account in "[a-z0-9]{1,20}", rest in "\\PC{0,20}") {
            prop_assume!(!rest.contains(&account) && !"erased-0".contains(&account));
            prop_assume!(account != "a" && account != "b");
            let text = serde_json::json!({"a": account, "b": [account, rest]}).to_string();
            let erased = erasure(&account).json(&text).unwrap();
            prop_assert!(!erased.contains(&format!("\"{account}\"")), "{}", erased);
            prop_assert_eq!(erasure(&account).json(&erased), None);
        }
    }
}
