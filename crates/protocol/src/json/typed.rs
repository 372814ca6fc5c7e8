//! Reading a body into its type.
//!
//! Nearly all bodies fit, and are read straight from their text, at once. What does not fit is read again by
//! [`fieldwise`], which is slower and takes each field by itself.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use crate::json::fieldwise;
use crate::json::fieldwise::Misfits;

/// Reads a JSON body. What does not fit its type is absent from the value and named beside it, and all else is as it
/// was sent.
///
/// # Errors
/// The reason, where it is no object.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<(T, Misfits), String> {
    match strict(json) {
        Ok(body) => Ok((body, Misfits::default())),
        Err(_) => fieldwise::read(json),
    }
}

/// Reads JSON that fits `T` in every part. Unlike `serde_json::from_str` it takes no array for an object: the order of
/// our fields is nobody's business.
pub(crate) fn strict<'de, T: Deserialize<'de>>(json: &'de str) -> serde_json::Result<T> {
    let mut input = serde_json::Deserializer::from_str(json);
    let value = T::deserialize(Strict(&mut input))?;
    input.end()?;
    Ok(value)
}

/// A deserializer, or a part of one, that takes only objects for structs.
struct Strict<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Strict(visitor))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_seq(Strict(visitor))
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(Strict(visitor))
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, visitor)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_string(visitor)
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_ignored_any(visitor)
    }

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf unit unit_struct tuple
        tuple_struct map enum identifier
    }
}

/// Gives on what it is given, so that it is read in the same way.
impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(members))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(elements))
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(input))
    }

    #[inline]
    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    #[inline]
    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(input))
    }
}

#[cfg(test)]
mod tests {
    use crate::body::battle::StartBattle;
    use crate::body::call::{EndCall, StartCall, UserStatus};
    use crate::body::live::{ModifyAdmin, SetMetadata};
    use crate::body::mic::SeatInfoChanged;
    use crate::body::room::CreateRoom;
    use crate::json::scalar::Known;
    use crate::json::typed::*;

    /// What was read, and why not all of it.
    fn read<T: DeserializeOwned>(json: &str) -> (T, Option<String>) {
        let (body, misfits) = crate::json::typed::read(json).unwrap();
        (body, misfits.into_reason())
    }

    #[test]
    fn a_misfit_names_its_path_and_not_its_value() {
        for (sent, reason) in [
            (
                r#""CallRecord":", expected s3cret""#,
                "CallRecord: expected an object, found another text",
            ),
            (r#""CallRecord":["s3cret"]"#, "CallRecord: expected an object, found an array"),
            (
                r#""CallRecord":{"CalleeList_Account":"s3cret"}"#,
                "CallRecord.CalleeList_Account: expected a list, found another text",
            ),
            (
                r#""CallRecord":{"CalleeList_Account":["ann",{"s3cret":1}]}"#,
                "CallRecord.CalleeList_Account[1]: expected a string or an integer, found an object",
            ),
        ] {
            let (body, found) = read::<EndCall>(&format!(r#"{{{sent},"EventTime":1}}"#));
            assert_eq!(found.as_deref(), Some(reason));
            assert!(body.event_time.is_some(), "{sent}");
        }
    }

    #[test]
    fn list_elements_that_do_not_fit_are_skipped() {
        let json = r#"{"UserList":[7,{"User_Account":"ann"},null,{"User_Account":{},"Status":"Calling"},[]]}"#;
        let (body, reason) = read::<StartCall>(json);
        let users = body.user_list.unwrap();
        assert_eq!(users.len(), 2);
        assert_eq!(users[0].user_account, Some("ann".into()));
        assert_eq!(users[1].user_account, None);
        assert_eq!(users[1].status, Some(Known::Value(UserStatus::Calling)));
        let places: Vec<_> =
            reason.iter().flat_map(|reason| reason.split("; ")).map(|one| &one[..12]).collect();
        assert_eq!(places, ["UserList[0]:", "UserList[2]:", "UserList[3].", "UserList[4]:"]);
    }

    #[test]
    fn single_values_and_embedded_objects_are_read_by_parts() {
        let admins = |sent: &str| {
            let (body, reason) = read::<ModifyAdmin>(&format!(r#"{{"Admin_Account":{sent}}}"#));
            (body.admin_account.map(|list| list.0), reason)
        };
        let misfit = "expected a string or an integer, found a boolean";
        let (found, reason) = admins(r#"["ann",true]"#);
        assert_eq!(found, Some(vec!["ann".into()]));
        assert_eq!(reason, Some(format!("Admin_Account[1]: {misfit}")));
        assert_eq!(admins("true"), (None, Some(format!("Admin_Account: {misfit}"))));

        for room in [r#"{"RoomId":"pk","Score":[]}"#, r#""{\"RoomId\":\"pk\",\"Score\":[]}""#] {
            let (body, reason) = read::<StartBattle>(&format!(r#"{{"FromRoomInfo":{room}}}"#));
            let room = body.from_room_info.unwrap();
            assert_eq!(room.value().unwrap().room_id, Some("pk".into()));
            assert_eq!(
                reason.as_deref(),
                Some("FromRoomInfo.Score: expected a whole number, found an array")
            );
        }
    }

    #[test]
    fn half_a_surrogate_pair_in_any_text_or_name_fits() {
        let json =
            r#"{"Metadata":[{"Key":"\ud83d","Value":"a\udc00"}],"\ud83d":1,"RoomId":"r\ud83d"}"#;
        let (body, reason) = read::<SetMetadata>(json);
        let entry = &body.metadata.unwrap()[0];
        assert_eq!(
            (entry.key.as_deref(), entry.value.as_deref()),
            (Some("\u{fffd}"), Some("a\u{fffd}"))
        );
        assert_eq!((body.room_id, reason), (Some("r\u{fffd}".into()), None));
    }

    #[test]
    fn the_last_of_repeated_members_counts_and_is_named() {
        let json = r#"{"RoomInfo":{"RoomId":"a","RoomName":"n","RoomId":"b"},"x":1,"x":2}"#;
        let (body, reason) = read::<CreateRoom>(json);
        assert_eq!(body.room_info.unwrap().room_id, Some("b".into()));
        assert_eq!(reason.as_deref(), Some("RoomInfo.RoomId: it is there twice, the last counts"));
    }

    #[test]
    fn only_the_first_misfits_are_named_and_the_search_is_bounded() {
        let seats =
            |count: usize| format!(r#"{{"SeatList":[{}7],"EventTime":1}}"#, "7,".repeat(count - 1));
        let (_, reason) = read::<SeatInfoChanged>(&seats(7));
        let reason = reason.unwrap();
        assert!(
            reason.starts_with(
                "SeatList[0]: expected an object, found another number; SeatList[1]: "
            )
        );
        assert!(
            reason.ends_with("; SeatList[4]: expected an object, found another number; and 2 more")
        );
        let (body, reason) = read::<SeatInfoChanged>(&seats(50_000));
        assert_eq!(body.seat_list, Some(Vec::new()));
        assert!(reason.unwrap().ends_with("; and more than 995 more"));
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        for json in ["[]", "7", "null", r#""{}""#] {
            assert!(crate::json::typed::read::<EndCall>(json).is_err(), "{json}");
        }
    }
}
