//! One page of a list, taken apart item by item.
//!
//! No item is ever held whole: what the mask of its kind does not name is skipped while reading, so
//! a page costs its own bytes plus what is kept.

use std::fmt;

use mesh_model::object::{Kind, Object, Origin};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::slim;

/// The kind and version of the items of a list, which the server does not repeat in each.
#[derive(Clone, Copy)]
pub(crate) struct Items<'a> {
    /// The kind.
    pub(crate) kind: Kind,
    /// The group and version, such as `apps/v1`.
    pub(crate) api_version: &'a str,
}

impl Items<'_> {
    /// Takes a page apart: adds its objects to `objects`, and returns the token of the next page.
    pub(crate) fn read_page(
        self,
        bytes: &[u8],
        objects: &mut Vec<Object>,
    ) -> Result<Option<String>, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let token = Page { items: self, objects }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(token)
    }

    /// Reads a single object.
    pub(crate) fn read_object(self, bytes: &[u8]) -> Result<Option<Object>, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = slim::kept(self.kind).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(self.object(value))
    }

    /// The object, if the model has a use for it.
    fn object(self, mut value: Value) -> Option<Object> {
        if !slim::is_needed(self.kind, &value) {
            return None;
        }
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let namespace = text("/metadata/namespace");
        let name = text("/metadata/name");
        let fields = value.as_object_mut()?;
        fields.insert("apiVersion".into(), self.api_version.into());
        fields.insert("kind".into(), self.kind.name().into());
        Some(Object { kind: self.kind, namespace, name, value, origin: Origin::Cluster })
    }
}

/// A `...List`; yields the token of the next page.
struct Page<'a, 'o> {
    items: Items<'a>,
    objects: &'o mut Vec<Object>,
}

#[derive(Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

impl<'de> DeserializeSeed<'de> for Page<'_, '_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Page<'_, '_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {}", self.items.kind.plural())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut next = None;
        let mut items_seen = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "metadata" => next = map.next_value::<ListMetadata>()?.next,
                "items" => {
                    map.next_value_seed(Sequence { items: self.items, objects: &mut *self.objects })?;
                    items_seen = true;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !items_seen {
            return Err(serde::de::Error::missing_field("items"));
        }
        Ok(next.filter(|token| !token.is_empty()))
    }
}

/// The items of a page.
struct Sequence<'a, 'o> {
    items: Items<'a>,
    objects: &'o mut Vec<Object>,
}

impl<'de> DeserializeSeed<'de> for Sequence<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sequence<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects, or null")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut sequence: S) -> Result<(), S::Error> {
        while let Some(value) = sequence.next_element_seed(slim::kept(self.items.kind))? {
            self.objects.extend(self.items.object(value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: Items<'static> = Items { kind: Kind::Pod, api_version: "v1" };

    #[test]
    fn a_page_gives_slim_objects_and_the_next_token() {
        let page =
            br#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"abc"},
            "items":[{"metadata":{"name":"a","namespace":"x","managedFields":[{"manager":"m"}]},
                      "spec":{"serviceAccountName":"s","volumes":[{"name":"v"}]}}]}"#;
        let mut objects = Vec::new();
        assert_eq!(PODS.read_page(page, &mut objects).unwrap().as_deref(), Some("abc"));
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0].key(), "x/a");
        assert_eq!(
            objects[0].value,
            serde_json::json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "a", "namespace": "x"},
                "spec": {"serviceAccountName": "s"},
            })
        );
    }

    #[test]
    fn the_last_page_may_be_empty_or_null() {
        for items in ["[]", "null"] {
            let page = format!(r#"{{"metadata":{{"continue":""}},"items":{items}}}"#);
            assert_eq!(PODS.read_page(page.as_bytes(), &mut Vec::new()).unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for body in ["", "<html>", "{}", "[]", r#"{"items":[]} trailing"#] {
            assert!(PODS.read_page(body.as_bytes(), &mut Vec::new()).is_err(), "{body}");
        }
    }
}
