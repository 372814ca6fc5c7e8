//! Writing to the terminal: data to standard output, all else to standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use protocol::UnixMillis;
use protocol::letters;

/// How wide a cell of a table may be, in characters.
const CELL_CHARS_MAX: usize = 60;

/// Prints data. On a terminal, letters that would steer it are spelled out.
pub(crate) fn print(text: &str) -> Result<()> {
    if io::stdout().is_terminal() {
        return write(letters::spelled_in_lines(text).as_bytes());
    }
    write(text.as_bytes())
}

/// Prints JSON texts. On a terminal, letters that would steer it are escaped; elsewhere each is as it came.
pub(crate) fn print_json(text: &str) -> Result<()> {
    if io::stdout().is_terminal() {
        return write(letters::escaped_json(text).as_bytes());
    }
    write(text.as_bytes())
}

/// A reader that has had enough, such as `head`, ends the program quietly.
fn write(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.context("write to stdout"),
    }
}

/// Says something beside the data, on stderr. Where stderr does not take it, the command goes on all the same.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", letters::spelled_in_lines(text));
}

/// A table without borders: columns a reader can cut.
pub(crate) fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.to_vec());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A progress bar, or a spinner without a length; on a terminal only.
///
/// # Panics
/// When the template is not valid.
pub(crate) fn progress_bar(length: Option<u64>, template: &'static str) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_style(
        ProgressStyle::with_template(template).expect("templates are constants, and valid"),
    );
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A cell's text, on one line and not too wide. Users choose ids: what could steer a terminal is shown, not sent to it.
pub(crate) fn cell(text: Option<&str>) -> String {
    let text = text.unwrap_or("-");
    if text.chars().count() > CELL_CHARS_MAX {
        return letters::replaced(text).chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect();
    }
    letters::replaced(text)
}

pub(crate) fn time_or_dash(time: Option<UnixMillis>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// A length of time, as people say it.
pub(crate) fn seconds(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes} min {rest:02} s"),
        (_, _) => format!("{hours} h {minutes:02} min"),
    }
}

pub(crate) fn json_lines<T: Serialize>(rows: &[T]) -> Result<String> {
    let lines: Result<Vec<_>, _> = rows.iter().map(serde_json::to_string).collect();
    Ok(lines?.into_iter().map(|line| line + "\n").collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_control_the_terminal() {
        assert_eq!(cell(Some("a\u{1b}[31mb\n\u{202e}")), "a\u{fffd}[31mb\u{fffd}\u{fffd}");
        assert_eq!(cell(Some("a\u{85}\u{200b}\u{feff}")), "a\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(cell(Some(&"x".repeat(61))).chars().count(), 60);
        assert_eq!(cell(None), "-");
    }

    #[test]
    fn durations_are_printed_for_people() {
        let said = [0, 59, 60, 3599, 3600, 90_061].map(seconds);
        assert_eq!(said, ["0 s", "59 s", "1 min 00 s", "59 min 59 s", "1 h 00 min", "25 h 01 min"]);
    }
}
