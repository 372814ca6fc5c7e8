//! What the commands that list calls and rooms share: how conditions are read, and how rows are printed.

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::callback::AppId;
use crate::clock::UnixMillis;
use crate::store::StoredEvent;

/// How wide a cell of a table may be, in characters.
const CELL_CHARS_MAX: usize = 60;

pub(super) fn app(text: Option<&str>) -> Result<Option<AppId>> {
    let wrong = "is no SDKAppID\nhint: give a number such as 1400000001";
    let parse = |text| AppId::parse(text).ok_or_else(|| anyhow!("`--app {text}` {wrong}"));
    text.map(parse).transpose()
}

pub(super) fn moment(text: Option<&str>, now: UnixMillis) -> Result<Option<UnixMillis>> {
    text.map(|text| super::events::time(text, now)).transpose()
}

/// A cell's text, on one line and not too wide. Users choose ids: what could steer a terminal is shown, not sent to it.
pub(super) fn cell(text: Option<&str>) -> String {
    let text = text.unwrap_or("-");
    if text.chars().count() > CELL_CHARS_MAX {
        return harmless(text).chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect();
    }
    harmless(text)
}

/// `text` without what could steer a terminal, or turn the direction of the text around it.
pub(super) fn harmless(text: &str) -> String {
    let steers = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|letter| if steers(letter) { '\u{fffd}' } else { letter }).collect()
}

pub(super) fn time_or_dash(time: Option<UnixMillis>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// A length of time, as people say it.
pub(super) fn seconds(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes} min {rest:02} s"),
        (_, _) => format!("{hours} h {minutes:02} min"),
    }
}

pub(super) fn json_lines<T: Serialize>(rows: &[T]) -> Result<String> {
    let lines: Result<Vec<_>, _> = rows.iter().map(serde_json::to_string).collect();
    Ok(lines?.into_iter().map(|line| line + "\n").collect())
}

/// Every event in the order it happened, with the order in which they arrived beside it, and what each says.
pub(super) fn timeline(events: Vec<StoredEvent>) -> String {
    let mut by_arrival: Vec<_> = events.iter().map(|event| (event.received_at, event.id)).collect();
    by_arrival.sort_unstable();
    let began = events.first().map_or(UnixMillis(0), |event| event.event_time);
    let mut table = super::table(&["HAPPENED", "AFTER", "ARRIVED", "LATE BY", "WHAT"]);
    for event in events {
        let place = by_arrival.binary_search(&(event.received_at, event.id));
        let place = place.unwrap_or_else(|place| place) + 1;
        let after = event.event_time.since(began).as_secs_f64();
        let late = event.received_at.since(event.event_time).as_secs_f64();
        let (happened, command) = (event.event_time.to_string(), event.command.clone());
        let mut said = crate::handlers::story::tell(&event.into_event());
        if said.is_empty() {
            said.push(command);
        }
        let said = said.iter().map(|said| cell(Some(said))).collect::<Vec<_>>().join("\n");
        table.add_row([
            happened,
            format!("{after:.1} s"),
            format!("{place}."),
            format!("{late:.1} s"),
            said,
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        assert_eq!(cell(Some("a\u{1b}[31mb\n\u{202e}")), "a\u{fffd}[31mb\u{fffd}\u{fffd}");
        assert_eq!(cell(Some("a\u{85}")), "a\u{fffd}");
        assert_eq!(cell(Some(&"x".repeat(61))).chars().count(), 60);
        assert_eq!(cell(None), "-");
    }

    #[test]
    fn lengths_are_said_as_people_say_them() {
        let said = [0, 59, 60, 3599, 3600, 90_061].map(seconds);
        assert_eq!(said, ["0 s", "59 s", "1 min 00 s", "59 min 59 s", "1 h 00 min", "25 h 01 min"]);
    }
}
