//! What stands around a line of an access log, and the other lines of a proxy's container.

use serde::Deserialize;

use super::Line;
use super::cause::Matched;

/// A line without what was put before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The pod, as `kubectl logs --prefix` names it.
    pub pod: Option<&'a str>,
    /// The line.
    pub line: &'a str,
}

impl<'a> Frame<'a> {
    /// Takes off what `kubectl logs` puts before a line (`--prefix`, `--timestamps`) and what a container
    /// runtime does (`TIME stdout F`).
    #[must_use]
    pub fn of(line: &'a str) -> Self {
        let line = line.trim_end_matches(['\n', '\r']);
        let (pod, line) = match prefix(line) {
            Some((pod, line)) => (Some(pod), line),
            None => (None, line),
        };
        let line = match line.split_once(' ') {
            Some((time, rest)) if is_time(time) => {
                ["stdout F ", "stderr F "].iter().find_map(|stream| rest.strip_prefix(stream)).unwrap_or(rest)
            }
            _ => line,
        };
        Self { pod, line }
    }
}

/// `[pod/NAME/CONTAINER] ` and what is behind it.
fn prefix(line: &str) -> Option<(&str, &str)> {
    let (inside, rest) = line.strip_prefix("[pod/")?.split_once("] ")?;
    let (pod, container) = inside.split_once('/')?;
    let is_name = |name: &str| !name.is_empty() && !name.contains([' ', '/', '[', '"']);
    (is_name(pod) && is_name(container)).then_some((pod, rest))
}

/// Whether a word is a time as RFC 3339 has it.
pub(super) fn is_time(word: &str) -> bool {
    let start = "0000-00-00T00:00:00";
    word.len() > start.len()
        && word.get(..start.len()).is_some_and(|word| has_shape(word, start))
        && word.bytes().skip(start.len()).all(|byte| byte.is_ascii_digit() || b".Zz+-:".contains(&byte))
}

/// Whether a text is like another in which 0 stands for any digit.
fn has_shape(text: &str, shape: &str) -> bool {
    let shaped = text.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    shaped.eq(shape.bytes())
}

/// What a line is that no format of the access log has.
pub(super) fn own(line: &str) -> Line<'static> {
    let Some(message) = own_message(line) else {
        return if line.trim().is_empty() { Line::Own } else { Line::Unreadable };
    };
    // The words of Envoy's rbac filters: source/extensions/filters/http/rbac/rbac_filter.cc, and the same
    // below network/.
    for (words, shadow) in
        [("enforced denied, matched policy ", false), ("shadow denied, matched policy ", true)]
    {
        if let Some((_, id)) = message.split_once(words) {
            let id = id.split_whitespace().next().unwrap_or_default();
            return match Matched::of(id) {
                // That an authorizer is asked is no decision yet.
                Matched::Rule { custom: true, .. } if shadow => Line::Own,
                matched => Line::Decision { shadow, matched },
            };
        }
    }
    Line::Own
}

/// The message of a line that a proxy or its agent writes about itself: `TIME<TAB>LEVEL<TAB>...` (Istio's
/// logger, which writes Envoy's lines too), `[TIME][THREAD][LEVEL]...` (Envoy by itself), or an object with
/// a level (`--log_as_json`).
fn own_message(line: &str) -> Option<&str> {
    if let Some((time, rest)) = line.split_once('\t') {
        return is_time(time).then_some(rest);
    }
    // Go's own logger: `2026/11/23 21:01:29 INFO ...`.
    if let (Some(time), Some(rest)) = (line.get(..20), line.get(20..))
        && has_shape(time, "0000/00/00 00:00:00 ")
    {
        return Some(rest);
    }
    if let Some((time, rest)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
        let is_time = time.as_bytes().first().is_some_and(u8::is_ascii_digit);
        return (is_time && rest.starts_with('[')).then_some(rest);
    }
    #[derive(Deserialize)]
    struct Logged {
        #[serde(rename = "level")]
        _level: serde::de::IgnoredAny,
    }
    serde_json::from_str::<Logged>(line).ok().map(|_| line)
}
