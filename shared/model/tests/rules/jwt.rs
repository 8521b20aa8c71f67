//! Tokens.

use mesh_model::authorization::judge::Verdict::{Allow, Conditional, Deny};

use crate::support::{Mesh, http};

fn principal(value: &str, token: &str) -> bool {
    let rule = format!("{{from: [{{source: {{requestPrincipals: ['{value}']}}}}]}}");
    let other = format!("{{when: [{{key: request.auth.principal, values: ['{value}']}}]}}");
    let issuers = ["https://i/x", "i", "i/a", "i2"];
    let lets = |rule: &str| Mesh::new().issuers(&issuers).allow(rule).lets(&http("GET /").token(token));
    assert_eq!(lets(&rule), lets(&other));
    lets(&rule)
}

#[test]
fn a_principal_is_split_at_its_last_slash() {
    assert!(principal("https://i/x/s", "{iss: 'https://i/x', sub: s}"));
    assert!(principal("i/a/b", "{iss: i/a, sub: b}"));
    assert!(!principal("i/a/b", "{iss: i, sub: a/b}"));
}

#[test]
fn wildcards_of_principals() {
    let token = "{iss: 'https://i/x', sub: subject}";
    for value in ["*", "*/subject", "*i/x/subject", "*ject", "https://i/x/sub*", "https://i/x/*"] {
        assert!(principal(value, token), "{value}");
    }
    for value in ["*/sub", "*j/subject", "*jec", "https://i/x/sup*", "https://i/*", "https://i/x/subject/"] {
        assert!(!principal(value, token), "{value}");
    }
    // Without a slash, a trailing star is about the issuer.
    assert!(principal("i*", "{iss: i2, sub: s}"));
    assert!(principal("i/*", "{iss: i, sub: a/b}"));
    assert!(principal("*b", "{iss: i, sub: a/b}"));
}

#[test]
fn a_bare_issuer_means_an_empty_subject() {
    assert!(!principal("i", "{iss: i, sub: s}"));
    assert!(!principal("i", "{iss: i}"));
    assert!(principal("i", "{iss: i, sub: ''}"));
    assert!(principal("i/", "{iss: i, sub: ''}"));
}

#[test]
fn any_principal_needs_issuer_and_subject() {
    assert!(!principal("*", "{iss: i}"));
    assert!(!principal("*", "{iss: i, sub: ''}"));
}

#[test]
fn without_a_request_authentication_there_is_no_token() {
    let token = http("GET /").token("{iss: i, sub: s}");
    let require = "{from: [{source: {requestPrincipals: ['*']}}]}";
    let refuse = "{from: [{source: {notRequestPrincipals: ['*']}}]}";
    assert!(!Mesh::new().allow(require).lets(&token));
    assert!(!Mesh::new().deny(refuse).lets(&token));
    assert_eq!(Mesh::new().allow(require).any_http("client"), Deny);
    assert_eq!(Mesh::new().deny(refuse).any_http("client"), Deny);
    assert!(Mesh::new().issuers(&["i"]).allow(require).lets(&token));
    assert_eq!(Mesh::new().issuers(&["i"]).allow(require).any_http("client"), Conditional);
}

#[test]
fn no_token_passes_and_one_of_an_unknown_issuer_does_not() {
    let mesh = Mesh::new().issuers(&["i"]);
    assert!(mesh.lets(&http("GET /")));
    assert!(mesh.lets(&http("GET /").token("{iss: i}")));
    assert!(!mesh.lets(&http("GET /").token("{iss: other}")));
    assert!(!mesh.lets(&http("GET /").token("{sub: s}")));
    assert_eq!(mesh.any_http("client"), Allow);
}

#[test]
fn all_request_authentications_count_together() {
    let root = "{jwtRules: [{issuer: root}]}";
    let mesh = Mesh::new().issuers(&["own"]).object("RequestAuthentication", "istio-system", "r", root);
    assert!(mesh.lets(&http("GET /").token("{iss: own}")));
    assert!(mesh.lets(&http("GET /").token("{iss: root}")));
    let elsewhere = Mesh::new().object("RequestAuthentication", "other", "r", root);
    let require = "{from: [{source: {requestPrincipals: ['*']}}]}";
    assert_eq!(elsewhere.allow(require).any_http("client"), Deny);
}

#[test]
fn a_provider_with_audiences_wants_one_of_them() {
    let rules = "{jwtRules: [{issuer: i, audiences: [a, b]}]}";
    let mesh = || Mesh::new().object("RequestAuthentication", "shop", "r", rules);
    assert!(mesh().lets(&http("GET /").token("{iss: i, aud: [x, b]}")));
    assert!(!mesh().lets(&http("GET /").token("{iss: i, aud: [x]}")));
    assert!(!mesh().lets(&http("GET /").token("{iss: i}")));
    let no_a = mesh().deny("{when: [{key: request.auth.audiences, values: [a, b]}]}");
    assert_eq!(no_a.allow("{from: [{source: {requestPrincipals: ['*']}}]}").any_http("client"), Deny);
}

#[test]
fn a_token_elsewhere_than_providers_look_is_none() {
    let rules = "{jwtRules: [{issuer: i, fromHeaders: [{name: x-token}]}]}";
    let mesh = Mesh::new().object("RequestAuthentication", "shop", "r", rules);
    assert!(mesh.lets(&http("GET /").token("{iss: other}")));
}

fn claim(key: &str, value: &str, token: &str) -> bool {
    let rule = format!("{{when: [{{key: '{key}', values: ['{value}']}}]}}");
    Mesh::new().issuers(&["i"]).allow(&rule).lets(&http("GET /").token(&format!("{{iss: i, {token}}}")))
}

#[test]
fn claims_are_strings_or_lists_of_strings() {
    let role = "request.auth.claims[role]";
    assert!(claim(role, "admin", "role: admin"));
    assert!(claim(role, "admin", "role: [user, admin]"));
    assert!(claim(role, "*", "role: [user]"));
    for payload in [
        "role: 1",
        "role: true",
        "role: null",
        "role: {admin: admin}",
        "role: [[admin]]",
        "role: ''",
        "role: []",
    ] {
        assert!(!claim(role, "*", payload), "{payload}");
    }
    assert!(claim("request.auth.claims[n][a]", "v", "n: {a: v}"));
    assert!(!claim("request.auth.claims[n][a]", "v", "n: [{a: v}]"));
    assert!(claim("request.auth.claims[a.b]", "v", "a.b: v"));
    assert!(!claim("request.auth.claims[a.b]", "v", "a: {b: v}"));
}

#[test]
fn scope_and_permission_are_split_at_blanks() {
    for name in ["scope", "permission"] {
        let key = format!("request.auth.claims[{name}]");
        assert!(claim(&key, "read", &format!("{name}: 'write  read'")));
        assert!(!claim(&key, "write read", &format!("{name}: 'write read'")));
        assert!(claim(&key, "write read", &format!("{name}: ['write read']")));
        assert!(!claim(&key, "*", &format!("{name}: '  '")));
    }
    assert!(!claim("request.auth.claims[roles]", "read", "roles: 'write read'"));
}

#[test]
fn audiences_and_presenter() {
    assert!(claim("request.auth.audiences", "a", "aud: a"));
    assert!(claim("request.auth.audiences", "a", "aud: [b, a]"));
    assert!(claim("request.auth.presenter", "p", "azp: p"));
    assert!(!claim("request.auth.presenter", "*", "azp: ''"));
}

#[test]
fn a_preflight_without_a_token_fails_rules_that_want_one() {
    let mesh = Mesh::new().issuers(&["i"]).allow("{from: [{source: {requestPrincipals: ['*']}}]}");
    assert!(!mesh.lets(&http("OPTIONS /").header("origin", &["https://o"])));
}

#[test]
fn a_claim_is_not_a_string_and_an_object_at_once() {
    let both = "{when: [{key: 'request.auth.claims[a]', values: [x]}, {key: 'request.auth.claims[a][b]', values: [z]}]}";
    assert_eq!(Mesh::new().issuers(&["i"]).allow(both).any_http("client"), Deny);
}
