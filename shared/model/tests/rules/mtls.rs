//! Which connections a sidecar takes, and with which identity they arrive.

use mesh_model::authorization::judge::Verdict::{self, Allow, Conditional, Deny};

use crate::support::{AUTO, HTTP, Mesh, TCP, http, tcp};

/// Lets only callers with an identity in.
const IDENTITY: &str = "{from: [{source: {principals: ['*']}}]}";
/// Lets only callers without one in.
const ANONYMOUS: &str = "{from: [{source: {notPrincipals: ['*']}}]}";

/// A pod that opens TLS of its own to the server.
fn foreign_tls(mesh: Mesh) -> Mesh {
    mesh.object("DestinationRule", "shop", "own-tls", "{host: server, trafficPolicy: {tls: {mode: SIMPLE}}}")
}

fn arrives(mesh: impl Fn() -> Mesh, from: &str, port: u16) -> [Verdict; 2] {
    let what = if port == TCP { tcp() } else { http("GET /") };
    [IDENTITY, ANONYMOUS].map(|rule| mesh().allow(rule).verdict(from, port, &what))
}

const WITH_IDENTITY: [Verdict; 2] = [Allow, Deny];
const WITHOUT: [Verdict; 2] = [Deny, Allow];
const NOT_AT_ALL: [Verdict; 2] = [Deny, Deny];

#[test]
fn permissive_takes_all_and_is_the_default() {
    for port in [HTTP, TCP, AUTO] {
        assert_eq!(arrives(Mesh::new, "client", port), WITH_IDENTITY);
        assert_eq!(arrives(Mesh::new, "visitor", port), WITHOUT);
        assert_eq!(arrives(|| Mesh::new().mtls("PERMISSIVE"), "visitor", port), WITHOUT);
        assert_eq!(arrives(|| Mesh::new().mtls("UNSET"), "visitor", port), WITHOUT);
    }
}

#[test]
fn strict_refuses_plaintext_before_any_policy() {
    for port in [HTTP, TCP, AUTO] {
        assert_eq!(arrives(|| Mesh::new().mtls("STRICT"), "client", port), WITH_IDENTITY);
        assert_eq!(arrives(|| Mesh::new().mtls("STRICT"), "visitor", port), NOT_AT_ALL);
        assert_eq!(arrives(|| foreign_tls(Mesh::new().mtls("STRICT")), "client", port), NOT_AT_ALL);
    }
}

#[test]
fn under_disable_nobody_has_an_identity() {
    for port in [HTTP, TCP, AUTO] {
        assert_eq!(arrives(|| Mesh::new().mtls("DISABLE"), "client", port), WITHOUT);
        assert_eq!(arrives(|| Mesh::new().mtls("DISABLE"), "visitor", port), WITHOUT);
    }
}

#[test]
fn foreign_tls_is_reset_on_http_and_anonymous_on_tcp() {
    assert_eq!(arrives(|| foreign_tls(Mesh::new()), "client", HTTP), NOT_AT_ALL);
    assert_eq!(arrives(|| foreign_tls(Mesh::new()), "client", TCP), WITHOUT);
}

#[test]
fn the_mesh_is_overridden_by_the_namespace_and_that_by_the_workload() {
    let mesh = |namespace: &str, selector: &str| {
        Mesh::new()
            .object("PeerAuthentication", "istio-system", "mesh", "{mtls: {mode: STRICT}}")
            .object("PeerAuthentication", "shop", "ns", namespace)
            .object("PeerAuthentication", "shop", "own", selector)
            .any_http("anonymous")
    };
    let none = "{selector: {matchLabels: {app: none}}}";
    assert_eq!(mesh("{}", none), Deny);
    assert_eq!(mesh("{mtls: {mode: UNSET}}", none), Deny);
    assert_eq!(mesh("{mtls: {mode: PERMISSIVE}}", none), Allow);
    assert_eq!(mesh("{}", "{selector: {matchLabels: {app: server}}, mtls: {mode: PERMISSIVE}}"), Allow);
    assert_eq!(mesh("{}", "{selector: {matchLabels: {app: server}}}"), Deny);
}

#[test]
fn a_selector_in_the_root_namespace_is_ignored() {
    let mesh = Mesh::new().object(
        "PeerAuthentication",
        "istio-system",
        "x",
        "{selector: {matchLabels: {app: server}}, mtls: {mode: STRICT}}",
    );
    assert_eq!(mesh.any_http("anonymous"), Allow);
}

#[test]
fn port_levels_count_for_the_workloads_port_and_only_with_a_selector() {
    let mesh = |selector: &str, port: u16| {
        Mesh::new()
            .object(
                "PeerAuthentication",
                "shop",
                "x",
                &format!(
                    "{{{selector} mtls: {{mode: STRICT}}, portLevelMtls: {{'{port}': {{mode: PERMISSIVE}}}}}}"
                ),
            )
            .any_http("anonymous")
    };
    let selector = "selector: {matchLabels: {app: server}},";
    assert_eq!(mesh(selector, 8080), Allow);
    assert_eq!(mesh(selector, 80), Deny);
    assert_eq!(mesh("", 8080), Deny);
}

#[test]
fn an_unset_port_level_inherits_the_workloads_mode() {
    let spec = "{selector: {matchLabels: {app: server}}, mtls: {mode: STRICT}, portLevelMtls: {'8080': {mode: UNSET}}}";
    assert_eq!(Mesh::new().object("PeerAuthentication", "shop", "x", spec).any_http("anonymous"), Deny);
}

#[test]
fn of_several_on_one_level_the_oldest_wins_then_the_first_by_name() {
    let policy = |name: &str, created: &str, mode: &str| {
        format!(
            "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, \
             metadata: {{name: {name}, namespace: shop, creationTimestamp: '{created}'}}, spec: {{mtls: {{mode: {mode}}}}}}}"
        )
    };
    let (old, new) = ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
    let mesh = Mesh::new().with(&policy("a", new, "STRICT")).with(&policy("b", old, "PERMISSIVE"));
    assert_eq!(mesh.any_http("anonymous"), Allow);
    let mesh = Mesh::new().with(&policy("a", old, "STRICT")).with(&policy("b", old, "PERMISSIVE"));
    assert_eq!(mesh.any_http("anonymous"), Deny);
}

#[test]
fn foreign_tls_has_its_own_server_name_on_tcp() {
    // Anybody can open TLS with any server name to a port that passes TLS through.
    let sni = "{when: [{key: connection.sni, values: [db.example.com]}]}";
    assert_eq!(foreign_tls(Mesh::new()).allow(sni).any_tcp("client"), Conditional);
    assert_eq!(Mesh::new().allow(sni).any_tcp("anonymous"), Conditional);
    assert_eq!(Mesh::new().mtls("STRICT").allow(sni).any_tcp("anonymous"), Deny);
    assert_eq!(Mesh::new().allow(sni).any_http("anonymous"), Deny);
}

/// The proxy looks for TLS only on ports that have a chain for it.
#[test]
fn server_names_are_not_read_where_mutual_tls_is_disabled() {
    let refused = |mode: &str, way: fn(Mesh) -> Mesh| {
        let mesh = way(Mesh::new().mtls(mode)).deny("{when: [{key: connection.sni, values: [a.example]}]}");
        mesh.verdict("client", TCP, &tcp().sni("a.example")) == Deny
    };
    assert!(refused("PERMISSIVE", foreign_tls));
    assert!(!refused("DISABLE", foreign_tls));
    assert!(!refused("DISABLE", |mesh| mesh));
}

/// A path that the proxy would answer with 400 does not matter within TLS that it passes through.
#[test]
fn paths_within_foreign_tls_are_not_read() {
    let odd = http("GET /a%00b");
    assert_eq!(foreign_tls(Mesh::new()).verdict("client", AUTO, &odd), Allow);
    assert_eq!(Mesh::new().verdict("client", AUTO, &odd), Deny);
}

/// 2.1: a label `istio.io/rev` counts for every kind of policy.
#[test]
fn a_mode_with_a_revision_counts_for_that_revision_only() {
    let strict = |revision: &str| {
        Mesh::new().with(&format!(
            "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, \
             metadata: {{name: r, namespace: shop, labels: {{istio.io/rev: {revision}}}}}, \
             spec: {{mtls: {{mode: STRICT}}}}}}"
        ))
    };
    assert_eq!(strict("default").any_http("anonymous"), Deny);
    assert_eq!(strict("canary").any_http("anonymous"), Allow);
}

/// Forced mutual TLS finds no chain where the port's mode is DISABLE.
#[test]
fn mutual_tls_forced_upon_a_disabled_port_is_foreign_tls() {
    let forced = || {
        Mesh::new().mtls("DISABLE").object(
            "DestinationRule",
            "shop",
            "forced",
            "{host: server, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
        )
    };
    assert_eq!(arrives(forced, "client", HTTP), NOT_AT_ALL);
    assert_eq!(arrives(forced, "client", TCP), WITHOUT);
}
