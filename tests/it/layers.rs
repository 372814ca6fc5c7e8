//! Layers: who may use whom, who never mentions what, and that no two files import each other. And documents: that they name
//! what exists.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// A module, the modules and [`CRATES`] it may use, and words that must not stand in it.
const LAYERS: &[(&str, &[&str], &[&str])] = &[
    ("clock", &[], &["axum", "sqlx", "tokio"]),
    ("projections", &[], &["axum", "sqlx", "tokio", "reqwest"]),
    ("store", &["projections", "clock"], &["axum", "reqwest"]),
    ("settings", &["store", "telemetry", "tencent_api"], &["axum", "sqlx"]),
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
    (
        "ingest",
        &["projections", "store", "clock", "settings", "telemetry"],
        &["axum", "sqlx", "reqwest"],
    ),
    ("export", &[], &["axum", "sqlx", "tokio", "reqwest"]),
    (
        "http",
        &[
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
            "export",
            "ip_list",
            "projections",
            "store",
            "ingest",
            "http",
            "server",
            "rebuild",
            "registration",
            "sockets",
            "clock",
            "settings",
            "telemetry",
            "tencent_api",
        ],
        &["axum", "sqlx"],
    ),
];

/// Crates of this workspace that only those modules use that list them.
const CRATES: [&str; 1] = ["tencent_api"];

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
        for name in CRATES {
            let uses = code.contains(&format!("{name}::"));
            assert!(!uses || allowed.contains(&name), "`{module}` uses `{name}`");
        }
    }
}

#[test]
fn sql_and_libraries_stay_in_their_modules() {
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
    }
}

#[test]
fn only_the_clock_reads_the_wall_clock() {
    for file in all_files().iter().filter(|file| **file != source().join("clock.rs")) {
        let code = code_of(file);
        for clock in ["SystemTime::now", "Timestamp::now", "Zoned::now"] {
            assert!(!code.contains(clock), "{} reads the clock: {clock}", file.display());
        }
    }
}

#[test]
fn architecture_has_this_table_of_layers() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = text.split("| module | may use | never mentions |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<&str>> =
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
    let modules: BTreeSet<&str> = LAYERS.iter().map(|(module, ..)| *module).collect();
    let listed: BTreeSet<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(listed, modules);
    for row in rows {
        let [module, may_use, never] = row[..] else { panic!("a row of three: {row:?}") };
        let module = module.trim_matches('`');
        let (_, allowed, banned) = layer(module);
        let named: BTreeSet<&str> = may_use.split('`').skip(1).step_by(2).collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        if may_use.starts_with("all") {
            assert!(allowed.is_disjoint(&named), "`{module}` may use {allowed:?}");
        } else {
            assert_eq!(named, allowed, "what `{module}` may use");
        }
        let crates = ["axum", "sqlx", "tokio", "reqwest"];
        for word in never.split([',', ';']).map(str::trim).filter(|word| crates.contains(word)) {
            assert!(banned.contains(&word), "`{module}` may mention {word}");
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
    for file in all_files().into_iter().chain(files(&root().join("tests"))) {
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

#[test]
fn no_two_files_import_each_other() {
    let circles: Vec<Vec<String>> =
        sources().iter().flat_map(|folder| circles(&imports(folder))).collect();
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
    for file in all_files().iter().filter(|file| !file.ends_with("lib.rs")) {
        *folders.entry(file.parent().unwrap().to_owned()).or_default() += 1;
    }
    for (folder, count) in folders.iter().filter(|(folder, _)| **folder != source()) {
        assert!(*count <= 12, "{} has {count} files", folder.display());
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
fn no_source_file_uses_eprintln() {
    for file in all_files() {
        assert!(!code_of(&file).contains("eprint"), "{} uses eprintln", file.display());
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    for file in all_files() {
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
        let code = code_of(&file);
        match modules.iter_mut().find(|(name, _)| *name == module) {
            Some((_, all)) => all.push_str(&code),
            None => modules.push((module, code)),
        }
    }
    assert!(modules.len() >= LAYERS.len(), "the table names modules that are gone");
    modules
}

/// A file without the lines that are comments.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
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

/// The files of a crate by their module paths, and for each the modules it imports, its tests aside. A re-export is an import
/// of the file that has it.
fn imports(source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let code: BTreeMap<String, String> = files(source)
        .iter()
        .filter(|file| !file.ends_with("src/lib.rs") && !file.ends_with("src/main.rs"))
        .map(|file| {
            let path = file.strip_prefix(source).unwrap().with_extension("");
            let names = path.iter().map(|name| name.to_str().unwrap());
            let module = names.filter(|name| *name != "mod").collect::<Vec<_>>().join("::");
            let code = fs::read_to_string(file).unwrap();
            let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            (module, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect();
    let parent =
        |module: &str| module.rsplit_once("::").map_or("", |(parent, _)| parent).to_owned();
    let is_child = |of: &str, name: &str| code.contains_key(&format!("{of}::{name}"));
    let resolved = |module: &str, path: &[String]| -> Option<String> {
        let mut base = module.to_owned();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (base, rest) = (String::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while let Some(("super", after)) =
                    rest.split_first().map(|(first, after)| (first.as_str(), after))
                {
                    (base, rest) = (parent(&base), after);
                }
            }
            name if is_child(module, name) => {}
            _ => return None,
        }
        let segments: Vec<&str> = base
            .split("::")
            .chain(rest.iter().map(String::as_str))
            .filter(|s| !s.is_empty())
            .collect();
        let prefixes = (1..=segments.len()).rev().map(|count| segments[..count].join("::"));
        prefixes.into_iter().find(|prefix| code.contains_key(prefix))
    };
    let used = |module: &String, code: &String| {
        let paths = paths(code);
        let used = paths.iter().filter_map(|path| resolved(module, path));
        used.filter(|used| used != module).collect()
    };
    code.iter().map(|(module, code)| (module.clone(), used(module, code))).collect()
}

/// The paths of more than one name that stand in some code, those of `use` trees one by one.
fn paths(code: &str) -> Vec<Vec<String>> {
    let (mut paths, mut rest) = (Vec::new(), code);
    while let Some(start) = rest.find("use ") {
        let (before, tree) = rest.split_at(start);
        let head = before.rsplit('\n').next().unwrap().trim();
        let end = tree.find(';').unwrap_or(tree.len());
        if head.is_empty() || head.starts_with("pub") {
            plain_paths(before, &mut paths);
            expand(&tree["use ".len()..end], &[], &mut paths);
            rest = &tree[end..];
        } else {
            plain_paths(before, &mut paths);
            rest = &tree["use ".len()..];
        }
    }
    plain_paths(rest, &mut paths);
    paths
}

/// The paths of a `use` tree such as `a::{self, b::{C, D as E}}`.
fn expand(tree: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let head = tree.split('{').next().unwrap();
    let head = head.split(" as ").next().unwrap();
    let mut path = prefix.to_vec();
    path.extend(
        head.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
    );
    let Some(start) = tree.find('{') else {
        if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
            path.pop();
        }
        paths.push(path);
        return;
    };
    let (mut depth, mut from) = (0, start + 1);
    for (place, letter) in tree.char_indices().skip_while(|(place, _)| *place <= start) {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                if !tree[from..place].trim().is_empty() {
                    expand(&tree[from..place], &path, paths);
                }
                from = place + 1;
            }
            _ => {}
        }
    }
}

/// The paths of code without `use`.
fn plain_paths(code: &str, paths: &mut Vec<Vec<String>>) {
    let is_of_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    for word in code.split(|letter| !is_of_path(letter)) {
        let names: Vec<String> = word.split("::").map(str::to_owned).collect();
        if names.len() > 1 && !names[0].is_empty() {
            paths.push(names.into_iter().filter(|name| !name.is_empty()).collect());
        }
    }
}

/// Of each file in a circle the shortest one, each once.
fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<Vec<String>> {
    let mut circles = BTreeSet::new();
    for start in imports.keys() {
        let mut from: BTreeMap<&String, &String> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(file) = queue.pop_front() {
            for used in imports.get(file).into_iter().flatten() {
                if !from.contains_key(used) {
                    from.insert(used, file);
                    queue.push_back(used);
                }
            }
        }
        if !from.contains_key(start) {
            continue;
        }
        let mut circle = vec![from[start].clone()];
        while circle.last() != Some(start) {
            circle.push(from[circle.last().unwrap()].clone());
        }
        circle.reverse();
        let least = circle.iter().enumerate().min_by_key(|(_, file)| *file).unwrap().0;
        circle.rotate_left(least);
        circle.push(circle[0].clone());
        circles.insert(circle);
    }
    circles
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

/// `src/`, and that of every crate in `crates/`.
fn sources() -> Vec<PathBuf> {
    let crates = root().join("crates").read_dir().unwrap();
    let mut sources: Vec<PathBuf> = crates.map(|found| found.unwrap().path().join("src")).collect();
    assert!(sources.len() >= 2, "{sources:?}");
    sources.sort();
    sources.push(source());
    sources
}

fn all_files() -> Vec<PathBuf> {
    sources().iter().flat_map(|folder| files(folder)).collect()
}
