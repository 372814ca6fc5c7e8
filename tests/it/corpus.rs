//! Every input the fuzzers kept goes through their checks again, and so does every fixture.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use protocol::{Dialect, Event};
use serde_json::value::RawValue;
use trtc_callbacks::store::StoredEvent;

use crate::support::fixtures;

#[path = "../../fuzz/checks.rs"]
pub(crate) mod checks;

/// The inputs that were kept in one of the folders of `fuzz/` for a target.
fn inputs(folder: &str, target: &str) -> Vec<PathBuf> {
    let folder = fuzz().join(folder).join(target);
    let Ok(files) = folder.read_dir() else { return Vec::new() };
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The names in a folder of `fuzz/`, without their endings.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fuzz().join(folder).read_dir().unwrap();
    let name =
        |path: PathBuf| path.with_extension("").file_name().unwrap().to_str().unwrap().into();
    entries.map(|entry| name(entry.unwrap().path())).collect()
}

fn replay(target: &str) {
    let corpus = inputs("corpus", target);
    assert!(!corpus.is_empty(), "fuzz/corpus/{target} is empty: ./scripts/fuzz {target} fills it");
    for file in corpus.into_iter().chain(inputs("found", target)) {
        // Seen when the check fails: a test's output is shown then.
        println!("{}", file.display());
        checks::run(target, &fs::read(&file).unwrap());
    }
}

#[test]
fn the_query_parser_passes_the_fuzz_corpus() {
    replay("query");
}

#[test]
fn the_signature_check_passes_the_fuzz_corpus() {
    replay("verify");
}

#[test]
fn the_decoder_passes_the_fuzz_corpus() {
    replay("decode");
}

#[test]
fn the_rtc_decoder_passes_the_fuzz_corpus() {
    replay("rtc");
}

#[test]
fn the_recorded_request_reader_passes_the_fuzz_corpus() {
    replay("delivery");
}

#[test]
fn every_fixture_passes_the_fuzzers_checks() {
    for fixture in fixtures() {
        println!("{}", fixture.name);
        let body = fixture.delivery.bytes().unwrap();
        let query = fixture.delivery.query.as_bytes();
        checks::run("query", query);
        match fixture.delivery.dialect {
            Dialect::Im => checks::run("decode", &[query, b"\n", &body].concat()),
            Dialect::RtcEngine => checks::run("rtc", &[b"key\n\n", query, b"\n", &body].concat()),
        }
    }
}

#[test]
fn every_fixture_decodes_with_any_value_of_another_type() {
    for fixture in fixtures() {
        println!("{}", fixture.name);
        let Ok(body) = serde_json::from_slice(&fixture.delivery.bytes().unwrap()) else { continue };
        let query = &fixture.delivery.query;
        let read = |body: &[u8]| match fixture.delivery.dialect {
            Dialect::Im => checks::read(query, body),
            Dialect::RtcEngine => checks::read_rtc(query, body),
        };
        for place in checks::places(&body) {
            for value in checks::VALUES {
                checks::check_replaced(read, &body, &place, value);
            }
        }
    }
}

#[test]
fn the_stored_row_of_every_kept_input_gives_its_request_back() {
    for file in inputs("corpus", "decode").into_iter().chain(inputs("found", "decode")) {
        println!("{}", file.display());
        let input = fs::read(&file).unwrap();
        let (query, body) = checks::query_and_body(&input);
        let row = row(checks::read(&query, body));
        let line = serde_json::to_string(&row).unwrap();
        assert!(!line.contains(['\n', '\r']), "{line}");
        serde_json::from_str::<&RawValue>(&line).unwrap();
        checks::check_line(&row.delivery(), row.payload.as_bytes());
    }
}

/// The row a store would give back.
fn row(event: Event) -> StoredEvent {
    StoredEvent {
        id: event.id,
        app: event.app,
        family: event.family.to_string(),
        command: event.command.to_string(),
        command_sent: event.command_sent,
        event_time: event.event_time,
        received_at: event.received_at,
        call_id: event.call_id,
        room_id: event.room_id,
        operator: event.operator,
        client_ip: event.client_ip,
        platform: event.platform,
        request_id: event.request_id,
        query: event.query,
        signature: event.unchecked.then(|| "unchecked".to_owned()),
        payload: event.payload,
        decode_error: event.decode_error,
    }
}

#[test]
fn every_check_has_a_target_and_a_corpus() {
    let checks: BTreeSet<String> = checks::TARGETS.iter().map(|(name, _)| (*name).into()).collect();
    assert_eq!(names("targets"), checks);
    assert_eq!(names("corpus"), checks);
    assert!(names("found").is_subset(&checks), "a folder of fuzz/found/ is no target's");
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in checks {
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
    }
}
