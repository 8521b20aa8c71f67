//! Fields and the syntax of their values.

use mesh_model::authorization::judge::Verdict::{Allow, Conditional, Deny};

use crate::support::{Mesh, What, http, tcp};

fn to(operation: &str) -> Mesh {
    Mesh::new().allow(&format!("{{to: [{{operation: {operation}}}]}}"))
}

fn from(source: &str) -> Mesh {
    Mesh::new().allow(&format!("{{from: [{{source: {source}}}]}}"))
}

fn when(key: &str, values: &str) -> Mesh {
    Mesh::new().allow(&format!("{{when: [{{key: '{key}', {values}}}]}}"))
}

#[test]
fn a_star_leads_or_trails_or_is_a_character() {
    let lets =
        |value: &str, path: &str| to(&format!("{{paths: ['{value}']}}")).lets(&http(&format!("GET {path}")));
    assert!(lets("*", "/a"));
    assert!(lets("*/a", "/x/a"));
    assert!(!lets("*/a", "/x/ab"));
    assert!(lets("/a*", "/ab"));
    assert!(!lets("/a/*", "/a"));
    assert!(lets("/a", "/a"));
    // The first test wins: a suffix with a star in it, and an exact value with one.
    assert!(!lets("*a*", "/xax"));
    assert!(lets("*a*", "/xa*"));
    assert!(!lets("/a*b", "/axb"));
    assert!(lets("/a*b", "/a*b"));
    assert!(lets("/A", "/A") && !lets("/A", "/a"));
}

#[test]
fn what_is_absent_matches_no_value_and_every_negation() {
    let x = "request.headers[x]";
    assert!(!when(x, "values: ['*']").lets(&http("GET /")));
    assert!(when(x, "notValues: ['*']").lets(&http("GET /")));
    assert!(when(x, "notValues: [a]").lets(&http("GET /")));
    assert_eq!(from("{principals: ['*']}").any_http("anonymous"), Deny);
    assert_eq!(from("{notPrincipals: ['*']}").any_http("anonymous"), Allow);
    assert_eq!(from("{notNamespaces: [shop]}").any_http("anonymous"), Allow);
    assert_eq!(from("{notServiceAccounts: [client]}").any_http("anonymous"), Allow);
}

#[test]
fn principals() {
    let lets = |value: &str| from(&format!("{{principals: ['{value}']}}")).any_http("client") == Allow;
    assert!(lets("cluster.local/ns/shop/sa/client"));
    assert!(lets("*"));
    assert!(lets("cluster.local/ns/shop/*"));
    assert!(lets("*/sa/client"));
    assert!(!lets("spiffe://cluster.local/ns/shop/sa/client"));
    assert!(!lets("cluster.local/ns/shop/sa/Client"));
    assert!(!lets("*/ns/shop/*"));
}

#[test]
fn namespaces() {
    let lets = |value: &str| from(&format!("{{namespaces: ['{value}']}}")).any_http("client") == Allow;
    assert!(lets("shop"));
    assert!(lets("*"));
    assert!(lets("s*"));
    assert!(lets("*op"));
    assert!(lets("s*p"));
    assert!(!lets("sho"));
    assert!(!lets("s.op"));
}

#[test]
fn service_accounts() {
    let lets = |value: &str, from_: &str| {
        from(&format!("{{serviceAccounts: ['{value}']}}")).any_http(from_) == Allow
    };
    assert!(lets("shop/client", "client"));
    // Without a namespace it is the policy's.
    assert!(lets("client", "client"));
    assert!(!lets("guest", "guest"));
    assert!(lets("other/guest", "guest"));
    // No wildcards; more path segments are fine.
    assert!(!lets("shop/*", "client"));
    assert!(!lets("shop/clien", "client"));
    assert!(lets("shop/client", "cluster.local/ns/shop/x/sa/client/y"));
    let root =
        Mesh::new().policy_in("istio-system", "{rules: [{from: [{source: {serviceAccounts: [client]}}]}]}");
    assert_eq!(root.any_http("client"), Deny);
}

#[test]
fn ip_blocks() {
    let lets =
        |block: &str, ip: &str| from(&format!("{{ipBlocks: ['{block}']}}")).lets(&http("GET /").ip(ip));
    assert!(lets("10.1.0.0/16", "10.1.2.3"));
    assert!(!lets("10.1.0.0/16", "10.2.2.3"));
    assert!(lets("10.1.2.3", "10.1.2.3"));
    assert!(lets("10.1.9.9/16", "10.1.2.3"));
    assert!(lets("0.0.0.0/0", "10.1.2.3"));
    assert!(!lets("::/0", "10.1.2.3"));
    assert!(lets("2001:db8::/32", "2001:db8::1"));
    assert!(!lets("::ffff:10.1.2.3", "10.1.2.3"));
    assert!(when("source.ip", "values: [10.1.0.0/16]").lets(&http("GET /").ip("10.1.2.3")));
}

#[test]
fn remote_ip_blocks_can_be_forged_by_a_header() {
    let mesh = from("{remoteIpBlocks: [1.2.3.4]}");
    assert!(mesh.lets(&http("GET /").remote("1.2.3.4")));
    assert!(!mesh.lets(&http("GET /").ip("1.2.3.4")));
    assert_eq!(mesh.any_http("client"), Conditional);
    assert_eq!(when("remote.ip", "values: [1.2.3.4]").any_http("client"), Conditional);
}

#[test]
fn methods_are_compared_with_case() {
    assert!(to("{methods: [GET]}").lets(&http("GET /")));
    assert!(!to("{methods: [get]}").lets(&http("GET /")));
    assert!(to("{methods: ['P*']}").lets(&http("PUT /")));
    assert!(to("{methods: ['*T']}").lets(&http("PUT /")));
}

#[test]
fn hosts_are_compared_without_case_and_with_their_port() {
    let lets =
        |value: &str, host: &str| to(&format!("{{hosts: ['{value}']}}")).lets(&http("GET /").host(host));
    assert!(lets("Shop.example", "shop.EXAMPLE"));
    assert!(!lets("shop.example", "shop.example:80"));
    assert!(!lets("shop.example", "shop.example."));
    assert!(lets("shop.example*", "shop.example:80"));
    assert!(lets("*.example", "SHOP.EXAMPLE"));
    assert!(lets("*", ""));
}

#[test]
fn path_templates() {
    let lets =
        |value: &str, path: &str| to(&format!("{{paths: ['{value}']}}")).lets(&http(&format!("GET {path}")));
    for (template, yes, no) in [
        ("/{*}", "/a", "/"),
        ("/{*}", "/a", "/a/"),
        ("/a/{*}", "/a/b", "/a"),
        ("/a/{*}", "/a/b%2fc", "/a/b/c"),
        ("/a/{**}", "/a/", "/a"),
        ("/a/{**}", "/a/b/c", "/b/a/"),
        ("/a/{**}/c", "/a//c", "/a/c"),
        ("/a/{**}/c", "/a/b/x/c", "/a/b/x"),
        ("/a/{*}/", "/a/b/", "/a//"),
        ("/a/{*}/b/{**}", "/a/x/b/", "/a/x/y/b/"),
    ] {
        assert!(lets(template, yes), "{template} {yes}");
        assert!(!lets(template, no), "{template} {no}");
    }
    assert!(!lets("/a/{*}", "/a/b[c"));
    assert!(!lets("/a/{x}", "/a/b"));
}

#[test]
fn grpc_methods_are_posts_to_their_path() {
    assert!(to("{methods: [POST], paths: [/pkg.Service/Method]}").lets(&http("POST /pkg.Service/Method")));
}

#[test]
fn headers() {
    let lets = |value: &str, lines: &[&str]| {
        when("request.headers[X-A]", &format!("values: ['{value}']"))
            .lets(&http("GET /").header("x-a", lines))
    };
    assert!(lets("v", &["v"]));
    assert!(!lets("v", &["V"]));
    assert!(lets("*", &[""]));
    assert!(lets("v*", &["vw"]));
    assert!(lets("*w", &["vw"]));
    assert!(lets("v", &["u", "v"]));
    assert!(!lets("u,v", &["u", "v"]));
    assert!(!lets("u", &["u,v"]));
    let not = when("request.headers[x-a]", "notValues: [v]");
    assert!(!not.lets(&http("GET /").header("x-a", &["u", "v"])));
    assert!(not.lets(&http("GET /").header("x-a", &["u"])));
}

#[test]
fn header_values_beyond_ascii_can_be_sent() {
    assert_eq!(when("request.headers[x]", "values: [Zoë]").any_http("client"), Conditional);
}

#[test]
fn header_names_with_an_underscore_are_names_like_others() {
    assert_eq!(when("request.headers[x_a]", "values: ['*']").any_http("client"), Conditional);
    assert!(!when("request.headers[x_a]", "values: ['*']").lets(&http("GET /").header("x-a", &["v"])));
}

#[test]
fn the_header_connection_is_seen_in_upgrades() {
    assert_eq!(when("request.headers[connection]", "values: ['*']").any_http("client"), Conditional);
    assert_eq!(when("request.headers[keep-alive]", "values: ['*']").any_http("client"), Deny);
}

#[test]
fn pseudo_headers() {
    assert!(when("request.headers[:method]", "values: [GET]").lets(&http("GET /")));
    assert!(when("request.headers[:path]", "values: ['/a?b']").lets(&http("GET /x/../a?b")));
    assert!(when("request.headers[:authority]", "values: [h]").lets(&http("GET /").host("h")));
    assert_ne!(
        when("request.headers[:scheme]", "values: [http]").verdict("client", 8080, &http("GET /")),
        Deny
    );
    // The header `host` is the authority, here with case.
    assert!(when("request.headers[host]", "values: [h]").lets(&http("GET /").host("h")));
    assert!(!when("request.headers[host]", "values: [H]").lets(&http("GET /").host("h")));
}

#[test]
fn values_and_not_values_of_a_condition_hold_together() {
    let lets = |what: &What| when("request.headers[x]", "values: ['a*'], notValues: [ab]").lets(what);
    assert!(lets(&http("GET /").header("x", &["ac"])));
    assert!(!lets(&http("GET /").header("x", &["ab"])));
    assert!(!lets(&http("GET /")));
}

#[test]
fn server_names_arrive_in_lower_case() {
    let lets = |value: &str, name: &str| {
        let mesh = when("connection.sni", &format!("values: ['{value}']"));
        mesh.verdict("client", 9090, &tcp().sni(name)) == Allow
    };
    assert!(lets("a.example", "a.example"));
    assert!(lets("a.example", "A.Example"));
    assert!(!lets("A.example", "A.example"));
    assert!(lets("*.example", "a.example"));
    assert_eq!(when("connection.sni", "values: [A.example]").any_tcp("client"), Deny);
}

#[test]
fn destination_port_and_address() {
    assert_eq!(when("destination.port", "values: ['8080']").any_http("client"), Allow);
    assert_eq!(when("destination.port", "notValues: ['8080']").any_http("client"), Deny);
    assert_eq!(when("destination.ip", "values: [10.0.0.0/8]").any_http("client"), Conditional);
}

#[test]
fn dynamic_metadata_is_not_known() {
    let key = "experimental.envoy.filters.x[y]";
    assert_eq!(when(key, "values: [v]").any_http("client").name(), "unknown");
    assert_eq!(when(key, "notValues: [v]").any_http("client").name(), "unknown");
}
