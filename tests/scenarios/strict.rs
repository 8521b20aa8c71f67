//! The scenario that docs/lab.md shows.

use mesh_lab::{Mesh, Request};

use crate::clients::client;

#[test]
fn strict_resets_those_without_a_sidecar() {
    let Some(mesh) = Mesh::shared() else { return };
    client(mesh, "shop", true).unwrap();
    client(mesh, "outside", false).unwrap();
    mesh.apply(
        "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: STRICT } }
",
    )
    .unwrap();
    mesh.settle().unwrap();
    let answer = mesh.call("outside/client", &Request::get("http://client.shop:8080/")).unwrap();
    assert_eq!(answer.outcome(), "reset");
}

#[test]
fn the_page_shows_a_scenario_that_runs() {
    let page = include_str!("../../docs/lab.md");
    let (_, shown) = page.split_once("```rust\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    assert!(include_str!("strict.rs").contains(shown));
}
