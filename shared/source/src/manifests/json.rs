//! JSON that holds several objects one after the other, as `kubectl get -o json` does when it is
//! called more than once. JSON itself is read as the YAML that it is, so that lines are known.

use serde::de::IgnoredAny;

use super::tree::Source;

/// The parts of a text to parse one by one: each value of a JSON stream, or the whole text where
/// it is not JSON.
pub(super) fn parts<'text>(path: &'text str, text: &'text str) -> Vec<Source<'text>> {
    let whole = || vec![Source::whole(path, text)];
    if !text.trim_start().starts_with('{') {
        return whole();
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut parts = Vec::new();
    let (mut start, mut lines_before) = (0, 0_u32);
    while let Some(value) = values.next() {
        if value.is_err() {
            return whole();
        }
        let end = values.byte_offset();
        parts.push(Source { path, whole: text, start, end, lines_before });
        let breaks = text.get(start..end).unwrap_or_default().matches('\n').count();
        lines_before = lines_before.saturating_add(u32::try_from(breaks).unwrap_or(u32::MAX));
        start = end;
    }
    parts
}
