//! Looking for an event's subject and time in its body, at the paths that the row of its command names.

use std::time::Duration;

use crate::dialect::Dialect;
use crate::json::raw::Object;
use crate::json::scalar::Scalar;
use crate::time::UnixMillis;

/// Times before 2015 are taken for mistakes.
const EARLIEST: UnixMillis = UnixMillis(1_420_070_400_000);
/// So are times more than a day ahead.
const AHEAD_MAX: Duration = Duration::from_hours(24);
/// How many characters of a name or an id go into its column, so that every store can index it. The payload has all.
const COLUMN_CHARS_MAX: usize = 255;

/// The members of a body, and of its `EventInfo` where it is an event of the RTC Engine, whose paths nearly all begin there.
pub(crate) struct Fields<'a> {
    pub(crate) body: Object<'a>,
    pub(crate) info: Option<Object<'a>>,
    dialect: Dialect,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(dialect: Dialect, body: Object<'a>) -> Self {
        let info = match dialect {
            Dialect::Im => None,
            Dialect::RtcEngine => body.get("EventInfo").and_then(|raw| Object::parse(raw.get())),
        };
        Self { body, info, dialect }
    }

    fn at(&self, path: &str) -> Option<Scalar<'_>> {
        match (&self.info, path.strip_prefix("EventInfo.")) {
            (Some(info), Some(rest)) => info.at(rest),
            _ => self.body.at(path),
        }
    }

    /// The first time at one of `paths` that makes sense, read as ms or else as s: some bodies have the other unit.
    pub(crate) fn time(&self, paths: &[&str], received_at: UnixMillis) -> Option<UnixMillis> {
        let sensible = |time: &UnixMillis| is_sensible(*time, received_at);
        paths.iter().find_map(|path| {
            let number = self.at(path)?.into_integer()?;
            let millis = Some(UnixMillis(number)).filter(sensible);
            millis.or_else(|| number.checked_mul(1000).map(UnixMillis).filter(sensible))
        })
    }

    /// When an event of the RTC Engine was sent that has no sensible time of its own. A retry has another.
    pub(crate) fn sent_at(&self, received_at: UnixMillis) -> Option<UnixMillis> {
        let is_rtc = self.dialect == Dialect::RtcEngine;
        is_rtc.then(|| self.time(&["CallbackTs", "CallbackMsTs"], received_at)).flatten()
    }

    /// The first id at one of `paths` that is not empty.
    pub(crate) fn first_id(&self, paths: &[&str]) -> Option<String> {
        let ids = paths.iter().filter_map(|path| self.at(path)?.into_id());
        ids.map(|id| clipped(&id)).find(|id| !id.is_empty())
    }

    /// Why a body that is signed as an event of the RTC Engine is none.
    pub(crate) fn misfit(&self) -> Option<String> {
        if self.dialect == Dialect::Im {
            return None;
        }
        let has = |name| self.body.get(name).is_some();
        let reason = match (has("CallbackCommand"), has("EventGroupId"), has("EventInfo")) {
            (true, ..) => "CallbackCommand: not expected in an event of the RTC Engine",
            (_, false, _) => "EventGroupId: missing",
            (_, _, false) => "EventInfo: missing",
            (false, true, true) => return None,
        };
        Some(reason.to_owned())
    }
}

/// Whether a time that a body names makes sense: from 2015 to a day after it arrived.
#[must_use]
pub fn is_sensible(time: UnixMillis, received_at: UnixMillis) -> bool {
    (EARLIEST..=received_at.plus(AHEAD_MAX)).contains(&time)
}

/// `text` without NUL, which PostgreSQL refuses in text: U+FFFD stands in its place in both stores.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// `text` as a column of both stores holds it: short enough for an index, with U+FFFD for NUL, which PostgreSQL refuses.
#[must_use]
pub fn clipped(text: &str) -> String {
    match text.char_indices().nth(COLUMN_CHARS_MAX) {
        Some((end, _)) => storable(&text[..end]),
        None => storable(text),
    }
}
