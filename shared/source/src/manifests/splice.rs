//! One field's change as a change of its text.
//!
//! Nothing here is trusted: whoever applies it reads the result again and compares.

use std::collections::BTreeSet;
use std::ops::Range;

use granit_parser::ScalarStyle;
use mesh_model::change::FieldChange;
use serde_json::{Map, Value};

use super::emit;
use super::spans::{Field, Located, Shape, Spot};

/// A piece of text and what comes in its place.
pub(super) type Splice = (Range<usize>, String);

/// Why a field cannot be changed in place.
#[derive(Debug)]
pub(super) struct Obstacle {
    /// Where, in bytes.
    pub(super) offset: usize,
    /// What stands in the way.
    pub(super) what: &'static str,
}

const SHARED: &str = "other places share this part by an anchor, an alias or a merge (`<<`)";
const LAYOUT: &str = "it is laid out in a way that cannot be changed in place";

const COMMENT: &str = "a comment would be lost";

/// A text, while a field of it is changed.
struct Text<'a> {
    text: &'a str,
    json: bool,
    end: &'static str,
}

/// Finds what to replace in `text`, whose document is `document`, for a change of a field at
/// `change.pointer` below its root.
pub(super) fn splice(text: &str, document: &Located, change: &FieldChange) -> Result<Splice, Obstacle> {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let writer = Text { text, json: document.json, end };
    let tokens: Vec<String> =
        change.pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
    let Some((last, above)) = tokens.split_last() else {
        return Err(Obstacle { offset: document.root.start, what: LAYOUT });
    };
    let mut parent = &document.root;
    let mut holder = None;
    not_shared(parent, &document.aliased)?;
    for token in above {
        let child = match &parent.shape {
            Shape::Map { fields, .. } => {
                let field = fields.iter().find(|field| field.key == *token);
                holder = field;
                field.map(|field| &field.value)
            }
            Shape::List { items, .. } => {
                holder = None;
                token.parse::<usize>().ok().and_then(|index| items.get(index))
            }
            _ => None,
        };
        parent = child.ok_or(Obstacle { offset: parent.start, what: missing(parent) })?;
        not_shared(parent, &document.aliased)?;
    }
    let place = Place { parent, holder };
    match &parent.shape {
        Shape::Map { flow, fields } => {
            let at = fields.iter().position(|field| field.key == *last);
            match (at.and_then(|at| Some((at, fields.get(at)?))), &change.new) {
                (Some((_, field)), Some(new)) => {
                    not_shared(&field.value, &document.aliased)?;
                    writer.replace(&field.value, Some(field), *flow, column(text, field.key_place.start), new)
                }
                (Some((at, _)), None) => writer.remove_field(&place, *flow, fields, at),
                (None, Some(new)) if change.old.is_none() => {
                    writer.add_field(&place, *flow, fields, last, new)
                }
                _ => Err(Obstacle { offset: parent.start, what: missing(parent) }),
            }
        }
        Shape::List { flow, items } => {
            let index = last.parse::<usize>().ok();
            let index = index.ok_or(Obstacle { offset: parent.start, what: LAYOUT })?;
            match (&change.old, &change.new, items.get(index)) {
                (Some(_), Some(new), Some(item)) => {
                    not_shared(item, &document.aliased)?;
                    writer.replace(item, None, *flow, column(text, item.start), new)
                }
                (Some(_), None, Some(_)) => writer.remove_item(&place, *flow, items, index),
                (None, Some(new), _) => writer.insert_item(&place, *flow, items, index, new),
                _ => Err(Obstacle { offset: parent.start, what: LAYOUT }),
            }
        }
        _ => Err(Obstacle { offset: parent.start, what: LAYOUT }),
    }
}

/// The collection in which something changes, and the key under which it stands.
struct Place<'a> {
    parent: &'a Spot,
    holder: Option<&'a Field>,
}

/// A part that the reader finds and its own text does not have comes from a merge.
fn missing(parent: &Spot) -> &'static str {
    match &parent.shape {
        Shape::Map { fields, .. } if fields.iter().any(|field| field.key == "<<") => SHARED,
        Shape::Alias => SHARED,
        _ => LAYOUT,
    }
}

fn not_shared(spot: &Spot, aliased: &BTreeSet<usize>) -> Result<(), Obstacle> {
    let shared = matches!(spot.shape, Shape::Alias) || aliased.contains(&spot.anchor);
    if shared { Err(Obstacle { offset: spot.start, what: SHARED }) } else { Ok(()) }
}

fn line_start(text: &str, offset: usize) -> usize {
    text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

/// The start of the next line, or the end of the text.
fn next_line(text: &str, offset: usize) -> usize {
    text.get(offset..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| offset + at + 1)
}

/// How far from the start of its line something stands, in characters.
fn column(text: &str, offset: usize) -> usize {
    text.get(line_start(text, offset)..offset).map_or(0, |before| before.chars().count())
}

/// Whether only blanks stand before something on its line.
fn is_first(text: &str, offset: usize) -> bool {
    text.get(line_start(text, offset)..offset).is_some_and(|before| before.trim().is_empty())
}

impl Text<'_> {
    fn refuse<T>(offset: usize) -> Result<T, Obstacle> {
        Err(Obstacle { offset, what: LAYOUT })
    }

    /// Whole lines at an offset that starts a line, or at the end of the text.
    fn lines(&self, offset: usize, mut lines: String) -> Splice {
        let unended = offset > 0 && !self.text.get(..offset).is_some_and(|before| before.ends_with('\n'));
        if unended {
            // The last line of the file had no end, and gets none.
            lines.insert_str(0, self.end);
            lines.truncate(lines.trim_end().len());
        }
        (offset..offset, lines)
    }

    /// A value on one line; in JSON on several, where it stands on a line of its own.
    fn inline(&self, value: &Value, own_line_at: Option<usize>) -> String {
        match own_line_at {
            _ if !self.json => emit::flow(value),
            None => value.to_string(),
            Some(indent) => {
                format!("{value:#}").replace('\n', &format!("{}{}", self.end, " ".repeat(indent)))
            }
        }
    }

    fn key(&self, key: &str) -> String {
        if self.json { Value::from(key).to_string() } else { emit::string(key) }
    }

    /// Gives a value in place of another; `indent` is the column of its key or of itself.
    fn replace(
        &self,
        old: &Spot,
        field: Option<&Field>,
        flow: bool,
        indent: usize,
        new: &Value,
    ) -> Result<Splice, Obstacle> {
        let block_scalar = matches!(old.shape, Shape::Scalar(ScalarStyle::Literal | ScalarStyle::Folded));
        let block_old = block_scalar
            || matches!(old.shape, Shape::Map { flow: false, .. } | Shape::List { flow: false, .. });
        if flow || self.json || (!block_old && !emit::is_filled(new)) {
            let written = match (&old.shape, new) {
                _ if self.json => self.inline(new, None),
                (Shape::Scalar(ScalarStyle::DoubleQuoted), Value::String(text)) => emit::quoted(text),
                (Shape::Scalar(ScalarStyle::SingleQuoted), Value::String(text))
                    if text.chars().all(|character| !character.is_control()) =>
                {
                    format!("'{}'", text.replace('\'', "''"))
                }
                _ => emit::flow(new),
            };
            let blank = if old.start == old.end { " " } else { "" };
            return Ok((old.start..old.end, format!("{blank}{written}")));
        }
        match field {
            Some(field) => {
                let Some(colon) = field.colon else { return Self::refuse(old.start) };
                let between = self.text.get(colon..old.start).unwrap_or_default();
                let (first, rest) = between.split_once('\n').unwrap_or((between, ""));
                // A comment behind the key stays behind it.
                let kept = if first.trim_start().starts_with('#') { first.trim_end() } else { "" };
                if rest.contains('#') {
                    return Err(Obstacle { offset: old.start, what: COMMENT });
                }
                // An anchor or a tag would go with the value.
                if kept.is_empty() && first.contains(['#', '&', '!']) || rest.contains(['&', '!']) {
                    return Self::refuse(old.start);
                }
                let end = old.end.max(colon);
                if !emit::is_filled(new) {
                    return Ok((colon..end, format!(" {}{kept}", emit::flow(new))));
                }
                // So does one behind a value on the same line; one behind the end of a block does not fit.
                let next = next_line(self.text, end);
                let behind = self.text.get(end..next).unwrap_or_default();
                if block_old && !behind.trim().is_empty() {
                    return Err(Obstacle { offset: end, what: COMMENT });
                }
                let inner = if new.is_array() { indent } else { indent + 2 };
                let mut lines = String::new();
                emit::block(new, inner, self.end, &mut lines);
                if !behind.ends_with('\n') {
                    lines.truncate(lines.trim_end().len());
                }
                Ok((colon..next, format!("{kept}{}{}{lines}", behind.trim_end(), self.end)))
            }
            None if block_scalar => Self::refuse(old.start),
            None => {
                let mut lines = String::new();
                emit::block(new, indent, self.end, &mut lines);
                let written = if lines.is_empty() { emit::flow(new) } else { lines.trim().to_owned() };
                Ok((old.start..old.end, written))
            }
        }
    }

    /// The value of a whole collection, in a block: for one that was empty or becomes so.
    fn replace_whole(&self, place: &Place<'_>, new: &Value) -> Result<Splice, Obstacle> {
        let indent = place.holder.map_or(place.parent.start, |holder| holder.key_place.start);
        self.replace(place.parent, place.holder, false, column(self.text, indent), new)
    }

    fn add_field(
        &self,
        place: &Place<'_>,
        flow: bool,
        fields: &[Field],
        key: &str,
        new: &Value,
    ) -> Result<Splice, Obstacle> {
        let whole = Value::Object(Map::from_iter([(key.to_owned(), new.clone())]));
        let (Some(first), Some(last)) = (fields.first(), fields.last()) else {
            // `{}` in a flow collection stays one.
            return if self.json || self.is_in_flow(place) {
                Ok((place.parent.start..place.parent.end, self.inline(&whole, None)))
            } else {
                self.replace_whole(place, &whole)
            };
        };
        if flow {
            let at = last.value.end;
            let own_line = is_first(self.text, last.key_place.start);
            let indent = column(self.text, last.key_place.start);
            let value = self.inline(new, own_line.then_some(indent));
            let between = if own_line { format!("{}{}", self.end, " ".repeat(indent)) } else { " ".into() };
            return Ok((at..at, format!(",{between}{}: {value}", self.key(key))));
        }
        let mut lines = String::new();
        emit::block(&whole, column(self.text, first.key_place.start), self.end, &mut lines);
        Ok(self.lines(next_line(self.text, last.value.end), lines))
    }

    /// Whether an empty collection stands in another one in flow style.
    fn is_in_flow(&self, place: &Place<'_>) -> bool {
        // In a block, nothing but a comment follows it on its line.
        let behind = self.text.get(place.parent.end..).unwrap_or_default();
        let behind = behind.lines().next().unwrap_or_default().trim();
        !(behind.is_empty() || behind.starts_with('#'))
    }

    fn remove_field(
        &self,
        place: &Place<'_>,
        flow: bool,
        fields: &[Field],
        at: usize,
    ) -> Result<Splice, Obstacle> {
        let Some(field) = fields.get(at) else { return Self::refuse(place.parent.start) };
        let parts: Vec<Range<usize>> =
            fields.iter().map(|field| field.key_place.start..field.value.end).collect();
        if flow {
            return self.remove_from_flow(&parts, at);
        }
        if fields.len() == 1 {
            return self.replace_whole(place, &Value::Object(Map::new()));
        }
        if is_first(self.text, field.key_place.start) {
            return self.remove_lines(field.key_place.start, field.value.end);
        }
        // The first field of an element stands behind its dash; the next one takes its place.
        match fields.get(at + 1) {
            Some(next) => {
                let place = field.key_place.start..next.key_place.start;
                let has_comment = self.text.get(place.clone()).is_some_and(|text| text.contains('#'));
                if has_comment { Self::refuse(place.start) } else { Ok((place, String::new())) }
            }
            None => Self::refuse(field.key_place.start),
        }
    }

    /// Removes whole lines.
    fn remove_lines(&self, start: usize, end: usize) -> Result<Splice, Obstacle> {
        Ok((line_start(self.text, start)..next_line(self.text, end), String::new()))
    }

    /// Removes one of several parts between commas.
    fn remove_from_flow(&self, parts: &[Range<usize>], at: usize) -> Result<Splice, Obstacle> {
        let before = at.checked_sub(1).and_then(|before| parts.get(before));
        let place = match (parts.get(at), parts.get(at + 1), before) {
            (Some(part), Some(next), _) => part.start..next.start,
            (Some(part), None, Some(before)) => before.end..part.end,
            (Some(part), None, None) => part.clone(),
            (None, ..) => return Self::refuse(0),
        };
        Ok((place, String::new()))
    }

    /// Where the dash of an element stands.
    fn dash(&self, item: &Spot) -> Option<usize> {
        let before = self.text.get(..item.start)?.trim_end_matches([' ', '\t']);
        before.ends_with('-').then(|| before.len() - 1)
    }

    fn insert_item(
        &self,
        place: &Place<'_>,
        flow: bool,
        items: &[Spot],
        index: usize,
        new: &Value,
    ) -> Result<Splice, Obstacle> {
        let whole = Value::Array(vec![new.clone()]);
        let Some(first) = items.first() else {
            return if self.json || self.is_in_flow(place) {
                Ok((place.parent.start..place.parent.end, self.inline(&whole, None)))
            } else {
                self.replace_whole(place, &whole)
            };
        };
        let before = index.checked_sub(1).and_then(|before| items.get(before));
        if flow {
            let own_line = is_first(self.text, first.start);
            let indent = column(self.text, first.start);
            let value = self.inline(new, own_line.then_some(indent));
            let between = if own_line { format!("{}{}", self.end, " ".repeat(indent)) } else { " ".into() };
            return Ok(match before {
                Some(before) => (before.end..before.end, format!(",{between}{value}")),
                None => (first.start..first.start, format!("{value},{between}")),
            });
        }
        let Some(dash) = self.dash(first).filter(|dash| is_first(self.text, *dash)) else {
            return Self::refuse(first.start);
        };
        let mut lines = String::new();
        emit::block(&whole, column(self.text, dash), self.end, &mut lines);
        let at =
            before.map_or_else(|| line_start(self.text, dash), |before| next_line(self.text, before.end));
        Ok(self.lines(at, lines))
    }

    fn remove_item(
        &self,
        place: &Place<'_>,
        flow: bool,
        items: &[Spot],
        index: usize,
    ) -> Result<Splice, Obstacle> {
        if flow {
            let parts: Vec<Range<usize>> = items.iter().map(|item| item.start..item.end).collect();
            return self.remove_from_flow(&parts, index);
        }
        if items.len() == 1 {
            return self.replace_whole(place, &Value::Array(Vec::new()));
        }
        let Some(item) = items.get(index) else { return Self::refuse(place.parent.start) };
        match self.dash(item).filter(|dash| is_first(self.text, *dash)) {
            Some(dash) => self.remove_lines(dash, item.end),
            None => Self::refuse(item.start),
        }
    }
}
