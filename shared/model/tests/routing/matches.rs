//! Which route takes a request: `BuildHTTPRoutesForVirtualService` and `sourceMatchHTTP` in
//! `pilot/pkg/networking/core/route/route.go`.

use crate::support::{Mesh, TO_ALL, TO_V1, TO_V2, way, with_header};

fn routes(routes: &str) -> Mesh {
    Mesh::new().subsets("shop/rule", 1, &["v1", "v2"], "").virtual_service("shop/a", routes)
}

#[test]
fn the_first_that_matches_is_taken() {
    let mesh = routes(&format!(
        "{{match: [{{uri: {{prefix: /api}}}}], route: [{TO_V1}]}}, {{match: [{{uri: {{exact: /api/x}}}}], route: [{TO_V2}]}}"
    ));
    assert_eq!(mesh.way("client", "server/api/x?q"), "Routed shop/a server.shop:80/v1=1");
}

#[test]
fn no_catch_all_gives_404() {
    let mesh = routes(&format!("{{match: [{{uri: {{prefix: /api}}}}], route: [{TO_ALL}]}}"));
    assert_eq!(mesh.way("client", "server/other"), "NotFound shop/a");
}

#[test]
fn a_404_names_the_routes_that_did_not_match() {
    let mesh = routes(&format!("{{name: api, match: [{{uri: {{prefix: /api}}}}], route: [{TO_ALL}]}}"));
    let missed = |answer: &mesh_model::routing::resolve::Resolution<'_>| {
        answer.missed.iter().map(|route| route.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(mesh.ask("client", &crate::support::request("server/"), missed), ["api"]);
    assert!(mesh.ask("client", &crate::support::request("server/api"), missed).is_empty());
}

#[test]
fn a_route_without_match_ends_the_list() {
    let mesh =
        routes(&format!("{{route: [{TO_V1}]}}, {{match: [{{uri: {{prefix: /api}}}}], route: [{TO_V2}]}}"));
    assert_eq!(mesh.way("client", "server/api"), "Routed shop/a server.shop:80/v1=1");
}

#[test]
fn source_labels_that_the_caller_lacks_fall_through() {
    let mesh = routes(&format!(
        "{{match: [{{sourceLabels: {{app: web}}}}], route: [{TO_V2}]}}, {{route: [{TO_V1}]}}"
    ));
    assert_eq!(mesh.way("client", "server"), "Routed shop/a server.shop:80/v1=1");
}

#[test]
fn source_labels_that_the_caller_has_take_it() {
    let mesh = routes(&format!(
        "{{match: [{{sourceLabels: {{app: client}}}}], route: [{TO_V2}]}}, {{route: [{TO_V1}]}}"
    ));
    assert_eq!(mesh.way("client", "server"), "Routed shop/a server.shop:80/v2=1");
}

#[test]
fn a_source_namespace_leaves_out_the_others() {
    let mesh =
        routes(&format!("{{match: [{{sourceNamespace: shop}}], route: [{TO_V2}]}}, {{route: [{TO_V1}]}}"));
    assert_eq!(mesh.way("guest", "server.shop"), "Routed shop/a server.shop:80/v1=1");
}

#[test]
fn without_a_route_for_the_caller_the_service_has_its_own() {
    let mesh = routes(&format!("{{match: [{{sourceLabels: {{app: web}}}}], route: [{TO_V2}]}}"));
    assert_eq!(mesh.way("client", "server"), "Routed - server.shop:80/=1");
    assert_eq!(mesh.shadowed("client", "server"), ["shop/a NoRouteForCaller"]);
}

#[test]
fn gateways_of_a_match_leave_out_sidecars() {
    let mesh = routes(&format!("{{match: [{{gateways: [edge]}}], route: [{TO_V2}]}}, {{route: [{TO_V1}]}}"));
    assert_eq!(mesh.way("client", "server"), "Routed shop/a server.shop:80/v1=1");
}

#[test]
fn headers_are_matched_whatever_the_case_of_their_name() {
    let mesh = routes(&format!(
        "{{match: [{{headers: {{x-canary: {{exact: 'yes'}}}}}}], route: [{TO_V2}]}}, {{route: [{TO_V1}]}}"
    ));
    let request = with_header("server", "X-Canary", "yes");
    assert_eq!(mesh.ask("client", &request, way), "Routed shop/a server.shop:80/v2=1");
}

#[test]
fn an_unwanted_header_that_is_absent_is_fine() {
    let mesh = routes(&format!(
        "{{match: [{{withoutHeaders: {{x-old: {{exact: 'yes'}}}}}}], route: [{TO_V2}]}}, {{route: [{TO_V1}]}}"
    ));
    assert_eq!(mesh.way("client", "server"), "Routed shop/a server.shop:80/v2=1");
}

#[test]
fn a_regex_is_of_the_whole_path() {
    let mesh =
        routes(&format!("{{match: [{{uri: {{regex: '/a+'}}}}], route: [{TO_V2}]}}, {{route: [{TO_V1}]}}"));
    assert_eq!(mesh.way("client", "server/aab"), "Routed shop/a server.shop:80/v1=1");
}
