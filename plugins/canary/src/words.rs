//! Numbers and rows as the canary's commands say them.

use mesh_cli::text::{Styled, dim, plain};
use mesh_cli::{Failure, Table, Ui};
use mesh_model::gate::Between;

/// The space between two columns.
const GAP: usize = 3;

/// A table where it fits, else a list: the first column alone, below it a line for each other one.
pub(crate) fn rows(ui: &Ui, headers: &[&'static str], rows: &[Vec<Styled>]) -> Result<(), Failure> {
    let widths = headers.iter().enumerate().map(|(at, header)| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.text.chars().count()).chain([header.len()]).max().unwrap_or(0)
    });
    let total = widths.sum::<usize>() + GAP * headers.len().saturating_sub(1);
    if ui.width().is_none_or(|width| total <= usize::from(width)) {
        let mut table = Table::new(headers);
        for row in rows {
            table.row(row.iter().cloned());
        }
        return ui.table(&table);
    }
    for row in rows {
        for (at, (header, cell)) in headers.iter().zip(row).enumerate() {
            if at == 0 {
                ui.answer(cell.clone())?;
            } else if !cell.text.is_empty() {
                ui.answer(dim(format!("  {}: ", header.to_lowercase())) + cell.clone())?;
            }
        }
    }
    Ok(())
}

/// `0.3/s`, `12/s`.
pub(crate) fn per_second(rate: f64) -> String {
    if rate >= 10.0 { format!("{rate:.0}/s") } else { format!("{rate:.1}/s") }
}

/// A fraction in percent: `0 %`, `0.25 %`, `12.5 %`.
pub(crate) fn fraction(rate: Option<f64>) -> Styled {
    match rate {
        None => dim("-"),
        Some(0.0) => plain("0 %"),
        Some(rate) if rate < 0.01 => plain(format!("{:.2} %", rate * 100.0)),
        Some(rate) => plain(format!("{:.1} %", rate * 100.0)),
    }
}

/// Where a latency lies: `50-100 ms`.
pub(crate) fn between(between: Option<Between>) -> Styled {
    match between {
        None => dim("-"),
        Some(Between { lower, upper: Some(upper) }) => plain(format!("{lower}-{upper} ms")),
        Some(Between { lower, upper: None }) => plain(format!("over {lower} ms")),
    }
}

/// Weights as they stand: `v1 90, v2 10`.
pub(crate) fn seconds(seconds: f64) -> String {
    let rounded = std::time::Duration::from_secs_f64(seconds.clamp(0.0, 1e9).round());
    humantime::format_duration(rounded).to_string()
}
