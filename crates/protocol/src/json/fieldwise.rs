//! Reading a body of which a part does not fit: each field by itself.
//!
//! A field that does not fit is absent, an element of a list that does not fit is left out, and either is named. A
//! member that repeats counts as it stands last. This needs nothing of the types: serde's generated code asks for each
//! field and each element by its type, and here such a question is asked once more, of nothing, where the answer did
//! not fit.

use std::cell::{OnceCell, RefCell};
use std::fmt;

use serde::de::value::{StrDeserializer, UnitDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_json::value::RawValue;
use serde_json::{Error, Result};

use crate::json::newtype_names::{MANY, NESTED};
use crate::json::raw::{Object, is_object};
use crate::json::scalar::{Scalar, misfit, string};

/// How many of the fields and elements that do not fit are named, the first ones.
const NAMED_MAX: usize = 5;
/// After so many that do not fit, the rest of a body is taken for unreadable too: to find each costs time.
const MISFITS_MAX: usize = 1000;

/// The fields and elements of a body that do not fit its type.
#[derive(Debug, Default)]
pub(crate) struct Misfits {
    named: Vec<String>,
    count: usize,
}

impl Misfits {
    fn add(&mut self, path: &Path<'_>, reason: impl fmt::Display) {
        self.count += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(format!("{path}: {reason}"));
        }
    }

    fn is_full(&self) -> bool {
        self.count >= MISFITS_MAX
    }

    /// Those of both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.count += other.count;
        self.named.extend(other.named);
        self.named.truncate(NAMED_MAX);
        self
    }

    /// The first of them with their paths and reasons, and how many more there are; `None` where all fits.
    pub(crate) fn into_reason(self) -> Option<String> {
        let more = self.count - self.named.len();
        let named = self.named.join("; ");
        match more {
            _ if self.count == 0 => None,
            0 => Some(named),
            _ if self.count >= MISFITS_MAX => Some(format!("{named}; and more than {more} more")),
            _ => Some(format!("{named}; and {more} more")),
        }
    }
}

/// Reads a JSON body into what of it fits.
///
/// # Errors
/// The reason, where nothing does: it is no object.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> std::result::Result<(T, Misfits), String> {
    let reading = Reading::default();
    let value = serde_json::from_str(json)
        .and_then(|raw| T::deserialize(Part { raw, path: &Path::Body, reading: &reading }))
        .map_err(|error| reason(&error))?;
    Ok((value, reading.misfits.into_inner()))
}

/// Why something did not fit, without what was sent: that stays in the payload, where it is expected to be private.
fn reason(error: &Error) -> String {
    let reason = error.to_string();
    // "invalid type: string "what was sent", expected a sequence". The last of them is serde's: the value may hold the
    // same words.
    match reason.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => reason,
    }
}

/// What one reading of a body remembers.
#[derive(Default)]
struct Reading {
    misfits: RefCell<Misfits>,
    kept: TextArena,
}

/// Texts that are kept until the reading is over: objects that came as JSON in a string.
#[derive(Default)]
struct TextArena {
    text: OnceCell<Box<str>>,
    more: OnceCell<Box<Self>>,
}

impl TextArena {
    fn keep(&self, text: &str) -> &str {
        let mut free = self;
        while free.text.get().is_some() {
            free = free.more.get_or_init(Box::default);
        }
        free.text.get_or_init(|| text.into())
    }
}

/// Where in a body something stands, as the reason names it.
enum Path<'a> {
    Body,
    Member(&'a Path<'a>, &'static str),
    Element(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("."),
            Self::Member(Self::Body, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// One value of a body.
#[derive(Clone, Copy)]
struct Part<'de, 'p> {
    raw: &'de RawValue,
    path: &'p Path<'p>,
    reading: &'de Reading,
}

impl<'de, 'p> Part<'de, 'p> {
    /// What fits; else nothing, and it is noted why.
    fn fitting<T: Deserialize<'de>>(self) -> Option<T> {
        if self.reading.misfits.borrow().is_full() {
            return None;
        }
        let error = match T::deserialize(self) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        self.reading.misfits.borrow_mut().add(self.path, reason(&error));
        None
    }

    fn elements(self) -> Result<Elements<'de, 'p>> {
        let elements: Vec<&RawValue> =
            Vec::deserialize(self.raw).map_err(|_| misfit::<Error>(self.raw, "a list"))?;
        let rest = elements.into_iter().enumerate();
        Ok(Elements { rest, path: self.path, reading: self.reading })
    }

    fn is_list(self) -> bool {
        self.raw.get().starts_with('[')
    }
}

impl<'de> Deserializer<'de> for Part<'de, '_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let Some(object) = Object::parse(self.raw.get()) else {
            return Err(misfit(self.raw, "an object"));
        };
        let mut values = vec![None; fields.len()];
        for (name, value) in object.members() {
            let Some(index) = fields.iter().position(|field| *field == name) else { continue };
            if values[index].replace(value).is_some() {
                let path = Path::Member(self.path, fields[index]);
                self.reading.misfits.borrow_mut().add(&path, "it is there twice, the last counts");
            }
        }
        let values = fields.iter().copied().zip(values);
        let rest = values.filter_map(|(name, value)| Some((name, value?)));
        let (path, reading) = (self.path, self.reading);
        visitor.visit_map(Members { rest, value: None, path, reading })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(self.elements()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.raw.get() == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let text = self.raw.get();
        if !text.starts_with('"') {
            return Err(misfit(self.raw, "a text"));
        }
        visitor.visit_str(&string(text))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        match name {
            MANY if self.is_list() => visitor.visit_seq(self.elements()?),
            MANY => visitor.visit_some(self),
            NESTED => match Scalar::read(self.raw) {
                Some(Scalar::Text(text)) if is_object(&text) => {
                    let raw = serde_json::from_str(self.reading.kept.keep(&text))?;
                    visitor.visit_some(Self { raw, ..self })
                }
                Some(Scalar::Text(text)) => visitor.visit_str(&text),
                _ => visitor.visit_some(self),
            },
            _ => self.raw.deserialize_newtype_struct(name, visitor),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.raw.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf unit unit_struct tuple
        tuple_struct map enum identifier ignored_any
    }
}

/// The members of an object that its type has fields for.
struct Members<'de, 'p, I> {
    rest: I,
    value: Option<(&'static str, &'de RawValue)>,
    path: &'p Path<'p>,
    reading: &'de Reading,
}

impl<'de, I: Iterator<Item = (&'static str, &'de RawValue)>> MapAccess<'de>
    for Members<'de, '_, I>
{
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.value = self.rest.next();
        let Some((name, _)) = self.value else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value<T: Deserialize<'de>>(&mut self) -> Result<T> {
        let (name, raw) = self.value.take().ok_or_else(|| Error::custom("no key was read"))?;
        let path = Path::Member(self.path, name);
        match (Part { raw, path: &path, reading: self.reading }).fitting() {
            Some(value) => Ok(value),
            None => T::deserialize(UnitDeserializer::new()),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        let (name, raw) = self.value.take().ok_or_else(|| Error::custom("no key was read"))?;
        let path = Path::Member(self.path, name);
        seed.deserialize(Part { raw, path: &path, reading: self.reading })
    }
}

/// The elements of a list.
struct Elements<'de, 'p> {
    rest: std::iter::Enumerate<std::vec::IntoIter<&'de RawValue>>,
    path: &'p Path<'p>,
    reading: &'de Reading,
}

impl<'de> SeqAccess<'de> for Elements<'de, '_> {
    type Error = Error;

    fn next_element<T: Deserialize<'de>>(&mut self) -> Result<Option<T>> {
        for (index, raw) in self.rest.by_ref() {
            let path = Path::Element(self.path, index);
            let element = Part { raw, path: &path, reading: self.reading }.fitting();
            if element.is_some() {
                return Ok(element);
            }
        }
        Ok(None)
    }

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some((index, raw)) = self.rest.next() else { return Ok(None) };
        let path = Path::Element(self.path, index);
        seed.deserialize(Part { raw, path: &path, reading: self.reading }).map(Some)
    }
}
