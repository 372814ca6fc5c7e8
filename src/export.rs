//! Lists as files: CSV and NDJSON, the same for the API and the command line.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::Context;
use serde::Serialize;
use serde_json::value::RawValue;

/// One JSON object a line.
pub(crate) fn ndjson<T: Serialize>(items: &[T]) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    for item in items {
        serde_json::to_writer(&mut text, item)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// A table of these columns, with their names above it where `head` says so. What a row does not have is empty.
pub(crate) fn csv<T: Serialize>(
    columns: &[String],
    items: &[T],
    head: bool,
) -> anyhow::Result<Vec<u8>> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    if head {
        lines.write_record(columns)?;
    }
    for item in items {
        // By its text, never by a `Value`, which would round numbers, and refuses what is nested deeply.
        let text = serde_json::to_string(item)?;
        let row: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(&text)?;
        let cells = columns.iter().map(|column| cell(row.get(column.as_str()).copied()));
        lines.write_record(cells)?;
    }
    lines.into_inner().context("write a table")
}

/// A cell's text. Users choose ids and names: a program that shows the table must not take one for a formula.
fn cell(value: Option<&RawValue>) -> String {
    let raw = value.map_or("null", RawValue::get);
    if raw == "null" {
        return String::new();
    }
    // Half of a surrogate pair makes a string that is no text: such a one stays as it came.
    match serde_json::from_str::<String>(raw) {
        Ok(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Ok(text) => text,
        Err(_) => raw.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cell_of(value: &Value) -> String {
        cell(Some(&RawValue::from_string(value.to_string()).unwrap()))
    }

    #[test]
    fn a_cell_is_no_formula() {
        for text in ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"] {
            assert_eq!(cell_of(&json!(text)), format!("'{text}"));
        }
        assert_eq!(cell_of(&json!(-1)), "-1");
        assert_eq!(cell_of(&json!("a=1")), "a=1");
        assert_eq!(cell_of(&json!(["a", 1])), r#"["a",1]"#);
        assert_eq!(cell_of(&Value::Null), "");
        assert_eq!(cell(None), "");
    }

    #[test]
    fn a_cell_of_json_is_what_came() {
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let twice = r#"{"UserId":12345678901234567890123456789,"a":1,"a":2}"#;
        for text in [twice, &deep, r#""\ud800""#] {
            let row = RawValue::from_string(format!("{{\"a\":{text}}}")).unwrap();
            let lines = csv(&["a".to_owned()], &[row], false).unwrap();
            let mut lines = csv::ReaderBuilder::new().has_headers(false).from_reader(&*lines);
            assert_eq!(&lines.records().next().unwrap().unwrap()[0], text);
        }
    }

    #[test]
    fn a_table_has_a_head_once_and_quotes_what_needs_it() {
        let columns = ["a".to_owned(), "b".to_owned()];
        let rows = [json!({"b": "x,\"y\"\n", "c": 1}), json!({"a": true})];
        let text = |head| String::from_utf8(csv(&columns, &rows, head).unwrap()).unwrap();
        assert_eq!(text(true), "a,b\n,\"x,\"\"y\"\"\n\"\ntrue,\n");
        assert_eq!(text(false), ",\"x,\"\"y\"\"\n\"\ntrue,\n");
        assert_eq!(csv::<Value>(&columns, &[], true).unwrap(), b"a,b\n");
    }
}
