//! Delegates: `MergeHTTPRoutes`, `mergeHTTPMatchRequests` and `hasConflict` in
//! `pilot/pkg/model/virtualservice.go`.

use mesh_model::routing::action::Action;
use mesh_model::routing::{Dropped, Routing};

use crate::support::{Mesh, SERVER, TO_ALL, request};

fn root(http: &str) -> Mesh {
    Mesh::new().object("VirtualService", "shop/root", &format!("{{hosts: [{SERVER}], http: [{http}]}}"))
}

fn delegate(mesh: Mesh, http: &str, more: &str) -> Mesh {
    mesh.object("VirtualService", "other/part", &format!("{{http: [{http}]{more}}}"))
}

const HANDS_ON: &str = "match: [{uri: {prefix: /api}}], delegate: {name: part, namespace: other}";

fn dropped(mesh: &Mesh) -> Vec<Dropped> {
    Routing::new(&mesh.world()).virtual_services.dropped
}

#[test]
fn a_delegates_routes_stand_in_its_roots_place() {
    let mesh = delegate(
        root(&format!("{{{HANDS_ON}}}")),
        &format!("{{match: [{{uri: {{prefix: /api/x}}}}], route: [{TO_ALL}]}}"),
        "",
    );
    assert_eq!(mesh.way("client", "server/api/x"), "Routed shop/root server.shop:80/=1");
    assert_eq!(mesh.way("client", "server/api/y"), "NotFound shop/root");
}

#[test]
fn the_place_is_the_delegates() {
    let mesh = delegate(root(&format!("{{{HANDS_ON}}}")), &format!("{{route: [{TO_ALL}]}}"), "");
    let place = mesh.ask("client", &request("server/api"), |answer| {
        answer.place.as_ref().map(|place| place.object.key())
    });
    assert_eq!(place.as_deref(), Some("other/part"));
}

#[test]
fn a_delegate_without_matches_has_its_roots() {
    let mesh = delegate(root(&format!("{{{HANDS_ON}}}")), &format!("{{route: [{TO_ALL}]}}"), "");
    assert_eq!(mesh.way("client", "server/other"), "NotFound shop/root");
}

fn timeout(mesh: &Mesh) -> u64 {
    mesh.ask("client", &request("server/api"), |answer| {
        match answer.route.as_ref().map(|route| &route.action) {
            Some(Action::Forward { timeout, .. }) => timeout.as_secs(),
            other => panic!("{other:?}"),
        }
    })
}

#[test]
fn a_delegate_inherits_what_it_does_not_say() {
    let mesh = delegate(root(&format!("{{{HANDS_ON}, timeout: 3s}}")), &format!("{{route: [{TO_ALL}]}}"), "");
    assert_eq!(timeout(&mesh), 3);
}

#[test]
fn a_delegates_own_setting_comes_first() {
    let mesh = delegate(
        root(&format!("{{{HANDS_ON}, timeout: 3s}}")),
        &format!("{{timeout: 1s, route: [{TO_ALL}]}}"),
        "",
    );
    assert_eq!(timeout(&mesh), 1);
}

#[test]
fn a_match_outside_of_the_roots_is_left_out() {
    let mesh = delegate(
        root(&format!("{{{HANDS_ON}}}")),
        &format!("{{match: [{{uri: {{prefix: /web}}}}], route: [{TO_ALL}]}}"),
        "",
    );
    let (root, delegate) = ("shop/root".to_owned(), "other/part".to_owned());
    assert_eq!(dropped(&mesh), [Dropped::Conflict { root, delegate, pointer: "/spec/http/0".to_owned() }]);
}

#[test]
fn a_delegate_that_is_not_exported_is_left_out() {
    let mesh =
        delegate(root(&format!("{{{HANDS_ON}}}")), &format!("{{route: [{TO_ALL}]}}"), ", exportTo: [.]");
    let (root, delegate) = ("shop/root".to_owned(), "other/part".to_owned());
    assert_eq!(dropped(&mesh), [Dropped::NotExported { root, delegate }]);
}

#[test]
fn a_delegate_that_is_not_there_is_left_out() {
    let mesh = root(&format!("{{{HANDS_ON}}}"));
    let (root, delegate) = ("shop/root".to_owned(), "other/part".to_owned());
    assert_eq!(dropped(&mesh), [Dropped::NotFound { root, delegate }]);
}
