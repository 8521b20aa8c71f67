//! Ports, their protocols, and the chain that a connection takes.

use mesh_model::authorization::compile::Protocol;
use mesh_model::authorization::judge::Verdict::{Allow, Conditional, Deny};

use crate::support::{AUTO, HTTP, Mesh, TCP, anything, http, tcp};

/// Only HTTP requests get through this; nothing on TCP.
const GET: &str = "{to: [{operation: {methods: [GET]}}]}";

fn service(mesh: Mesh, name: &str, created: &str, port: &str) -> Mesh {
    mesh.with(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop, creationTimestamp: '{created}'}}, \
         spec: {{selector: {{app: server}}, ports: [{port}]}}}}"
    ))
}

fn lets_get(port: &str) -> bool {
    let mesh = service(Mesh::new().allow(GET), "more", "2020-01-01T00:00:00Z", port);
    mesh.verdict("client", 6000, &http("GET /")) == Allow
}

#[test]
fn policies_name_the_workloads_port_and_not_the_services() {
    let of = |port: &str| Mesh::new().allow(&format!("{{to: [{{operation: {{ports: ['{port}']}}}}]}}"));
    assert_eq!(of("8080").any_http("client"), Allow);
    assert_eq!(of("80").any_http("client"), Deny);
}

#[test]
fn the_name_of_a_port_up_to_the_first_dash_is_its_protocol() {
    for name in ["http", "http-web", "http2", "grpc-x", "HTTP-X", "grpc-web", "grpc-web-x"] {
        assert!(lets_get(&format!("{{name: {name}, port: 6000}}")), "{name}");
    }
    for name in ["tcp", "tcp-http", "https", "tls-x", "mongo", "redis", "mysql"] {
        assert!(!lets_get(&format!("{{name: {name}, port: 6000}}")), "{name}");
    }
}

#[test]
fn app_protocol_comes_before_the_name() {
    assert!(lets_get("{name: tcp, appProtocol: http, port: 6000}"));
    assert!(!lets_get("{name: http, appProtocol: tcp, port: 6000}"));
    assert!(lets_get("{name: tcp, appProtocol: kubernetes.io/h2c, port: 6000}"));
    assert!(!lets_get("{name: http, appProtocol: kubernetes.io/wss, port: 6000}"));
}

#[test]
fn well_known_ports_are_tcp_where_nothing_says_otherwise() {
    assert!(lets_get("{name: foo, port: 81, targetPort: 6000}"));
    for port in [25, 53, 3306, 27017] {
        assert!(!lets_get(&format!("{{name: foo, port: {port}, targetPort: 6000}}")));
        assert!(lets_get(&format!("{{name: http, port: {port}, targetPort: 6000}}")));
    }
}

#[test]
fn the_oldest_service_on_a_port_decides_its_protocol() {
    let mesh = service(Mesh::new().allow(GET), "a", "2021-01-01T00:00:00Z", "{name: tcp, port: 6000}");
    let mesh = service(mesh, "b", "2020-01-01T00:00:00Z", "{name: http, port: 6000}");
    assert_eq!(mesh.verdict("client", 6000, &http("GET /")), Allow);
}

#[test]
fn a_udp_port_has_no_chain_of_its_own() {
    // A TCP port that is called `udp` gets none either: it is passed on like an undeclared one.
    let mesh = service(Mesh::new().allow(GET), "u", "2020-01-01T00:00:00Z", "{name: udp-x, port: 6000}");
    assert_eq!(mesh.verdict("anonymous", 6000, &http("GET /")), Allow);
}

#[test]
fn an_http_port_takes_http_only() {
    assert_eq!(Mesh::new().verdict("client", HTTP, &tcp()), Deny);
    assert_eq!(Mesh::new().verdict("client", TCP, &http("GET /")), Allow);
}

#[test]
fn a_port_without_a_protocol_has_two_verdicts() {
    let mesh = Mesh::new().allow(GET);
    assert_eq!(mesh.verdict("client", AUTO, &anything(Protocol::Http)), Conditional);
    assert_eq!(mesh.verdict("client", AUTO, &anything(Protocol::Tcp)), Deny);
    assert_eq!(mesh.verdict("anonymous", 5555, &anything(Protocol::Http)), Conditional);
    assert_eq!(mesh.verdict("anonymous", 5555, &anything(Protocol::Tcp)), Deny);
}

#[test]
fn ingress_of_a_sidecar_object_replaces_the_services_ports() {
    let ingress =
        "{ingress: [{port: {number: 8080, protocol: TCP, name: t}, defaultEndpoint: '127.0.0.1:1'}]}";
    let mesh = Mesh::new().object("Sidecar", "shop", "s", ingress).allow(GET);
    assert_eq!(mesh.verdict("client", HTTP, &http("GET /")), Deny);
}
