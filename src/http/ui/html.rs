//! The smallest pieces of a page: ids, times, links. What users chose is escaped here and by the templates.

use std::borrow::Cow;
use std::fmt;

use askama::filters::{Escaper, Html as Escape, HtmlSafe};
use uuid::Uuid;

use crate::http::ops::path_segment::{encoded, segment};
use protocol::UnixMillis;
use protocol::letters;

/// Text that is HTML already. Only this file makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Html(String);

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Html {}

/// What stands where nothing is known.
pub(crate) fn nothing() -> Html {
    Html("<span class=\"none\" title=\"not known\">–</span>".to_owned())
}

/// Any text, escaped for an element and for an attribute in double quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Writing to a string cannot fail.
    let _ = Escape.write_escaped_str(&mut out, text);
    out
}

/// The text with letters that nobody would see, or that turn the direction of others, spelled out.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    letters::spelled(text)
}

/// Any text, to be read.
pub(crate) fn text(text: &str) -> Html {
    Html(escaped(&visible(text)))
}

/// An id, to be read.
pub(crate) fn id(text: &str) -> Html {
    Html(format!("<bdi class=\"id\">{}</bdi>", escaped(&visible(text))))
}

/// An id with a button that copies it, as it is.
pub(crate) fn copyable(text: &str) -> Html {
    let raw = escaped(text);
    let shown = escaped(&visible(text));
    Html(format!(
        "<bdi class=\"id\">{shown}</bdi> <button type=\"button\" class=\"copy\" data-copy=\"{raw}\" hidden>copy</button>"
    ))
}

/// An id that leads somewhere.
pub(crate) fn link(href: &str, text: &str) -> Html {
    Html(format!(
        "<a href=\"{}\"><bdi class=\"id\">{}</bdi></a>",
        escaped(href),
        escaped(&visible(text))
    ))
}

/// A name that leads to an address elsewhere, which learns nothing of this page. Only of the web: any other text is to be read.
pub(crate) fn external(href: &str, text: &str) -> Html {
    let scheme = href.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let is_of_web = matches!(scheme.as_deref(), Some("http" | "https"));
    if !is_of_web || visible(href) != href {
        let all = if href == text { text.to_owned() } else { format!("{text} · {href}") };
        return id(&all);
    }
    Html(format!(
        "<a href=\"{}\" rel=\"noreferrer noopener\"><bdi class=\"id\">{}</bdi></a>",
        escaped(href),
        escaped(&visible(text))
    ))
}

/// Plain words that lead somewhere.
pub(crate) fn words(href: &str, text: &str) -> Html {
    Html(format!("<a href=\"{}\">{}</a>", escaped(href), escaped(&visible(text))))
}

/// An account that leads to its calls.
pub(crate) fn account(app: i64, text: &str) -> Html {
    link(&user_href(app, text), text)
}

/// The same, where it is known.
pub(crate) fn account_or(app: i64, text: Option<&str>) -> Html {
    text.filter(|text| !text.is_empty()).map_or_else(nothing, |text| account(app, text))
}

/// A word of ours or of the vendor, such as a state. The text says what the colour says.
pub(crate) fn badge(word: &str) -> Html {
    let class: String =
        word.chars().filter(|letter| letter.is_ascii_lowercase() || *letter == '_').collect();
    let text = visible(word).replace('_', " ");
    Html(format!("<span class=\"badge b-{class}\">{}</span>", escaped(&text)))
}

/// A remark on a row, and what it means.
pub(crate) fn remark(kind: &str, word: &str, meaning: &str) -> Html {
    Html(format!(
        "<span class=\"badge b-{}\" title=\"{}\">{}</span> ",
        escaped(kind),
        escaped(meaning),
        escaped(word)
    ))
}

/// Several remarks, or none.
pub(crate) fn remarks(all: impl IntoIterator<Item = Html>) -> Html {
    Html(all.into_iter().map(|remark| remark.0).collect())
}

/// Marks what no event says.
pub(crate) fn inferred(is_so: bool) -> Html {
    if is_so {
        Html("<abbr class=\"inferred\" title=\"no event says so: it follows from a rule\">inferred</abbr>".to_owned())
    } else {
        Html::default()
    }
}

/// Several pieces, one behind the other.
pub(crate) fn list(pieces: impl IntoIterator<Item = Html>) -> Html {
    let pieces: Vec<String> = pieces.into_iter().map(|piece| piece.0).collect();
    if pieces.is_empty() { nothing() } else { Html(pieces.join(", ")) }
}

/// A moment to the second, and how long ago it was.
pub(crate) fn time(at: UnixMillis, now: UnixMillis) -> Html {
    Html(format!(
        "<time datetime=\"{at}\">{}</time> <small class=\"ago\" data-at=\"{}\">{}</small>",
        clock(at, false),
        at.0,
        ago(at, now)
    ))
}

/// The same, where it is known.
pub(crate) fn time_or(at: Option<UnixMillis>, now: UnixMillis) -> Html {
    at.map_or_else(nothing, |at| time(at, now))
}

/// How long ago a moment was, where there is no room for more.
pub(crate) fn age(at: UnixMillis, now: UnixMillis) -> Html {
    let (full, ago) = (clock(at, false), ago(at, now));
    Html(format!(
        "<time class=\"ago\" data-at=\"{}\" datetime=\"{at}\" title=\"{full} UTC\">{ago}</time>",
        at.0
    ))
}

/// The time of day of a moment, to the ms.
pub(crate) fn time_of_day_or(at: Option<UnixMillis>) -> Html {
    at.map_or_else(nothing, |at| {
        let full = clock(at, true);
        let day = full.split_once(' ').map_or(full.as_str(), |(_, time)| time);
        Html(format!("<time datetime=\"{at}\" title=\"{full} UTC\">{day}</time>"))
    })
}

/// A moment to the ms; its day only where that is not the day of the moment `before`.
pub(crate) fn moment_behind(at: UnixMillis, before: Option<UnixMillis>) -> Html {
    let day = |at| clock(at, false).split_once(' ').map(|(day, _)| day.to_owned());
    if before.is_some_and(|before| day(before) == day(at)) {
        time_of_day_or(Some(at))
    } else {
        moment(at)
    }
}

/// A moment to the ms.
pub(crate) fn moment(at: UnixMillis) -> Html {
    Html(format!("<time datetime=\"{at}\">{}</time>", clock(at, true)))
}

/// The same, where it is known.
pub(crate) fn moment_or(at: Option<UnixMillis>) -> Html {
    at.map_or_else(nothing, moment)
}

/// `2026-11-01 12:00:00`, in UTC.
pub(crate) fn clock(at: UnixMillis, with_ms: bool) -> String {
    let text = at.to_string();
    let Some((date, rest)) = text.split_once('T') else { return text };
    let rest = rest.trim_end_matches('Z');
    let rest = if with_ms { rest } else { rest.split('.').next().unwrap_or(rest) };
    format!("{date} {rest}")
}

/// `3 min ago`, `in 2 s`.
pub(crate) fn ago(at: UnixMillis, now: UnixMillis) -> String {
    let ms = now.0.saturating_sub(at.0);
    match ms {
        -999..=999 => "now".to_owned(),
        1000.. => format!("{} ago", coarse(ms)),
        _ => format!("in {}", coarse(ms.saturating_neg())),
    }
}

fn coarse(ms: i64) -> String {
    match ms / 1000 {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A length of time: `420 ms`, `7.5 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn span(ms: i64) -> String {
    if ms < 0 {
        return format!("−{}", span(ms.saturating_neg()));
    }
    let seconds = ms / 1000;
    match (ms, seconds) {
        (..1000, _) => format!("{ms} ms"),
        (..10_000, _) if ms % 1000 >= 100 => format!("{seconds}.{} s", ms % 1000 / 100),
        (_, ..60) => format!("{seconds} s"),
        (_, ..3600) => format!("{} min {} s", seconds / 60, seconds % 60),
        (_, ..86_400) => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long somebody stayed, who may be there still.
pub(crate) fn stayed(from: UnixMillis, until: Option<UnixMillis>, now: UnixMillis) -> String {
    let still = if until.is_none() { " so far" } else { "" };
    format!("{}{still}", span(until.unwrap_or(now).0.saturating_sub(from.0)))
}

/// `12,345`.
pub(crate) fn number(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::from(if value < 0 { "−" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The same, where it is known.
pub(crate) fn number_or(value: Option<i64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// The page of a call.
pub(crate) fn call_href(app: i64, call_id: &str) -> String {
    format!("/calls/{app}/{}", segment(call_id))
}

/// The page of a recording.
pub(crate) fn recording_href(app: i64, task_id: &str) -> String {
    format!("/recordings/{app}/{}", segment(task_id))
}

/// The page of a cloud task.
pub(crate) fn rtc_task_href(app: i64, task_id: &str) -> String {
    format!("/rtc-tasks/{app}/{}", segment(task_id))
}

/// The page of one session of a room.
pub(crate) fn room_href(app: i64, room_id: &str, session: i64) -> String {
    format!("/room-sessions/{app}/{}/{session}", segment(room_id))
}

/// The page of the session of a room that a moment falls in.
pub(crate) fn room_at_href(app: i64, room_id: &str, at: UnixMillis) -> String {
    format!("/room-sessions/{app}/{}?at={}", segment(room_id), moment_value(at))
}

/// The page of one session of a room of the RTC Engine.
pub(crate) fn rtc_room_href(app: i64, room_id: &str, kind: &str, session: i64) -> String {
    format!("/rtc-room-sessions/{app}/{}/{}/{session}", segment(room_id), segment(kind))
}

/// The page of the session of a room of the RTC Engine that a moment falls in, whatever the kind of its id.
pub(crate) fn rtc_room_at_href(app: i64, room_id: &str, at: UnixMillis) -> String {
    format!("/rtc-room-sessions/{app}/{}?at={}", segment(room_id), moment_value(at))
}

/// The page of one session of a room of the RTC Engine, whatever the kind of its id.
pub(crate) fn rtc_session_href(app: i64, room_id: &str, session: i64) -> String {
    format!("/rtc-room-sessions/{app}/{}?session={session}", segment(room_id))
}

/// A moment as a value in an address.
pub(crate) fn moment_value(at: UnixMillis) -> String {
    encoded(&at.to_string())
}

/// What an id names that may be one thing or another, or nothing at all.
pub(crate) fn search_href(text: &str) -> String {
    format!("/search?id={}", encoded(text))
}

/// Calls that ran in an RTC room.
pub(crate) fn calls_in_href(app: i64, room_id: &str) -> String {
    format!("/calls?app={app}&room={}", encoded(room_id))
}

/// The page of an account.
pub(crate) fn user_href(app: i64, account: &str) -> String {
    format!("/users/{app}/{}", segment(account))
}

/// The page of a destination of forwarding.
pub(crate) fn destination_href(name: &str) -> String {
    format!("/forward/{}", segment(name))
}

/// The page of an event.
pub(crate) fn event_href(id: Uuid) -> String {
    format!("/events/{id}")
}

#[cfg(test)]
mod tests {
    use crate::http::ui::html::*;

    #[test]
    fn user_chosen_text_is_escaped_and_made_visible() {
        let hostile = "<script>\"'&\u{202e}\u{0}/..";
        let made = [id(hostile), copyable(hostile), account(1, hostile), badge(hostile)];
        for html in made.map(|html| html.to_string()) {
            assert!(!html.contains("<script") && !html.contains("\u{0}</bdi>"), "{html}");
        }
        let shown = id(hostile).to_string();
        assert!(shown.contains("\\u{202e}\\u{0}/.."), "{shown}");
        assert_eq!(user_href(1, hostile), "/users/1/%3Cscript%3E%22%27%26%E2%80%AE%00%2F..");
        assert_eq!(visible("plain é 漢"), "plain é 漢");
    }

    #[test]
    fn only_addresses_of_the_web_become_links() {
        for href in ["https://a.test/x?y=1&z", "HTTP://a.test"] {
            let html = external(href, "x").to_string();
            assert!(html.starts_with("<a href=") && html.contains("noreferrer noopener"), "{html}");
        }
        for href in [
            "https://a.test/\u{202e}x",
            "javascript://a.test/%0aalert(1)",
            "data:text/html,x",
            "//a.test",
            "x",
            "",
        ] {
            let html = external(href, "<b>").to_string();
            assert!(html.starts_with("<bdi class=\"id\">&#60;b&#62;"), "{html}");
        }
    }

    #[test]
    fn times_and_numbers_are_short_and_exact() {
        let at = UnixMillis(1_793_534_400_123);
        assert_eq!(clock(at, true), "2026-11-01 12:00:00.123");
        assert_eq!(clock(at, false), "2026-11-01 12:00:00");
        assert_eq!(clock(UnixMillis(i64::MAX), true), i64::MAX.to_string());
        let ago = |ms: i64| ago(UnixMillis(0), UnixMillis(ms));
        let said = [0, 5000, -5000, 61_000, 7_200_000, 200_000_000].map(ago);
        assert_eq!(said, ["now", "5 s ago", "in 5 s", "1 min ago", "2 h ago", "2 d ago"]);
        assert_eq!(moment_behind(at, None), moment(at));
        assert_eq!(moment_behind(at, Some(UnixMillis(at.0 - 86_400_000))), moment(at));
        let again = moment_behind(at, Some(UnixMillis(at.0 - 1000))).to_string();
        assert!(
            again.ends_with(" title=\"2026-11-01 12:00:00.123 UTC\">12:00:00.123</time>"),
            "{again}"
        );
        let said = [0, 999, 7520, 12_400, 200_000, 7_500_000, 273_600_000, -5].map(span);
        let expected =
            ["0 ms", "999 ms", "7.5 s", "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h", "−5 ms"];
        assert_eq!(said, expected);
        assert_eq!([0, 999, 1000, -1_234_567].map(number), ["0", "999", "1,000", "−1,234,567"]);
    }

    #[test]
    fn the_script_of_the_dashboard_has_the_same_letters() {
        let code = |letter: char| match u32::from(letter) {
            number @ ..=0xffff => format!("\\u{number:04x}"),
            number => format!("\\u{{{number:x}}}"),
        };
        let range = |(first, last): &(char, char)| match (code(*first), code(*last)) {
            (first, last) if first == last => first,
            (first, last) => format!("{first}-{last}"),
        };
        let all: String = letters::UNSAFE.iter().map(range).collect();
        let script = include_str!("../../../assets/dashboard.js");
        assert!(script.contains(&format!("const HIDDEN = /[{all}]/gu;")), "{all}");
    }
}
