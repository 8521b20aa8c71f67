//! What cannot be known, and whether it could change the way.

use mesh_model::object::Kind;
use mesh_model::routing::Routing;
use mesh_model::world::{Gap, Snapshot, World};

use crate::support::{Mesh, SERVER};

/// The codes of a caller and of the server, the decisive ones with `!`.
fn codes(world: &World, from: &str) -> Vec<String> {
    let routing = Routing::new(world);
    let host = routing.registry.named(SERVER).next().expect("the server");
    let callers = routing.callers();
    let callers: Vec<_> = callers.into_iter().filter(|group| group.names.contains(&from)).collect();
    let all = routing.assumptions(host, &callers);
    all.iter().map(|one| format!("{}{}", one.code, if one.decisive { "!" } else { "" })).collect()
}

fn of(mesh: &Mesh) -> Vec<String> {
    codes(&mesh.world(), "client")
}

#[test]
fn nothing_is_assumed_where_all_was_read() {
    assert_eq!(of(&Mesh::new()), [""; 0]);
}

#[test]
fn a_filter_that_patches_routes_of_the_caller() {
    let filter = |namespace: &str| {
        format!(
            "{{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {{name: f, namespace: {namespace}}}, \
             spec: {{configPatches: [{{applyTo: HTTP_ROUTE, match: {{context: SIDECAR_OUTBOUND}}, patch: {{operation: MERGE}}}}]}}}}"
        )
    };
    assert_eq!(of(&Mesh::new().with(&filter("shop"))), ["envoy-filter-outbound!"]);
    assert_eq!(of(&Mesh::new().with(&filter("istio-system"))), ["envoy-filter-outbound!"]);
    assert_eq!(of(&Mesh::new().with(&filter("other"))), [""; 0]);
}

#[test]
fn a_kind_that_could_not_be_listed() {
    let world = |kind: Kind| {
        let base = Mesh::new().world();
        let objects = base.objects().iter().map(|object| object.as_ref().clone()).collect();
        let gaps = vec![Gap { kind, readable: Vec::new(), reason: "forbidden".to_owned() }];
        World::new(Snapshot { objects, gaps, istio_version: None })
    };
    assert_eq!(codes(&world(Kind::VirtualService), "client"), ["forbidden-list!"]);
    // Sidecars do not ask for Gateways, and nothing of routes for policies.
    assert_eq!(codes(&world(Kind::Gateway), "client"), ["forbidden-list"]);
    assert_eq!(codes(&world(Kind::AuthorizationPolicy), "client"), [""; 0]);
}

#[test]
fn a_waypoint_and_an_ambient_caller() {
    let waypoint = Mesh::new().with(
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled, istio.io/use-waypoint: w}}}",
    );
    assert!(of(&waypoint).contains(&"waypoint!".to_owned()), "{:?}", of(&waypoint));
    let off = Mesh::new().with(
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled, istio.io/use-waypoint: none}}}",
    );
    assert_eq!(of(&off), [""; 0]);
    let ambient = Mesh::new().with(
        "{apiVersion: v1, kind: Namespace, metadata: {name: flat, labels: {istio.io/dataplane-mode: ambient}}}\n---\n\
         {apiVersion: v1, kind: Pod, metadata: {name: plain, namespace: flat, labels: {app: plain}}, spec: {containers: [{name: main}]}}",
    );
    let world = ambient.world();
    let routing = Routing::new(&world);
    let plain = world.workloads.iter().find(|workload| workload.name == "plain").expect("plain");
    let found: Vec<&str> = routing.proxy(plain).assumptions().iter().map(|one| one.code).collect();
    assert_eq!(found, ["ambient"]);
}

#[test]
fn endpoints_that_no_selector_gives() {
    let mesh = Mesh::new().with(
        "{apiVersion: v1, kind: Service, metadata: {name: bare, namespace: shop}, spec: {clusterIP: 10.0.0.8, ports: [{name: http, port: 80}]}}",
    );
    let world = mesh.world();
    let routing = Routing::new(&world);
    let host = routing.registry.named("bare.shop.svc.cluster.local").next().expect("it");
    let found: Vec<&str> = routing.assumptions_of(host).iter().map(|one| one.code).collect();
    assert_eq!(found, ["readiness-unknown"]);
}

#[test]
fn a_mesh_of_several_networks() {
    let mesh = Mesh::new().with(
        "{apiVersion: v1, kind: Service, metadata: {name: eastwest, namespace: istio-system, labels: {topology.istio.io/network: one}}, \
         spec: {selector: {istio: eastwestgateway}, clusterIP: 10.0.0.7, ports: [{name: tls, port: 15443}]}}",
    );
    assert_eq!(of(&mesh), ["other-clusters"]);
}

#[test]
fn a_sidecar_that_offers_an_http_proxy() {
    let egress = "{port: {number: 15080, name: p, protocol: HTTP_PROXY}, bind: 127.0.0.1, hosts: ['*/*']}, {hosts: ['*/*']}";
    let mesh = Mesh::new().object("Sidecar", "shop/default", &format!("{{egress: [{egress}]}}"));
    assert_eq!(of(&mesh), ["http-proxy-listener!"]);
}

#[test]
fn an_older_istio_retries_more() {
    let world = |version: &str| {
        let base = Mesh::new().world();
        let objects = base.objects().iter().map(|object| object.as_ref().clone()).collect();
        World::new(Snapshot { objects, gaps: Vec::new(), istio_version: Some(version.to_owned()) })
    };
    assert_eq!(codes(&world("1.23.4"), "client"), ["retries-before-1-24"]);
    assert_eq!(codes(&world("1.24.0"), "client"), [""; 0]);
}
