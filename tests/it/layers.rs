//! Holds the table of layers in ARCHITECTURE.md: who may use whom, and who never mentions what.

use std::fs;
use std::path::{Path, PathBuf};

/// A module, the modules it may use, and words that must not stand in it.
const LAYERS: &[(&str, &[&str], &[&str])] = &[
    ("clock", &[], &["axum", "sqlx", "tokio"]),
    ("callback", &["clock"], &["axum", "sqlx", "tokio", "reqwest"]),
    ("projections", &["callback", "clock"], &["axum", "sqlx", "tokio", "reqwest"]),
    ("store", &["callback", "projections", "clock"], &["axum", "reqwest"]),
    ("settings", &["callback", "store", "telemetry", "tencent_api"], &["axum", "sqlx"]),
    (
        "ip_list",
        &["callback", "clock", "settings", "telemetry", "tencent_api"],
        &["axum", "sqlx", "reqwest"],
    ),
    (
        "registration",
        &["callback", "clock", "ip_list", "settings", "store", "telemetry", "tencent_api"],
        &["axum", "sqlx", "reqwest"],
    ),
    ("telemetry", &["callback"], &["axum", "sqlx", "reqwest"]),
    (
        "ingest",
        &["callback", "projections", "store", "clock", "settings", "telemetry"],
        &["axum", "sqlx", "reqwest"],
    ),
    ("letters", &[], &["axum", "sqlx", "tokio", "reqwest"]),
    ("export", &[], &["axum", "sqlx", "tokio", "reqwest"]),
    (
        "http",
        &[
            "callback",
            "export",
            "letters",
            "store",
            "ingest",
            "ip_list",
            "registration",
            "tencent_api",
            "clock",
            "telemetry",
        ],
        &["sqlx", "reqwest"],
    ),
    (
        "sessions",
        &["callback", "registration", "projections", "store", "clock", "settings", "telemetry"],
        &["axum", "sqlx", "reqwest"],
    ),
    ("rebuild", &["store", "sessions", "clock", "settings"], &["axum", "sqlx", "reqwest"]),
    ("retention", &["store", "clock", "telemetry"], &["axum", "sqlx", "reqwest"]),
    ("sockets", &[], &["axum", "sqlx", "reqwest"]),
    ("simulate", &["callback", "clock"], &["axum", "sqlx", "tokio", "reqwest"]),
    ("tencent_api", &["callback", "clock", "letters"], &["axum", "sqlx"]),
    (
        "server",
        &[
            "callback",
            "ip_list",
            "store",
            "ingest",
            "http",
            "registration",
            "retention",
            "sessions",
            "sockets",
            "clock",
            "settings",
            "telemetry",
            "tencent_api",
        ],
        &["axum", "sqlx", "reqwest"],
    ),
    (
        "cli",
        &[
            "callback",
            "export",
            "ip_list",
            "projections",
            "letters",
            "store",
            "ingest",
            "http",
            "server",
            "rebuild",
            "registration",
            "simulate",
            "sockets",
            "clock",
            "settings",
            "telemetry",
            "tencent_api",
        ],
        &["axum", "sqlx"],
    ),
];

/// Statements of SQL, as they begin in a literal.
const SQL: [&str; 5] = ["\"select ", "\"insert ", "\"update ", "\"delete from ", "\"create table "];

#[test]
fn each_module_uses_only_the_layers_below_it() {
    for (module, code) in modules() {
        let (_, allowed, _) = layer(&module);
        for used in words_after(&code, "crate::") {
            let may = used == module || allowed.contains(&used.as_str());
            assert!(may, "`{module}` uses `crate::{used}`");
        }
    }
}

#[test]
fn each_module_keeps_to_its_own_trade() {
    for (module, code) in modules() {
        let (_, _, banned) = layer(&module);
        for word in *banned {
            let mention = format!("{word}::");
            assert!(!code.contains(&mention), "`{module}` mentions `{mention}`");
        }
        if module != "store" {
            for sql in SQL {
                assert!(!code.contains(sql), "`{module}` holds SQL: {sql}");
            }
        }
        if module != "clock" {
            for clock in ["SystemTime::now", "Timestamp::now", "Zoned::now"] {
                assert!(!code.contains(clock), "`{module}` reads the clock: {clock}");
            }
        }
    }
}

#[test]
fn the_two_stores_do_not_know_each_other() {
    for (one, other) in [("postgres", "sqlite"), ("sqlite", "postgres")] {
        for file in files(&source().join("store").join(one)) {
            let code = fs::read_to_string(&file).unwrap();
            let names = ["store::", "super::"].map(|path| format!("{path}{other}"));
            let knows = names.iter().any(|name| code.contains(name));
            assert!(!knows, "{} knows {other}", file.display());
        }
    }
}

#[test]
fn nothing_is_said_in_a_way_that_panics_where_stderr_takes_nothing() {
    for file in files(&source()) {
        let code = fs::read_to_string(&file).unwrap();
        let mut lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        assert!(!lines.any(|line| line.contains("eprint")), "{} uses eprintln", file.display());
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    for file in files(&source()) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines", file.display());
    }
}

fn layer(
    module: &str,
) -> &'static (&'static str, &'static [&'static str], &'static [&'static str]) {
    let found = LAYERS.iter().find(|(name, ..)| *name == module);
    found.unwrap_or_else(|| panic!("`{module}` is in no layer: add it to the table"))
}

/// The modules of the crate, each with the code of all its files.
fn modules() -> Vec<(String, String)> {
    let mut modules: Vec<(String, String)> = Vec::new();
    for file in files(&source()) {
        let path = file.strip_prefix(source()).unwrap().with_extension("");
        let module = path.iter().next().unwrap().to_str().unwrap().to_owned();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let code: String = fs::read_to_string(&file)
            .unwrap()
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| [line, "\n"])
            .collect();
        match modules.iter_mut().find(|(name, _)| *name == module) {
            Some((_, all)) => all.push_str(&code),
            None => modules.push((module, code)),
        }
    }
    assert!(modules.len() >= LAYERS.len(), "the table names modules that are gone");
    modules
}

/// The names that stand behind `prefix`, also in braces: `crate::{a, b::c}`.
fn words_after(code: &str, prefix: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let mut words = Vec::new();
    for rest in code.split(prefix).skip(1) {
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split("};").next().unwrap_or("");
                words.extend(list.split(',').map(|item| word(item.trim())));
            }
            None => words.push(word(rest)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
