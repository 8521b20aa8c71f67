//! Text with a meaning, and text made safe for a terminal.

use std::fmt::Write as _;
use std::ops::Add;

use anstyle::{AnsiColor, Style};

/// What a piece of text means to the reader; its colour where there is colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing special.
    #[default]
    Plain,
    /// Yes, allowed, healthy.
    Good,
    /// No, denied, broken.
    Bad,
    /// Conditional, unknown, worth a look.
    Warn,
    /// Less important than what stands around it.
    Dim,
    /// More important than what stands around it.
    Strong,
}

impl Meaning {
    /// The look of this meaning on a terminal.
    #[must_use]
    pub fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Dim => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }
}

/// A piece of text with one meaning: a table's cell, or a part of a [`Line`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Styled {
    /// The text, as it was read; escaped when it is written.
    pub text: String,
    /// The meaning.
    pub meaning: Meaning,
}

impl Styled {
    /// Text with a meaning.
    pub fn new(text: impl Into<String>, meaning: Meaning) -> Self {
        Self { text: text.into(), meaning }
    }

    /// The text as it goes to a stream: escaped, and coloured if `color`.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let text = escape(&self.text);
        if color && self.meaning != Meaning::Plain {
            let style = self.meaning.style();
            format!("{style}{text}{style:#}")
        } else {
            text
        }
    }
}

/// Text without a special meaning; only needed at the start of a `+` chain.
pub fn plain(text: impl Into<String>) -> Styled {
    Styled::new(text, Meaning::Plain)
}

/// Text that says yes.
pub fn good(text: impl Into<String>) -> Styled {
    Styled::new(text, Meaning::Good)
}

/// Text that says no.
pub fn bad(text: impl Into<String>) -> Styled {
    Styled::new(text, Meaning::Bad)
}

/// Text that says maybe.
pub fn warn(text: impl Into<String>) -> Styled {
    Styled::new(text, Meaning::Warn)
}

/// Text that may be skipped.
pub fn dim(text: impl Into<String>) -> Styled {
    Styled::new(text, Meaning::Dim)
}

/// Text to be seen first.
pub fn strong(text: impl Into<String>) -> Styled {
    Styled::new(text, Meaning::Strong)
}

impl From<&str> for Styled {
    fn from(text: &str) -> Self {
        plain(text)
    }
}

impl From<&String> for Styled {
    fn from(text: &String) -> Self {
        plain(text)
    }
}

impl From<String> for Styled {
    fn from(text: String) -> Self {
        plain(text)
    }
}

/// One line of an answer: `good("yes") + " for " + strong(name)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<Styled>);

impl Line {
    /// The line as it goes to a stream, without a line end: escaped, and coloured if `color`.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        self.0.iter().map(|part| part.render(color)).collect()
    }
}

impl Line {
    /// Its parts, in order.
    pub fn parts(self) -> impl Iterator<Item = Styled> {
        self.0.into_iter()
    }

    /// With a part before it.
    #[must_use]
    pub fn after(mut self, part: impl Into<Styled>) -> Self {
        self.0.insert(0, part.into());
        self
    }

    /// The first `width` characters.
    #[must_use]
    pub(crate) fn cut(mut self, width: usize) -> Self {
        let mut left = width;
        for part in &mut self.0 {
            part.text = escape(&part.text).chars().take(left).collect();
            left -= part.text.chars().count();
        }
        self
    }

    /// How many characters it has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.iter().map(|part| escape(&part.text).chars().count()).sum()
    }
}

impl<T: Into<Styled>> From<T> for Line {
    fn from(part: T) -> Self {
        Self(vec![part.into()])
    }
}

impl<T: Into<Styled>> Add<T> for Line {
    type Output = Self;

    fn add(mut self, part: T) -> Self {
        self.0.push(part.into());
        self
    }
}

impl<T: Into<Styled>> Add<T> for Styled {
    type Output = Line;

    fn add(self, part: T) -> Line {
        Line::from(self) + part
    }
}

/// Makes visible what could move the cursor, hide or reorder text on a terminal: control
/// characters (C0, DEL, C1, and with them every escape sequence), bidirectional overrides, and
/// characters without a shape.
///
/// They are written as JSON writes them (`\u001b`), so that escaped JSON is still the same JSON.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            _ if is_harmful(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
            _ => safe.push(character),
        }
    }
    safe
}

/// [`escape`] for text of several lines: line ends and tabs stay.
#[must_use]
pub fn escape_lines(text: &str) -> String {
    text.split_inclusive(['\n', '\t'])
        .map(|piece| match piece.char_indices().next_back() {
            Some((end, last @ ('\n' | '\t'))) => format!("{}{last}", escape(&piece[..end])),
            _ => escape(piece),
        })
        .collect()
}

/// Whether a character has an effect on a terminal other than its own shape.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_on_a_terminal_becomes_visible() {
        for (text, safe) in [
            ("payment", "payment"),
            ("größe 支付 ✓ 👍", "größe 支付 ✓ 👍"),
            ("a\u{1b}[31mred\u{1b}[0m", "a\\u001b[31mred\\u001b[0m"),
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            ("a\r\nb\tc\u{8}", "a\\r\\nb\\tc\\u0008"),
            ("a\u{7f}b\u{9b}2J", "a\\u007fb\\u009b2J"),
            ("admin\u{202e}nimda\u{2066}", "admin\\u202enimda\\u2066"),
            ("zero\u{200b}width\u{feff}", "zero\\u200bwidth\\ufeff"),
            ("tag\u{e0041}", "tag\\udb40\\udc41"),
        ] {
            assert_eq!(escape(text), safe);
        }
    }

    #[test]
    fn lines_and_tabs_of_a_document_stay() {
        assert_eq!(escape_lines("a: \u{1b}\n\tb\r\n\nc"), "a: \\u001b\n\tb\\r\n\nc");
    }

    #[test]
    fn escaped_json_is_the_same_json() {
        let value = serde_json::json!({ "a\u{202e}\u{9b}": "\u{1b}[2J\u{e0041}\u{7f}" });
        let safe = escape_lines(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn colour_only_where_asked_for() {
        let line = good("yes") + " for " + strong("a\u{1b}b");
        assert_eq!(line.render(false), "yes for a\\u001bb");
        assert_eq!(line.render(true), "\u{1b}[32myes\u{1b}[0m for \u{1b}[1ma\\u001bb\u{1b}[0m");
    }

    proptest! {
        #[test]
        fn escaped_text_never_contains_control_characters(text: String) {
            prop_assert!(!escape(&text).chars().any(is_harmful));
            prop_assert!(!escape_lines(&text).replace(['\n', '\t'], "").chars().any(is_harmful));
        }

        #[test]
        fn escaping_keeps_everything_else(text in "[ -~]*") {
            prop_assert_eq!(escape(&text), text);
        }
    }
}
