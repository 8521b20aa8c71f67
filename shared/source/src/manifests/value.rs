//! Trees as JSON values, with the line of each part by JSON pointer.

use std::fmt::Write as _;

use mesh_model::object::{Kind, Lines};
use serde_json::{Map, Value};

use super::tree::{Entry, Node};

/// Pointers longer than this are not recorded; their parts are found at their parent's line. No
/// field of Istio comes near, and a key of a megabyte must not be repeated for each of its parts.
const LONGEST_POINTER: usize = 1024;

/// A whole document.
pub(super) fn of_document(node: &Node<'_>, line: u32) -> (Value, Lines) {
    let mut writer = Writer::new(true, line);
    (writer.node(node), writer.lines)
}

/// An object of a World: without what no answer rests on, so that a snapshot stays small. The API
/// server's bookkeeping goes, and `status` of everything but pods, whose phase and readiness count.
/// Lines are kept for Istio's kinds.
pub(super) fn of_object(node: &Node<'_>, line: u32, kind: Kind) -> (Value, Lines) {
    let mut writer = Writer::new(kind.is_istio(), line);
    let Node::Mapping(entries) = node.plain() else { return (writer.node(node), writer.lines) };
    let kept = entries.iter().filter(|entry| entry.key != "status" || kind == Kind::Pod);
    let fields = kept.map(|entry| match (&*entry.key, entry.node.plain()) {
        ("metadata", Node::Mapping(metadata)) => {
            let length = writer.descend(&entry.key, entry.line);
            let kept = metadata.iter().filter(|entry| entry.key != "managedFields");
            let value = Value::Object(kept.map(|entry| writer.entry(entry)).collect());
            writer.ascend(length);
            (entry.key.to_string(), value)
        }
        _ => writer.entry(entry),
    });
    let fields: Map<String, Value> = fields.collect();
    (Value::Object(fields), writer.lines)
}

struct Writer {
    located: bool,
    pointer: String,
    lines: Lines,
}

impl Writer {
    fn new(located: bool, line: u32) -> Self {
        let mut lines = Lines::default();
        if located {
            lines.insert("", line);
        }
        Self { located, pointer: String::new(), lines }
    }

    // Recursive: the tree's depth is limited where it is built.
    fn node(&mut self, node: &Node<'_>) -> Value {
        match node {
            Node::Null => Value::Null,
            Node::Boolean(boolean) => Value::Bool(*boolean),
            Node::Number(number) => Value::Number(number.clone()),
            Node::Text(text) => Value::String(text.to_string()),
            Node::Sequence(items) => Value::Array(
                (0_usize..)
                    .zip(items)
                    .map(|(index, item)| {
                        let length = self.descend_to(index, item.line);
                        let value = self.node(&item.node);
                        self.ascend(length);
                        value
                    })
                    .collect(),
            ),
            Node::Mapping(entries) => Value::Object(entries.iter().map(|entry| self.entry(entry)).collect()),
            Node::Shared(shared) => {
                // Parts of an alias are shown at the alias: that is where this object says it.
                let located = std::mem::replace(&mut self.located, false);
                let value = self.node(shared);
                self.located = located;
                value
            }
        }
    }

    fn entry(&mut self, entry: &Entry<'_>) -> (String, Value) {
        let length = self.descend(&entry.key, entry.line);
        let value = self.node(&entry.node);
        self.ascend(length);
        (entry.key.to_string(), value)
    }

    /// Extends the pointer by a key and records its line; gives the length to go back to.
    fn descend(&mut self, key: &str, line: u32) -> usize {
        let length = self.pointer.len();
        if self.located {
            self.pointer.push('/');
            if key.contains(['~', '/']) {
                self.pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            } else {
                self.pointer.push_str(key);
            }
            self.record(line);
        }
        length
    }

    fn descend_to(&mut self, index: usize, line: u32) -> usize {
        let length = self.pointer.len();
        if self.located {
            // Writing to a String cannot fail.
            let _ = write!(self.pointer, "/{index}");
            self.record(line);
        }
        length
    }

    fn record(&mut self, line: u32) {
        if self.pointer.len() <= LONGEST_POINTER {
            self.lines.insert(&self.pointer, line);
        }
    }

    fn ascend(&mut self, length: usize) {
        self.pointer.truncate(length);
    }
}
