//! The metadata of one live session, computed in order of time within a memory bound.

use std::collections::BTreeMap;

use crate::session::bounds::json_bytes;
use crate::session::moment;
use protocol::UnixMillis;

/// Bytes of an entry beside its key and value: quotes, colon and comma.
const ENTRY_BYTES: usize = 6;
/// Bytes of the braces around all entries.
const BRACES_BYTES: usize = 2;

/// Keys with their last values. An entry that is set beyond the bound is left out.
#[derive(Debug)]
pub struct MetadataSum {
    /// The entries before the moment that is being added.
    entries: BTreeMap<String, String>,
    bytes: usize,
    bytes_max: usize,
    is_cut: bool,
    at: Option<UnixMillis>,
    /// The marks of that moment by key.
    said: BTreeMap<String, KeySum>,
    said_bytes: usize,
}

/// The marks of one key at one moment.
#[derive(Debug, Default)]
struct KeySum {
    /// Sets less deletes.
    balance: i64,
    /// The last value that was set, and whether it is truncated.
    value: Option<(String, bool)>,
}

impl MetadataSum {
    /// Empty metadata with a bound in bytes of JSON.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            bytes: BRACES_BYTES,
            bytes_max,
            is_cut: false,
            at: None,
            said: BTreeMap::new(),
            said_bytes: 0,
        }
    }

    /// Sets an entry, or deletes it. Call it in order of time and event, and [`MetadataSum::end_moment`] at the end.
    /// `is_cut`: the value was truncated.
    ///
    /// Within one moment the state before decides whether the delete or the set came first; see [`mod@moment`].
    pub fn add(&mut self, at: UnixMillis, key: String, value: Option<String>, is_cut: bool) {
        if self.at != Some(at) {
            self.end_moment();
            self.at = Some(at);
        }
        let before = self.said.get(&key).and_then(|said| said.value.as_ref());
        let before = before.map_or(0, |(value, _)| json_bytes(value));
        let is_new = !self.said.contains_key(&key);
        let key_bytes = if is_new { json_bytes(&key) + ENTRY_BYTES } else { 0 };
        let bytes = match &value {
            Some(value) => self.said_bytes - before + key_bytes + json_bytes(value),
            None => self.said_bytes + key_bytes,
        };
        // Deleting an entry needs no budget.
        if bytes > self.bytes_max && (value.is_some() || is_new && !self.entries.contains_key(&key))
        {
            self.is_cut |= value.is_some();
            return;
        }
        self.said_bytes = bytes;
        let said = self.said.entry(key).or_default();
        match value {
            Some(value) => {
                said.balance = said.balance.saturating_add(1);
                said.value = Some((value, is_cut));
            }
            None => said.balance = said.balance.saturating_sub(1),
        }
    }

    /// Ends the last moment.
    pub fn end_moment(&mut self) {
        let taken = |key: &str, value: &str| json_bytes(key) + json_bytes(value) + ENTRY_BYTES;
        self.said_bytes = 0;
        let mut set = Vec::new();
        // Deletes free their bytes first.
        for (key, said) in std::mem::take(&mut self.said) {
            let before = self.entries.remove(&key);
            self.bytes -= before.as_ref().map_or(0, |before| taken(&key, before));
            if moment::state_after(before.is_some(), said.balance)
                && let Some(value) = said.value.or(before.map(|before| (before, false)))
            {
                set.push((key, value));
            }
        }
        for (key, (value, is_cut)) in set {
            let bytes = taken(&key, &value);
            if self.bytes + bytes > self.bytes_max {
                self.is_cut = true;
                continue;
            }
            self.is_cut |= is_cut;
            self.bytes += bytes;
            self.entries.insert(key, value);
        }
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.is_cut
    }

    /// Whether a value was truncated or an entry left out.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The entries, as a JSON object.
    #[must_use]
    pub fn object(self) -> String {
        let entries = self.entries.into_iter().map(|(key, value)| (key, value.into()));
        serde_json::Value::Object(entries.collect()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::session::metadata::*;

    #[test]
    fn the_last_value_counts_and_a_deleted_key_frees_its_bytes() {
        let mut sum = MetadataSum::new(30);
        let value = |letters: usize| Some("x".repeat(letters));
        let marks =
            [("a", value(20)), ("b", value(20)), ("a", None), ("c", value(20)), ("c", value(1))];
        for (at, (key, value)) in (0..).zip(marks) {
            sum.add(UnixMillis(at), key.into(), value, false);
        }
        sum.end_moment();
        assert!(sum.is_cut());
        assert_eq!(sum.object(), r#"{"c":"x"}"#);
    }

    #[test]
    fn at_one_moment_the_state_before_decides_on_an_entry() {
        let set = |value: &str| Some(value.to_owned());
        let object = |marks: &[(i64, Option<String>)]| {
            let mut sum = MetadataSum::new(100);
            for (at, value) in marks {
                sum.add(UnixMillis(*at), "a".into(), value.clone(), false);
            }
            sum.end_moment();
            sum.object()
        };
        assert_eq!(object(&[(1, set("x")), (1, None)]), "{}");
        assert_eq!(object(&[(1, None), (1, set("x"))]), "{}");
        assert_eq!(object(&[(0, set("w")), (1, set("x")), (1, None)]), r#"{"a":"x"}"#);
        assert_eq!(object(&[(1, set("x")), (1, None), (1, set("y"))]), r#"{"a":"y"}"#);
        assert_eq!(object(&[(0, set("w")), (1, None), (1, set("x")), (1, None)]), "{}");
    }

    proptest! {
        #[test]
        fn metadata_never_takes_more_than_its_bytes(
            marks in proptest::collection::vec(("[a-d\"]{1,3}", proptest::option::of(".{0,20}")), 0..60),
            bytes_max in 0..200_usize,
        ) {
            let mut sum = MetadataSum::new(bytes_max);
            for (place, (key, value)) in (0..).zip(marks) {
                sum.add(UnixMillis(place / 3), key, value, false);
            }
            sum.end_moment();
            prop_assert!(sum.object().len() <= bytes_max.max(2));
        }
    }
}
