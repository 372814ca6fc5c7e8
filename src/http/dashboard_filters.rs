//! What a list is asked for: the form above it, read from the query and shown again as it was.

use std::collections::HashMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::path_ids::{encoded, storable};
use crate::callback::AppId;
use crate::clock::UnixMillis;

/// The query of a list.
pub(super) struct Query(HashMap<String, String>);

impl Query {
    /// Reads a query string. Of a name that stands twice the last counts; empty values count as absent.
    pub(super) fn read(raw: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(raw.unwrap_or("").as_bytes()).into_owned();
        let pairs = pairs.filter(|(_, value)| !value.is_empty());
        Self(pairs.map(|(name, value)| (name, storable(&value))).collect())
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.exact(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The same, with the blanks around it.
    pub(super) fn exact(&self, name: &str) -> Option<String> {
        // What an index holds has 255 characters at most.
        self.0.get(name).map(|text| text.chars().take(255).collect())
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// One field of the form.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) value: String,
    /// Words to choose from; empty where anything may be written.
    pub(super) choices: Vec<(String, String)>,
    /// The `type` of the input.
    pub(super) kind: &'static str,
    /// What is wrong with the value.
    pub(super) trouble: Option<String>,
}

/// The form above a list, with what is wrong in it.
#[derive(Default)]
pub(super) struct Form {
    pub(super) action: String,
    pub(super) fields: Vec<Field>,
    /// Whether any condition is set.
    pub(super) is_set: bool,
}

/// Builds a form and reads its values at the same time.
pub(super) struct Asked<'a> {
    query: &'a Query,
    form: Form,
}

impl<'a> Asked<'a> {
    pub(super) fn new(action: impl Into<String>, query: &'a Query) -> Self {
        Self { query, form: Form { action: action.into(), ..Form::default() } }
    }

    /// Any text.
    pub(super) fn text(&mut self, name: &'static str, label: &'static str) -> Option<String> {
        let value = self.query.text(name);
        self.add(name, label, "text", Vec::new(), None);
        value
    }

    /// One of some words. A word that is none of them is asked for all the same: the vendor may have new ones.
    pub(super) fn choice(
        &mut self,
        name: &'static str,
        label: &'static str,
        words: &[&str],
    ) -> Option<String> {
        let value = self.query.text(name);
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        if let Some(value) = value.as_ref().filter(|value| !words.contains(value)) {
            words.push(value.clone());
        }
        let choices = words.into_iter().map(|word| (word.replace('_', " "), word));
        let choices = choices.map(|(shown, word)| (word, shown)).collect();
        self.add(name, label, "text", choices, None);
        value
    }

    /// One of the server's apps. It is not asked for where there is but one; another that is named all the same, of events
    /// that are kept from before, is one to choose from.
    pub(super) fn app(&mut self, apps: &[AppId]) -> Option<AppId> {
        let value = self.query.text("app");
        let app = value.as_deref().and_then(AppId::parse);
        let trouble =
            (value.is_some() && app.is_none()).then(|| "no app id: digits are expected".to_owned());
        let other = app.filter(|app| !apps.contains(app));
        let ids = apps.iter().copied().chain(other).map(|app| app.as_i64().to_string());
        let choices: Vec<_> = ids.map(|id| (id.clone(), id)).collect();
        if trouble.is_some() {
            self.add("app", "App", "text", Vec::new(), trouble);
        } else if choices.len() > 1 || app.is_some() {
            self.add("app", "App", "text", choices, None);
        }
        app
    }

    /// A moment, in UTC.
    pub(super) fn time(&mut self, name: &'static str, label: &'static str) -> Option<UnixMillis> {
        let value = self.query.text(name);
        let time = value.as_deref().and_then(moment);
        let trouble = (value.is_some() && time.is_none())
            .then(|| "no time: 2026-11-01T12:00 is expected".to_owned());
        self.add(name, label, "datetime-local", Vec::new(), trouble);
        time
    }

    fn add(
        &mut self,
        name: &'static str,
        label: &'static str,
        kind: &'static str,
        choices: Vec<(String, String)>,
        trouble: Option<String>,
    ) {
        let mut value = self.query.get(name).to_owned();
        if kind == "datetime-local" {
            // The control takes no zone. Links are made of this too, so it is to the ms.
            value = moment(&value).map_or(value, |at| {
                let text = at.to_string();
                let text = text.trim_end_matches('Z');
                text.strip_suffix(".000").unwrap_or(text).to_owned()
            });
        }
        self.form.is_set |= !value.is_empty();
        self.form.fields.push(Field { name, label, value, choices, kind, trouble });
    }

    /// The form, when all was read.
    pub(super) fn done(self) -> Form {
        self.form
    }
}

impl Form {
    /// Whether all that was written can be understood.
    pub(super) fn is_good(&self) -> bool {
        self.fields.iter().all(|field| field.trouble.is_none())
    }

    /// The same list behind a place, which the query calls `name`.
    pub(super) fn behind(&self, name: &str, place: &str) -> String {
        format!("{}&{name}={}", self.href(), encoded(place)).replacen("?&", "?", 1)
    }

    /// The same list from its beginning.
    pub(super) fn href(&self) -> String {
        let set = self.fields.iter().filter(|field| !field.value.is_empty());
        let pairs: Vec<String> =
            set.map(|field| format!("{}={}", field.name, encoded(&field.value))).collect();
        format!("{}?{}", self.action, pairs.join("&"))
    }
}

/// The first day of the year 1. Earlier ones not every store takes.
const EARLIEST_MS: i64 = -62_135_596_800_000;

/// Whether it is a time that calendars and stores have.
fn is_usual(at: UnixMillis) -> bool {
    at.0 >= EARLIEST_MS && jiff::Timestamp::from_millisecond(at.0).is_ok()
}

/// What a browser's control gives, RFC 3339, or ms since 1970.
pub(super) fn moment(text: &str) -> Option<UnixMillis> {
    if let Ok(ms) = text.parse() {
        return Some(UnixMillis(ms)).filter(|at| is_usual(*at));
    }
    let stamp = text.parse::<jiff::Timestamp>().ok();
    let civil = || {
        text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|moment| moment.timestamp())
    };
    let at = stamp.or_else(civil).map(|stamp| UnixMillis(stamp.as_millisecond()));
    at.filter(|at| is_usual(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_shows_what_was_asked_and_what_is_wrong_in_it() {
        let query = Query::read(Some(
            "account=a%26b&since=2026-11-01T12:00&until=soon&state=odd&app=x&media=",
        ));
        let mut asked = Asked::new("/calls", &query);
        assert_eq!(asked.text("account", "Account").as_deref(), Some("a&b"));
        assert_eq!(asked.time("since", "From"), Some(UnixMillis(1_793_534_400_000)));
        assert_eq!(asked.time("until", "Until"), None);
        assert_eq!(asked.choice("state", "State", &["ended"]).as_deref(), Some("odd"));
        assert_eq!(asked.choice("media", "Media", &["audio"]), None);
        assert_eq!(asked.app(&[]), None);
        let form = asked.done();
        let wrong: Vec<_> = form.fields.iter().filter(|field| field.trouble.is_some()).collect();
        assert_eq!(wrong.iter().map(|field| field.name).collect::<Vec<_>>(), ["until", "app"]);
        assert!(form.is_set && !form.is_good());
        assert!(
            form.behind("after", "1.2").starts_with("/calls?account=a%26b&since="),
            "{}",
            form.behind("after", "1.2")
        );
        let empty = Query::read(None);
        assert_eq!(Asked::new("/x", &empty).done().behind("after", "1.2"), "/x?after=1.2");
    }

    #[test]
    fn an_app_is_chosen_where_there_are_several() {
        let app = |id: &str| AppId::parse(id).unwrap();
        let choices = |query: &str, apps: &[AppId]| {
            let query = Query::read(Some(query));
            let mut asked = Asked::new("/calls", &query);
            let chosen = asked.app(apps);
            let fields = asked.done().fields;
            let shown = fields.into_iter().next().map(|field| (field.value, field.choices.len()));
            (chosen, shown)
        };
        assert_eq!(choices("", &[app("7")]), (None, None));
        assert_eq!(choices("", &[app("7"), app("8")]), (None, Some((String::new(), 2))));
        assert_eq!(
            choices("app=8", &[app("7"), app("8")]),
            (Some(app("8")), Some(("8".into(), 2)))
        );
        assert_eq!(choices("app=9", &[app("7")]), (Some(app("9")), Some(("9".into(), 2))));
    }

    #[test]
    fn a_moment_is_read_in_three_ways() {
        for text in [
            "2026-11-01T12:00",
            "2026-11-01T12:00:00",
            "2026-11-01T13:00:00+01:00",
            "1793534400000",
        ] {
            assert_eq!(moment(text), Some(UnixMillis(1_793_534_400_000)), "{text}");
        }
        for text in ["soon", "9223372036854775807", "-9223372036854775808", "-000500-01-01T00:00"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn a_link_keeps_the_milliseconds_of_a_time() {
        let query = Query::read(Some("since=1793534400123&until=1793534401000"));
        let mut asked = Asked::new("/events", &query);
        let since = asked.time("since", "From");
        asked.time("until", "Until");
        let href = asked.done().href();
        let again = Query::read(href.split_once('?').map(|(_, query)| query));
        assert_eq!(Asked::new("/events", &again).time("since", "From"), since, "{href}");
        assert!(href.ends_with("until=2026-11-01T12%3A00%3A01"), "{href}");
    }
}
