//! Lines of JSON: one object each.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::format::field_of_key;
use super::{Entry, Field, NOTHING};

/// Under which keys a format has what. Keys that a format does not name mean what Istio's mean.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    own: BTreeMap<String, Field>,
}

impl Keys {
    pub(super) fn new(own: impl IntoIterator<Item = (String, Field)>) -> Self {
        Self { own: own.into_iter().collect() }
    }

    fn field(&self, key: &str) -> Option<Field> {
        self.own.get(key).copied().or_else(|| field_of_key(key))
    }

    /// Reads a line; `None` if it is no object, or one without anything by which a denial could be known.
    #[must_use]
    pub fn entry<'a>(&self, line: &'a str) -> Option<Entry<'a>> {
        if !line.starts_with('{') {
            return None;
        }
        let mut deserializer = serde_json::Deserializer::from_str(line);
        let (entry, tells_denials) = deserializer.deserialize_map(Object(self)).ok()?;
        deserializer.end().ok()?;
        tells_denials.then_some(entry)
    }
}

/// The whole object: its entry, and whether it has a field that tells denials.
struct Object<'k>(&'k Keys);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = (Entry<'de>, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut entry, mut tells_denials) = (Entry::default(), false);
        while let Some(key) = map.next_key_seed(Text)? {
            let Some(field) = key.as_deref().and_then(|key| self.0.field(key)) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            // What is neither text nor a number is not what the key says: as if it were not there.
            if let Some(value) = map.next_value_seed(Text)? {
                tells_denials |=
                    matches!(field, Field::Code | Field::Flags | Field::Details | Field::Termination);
                entry.set(field, value);
            }
        }
        Ok((entry, tells_denials))
    }
}

/// A string or a number as text, borrowed where that is possible; nothing as the proxy's `-`, and all else
/// as `None`.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(NOTHING)))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut sequence: S) -> Result<Self::Value, S::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
