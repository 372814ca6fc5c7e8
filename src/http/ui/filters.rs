//! What a list is asked for: the form above it, read from the query and shown again as it was.

use crate::http::ops::path_segment::encoded;
use crate::http::query::Query;
use crate::http::ui::error::sentence;
use crate::http::ui::html::visible;
use crate::store::{Condition, ConditionKind, ConditionValue, Filter, TimeRange};
use protocol::AppId;
use protocol::UnixMillis;

/// The condition on the app, for pages that have no other.
const APP: Condition = Condition { name: "app", label: "App", doc: &[], kind: ConditionKind::App };

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
        let shown = self.query.get(name).to_owned();
        let choices = Vec::new();
        self.add(Field { name, label, value: shown, choices, kind: "text", trouble: None });
        value
    }

    /// The conditions of a filter but those `without`, which the page has no use for.
    pub(crate) fn filter<F: Filter>(
        &mut self,
        mut filter: F,
        apps: &[AppId],
        without: &[&str],
    ) -> F {
        let mut range = TimeRange::default();
        for condition in F::conditions() {
            if !without.contains(&condition.name)
                && let Some(value) = self.condition(condition, apps)
            {
                range.see(condition.name, &value);
                filter.set(condition.name, value);
            }
        }
        if let Err(error) = range.check() {
            let mut fields = self.form.fields.iter_mut();
            if let Some(field) = fields.find(|field| field.name == error.name) {
                field.trouble = Some(sentence(&error));
            }
        }
        filter
    }

    /// One of the server's apps.
    pub(crate) fn app(&mut self, apps: &[AppId]) -> Option<AppId> {
        self.condition(&APP, apps)?.into()
    }

    fn condition(&mut self, condition: &Condition, apps: &[AppId]) -> Option<ConditionValue> {
        let text = self.query.text(condition.name);
        let read = text.as_deref().map(|text| condition.read(text, self.now)).transpose();
        let (value, trouble) = match read {
            Ok(value) => (value, None),
            Err(error) => (None, Some(sentence(&error))),
        };
        let same = |word: &str| (word.to_owned(), word.replace('_', " "));
        let mut choices: Vec<_> = match condition.kind {
            ConditionKind::OneOf(words) => words.iter().map(|word| same(word)).collect(),
            ConditionKind::Flag([yes, no]) => {
                vec![("true".into(), yes.into()), ("false".into(), no.into())]
            }
            ConditionKind::App if trouble.is_none() => app_choices(apps, value.as_ref()),
            _ => Vec::new(),
        };
        // It is not asked for where there is but one.
        if matches!(condition.kind, ConditionKind::App) && text.is_none() && choices.len() < 2 {
            return None;
        }
        let mut shown = self.query.get(condition.name).to_owned();
        let mut input = "text";
        match (condition.kind, &value) {
            (ConditionKind::Flag(_), Some(ConditionValue::Flag(flag))) => shown = flag.to_string(),
            // The control takes neither a zone nor an age, and shows nothing of them.
            (ConditionKind::Time, _) => {
                if let Some(shown_in_it) = control_value(&shown) {
                    (shown, input) = (shown_in_it, "datetime-local");
                }
            }
            _ => {}
        }
        if trouble.is_some() && !choices.is_empty() {
            choices.push((shown.clone(), visible(&shown).into_owned()));
        }
        self.add(Field {
            name: condition.name,
            label: condition.label,
            value: shown,
            choices,
            kind: input,
            trouble,
        });
        value
    }

    fn add(&mut self, field: Field) {
        self.form.is_set |= !field.value.is_empty();
        self.form.fields.push(field);
    }

    /// The form, when all was read. The query may have these names beside those of the fields, and no others.
    pub(crate) fn done(mut self, beside: &[&str]) -> Form {
        let fields = self.form.fields.iter().map(|field| field.name);
        let mut known: Vec<&str> = fields.chain(beside.iter().copied()).collect();
        if !known.contains(&"app") {
            known.push("app");
        }
        self.form.trouble = self.query.only(&known).err().map(|error| sentence(&error));
        self.form
    }
}

/// The server's apps; another that is named all the same, of events that are kept from before, is one to choose from.
fn app_choices(apps: &[AppId], chosen: Option<&ConditionValue>) -> Vec<(String, String)> {
    let chosen = chosen.cloned().and_then(Option::<AppId>::from);
    let other = chosen.filter(|app| !apps.contains(app));
    let ids = apps.iter().copied().chain(other).map(|app| app.to_string());
    ids.map(|id| (id.clone(), id)).collect()
}

/// A moment as the control for moments takes it; `None` of other texts. Links are made of this too, so it is to the ms.
fn control_value(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    let moment = UnixMillis::parse_moment(text.trim())?.to_string();
    let moment = moment.trim_end_matches('Z');
    Some(moment.strip_suffix(".000").unwrap_or(moment).to_owned())
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
    use crate::store::{CallFilter, EventFilter};

    /// 2026-11-01 12:00 UTC.
    const NOW: UnixMillis = UnixMillis(1_793_534_400_000);

    #[test]
    fn a_form_shows_its_values_and_their_errors() {
        let query = Query::read(Some(
            "user=a%26b&since=2026-11-01T12:00&until=soon&family=odd&app=x&platform=&command=EndCall&undecoded=yes",
        ));
        let mut asked = FormBuilder::new("/events", &query, NOW);
        let filter = asked.filter(EventFilter::default(), &[], &[]);
        assert_eq!(filter.operator.as_deref(), Some("a&b"));
        assert_eq!((filter.since, filter.until), (Some(NOW), None));
        assert_eq!((filter.family, filter.platform, filter.command), (None, None, None));
        assert!(filter.undecoded && filter.app.is_none());
        let form = asked.done(&["after"]);
        assert_eq!(form.trouble, None);
        let wrong: Vec<_> = form.fields.iter().filter(|field| field.trouble.is_some()).collect();
        let names: Vec<_> = wrong.iter().map(|field| field.name).collect();
        assert_eq!(names, ["family", "command", "app", "until"]);
        assert!(form.is_set && !form.is_good());
        // What was written is kept, also what the control for moments does not take.
        let until = form.fields.iter().find(|field| field.name == "until").unwrap();
        assert_eq!((until.value.as_str(), until.kind), ("soon", "text"));
        let undecoded = form.fields.iter().find(|field| field.name == "undecoded").unwrap();
        assert_eq!((undecoded.value.as_str(), undecoded.choices.len()), ("true", 2));
        let family = form.fields.iter().find(|field| field.name == "family").unwrap();
        assert!(family.choices.iter().any(|(word, _)| word == "odd"));
        let href = form.behind("after", "1.2");
        assert!(href.starts_with("/events?family=odd&command=EndCall&user=a%26b&"), "{href}");
        let empty = Query::read(None);
        let empty = FormBuilder::new("/x", &empty, NOW).done(&["after"]);
        assert_eq!(empty.behind("after", "1.2"), "/x?after=1.2");
    }

    #[test]
    fn an_unknown_or_duplicate_name_is_refused() {
        let trouble = |query| {
            let query = Query::read(Some(query));
            let mut asked = FormBuilder::new("/calls", &query, NOW);
            asked.text("user", "Account");
            asked.done(&["after"]).trouble
        };
        assert_eq!(trouble("user=x&after=y&app=1&odd="), None);
        let said = trouble("account=x").unwrap();
        assert_eq!(said, "unknown parameter `account`; known parameters: user, after, app");
        assert!(trouble("user=x&user=y").unwrap().contains("duplicate parameter `user`"));
        assert!(trouble("%E2%80%AE=1").unwrap().contains("`\\u{202e}`"));
    }

    #[test]
    fn a_span_takes_times_or_ages_in_order() {
        let read = |query| {
            let query = Query::read(Some(query));
            let mut asked = FormBuilder::new("/calls", &query, NOW);
            let filter = asked.filter(CallFilter::default(), &[], &[]);
            ([filter.since, filter.until], asked.done(&[]))
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
        let filter = asked.filter(CallFilter::default(), &[], &[]);
        let href = asked.done(&[]).href();
        let again = Query::read(href.split_once('?').map(|(_, query)| query));
        let again = FormBuilder::new("/calls", &again, NOW).filter(CallFilter::default(), &[], &[]);
        assert_eq!((again.since, again.until), (filter.since, filter.until), "{href}");
        assert!(href.ends_with("until=2026-11-01T12%3A00%3A01"), "{href}");
    }
}
