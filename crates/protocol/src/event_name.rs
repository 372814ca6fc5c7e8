//! How a request is named, in either dialect.

use std::borrow::Cow;

use crate::command::description::{Command, Family};
use crate::dialect::Dialect;
use crate::event_fields::{clipped, storable};
use crate::json::raw::Object;
use crate::json::scalar::Scalar;
use crate::request::verify::Verified;

/// Numbers beyond this name no command: what strangers choose must not make a name each.
const EVENT_TYPE_MAX: i64 = 99_999;

/// What a request calls itself.
pub(crate) struct Name {
    /// The canonical name; `unknown` where none is named.
    pub(crate) command: Cow<'static, str>,
    /// The wire's spelling, or the query's command, where it differs. Of the RTC Engine `<group>.<type>`.
    pub(crate) sent: Option<String>,
    /// How its body is read.
    pub(crate) row: Command,
}

impl Name {
    pub(crate) fn of_request(verified: &Verified, body: Option<&Object<'_>>) -> Self {
        match verified.dialect() {
            Dialect::Im => Self::of(body, verified.query().command.as_deref()),
            Dialect::RtcEngine => Self::of_rtc(body),
        }
    }

    /// The body's command counts, the query's where the body has none. Where they disagree both are kept.
    fn of(fields: Option<&Object<'_>>, query: Option<&str>) -> Self {
        let in_body = fields.and_then(|fields| match fields.at("CallbackCommand")? {
            Scalar::Text(name) if !name.is_empty() => Some(name),
            _ => None,
        });
        let Some(sent) = in_body.as_deref().or(query) else { return Self::unknown(Dialect::Im) };
        let command: Cow<'static, str> = match Command::find(sent) {
            Some(row) => row.name.into(),
            None => clipped(sent).into(),
        };
        let folded = |name| Command::find(name).map_or(name, |row| row.name);
        let disagreeing = query.filter(|name| folded(name) != folded(sent));
        Self {
            sent: disagreeing.or((sent != command).then_some(sent)).map(storable),
            row: Command::find(sent).copied().unwrap_or_else(|| Command::unknown(sent)),
            command,
        }
    }

    pub(crate) fn unknown(dialect: Dialect) -> Self {
        let row = match dialect {
            Dialect::Im => Command::unknown(""),
            Dialect::RtcEngine => Command::of_family(Family::RtcUnknown),
        };
        Self { command: "unknown".into(), sent: None, row }
    }

    /// The name of an event of the RTC Engine: the vendor's constant. A known type counts, whatever group stands beside it; else the
    /// group does.
    fn of_rtc(fields: Option<&Object<'_>>) -> Self {
        let number = |name| fields.and_then(|fields| fields.at(name)?.into_integer());
        let (group, event_type) = (number("EventGroupId"), number("EventType"));
        let known = event_type.and_then(Command::of_event_type);
        let family = match (known, group, event_type) {
            (Some(row), ..) => row.family,
            (None, Some(group), _) => Family::of_group(group),
            (None, None, Some(number)) => Family::of_group(number / 100),
            (None, None, None) => Family::RtcUnknown,
        };
        let command = match (known, event_type) {
            (Some(row), _) => row.name.into(),
            (None, Some(number @ 0..=EVENT_TYPE_MAX)) => format!("EVENT_TYPE_{number}").into(),
            (None, _) => "unknown".into(),
        };
        let row = known.copied().unwrap_or_else(|| Command::of_family(family));
        Self { command, sent: fields.and_then(sent), row }
    }
}

/// `<group>.<type>` as sent; the group alone where there is no type.
fn sent(fields: &Object<'_>) -> Option<String> {
    let text = |name| {
        let text = fields.at(name).and_then(Scalar::into_id).filter(|text| !text.is_empty())?;
        Some(clipped(&text))
    };
    match (text("EventGroupId"), text("EventType")) {
        (Some(group), Some(event_type)) => Some(clipped(&format!("{group}.{event_type}"))),
        (None, Some(event_type)) => Some(format!(".{event_type}")),
        (group, None) => group,
    }
}
