//! Which DestinationRule a caller goes by: `SidecarScope.DestinationRule` in `pilot/pkg/model/sidecar.go`,
//! `mergeDestinationRule` in `pilot/pkg/model/destination_rule.go`.

use crate::support::{Mesh, SERVER, TO_V1, TO_V2, request};

fn to_v1() -> Mesh {
    Mesh::new().virtual_service("shop/a", &format!("{{route: [{TO_V1}]}}"))
}

fn rule(mesh: &Mesh, from: &str) -> String {
    mesh.ask(from, &request("server.shop"), |answer| {
        let rules = answer.destinations.iter().filter_map(|(_, landing)| landing.rule);
        rules.map(|rule| rule.key()).collect()
    })
}

#[test]
fn the_callers_namespace_comes_before_the_hosts() {
    let mesh = to_v1().subsets("shop/host", 1, &["v1"], "").subsets("other/caller", 2, &["v1"], "");
    assert_eq!(
        (rule(&mesh, "guest"), rule(&mesh, "client")),
        ("other/caller".to_owned(), "shop/host".to_owned())
    );
}

#[test]
fn the_hosts_namespace_comes_before_the_root() {
    let mesh = to_v1().subsets("istio-system/root", 1, &["v1"], "").subsets("shop/host", 2, &["v1"], "");
    assert_eq!(rule(&mesh, "guest"), "shop/host");
}

#[test]
fn the_root_namespace_is_last() {
    let mesh = to_v1().subsets("istio-system/root", 1, &["v1"], "");
    assert_eq!(rule(&mesh, "guest"), "istio-system/root");
}

#[test]
fn a_rule_of_the_callers_namespace_hides_the_subsets_of_the_hosts() {
    let mesh = to_v1().subsets("shop/host", 1, &["v1"], "").subsets("other/caller", 2, &["v2"], "");
    assert_eq!(mesh.way("guest", "server.shop"), "NoCluster shop/a !server.shop:80/v1=1");
}

#[test]
fn the_hidden_rule_is_named() {
    let world = to_v1().subsets("shop/host", 1, &["v1"], "").subsets("other/caller", 2, &["v2"], "").world();
    let rules = mesh_model::routing::rules::Rules::new(&world);
    let hidden = rules.hidden("other", &mesh_model::labels::Labels::new(), SERVER, "shop");
    assert_eq!(hidden.iter().map(|rule| rule.key()).collect::<Vec<_>>(), ["shop/host"]);
}

#[test]
fn subsets_of_rules_for_one_host_are_merged() {
    let mesh = Mesh::new()
        .virtual_service("shop/a", &format!("{{route: [{TO_V2}]}}"))
        .subsets("shop/first", 1, &["v1"], "")
        .subsets("shop/second", 2, &["v2"], "");
    assert_eq!(mesh.way("client", "server"), "Routed shop/a server.shop:80/v2=1");
    assert_eq!(rule(&mesh, "client"), "shop/first");
}

#[test]
fn the_most_specific_host_hides_the_others() {
    let wide = "{host: '*.shop.svc.cluster.local', subsets: [{name: v1, labels: {version: v1}}]}";
    let mesh = to_v1().aged("DestinationRule", "shop/wide", 1, wide).subsets("shop/exact", 2, &["v2"], "");
    assert_eq!(mesh.way("client", "server"), "NoCluster shop/a !server.shop:80/v1=1");
}

#[test]
fn a_private_rule_of_the_hosts_namespace_is_not_for_others() {
    let mesh = to_v1().subsets("shop/host", 1, &["v1"], ", exportTo: [.]");
    assert_eq!(mesh.way("guest", "server.shop"), "NoCluster shop/a !server.shop:80/v1=1");
    assert_eq!(mesh.way("client", "server.shop"), "Routed shop/a server.shop:80/v1=1");
}

#[test]
fn a_rule_for_a_selection_of_callers_is_for_those() {
    let selection = ", workloadSelector: {matchLabels: {app: client}}";
    let mesh = to_v1().subsets("shop/all", 1, &["v2"], "").subsets("shop/some", 2, &["v1"], selection);
    assert_eq!(rule(&mesh, "client"), "shop/some");
}
