use crate::carriers::SPLIT;
use crate::shop::ask;
use crate::support::{Mesh, SERVER};

fn mesh() -> Mesh {
    Mesh::new().object(
        "VirtualService",
        "shop/a",
        &format!("{{hosts: [{SERVER}], http: [{{match: [{{port: 80}}], route: [{SPLIT}]}}]}}"),
    )
}

fn problems(mesh: &Mesh) -> Vec<String> {
    ask(mesh, |shop| shop.problems("v2"))
}

#[test]
fn a_subset_with_ready_pods_is_no_problem() {
    assert_eq!(problems(&mesh().subsets("shop/rule", 1, &["v1", "v2"], "")), [""; 0]);
}

#[test]
fn without_a_rule_there_is_no_subset() {
    assert_eq!(problems(&mesh()), ["namespace other: 80 NoRule", "namespace shop: 80 NoRule"]);
}

#[test]
fn a_rule_of_the_callers_namespace_hides_the_subset() {
    let mesh = mesh().subsets("shop/rule", 1, &["v1", "v2"], "").object(
        "DestinationRule",
        "other/wide",
        "{host: '*.svc.cluster.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
    );
    assert_eq!(
        problems(&mesh),
        [
            "namespace other: 80 NoSubset { rule: \"other/wide\", at: \"other/wide\", hidden: [\"shop/rule\"] }"
        ]
    );
}

#[test]
fn a_subset_that_selects_no_pod_has_no_endpoints() {
    let rule = format!(
        "{{host: {SERVER}, subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v9}}}}]}}"
    );
    let found = problems(&mesh().object("DestinationRule", "shop/rule", &rule));
    let why = "NoEndpoints { labels: \"version=v9\", at: \"shop/rule\" }";
    assert_eq!(found, [format!("namespace other: 80 {why}"), format!("namespace shop: 80 {why}")]);
}

#[test]
fn pods_that_are_not_ready_take_no_requests() {
    let rule = format!(
        "{{host: {SERVER}, subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v3}}}}]}}"
    );
    let mesh = mesh().object("DestinationRule", "shop/rule", &rule).with(
        "{apiVersion: v1, kind: Pod, metadata: {name: v3, namespace: shop, labels: {app: server, version: v3}}, \
         spec: {containers: [{name: main}, {name: istio-proxy}]}, \
         status: {phase: Running, conditions: [{type: Ready, status: 'False'}]}}",
    );
    assert_eq!(
        problems(&mesh),
        ["namespace other: 80 NotReady { pods: 1 }", "namespace shop: 80 NotReady { pods: 1 }"]
    );
}

#[test]
fn a_route_that_is_in_force_for_nobody_breaks_nothing() {
    let mesh = mesh().aged(
        "VirtualService",
        "shop/before",
        0,
        &format!("{{hosts: [{SERVER}], http: [{{route: [{{destination: {{host: {SERVER}}}}}]}}]}}"),
    );
    // Of one age: the name decides, and `a` comes before `before`.
    assert_eq!(problems(&mesh).len(), 2);
    let mesh = mesh.aged(
        "VirtualService",
        "shop/A",
        0,
        &format!("{{hosts: [{SERVER}], http: [{{route: [{{destination: {{host: {SERVER}}}}}]}}]}}"),
    );
    assert_eq!(problems(&mesh), [""; 0]);
}

#[test]
fn a_tcp_route_is_not_asked_about_ports_that_it_does_not_take() {
    let ports = "{name: tcp-data, port: 90}, {name: dns, port: 53, protocol: UDP}, {name: tls, port: 443}, {name: tcp-more, port: 91}";
    let host = "store.shop.svc.cluster.local";
    let of = |subset: &str| format!("{{destination: {{host: {SERVER}, subset: {subset}}}, weight: 50}}");
    let spec = format!(
        "{{hosts: [{host}, {SERVER}], tcp: [{{match: [{{port: 90}}], route: [{}, {}]}}]}}",
        of("v1"),
        of("v2")
    );
    let mesh = Mesh::new()
        .service("shop", "store", "10.0.0.3", ports)
        .subsets("shop/rule", 1, &["v1", "v2"], "")
        .object("VirtualService", "shop/a", &spec);
    assert_eq!(problems(&mesh), [""; 0]);
}

#[test]
fn endpoints_that_no_selector_gives_are_not_counted() {
    let route = "{destination: {host: bare.shop.svc.cluster.local}, weight: 10}";
    let spec = format!(
        "{{hosts: [{SERVER}], http: [{{route: [{{destination: {{host: {SERVER}}}, weight: 90}}, {route}]}}]}}"
    );
    let mesh = Mesh::new().object("VirtualService", "shop/a", &spec).with(
        "{apiVersion: v1, kind: Service, metadata: {name: bare, namespace: shop}, spec: {clusterIP: 10.0.0.8, \
         ports: [{name: http, port: 80}, {name: main, port: 70}]}}",
    );
    assert_eq!(ask(&mesh, |shop| shop.problems("bare")), [""; 0]);
}
