//! What makes two deliveries of the RTC Engine one event.
//!
//! The vendor sends no event id (but in group 6), and `CallbackTs` is the time of one try: a retry has another, and with it another
//! body and another signature. So an event is told by what it is about: app, group, type, room, user, task, both times where both
//! stand there (the samples of group 3 repeat one `EventMsTs` through all events of a task while `EventTs` moves), and for each type a
//! discriminator. An event of a type that is not known or whose details no page prints, or without a time of its own, is told by its
//! whole body without `CallbackTs`.
//! Source of the advice: cloud.tencent.com/document/product/647/139212.

use std::borrow::Cow;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::json::canonical;
use crate::json::raw::Object;
use crate::json::scalar::Scalar;

/// The times of one try.
const OF_TRY: [&str; 2] = ["CallbackTs", "CallbackMsTs"];
/// What all types have in common, in `EventInfo`. Each by its first name that is there.
const COMMON: [&[&str]; 5] = [
    &["UserId", "userID", "RobotId"],
    &["TaskId"],
    &["EventTs"],
    &["EventMsTs", "EventTsMs", "timestamp"],
    &["StreamerUserId", "StreamUserId"],
];

/// What tells events of one type apart beside what is common.
enum Discriminator {
    /// The values at these paths in `EventInfo`.
    Paths(&'static [&'static str]),
    /// The names of the files, in any order, or the whole body.
    Files,
    /// The first of these values that is there and not empty, or the whole body.
    First(&'static [&'static str]),
    /// The whole body without the times of the try.
    Body,
}

impl Discriminator {
    fn of(event_type: Option<i64>) -> Self {
        match event_type {
            Some(101..=105 | 201..=206) => Self::Paths(&["UniqueId", "Role", "Reason"]),
            Some(
                301..=303
                | 305
                | 306
                | 312
                | 901
                | 902
                | 909
                | 1001..=1003
                | 1005
                | 1101..=1103
                | 1105
                | 1401,
            ) => Self::Paths(&["Payload.Status", "Payload.LeaveCode"]),
            Some(307) => Self::Paths(&["Payload.FileName"]),
            Some(308 | 309 | 1006 | 1106) => {
                Self::Paths(&["Payload.Code", "Payload.Message", "Payload.Url"])
            }
            Some(304 | 310) => Self::Files,
            Some(311) => Self::First(&[
                "Payload.TencentVod.FileId",
                "Payload.FileId",
                "Payload.TencentVod.CacheFile",
                "Payload.CacheFile",
            ]),
            Some(401) => Self::Paths(&["Payload.Url", "Payload.Status"]),
            Some(601) => Self::First(&["eventID", "eventId"]),
            Some(701 | 702) => Self::Paths(&["Status"]),
            Some(801..=804) => Self::Paths(&["Payload.Status", "Payload.EventMessage"]),
            Some(903) => Self::Paths(&[
                "Payload.UserId",
                "Payload.RoundId",
                "Payload.StartTimeMs",
                "Payload.Text",
            ]),
            Some(904 | 905) => Self::Paths(&["Payload.UserId", "Payload.RoundId"]),
            Some(906 | 908) => Self::Paths(&[
                "Payload.Metric",
                "Payload.Tag.RoundId",
                "Payload.Value",
                "Payload.Tag.Code",
            ]),
            Some(1004) => Self::First(&["Payload.FileName", "Payload.Payload.FileName"]),
            Some(1104) => Self::First(&["Payload.DataId"]),
            _ => Self::Body,
        }
    }
}

/// A hash over what identifies an event: `fields` are the members of its body `json`, `info` those of its `EventInfo` where it has a
/// time of its own.
pub(crate) fn digest(json: &str, fields: &Object<'_>, info: Option<&Object<'_>>) -> [u8; 32] {
    let mut identity = Identity(Sha256::new());
    let event_type = fields.at("EventType").and_then(Scalar::into_integer);
    let Some(info) = info else {
        identity.body(json);
        return identity.0.finalize().into();
    };
    identity.value(fields.at("EventGroupId"));
    identity.value(fields.at("EventType"));
    identity.room(info.at("RoomId").or_else(|| info.at("roomID")));
    for names in COMMON {
        identity.value(names.iter().find_map(|name| info.at(name)));
    }
    match Discriminator::of(event_type) {
        Discriminator::Paths(paths) => paths.iter().for_each(|path| identity.value(info.at(path))),
        Discriminator::First(paths) => {
            let id = |path: &&str| info.at(path)?.into_id().filter(|id| !id.is_empty());
            match paths.iter().find_map(|path| Some((path, id(path)?))) {
                Some((path, id)) => {
                    identity.text(path);
                    identity.text(&id);
                }
                None => identity.body(json),
            }
        }
        Discriminator::Files => identity.files(json, info),
        Discriminator::Body => identity.body(json),
    }
    identity.0.finalize().into()
}

/// A hash over a body that is no JSON object.
pub(crate) fn digest_of_bytes(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

struct Identity(Sha256);

impl Identity {
    /// A text with its length, so that no two sequences of texts give the same hash.
    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
    }

    /// A value, whether it was sent as a number or as a string; or that there is none.
    fn value(&mut self, value: Option<Scalar<'_>>) {
        match value {
            None => self.0.update([0]),
            Some(Scalar::Bool(flag)) => self.0.update([1, u8::from(flag)]),
            Some(Scalar::Text(text) | Scalar::Number(text)) => {
                self.0.update([2]);
                self.text(&text);
            }
        }
    }

    /// A room, of which the number 123 and the text "123" are two.
    fn room(&mut self, room: Option<Scalar<'_>>) {
        self.0.update([u8::from(matches!(room, Some(Scalar::Text(_))))]);
        self.value(room);
    }

    /// The names of the files, sorted: events of one task may have the same times.
    fn files(&mut self, json: &str, info: &Object<'_>) {
        let payload = info.get("Payload").and_then(|raw| Object::parse(raw.get()));
        let list = payload.as_ref().and_then(|payload| payload.get("FileList"));
        let mut names = list.map(file_names).unwrap_or_default();
        if names.is_empty() {
            // Only the details name files, or none do.
            return self.body(json);
        }
        names.sort_unstable();
        self.value(info.at("Payload.Status"));
        self.0.update((names.len() as u64).to_be_bytes());
        for name in &names {
            self.text(name);
        }
    }

    fn body(&mut self, json: &str) {
        canonical::write(json, &OF_TRY, &mut |part| self.0.update(part));
    }
}

/// The names in a list of files; 304 has a single one in its place.
fn file_names(list: &RawValue) -> Vec<Cow<'_, str>> {
    let name = |raw| Scalar::read(raw)?.into_id();
    match serde_json::from_str::<Vec<&RawValue>>(list.get()) {
        Ok(elements) => elements.into_iter().filter_map(name).collect(),
        Err(_) => name(list).into_iter().collect(),
    }
}
