//! Lists and objects that come in more than one form.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::json::newtype_names::{MANY, NESTED};
use crate::json::raw::is_object;
use crate::json::scalar::Scalar;
use crate::json::typed;

/// A list that some pages or samples show as a single value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Many<T>(pub Vec<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(MANY, ManyVisitor(PhantomData))
    }
}

struct ManyVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for ManyVisitor<T> {
    type Value = Many<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or a single value")
    }

    /// As it came: a list, or a single value.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Many<T>, D::Error> {
        let raw = <&RawValue>::deserialize(input)?;
        let list = match raw.get().as_bytes().first() {
            Some(b'[') => typed::strict(raw.get()),
            _ => typed::strict(raw.get()).map(|one| vec![one]),
        };
        list.map(Many).map_err(D::Error::custom)
    }

    /// A list, of which the deserializer gives those elements that fit.
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Many<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Many(list))
    }

    /// A single value.
    fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<Many<T>, D::Error> {
        T::deserialize(input).map(|one| Many(vec![one]))
    }
}

/// An object that some tables type as a string: either form is read, and a string that holds no object is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Nested<T> {
    /// The object, or the object a string held as JSON.
    Value(T),
    /// A string that held something else.
    Text(String),
}

impl<T> Nested<T> {
    /// The object, unless a text came in its place.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Text(_) => None,
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Nested<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(NESTED, NestedVisitor(PhantomData))
    }
}

struct NestedVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for NestedVisitor<T> {
    type Value = Nested<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, or one as JSON in a string")
    }

    /// As it came: an object, or a string.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Nested<T>, D::Error> {
        let raw = <&RawValue>::deserialize(input)?;
        let Some(Scalar::Text(text)) = Scalar::read(raw) else {
            return typed::strict(raw.get()).map(Nested::Value).map_err(D::Error::custom);
        };
        if is_object(&text) {
            typed::strict(&text).map(Nested::Value).map_err(D::Error::custom)
        } else {
            Ok(Nested::Text(text.into_owned()))
        }
    }

    /// An object, whatever it stood in.
    fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<Nested<T>, D::Error> {
        T::deserialize(input).map(Nested::Value)
    }

    /// A string that holds no object.
    fn visit_str<E: Error>(self, text: &str) -> Result<Nested<T>, E> {
        Ok(Nested::Text(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use crate::body::battle::BattleRoom;
    use crate::json::forms::*;
    use crate::json::scalar::Count;

    fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_may_come_as_a_single_value() {
        assert_eq!(read::<Many<Count>>("[1,2]"), Ok(Many(vec![Count(1), Count(2)])));
        assert_eq!(read::<Many<Count>>("1"), Ok(Many(vec![Count(1)])));
        assert!(read::<Many<Count>>("{}").is_err());
    }

    #[test]
    fn an_object_may_come_as_json_in_a_string() {
        let room = BattleRoom { room_id: Some("pk".into()), ..BattleRoom::default() };
        for json in [r#"{"RoomId":"pk"}"#, r#""{\"RoomId\":\"pk\"}""#] {
            assert_eq!(read(json), Ok(Nested::Value(room.clone())), "{json}");
        }
        for (json, text) in [(r#""pk""#, "pk"), (r#""{pk""#, "{pk"), (r#""7""#, "7")] {
            assert_eq!(read::<Nested<BattleRoom>>(json), Ok(Nested::Text(text.into())), "{json}");
        }
        assert!(read::<Nested<BattleRoom>>("[]").is_err());
        assert!(read::<Nested<BattleRoom>>(r#""{\"Score\":[]}""#).is_err());
    }
}
