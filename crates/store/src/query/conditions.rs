//! The conditions that lists take: each described once, for the API, the forms of the dashboard and the command line.

use protocol::time::{TIME_HINT, UnixMillis};
use protocol::{AppId, Command};

use protocol::diagnostic::Hint;

/// One condition of a list: a parameter of the API, a field of a form, an option of a command.
#[derive(Debug)]
pub struct Condition {
    /// The name of the parameter, the field and the option.
    pub name: &'static str,
    /// The label of the field.
    pub label: &'static str,
    /// Its lines of documentation, as they are written.
    pub doc: &'static [&'static str],
    /// What it takes.
    pub kind: ConditionKind,
}

/// What a condition takes.
#[derive(Debug, Clone, Copy)]
pub enum ConditionKind {
    /// An app's id.
    App,
    /// Any text.
    Text,
    /// A command, by its name or an alias.
    Command,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// True or false, and how a form calls the two.
    Flag([&'static str; 2]),
    /// A date, a moment, or an age.
    Time,
}

/// The value of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionValue {
    /// An app's id.
    App(AppId),
    /// A text, a word, or the stored name of a command.
    Text(String),
    /// True or false.
    Flag(bool),
    /// A moment.
    Time(UnixMillis),
}

/// A condition that cannot be understood. The texts are the same wherever it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ConditionError {
    /// The name of the condition.
    pub name: String,
    /// What is wrong.
    pub detail: String,
    /// What to give instead.
    pub hint: String,
}

impl Hint for ConditionError {
    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

impl ConditionError {
    fn new(name: &str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name: name.to_owned(), detail: detail.into(), hint: hint.into() }
    }

    /// A name that is given more than once.
    #[must_use]
    pub fn duplicate(name: &str) -> Self {
        Self::new(name, format!("duplicate parameter `{name}`"), "give it once")
    }

    /// A name that is none of those `known`.
    #[must_use]
    pub fn unknown(name: &str, known: &[&str]) -> Self {
        let hint = match known {
            [] => "it takes no parameters".to_owned(),
            known => format!("{}known parameters: {}", near_miss(name, known), known.join(", ")),
        };
        Self::new(name, format!("unknown parameter `{name}`"), hint)
    }
}

/// The word that was probably meant, as the beginning of a hint.
fn near_miss(given: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (strsim::osa_distance(known, given), known));
    let near = near.filter(|(far, _)| *far <= 2).min();
    near.map_or_else(String::new, |(_, near)| format!("did you mean `{near}`? "))
}

impl Condition {
    /// Its documentation, in one line.
    #[must_use]
    pub fn help(&self) -> String {
        let lines: Vec<_> = self.doc.iter().map(|line| line.trim()).collect();
        lines.join(" ").trim_end_matches('.').to_owned()
    }

    /// Reads a value; an age is one before `now`.
    ///
    /// # Errors
    /// What it takes instead.
    pub fn read(&self, text: &str, now: UnixMillis) -> Result<ConditionValue, ConditionError> {
        let name = self.name;
        let unknown = format!("unknown value of `{name}`");
        let read = match self.kind {
            ConditionKind::Text => Ok(ConditionValue::Text(text.to_owned())),
            ConditionKind::OneOf(words) if words.contains(&text) => {
                Ok(ConditionValue::Text(text.to_owned()))
            }
            ConditionKind::OneOf(words) => {
                let near = near_miss(text, words);
                Err((unknown, format!("{near}expected one of {}", words.join(", "))))
            }
            ConditionKind::Command => Command::meant(text)
                .map(|name| ConditionValue::Text(name.into_owned()))
                .map_err(|hint| (unknown, hint)),
            ConditionKind::Flag(_) => match text {
                "true" | "1" | "yes" => Ok(ConditionValue::Flag(true)),
                "false" | "0" | "no" => Ok(ConditionValue::Flag(false)),
                _ => Err((unknown, "expected true or false".to_owned())),
            },
            ConditionKind::App => AppId::parse(text).map(ConditionValue::App).ok_or_else(|| {
                let detail = format!("`{name}` is not a valid SDKAppID");
                (detail, "give its digits, such as 1400000001".to_owned())
            }),
            ConditionKind::Time => UnixMillis::parse(text, now)
                .map(ConditionValue::Time)
                .ok_or_else(|| (format!("`{name}` is not a valid time"), TIME_HINT.to_owned())),
        };
        read.map_err(|(detail, hint)| ConditionError::new(name, detail, hint))
    }
}

macro_rules! from_value {
    ($($kind:ident $type:ty;)*) => {$(
        impl From<ConditionValue> for Option<$type> {
            fn from(value: ConditionValue) -> Self {
                if let ConditionValue::$kind(value) = value { Some(value) } else { None }
            }
        }
    )*};
}
from_value! {
    App AppId;
    Text String;
    Flag bool;
    Time UnixMillis;
}

impl From<ConditionValue> for bool {
    fn from(value: ConditionValue) -> Self {
        value == ConditionValue::Flag(true)
    }
}

/// What is read from conditions. Two of them are read together as a pair.
pub trait Filter: Sized {
    /// The conditions, in the order of a form.
    fn conditions() -> Vec<&'static Condition>;

    /// Sets the condition of that name.
    fn set(&mut self, name: &str, value: ConditionValue);

    /// Sets every condition that `text` has a value for.
    ///
    /// # Errors
    /// The first that cannot be understood.
    fn read<'a>(
        mut self,
        text: impl Fn(&str) -> Option<&'a str>,
        now: UnixMillis,
    ) -> Result<Self, ConditionError> {
        let mut range = TimeRange::default();
        for condition in Self::conditions() {
            if let Some(text) = text(condition.name) {
                let value = condition.read(text, now)?;
                range.see(condition.name, &value);
                self.set(condition.name, value);
            }
        }
        range.check()?;
        Ok(self)
    }
}

impl Filter for () {
    fn conditions() -> Vec<&'static Condition> {
        Vec::new()
    }

    fn set(&mut self, _name: &str, _value: ConditionValue) {}
}

impl<A: Filter, B: Filter> Filter for (A, B) {
    fn conditions() -> Vec<&'static Condition> {
        [A::conditions(), B::conditions()].concat()
    }

    fn set(&mut self, name: &str, value: ConditionValue) {
        self.0.set(name, value.clone());
        self.1.set(name, value);
    }
}

/// The conditions `since` and `until`.
#[derive(Debug, Default)]
pub struct TimeRange([Option<UnixMillis>; 2]);

impl TimeRange {
    /// Takes note of a condition, if it is one of the two.
    pub fn see(&mut self, name: &str, value: &ConditionValue) {
        match (name, value) {
            ("since", ConditionValue::Time(time)) => self.0[0] = Some(*time),
            ("until", ConditionValue::Time(time)) => self.0[1] = Some(*time),
            _ => {}
        }
    }

    /// Holds that it does not end before it begins.
    ///
    /// # Errors
    /// Both times.
    pub fn check(&self) -> Result<(), ConditionError> {
        match self.0 {
            [Some(since), Some(until)] if since > until => {
                let detail = format!("`since` is {since}, later than `until`, {until}");
                Err(ConditionError::new("since", detail, "give the earlier one as `since`"))
            }
            _ => Ok(()),
        }
    }
}

/// Declares a filter: first its conditions, each as documentation, name, label, kind and field, then its other fields.
#[macro_export]
macro_rules! filter {
    (
        $(#[$meta:meta])*
        $vis:vis struct $filter:ident {
            $($(#[doc = $doc:literal])+ $name:literal $label:literal $kind:expr => $field:ident: $type:ty,)*
        }
        $(and { $($(#[$of_other:meta])* $other:ident: $other_type:ty,)* })?
    ) => {
        $(#[$meta])*
        $vis struct $filter {
            $($(#[doc = $doc])+ $vis $field: $type,)*
            $($($(#[$of_other])* $vis $other: $other_type,)*)?
        }

        impl $crate::Filter for $filter {
            fn conditions() -> Vec<&'static $crate::Condition> {
                const CONDITIONS: &[$crate::Condition] = &[$($crate::Condition {
                    name: $name,
                    label: $label,
                    doc: &[$($doc),+],
                    kind: $kind,
                },)*];
                CONDITIONS.iter().collect()
            }

            fn set(&mut self, name: &str, value: $crate::ConditionValue) {
                match name {
                    $($name => self.$field = value.into(),)*
                    _ => {}
                }
            }
        }
    };
}
#[cfg(test)]
mod tests {
    use crate::query::conditions::*;
    use crate::query::filters::{AnomalyFilter, CallFilter};

    /// 2026-11-01 12:00 UTC.
    const NOW: UnixMillis = UnixMillis(1_793_534_400_000);

    fn calls(name: &'static str, text: &'static str) -> Result<CallFilter, ConditionError> {
        CallFilter::default().read(|asked| (asked == name).then_some(text), NOW)
    }

    #[test]
    fn a_value_is_read_by_its_kind() {
        assert_eq!(calls("state", "ended").unwrap().state.as_deref(), Some("ended"));
        assert_eq!(calls("app", "7").unwrap().app, AppId::parse("7"));
        for text in ["2026-11-01T10:00", "2h", "2026-11-01T10:00:00Z", "1793527200000"] {
            assert_eq!(calls("since", text).unwrap().since, Some(UnixMillis(1_793_527_200_000)));
        }
        for (text, flag) in [("true", true), ("1", true), ("no", false)] {
            let read = |name: &str| (name == "resolved").then_some(text);
            let filter = AnomalyFilter::default().read(read, NOW).unwrap();
            assert_eq!(filter.resolved, Some(flag), "{text}");
        }
    }

    #[test]
    fn an_error_names_what_was_probably_meant() {
        let error = calls("state", "endet").unwrap_err();
        assert_eq!(
            error.diagnostic().to_string(),
            "unknown value of `state`\nhint: did you mean `ended`? expected one of ringing, active, ended, overdue"
        );
        let error = ConditionError::unknown("stat", &["state", "user"]);
        assert_eq!(error.hint, "did you mean `state`? known parameters: state, user");
        let error = CallFilter::default()
            .read(
                |name| {
                    [("since", "1h"), ("until", "2h")].iter().find(|it| it.0 == name).map(|it| it.1)
                },
                NOW,
            )
            .unwrap_err();
        assert!(error.detail.contains("later than `until`"), "{error}");
    }
}
