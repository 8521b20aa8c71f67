//! The API server's `Warning:` headers: deprecations and what admission wants to say.
//!
//! kube hands them to nobody; kubectl prints each once.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use http::header::WARNING;

/// The warnings seen so far, each once, in the order in which they came. Clones share one list.
#[derive(Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Remembers the warnings of one answer.
    pub(crate) fn collect(&self, headers: &HeaderMap) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for value in headers.get_all(WARNING) {
            if let Some(text) = value.to_str().ok().and_then(text)
                && !seen.contains(&text)
            {
                seen.push(text);
            }
        }
    }

    /// All warnings so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The text of `299 AGENT "TEXT"` (RFC 7234, 5.5); other codes are about caches, not about objects.
fn text(header: &str) -> Option<String> {
    let (_agent, quoted) = header.strip_prefix("299 ")?.split_once(' ')?;
    let mut text = String::new();
    let mut characters = quoted.strip_prefix('"')?.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Some(text),
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quoted_text_counts() {
        assert_eq!(
            text(r#"299 - "v1 ComponentStatus is deprecated""#).as_deref(),
            Some("v1 ComponentStatus is deprecated")
        );
        assert_eq!(text(r#"299 - "say \"this\"" "Thu, 01 Jan""#).as_deref(), Some("say \"this\""));
        assert_eq!(text(r#"110 - "stale""#), None);
        assert_eq!(text(r#"299 - "cut"#), None);
    }

    #[test]
    fn each_is_kept_once() {
        let warnings = Warnings::default();
        let mut headers = HeaderMap::new();
        headers.append(WARNING, "299 - \"b\"".parse().unwrap());
        headers.append(WARNING, "299 - \"a\"".parse().unwrap());
        warnings.collect(&headers);
        warnings.collect(&headers);
        assert_eq!(warnings.all(), ["b", "a"]);
    }
}
