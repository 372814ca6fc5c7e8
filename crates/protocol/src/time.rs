//! Moments: what every time of the protocol is read to.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment: milliseconds since 1970-01-01 00:00 UTC, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The whole seconds since 1970, rounded down.
    #[must_use]
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and `later` more; the far end of the range where it would overflow.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        let millis = i64::try_from(later.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// Reads a moment as [`UnixMillis::parse_moment`] does, or an age before `now` (30m, 2h, 7d); `None` where it is none.
    #[must_use]
    pub fn parse(text: &str, now: Self) -> Option<Self> {
        Self::parse_moment(text).or_else(|| Self::parse_age(text, now))
    }

    /// Reads a date (2026-01-31), a moment (RFC 3339; in UTC where it names no zone), or ms since 1970, from those of 1973
    /// on; `None` where it is none. None lies before the year 1 or behind what can be printed: not every store knows such
    /// a day.
    #[must_use]
    pub fn parse_moment(text: &str) -> Option<Self> {
        // What is less is one of s.
        const MS_MIN: i64 = 100_000_000_000;
        if let Ok(ms) = text.parse::<i64>() {
            return Some(Self(ms)).filter(|time| time.0 >= MS_MIN && time.is_storable());
        }
        let moment = text.parse::<jiff::Timestamp>().or_else(|error| {
            let civil = text.parse::<jiff::civil::DateTime>().map_err(|_| error)?;
            civil.to_zoned(jiff::tz::TimeZone::UTC).map(|moment| moment.timestamp())
        });
        moment.ok().map(|moment| Self(moment.as_millisecond())).filter(|time| time.is_storable())
    }

    fn is_storable(self) -> bool {
        const YEAR_1: i64 = -62_135_596_800_000;
        self.0 >= YEAR_1 && jiff::Timestamp::from_millisecond(self.0).is_ok()
    }

    fn parse_age(text: &str, now: Self) -> Option<Self> {
        let age = text.parse::<jiff::Span>().ok()?;
        let utc = jiff::SpanRelativeTo::days_are_24_hours();
        let millis = age.abs().total((jiff::Unit::Millisecond, utc)).ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "ages are far below 2^53 ms")]
        Some(Self(now.0.saturating_sub(millis as i64))).filter(|time| time.is_storable())
    }

    /// This moment and `before` less; the far end of the range where it would overflow.
    #[must_use]
    pub fn minus(self, before: Duration) -> Self {
        let millis = i64::try_from(before.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

/// RFC 3339 in UTC with milliseconds; the bare number where no calendar has that day.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => f.pad(&format!("{moment:.3}")),
            Err(_) => self.0.fmt(f),
        }
    }
}

/// Given to readers as it is printed.
impl Serialize for UnixMillis {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnixMillis {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        let moment = text.parse::<jiff::Timestamp>().map_err(serde::de::Error::custom)?;
        let moment = Self(moment.as_millisecond());
        let before = || serde::de::Error::custom("a time before the year 1");
        Some(moment).filter(|moment| moment.is_storable()).ok_or_else(before)
    }
}

/// What [`UnixMillis::parse`] takes, for those who gave something else.
pub const TIME_HINT: &str = "give 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d";

/// Its schema: a date and time.
#[cfg(feature = "utoipa")]
mod openapi {
    use utoipa::openapi::RefOr;
    use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
    use utoipa::{PartialSchema, ToSchema};

    use super::UnixMillis;

    impl PartialSchema for UnixMillis {
        fn schema() -> RefOr<Schema> {
            let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
            ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
        }
    }

    impl ToSchema for UnixMillis {}
}

/// A column of ms.
#[cfg(feature = "sqlx")]
mod column {
    use sqlx::error::BoxDynError;
    use sqlx::{Database, Decode, Type};

    use super::UnixMillis;

    impl<DB: Database> Type<DB> for UnixMillis
    where
        i64: Type<DB>,
    {
        fn type_info() -> DB::TypeInfo {
            i64::type_info()
        }

        fn compatible(info: &DB::TypeInfo) -> bool {
            i64::compatible(info)
        }
    }

    impl<'r, DB: Database> Decode<'r, DB> for UnixMillis
    where
        i64: Decode<'r, DB>,
    {
        fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
            i64::decode(value).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_prints_as_rfc_3339_with_milliseconds() {
        assert_eq!(UnixMillis(1_740_464_128_807).to_string(), "2025-02-25T06:15:28.807Z");
        assert_eq!(UnixMillis(1_740_464_128_000).to_string(), "2025-02-25T06:15:28.000Z");
        assert_eq!(UnixMillis(i64::MAX).to_string(), i64::MAX.to_string());
    }

    #[test]
    fn a_time_is_a_date_a_moment_or_an_age() {
        let now = UnixMillis(1_769_846_400_000);
        let read = |text| UnixMillis::parse(text, now).map(|time| time.to_string());
        assert_eq!(read("2026-01-31").unwrap(), "2026-01-31T00:00:00.000Z");
        assert_eq!(read("2026-01-31T09:00:00+01:00").unwrap(), "2026-01-31T08:00:00.000Z");
        assert_eq!(read("30m").unwrap(), "2026-01-31T07:30:00.000Z");
        assert_eq!(read("7d").unwrap(), "2026-01-24T08:00:00.000Z");
        for text in ["2026-01-31T08:00", "2026-01-31 08:00:00", "1769846400000"] {
            assert_eq!(read(text).unwrap(), "2026-01-31T08:00:00.000Z", "{text}");
            assert!(UnixMillis::parse_moment(text).is_some(), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "1769846400",
            "9223372036854775807",
            "-9223372036854775808",
            "2026-13-01",
            "-009999-01-02",
            "9000y",
            "99999999h",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(UnixMillis::parse_moment("2h"), None);
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(UnixMillis(i64::MAX).plus(Duration::from_secs(1)).0, i64::MAX);
        assert_eq!(UnixMillis(1).since(UnixMillis(5)), Duration::ZERO);
        assert_eq!(UnixMillis(-1).as_secs(), -1);
    }
}
