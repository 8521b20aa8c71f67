//! What a rule matches.

use mesh_model::authorization::judge::Verdict::{Allow, Deny};

use crate::support::{Mesh, http};

#[test]
fn any_rule_and_any_source_and_any_operation_and_every_condition() {
    let mesh = Mesh::new().allow(
        "{from: [{source: {namespaces: [other]}}, {source: {namespaces: [shop]}}], \
          to: [{operation: {methods: [GET]}}, {operation: {methods: [PUT]}}], \
          when: [{key: 'request.headers[a]', values: ['1']}, {key: 'request.headers[b]', values: ['2']}]}, \
         {to: [{operation: {paths: [/open]}}]}",
    );
    let both = |line: &str| http(line).header("a", &["1"]).header("b", &["2"]);
    assert!(mesh.lets(&both("GET /")));
    assert!(mesh.lets(&both("PUT /")));
    assert!(!mesh.lets(&both("POST /")));
    assert!(!mesh.lets(&http("GET /").header("a", &["1"])));
    assert!(mesh.lets(&http("POST /open")));
}

#[test]
fn fields_of_one_source_hold_together() {
    let mesh = Mesh::new().allow("{from: [{source: {namespaces: [shop], ipBlocks: [10.0.0.0/8]}}]}");
    assert!(mesh.lets(&http("GET /")));
    assert!(!mesh.lets(&http("GET /").ip("192.168.0.1")));
}

#[test]
fn values_and_not_values_hold_together() {
    let mesh = Mesh::new().allow("{to: [{operation: {paths: [/a/*], notPaths: [/a/x, /a/y*]}}]}");
    assert!(mesh.lets(&http("GET /a/b")));
    assert!(!mesh.lets(&http("GET /a/x")));
    assert!(!mesh.lets(&http("GET /a/yz")));
    assert!(!mesh.lets(&http("GET /b")));
}

#[test]
fn an_empty_rule_matches_everything() {
    assert_eq!(Mesh::new().allow("{}").any_http("anonymous"), Allow);
    assert_eq!(Mesh::new().deny("{}").any_http("client"), Deny);
}

#[test]
fn without_rules_a_policy_matches_nothing() {
    for spec in ["{}", "{rules: []}", "{rules: null}"] {
        assert_eq!(Mesh::new().policy(spec).any_http("client"), Deny);
    }
    assert_eq!(Mesh::new().policy("{action: DENY}").any_http("client"), Allow);
    assert_eq!(Mesh::new().policy("{}").allow("{}").any_http("client"), Allow);
}

#[test]
fn an_empty_source_or_operation_is_any_and_a_null_rule_is_skipped() {
    for rule in ["{from: []}", "{from: [{source: {}}]}", "{to: []}", "{to: [{operation: {}}]}", "{to: [{}]}"]
    {
        assert_eq!(Mesh::new().deny(rule).any_http("client"), Deny, "{rule}");
    }
    assert_eq!(Mesh::new().deny("null").any_http("client"), Allow);
    assert_eq!(Mesh::new().allow("null").any_http("client"), Deny);
}

#[test]
fn a_condition_without_values_is_no_condition() {
    assert_eq!(Mesh::new().deny("{when: [{key: source.namespace}]}").any_http("client"), Deny);
}

#[test]
fn an_unknown_key_takes_the_rule_away_for_every_action() {
    let when = "{when: [{key: source.names, values: [x]}]}";
    assert_eq!(Mesh::new().deny(when).any_http("client"), Allow);
    assert_eq!(Mesh::new().allow(when).any_http("client"), Deny);
}

#[test]
fn a_value_that_cannot_be_read_takes_an_allow_rule_away() {
    for rule in [
        "{to: [{operation: {ports: [http, '8080']}}]}",
        "{to: [{operation: {notPorts: ['70000']}}]}",
        "{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}",
        "{from: [{source: {remoteIpBlocks: [10.0.0]}}]}",
        "{when: [{key: 'request.headers[x', values: [v]}]}",
    ] {
        assert_eq!(Mesh::new().allow(rule).any_http("client"), Deny, "{rule}");
    }
}

#[test]
fn a_value_that_cannot_be_read_widens_a_deny_rule() {
    for rule in [
        "{to: [{operation: {ports: [http]}}]}",
        "{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}",
        "{when: [{key: 'request.headers[x', values: [v]}]}",
    ] {
        assert_eq!(Mesh::new().deny(rule).any_http("client"), Deny, "{rule}");
    }
    let some_left = Mesh::new().deny("{to: [{operation: {ports: [http, '9090']}}]}");
    assert_eq!(some_left.any_http("client"), Allow);
    assert_eq!(some_left.any_tcp("client"), Deny);
}

#[test]
fn claims_without_brackets_never_match() {
    let when = "{when: [{key: request.auth.claims, values: ['*']}]}";
    let mesh = Mesh::new().issuers(&["i"]).allow(when);
    assert!(!mesh.lets(&http("GET /").token("{iss: i, sub: s}")));
    assert_eq!(mesh.any_http("client"), Deny);
    assert_eq!(Mesh::new().issuers(&["i"]).deny(when).any_http("client"), Allow);
}

#[test]
fn a_policy_that_istiod_cannot_read_is_not_there() {
    assert_eq!(Mesh::new().policy("{action: allow}").any_http("client"), Allow);
    assert_eq!(Mesh::new().allow("{to: [{operation: {ports: [8080]}}]}").any_http("client"), Allow);
}
