//! At a gateway: `buildGatewayHTTPRouteConfig` and `collapseDuplicateRoutes` in
//! `pilot/pkg/networking/core/gateway.go`, `SortVHostRoutes` in `pilot/pkg/networking/core/route/route.go`.

use crate::support::{Mesh, TO_ALL, TO_V1, TO_V2, request};

fn gateway(servers: &str) -> Mesh {
    Mesh::new()
        .pod("shop", "edge", "{app: edge}")
        .service(
            "shop",
            "edge",
            "10.0.0.9",
            "{name: http, port: 80, targetPort: 80}, {name: https, port: 443, targetPort: 443}",
        )
        .subsets("shop/rule", 1, &["v1", "v2"], "")
        .object("Gateway", "shop/edge", &format!("{{selector: {{app: edge}}, servers: [{servers}]}}"))
}

const HTTP: &str = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}";
const HTTPS: &str = "{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: x}}";

fn bound(mesh: Mesh, key: &str, age: u32, route: &str) -> Mesh {
    mesh.aged(
        "VirtualService",
        key,
        age,
        &format!("{{hosts: [shop.example.com], gateways: [shop/edge], http: [{route}]}}"),
    )
}

#[test]
fn routes_of_several_virtual_services_are_joined() {
    let mesh =
        bound(gateway(HTTP), "shop/a", 1, &format!("{{match: [{{uri: {{prefix: /a}}}}], route: [{TO_V1}]}}"));
    let mesh = bound(mesh, "shop/b", 2, &format!("{{match: [{{uri: {{prefix: /b}}}}], route: [{TO_V2}]}}"));
    assert_eq!(mesh.way("edge", "shop.example.com/a"), "Routed shop/a server.shop:80/v1=1");
    assert_eq!(mesh.way("edge", "shop.example.com/b"), "Routed shop/b server.shop:80/v2=1");
}

#[test]
fn what_takes_everything_comes_last() {
    let mesh = bound(gateway(HTTP), "shop/a", 1, &format!("{{route: [{TO_V1}]}}"));
    let mesh = bound(mesh, "shop/b", 2, &format!("{{match: [{{uri: {{prefix: /b}}}}], route: [{TO_V2}]}}"));
    assert_eq!(mesh.way("edge", "shop.example.com/b"), "Routed shop/b server.shop:80/v2=1");
}

#[test]
fn a_host_that_no_virtual_service_has_gives_404() {
    let mesh = bound(gateway(HTTP), "shop/a", 1, &format!("{{route: [{TO_ALL}]}}"));
    assert_eq!(mesh.way("edge", "other.example.com/"), "NotFound -");
}

#[test]
fn a_port_without_a_server_is_closed() {
    assert_eq!(gateway(HTTP).way("edge", "shop.example.com:81/"), "Reset -");
}

#[test]
fn a_server_leaves_out_other_namespaces() {
    let server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['other/*']}";
    let mesh = bound(gateway(server), "shop/a", 1, &format!("{{route: [{TO_ALL}]}}"));
    assert_eq!(mesh.way("edge", "shop.example.com/"), "NotFound -");
}

#[test]
fn routes_within_tls_are_taken_once_it_has_ended() {
    let mesh = bound(
        gateway(HTTPS),
        "shop/a",
        1,
        &format!("{{match: [{{uri: {{prefix: /a}}}}], route: [{TO_V1}]}}"),
    );
    assert_eq!(mesh.way("edge", "tls://shop.example.com:443/a"), "Routed shop/a server.shop:443/v1=1");
}

#[test]
fn the_scheme_within_tls_is_https() {
    let mesh = bound(
        gateway(HTTPS),
        "shop/a",
        1,
        &format!("{{match: [{{scheme: {{exact: https}}}}], route: [{TO_V1}]}}"),
    );
    assert_eq!(mesh.way("edge", "tls://shop.example.com:443/a"), "Routed shop/a server.shop:443/v1=1");
}

#[test]
fn a_sidecar_has_no_part_in_the_routes_of_gateways() {
    let mesh = bound(gateway(HTTP), "shop/a", 1, &format!("{{route: [{TO_ALL}]}}"));
    assert_eq!(mesh.ask("client", &request("shop.example.com"), crate::support::way), "Passthrough -");
}

#[test]
fn a_server_that_redirects_to_https_redirects_all_its_hosts() {
    let server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com, www.example.com], tls: {httpsRedirect: true}}";
    let mesh = bound(gateway(server), "shop/a", 1, &format!("{{route: [{TO_V1}]}}"));
    assert_eq!(mesh.way("edge", "shop.example.com/"), "Redirect -");
    // Also one that no VirtualService has.
    assert_eq!(mesh.way("edge", "www.example.com/"), "Redirect -");
    assert_eq!(mesh.way("edge", "other.example.com/"), "NotFound -");
}

#[test]
fn a_server_that_redirects_is_left_out_where_an_older_one_has_a_host_of_it() {
    let redirects = |hosts: &str| {
        format!(
            "{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [{hosts}], tls: {{httpsRedirect: true}}}}"
        )
    };
    let older = redirects("shop.example.com");
    let younger = redirects("shop.example.com, www.example.com");
    let mesh = gateway(&format!("{older}, {younger}"));
    assert_eq!(mesh.way("edge", "shop.example.com/"), "Redirect -");
    assert_eq!(mesh.way("edge", "www.example.com/"), "NotFound -");
    // Without `tls` no host of it is asked for.
    let mesh = gateway(&format!("{older}, {HTTP}"));
    assert_eq!(mesh.way("edge", "shop.example.com/"), "Redirect -");
}

#[test]
fn two_servers_that_end_tls_for_the_same_names_are_refused() {
    let other = HTTPS.replace("name: https", "name: other").replace("['*']", "['other/*']");
    let mesh = bound(gateway(&format!("{HTTPS}, {other}")), "shop/a", 1, &format!("{{route: [{TO_V1}]}}"));
    assert_eq!(mesh.way("edge", "tls://shop.example.com:443/a"), "Refused -");
}

#[test]
fn server_names_passed_on_are_taken_once_for_all_servers() {
    let pass = |hosts: &str| {
        format!(
            "{{port: {{number: 443, name: tls, protocol: TLS}}, hosts: [{hosts}], tls: {{mode: PASSTHROUGH}}}}"
        )
    };
    let tls = |subset: &str| {
        format!(
            "{{hosts: [shop.example.com], gateways: [shop/edge], tls: [{{match: [{{sniHosts: [shop.example.com]}}], \
             route: [{subset}]}}]}}"
        )
    };
    let mesh = gateway(&format!("{}, {}", pass("shop.example.com"), pass("'./*'")))
        .aged("VirtualService", "shop/a", 1, &tls(TO_V1))
        .aged("VirtualService", "shop/b", 2, &tls(TO_V2));
    assert_eq!(mesh.way("edge", "tls://shop.example.com:443/"), "Routed shop/a server.shop:443/v1=1");
    assert_eq!(mesh.way("edge", "tls://other.example.com:443/"), "Reset -");
}
