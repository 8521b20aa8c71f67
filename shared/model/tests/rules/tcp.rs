//! HTTP-only fields on a TCP chain.

use mesh_model::authorization::judge::Verdict::{Allow, Deny};

use crate::support::{AUTO, Mesh, tcp};

const HTTP_ONLY: [&str; 11] = [
    "{to: [{operation: {methods: [GET]}}]}",
    "{to: [{operation: {notMethods: [GET]}}]}",
    "{to: [{operation: {paths: [/a]}}]}",
    "{to: [{operation: {notPaths: [/a]}}]}",
    "{to: [{operation: {hosts: [h]}}]}",
    "{to: [{operation: {notHosts: [h]}}]}",
    "{from: [{source: {requestPrincipals: ['*']}}]}",
    "{from: [{source: {notRequestPrincipals: ['*']}}]}",
    "{when: [{key: 'request.headers[x]', values: ['*']}]}",
    "{when: [{key: 'request.auth.claims[x]', notValues: ['*']}]}",
    "{when: [{key: request.auth.principal, values: ['*']}]}",
];

#[test]
fn an_allow_rule_with_an_http_only_field_is_not_there() {
    for rule in HTTP_ONLY {
        assert_eq!(Mesh::new().allow(rule).any_tcp("client"), Deny, "{rule}");
    }
}

#[test]
fn one_http_only_operation_takes_away_its_pure_siblings_too() {
    let mesh = Mesh::new().allow("{to: [{operation: {ports: ['9090']}}, {operation: {methods: [GET]}}]}");
    assert_eq!(mesh.any_tcp("client"), Deny);
    let mesh =
        Mesh::new().allow("{from: [{source: {namespaces: [shop]}}], to: [{operation: {methods: [GET]}}]}");
    assert_eq!(mesh.any_tcp("client"), Deny);
    let mesh = mesh.allow("{to: [{operation: {ports: ['9090']}}]}");
    assert_eq!(mesh.any_tcp("client"), Allow);
}

#[test]
fn a_deny_rule_loses_its_http_only_conditions_and_denies_more() {
    for rule in HTTP_ONLY {
        assert_eq!(Mesh::new().deny(rule).any_tcp("client"), Deny, "{rule}");
    }
}

#[test]
fn what_is_not_http_only_stays_in_a_deny_rule() {
    let mesh =
        Mesh::new().deny("{from: [{source: {namespaces: [other]}}], to: [{operation: {methods: [GET]}}]}");
    assert_eq!(mesh.any_tcp("client"), Allow);
    assert_eq!(mesh.any_tcp("guest"), Deny);
    let mesh = Mesh::new().deny("{to: [{operation: {paths: [/a], ports: ['9090']}}]}");
    assert_eq!(mesh.any_tcp("client"), Deny);
    assert_eq!(mesh.verdict("client", AUTO, &tcp()), Allow);
}

#[test]
fn one_http_only_operation_makes_a_deny_rule_deny_everything() {
    let mesh = Mesh::new().deny("{to: [{operation: {ports: ['1']}}, {operation: {methods: [GET]}}]}");
    assert_eq!(mesh.any_tcp("client"), Deny);
}

#[test]
fn an_http_provider_is_ignored_and_a_grpc_provider_is_asked() {
    let custom = "{action: CUSTOM, provider: {name: ext}, rules: [{to: [{operation: {paths: [/a]}}]}]}";
    let mesh = Mesh::new().policy(custom);
    let http = Mesh::new().config("extensionProviders: [{name: ext, envoyExtAuthzHttp: {}}]").policy(custom);
    assert_eq!(http.any_tcp("client"), Allow);
    assert_eq!(mesh.any_tcp("client"), Deny);
    let grpc = Mesh::new().config("extensionProviders: [{name: ext, envoyExtAuthzGrpc: {}}]").policy(custom);
    assert_eq!(grpc.any_tcp("client").name(), "unknown");
}

#[test]
fn an_undeclared_port_has_the_tcp_chain_too() {
    let mesh = Mesh::new().deny("{to: [{operation: {methods: [DELETE]}}]}");
    assert_eq!(mesh.verdict("client", 5555, &tcp()), Deny);
}

#[test]
fn the_client_address_is_the_peers() {
    let mesh =
        Mesh::new().allow("{from: [{source: {ipBlocks: [10.0.0.0/8], notRemoteIpBlocks: [10.0.0.0/8]}}]}");
    assert_eq!(mesh.any_tcp("client"), Deny);
}
