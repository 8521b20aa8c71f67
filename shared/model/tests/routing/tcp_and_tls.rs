//! Connections that are not HTTP: `buildSidecarOutboundListeners` in `pilot/pkg/networking/core/listener.go`,
//! `buildSidecarOutboundTCPFilterChainOpts` and `buildSidecarOutboundTLSFilterChainOpts` in
//! `pilot/pkg/networking/core/tls.go`.

use crate::support::{Mesh, SERVER, TO_V1, TO_V2};

fn rules(routes: &str) -> Mesh {
    Mesh::new().subsets("shop/rule", 1, &["v1", "v2"], "").object(
        "VirtualService",
        "shop/a",
        &format!("{{hosts: [{SERVER}], {routes}}}"),
    )
}

#[test]
fn tcp_takes_the_tcp_routes() {
    let mesh = rules(&format!("tcp: [{{route: [{TO_V1}]}}]"));
    assert_eq!(mesh.way("client", "tcp://server:90"), "Routed shop/a server.shop:90/v1=1");
}

#[test]
fn http_on_a_tcp_port_does_not_take_http_routes() {
    let mesh = rules(&format!("http: [{{route: [{TO_V1}]}}]"));
    assert_eq!(mesh.way("client", "server:90"), "Routed - server.shop:90/=1");
}

#[test]
fn destination_subnets_choose_by_the_address_of_the_service() {
    let routes = |subnet: &str| {
        rules(&format!(
            "tcp: [{{match: [{{destinationSubnets: [{subnet}]}}], route: [{TO_V2}]}}, {{route: [{TO_V1}]}}]"
        ))
    };
    assert_eq!(routes("10.0.0.0/8").way("client", "tcp://server:90"), "Routed shop/a server.shop:90/v2=1");
    assert_eq!(
        routes("192.168.0.0/16").way("client", "tcp://server:90"),
        "Routed shop/a server.shop:90/v1=1"
    );
}

#[test]
fn the_port_of_a_match_is_the_one_that_was_asked_for() {
    let mesh = rules(&format!("tcp: [{{match: [{{port: 90}}], route: [{TO_V2}]}}, {{route: [{TO_V1}]}}]"));
    assert_eq!(mesh.way("client", "tcp://server:90"), "Routed shop/a server.shop:90/v2=1");
}

#[test]
fn tls_is_chosen_by_its_server_name() {
    let mesh = rules(&format!(
        "tls: [{{match: [{{sniHosts: [{SERVER}]}}], route: [{TO_V2}]}}, {{match: [{{sniHosts: ['*.shop.svc.cluster.local']}}], route: [{TO_V1}]}}]"
    ));
    assert_eq!(mesh.way("client", &format!("tls://{SERVER}:443")), "Routed shop/a server.shop:443/v2=1");
}

#[test]
fn an_undeclared_port_has_http_routes_for_http() {
    let mesh = rules(&format!("http: [{{route: [{TO_V1}]}}], tcp: [{{route: [{TO_V2}]}}]"));
    assert_eq!(mesh.way("client", "server:70"), "Routed shop/a server.shop:70/v1=1");
}

#[test]
fn an_undeclared_port_has_tcp_routes_for_other_bytes() {
    let mesh = rules(&format!("http: [{{route: [{TO_V1}]}}], tcp: [{{route: [{TO_V2}]}}]"));
    assert_eq!(mesh.way("client", "tcp://server:70"), "Routed shop/a server.shop:70/v2=1");
}

#[test]
fn services_of_manifests_do_not_share_a_listener_for_want_of_an_address() {
    let service = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop}}, \
             spec: {{selector: {{app: {name}}}, ports: [{{name: tcp-db, port: 5432}}]}}}}"
        )
    };
    let mesh = Mesh::new().with(&service("one")).with(&service("two"));
    assert_eq!(mesh.way("client", "tcp://one:5432"), "Routed - one.shop:5432/=1");
    assert_eq!(mesh.way("client", "tcp://two:5432"), "Routed - two.shop:5432/=1");
}

#[test]
fn an_entry_without_address_has_no_listener_where_another_entry_names_endpoints_of_its_host() {
    let tls = "hosts: [db.example.com], ports: [{number: 443, name: tls, protocol: TLS}]";
    let mesh = Mesh::new().aged("ServiceEntry", "shop/first", 1, &format!("{{{tls}, resolution: NONE}}"));
    let way = |mesh: &Mesh| mesh.way("client", "tls://db.example.com:443");
    assert_eq!(way(&mesh), "Routed - db.example.com:443/=1");
    let other = format!(
        "{{{tls}, resolution: DNS, addresses: [240.0.0.1], endpoints: [{{address: real.example.org}}]}}"
    );
    assert_eq!(way(&mesh.aged("ServiceEntry", "shop/second", 2, &other)), "Passthrough -");
}

#[test]
fn ways_whose_subnets_overlap_make_the_proxy_refuse_the_listener() {
    let mesh = |other: &str| {
        rules(&format!(
            "tcp: [{{match: [{{destinationSubnets: [10.0.0.1, 10.0.0.7]}}], route: [{TO_V1}]}}, \
             {{match: [{{destinationSubnets: [{other}]}}], route: [{TO_V2}]}}]"
        ))
    };
    assert_eq!(mesh("10.0.0.1/32").way("client", "tcp://server:90"), "Refused -");
    assert_eq!(mesh("10.0.0.0/8").way("client", "tcp://server:90"), "Routed shop/a server.shop:90/v1=1");
}

#[test]
fn an_egress_listener_with_an_address_of_its_own_is_reached_there() {
    let egress = "{port: {number: 90, name: p, protocol: HTTP}, bind: 10.0.0.1, hosts: ['*/*']}";
    let mesh = rules(&format!("http: [{{route: [{TO_V1}]}}]")).object(
        "Sidecar",
        "shop/default",
        &format!("{{egress: [{egress}]}}"),
    );
    // The port is HTTP there, whatever the Service says, and nothing else.
    assert_eq!(mesh.way("client", "tcp://server:90"), "Reset -");
}
