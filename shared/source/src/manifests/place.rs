//! A place in a text, with the line that stands there.

use std::fmt;

/// How many characters of a long line are shown.
const SHOWN: usize = 100;

/// A place in a manifest, as a message shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path as the user gave it, control characters escaped.
    pub path: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1, where it is known.
    pub column: Option<u32>,
    /// The lines shown, each with its number, and a caret under the column.
    excerpt: String,
}

impl Place {
    /// The place at a byte offset.
    pub(super) fn at_offset(path: &str, text: &str, offset: usize) -> Self {
        let mut line = 1;
        let mut start = 0;
        let mut found = "";
        for (number, (begin, content)) in (1..).zip(lines(text)) {
            if begin > offset {
                break;
            }
            (line, start, found) = (number, begin, content);
        }
        let before = found.get(..offset.saturating_sub(start)).unwrap_or(found);
        let column = before.chars().count();
        let excerpt =
            if in_secret(text, line) { String::new() } else { Excerpt::of(&[(line, found)], Some(column)) };
        Self { path: printable(path), line, column: Some(saturate(column).saturating_add(1)), excerpt }
    }

    /// The place at the first of some lines, all of them shown.
    pub(super) fn at_lines(path: &str, text: &str, numbers: &[u32]) -> Self {
        let line = numbers.first().copied().unwrap_or(1);
        let wanted: Vec<(u32, &str)> = (1..)
            .zip(lines(text))
            .filter(|(number, _)| numbers.contains(number))
            .map(|(number, (_, content))| (number, content))
            .collect();
        let excerpt = if in_secret(text, line) { String::new() } else { Excerpt::of(&wanted, None) };
        Self { path: printable(path), line, column: None, excerpt }
    }

    /// The lines shown, ready to stand under a message; empty inside a Secret, whose content is
    /// never shown.
    #[must_use]
    pub fn excerpt(&self) -> &str {
        &self.excerpt
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.line)?;
        self.column.map_or(Ok(()), |column| write!(f, ":{column}"))
    }
}

struct Excerpt;

impl Excerpt {
    fn of(numbered: &[(u32, &str)], column: Option<usize>) -> String {
        let width = numbered.last().map_or(1, |(number, _)| number.to_string().len());
        let mut shown = format!("\n{:width$} |", "");
        for (number, content) in numbered {
            // A long line is shown around the column, which is what one needs to see.
            let from = column.map_or(0, |column| column.saturating_sub(SHOWN / 2));
            let part: String = content.chars().skip(from).take(SHOWN).collect();
            let cut = if from > 0 { "…" } else { "" };
            shown.push_str(&format!("\n{number:width$} | {cut}{}", printable(&part)));
            if let Some(column) = column {
                let before: String = content.chars().skip(from).take(column - from).collect();
                let indent = cut.chars().count() + printable(&before).chars().count();
                shown.push_str(&format!("\n{:width$} | {:indent$}^", "", ""));
            }
        }
        shown
    }
}

/// Lines with the byte offset of each. Breaks are those of YAML 1.2: LF, CR and CRLF.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = Some(0);
    std::iter::from_fn(move || {
        let begin = start?;
        let rest = text.get(begin..)?;
        match rest.find(['\n', '\r']) {
            Some(end) => {
                let crlf = rest.get(end..end + 2) == Some("\r\n");
                start = Some(begin + end + if crlf { 2 } else { 1 });
                Some((begin, rest.get(..end)?))
            }
            None => {
                start = None;
                Some((begin, rest))
            }
        }
    })
}

/// Whether a line belongs to a document that holds a Secret. Decided on the text, because it must
/// also hold where the document cannot be parsed; in doubt the line is not shown.
fn in_secret(text: &str, line: u32) -> bool {
    let mut secret = false;
    for (number, (_, content)) in (1..).zip(lines(text)) {
        if content.starts_with("---") {
            if number > line {
                break;
            }
            secret = false;
        }
        secret |= names_secret(content);
    }
    secret
}

fn names_secret(content: &str) -> bool {
    content.match_indices("kind").any(|(index, found)| {
        content
            .get(index + found.len()..)
            .unwrap_or_default()
            .trim_start_matches(['"', '\'', ' ', '\t', ':'])
            .starts_with("Secret")
    })
}

/// Text that is safe on a terminal: control characters, and those that change the direction of
/// writing or are invisible, are written as escapes.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let hidden = matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if character.is_control() || hidden {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caret_stands_under_the_column() {
        let place = Place::at_offset("a.yaml", "one\r\ntwo: three\n", 10);
        assert_eq!(place.to_string(), "a.yaml:2:6");
        assert_eq!(place.excerpt(), "\n  |\n2 | two: three\n  |      ^");
    }

    #[test]
    fn control_characters_are_escaped_and_counted() {
        let place = Place::at_offset("a\u{1b}.yaml", "a\tb\u{1b}[31m: c", 9);
        assert_eq!(place.path, "a\\u{1b}.yaml");
        assert_eq!(place.excerpt(), "\n  |\n1 | a\\tb\\u{1b}[31m: c\n  |                ^");
    }

    #[test]
    fn offset_at_or_behind_the_end() {
        assert_eq!(Place::at_offset("a", "x\n", 2).to_string(), "a:2:1");
        assert_eq!(Place::at_offset("a", "x", 99).to_string(), "a:1:2");
        assert_eq!(Place::at_offset("a", "", 0).to_string(), "a:1:1");
    }

    #[test]
    fn long_lines_are_cut_around_the_column() {
        let text = "x".repeat(5000);
        let place = Place::at_offset("a", &text, 4000);
        assert!(place.excerpt().len() < 400);
        assert_eq!(place.column, Some(4001));
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "a: 1\n---\nkind: Secret\ndata:\n  key: [hunter2\n---\nb: 2\n";
        assert!(!Place::at_offset("a", text, 0).excerpt().is_empty());
        assert!(Place::at_offset("a", text, 35).excerpt().is_empty());
        assert!(Place::at_lines("a", text, &[5]).excerpt().is_empty());
        assert!(!Place::at_lines("a", text, &[7]).excerpt().is_empty());
        let late = "data: {key: hunter2}\n\"kind\": \"Secret\"\n";
        assert!(Place::at_offset("a", late, 3).excerpt().is_empty());
        let list = "items:\n- kind: 'SecretList'\n  data: x\n";
        assert!(Place::at_lines("a", list, &[3]).excerpt().is_empty());
    }
}
