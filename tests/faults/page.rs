//! `docs/reports/reliability.md` holds the figures of the last full run, and nothing else.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::trial::Shown;

const COLUMNS: [&str; 13] = [
    "fault",
    "store",
    "s",
    "events sent",
    "answered OK",
    "stored",
    "through the spool",
    "in the error log, replayed",
    "twice",
    "lost",
    "worst answer, ms",
    "p99.9, ms",
    "p99, ms",
];
const BEGIN: &str = include_str!("page_begin.md");

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reports").join(name)
}

/// The page, of the figures that `scripts/soak` and `scripts/fuzz` recorded.
fn page(figures: &str, fuzzing: Option<&str>) -> String {
    let mut lines = figures.lines();
    let run: Value = serde_json::from_str(lines.next().expect("what ran, and where")).unwrap();
    let mut page = BEGIN.to_owned();
    let words = |key: &str| run[key].as_str().unwrap().to_owned();
    writeln!(
        page,
        "Of {}: {} length, {} build, {} cores, {}.\n",
        words("date"),
        words("length"),
        words("build"),
        run["cores"],
        words("system")
    )
    .unwrap();
    // What is to be known of a run that is not the full one.
    if let Some(note) = run["note"].as_str() {
        writeln!(page, "{note}\n").unwrap();
    }
    page += &row(COLUMNS);
    page += &row(
        COLUMNS.map(|column| if ["fault", "store"].contains(&column) { "---" } else { "--:" })
    );
    for line in lines {
        let shown: Shown = serde_json::from_str(line).unwrap();
        assert_eq!((shown.lost, shown.twice), (0, 0), "{shown:?}");
        assert!(shown.answered > 0 && shown.stored >= shown.answered, "{shown:?}");
        let figures = [
            shown.seconds,
            shown.sent,
            shown.answered,
            shown.stored,
            shown.spooled,
            shown.logged,
            shown.twice,
            shown.lost,
            shown.worst_ms,
            shown.p999_ms,
            shown.p99_ms,
        ];
        let figures = figures.map(|figure| figure.to_string());
        page += &row([shown.fault, shown.store].into_iter().chain(figures));
    }
    page += "\n## Fuzzing\n\n";
    match fuzzing {
        None => page += "No run is recorded.\n",
        Some(fuzzing) => page += &fuzzing_table(fuzzing),
    }
    page
}

fn row(cells: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    cells.into_iter().fold("|".to_owned(), |row, cell| row + " " + cell.as_ref() + " |") + "\n"
}

/// Whatever `scripts/fuzz` records: one row for each target, one column for each figure.
fn fuzzing_table(fuzzing: &str) -> String {
    let targets: Map<String, Value> = serde_json::from_str(fuzzing).unwrap();
    let mut table = String::new();
    for (target, figures) in &targets {
        let figures = figures.as_object().expect("a target has figures");
        if table.is_empty() {
            let names = figures.keys().map(|name| name.replace('_', " "));
            table += &row(["target".to_owned()].into_iter().chain(names));
            table += &row(["---"].into_iter().chain(figures.keys().map(|_| "--:")));
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table += &row([target.clone()].into_iter().chain(figures.values().map(text)));
    }
    table
}

/// `RELIABILITY=write` makes it so: `scripts/soak` does, after a full run.
#[test]
fn the_page_holds_the_recorded_figures() {
    let figures = std::fs::read_to_string(docs("reliability.json")).unwrap();
    let fuzzing = std::fs::read_to_string(docs("fuzzing.json")).ok();
    let page = page(&figures, fuzzing.as_deref());
    if std::env::var("RELIABILITY").is_ok_and(|wish| wish == "write") {
        std::fs::write(docs("reliability.md"), page).unwrap();
        return;
    }
    let written = std::fs::read_to_string(docs("reliability.md")).unwrap();
    assert_eq!(written, page, "`RELIABILITY=write ./scripts/test the_page_holds` writes it");
}
