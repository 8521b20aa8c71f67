//! What is drawn while a run goes on: bars and small graphs from Unicode's blocks.

use std::collections::VecDeque;

/// Eighths of a block, from left to right.
const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// Heights of a block.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A share in percent as a bar.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "columns"
)]
pub(crate) fn bar(percent: Option<f64>, width: usize) -> String {
    let eighths = (percent.unwrap_or(0.0).clamp(0.0, 100.0) / 100.0 * (width * 8) as f64).round() as usize;
    let mut text = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        text.push(PARTS[eighths % 8]);
    }
    let drawn = text.chars().count();
    text + &"░".repeat(width.saturating_sub(drawn))
}

/// The last numbers of something, as a graph.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    kept: VecDeque<f64>,
    width: usize,
}

impl Graph {
    /// Nothing yet; so many numbers are kept.
    pub(crate) fn new(width: usize) -> Self {
        Self { kept: VecDeque::new(), width }
    }

    /// One more.
    pub(crate) fn push(&mut self, number: f64) {
        self.kept.push_back(if number.is_finite() { number.max(0.0) } else { 0.0 });
        while self.kept.len() > self.width {
            self.kept.pop_front();
        }
    }

    /// The largest.
    pub(crate) fn most(&self) -> f64 {
        self.kept.iter().copied().fold(0.0, f64::max)
    }

    /// As blocks, `most` being a full one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "one of eight")]
    pub(crate) fn text(&self, most: f64) -> String {
        let height = |number: &f64| {
            let part = if most > 0.0 { (number / most * 7.0).round().clamp(0.0, 7.0) } else { 0.0 };
            HEIGHTS[part as usize]
        };
        let text: String = self.kept.iter().map(height).collect();
        format!("{text:<width$}", width = self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_wide_as_they_should_be() {
        assert_eq!(bar(Some(0.0), 4), "░░░░");
        assert_eq!(bar(Some(100.0), 4), "████");
        assert_eq!(bar(Some(50.0), 4), "██░░");
        assert_eq!(bar(Some(10.0), 4), "▍░░░");
        assert_eq!(bar(None, 2), "░░");
        for percent in 0..=100 {
            assert_eq!(bar(Some(f64::from(percent)), 7).chars().count(), 7);
        }
    }

    #[test]
    fn graphs_keep_the_last() {
        let mut graph = Graph::new(3);
        for number in [9.0, 0.0, 5.0, 10.0, f64::NAN] {
            graph.push(number);
        }
        assert_eq!(graph.text(10.0), "▅█▁");
        assert_eq!(Graph::new(2).text(1.0), "  ");
    }
}
