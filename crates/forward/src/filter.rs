//! Which events a destination gets.
//!
//! A filter looks at columns only: never at a body, which may be 256 KiB, or not JSON. It is compiled once from its lists of words.

use std::collections::HashSet;

use protocol::AppId;

use crate::derived::PREFIX;
use crate::event_columns::EventColumns;

/// The most words of one list.
pub const WORDS_MAX: usize = 64;

/// Which events a destination gets: within a list any word may fit, and every list must have one that does. An empty list fits all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The apps.
    pub apps: Words,
    /// The families.
    pub families: Words,
    /// The commands. Derived events fit only where a word begins with [`PREFIX`]; such a word fits nothing else.
    pub commands: Words,
    /// The rooms. An event without one does not fit where there are words.
    pub rooms: Words,
    /// The calls. An event without one does not fit where there are words.
    pub calls: Words,
}

impl Filter {
    /// Whether the destination gets this event.
    #[must_use]
    pub fn fits(&self, event: &EventColumns) -> bool {
        self.fits_key(&FilterKey {
            app: event.app,
            family: &event.family,
            command: &event.command,
            room_id: event.room_id.as_deref(),
            call_id: event.call_id.as_deref(),
            is_derived: event.is_derived(),
        })
    }

    /// The same, by no more than it looks at.
    #[must_use]
    pub fn fits_key(&self, key: &FilterKey<'_>) -> bool {
        self.misfit(key).is_none()
    }

    /// The first of its keys by which it does not take an event.
    #[must_use]
    pub fn misfit(&self, key: &FilterKey<'_>) -> Option<&'static str> {
        if !self.apps.fit_app(key.app) {
            Some("apps")
        } else if !self.families.fit(Some(key.family)) {
            Some("families")
        } else if !self.commands.fit_command(key) {
            Some("commands")
        } else if !self.rooms.fit(key.room_id) {
            Some("rooms")
        } else if !self.calls.fit(key.call_id) {
            Some("calls")
        } else {
            None
        }
    }

    /// Whether it names derived events.
    #[must_use]
    pub fn names_derived(&self) -> bool {
        let Words { exact, beginnings } = &self.commands;
        exact.iter().chain(beginnings).any(|word| word.starts_with(PREFIX))
    }
}

/// The columns of an event that a filter looks at.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the columns of `events`; see `protocol::Event`")]
pub struct FilterKey<'a> {
    pub app: AppId,
    pub family: &'a str,
    pub command: &'a str,
    pub room_id: Option<&'a str>,
    pub call_id: Option<&'a str>,
    pub is_derived: bool,
}

/// Words to compare with: exact ones, and beginnings, which end with `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    exact: HashSet<String>,
    beginnings: Vec<String>,
}

impl Words {
    /// Compiles a list.
    ///
    /// # Errors
    /// Which word is wrong, and why.
    pub fn compile<S: AsRef<str>>(words: &[S]) -> Result<Self, WordError> {
        if words.len() > WORDS_MAX {
            return Err(WordError::TooMany(words.len()));
        }
        let mut compiled = Self::default();
        for word in words.iter().map(AsRef::as_ref) {
            let (beginning, is_exact) = match word.split_once('*') {
                None => (word, true),
                Some((beginning, "")) => (beginning, false),
                Some(_) => return Err(WordError::Star(word.to_owned())),
            };
            if word.is_empty() || word.trim() != word {
                return Err(WordError::Blank(word.to_owned()));
            }
            if is_exact {
                compiled.exact.insert(beginning.to_owned());
            } else {
                compiled.beginnings.push(beginning.to_owned());
            }
        }
        compiled.beginnings.sort_unstable();
        compiled.beginnings.dedup();
        Ok(compiled)
    }

    /// Whether there are none, so that all fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.beginnings.is_empty()
    }

    fn fit(&self, text: Option<&str>) -> bool {
        let fits = |text: &str| {
            self.exact.contains(text)
                || self.beginnings.iter().any(|beginning| text.starts_with(beginning.as_str()))
        };
        self.is_empty() || text.is_some_and(fits)
    }

    fn fit_command(&self, event: &FilterKey<'_>) -> bool {
        let command = event.command;
        // Whoever asks for all events of the vendor did not ask for others. And a command is what a sender says: it must not pass
        // for a derived event.
        let is_of_kind = |word: &str| word.starts_with(PREFIX) == event.is_derived;
        let begins = |word: &String| is_of_kind(word) && command.starts_with(word.as_str());
        (self.is_empty() && !event.is_derived)
            || (is_of_kind(command) && self.exact.contains(command))
            || self.beginnings.iter().any(begins)
    }

    fn fit_app(&self, app: AppId) -> bool {
        // Its text is made only where there is something to compare it with.
        self.is_empty() || self.fit(Some(&app.to_string()))
    }
}

/// What is wrong with a list of words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// There are this many.
    #[error("{0} words: there may be {WORDS_MAX}")]
    TooMany(usize),
    /// A star stands elsewhere than at the end, or twice.
    #[error("`{0}` has a `*` elsewhere than at its end")]
    Star(String),
    /// A word is empty, or has blanks around it.
    #[error("`{0}` is empty or has blanks around it")]
    Blank(String),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::derived::{Derived, DerivedType};
    use crate::event_columns::Content;
    use protocol::UnixMillis;
    use protocol::event::Payload;

    fn event(command: &str, room: Option<&str>, call: Option<&str>) -> EventColumns {
        EventColumns {
            id: Uuid::nil(),
            position: 1,
            app: AppId::parse("1400000001").unwrap(),
            family: command.split('.').next().unwrap().to_lowercase(),
            command: command.to_owned(),
            command_sent: None,
            event_time: UnixMillis(0),
            received_at: UnixMillis(0),
            call_id: call.map(str::to_owned),
            room_id: room.map(str::to_owned),
            operator: None,
            client_ip: None,
            platform: None,
            decode_error: None,
            content: Content::Vendor(Payload::Json("{}".to_owned())),
        }
    }

    fn words(list: &[&str]) -> Words {
        Words::compile(list).unwrap()
    }

    #[test]
    fn within_a_list_any_word_fits_and_between_lists_all_must() {
        let end = event("Call.CallbackAfterEndCall", Some("r1"), Some("c1"));
        assert!(Filter::default().fits(&end));
        let mut filter = Filter {
            apps: words(&["1", "14*"]),
            families: words(&["room", "call"]),
            commands: words(&["Call.CallbackAfter*"]),
            rooms: words(&["r1"]),
            calls: words(&["c*"]),
        };
        assert!(filter.fits(&end));
        assert!(!filter.fits(&event("Call.CallbackBeforeX", Some("r1"), Some("c1"))));
        assert!(!filter.fits(&event("Room.CallbackAfterEndCall", Some("r1"), Some("c1"))));
        assert!(!filter.fits(&event("Call.CallbackAfterEndCall", Some("r11"), Some("c1"))));
        assert!(!filter.fits(&event("Call.CallbackAfterEndCall", Some("r1"), None)));
        let misfit = |filter: &Filter| {
            filter.misfit(&FilterKey {
                app: end.app,
                family: &end.family,
                command: &end.command,
                room_id: Some("r2"),
                call_id: Some("c1"),
                is_derived: false,
            })
        };
        assert_eq!(misfit(&filter), Some("rooms"));
        filter.apps = words(&["1400000002"]);
        assert!(!filter.fits(&end));
        assert_eq!(misfit(&filter), Some("apps"));
    }

    #[test]
    fn a_star_alone_fits_every_event_that_has_one() {
        let filter = Filter { rooms: words(&["*"]), ..Filter::default() };
        assert!(filter.fits(&event("Call.A", Some(""), None)));
        assert!(!filter.fits(&event("Call.A", None, None)));
    }

    #[test]
    fn a_derived_event_fits_only_where_it_is_named() {
        let derived = |of: DerivedType| {
            let said =
                Derived { r#type: of, session: None, revision: 1, withdrawn: false, row: None };
            EventColumns {
                content: Content::Derived(said),
                ..event(of.name(), Some("r"), Some("c"))
            }
        };
        let (missed, closed) = (derived(DerivedType::CallMissed), derived(DerivedType::RoomClosed));
        // A sender may say anything.
        let forged = event("trtc.call.missed", Some("r"), Some("c"));
        let vendors = event("Call.CallbackAfterEndCall", Some("r"), Some("c"));
        let fitting = |list: &[&str]| {
            let filter = Filter { commands: words(list), ..Filter::default() };
            [&missed, &closed, &forged, &vendors].map(|event| filter.fits(event))
        };
        assert_eq!(fitting(&[]), [false, false, true, true]);
        assert_eq!(fitting(&["*"]), [false, false, true, true]);
        assert_eq!(fitting(&["trtc.*"]), [true, true, false, false]);
        assert_eq!(fitting(&["trtc.call.*"]), [true, false, false, false]);
        assert_eq!(fitting(&["trtc.call.missed"]), [true, false, false, false]);
        assert_eq!(fitting(&["Call.*", "trtc.call.missed"]), [true, false, false, true]);
        assert!(
            !Filter { commands: words(&["Call.*", "t*"]), ..Filter::default() }.names_derived()
        );
        assert!(
            Filter { commands: words(&["Call.*", "trtc.*"]), ..Filter::default() }.names_derived()
        );
        let rooms =
            Filter { commands: words(&["trtc.*"]), rooms: words(&["other"]), ..Filter::default() };
        assert!(!rooms.fits(&missed), "every list must fit");
    }

    #[test]
    fn words_with_stars_elsewhere_or_blanks_are_refused() {
        for wrong in ["*a", "a*b", "a**", "**"] {
            assert_eq!(Words::compile(&[wrong]), Err(WordError::Star(wrong.to_owned())));
        }
        for wrong in ["", " a", "a ", "a\n"] {
            assert_eq!(Words::compile(&["b", wrong]), Err(WordError::Blank(wrong.to_owned())));
        }
        assert_eq!(Words::compile(&["a"; 65]), Err(WordError::TooMany(65)));
        assert!(Words::compile(&["a"; 64]).is_ok());
    }

    proptest! {
        #[test]
        fn a_list_fits_what_one_of_its_words_fits(
            list in prop::collection::vec("[ab]{1,3}\\*?", 1..6),
            text in "[ab]{0,4}",
        ) {
            let one = |word: &String| match word.strip_suffix('*') {
                Some(beginning) => text.starts_with(beginning),
                None => *word == text,
            };
            let compiled = Words::compile(&list).unwrap();
            prop_assert_eq!(compiled.fit(Some(&text)), list.iter().any(one));
        }
    }
}
