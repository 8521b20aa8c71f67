//! Recognizing Helm charts and templates, which look like manifests and are none.

use std::path::Path;

use super::place::printable;
use crate::error::Error;

/// Whether a directory is a Helm chart.
pub(super) fn is_chart(directory: &Path) -> bool {
    directory.join("Chart.yaml").is_file()
}

/// Says by name that a file which failed to parse is a template, if it is one.
pub(super) fn explain(path: &str, text: &str, error: Error) -> Error {
    match line(text) {
        Some(line) => Error::Template { path: printable(path), line, cause: Box::new(error) },
        None => error,
    }
}

/// The first line with a template action outside a comment.
pub(super) fn line(text: &str) -> Option<u32> {
    if !text.contains("{{") {
        return None;
    }
    (1..)
        .zip(text.lines())
        .find(|(_, line)| line.contains("{{") && !line.trim_start().starts_with('#'))
        .map(|(number, _)| number)
}
