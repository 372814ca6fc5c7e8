//! What a list is asked for: the form above it, read from the query and shown again as it was.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::callback::{AppId, Command};
use crate::clock::{TIME_HINT, UnixMillis};
use crate::http::ops::path_segment::{encoded, storable};
use crate::http::ui::error::PageError;
use crate::http::ui::html::visible;

/// The query of a page.
pub(crate) struct Query {
    values: HashMap<String, String>,
    /// A name that occurs twice.
    twice: Option<String>,
}

impl Query {
    /// Reads a query string. Empty values count as absent.
    pub(crate) fn read(raw: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(raw.unwrap_or("").as_bytes()).into_owned();
        let mut query = Self { values: HashMap::new(), twice: None };
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            if query.values.insert(name.clone(), storable(&value)).is_some() {
                query.twice = Some(name);
            }
        }
        query
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.exact(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The same, with the blanks around it.
    pub(crate) fn exact(&self, name: &str) -> Option<String> {
        // What an index holds has 255 characters at most.
        self.values.get(name).map(|text| text.chars().take(255).collect())
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// What is wrong with its names, where these are all that a page takes: the answer would be to another question.
    pub(crate) fn trouble(&self, known: &[&str]) -> Option<String> {
        let shown = |name: &str| visible(&name.chars().take(40).collect::<String>()).into_owned();
        if let Some(name) = &self.twice {
            return Some(format!("Duplicate parameter “{}”: give it once.", shown(name)));
        }
        let mut unknown: Vec<_> =
            self.values.keys().filter(|name| !known.contains(&name.as_str())).collect();
        unknown.sort_unstable();
        let name = shown(unknown.first()?);
        Some(match known {
            [] => format!("Unknown parameter “{name}”: this page takes none."),
            known => {
                format!("Unknown parameter “{name}”; this page takes {}.", known.join(", "))
            }
        })
    }

    /// Refuses a query with other names than these.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), PageError> {
        self.trouble(known).map_or(Ok(()), |trouble| Err(PageError::Parameter(trouble)))
    }
}

/// One field of the form.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) value: String,
    /// Words to choose from; empty where anything may be written.
    pub(crate) choices: Vec<(String, String)>,
    /// The `type` of the input.
    pub(crate) kind: &'static str,
    /// What is wrong with the value.
    pub(crate) trouble: Option<String>,
}

/// The form above a list, with what is wrong in it.
#[derive(Default)]
pub(crate) struct Form {
    pub(crate) action: String,
    pub(crate) fields: Vec<Field>,
    /// Whether any condition is set.
    pub(crate) is_set: bool,
    /// What is wrong with the query beside its fields.
    pub(crate) trouble: Option<String>,
}

/// Builds a form and reads its values at the same time.
pub(crate) struct FormBuilder<'a> {
    query: &'a Query,
    now: UnixMillis,
    form: Form,
}

impl<'a> FormBuilder<'a> {
    pub(crate) fn new(action: impl Into<String>, query: &'a Query, now: UnixMillis) -> Self {
        Self { query, now, form: Form { action: action.into(), ..Form::default() } }
    }

    /// Any text.
    pub(crate) fn text(&mut self, name: &'static str, label: &'static str) -> Option<String> {
        let value = self.query.text(name);
        self.add(name, label, "text", Vec::new(), None);
        value
    }

    /// One of some words.
    pub(crate) fn choice(
        &mut self,
        name: &'static str,
        label: &'static str,
        words: &[&str],
    ) -> Option<String> {
        let choices: Vec<_> = words.iter().map(|word| (*word, word.replace('_', " "))).collect();
        self.choice_of(name, label, &choices)
    }

    /// One of some words, each with what is shown in its place.
    fn choice_of(
        &mut self,
        name: &'static str,
        label: &'static str,
        words: &[(&str, String)],
    ) -> Option<String> {
        let value = self.query.text(name);
        let is_known = |value: &String| words.iter().any(|(word, _)| word == value);
        let wrong = value.as_ref().filter(|value| !is_known(value)).map(|value| {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("“{}” is not one of {}", visible(value), known.join(", "))
        });
        let all = words.iter().map(|(word, shown)| ((*word).to_owned(), shown.clone()));
        let other = value.clone().filter(|_| wrong.is_some()).map(|value| {
            let shown = visible(&value).into_owned();
            (value, shown)
        });
        let (choices, is_good) = (all.chain(other).collect(), wrong.is_none());
        self.add(name, label, "text", choices, wrong);
        value.filter(|_| is_good)
    }

    /// Yes or no, and how the two are shown.
    pub(crate) fn flag(
        &mut self,
        name: &'static str,
        label: &'static str,
        [yes, no]: [&str; 2],
    ) -> Option<bool> {
        let words = [("true", yes.to_owned()), ("false", no.to_owned())];
        let same = match self.query.get(name).trim() {
            "1" | "yes" => Some("true"),
            "0" | "no" => Some("false"),
            _ => None,
        };
        let word = self.choice_of(name, label, &words);
        let (Some(same), Some(field)) = (same, self.form.fields.last_mut()) else {
            return word.map(|word| word == "true");
        };
        field.choices.truncate(words.len());
        (field.value, field.trouble) = (same.to_owned(), None);
        Some(same == "true")
    }

    /// A command, by its name or an alias: its stored name.
    pub(crate) fn command(&mut self, name: &'static str, label: &'static str) -> Option<String> {
        let meant = self.query.text(name).map(|name| Command::meant(&name));
        let trouble = meant.as_ref().and_then(|meant| meant.as_ref().err().cloned());
        self.add(name, label, "text", Vec::new(), trouble);
        meant.and_then(Result::ok).map(Cow::into_owned)
    }

    /// One of the server's apps. It is not asked for where there is but one; another that is named all the same, of events
    /// that are kept from before, is one to choose from.
    pub(crate) fn app(&mut self, apps: &[AppId]) -> Option<AppId> {
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

    /// From when, and until when: moments in UTC, or ages.
    pub(crate) fn span(&mut self) -> [Option<UnixMillis>; 2] {
        let [since, until] = ["since", "until"].map(|name| {
            let value = self.query.text(name);
            (value.as_deref().and_then(|text| UnixMillis::parse(text, self.now)), value.is_some())
        });
        let wrong = |(time, is_given): (Option<UnixMillis>, bool)| {
            (is_given && time.is_none()).then(|| format!("no time: {TIME_HINT}"))
        };
        let order = matches!((since.0, until.0), (Some(since), Some(until)) if since > until);
        let order = order.then(|| "“From” is later than “Until”".to_owned());
        let kind = |name| match self.query.get(name) {
            // The control takes nothing else, and shows nothing of it.
            text if text.is_empty() || UnixMillis::parse_moment(text.trim()).is_some() => {
                "datetime-local"
            }
            _ => "text",
        };
        let kinds = [kind("since"), kind("until")];
        self.add("since", "From (UTC)", kinds[0], Vec::new(), wrong(since).or(order));
        self.add("until", "Until (UTC)", kinds[1], Vec::new(), wrong(until));
        [since.0, until.0]
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
            value = UnixMillis::parse_moment(value.trim()).map_or(value, |at| {
                let text = at.to_string();
                let text = text.trim_end_matches('Z');
                text.strip_suffix(".000").unwrap_or(text).to_owned()
            });
        }
        self.form.is_set |= !value.is_empty();
        self.form.fields.push(Field { name, label, value, choices, kind, trouble });
    }

    /// The form, when all was read. The query may have these names beside those of the fields, and no others.
    pub(crate) fn done(mut self, beside: &[&str]) -> Form {
        let fields = self.form.fields.iter().map(|field| field.name);
        let mut known: Vec<&str> = fields.chain(beside.iter().copied()).collect();
        if !known.contains(&"app") {
            known.push("app");
        }
        self.form.trouble = self.query.trouble(&known);
        self.form
    }
}

impl Form {
    /// Whether all that was written can be understood.
    pub(crate) fn is_good(&self) -> bool {
        self.trouble.is_none() && self.fields.iter().all(|field| field.trouble.is_none())
    }

    /// The same list behind a place, which the query calls `name`.
    pub(crate) fn behind(&self, name: &str, place: &str) -> String {
        format!("{}&{name}={}", self.href(), encoded(place)).replacen("?&", "?", 1)
    }

    /// The same list from its beginning.
    pub(crate) fn href(&self) -> String {
        let set = self.fields.iter().filter(|field| !field.value.is_empty());
        let pairs: Vec<String> =
            set.map(|field| format!("{}={}", field.name, encoded(&field.value))).collect();
        format!("{}?{}", self.action, pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use crate::http::ui::filters::*;

    /// 2026-11-01 12:00 UTC.
    const NOW: UnixMillis = UnixMillis(1_793_534_400_000);

    #[test]
    fn a_form_shows_what_was_asked_and_what_is_wrong_in_it() {
        let query = Query::read(Some(
            "user=a%26b&since=2026-11-01T12:00&until=soon&state=odd&app=x&media=&command=EndCall&over=true",
        ));
        let mut asked = FormBuilder::new("/calls", &query, NOW);
        assert_eq!(asked.text("user", "Account").as_deref(), Some("a&b"));
        assert_eq!(asked.span(), [Some(NOW), None]);
        assert_eq!(asked.choice("state", "State", &["ended"]), None);
        assert_eq!(asked.choice("media", "Media", &["audio"]), None);
        assert_eq!(asked.flag("over", "Over", ["over", "not over"]), Some(true));
        assert_eq!(asked.command("command", "Command"), None);
        assert_eq!(asked.app(&[]), None);
        let form = asked.done(&["after"]);
        assert_eq!(form.trouble, None);
        let wrong: Vec<_> = form.fields.iter().filter(|field| field.trouble.is_some()).collect();
        let names: Vec<_> = wrong.iter().map(|field| field.name).collect();
        assert_eq!(names, ["until", "state", "command", "app"]);
        assert!(form.is_set && !form.is_good());
        // What was written is kept, also what the control for moments does not take.
        let until = form.fields.iter().find(|field| field.name == "until").unwrap();
        assert_eq!((until.value.as_str(), until.kind), ("soon", "text"));
        let state = form.fields.iter().find(|field| field.name == "state").unwrap();
        assert!(state.choices.iter().any(|(word, _)| word == "odd"));
        let href = form.behind("after", "1.2");
        assert!(href.starts_with("/calls?user=a%26b&since="), "{href}");
        let empty = Query::read(None);
        let empty = FormBuilder::new("/x", &empty, NOW).done(&["after"]);
        assert_eq!(empty.behind("after", "1.2"), "/x?after=1.2");
    }

    #[test]
    fn a_name_that_is_none_or_stands_twice_is_refused() {
        let trouble = |query| {
            let query = Query::read(Some(query));
            let mut asked = FormBuilder::new("/calls", &query, NOW);
            asked.text("user", "Account");
            asked.done(&["after"]).trouble
        };
        assert_eq!(trouble("user=x&after=y&app=1&odd="), None);
        let said = trouble("account=x").unwrap();
        assert_eq!(said, "Unknown parameter “account”; this page takes user, after, app.");
        assert!(trouble("user=x&user=y").unwrap().contains("Duplicate parameter “user”"));
        assert!(Query::read(Some("%E2%80%AE=1")).only(&[]).is_err());
    }

    #[test]
    fn a_span_is_of_moments_or_ages_and_in_order() {
        let read = |query| {
            let query = Query::read(Some(query));
            let mut asked = FormBuilder::new("/calls", &query, NOW);
            let span = asked.span();
            (span, asked.done(&[]))
        };
        let ([since, until], form) = read("since=2h&until=30m");
        assert_eq!(
            (since, until),
            (Some(UnixMillis(NOW.0 - 7_200_000)), Some(UnixMillis(NOW.0 - 1_800_000)))
        );
        assert!(form.is_good() && form.href().ends_with("?since=2h&until=30m"), "{}", form.href());
        assert!(!read("since=30m&until=2h").1.is_good());
        assert!(read("since=2026-11-01&until=2026-11-01").1.is_good());
    }

    #[test]
    fn an_app_is_chosen_where_there_are_several() {
        let app = |id: &str| AppId::parse(id).unwrap();
        let choices = |query: &str, apps: &[AppId]| {
            let query = Query::read(Some(query));
            let mut asked = FormBuilder::new("/calls", &query, NOW);
            let chosen = asked.app(apps);
            let fields = asked.done(&[]).fields;
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
    fn a_link_keeps_the_milliseconds_of_a_time() {
        let query = Query::read(Some("since=1793534400123&until=1793534401000"));
        let mut asked = FormBuilder::new("/events", &query, NOW);
        let span = asked.span();
        let href = asked.done(&[]).href();
        let again = Query::read(href.split_once('?').map(|(_, query)| query));
        assert_eq!(FormBuilder::new("/events", &again, NOW).span(), span, "{href}");
        assert!(href.ends_with("until=2026-11-01T12%3A00%3A01"), "{href}");
    }
}
