//! What differs between versions.

use mesh_model::authorization::judge::Verdict::{Allow, Deny};

use crate::support::{Mesh, http};

fn source(version: &str, source: &str, from: &str) -> bool {
    let rule = format!("{{from: [{{source: {source}}}]}}");
    Mesh::new().version(version).allow(&rule).any_http(from) == Allow
}

#[test]
fn before_1_22_target_refs_and_templates_are_unknown() {
    let refs = "{targetRefs: [{kind: Gateway, name: x}]}";
    assert_eq!(Mesh::new().version("1.21.6").policy(refs).any_http("client"), Deny);
    assert_eq!(Mesh::new().version("1.22.0").policy(refs).any_http("client"), Allow);
    let template = |version: &str| {
        let rule = "{to: [{operation: {paths: ['/a/{*}']}}]}";
        Mesh::new().version(version).allow(rule).lets(&http("GET /a/b"))
    };
    assert!(!template("1.21.6"));
    assert!(template("1.22.0"));
}

#[test]
fn before_1_25_service_accounts_are_dropped() {
    assert!(source("1.24.9", "{serviceAccounts: [nobody]}", "client"));
    assert!(!source("1.25.0", "{serviceAccounts: [nobody]}", "client"));
    let when = "{when: [{key: source.serviceAccount, values: [client]}]}";
    assert_eq!(Mesh::new().version("1.24.9").deny(when).any_http("client"), Allow);
    assert_eq!(Mesh::new().version("1.25.0").deny(when).any_http("client"), Deny);
}

#[test]
fn before_1_30_2_trust_domains_are_dropped() {
    assert!(source("1.30.1", "{trustDomains: [nobody]}", "client"));
    assert!(!source("1.30.2", "{trustDomains: [nobody]}", "client"));
}

#[test]
fn suffixes_of_principals_and_namespaces_were_regular_expressions() {
    for (old, new) in [("1.28.6", "1.28.7"), ("1.29.2", "1.29.3"), ("1.27.99", "1.30.0")] {
        for value in ["{principals: ['*/sa/cl.ent']}", "{namespaces: [sh.p]}"] {
            assert!(source(old, value, "client"), "{old} {value}");
            assert!(!source(new, value, "client"), "{new} {value}");
        }
    }
}

#[test]
fn a_star_at_both_ends_repeated_a_character_in_old_versions() {
    // `*client*` is the regular expression `.*client*`: any number of the last t.
    assert!(source("1.27.0", "{principals: ['*client*']}", "client"));
    assert!(source("1.27.0", "{principals: ['*/clientt*']}", "client"));
    assert!(!source("1.27.0", "{principals: ['*/clie*']}", "client"));
    assert!(!source("1.30.0", "{principals: ['*client*']}", "client"));
}

#[test]
fn names_of_service_accounts_were_regular_expressions() {
    for (old, new) in [("1.27.8", "1.27.9"), ("1.28.5", "1.28.6"), ("1.29.1", "1.29.2")] {
        assert!(source(old, "{serviceAccounts: [cl.ent]}", "client"));
        assert!(!source(new, "{serviceAccounts: [cl.ent]}", "client"));
    }
}

#[test]
fn a_repeated_header_was_one_value_with_commas() {
    let lets = |version: &str, value: &str| {
        let rule = format!("{{when: [{{key: 'request.headers[x]', values: ['{value}']}}]}}");
        Mesh::new().version(version).allow(&rule).lets(&http("GET /").header("x", &["a", "b"]))
    };
    assert!(lets("1.30.0", "b"));
    assert!(!lets("1.30.0", "a,b"));
    assert!(!lets("1.26.0", "b"));
    assert!(lets("1.26.0", "a,b"));
}

#[test]
fn templates_match_more_characters_in_new_envoys() {
    let lets = |version: &str| {
        let rule = "{to: [{operation: {paths: ['/a/{*}']}}]}";
        Mesh::new().version(version).allow(rule).lets(&http("GET /a/b=c"))
    };
    assert!(!lets("1.27.0"));
    assert!(lets("1.30.0"));
}

#[test]
fn request_principals_were_split_at_the_first_slash_in_1_21_0() {
    let lets = |version: &str| {
        let mesh = Mesh::new().version(version).issuers(&["https://i"]);
        mesh.allow("{from: [{source: {requestPrincipals: ['https://i/s']}}]}")
            .lets(&http("GET /").token("{iss: 'https://i', sub: s}"))
    };
    assert!(!lets("1.21.0"));
    assert!(lets("1.21.1"));
}

#[test]
fn the_charts_placeholder_is_not_a_version() {
    // Istio's charts carry 1.0.0 until a release writes its number into them.
    let version = |label: &str, image: &str| {
        let istiod = format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: istiod, namespace: istio-system, \
             labels: {{app: istiod, app.kubernetes.io/version: '{label}'}}}}, \
             spec: {{template: {{spec: {{containers: [{{image: '{image}'}}]}}}}}}}}"
        );
        Mesh::new().with(&istiod).world().profile.version.to_string()
    };
    assert_eq!(version("1.27.3", "pilot:1.28.0"), "1.27.3");
    assert_eq!(version("1.0.0", "pilot:1.28.0"), "1.28.0");
    assert_eq!(version("1.0.0", "pilot:latest"), "1.31.0");
}
