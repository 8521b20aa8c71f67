//! Documents as objects of a World.

use std::sync::Arc;

use mesh_model::object::{Kind, Object, Origin};
use serde_json::Value;

use super::place::{Place, printable};
use super::tree::Node;
use super::{Read, template, value};
use crate::error::Error;

/// One text while its documents are understood.
pub(super) struct Reader<'text> {
    pub(super) path: &'text str,
    pub(super) text: &'text str,
    /// Whether the user named the file: then every document must be an object.
    pub(super) named: bool,
    pub(super) default_namespace: &'text str,
    origin: Arc<str>,
    pub(super) read: Read,
    /// How many documents were no objects, and the line of the first.
    strangers: u32,
    first_stranger: u32,
}

impl<'text> Reader<'text> {
    pub(super) fn new(
        path: &'text str,
        text: &'text str,
        named: bool,
        default_namespace: &'text str,
    ) -> Self {
        Self {
            path,
            text,
            named,
            default_namespace,
            origin: path.into(),
            read: Read::default(),
            strangers: 0,
            first_stranger: 0,
        }
    }

    /// What was read, when all documents have been added.
    pub(super) fn finish(mut self) -> Read {
        if self.strangers > 0 {
            let (path, line) = (printable(self.path), self.first_stranger);
            self.read.notes.push(match self.strangers {
                1 => format!("{path}:{line}: skipped, not a Kubernetes object (no apiVersion and kind)"),
                many => format!(
                    "{path}:{line}: skipped, with {} more in this file: not Kubernetes objects (no apiVersion \
                     and kind)",
                    many - 1
                ),
            });
        }
        self.read
    }

    /// Adds the objects of a document. Empty documents have none.
    pub(super) fn add(&mut self, node: &Node<'_>, line: u32) -> Result<(), Error> {
        if matches!(node.plain(), Node::Null) {
            return Ok(());
        }
        self.object(node, line, None)
    }

    /// `inherited` is the type of a typed list's items, which need not repeat it.
    fn object(&mut self, node: &Node<'_>, line: u32, inherited: Option<(&str, &str)>) -> Result<(), Error> {
        let field = |key| node.get(key).and_then(|entry| entry.node.text()).filter(|text| !text.is_empty());
        let api_version = field("apiVersion").or(inherited.map(|(api_version, _)| api_version));
        let kind_name = field("kind").or(inherited.map(|(_, kind)| kind));
        let (Some(api_version), Some(kind_name)) = (api_version, kind_name) else {
            return self.stranger(line, api_version.is_some(), kind_name.is_some());
        };
        if api_version.starts_with("kustomize.config.k8s.io/") {
            return if self.named {
                Err(Error::Kustomization { path: printable(self.path), line })
            } else {
                Ok(())
            };
        }
        if let Some(item_kind) = kind_name.strip_suffix("List") {
            match node.get("items").map(|items| items.node.plain()) {
                Some(Node::Sequence(items)) => {
                    let inherited = (!item_kind.is_empty()).then_some((api_version, item_kind));
                    return items.iter().try_for_each(|item| self.object(&item.node, item.line, inherited));
                }
                _ if item_kind.is_empty() => return Ok(()),
                _ => {}
            }
        }
        match Kind::from_manifest(api_version, kind_name) {
            Some(kind) => self.known(kind, (api_version, kind_name), node, line),
            None => {
                self.note_near_miss(api_version, kind_name, line);
                Ok(())
            }
        }
    }

    fn stranger(&mut self, line: u32, has_version: bool, has_kind: bool) -> Result<(), Error> {
        if !self.named {
            let name = self.path.rsplit('/').next().unwrap_or(self.path);
            if !matches!(name, "kustomization.yaml" | "kustomization.yml") {
                self.strangers += 1;
                if self.strangers == 1 {
                    self.first_stranger = line;
                }
            }
            return Ok(());
        }
        let lacks = match (has_version, has_kind) {
            (true, _) => "it has no kind",
            (_, true) => "it has no apiVersion",
            _ => "it has no apiVersion and no kind",
        };
        Err(Error::NotAnObject { place: self.place(line), lacks })
    }

    /// `Virtualservice` would be skipped like any unknown kind, and then be missing in the answer.
    fn note_near_miss(&mut self, api_version: &str, kind_name: &str, line: u32) {
        let near = Kind::ALL.into_iter().find(|kind| {
            kind.name().eq_ignore_ascii_case(kind_name)
                && Kind::from_manifest(api_version, kind.name()) == Some(*kind)
        });
        if let Some(near) = near {
            self.read.notes.push(format!(
                "{}:{line}: skipped, kind {} is unknown; the kind is called {near}",
                printable(self.path),
                printable(kind_name)
            ));
        }
    }

    fn place(&self, line: u32) -> Box<Place> {
        Box::new(Place::at_lines(self.path, self.text, &[line]))
    }

    fn known(
        &mut self,
        kind: Kind,
        (api_version, kind_name): (&str, &str),
        node: &Node<'_>,
        line: u32,
    ) -> Result<(), Error> {
        let name = match self.identity(kind, node, "name")? {
            Some(name) => name,
            // `kubectl create` has the API server append to the prefix, so the name is not known;
            // `?`, which no name can hold, says so and cannot collide with a real one.
            None => match self.identity(kind, node, "generateName")? {
                Some(prefix) => format!("{prefix}?"),
                None => return Err(Error::Unnamed { place: self.place(line), kind: kind.name() }),
            },
        };
        if name.contains("{{") {
            let unnamed = Error::Unnamed { place: self.place(line), kind: kind.name() };
            return Err(template::explain(self.path, self.text, unnamed));
        }
        if kind == Kind::ConfigMap && name != "istio" && !name.starts_with("istio-") {
            return Ok(());
        }
        let namespace = if kind.is_namespaced() {
            self.identity(kind, node, "namespace")?.unwrap_or_else(|| self.default_namespace.to_owned())
        } else {
            String::new()
        };
        let (mut value, lines) = value::of_object(node, line, kind);
        if let Value::Object(fields) = &mut value {
            fields.entry("apiVersion").or_insert_with(|| api_version.into());
            fields.entry("kind").or_insert_with(|| kind_name.into());
        }
        let origin = Origin::File { path: Arc::clone(&self.origin), line, lines };
        self.read.objects.push(Object { kind, namespace, name, value, origin });
        Ok(())
    }

    /// A field of the metadata that identifies the object; empty is as good as absent.
    fn identity(&self, kind: Kind, node: &Node<'_>, key: &'static str) -> Result<Option<String>, Error> {
        let Some(entry) = node.get("metadata").and_then(|metadata| metadata.node.get(key)) else {
            return Ok(None);
        };
        match entry.node.plain() {
            Node::Null => Ok(None),
            Node::Text(text) => Ok(Some(text.clone().into_owned()).filter(|text| !text.is_empty())),
            _ => Err(Error::NotAString {
                place: self.place(entry.line),
                kind: kind.name(),
                field: match key {
                    "name" => "metadata.name",
                    "namespace" => "metadata.namespace",
                    _ => "metadata.generateName",
                },
            }),
        }
    }
}
