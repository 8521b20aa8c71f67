//! Which hosts a VirtualService is for: `ResolveShortnameToFQDN` in `pilot/pkg/model/config.go`,
//! `separateVSHostsAndServices` in `pilot/pkg/networking/core/route/route.go`, `generateAltVirtualHosts` in
//! `pilot/pkg/networking/core/httproute.go`.

use crate::support::{Mesh, TO_ALL, way, with_header};

fn of(hosts: &str) -> Mesh {
    add(Mesh::new(), "shop/a", 1, hosts)
}

fn add(mesh: Mesh, key: &str, age: u32, hosts: &str) -> Mesh {
    mesh.aged("VirtualService", key, age, &format!("{{hosts: [{hosts}], http: [{{route: [{TO_ALL}]}}]}}"))
}

#[test]
fn a_short_name_is_of_the_objects_own_namespace() {
    assert_eq!(of("server").way("guest", "server.shop"), "Routed shop/a server.shop:80/=1");
}

#[test]
fn a_dotted_name_that_is_not_full_is_no_service() {
    assert_eq!(
        of("server.shop").way("client", "server.shop.svc.cluster.local"),
        "Routed - server.shop:80/=1"
    );
}

#[test]
fn callers_of_the_namespace_may_use_the_short_name() {
    assert_eq!(of("server").way("client", "server"), "Routed shop/a server.shop:80/=1");
}

#[test]
fn callers_of_other_namespaces_may_not() {
    assert_eq!(of("server").way("guest", "server"), "Passthrough -");
}

#[test]
fn the_exact_host_comes_before_an_older_wildcard() {
    let mesh = add(add(Mesh::new(), "shop/wide", 1, "'*.shop.svc.cluster.local'"), "shop/exact", 2, "server");
    assert_eq!(mesh.way("client", "server"), "Routed shop/exact server.shop:80/=1");
    assert_eq!(mesh.shadowed("client", "server"), ["shop/wide LessSpecific"]);
}

#[test]
fn the_longest_wildcard_comes_first() {
    let mesh = add(
        add(Mesh::new(), "shop/wide", 1, "'*.svc.cluster.local'"),
        "shop/narrow",
        2,
        "'*.shop.svc.cluster.local'",
    );
    assert_eq!(mesh.way("client", "server"), "Routed shop/narrow server.shop:80/=1");
}

#[test]
fn the_host_header_chooses_the_routes() {
    let mesh = of("server").service("shop", "third", "10.0.0.3", "{name: http, port: 80}");
    let request = with_header("third", "host", "server.shop");
    assert_eq!(mesh.ask("client", &request, way), "Routed shop/a server.shop:80/=1");
}

#[test]
fn hosts_that_nobody_registered_have_routes_on_port_80() {
    let mesh = of("shop.example.com");
    assert_eq!(mesh.way("client", "shop.example.com"), "Routed shop/a server.shop:80/=1");
    assert_eq!(mesh.way("client", "shop.example.com:70"), "Passthrough -");
}

#[test]
fn a_block_of_addresses_is_among_the_domains_of_its_host() {
    let entry = "{hosts: [db.example.com], addresses: [240.0.0.0/28], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}";
    let mesh = Mesh::new().object("ServiceEntry", "shop/db", entry);
    let world = mesh.world();
    let routing = mesh_model::routing::Routing::new(&world);
    let client = world.workloads.iter().find(|workload| workload.name == "client").expect("the client");
    let table = routing.proxy(client).table(80, None).expect("a table");
    let host = table.host("db.example.com").expect("its virtual host");
    assert!(host.domains.contains(&"240.0.0.0/28".to_owned()), "{:?}", host.domains);
}
