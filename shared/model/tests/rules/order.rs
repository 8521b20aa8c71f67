//! In which order filters decide, and which of them decide at all.

use mesh_model::authorization::judge::Verdict::{Allow, Conditional, Deny, Unknown};

use crate::support::{Mesh, http};

#[test]
fn without_policies_everything_is_allowed() {
    assert_eq!(Mesh::new().any_http("client"), Allow);
    assert_eq!(Mesh::new().any_http("anonymous"), Allow);
}

#[test]
fn an_allow_policy_refuses_what_no_allow_rule_matches() {
    let mesh = Mesh::new().allow("{to: [{operation: {methods: [GET]}}]}");
    assert!(mesh.lets(&http("GET /")));
    assert!(!mesh.lets(&http("POST /")));
    assert_eq!(mesh.any_http("client"), Conditional);
}

#[test]
fn several_allow_policies_allow_what_any_of_them_does() {
    let mesh = Mesh::new()
        .allow("{to: [{operation: {methods: [GET]}}]}")
        .policy_in("istio-system", "{rules: [{to: [{operation: {methods: [PUT]}}]}]}");
    assert!(mesh.lets(&http("GET /")));
    assert!(mesh.lets(&http("PUT /")));
    assert!(!mesh.lets(&http("POST /")));
}

#[test]
fn deny_comes_before_allow_whatever_the_namespace() {
    let mesh =
        Mesh::new().policy_in("istio-system", "{rules: [{}]}").deny("{to: [{operation: {paths: [/admin]}}]}");
    assert!(mesh.lets(&http("GET /")));
    assert!(!mesh.lets(&http("GET /admin")));
}

#[test]
fn deny_alone_leaves_the_rest_allowed() {
    let mesh = Mesh::new().deny("{to: [{operation: {methods: [DELETE]}}]}");
    assert!(mesh.lets(&http("GET /")));
    assert!(!mesh.lets(&http("DELETE /")));
}

#[test]
fn audit_decides_nothing() {
    let mesh = Mesh::new().policy("{action: AUDIT, rules: [{}]}");
    assert_eq!(mesh.any_http("client"), Allow);
    let mesh = Mesh::new().policy("{}").policy("{action: AUDIT, rules: [{}]}");
    assert_eq!(mesh.any_http("client"), Deny);
}

fn dry_run(value: &str, spec: &str) -> Mesh {
    Mesh::new().with(&format!(
        "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: \
         {{name: dry, namespace: shop, annotations: {{istio.io/dry-run: '{value}'}}}}, spec: {spec}}}"
    ))
}

#[test]
fn a_dry_run_policy_decides_nothing_and_creates_no_implicit_deny() {
    for value in ["true", "1", "t", "T", "TRUE", "True"] {
        assert_eq!(dry_run(value, "{}").any_http("client"), Allow);
        assert_eq!(dry_run(value, "{action: DENY, rules: [{}]}").any_http("client"), Allow);
    }
    for value in ["false", "yes", "tRuE", ""] {
        assert_eq!(dry_run(value, "{}").any_http("client"), Deny);
    }
}

const PROVIDER: &str =
    "extensionProviders: [{name: ext, envoyExtAuthzGrpc: {}}, {name: two, envoyExtAuthzGrpc: {}}]";

#[test]
fn what_a_custom_provider_says_is_not_known() {
    let custom = "{action: CUSTOM, provider: {name: ext}, rules: [{to: [{operation: {paths: [/ext]}}]}]}";
    let mesh = Mesh::new().config(PROVIDER).policy(custom);
    assert_eq!(mesh.verdict("client", 8080, &http("GET /ext")), Unknown);
    assert!(mesh.lets(&http("GET /")));
    assert_eq!(mesh.any_http("client"), Conditional);
    let mesh = mesh.deny("{to: [{operation: {paths: [/ext]}}]}");
    assert!(!mesh.lets(&http("GET /ext")));
}

#[test]
fn a_custom_provider_that_is_not_defined_refuses_what_matches() {
    let custom = "{action: CUSTOM, provider: {name: no}, rules: [{to: [{operation: {paths: [/ext]}}]}]}";
    let mesh = Mesh::new().config(PROVIDER).policy(custom);
    assert!(!mesh.lets(&http("GET /ext")));
    assert!(mesh.lets(&http("GET /")));
}

#[test]
fn several_custom_providers_on_a_workload_refuse_what_matches() {
    let custom = |name: &str, path: &str| {
        format!(
            "{{action: CUSTOM, provider: {{name: {name}}}, rules: [{{to: [{{operation: {{paths: [{path}]}}}}]}}]}}"
        )
    };
    let mesh = Mesh::new().config(PROVIDER).policy(&custom("ext", "/ext")).policy(&custom("two", "/two"));
    assert!(!mesh.lets(&http("GET /ext")));
    assert!(!mesh.lets(&http("GET /two")));
    assert!(mesh.lets(&http("GET /")));
}

#[test]
fn custom_runs_before_tokens_are_read() {
    let custom =
        "{action: CUSTOM, provider: {name: ext}, rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}";
    let mesh = Mesh::new().config(PROVIDER).issuers(&["i"]).policy(custom);
    assert!(mesh.lets(&http("GET /").token("{iss: i, sub: s}")));
}

#[test]
fn the_rule_that_is_named_is_the_first_in_the_order_of_strings() {
    let rules = ["{}"; 11].join(", ");
    let other = "{to: [{operation: {methods: [PUT]}}]}";
    let mesh = Mesh::new().policy(&format!("{{action: DENY, rules: [{other}, {other}, {rules}]}}"));
    assert!(mesh.decided_by(&http("GET /")).unwrap().contains("10"));
}
