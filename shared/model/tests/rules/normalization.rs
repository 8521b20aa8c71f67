//! Paths before policies see them.

use crate::support::{Mesh, http};

/// Whether an exact ALLOW rule on `seen` lets a request for `sent` through.
fn arrives(normalization: &str, sent: &str, seen: &str) -> bool {
    Mesh::new()
        .config(&format!("pathNormalization: {{normalization: {normalization}}}"))
        .allow(&format!("{{to: [{{operation: {{paths: ['{seen}']}}}}]}}"))
        .lets(&http(&format!("GET {sent}")))
}

#[test]
fn base_is_the_default_and_resolves_dots_and_unreserved_encodings() {
    for mode in ["DEFAULT", "BASE"] {
        assert!(arrives(mode, "/a/../b", "/b"));
        assert!(arrives(mode, "/a/%2e%2E/b", "/b"));
        assert!(arrives(mode, "/a\\b", "/a/b"));
        assert!(arrives(mode, "/%61%7e", "/a~"));
        assert!(arrives(mode, "/a//b", "/a//b"));
        assert!(arrives(mode, "/a%2Fb", "/a%2Fb"));
        assert!(!arrives(mode, "/a%2fb", "/a%2Fb"));
    }
    assert!(Mesh::new().allow("{to: [{operation: {paths: [/b]}}]}").lets(&http("GET /a/../b")));
}

#[test]
fn under_base_an_encoded_slash_hides_a_dot_segment() {
    let mesh = Mesh::new().allow("{to: [{operation: {paths: ['/public/*']}}]}");
    assert!(mesh.lets(&http("GET /public/..%2fprivate")));
}

#[test]
fn none_takes_the_path_as_it_came() {
    assert!(arrives("NONE", "/a/../b", "/a/../b"));
    assert!(arrives("NONE", "/%61", "/%61"));
    assert!(!arrives("NONE", "/%61", "/a"));
}

#[test]
fn merging_slashes() {
    assert!(arrives("MERGE_SLASHES", "/a///b", "/a/b"));
    assert!(arrives("MERGE_SLASHES", "/a%2fb", "/a%2fb"));
    assert!(arrives("MERGE_SLASHES", "//", "//"));
    assert!(arrives("MERGE_SLASHES", "///a", "/a"));
}

#[test]
fn decoding_and_merging_slashes() {
    let mode = "DECODE_AND_MERGE_SLASHES";
    assert!(arrives(mode, "/a%2Fb%5cc", "/a/b/c"));
    assert!(arrives(mode, "/public/..%2fprivate", "/private"));
}

#[test]
fn the_query_is_not_part_of_the_path() {
    assert!(arrives("BASE", "/a?b=/../c", "/a"));
    assert!(!arrives("BASE", "/a%3fb", "/a"));
}

#[test]
fn some_paths_are_refused_before_any_policy() {
    let open = Mesh::new();
    for path in ["/a#b", "/a?b#c", "a", "?a", "/a b", "/é", "/a%00b"] {
        assert!(!open.lets(&http(&format!("GET {path}"))), "{path}");
    }
    let none = Mesh::new().config("pathNormalization: {normalization: NONE}");
    assert!(none.lets(&http("GET /a%00b")));
    assert!(!none.lets(&http("GET /a#b")));
}

#[test]
fn percent_decoding_happens_once_so_encodings_can_be_made() {
    assert!(arrives("BASE", "/%%361", "/%61"));
    let mesh = Mesh::new().allow("{to: [{operation: {paths: ['/%61']}}]}");
    assert_eq!(mesh.any_http("client").name(), "conditional");
}
