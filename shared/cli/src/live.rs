//! A few lines that are drawn over in place, on a terminal.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::failure::Failure;
use crate::terminal::Ui;
use crate::text::Line;

const HIDE_CURSOR: &str = "\u{1b}[?25l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";
const CLEAR_TO_END: &str = "\u{1b}[J";

/// The view; what it last drew stays when it is dropped, and the cursor comes back.
pub struct Live<'u> {
    ui: &'u Ui,
    drawn: usize,
    /// What had been told on stderr when it was drawn.
    told: usize,
}

impl<'u> Live<'u> {
    /// A view on stdout; `None` where stdout is no terminal that can move its cursor.
    #[must_use]
    pub fn on(ui: &'u Ui) -> Option<Self> {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        (ui.width().is_some() && !is_dumb).then_some(Self { ui, drawn: 0, told: ui.told() })
    }

    /// How many columns and lines there are now: the window may have been resized.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        match terminal_size::terminal_size_of(std::io::stdout()) {
            Some((width, height)) if width.0 > 0 && height.0 > 0 => (width.0.into(), height.0.into()),
            _ => (self.ui.width().unwrap_or(80).into(), 24),
        }
    }

    /// Draws these lines over those before. What does not fit is cut off: a line that wraps or scrolls could
    /// not be drawn over.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn draw(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let (width, height) = self.size();
        // What was told meanwhile stands below the view, and stays: the view goes on below it.
        if self.ui.told() != self.told {
            (self.drawn, self.told) = (0, self.ui.told());
        }
        let mut text = String::from(HIDE_CURSOR);
        if self.drawn > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "\u{1b}[{}A", self.drawn);
        }
        text.push('\r');
        text.push_str(CLEAR_TO_END);
        let lines = lines.iter().take(height.saturating_sub(1));
        self.drawn = lines.len();
        for line in lines {
            text.push_str(&self.ui.rendered(&line.clone().cut(width.saturating_sub(1))));
            text.push('\n');
        }
        self.ui.write_raw(&text)
    }

    /// Leaves what is drawn, and begins below it.
    pub fn rest(&mut self) {
        self.drawn = 0;
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        show_cursor();
    }
}

/// Shows the cursor again; nothing where it was never hidden.
pub(crate) fn show_cursor() {
    use std::io::IsTerminal as _;
    let mut stdout = std::io::stdout();
    if stdout.is_terminal() {
        let _ = stdout.write_all(SHOW_CURSOR.as_bytes()).and_then(|()| stdout.flush());
    }
}
