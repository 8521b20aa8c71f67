//! Documents as trees of places in their text: where each key and each value starts and ends.

use std::collections::BTreeSet;
use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, StructureStyle};

use super::tree::{MAXIMUM_DEPTH, Source};

/// A value and its place, in bytes of the whole text.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) shape: Shape,
    /// Where its own text starts: behind anchor and tag, and behind the header of a block scalar.
    pub(super) start: usize,
    /// Where its last character ends; comments and empty lines after it do not belong to it.
    pub(super) end: usize,
    /// The number of its anchor; 0 for none.
    pub(super) anchor: usize,
}

/// What a value is made of.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Scalar(ScalarStyle),
    Alias,
    Map { flow: bool, fields: Vec<Field> },
    List { flow: bool, items: Vec<Spot> },
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) key_place: Range<usize>,
    /// Behind the colon; `None` where there is none.
    pub(super) colon: Option<usize>,
    pub(super) value: Spot,
}

/// A document.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) root: Spot,
    /// Its text, with the `---` before it if there is one.
    pub(super) place: Range<usize>,
    /// The anchors to which some alias refers.
    pub(super) aliased: BTreeSet<usize>,
    /// Whether it is JSON.
    pub(super) json: bool,
}

/// The documents of a part of a text, the empty ones too; `None` if it cannot be parsed.
pub(super) fn locate(source: &Source<'_>) -> Option<Vec<Located>> {
    let options: Options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAXIMUM_DEPTH,
        block_nesting_limit: MAXIMUM_DEPTH,
        simple_key_max_lookahead: 4096,
    };
    let part = source.whole.get(source.start..source.end)?;
    let json = serde_json::from_str::<serde::de::IgnoredAny>(part).is_ok();
    let mut located: Vec<Located> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut aliased = BTreeSet::new();
    let mut began = source.start;
    for event in Parser::new_from_str_with_options(part, options) {
        let (event, span) = event.ok()?;
        let place = span.byte_range()?;
        let place = place.start + source.start..place.end + source.start;
        let spot = match event {
            Event::DocumentStart(explicit, _) => {
                // What stands before the first document belongs to it.
                if explicit && !located.is_empty() {
                    began = place.start;
                }
                if let Some(last) = located.last_mut() {
                    last.place.end = began;
                }
                continue;
            }
            Event::SequenceStart(style, anchor, _) => {
                let shape = Shape::List { flow: style == StructureStyle::Flow, items: Vec::new() };
                open.push(Open {
                    spot: Spot { shape, start: place.start, end: place.end, anchor },
                    key: None,
                });
                continue;
            }
            Event::MappingStart(style, anchor, _) => {
                let shape = Shape::Map { flow: style == StructureStyle::Flow, fields: Vec::new() };
                open.push(Open {
                    spot: Spot { shape, start: place.start, end: place.end, anchor },
                    key: None,
                });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let mut spot = open.pop()?.spot;
                if let Shape::Map { flow: true, .. } | Shape::List { flow: true, .. } = spot.shape {
                    spot.end = place.end;
                }
                spot
            }
            Event::Scalar(_, style, anchor, _) => {
                let text = source.whole.get(place.clone())?;
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let length = if block { text.trim_end().len() } else { text.len() };
                Spot { shape: Shape::Scalar(style), start: place.start, end: place.start + length, anchor }
            }
            Event::Alias(anchor) => {
                aliased.insert(anchor);
                Spot { shape: Shape::Alias, start: place.start, end: place.end, anchor: 0 }
            }
            _ => continue,
        };
        match open.last_mut() {
            Some(parent) => parent.take(spot, source.whole)?,
            None => {
                let aliased = std::mem::take(&mut aliased);
                located.push(Located { root: spot, place: began..source.end, aliased, json });
                began = source.end;
            }
        }
    }
    Some(located)
}

/// A collection that is not complete.
struct Open {
    spot: Spot,
    key: Option<(String, Range<usize>)>,
}

impl Open {
    fn take(&mut self, mut child: Spot, text: &str) -> Option<()> {
        match &mut self.spot.shape {
            Shape::List { items, .. } => {
                self.spot.end = child.end.max(self.spot.end);
                items.push(child);
            }
            Shape::Map { fields, .. } => match self.key.take() {
                None => {
                    let place = child.start..child.end;
                    let written = text.get(place.clone())?;
                    let key = if let Shape::Scalar(ScalarStyle::DoubleQuoted) = child.shape {
                        serde_json::from_str(written).unwrap_or_else(|_| written.trim_matches('"').to_owned())
                    } else {
                        written.trim_matches('\'').replace("''", "'")
                    };
                    self.key = Some((key, place));
                }
                Some((key, key_place)) => {
                    let behind = text.get(key_place.end..)?;
                    let blanks = behind.len() - behind.trim_start_matches([' ', '\t']).len();
                    let colon = key_place.end + blanks;
                    let colon = text.get(colon..)?.starts_with(':').then_some(colon + 1);
                    // The parser places a value that is not written before the colon.
                    if let (Some(colon), true) = (colon, child.start == child.end) {
                        (child.start, child.end) = (colon, colon);
                    }
                    self.spot.end = child.end.max(self.spot.end);
                    fields.push(Field { key, key_place, colon, value: child });
                }
            },
            Shape::Scalar(_) | Shape::Alias => {}
        }
        Some(())
    }
}
