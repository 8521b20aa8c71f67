use crate::shop::{ask, routes};
use crate::support::{Mesh, SERVER, TO_ALL, TO_V1, TO_V2};

pub(crate) const SPLIT: &str = "{destination: {host: server.shop.svc.cluster.local, subset: v1}, weight: 90}, \
                                {destination: {host: server.shop.svc.cluster.local, subset: v2}, weight: 10}";

fn split(mesh: Mesh, key: &str, age: u32, more: &str) -> Mesh {
    mesh.aged(
        "VirtualService",
        key,
        age,
        &format!("{{hosts: [{SERVER}]{more}, http: [{{name: main, route: [{SPLIT}]}}]}}"),
    )
}

#[test]
fn every_route_with_the_service_as_destination_is_found_once() {
    let mesh = Mesh::new().object(
        "VirtualService",
        "shop/a",
        &format!(
            "{{hosts: [{SERVER}], http: [{{match: [{{uri: {{prefix: /a}}}}], route: [{SPLIT}]}}, {{route: [{TO_ALL}]}}], \
             tcp: [{{match: [{{port: 90}}], route: [{TO_V1}]}}], tls: [{{match: [{{sniHosts: [{SERVER}]}}], route: [{TO_V2}]}}]}}"
        ),
    );
    assert_eq!(
        routes(&mesh),
        [
            "shop/a http[0]: [90, 10]; other shop shop",
            "shop/a http[1]: [100]; other shop shop",
            "shop/a tls[0]: [100]; other shop shop",
            "shop/a tcp[0]: [100]; other shop shop",
        ]
        .map(|route| route.replace("shop shop", "shop"))
    );
}

#[test]
fn of_two_virtual_services_the_older_one_is_in_force() {
    let mesh = split(split(Mesh::new(), "shop/new", 2, ""), "shop/old", 1, "");
    assert_eq!(routes(&mesh), ["shop/old main: [90, 10]; other shop", "shop/new main: [90, 10]; "]);
}

#[test]
fn a_private_one_is_in_force_for_its_namespace_only() {
    let mesh = split(split(Mesh::new(), "other/own", 2, ", exportTo: ['.']"), "shop/a", 1, "");
    assert_eq!(routes(&mesh), ["shop/a main: [90, 10]; shop", "other/own main: [90, 10]; other"]);
}

#[test]
fn callers_whom_labels_tell_apart_are_asked_each() {
    let routes_of = format!(
        "{{hosts: [{SERVER}], http: [{{name: main, match: [{{sourceLabels: {{app: guest}}}}], route: [{SPLIT}]}}]}}"
    );
    let mesh = Mesh::new().object("VirtualService", "shop/a", &routes_of);
    assert_eq!(routes(&mesh), ["shop/a main: [90, 10]; other"]);
}

#[test]
fn a_delegates_route_stands_once_and_in_the_delegate() {
    let root = |name: &str, host: &str| {
        format!("{{hosts: [{host}], http: [{{name: {name}, delegate: {{name: inner}}}}]}}")
    };
    let mesh = Mesh::new()
        .object("VirtualService", "shop/inner", &format!("{{http: [{{name: main, route: [{SPLIT}]}}]}}"))
        .aged("VirtualService", "shop/a", 1, &root("a", SERVER))
        .aged("VirtualService", "shop/b", 2, &root("b", "www.example.com"));
    assert_eq!(routes(&mesh), ["shop/inner a-main: [90, 10]; other shop"]);
    ask(&mesh, |shop| {
        let [only] = shop.carriers.as_slice() else { panic!("one route") };
        assert_eq!(only.virtual_service.object.key(), "shop/a");
        assert_eq!(only.place.pointer, "/spec/http/0");
    });
}

#[test]
fn a_gateway_and_the_mesh_are_told_apart() {
    let gateway =
        "{selector: {app: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}";
    let mesh = Mesh::new()
        .pod("shop", "edge", "{app: edge}")
        .service("shop", "edge", "10.0.0.9", "{name: http, port: 80}")
        .object("Gateway", "shop/edge", gateway)
        .object(
            "VirtualService",
            "shop/outside",
            &format!("{{hosts: [shop.example.com], gateways: [edge], http: [{{route: [{SPLIT}]}}]}}"),
        )
        .object(
            "VirtualService",
            "shop/inside",
            &format!("{{hosts: [{SERVER}], http: [{{route: [{SPLIT}]}}]}}"),
        );
    assert_eq!(
        routes(&mesh),
        ["shop/inside http[0]: [90, 10]; other shop", "shop/outside http[0]: [90, 10]; gateway edge"]
    );
}

#[test]
fn a_virtual_service_of_another_name_that_leads_to_the_service_carries_it() {
    let mesh = Mesh::new().object(
        "VirtualService",
        "shop/a",
        &format!("{{hosts: [api.example.com], http: [{{route: [{SPLIT}]}}]}}"),
    );
    assert_eq!(routes(&mesh), ["shop/a http[0]: [90, 10]; other shop"]);
}

#[test]
fn ports_are_those_that_all_matches_ask_for() {
    let of = |matches: &str| {
        let spec = format!("{{hosts: [{SERVER}], tcp: [{{match: [{matches}], route: [{TO_V1}]}}]}}");
        let mesh = Mesh::new().object("VirtualService", "shop/a", &spec);
        ask(&mesh, |shop| {
            shop.carriers.iter().flat_map(|one| one.ports.iter().copied()).collect::<Vec<u16>>()
        })
    };
    assert_eq!(of("{port: 90}, {port: 70}"), [70, 90]);
    assert_eq!(of("{port: 90}, {sourceLabels: {app: client}}"), [0_u16; 0]);
}
