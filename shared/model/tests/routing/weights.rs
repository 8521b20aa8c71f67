//! Shares and destinations: `applyHTTPRouteDestination` and `processWeightedDestination` in
//! `pilot/pkg/networking/core/route/route.go`.

use crate::support::{Mesh, SERVER, TO_ALL};

fn split(route: &str) -> Mesh {
    Mesh::new()
        .subsets("shop/rule", 1, &["v1", "v2"], "")
        .virtual_service("shop/a", &format!("{{route: [{route}]}}"))
}

fn to(subset: &str, weight: &str) -> String {
    format!("{{destination: {{host: {SERVER}, subset: {subset}}}, weight: {weight}}}")
}

#[test]
fn weight_0_among_others_is_not_rendered() {
    let mesh = split(&format!("{}, {}", to("v1", "100"), to("v2", "0")));
    assert_eq!(mesh.way("client", "server"), "Routed shop/a server.shop:80/v1=100");
}

#[test]
fn a_single_destination_ignores_its_weight() {
    assert_eq!(split(&to("v1", "0")).way("client", "server"), "Routed shop/a server.shop:80/v1=1");
}

#[test]
fn weights_are_relative() {
    let mesh = split(&format!("{}, {}", to("v1", "1"), to("v2", "2")));
    assert_eq!(mesh.way("client", "server"), "Routed shop/a server.shop:80/v1=1 server.shop:80/v2=2");
}

#[test]
fn the_share_of_a_missing_subset_is_lost() {
    let mesh = split(&format!("{}, {}", to("v1", "90"), to("v3", "10")));
    assert_eq!(mesh.way("client", "server"), "Routed shop/a server.shop:80/v1=90 !server.shop:80/v3=10");
}

#[test]
fn a_missing_subset_alone_gives_503() {
    assert_eq!(split(&to("v3", "100")).way("client", "server"), "NoCluster shop/a !server.shop:80/v3=1");
}

#[test]
fn a_subset_has_the_pods_with_its_labels() {
    let ready = |answer: &mesh_model::routing::resolve::Resolution<'_>| {
        answer
            .destinations
            .iter()
            .flat_map(|(_, landing)| &landing.endpoints)
            .map(|one| one.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(split(&to("v2", "1")).ask("client", &crate::support::request("server"), ready), ["shop/v2"]);
    assert_eq!(
        split(TO_ALL).ask("client", &crate::support::request("server"), ready),
        ["shop/v1", "shop/v2"]
    );
}

#[test]
fn without_a_port_it_is_the_one_that_was_asked_for() {
    let mesh = split(TO_ALL);
    assert_eq!(mesh.way("client", "server:70"), "Routed shop/a server.shop:70/=1");
}

#[test]
fn a_port_that_the_service_lacks_gives_503() {
    let mesh = split(&format!("{{destination: {{host: {SERVER}, port: {{number: 81}}}}}}"));
    assert_eq!(mesh.way("client", "server"), "NoCluster shop/a !server.shop:81/=1");
}

#[test]
fn a_host_that_nobody_registered_gives_503() {
    let mesh = split("{destination: {host: nobody}}");
    assert_eq!(mesh.way("client", "server"), "NoCluster shop/a !nobody.shop:80/=1");
}
