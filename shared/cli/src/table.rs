//! Tables as kubectl prints them.

use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table as Grid, Width, presets,
};

use crate::text::{Meaning, Styled, escape};

/// The space between two columns.
const GAP: u16 = 3;

/// The width below which no column is wrapped: words would fall apart.
const NARROWEST: u16 = 16;

/// A table: upper-case headers, no lines, left aligned.
#[derive(Clone, Debug)]
pub struct Table {
    headers: Vec<&'static str>,
    show_headers: bool,
    rows: Vec<Vec<Styled>>,
}

impl Table {
    /// An empty table with these headers, written in capitals.
    #[must_use]
    pub fn new(headers: &[&'static str]) -> Self {
        Self { headers: headers.to_vec(), show_headers: true, rows: Vec::new() }
    }

    /// Leaves the headers out (`--no-headers`).
    #[must_use]
    pub fn no_headers(mut self, no_headers: bool) -> Self {
        self.show_headers = !no_headers;
        self
    }

    /// Adds a row, a cell for each header.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<Styled>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text. On a terminal of `width` columns the widest column wraps if it
    /// must; without a width (a pipe) nothing ever wraps, so that a row is a line.
    pub(crate) fn render(&self, width: Option<u16>, color: bool) -> String {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if color {
            grid.enforce_styling().style_text_only();
        } else {
            grid.force_no_tty();
        }
        if self.show_headers {
            grid.set_header(&self.headers);
        }
        grid.add_rows(self.rows.iter().map(|row| row.iter().map(cell)));
        for column in grid.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        if let Some(width) = width {
            fit(&mut grid, width);
        }
        let mut text = grid.trim_fmt();
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// Makes a table fit by wrapping its widest columns, and as few as possible. A terminal too narrow
/// for that gets the table as it is, as from kubectl.
fn fit(grid: &mut Grid, width: u16) {
    let contents = grid.column_max_content_widths();
    let gaps = usize::from(GAP) * contents.len().saturating_sub(1);
    let widest = contents.iter().copied().max().unwrap_or(0);
    let total =
        |limit: u16| gaps + contents.iter().map(|&content| usize::from(content.min(limit))).sum::<usize>();
    let fits = |limit: &u16| total(*limit) <= usize::from(width);
    let Some(limit) = (NARROWEST..=widest).rev().find(fits) else { return };
    grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::MAX);
    for (column, content) in grid.column_iter_mut().zip(contents) {
        let content = Width::Fixed(content.min(limit).saturating_add(GAP));
        column.set_constraint(ColumnConstraint::Absolute(content));
    }
}

/// A cell, with the colours of [`Meaning::style`].
fn cell(styled: &Styled) -> Cell {
    let cell = Cell::new(escape(&styled.text));
    match styled.meaning {
        Meaning::Plain => cell,
        Meaning::Good => cell.fg(Color::DarkGreen),
        Meaning::Bad => cell.fg(Color::DarkRed),
        Meaning::Warn => cell.fg(Color::DarkYellow),
        Meaning::Dim => cell.add_attribute(Attribute::Dim),
        Meaning::Strong => cell.add_attribute(Attribute::Bold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{bad, dim, good, plain};

    fn table() -> Table {
        let mut table = Table::new(&["CALLER", "ALLOWED", "BECAUSE"]);
        table.row([
            plain("orders/order-service"),
            good("yes"),
            plain("AuthorizationPolicy payment/allow-orders lets principals of orders POST /pay"),
        ]);
        table.row([plain("web/frontend"), bad("no"), dim("no rule matches")]);
        table
    }

    fn widest(text: &str) -> usize {
        text.lines().map(str::len).max().unwrap_or(0)
    }

    #[test]
    fn a_pipe_gets_a_line_for_each_row() {
        assert_eq!(
            table().render(None, false),
            "\
CALLER                 ALLOWED   BECAUSE
orders/order-service   yes       AuthorizationPolicy payment/allow-orders lets principals of orders POST /pay
web/frontend           no        no rule matches
"
        );
        assert_eq!(table().render(Some(200), false), table().render(None, false));
    }

    #[test]
    fn a_terminal_wraps_the_widest_column() {
        let text = table().render(Some(80), false);
        assert_eq!(
            text,
            "\
CALLER                 ALLOWED   BECAUSE
orders/order-service   yes       AuthorizationPolicy payment/allow-orders lets
                                 principals of orders POST /pay
web/frontend           no        no rule matches
"
        );
        assert!(widest(&text) <= 80);
    }

    #[test]
    fn a_terminal_too_narrow_to_wrap_gets_whole_lines() {
        assert_eq!(table().render(Some(40), false), table().render(None, false));
    }

    #[test]
    fn two_wide_columns_share_the_room() {
        let mut table = Table::new(&["REQUESTS", "BECAUSE", "OK"]);
        table.row([
            "GET of everything below /orders",
            "the policy allow-orders says so in its first rule",
            "yes",
        ]);
        assert_eq!(
            table.render(Some(60), false),
            "\
REQUESTS                    BECAUSE                     OK
GET of everything below     the policy allow-orders     yes
/orders                     says so in its first rule
"
        );
    }

    #[test]
    fn narrow_tables_wrap_on_narrow_terminals() {
        let mut table = Table::new(&["CODE", "ASSUMPTION"]);
        table.row(["no-mesh-config", "the mesh configuration was not in the input"]);
        let text = table.render(Some(40), false);
        assert_eq!(
            text,
            "\
CODE             ASSUMPTION
no-mesh-config   the mesh configuration
                 was not in the input
"
        );
    }

    #[test]
    fn cells_are_escaped_and_coloured() {
        let mut table = Table::new(&["NAME", "STATE"]).no_headers(true);
        table.row([plain("a\u{1b}[2J\nb"), good("ok")]);
        assert_eq!(table.render(None, false), "a\\u001b[2J\\nb   ok\n");
        assert_eq!(table.render(None, true), "a\\u001b[2J\\nb   \u{1b}[38;5;2mok\u{1b}[39m\n");
    }

    #[test]
    fn an_empty_table_is_its_headers() {
        assert_eq!(Table::new(&["NAME", "STATE"]).render(Some(80), true), "NAME   STATE\n");
        assert_eq!(Table::new(&["NAME"]).no_headers(true).render(Some(80), false), "");
    }
}
