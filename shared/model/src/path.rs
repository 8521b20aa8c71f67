//! Path normalization, as the proxy does it before any policy reads the path.
//!
//! Rules: `meshConfig.pathNormalization` (`api/mesh/v1alpha1`), mapped by istiod's
//! `listener_builder.go` to Envoy's `normalize_path`, `merge_slashes` and
//! `path_with_escaped_slashes_action`; the details are measured (tests/envoy/MEASURED.md).

use std::borrow::Cow;

/// `meshConfig.pathNormalization.normalization`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Normalization {
    /// `NONE`: the path as it came.
    None,
    /// `BASE`, also `DEFAULT`: dot segments resolved, `\` as `/`, unreserved characters decoded.
    #[default]
    Base,
    /// `MERGE_SLASHES`: also `//` as `/`.
    MergeSlashes,
    /// `DECODE_AND_MERGE_SLASHES`: `%2F` and `%5C` decoded before all that.
    DecodeAndMergeSlashes,
}

impl Normalization {
    /// Reads the mesh configuration's word; `None` for words that Istio does not know.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "DEFAULT" | "BASE" | "" => Some(Self::Base),
            "NONE" => Some(Self::None),
            "MERGE_SLASHES" => Some(Self::MergeSlashes),
            "DECODE_AND_MERGE_SLASHES" => Some(Self::DecodeAndMergeSlashes),
            _ => None,
        }
    }

    /// The word of the mesh configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Base => "BASE",
            Self::MergeSlashes => "MERGE_SLASHES",
            Self::DecodeAndMergeSlashes => "DECODE_AND_MERGE_SLASHES",
        }
    }

    /// The path that policies see, query included; `None` if the proxy answers 400 before any policy
    /// is asked: no leading slash, a fragment, blanks, control characters or bytes beyond ASCII, and
    /// `%00` in what it has to normalize.
    #[must_use]
    pub fn apply(self, raw: &str) -> Option<Cow<'_, str>> {
        if !raw.starts_with('/') || !raw.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return None;
        }
        if self != Self::None && without_query(raw).contains("%00") {
            return None;
        }
        if self == Self::None || is_plain(raw) {
            return Some(Cow::Borrowed(raw));
        }
        let (path, query) = raw.split_at(raw.find('?').unwrap_or(raw.len()));
        if path.contains("%00") {
            return None;
        }
        let decoded =
            if self == Self::DecodeAndMergeSlashes { decode_slashes(path) } else { path.to_owned() };
        let mut normal = resolve(&decoded);
        if matches!(self, Self::MergeSlashes | Self::DecodeAndMergeSlashes) && normal.contains("//") {
            let end = if normal.ends_with('/') { "/" } else { "" };
            let parts: Vec<&str> = normal.split('/').filter(|part| !part.is_empty()).collect();
            // A path of slashes alone becomes `//`: its first and its last.
            normal = format!("/{}{end}", parts.join("/"));
        }
        normal.push_str(query);
        Some(Cow::Owned(normal))
    }

    /// Whether policies can ever see this path, query included.
    #[must_use]
    pub fn yields(self, path: &str) -> bool {
        let raw = if self == Self::None { path.to_owned() } else { spelled(path) };
        self.apply(&raw).is_some_and(|normal| normal == path)
    }
}

/// How a client sends a path whose encodings are to stay as they are: `%61` as `%%361`, since
/// decoding happens once.
fn spelled(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut spelled = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        spelled.push_str(before);
        spelled.push('%');
        rest = &from[1..];
        if let Some(hex) = rest.get(..2)
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
        {
            let (first, second) = hex.split_at(1);
            spelled.extend(first.bytes().map(|b| format!("%{b:02x}")));
            spelled.push_str(second);
            rest = &rest[2..];
        }
    }
    spelled + rest + query
}

/// The part of `:path` before its query: what `paths` reads.
pub(crate) fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// Whether nothing in the path could change, so that the common case costs one scan.
fn is_plain(raw: &str) -> bool {
    !raw.contains("/.")
        && !raw.contains("//")
        && raw.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.~!$&'()*+,;:@=".contains(&b))
}

fn decode_slashes(path: &str) -> String {
    path.replace("%2F", "/").replace("%2f", "/").replace("%5C", "\\").replace("%5c", "\\")
}

/// Dot segments, backslashes and unreserved characters, as the URL library in Envoy writes them.
fn resolve(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(character) = rest.chars().next() {
        if character == '%' {
            match rest.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                    decoded.push(byte.into());
                    rest = &rest[3..];
                    continue;
                }
                _ => decoded.push('%'),
            }
        } else if character == '\\' {
            decoded.push('/');
        } else if "\"<>^`{|}".contains(character) {
            decoded.push_str(&format!("%{:02X}", u32::from(character)));
        } else {
            decoded.push(character);
        }
        rest = &rest[character.len_utf8()..];
    }
    let body = decoded.strip_prefix('/').unwrap_or(&decoded);
    let mut segments: Vec<&str> = Vec::new();
    let mut pieces = body.split('/').peekable();
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none();
        match piece {
            "." | ".." => {
                if piece == ".." {
                    segments.pop();
                }
                if last {
                    segments.push("");
                }
            }
            _ => segments.push(piece),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(raw: &str) -> String {
        Normalization::Base.apply(raw).unwrap().into_owned()
    }

    #[test]
    fn base_resolves_dot_segments_and_keeps_double_slashes() {
        assert_eq!(base("/a/../b"), "/b");
        assert_eq!(base("/a/./b"), "/a/b");
        assert_eq!(base("/a/b/.."), "/a/");
        assert_eq!(base("/../../a"), "/a");
        assert_eq!(base("/a%2e%2E/b"), "/a../b");
        assert_eq!(base("/a/%2e%2E/b"), "/b");
        assert_eq!(base("/a//b"), "/a//b");
        assert_eq!(base("/a\\b"), "/a/b");
        assert_eq!(base("/%61%7e"), "/a~");
        assert_eq!(base("/public/..%2fprivate"), "/public/..%2fprivate");
        assert_eq!(base("/a?x=/../y"), "/a?x=/../y");
        assert_eq!(base("/%%61%zz%3a"), "/%a%zz%3a");
        assert_eq!(base("/a//../b"), "/a/b");
        assert_eq!(base("/a/..//b"), "//b");
        assert_eq!(base("/{x}|\"^"), "/%7Bx%7D%7C%22%5E");
    }

    #[test]
    fn merging_and_decoding_slashes() {
        let merge = |raw| Normalization::MergeSlashes.apply(raw).unwrap().into_owned();
        let decode = |raw| Normalization::DecodeAndMergeSlashes.apply(raw).unwrap().into_owned();
        assert_eq!(merge("/a///b%2fc"), "/a/b%2fc");
        assert_eq!(decode("/public/..%2fprivate"), "/private");
        assert_eq!(decode("/a%2F%2fb"), "/a/b");
        assert_eq!(merge("//"), "//");
        assert_eq!(merge("///"), "//");
        assert_eq!(merge("///a"), "/a");
        assert_eq!(decode("/%2f"), "//");
    }

    #[test]
    fn none_keeps_everything_and_a_fragment_is_refused() {
        assert_eq!(Normalization::None.apply("/a/../b").unwrap(), "/a/../b");
        assert_eq!(Normalization::Base.apply("/a#b"), None);
        assert_eq!(Normalization::Base.apply("/a%00"), None);
        assert_eq!(Normalization::None.apply("/a%00").unwrap(), "/a%00");
        assert_eq!(Normalization::None.apply("a"), None);
        assert_eq!(Normalization::None.apply("/a b"), None);
    }
}
