//! Trust domains and their aliases.

use mesh_model::authorization::judge::Verdict::{Allow, Deny};

use crate::support::Mesh;

fn lets(field: &str, value: &str, from: &str) -> bool {
    let mesh = Mesh::new()
        .config("trustDomain: new-td")
        .config("trustDomainAliases: [old-td]")
        .config("caCertificates: [{trustDomains: [partner]}]")
        .allow(&format!("{{from: [{{source: {{{field}: ['{value}']}}}}]}}"));
    match mesh.any_http(from) {
        Allow => true,
        Deny => false,
        other => panic!("{}", other.name()),
    }
}

#[test]
fn callers_present_the_meshs_trust_domain() {
    assert!(lets("principals", "new-td/ns/shop/sa/client", "client"));
}

#[test]
fn a_principal_of_the_mesh_or_an_alias_or_cluster_local_stands_for_all() {
    for written in ["new-td", "old-td", "cluster.local"] {
        for caller in ["new-td", "old-td"] {
            let value = format!("{written}/ns/a/sa/b");
            assert!(lets("principals", &value, &format!("{caller}/ns/a/sa/b")), "{written} {caller}");
        }
    }
}

#[test]
fn fewer_than_five_parts_are_not_expanded() {
    assert!(!lets("principals", "cluster.local/*", "client"));
    assert!(!lets("principals", "cluster.local/ns/shop/*", "client"));
    assert!(lets("principals", "new-td/ns/shop/*", "client"));
    assert!(!lets("principals", "old-td/*", "client"));
    assert!(lets("principals", "*/ns/shop/sa/client", "client"));
}

#[test]
fn a_pattern_that_covers_a_domain_is_kept() {
    assert!(lets("principals", "*-td/ns/shop/sa/client", "client"));
    assert!(lets("principals", "*-td/ns/a/sa/b", "old-td/ns/a/sa/b"));
}

/// Seen in what Istio's builder gives (tests/envoy/record 102).
#[test]
fn what_several_sources_share_is_expanded_again() {
    let lets = |sources: &str| {
        let mesh =
            Mesh::new().config("trustDomain: new-td").config("trustDomainAliases: [old-td]").allow(&format!(
                "{{from: [{sources}], when: [{{key: source.principal, values: ['*w-td/ns/a/sa/b*']}}]}}"
            ));
        mesh.any_http("new-td/ns/a/sa/bc") == Allow
    };
    assert!(!lets("{source: {principals: ['*']}}"));
    assert!(lets("{source: {principals: ['*']}}, {source: {namespaces: [a]}}"));
}

#[test]
fn an_unknown_trust_domain_is_taken_as_written() {
    assert!(lets("principals", "partner/ns/a/sa/b", "partner/ns/a/sa/b"));
    assert!(!lets("principals", "partner/ns/a/sa/b", "new-td/ns/a/sa/b"));
}

#[test]
fn the_handshake_takes_listed_domains_only() {
    assert!(lets("principals", "*", "partner/ns/a/sa/b"));
    assert!(lets("principals", "*", "old-td/ns/a/sa/b"));
    assert!(!lets("principals", "*", "cluster.local/ns/a/sa/b"));
    assert!(!lets("principals", "*", "elsewhere/ns/a/sa/b"));
}

#[test]
fn trust_domains_expand_by_membership_alone() {
    assert!(lets("trustDomains", "old-td", "client"));
    assert!(!lets("trustDomains", "cluster.local", "client"));
    assert!(lets("trustDomains", "new*", "client"));
    assert!(lets("trustDomains", "*td", "client"));
    assert!(lets("trustDomains", "*", "client"));
    assert!(!lets("trustDomains", "partner", "client"));
}

#[test]
fn namespaces_and_service_accounts_do_not_look_at_the_domain() {
    assert!(lets("namespaces", "a", "partner/ns/a/sa/b"));
    assert!(lets("serviceAccounts", "a/b", "partner/ns/a/sa/b"));
}
