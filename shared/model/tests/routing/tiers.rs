//! Which VirtualService comes first: `initVirtualServices` and `VirtualServicesForGateway` in
//! `pilot/pkg/model/push_context.go`, `sortConfigByCreationTime` in `pilot/pkg/model/config.go`.

use crate::support::{Mesh, SERVER, TO_ALL};

fn one(mesh: Mesh, key: &str, age: u32, more: &str) -> Mesh {
    let spec = format!("{{hosts: [{SERVER}], http: [{{route: [{TO_ALL}]}}]{more}}}");
    mesh.aged("VirtualService", key, age, &spec)
}

fn taken(mesh: &Mesh, from: &str) -> String {
    mesh.way(from, "server.shop").split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn the_oldest_wins() {
    let mesh = one(one(Mesh::new(), "shop/a", 2, ""), "shop/z", 1, "");
    assert_eq!(taken(&mesh, "client"), "shop/z");
}

#[test]
fn of_one_age_the_first_name_wins() {
    let mesh = one(one(Mesh::new(), "shop/b", 1, ""), "other/a", 1, "");
    assert_eq!(taken(&mesh, "client"), "other/a");
}

#[test]
fn of_one_age_and_name_the_first_namespace_wins() {
    let mesh = one(one(Mesh::new(), "shop/a", 1, ""), "other/a", 1, "");
    assert_eq!(taken(&mesh, "client"), "other/a");
}

#[test]
fn a_private_one_comes_before_an_older_public_one() {
    let mesh = one(one(Mesh::new(), "shop/public", 1, ""), "shop/private", 2, ", exportTo: [.]");
    assert_eq!(taken(&mesh, "client"), "shop/private");
}

#[test]
fn a_private_one_is_for_its_namespace_only() {
    let mesh = one(one(Mesh::new(), "shop/public", 2, ""), "shop/private", 1, ", exportTo: [.]");
    assert_eq!(taken(&mesh, "guest"), "shop/public");
    assert_eq!(mesh.shadowed("guest", "server.shop"), ["shop/private NotExported"]);
}

#[test]
fn one_exported_by_name_comes_before_an_older_public_one() {
    let mesh = one(one(Mesh::new(), "shop/public", 1, ""), "shop/exported", 2, ", exportTo: [other]");
    assert_eq!(taken(&mesh, "guest"), "shop/exported");
}

#[test]
fn a_private_one_comes_before_one_exported_by_name() {
    let mesh = one(
        one(Mesh::new(), "shop/exported", 1, ", exportTo: [other]"),
        "other/private",
        2,
        ", exportTo: [.]",
    );
    assert_eq!(taken(&mesh, "guest"), "other/private");
    assert_eq!(mesh.shadowed("guest", "server.shop"), ["shop/exported Later"]);
}

#[test]
fn one_exported_nowhere_is_for_nobody() {
    let mesh = one(Mesh::new(), "shop/a", 1, ", exportTo: ['~']");
    assert_eq!(taken(&mesh, "client"), "-");
}

#[test]
fn where_none_says_it_the_mesh_says_who_may_know_it() {
    let mesh = one(Mesh::new(), "shop/a", 1, "").config("defaultVirtualServiceExportTo: [.]");
    assert_eq!((taken(&mesh, "client"), taken(&mesh, "guest")), ("shop/a".to_owned(), "-".to_owned()));
}

#[test]
fn one_for_gateways_alone_is_for_no_sidecar() {
    let mesh = one(Mesh::new(), "shop/a", 1, ", gateways: [edge]");
    assert_eq!(taken(&mesh, "client"), "-");
    assert_eq!(mesh.shadowed("client", "server.shop"), ["shop/a OtherGateway"]);
}
