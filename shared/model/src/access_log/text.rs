//! Lines of text: values between the fixed text of a format.
//!
//! A proxy does not escape what it writes. A `User-Agent` can hold quotes and spaces, and so whatever a
//! client wants to be read as the fields behind it. Fields whose values the proxy itself chooses, or that
//! no client can put a space or a quote into, are read from both ends of the line; what stands between
//! the first and the last free value counts only where there is one way to read it.

use std::borrow::Cow;

use super::format::field;
use super::{Entry, Field};

/// What a value can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// No space and no quote.
    Word,
    /// No space: Envoy takes no path with one.
    Path,
    /// No quote.
    Phrase,
    /// Anything.
    Anything,
}

impl Holds {
    fn of(operator: &str, field: Option<Field>) -> Self {
        match field {
            // Envoy takes no other authority (`HeaderUtility::authorityIsValid`).
            Some(Field::Method | Field::Host) => Self::Word,
            Some(Field::Path) => Self::Path,
            Some(Field::Termination | Field::Failure) => Self::Phrase,
            // Formatted times, headers, metadata.
            _ if operator.contains('(') => Self::Anything,
            _ => Self::Word,
        }
    }

    fn allows(self, value: &str) -> bool {
        match self {
            Self::Word => !value.contains([' ', '"']),
            Self::Path => !value.contains(' '),
            Self::Phrase => !value.contains('"'),
            Self::Anything => true,
        }
    }
}

/// A value, and the fixed text behind it.
#[derive(Clone, Debug)]
struct Slot {
    field: Option<Field>,
    holds: Holds,
    behind: String,
}

/// A text format.
#[derive(Clone, Debug)]
pub struct Template {
    before: String,
    slots: Vec<Slot>,
    /// The slots between the first and the last that can hold anything, where there are any.
    free: Option<(usize, usize)>,
}

impl Template {
    /// Takes a format string apart: `%OPERATOR%`, `%OPERATOR(ARGUMENT):LENGTH%`, and `%%` for a per cent
    /// sign. What is no operator is fixed text.
    #[must_use]
    pub fn parse(format: &str) -> Self {
        let (mut before, mut slots) = (String::new(), Vec::<Slot>::new());
        let mut rest = format.trim_end_matches('\n');
        while let Some(character) = rest.chars().next() {
            if let Some((operator, behind)) = operator(rest) {
                let field = field(operator);
                slots.push(Slot { field, holds: Holds::of(operator, field), behind: String::new() });
                rest = behind;
                continue;
            }
            let fixed = slots.last_mut().map_or(&mut before, |slot| &mut slot.behind);
            fixed.push(character);
            rest = rest.strip_prefix("%%").or_else(|| rest.strip_prefix(character)).unwrap_or_default();
        }
        let is_free = |slot: &Slot| slot.holds == Holds::Anything;
        let free = slots.iter().position(is_free).zip(slots.iter().rposition(is_free));
        Self { before, slots, free }
    }

    /// Whether a line of this format says that something was denied.
    #[must_use]
    pub fn tells_denials(&self) -> bool {
        self.slots.iter().any(|slot| {
            matches!(slot.field, Some(Field::Code | Field::Flags | Field::Details | Field::Termination))
        })
    }

    /// Reads a line; `None` if it is not of this format.
    #[must_use]
    pub fn entry<'a>(&self, line: &'a str) -> Option<Entry<'a>> {
        let mut rest = line.strip_prefix(self.before.as_str())?;
        let mut entry = Entry::default();
        let (first, last) = self.free.unwrap_or((self.slots.len(), self.slots.len()));
        for slot in self.slots.get(..first)? {
            let (value, behind) = slot.first(rest)?;
            slot.put(value, &mut entry);
            rest = behind;
        }
        if self.free.is_some() {
            let free = self.slots.get(first..=last)?;
            let behind = self.slots.get(last + 1..)?;
            if let Some(slot) = behind.last() {
                rest = rest.strip_suffix(slot.behind.as_str())?;
            }
            for (slot, before) in behind.iter().zip(self.slots.get(last..)?).rev() {
                let (ahead, value) = slot.last(rest, &before.behind)?;
                slot.put(value, &mut entry);
                rest = ahead;
            }
            read_free(free, rest, behind.is_empty(), &mut entry)?;
        } else if !rest.is_empty() {
            return None;
        }
        let is_code = |code: &str| code.bytes().all(|digit| digit.is_ascii_digit());
        entry.text(Field::Code).is_none_or(is_code).then_some(entry)
    }
}

/// The operator at the start of a text, and what is behind it.
fn operator(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('%')?;
    let name = inside.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))?;
    if name == 0 {
        return None;
    }
    // An argument can have per cent signs of its own: `START_TIME(%Y-%m-%d)`.
    let argument = match inside.get(name..)?.strip_prefix('(') {
        Some(argument) => argument.find(')')? + 2,
        None => 0,
    };
    let end = name + argument + inside.get(name + argument..)?.find('%')?;
    Some((inside.get(..end)?, inside.get(end + 1..)?))
}

/// Reads the values between the first and the last that can hold anything: they count where the shortest
/// from the left and the shortest from the right are the same.
fn read_free<'a>(slots: &[Slot], text: &'a str, is_end: bool, entry: &mut Entry<'a>) -> Option<()> {
    // The fixed text behind the last value was taken with the value behind that.
    let fixed = |index: usize| {
        let slot = slots.get(index)?;
        Some(if index + 1 == slots.len() && !is_end { "" } else { slot.behind.as_str() })
    };
    let mut from_left = Vec::with_capacity(slots.len());
    let mut rest = text;
    for index in 0..slots.len() {
        let fixed = fixed(index)?;
        let end = if fixed.is_empty() { rest.len() } else { find(rest, fixed)? };
        from_left.push(rest.get(..end)?);
        rest = rest.get(end + fixed.len()..)?;
    }
    let mut rest = text.strip_suffix(fixed(slots.len() - 1)?)?;
    for (index, slot) in slots.iter().enumerate().rev() {
        let ahead = match index.checked_sub(1) {
            Some(before) => {
                let fixed = fixed(before)?;
                let at = if fixed.is_empty() { 0 } else { rfind(rest, fixed)? };
                let value = rest.get(at + fixed.len()..)?;
                (rest.get(..at)?, value)
            }
            None => ("", rest),
        };
        if from_left.get(index) == Some(&ahead.1) {
            slot.put(ahead.1, entry);
        }
        rest = ahead.0;
    }
    Some(())
}

/// Where a text is first in another: as `str::find`, which costs more where that is after a few bytes.
fn find(text: &str, wanted: &str) -> Option<usize> {
    let first = wanted.bytes().next()?;
    let is_here = |at: usize| text.get(at..).is_some_and(|rest| rest.starts_with(wanted));
    text.bytes().enumerate().find(|(at, byte)| *byte == first && is_here(*at)).map(|(at, _)| at)
}

/// Where it is last.
fn rfind(text: &str, wanted: &str) -> Option<usize> {
    let first = wanted.bytes().next()?;
    let is_here = |at: usize| text.get(at..).is_some_and(|rest| rest.starts_with(wanted));
    text.bytes().enumerate().rfind(|(at, byte)| *byte == first && is_here(*at)).map(|(at, _)| at)
}

impl Slot {
    /// The value at the start of a text, up to the fixed text behind it.
    fn first<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str)> {
        let end = if self.behind.is_empty() { text.len() } else { find(text, &self.behind)? };
        let value = text.get(..end).filter(|value| self.holds.allows(value))?;
        Some((value, text.get(end + self.behind.len()..)?))
    }

    /// What is before the value at the end of a text, without the fixed text between them, and the value.
    fn last<'a>(&self, text: &'a str, between: &str) -> Option<(&'a str, &'a str)> {
        let at = if between.is_empty() { 0 } else { rfind(text, between)? };
        let value = text.get(at + between.len()..).filter(|value| self.holds.allows(value))?;
        Some((text.get(..at)?, value))
    }

    fn put<'a>(&self, value: &'a str, entry: &mut Entry<'a>) {
        if let Some(field) = self.field {
            entry.set(field, Cow::Borrowed(value));
        }
    }
}
