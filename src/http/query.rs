//! The query of a request: of the API and of a page alike.

use std::collections::BTreeMap;

use crate::http::ops::path_segment::storable;
use crate::store::{ConditionError, Filter};
use protocol::UnixMillis;

/// The parameters of a request, as text.
pub(crate) struct Query {
    values: BTreeMap<String, String>,
    /// A name that occurs twice.
    duplicate: Option<String>,
}

impl Query {
    /// Reads a query string. Empty values count as absent, as forms send them.
    pub(crate) fn read(raw: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(raw.unwrap_or("").as_bytes()).into_owned();
        let mut query = Self { values: BTreeMap::new(), duplicate: None };
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            if query.values.insert(name.clone(), storable(&value)).is_some() {
                query.duplicate = Some(name);
            }
        }
        query
    }

    /// The value without the blanks around it.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.exact(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The same, with the blanks around it.
    pub(crate) fn exact(&self, name: &str) -> Option<String> {
        // What an index holds has 255 characters at most.
        self.values.get(name).map(|text| text.chars().take(255).collect())
    }

    /// The whole value; empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// The names that were given, but for these.
    pub(crate) fn names(&self, but: &[&str]) -> String {
        let names = self.values.keys().map(String::as_str).filter(|name| !but.contains(name));
        names.collect::<Vec<_>>().join(",")
    }

    /// The name of a value that has more than `most` characters.
    pub(crate) fn longer_than(&self, most: usize) -> Option<&str> {
        let mut values = self.values.iter();
        values.find(|(_, value)| value.chars().count() > most).map(|(name, _)| shown(name))
    }

    /// Refuses a query with other names than these: ignoring one would answer another question.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), ConditionError> {
        if let Some(name) = &self.duplicate {
            return Err(ConditionError::duplicate(shown(name)));
        }
        let unknown = self.values.keys().find(|name| !known.contains(&name.as_str()));
        unknown.map_or(Ok(()), |name| Err(ConditionError::unknown(shown(name), known)))
    }

    /// Reads the conditions of `filter`. The query may have the names `beside` them, and no others.
    pub(crate) fn filter<F: Filter>(
        &self,
        filter: F,
        beside: &[&str],
        now: UnixMillis,
    ) -> Result<F, ConditionError> {
        let names = F::conditions();
        let names = names.iter().map(|condition| condition.name);
        let known: Vec<_> = names.chain(beside.iter().copied()).collect();
        self.only(&known)?;
        filter.read(|name| self.values.get(name).map(String::as_str), now)
    }
}

/// The part of a foreign name that an error repeats.
fn shown(name: &str) -> &str {
    name.char_indices().nth(40).map_or(name, |(end, _)| &name[..end])
}
