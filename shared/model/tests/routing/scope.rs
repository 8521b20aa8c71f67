//! What a sidecar knows: `DefaultSidecarScopeForNamespace` and `convertToSidecarScope` in
//! `pilot/pkg/model/sidecar.go`; what it does with the rest: `buildSidecarOutboundHTTPListenerOpts` and
//! `OutboundTrafficPolicy`.

use crate::support::{Mesh, SERVER, TO_ALL};

fn sidecar(mesh: Mesh, hosts: &str, more: &str) -> Mesh {
    mesh.object("Sidecar", "other/default", &format!("{{egress: [{{hosts: [{hosts}]}}]{more}}}"))
}

#[test]
fn an_unknown_host_is_passed_on() {
    assert_eq!(Mesh::new().way("client", "nobody.example.com"), "Passthrough -");
}

#[test]
fn registry_only_blocks_an_unknown_host() {
    let mesh = Mesh::new().config("outboundTrafficPolicy: {mode: REGISTRY_ONLY}");
    assert_eq!(mesh.way("client", "nobody.example.com"), "Blocked -");
}

#[test]
fn a_sidecar_may_block_too() {
    let mesh = sidecar(Mesh::new(), "'./*'", ", outboundTrafficPolicy: {mode: REGISTRY_ONLY}");
    assert_eq!(mesh.way("guest", "server.shop"), "Blocked -");
}

#[test]
fn what_is_not_imported_is_not_known() {
    assert_eq!(sidecar(Mesh::new(), "'./*'", "").way("guest", "server.shop"), "Passthrough -");
}

#[test]
fn what_is_imported_is_known() {
    assert_eq!(
        sidecar(Mesh::new(), "'shop/*'", "").way("guest", "server.shop"),
        "Routed - server.shop:80/=1"
    );
}

#[test]
fn the_destinations_of_an_imported_virtual_service_are_imported_too() {
    let mesh = Mesh::new().service("other", "front", "10.0.0.5", "{name: http, port: 80}").object(
        "VirtualService",
        "other/front",
        &format!("{{hosts: [front], http: [{{route: [{TO_ALL}]}}]}}"),
    );
    assert_eq!(sidecar(mesh, "'./*'", "").way("guest", "front"), "Routed other/front server.shop:80/=1");
}

#[test]
fn a_virtual_service_that_is_not_imported_is_named() {
    let mesh = Mesh::new().object(
        "VirtualService",
        "other/a",
        &format!("{{hosts: [{SERVER}], http: [{{route: [{TO_ALL}]}}]}}"),
    );
    let mesh = sidecar(mesh, "'shop/*'", "");
    assert_eq!(mesh.way("guest", "server.shop"), "Routed - server.shop:80/=1");
    assert_eq!(mesh.shadowed("guest", "server.shop"), ["other/a NotImported"]);
}

#[test]
fn a_service_that_is_not_exported_is_not_known() {
    let hidden = "{apiVersion: v1, kind: Service, metadata: {name: hidden, namespace: shop, annotations: \
        {networking.istio.io/exportTo: .}}, spec: {clusterIP: 10.0.0.6, ports: [{name: http, port: 80}]}}";
    let mesh = Mesh::new().with(hidden);
    assert_eq!(mesh.way("guest", "hidden.shop"), "Passthrough -");
    assert_eq!(mesh.way("client", "hidden.shop"), "Routed - hidden.shop:80/=1");
}

#[test]
fn exact_imports_find_one_host_of_a_name_only() {
    let entry = format!(
        "{{hosts: [{SERVER}], addresses: [240.0.0.3], ports: [{{number: 8080, name: http-more, protocol: HTTP}}], resolution: STATIC, endpoints: [{{address: 192.0.2.1}}]}}"
    );
    let mesh = |hosts: &str| {
        Mesh::new().aged("ServiceEntry", "shop/more", 5, &entry).object(
            "Sidecar",
            "shop/default",
            &format!("{{egress: [{{hosts: [{hosts}]}}]}}"),
        )
    };
    let way = |hosts: &str| mesh(hosts).way("client", &format!("{SERVER}:8080/"));
    assert_eq!(way(&format!("shop/{SERVER}, 'other/*'")), "NoCluster - !server.shop:8080/=1");
    assert_eq!(way(&format!("shop/{SERVER}")), "Passthrough -");
}
