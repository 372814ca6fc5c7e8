//! Layers: who may use whom, who never mentions what, and that no two files import each other. And documents: that they name
//! what exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::imports::{circles, imports};

/// A part of the server, the parts it may use, and the libraries it never does.
type Layer = (&'static str, &'static [&'static str], &'static [&'static str]);

/// The crates in `crates/`.
const CRATES: &[Layer] = &[
    ("protocol", &[], &["axum", "tokio", "reqwest"]),
    ("projections", &["protocol"], &["axum", "sqlx", "tokio", "reqwest"]),
    ("receiver", &["protocol"], &["sqlx", "metrics", "reqwest"]),
    ("store", &["projections", "protocol"], &["axum", "reqwest"]),
    ("forward", &["protocol"], &["axum", "sqlx"]),
    ("tencent-api", &["protocol"], &["axum", "sqlx"]),
];

/// The modules in `src/`. Crates among those they may use stand there as modules.
const LAYERS: &[Layer] = &[
    ("clock", &[], &["axum", "sqlx", "tokio"]),
    ("access", &["telemetry"], &["axum", "sqlx", "reqwest"]),
    ("settings", &["access", "store", "telemetry", "tencent_api"], &["axum", "sqlx"]),
    ("failure_report", &["tencent_api"], &["axum", "sqlx", "tokio", "reqwest"]),
    (
        "ip_list",
        &["clock", "failure_report", "settings", "telemetry", "tencent_api"],
        &["axum", "sqlx", "reqwest"],
    ),
    (
        "registration",
        &["clock", "failure_report", "ip_list", "settings", "store", "telemetry", "tencent_api"],
        &["axum", "sqlx", "reqwest"],
    ),
    ("telemetry", &[], &["axum", "sqlx", "reqwest"]),
    ("stream", &["store", "settings", "telemetry"], &["axum", "sqlx", "reqwest"]),
    (
        "ingest",
        &["projections", "store", "stream", "clock", "settings", "telemetry"],
        &["axum", "sqlx", "reqwest"],
    ),
    ("export", &[], &["axum", "sqlx", "tokio", "reqwest"]),
    ("forwarding", &["store", "clock", "settings", "telemetry"], &["axum", "sqlx", "reqwest"]),
    (
        "http",
        &[
            "access",
            "export",
            "failure_report",
            "store",
            "ingest",
            "ip_list",
            "registration",
            "clock",
            "telemetry",
        ],
        &["sqlx", "reqwest"],
    ),
    (
        "sessions",
        &["registration", "projections", "store", "clock", "settings", "telemetry"],
        &["axum", "sqlx", "reqwest"],
    ),
    ("rebuild", &["store", "sessions", "clock", "settings"], &["axum", "sqlx", "reqwest"]),
    ("retention", &["store", "clock", "telemetry"], &["axum", "sqlx", "reqwest"]),
    ("sockets", &[], &["axum", "sqlx", "reqwest"]),
    (
        "server",
        &[
            "access",
            "forwarding",
            "ip_list",
            "store",
            "ingest",
            "http",
            "registration",
            "retention",
            "sessions",
            "sockets",
            "stream",
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
            "access",
            "export",
            "forwarding",
            "ip_list",
            "projections",
            "store",
            "ingest",
            "http",
            "server",
            "rebuild",
            "registration",
            "sockets",
            "stream",
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
        // Not past `src/lib.rs`, which shows these crates as modules.
        for name in ["projections", "store", "tencent_api"] {
            assert!(!code.contains(&format!("use {name}::")), "`{module}`: use crate::{name}");
        }
    }
}

#[test]
fn crates_depend_only_on_what_their_layer_allows() {
    let here: BTreeSet<String> = crates().iter().map(|folder| name_of(folder)).collect();
    let listed: BTreeSet<String> = CRATES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(here, listed, "the crates of the table");
    for (name, allowed, banned) in CRATES {
        let manifest = root().join("crates").join(name).join("Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap();
        let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap();
        let dependencies = dependencies.split("\n[").next().unwrap();
        for line in dependencies.lines().filter(|line| !line.starts_with('#')) {
            let Some((dependency, form)) = line.split_once(" = ") else { continue };
            assert!(!banned.contains(&dependency), "`{name}` depends on {dependency}");
            let may = !form.contains("path = ") || allowed.contains(&dependency);
            assert!(may, "`{name}` uses `{dependency}`");
        }
    }
}

#[test]
fn sqlx_is_built_without_its_macros() {
    let crates = crates();
    let manifests = crates.iter().map(|source| source.with_file_name("Cargo.toml"));
    let mut named = 0;
    for manifest in manifests.chain([root().join("Cargo.toml")]) {
        let text = fs::read_to_string(&manifest).unwrap();
        for line in text.lines().filter(|line| line.starts_with("sqlx = { ")) {
            let brings = ["\"macros\"", "\"derive\"", "\"default\""];
            let without = line.contains("default-features = false")
                && !brings.iter().any(|feature| line.contains(feature));
            assert!(without, "{}: {line}", manifest.display());
            named += 1;
        }
    }
    assert!(named >= 2, "sqlx is named {named} times");
}

#[test]
fn sql_clocks_and_libraries_stay_in_their_modules() {
    for (module, code) in modules() {
        let (_, _, banned) = layer(&module);
        for word in *banned {
            let mention = format!("{word}::");
            assert!(!code.contains(&mention), "`{module}` mentions `{mention}`");
        }
    }
    let crates = crates().into_iter().map(|folder| {
        let code: String = files(&folder).iter().map(|file| without_comments(file)).collect();
        (name_of(&folder), code)
    });
    for (part, code) in modules().into_iter().chain(crates) {
        for sql in SQL.iter().filter(|_| part != "store") {
            assert!(!code.contains(sql), "`{part}` holds SQL: {sql}");
        }
        if !["clock", "receiver"].contains(&part.as_str()) {
            for clock in ["SystemTime::now", "Timestamp::now", "Zoned::now"] {
                assert!(!code.contains(clock), "`{part}` reads the clock: {clock}");
            }
        }
    }
}

#[test]
fn architecture_has_these_tables_of_layers() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (head, layers) in [
        ("| crate | may use | never depends on |", CRATES),
        ("| module | may use | never mentions |", LAYERS),
    ] {
        let table = text.split(head).nth(1).unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let rows: BTreeMap<&str, Vec<&str>> = rows
            .map(|row| {
                let row: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
                let name = row[0].split('`').nth(1).unwrap();
                (name.trim_start_matches("crates/"), row)
            })
            .collect();
        let listed: BTreeSet<&str> = layers.iter().map(|(name, ..)| *name).collect();
        assert_eq!(rows.keys().copied().collect::<BTreeSet<&str>>(), listed);
        for (name, allowed, banned) in layers {
            let [_, may_use, never] = rows[name][..] else { panic!("a row of three: {name}") };
            let named: BTreeSet<&str> = may_use.split('`').skip(1).step_by(2).collect();
            let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
            if may_use.starts_with("all") {
                assert!(allowed.is_disjoint(&named), "`{name}` may use {allowed:?}");
            } else {
                assert_eq!(named, allowed, "what `{name}` may use");
            }
            let libraries = ["axum", "sqlx", "tokio", "reqwest"];
            let never = never.split([',', ';']).map(str::trim);
            for word in never.filter(|word| libraries.contains(word)) {
                assert!(banned.contains(&word), "`{name}` may mention {word}");
            }
        }
    }
}

#[test]
fn documents_name_only_files_that_exist() {
    let mut named = BTreeMap::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for path in code(&text).flat_map(str::split_whitespace) {
            let path = path.trim_end_matches([':', ',', ';', ')']);
            if path.contains('/') && is_rust(path) {
                let roots = [root(), source()];
                let is_there = roots.iter().any(|root| root.join(path).exists());
                assert!(is_there, "{} names {path}", document.display());
                *named.entry(document.clone()).or_insert(0) += 1;
            }
        }
    }
    let all: i32 = named.values().sum();
    assert!(named[&root().join("ARCHITECTURE.md")] > 20, "ARCHITECTURE.md names {named:?}");
    assert!(all > 100, "the documents name {all} files");
}

#[test]
fn documents_name_only_tests_that_exist() {
    let mut code_of: BTreeMap<PathBuf, String> = BTreeMap::new();
    let tests =
        ["tests", "crates/protocol/tests", "crates/forward/tests"].map(|it| root().join(it));
    for file in sources().iter().chain(&tests).flat_map(|folder| files(folder)) {
        let code = fs::read_to_string(&file).unwrap();
        code_of.insert(file, code);
    }
    let mut named = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (file, test) in code(&text).filter_map(|code| code.split_once(": ")) {
            let is_name = |text: &str| text.chars().all(|one| one.is_alphanumeric() || one == '_');
            if !is_rust(file) || !is_name(test) {
                continue;
            }
            let mut of_file = code_of.iter().filter(|(path, _)| path.ends_with(file));
            let has = |code: &str| words_after(code, "fn ").iter().any(|name| name == test);
            let is_there = of_file.any(|(_, code)| has(code));
            assert!(is_there, "{} names `{file}: {test}`", document.display());
            named += 1;
        }
    }
    assert!(named > 100, "the documents name {named} tests");
}

/// So that no route is without a scope.
#[test]
fn routes_stand_in_one_table_only() {
    for file in files(&source().join("http")) {
        let code = without_comments(&file);
        let may = file.ends_with("http/routes.rs") || !code.contains(".route(");
        assert!(may, "{} has a route: put it into src/http/routes.rs", file.display());
    }
}

#[test]
fn no_two_files_import_each_other() {
    let circles: Vec<Vec<String>> =
        sources().iter().flat_map(|folder| circles(&imports(folder, &files(folder)))).collect();
    let text = circles.iter().map(|circle| circle.join("\n  -> ")).collect::<Vec<_>>().join("\n");
    assert!(
        circles.is_empty(),
        "{} import circles, the shortest of each file:\n{text}",
        circles.len()
    );
}

#[test]
fn no_folder_has_more_than_12_files() {
    let mut folders: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let all = sources();
    for file in all.iter().flat_map(|folder| files(folder)).filter(|file| !file.ends_with("lib.rs"))
    {
        *folders.entry(file.parent().unwrap().to_owned()).or_default() += 1;
    }
    for (folder, count) in folders.iter().filter(|(folder, _)| **folder != source()) {
        assert!(*count <= 12, "{} has {count} files", folder.display());
    }
}

#[test]
fn the_two_stores_do_not_know_each_other() {
    for (one, other) in [("postgres", "sqlite"), ("sqlite", "postgres")] {
        for file in files(&root().join("crates/store/src").join(one)) {
            let code = fs::read_to_string(&file).unwrap();
            let names = ["crate::", "super::"].map(|path| format!("{path}{other}"));
            let knows = names.iter().any(|name| code.contains(name));
            assert!(!knows, "{} knows {other}", file.display());
        }
    }
}

#[test]
fn no_source_file_uses_eprintln() {
    for file in sources().iter().flat_map(|folder| files(folder)) {
        let code = without_comments(&file);
        assert!(!code.contains("eprint"), "{} uses eprintln", file.display());
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    for file in sources().iter().flat_map(|folder| files(folder)) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines", file.display());
    }
}

fn layer(module: &str) -> &'static Layer {
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
        let code = without_comments(&file);
        match modules.iter_mut().find(|(name, _)| *name == module) {
            Some((_, all)) => all.push_str(&code),
            None => modules.push((module, code)),
        }
    }
    assert!(modules.len() >= LAYERS.len(), "the table names modules that are gone");
    modules
}

/// A file's code without the lines that are comments.
fn without_comments(file: &Path) -> String {
    let code = fs::read_to_string(file).unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
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

/// The documents for developers, and every page of `docs/`.
fn documents() -> Vec<PathBuf> {
    let mut documents = files_ending(&root().join("docs"), "md");
    documents.extend(["ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    documents
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ending| ending == "rs")
}

/// What stands between backticks in a document.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    files_ending(folder, "rs")
}

fn files_ending(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files_ending(&path, ending));
        } else if path.extension().is_some_and(|its| its == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn source() -> PathBuf {
    root().join("src")
}

/// The sources of the crates in `crates/`.
fn crates() -> Vec<PathBuf> {
    let folders = root().join("crates").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut crates: Vec<PathBuf> = folders.map(|folder| folder.join("src")).collect();
    crates.sort();
    crates
}

/// The sources of this crate and of those in `crates/`.
fn sources() -> Vec<PathBuf> {
    [vec![source()], crates()].concat()
}

/// The name of a crate by the folder of its source.
fn name_of(source: &Path) -> String {
    source.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned()
}
