//! YAML documents as trees, each part with its line.
//!
//! Built from the parser's events, without a deserializer in between, because what kubectl makes
//! of a scalar, a merge or an alias is go-yaml 2's rule, and because both lines of a duplicate key
//! are wanted. A tree borrows its text and is cheap to drop: most of what is read is not kept.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::Number;

use super::place::Place;
use super::scalar::{self, Scalar};
use super::syntax;
use crate::error::Error;

/// How deep collections may nest. The deepest known manifests, definitions of custom resources,
/// stay below 60; go-yaml stops at 10,000, serde_json at 128.
pub(super) const MAXIMUM_DEPTH: usize = 128;

/// How much the aliases of a text may add, in units of [`weigh`]. Manifests that reuse a block use
/// some hundreds; an alias bomb asks for billions.
const MAXIMUM_ALIASED: usize = 1 << 18;

/// How much a text may hold, in units of [`weigh`], each at most about a hundred bytes of memory.
/// Sixty-four megabytes of real manifests are ten million.
const MAXIMUM_WEIGHT: usize = 1 << 24;

/// A part of a document.
#[derive(Clone, Debug)]
pub(super) enum Node<'text> {
    Null,
    Boolean(bool),
    Number(Number),
    Text(Cow<'text, str>),
    Sequence(Vec<Item<'text>>),
    Mapping(Vec<Entry<'text>>),
    /// An anchored part, and every alias of it.
    Shared(Rc<Node<'text>>),
}

/// An element of a sequence.
#[derive(Clone, Debug)]
pub(super) struct Item<'text> {
    pub(super) line: u32,
    pub(super) node: Node<'text>,
}

/// A key of a mapping with its value; the line is the key's.
#[derive(Clone, Debug)]
pub(super) struct Entry<'text> {
    pub(super) key: Cow<'text, str>,
    pub(super) line: u32,
    pub(super) node: Node<'text>,
    /// Whether the key is a plain `<<`, until merges are resolved.
    merge: bool,
}

impl<'text> Node<'text> {
    /// The node itself, whether anchored or not.
    pub(super) fn plain(&self) -> &Self {
        let mut node = self;
        while let Self::Shared(shared) = node {
            node = shared;
        }
        node
    }

    /// The value at a key, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Entry<'text>> {
        match self.plain() {
            Self::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The text, if this is a string.
    pub(super) fn text(&self) -> Option<&str> {
        match self.plain() {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A part of a file that is parsed by itself.
#[derive(Clone, Copy)]
pub(super) struct Source<'text> {
    /// The path as the user gave it.
    pub(super) path: &'text str,
    /// The whole text of the file, for messages.
    pub(super) whole: &'text str,
    /// Where the part starts and ends in it, in bytes.
    pub(super) start: usize,
    pub(super) end: usize,
    /// How many line breaks stand before the part.
    pub(super) lines_before: u32,
}

impl<'text> Source<'text> {
    /// All of a text.
    pub(super) fn whole(path: &'text str, text: &'text str) -> Self {
        Self { path, whole: text, start: 0, end: text.len(), lines_before: 0 }
    }

    fn text(&self) -> &'text str {
        self.whole.get(self.start..self.end).unwrap_or_default()
    }

    fn line(&self, span: &Span) -> u32 {
        u32::try_from(span.start.line()).unwrap_or(u32::MAX).saturating_add(self.lines_before)
    }

    fn place(&self, marker: granit_parser::Marker) -> Box<Place> {
        let offset = marker.byte_offset().unwrap_or_default().saturating_add(self.start);
        Box::new(Place::at_offset(self.path, self.whole, offset))
    }
}

/// Hands every document of a source to `each`: the root and its line. Empty documents are roots
/// that are [`Node::Null`].
pub(super) fn each_document<'text>(
    source: Source<'text>,
    mut each: impl FnMut(Node<'text>, u32) -> Result<(), Error>,
) -> Result<(), Error> {
    let options: Options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAXIMUM_DEPTH,
        block_nesting_limit: MAXIMUM_DEPTH,
        // JSON knows no limit on the length of a key; one that spans lines is an error anyway.
        simple_key_max_lookahead: 4096,
    };
    let mut builder = Builder::new(source);
    for event in Parser::new_from_str_with_options(source.text(), options) {
        let (event, span) = event.map_err(|error| scan_error(&source, &error))?;
        if let Some((root, line)) = builder.take(event, &span)? {
            each(root, line)?;
        }
    }
    Ok(())
}

fn scan_error(source: &Source<'_>, error: &ScanError) -> Error {
    let place = source.place(*error.marker());
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        return Error::TooDeep { place, limit: MAXIMUM_DEPTH };
    }
    let (cause, advice) = syntax::explain(error.kind());
    Error::Syntax { place, cause, advice }
}

/// How much a scalar weighs; a collection weighs its parts and [`COLLECTION`].
fn weigh(text: &str) -> usize {
    1 + text.len() / 64
}

/// A mapping costs as JSON value about this many times what a scalar does.
const COLLECTION: usize = 8;

/// A key that waits for its value.
struct Key<'text> {
    text: Cow<'text, str>,
    line: u32,
    merge: bool,
}

/// A collection that is not complete.
struct Frame<'text> {
    mapping: bool,
    /// Where its children start in the builder's items or entries.
    start: usize,
    anchor: usize,
    line: u32,
    key: Option<Key<'text>>,
    merges: bool,
    /// What had been built when it began.
    weight_before: usize,
    /// How deep its deepest child is.
    height: usize,
}

struct Anchored<'text> {
    node: Rc<Node<'text>>,
    weight: usize,
    height: usize,
}

struct Builder<'text> {
    source: Source<'text>,
    frames: Vec<Frame<'text>>,
    // The children of all open collections, so that each collection is allocated once, at its size.
    items: Vec<Item<'text>>,
    entries: Vec<Entry<'text>>,
    anchors: HashMap<usize, Anchored<'text>>,
    root: Option<(Node<'text>, u32)>,
    weight: usize,
    aliased: usize,
}

impl<'text> Builder<'text> {
    fn new(source: Source<'text>) -> Self {
        Self {
            source,
            frames: Vec::new(),
            items: Vec::new(),
            entries: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            weight: 0,
            aliased: 0,
        }
    }

    /// Takes an event; gives the root when a document is complete.
    fn take(&mut self, event: Event<'text>, span: &Span) -> Result<Option<(Node<'text>, u32)>, Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let line = self.source.line(span);
                let weight = weigh(&text);
                self.add(weight, span)?;
                let merge = text == "<<" && style == ScalarStyle::Plain && tag.is_none();
                let node = self.scalar(text, style, tag.as_deref(), span)?;
                let node = self.anchored(node, anchor, weight, 0);
                self.attach(node, line, 0, merge, span)?;
            }
            Event::SequenceStart(_, anchor, _) => self.open(false, anchor, span)?,
            Event::MappingStart(_, anchor, _) => self.open(true, anchor, span)?,
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::Alias(anchor) => self.alias(anchor, span)?,
            Event::DocumentEnd => {
                self.anchors.clear();
                return Ok(self.root.take());
            }
            _ => {}
        }
        Ok(None)
    }

    fn add(&mut self, weight: usize, span: &Span) -> Result<(), Error> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > MAXIMUM_WEIGHT {
            return Err(Error::TooMuch { place: self.source.place(span.start) });
        }
        Ok(())
    }

    fn error(&self, span: &Span, cause: impl Into<Cow<'static, str>>, advice: &'static str) -> Error {
        Error::Syntax { place: self.source.place(span.start), cause: cause.into(), advice }
    }

    fn scalar(
        &self,
        text: Cow<'text, str>,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: &Span,
    ) -> Result<Node<'text>, Error> {
        let core = tag.and_then(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:"));
        let resolved = match (tag, core.as_deref()) {
            (None, _) if style == ScalarStyle::Plain => scalar::resolve(&text),
            (Some(_), Some("int" | "float" | "bool" | "null")) => scalar::resolve(&text),
            (Some(_), Some("binary")) => {
                return Err(self.error(
                    span,
                    "a `!!binary` value is not text",
                    "no field that the mesh reads holds binary data: remove the tag or the object",
                ));
            }
            _ => Scalar::Text,
        };
        let fits = match core.as_deref() {
            Some("int" | "float") => matches!(resolved, Scalar::Number(_) | Scalar::NotFinite),
            Some("bool") => matches!(resolved, Scalar::Boolean(_)),
            Some("null") => matches!(resolved, Scalar::Null),
            _ => true,
        };
        if !fits {
            return Err(self.error(
                span,
                "the value is not of the type that its tag names",
                "remove the tag",
            ));
        }
        Ok(match resolved {
            Scalar::Null => Node::Null,
            Scalar::Boolean(boolean) => Node::Boolean(boolean),
            Scalar::Number(number) => Node::Number(number),
            Scalar::Text => Node::Text(text),
            Scalar::NotFinite => {
                return Err(self.error(
                    span,
                    "Kubernetes has no infinite numbers and no `.nan`",
                    "write a finite number, or put the value in quotes if it is text",
                ));
            }
        })
    }

    /// Remembers a complete node under its anchor.
    fn anchored(&mut self, node: Node<'text>, anchor: usize, weight: usize, height: usize) -> Node<'text> {
        if anchor == 0 {
            return node;
        }
        let node = Rc::new(node);
        self.anchors.insert(anchor, Anchored { node: Rc::clone(&node), weight, height });
        Node::Shared(node)
    }

    fn open(&mut self, mapping: bool, anchor: usize, span: &Span) -> Result<(), Error> {
        if self.frames.len() >= MAXIMUM_DEPTH {
            return Err(Error::TooDeep { place: self.source.place(span.start), limit: MAXIMUM_DEPTH });
        }
        let weight_before = self.weight;
        self.add(COLLECTION, span)?;
        self.frames.push(Frame {
            mapping,
            start: if mapping { self.entries.len() } else { self.items.len() },
            anchor,
            line: self.source.line(span),
            key: None,
            merges: false,
            weight_before,
            height: 0,
        });
        Ok(())
    }

    fn close(&mut self, span: &Span) -> Result<(), Error> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let node = if frame.mapping {
            let start = frame.start.min(self.entries.len());
            let mut entries: Vec<Entry<'text>> = self.entries.drain(start..).collect();
            if frame.merges {
                entries = self.merged(entries)?;
            } else {
                self.refuse_duplicates(&entries)?;
            }
            Node::Mapping(entries)
        } else {
            let start = frame.start.min(self.items.len());
            Node::Sequence(self.items.drain(start..).collect())
        };
        let height = frame.height + 1;
        let weight = self.weight.saturating_sub(frame.weight_before);
        let node = self.anchored(node, frame.anchor, weight, height);
        self.attach(node, frame.line, height, false, span)
    }

    fn alias(&mut self, anchor: usize, span: &Span) -> Result<(), Error> {
        let Some(Anchored { node, weight, height }) = self.anchors.get(&anchor) else {
            return Err(self.error(
                span,
                "an alias stands inside the part that it refers to",
                "write the part out where the alias stands",
            ));
        };
        let (node, weight, height) = (Rc::clone(node), *weight, *height);
        self.aliased = self.aliased.saturating_add(weight);
        if self.aliased > MAXIMUM_ALIASED {
            return Err(Error::AliasBomb { place: self.source.place(span.start) });
        }
        // Aliases nest what was anchored, so that depth can grow without any bracket in the text.
        if self.frames.len() + height > MAXIMUM_DEPTH {
            return Err(Error::TooDeep { place: self.source.place(span.start), limit: MAXIMUM_DEPTH });
        }
        self.add(weight, span)?;
        self.attach(Node::Shared(node), self.source.line(span), height, false, span)
    }

    /// Puts a complete node where it belongs: into the innermost open collection or at the root.
    fn attach(
        &mut self,
        node: Node<'text>,
        line: u32,
        height: usize,
        merge: bool,
        span: &Span,
    ) -> Result<(), Error> {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some((node, line));
            return Ok(());
        };
        frame.height = frame.height.max(height);
        if !frame.mapping {
            self.items.push(Item { line, node });
        } else if let Some(Key { text: key, line, merge }) = frame.key.take() {
            frame.merges |= merge;
            self.entries.push(Entry { key, line, node, merge });
        } else if let Some(text) = key(node) {
            frame.key = Some(Key { text, line, merge });
        } else {
            return Err(self.error(
                span,
                "a mapping key must be a string, a number or a boolean",
                "put the key in quotes, or check for stray braces, brackets or a missing key",
            ));
        }
        Ok(())
    }

    fn refuse_duplicates(&self, entries: &[Entry<'text>]) -> Result<(), Error> {
        let pair = if entries.len() <= 16 {
            entries.iter().enumerate().find_map(|(index, second)| {
                let first = entries.iter().take(index).find(|first| first.key == second.key)?;
                Some((first.line, second))
            })
        } else {
            let mut seen = HashMap::with_capacity(entries.len());
            entries.iter().find_map(|second| Some((seen.insert(&*second.key, second.line)?, second)))
        };
        pair.map_or(Ok(()), |(first, second)| Err(self.duplicate(&second.key, first, second.line)))
    }

    fn duplicate(&self, key: &str, first: u32, second: u32) -> Error {
        let Source { path, whole, .. } = self.source;
        Error::DuplicateKey {
            place: Box::new(Place::at_lines(path, whole, &[second, first])),
            key: super::place::printable(key),
            first,
        }
    }

    /// Resolves `<<` as go-yaml 2 does: in the order of the text, so that a merge replaces keys
    /// above it and is replaced by keys below it; of a list of mappings the first wins.
    fn merged(&self, entries: Vec<Entry<'text>>) -> Result<Vec<Entry<'text>>, Error> {
        let mut result: Vec<Entry<'text>> = Vec::with_capacity(entries.len());
        let mut index: HashMap<Cow<'text, str>, usize> = HashMap::new();
        let mut put = |entry: Entry<'text>| -> Option<Entry<'text>> {
            if let Some(existing) = index.get(&entry.key).and_then(|at| result.get_mut(*at)) {
                return Some(std::mem::replace(existing, entry));
            }
            index.insert(entry.key.clone(), result.len());
            result.push(entry);
            None
        };
        // While merging, `merge` marks what came from elsewhere and may be replaced silently.
        for entry in entries {
            if !entry.merge {
                let (key, line) = (entry.key.clone(), entry.line);
                match put(entry) {
                    Some(replaced) if !replaced.merge => {
                        return Err(self.duplicate(&key, replaced.line, line));
                    }
                    _ => continue,
                }
            }
            let mappings = mappings(&entry.node).ok_or_else(|| Error::Syntax {
                place: Box::new(Place::at_lines(self.source.path, self.source.whole, &[entry.line])),
                cause: "`<<` merges mappings, and this value is none".into(),
                advice: "give it an alias of a mapping or a list of such aliases",
            })?;
            for merged in mappings.into_iter().rev().flatten() {
                put(Entry { line: entry.line, merge: true, ..merged.clone() });
            }
        }
        Ok(result)
    }
}

/// The mappings that a merge names, the strongest first.
fn mappings<'node, 'text>(node: &'node Node<'text>) -> Option<Vec<&'node [Entry<'text>]>> {
    match node.plain() {
        Node::Mapping(entries) => Some(vec![entries]),
        Node::Sequence(items) => items
            .iter()
            .map(|item| match item.node.plain() {
                Node::Mapping(entries) => Some(&**entries),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// A key as JSON has it: a string, whatever scalar it was.
fn key(node: Node<'_>) -> Option<Cow<'_, str>> {
    match node {
        Node::Text(text) => Some(text),
        Node::Boolean(boolean) => Some(if boolean { "true" } else { "false" }.into()),
        Node::Number(number) => Some(match number.as_f64().filter(|_| number.is_f64()) {
            // Single precision, as in sigs.k8s.io/yaml.
            #[expect(clippy::cast_possible_truncation, reason = "the precision that kubectl uses")]
            Some(float) => (float as f32).to_string().into(),
            None => number.to_string().into(),
        }),
        Node::Shared(shared) => key((*shared).clone()),
        Node::Null | Node::Sequence(_) | Node::Mapping(_) => None,
    }
}
