//! What the documents say can be done: links lead somewhere, commands parse, queries run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use trtc_callbacks::cli::Cli;
use trtc_callbacks::telemetry::outcome_labels;

use crate::process::{Serving, done};
use crate::support::on_both_stores;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown_below(folder: &Path, pages: &mut Vec<PathBuf>) {
    for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            markdown_below(&path, pages);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            pages.push(path);
        }
    }
}

/// The documents, with their text.
fn documents() -> BTreeMap<PathBuf, String> {
    let names = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "ARCHITECTURE.md"];
    let mut pages: Vec<PathBuf> = names.iter().map(|name| root().join(name)).collect();
    markdown_below(&root().join("docs"), &mut pages);
    let read = |page: PathBuf| (page.clone(), fs::read_to_string(page).unwrap());
    pages.into_iter().map(read).collect()
}

/// A block of code: what stands behind its fence, and its lines.
struct Block<'a> {
    kind: &'a str,
    lines: Vec<&'a str>,
}

/// The lines of a page outside its blocks of code, and the blocks.
fn parts(page: &str) -> (Vec<&str>, Vec<Block<'_>>) {
    let (mut text, mut blocks, mut open) = (Vec::new(), Vec::new(), None::<Block<'_>>);
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (Some(kind), None) => open = Some(Block { kind, lines: Vec::new() }),
            (None, Some(mut block)) => {
                block.lines.push(line);
                open = Some(block);
            }
            (None, None) => text.push(line),
        }
    }
    assert!(open.is_none(), "a block of code has no end: {page:.80}");
    (text, blocks)
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let (text, _) = parts(page);
    let headings = text.into_iter().filter_map(|line| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len()).then(|| heading.strip_prefix(' ')).flatten()
    });
    let mut anchors = BTreeSet::new();
    for heading in headings {
        let letters = heading.trim().to_lowercase();
        let letters = letters.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
        let anchor: String = letters.map(|it| if it == ' ' { '-' } else { it }).collect();
        let again = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|it| !anchors.contains(it));
        anchors.extend(free);
    }
    anchors
}

/// The targets of a page's links and pictures.
fn targets(page: &str) -> Vec<String> {
    let (text, _) = parts(page);
    let text: String = text.into_iter().flat_map(|line| [line, "\n"]).collect();
    // A link's words may be code, and a line may break within it.
    let ends = [("](", ')'), ("href=\"", '"'), ("src=\"", '"')];
    let found = ends.iter().flat_map(|(begin, end)| {
        text.split(begin).skip(1).filter_map(move |rest| rest.split_once(*end))
    });
    found.map(|(target, _)| target.to_owned()).collect()
}

/// Whether there is such a page, and such a heading if one is named: `docs/README.md#heading`.
pub(crate) fn leads_somewhere(target: &str) -> bool {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let page = fs::read_to_string(root().join(file));
    page.is_ok_and(|page| anchor.is_empty() || anchors(&page).contains(anchor))
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = documents();
    let (mut broken, mut links) = (Vec::new(), 0);
    for (path, page) in &pages {
        for target in targets(page) {
            if target.contains("://") || target.contains(char::is_whitespace) {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file =
                if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let is_there = fs::canonicalize(&file).is_ok_and(|file| {
                anchor.is_empty()
                    || pages.get(&file).is_some_and(|page| anchors(page).contains(anchor))
            });
            if !is_there {
                broken.push(format!("{}: {target}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
    assert!(links > 100, "{links}");
}

#[test]
fn the_summary_lists_every_page_once() {
    let docs = root().join("docs");
    let listed = targets(&fs::read_to_string(docs.join("SUMMARY.md")).unwrap());
    let listed: Vec<PathBuf> = listed.iter().map(|target| docs.join(target)).collect();
    let unique: BTreeSet<&PathBuf> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "a page is listed twice");
    let pages = documents().into_keys().filter(|path| path.starts_with(&docs));
    let missing: Vec<PathBuf> =
        pages.filter(|path| !path.ends_with("SUMMARY.md") && !unique.contains(path)).collect();
    assert_eq!(missing, Vec::<PathBuf>::new());
}

#[test]
fn scripts_that_documents_and_workflows_name_exist() {
    let workflows = root().join(".github/workflows").read_dir().unwrap();
    let workflows = workflows.map(|file| file.unwrap().path());
    let workflows = workflows.map(|path| (path.clone(), fs::read_to_string(path).unwrap()));
    let mut missing = Vec::new();
    let mut named = 0;
    for (path, text) in workflows.chain(documents()) {
        for behind in text.split("./scripts/").skip(1) {
            let end = behind.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
            let script = &behind[..end.unwrap_or(behind.len())];
            named += 1;
            if !root().join("scripts").join(script).is_file() {
                missing.push(format!("{}: {script}", path.display()));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    assert!(named > 20, "{named}");
}

/// The book that `mdbook build` makes has no other files.
#[test]
fn pages_of_the_book_link_only_within_docs() {
    let docs = root().join("docs");
    let mut outside = Vec::new();
    for (path, page) in documents().iter().filter(|(path, _)| path.starts_with(&docs)) {
        for target in targets(page).into_iter().filter(|target| !target.contains("://")) {
            let file = path.parent().unwrap().join(target.split('#').next().unwrap_or(""));
            if fs::canonicalize(&file).is_ok_and(|file| !file.starts_with(&docs)) {
                outside.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert_eq!(outside, Vec::<String>::new());
}

/// The words of the commands on a line, as a shell would split them; redirections and comments are left out.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut word, mut quote) = (vec![Vec::new()], None::<String>, None);
    for letter in line.chars().chain([' ']) {
        match (letter, quote) {
            (_, Some(open)) if letter == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('|', None) => commands.push(Vec::new()),
            (' ', None) => commands.last_mut().unwrap().extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    for command in &mut commands {
        let end = command.iter().position(|word| matches!(word.as_str(), ">" | "&&" | ";" | "#"));
        command.truncate(end.unwrap_or(command.len()));
    }
    commands
}

/// `<that>` is a placeholder within an argument.
fn without_placeholders(line: &str) -> String {
    let mut pieces = line.split('<');
    let first = pieces.next().unwrap_or("").to_owned();
    pieces.fold(first, |line, piece| match piece.split_once('>') {
        Some((_, rest)) => line + "x" + rest,
        None => line + "<" + piece,
    })
}

/// The arguments that a command gives to the program, where it is one of ours.
fn arguments(command: &[String]) -> Option<&[String]> {
    let is_program = |word: &String| word == "trtc-callbacks" || word.ends_with("/trtc-callbacks");
    let word = |index: usize| command.get(index).map_or("", String::as_str);
    let begin = match (word(0), word(1)) {
        ("cargo", "run") if !command.iter().any(|word| word == "--example") => {
            command.iter().position(|word| word == "--")
        }
        // Only what runs in a pod: elsewhere the word names what is in the cluster.
        ("kubectl", _) => command
            .iter()
            .position(|word| word == "--")
            .map(|place| place + 1)
            .filter(|place| command.get(*place).is_some_and(is_program)),
        // There the word names an image, a service or a package.
        ("docker", "build" | "run")
        | ("cargo" | "systemctl" | "journalctl" | "useradd" | "install", _) => None,
        _ => command.iter().rposition(is_program),
    };
    begin.map(|begin| &command[begin + 1..])
}

/// The lines of a page that are commands: in blocks, and between backticks.
fn command_lines(page: &str) -> Vec<String> {
    let (text, blocks) = parts(page);
    let mut lines: Vec<String> = Vec::new();
    for block in blocks {
        let whole = block.lines.join("\n").replace("\\\n", " ");
        let prefix = match block.kind {
            "sh" => "",
            "console" => "$ ",
            "ini" => "ExecStart=",
            _ => continue,
        };
        let commands = whole.lines().filter_map(|line| line.trim_start().strip_prefix(prefix));
        lines.extend(commands.map(str::to_owned));
    }
    for line in text {
        let code = line.split('`').skip(1).step_by(2);
        let commands = code.filter(|code| code.starts_with("trtc-callbacks "));
        lines.extend(commands.map(str::to_owned));
    }
    lines
}

#[test]
fn every_command_of_the_documents_parses() {
    let (mut wrong, mut parsed) = (Vec::new(), 0);
    for (path, page) in documents() {
        // The history has commands of its time, and the reference is the program's own.
        if path.ends_with("CHANGELOG.md") || path.ends_with("docs/reference/cli.md") {
            continue;
        }
        for line in command_lines(&page) {
            for command in commands(&without_placeholders(&line)) {
                let Some(arguments) = arguments(&command) else { continue };
                parsed += 1;
                let words =
                    std::iter::once("trtc-callbacks").chain(arguments.iter().map(String::as_str));
                if let Err(error) = Cli::command().try_get_matches_from(words) {
                    wrong.push(format!("{}: {line}: {error}", path.display()));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(parsed > 50, "{parsed}");
}

#[test]
fn the_page_on_monitoring_explains_every_outcome() {
    let page = include_str!("../../docs/operate/monitoring.md");
    let missing = outcome_labels().filter(|name| !page.contains(&format!("`{name}`")));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<String>::new());
}

/// The queries of a block of SQL for this store: those behind its name in a comment, or all where none is named.
fn queries(block: &str, is_postgres: bool) -> Vec<String> {
    let (mut mine, mut sql) = (true, String::new());
    for line in block.lines() {
        match line {
            "-- PostgreSQL" => mine = is_postgres,
            "-- SQLite" => mine = !is_postgres,
            _ if mine => sql.extend([line, "\n"]),
            _ => {}
        }
    }
    let queries = sql.split(';').map(str::trim).filter(|query| !query.is_empty());
    queries.map(str::to_owned).collect()
}

on_both_stores! {
    async fn every_query_of_the_documents_runs(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let serving = Serving::start(folder.path(), &["--store", &database.url]);
        let play = ["simulate", "--duration", "3s", "--rate", "200", "--seed", "1"];
        done(folder.path(), &[&play[..], &["--to", &serving.url, "--store", &database.url]].concat());
        serving.stop();
        let (mut run, mut with_rows) = (0, 0);
        for (path, page) in documents() {
            if !["docs/query", "docs/operate"].iter().any(|folder| path.starts_with(root().join(folder))) {
                continue;
            }
            let (_, blocks) = parts(&page);
            for block in blocks.iter().filter(|block| block.kind == "sql") {
                let queries = queries(&block.lines.join("\n"), database.is_postgres());
                assert!(!queries.is_empty(), "{}: {:?}", path.display(), block.lines);
                for query in queries {
                    println!("{}: {query}", path.display());
                    if query.starts_with("delete ") {
                        database.execute(&query).await;
                        continue;
                    }
                    let rows = database.count(&format!("select count(*) from ({query}) as answer")).await;
                    (run, with_rows) = (run + 1, with_rows + usize::from(rows > 0));
                }
            }
        }
        assert!(run >= 10 && with_rows >= 4, "{run} queries, {with_rows} of them with rows");
    }
}
