//! Text that fits the terminal: paragraphs, and tables that become lists where they are too wide.

use crate::failure::Failure;
use crate::table::Table;
use crate::terminal::Ui;
use crate::text::{Line, Styled, dim, plain};

/// The space between two columns.
const GAP: usize = 3;

/// Says a paragraph: its first line is indented by `indent`, all others by `hang`. Lines break between
/// words, and only on a terminal.
///
/// # Errors
/// When stdout is closed or cannot be written.
pub fn say(
    ui: &Ui,
    indent: usize,
    hang: usize,
    parts: impl IntoIterator<Item = Styled>,
) -> Result<(), Failure> {
    lines(ui.width().map(usize::from), indent, hang, parts).into_iter().try_for_each(|line| ui.answer(line))
}

/// Says a paragraph that is not the answer, on stderr.
pub fn note(ui: &Ui, hang: usize, parts: impl IntoIterator<Item = Styled>) {
    lines(ui.width().map(usize::from), 0, hang, parts).into_iter().for_each(|line| ui.note(line));
}

/// A paragraph as lines of at most `width` columns, as [`say`] says it.
#[must_use]
pub fn lines(
    width: Option<usize>,
    indent: usize,
    hang: usize,
    parts: impl IntoIterator<Item = Styled>,
) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = Line::from(plain(" ".repeat(indent)));
    let (mut used, mut fresh) = (indent, true);
    for part in parts {
        // What of this part stands on the line, so that it is coloured in one piece.
        let mut piece = String::new();
        for (index, word) in part.text.split(' ').enumerate() {
            // Parts follow each other as they are; only a space inside a part is a place to break.
            let space = usize::from(index > 0);
            let length = word.chars().count();
            if index > 0 && !fresh && width.is_some_and(|width| used + space + length > width) {
                let full = std::mem::replace(&mut line, Line::from(plain(" ".repeat(hang))));
                lines.push(full + Styled { text: std::mem::take(&mut piece), ..part.clone() });
                (used, fresh) = (hang, true);
            } else if index > 0 {
                piece.push(' ');
                used += 1;
            }
            piece.push_str(word);
            used += length;
            fresh = fresh && word.is_empty();
        }
        line = line + Styled { text: piece, ..part };
    }
    lines.push(line);
    lines
}

/// Rows that are a table where it fits. On a terminal that is too narrow the first columns are the
/// table, and below each row stands the rest, a line for each column, and for each part of a cell with
/// several.
#[derive(Clone, Debug)]
pub struct Rows {
    headers: Vec<&'static str>,
    first: usize,
    rows: Vec<Vec<Styled>>,
}

impl Rows {
    /// No rows yet; `first` columns are short and say what a row is about.
    #[must_use]
    pub fn new(first: usize, headers: &[&'static str]) -> Self {
        Self { headers: headers.to_vec(), first, rows: Vec::new() }
    }

    /// Adds a row, a cell for each header.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Styled>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Says them.
    ///
    /// # Errors
    /// When stdout is closed or cannot be written.
    pub fn show(&self, ui: &Ui, no_headers: bool) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let widths = self.widths();
        let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        if ui.width().is_none_or(|width| total <= usize::from(width)) {
            let mut table = Table::new(&self.headers).no_headers(no_headers);
            self.rows.iter().for_each(|cells| table.row(cells.iter().cloned()));
            return ui.table(&table);
        }
        if !no_headers {
            let headers: Vec<Styled> = self.headers.iter().map(|header| plain(*header)).collect();
            ui.answer(self.first_columns(&headers, &widths))?;
        }
        let rest = || self.headers.iter().skip(self.first);
        let label = rest().map(|header| header.len()).max().unwrap_or_default();
        for cells in &self.rows {
            ui.answer(self.first_columns(cells, &widths))?;
            for (header, cell) in rest().zip(cells.iter().skip(self.first)) {
                let mut header = header.to_lowercase();
                for text in cell.text.split("; ").filter(|text| !text.is_empty() && *text != "-") {
                    let piece = Styled { text: text.to_owned(), ..cell.clone() };
                    say(ui, 2, label + 4, [dim(format!("{header:label$}  ")), piece])?;
                    header.clear();
                }
            }
        }
        Ok(())
    }

    fn first_columns(&self, cells: &[Styled], widths: &[usize]) -> Line {
        let mut line = Line::default();
        for (index, (cell, width)) in cells.iter().zip(widths).take(self.first).enumerate() {
            let gap = if index + 1 == self.first { 0 } else { width + GAP - cell.text.chars().count() };
            line = line + cell.clone() + plain(" ".repeat(gap));
        }
        line
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize, header: &str| {
            let cells = self.rows.iter().filter_map(|cells| cells.get(column));
            cells.map(|cell| cell.text.chars().count()).max().unwrap_or_default().max(header.len())
        };
        self.headers.iter().enumerate().map(|(column, header)| width(column, header)).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::text::good;

    use super::*;

    fn rows() -> Rows {
        let mut rows = Rows::new(2, &["CALLER", "VERDICT", "REQUESTS", "RESTS ON", "BECAUSE"]);
        rows.row([
            plain("sa/shop.web"),
            good("allow"),
            plain("GET /orders/* :8080; PUT /cart :8080"),
            plain("mtls"),
            plain("ALLOW orders/let-the-shop-in[0] policies.yaml:12"),
        ]);
        rows.row([plain("anonymous"), plain("deny"), plain("-"), plain(""), plain("mTLS is STRICT")]);
        rows
    }

    #[test]
    fn a_pipe_and_a_wide_terminal_get_a_table() {
        for width in [None, Some(130)] {
            let (ui, said) = Ui::recording(width);
            rows().show(&ui, false).unwrap();
            assert_eq!(
                said.stdout(),
                "\
CALLER        VERDICT   REQUESTS                               RESTS ON   BECAUSE
sa/shop.web   allow     GET /orders/* :8080; PUT /cart :8080   mtls       ALLOW orders/let-the-shop-in[0] policies.yaml:12
anonymous     deny      -                                                 mTLS is STRICT
"
            );
        }
    }

    #[test]
    fn a_narrow_terminal_gets_a_list() {
        let (ui, said) = Ui::recording(Some(50));
        rows().show(&ui, false).unwrap();
        assert_eq!(
            said.stdout(),
            "\
CALLER        VERDICT
sa/shop.web   allow
  requests  GET /orders/* :8080
            PUT /cart :8080
  rests on  mtls
  because   ALLOW orders/let-the-shop-in[0]
            policies.yaml:12
anonymous     deny
  because   mTLS is STRICT
"
        );
    }

    #[test]
    fn paragraphs_break_between_words() {
        let (ui, said) = Ui::recording(Some(20));
        say(
            &ui,
            2,
            4,
            [plain("port 8080"), plain(": only callers with a certificate get-in-here-now-or-never")],
        )
        .unwrap();
        assert_eq!(
            said.stdout(),
            "  port 8080: only
    callers with a
    certificate
    get-in-here-now-or-never
"
        );
    }
}
