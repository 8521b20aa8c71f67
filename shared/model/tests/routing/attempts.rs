//! Copies that stand in front of originals: `initVirtualServices` and `SelectVirtualServices` put what is private
//! or exported by name before what is public.

use mesh_model::canary::attempt::{self, NoAttempt, Purpose, Stale};
use mesh_model::canary::carrier::carriers;
use mesh_model::canary::plan::{self, Wanted, weights_only};
use mesh_model::canary::version::{canary, versions};
use mesh_model::change::Change;
use mesh_model::object::{Kind, Object};
use mesh_model::routing::Routing;
use mesh_model::routing::action::Action;
use mesh_model::routing::request::Request;
use mesh_model::service::Service;
use mesh_model::world::World;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::support::{Mesh, SERVER, TO_ALL, ask, object, objects, request, with_header};

const SPLIT: &str = "{destination: {host: server.shop.svc.cluster.local, subset: v1}, weight: 90}, \
                     {destination: {host: server.shop.svc.cluster.local, subset: v2}, weight: 10}";

/// The shop with a gateway, and subsets.
fn shop() -> Mesh {
    Mesh::new()
        .pod("shop", "edge", "{app: edge}")
        .service("shop", "edge", "10.0.0.9", "{name: http, port: 80, targetPort: 80}")
        .subsets("shop/rule", 1, &["v1", "v2"], "")
        .object(
            "Gateway",
            "shop/edge",
            "{selector: {app: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}",
        )
}

fn with(mesh: Mesh, key: &str, age: u32, http: &str, more: &str) -> Mesh {
    mesh.aged("VirtualService", key, age, &format!("{{hosts: [{SERVER}], http: [{http}]{more}}}"))
}

fn server(world: &World) -> &Service {
    world.services.iter().find(|service| service.object.name == "server").expect("the server")
}

/// A job that the copies could burn with.
fn job(name: &str) -> Object {
    object(&format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: {name}, namespace: shop, uid: u-{name}}}}}"
    ))
}

/// What an attempt makes of a World.
struct Outcome {
    /// The World in which the originals have the new weights.
    wanted: World,
    /// The World with the copies, as the server would make them.
    found: World,
    copies: Vec<Object>,
}

fn attempt(world: &World, percent: u32) -> Result<Outcome, NoAttempt> {
    let routing = Routing::new(world);
    let service = server(world);
    let host = routing.registry.of(SERVER, "shop").expect("a host");
    let carriers = carriers(&routing, host, &routing.callers());
    let versions = versions(&routing, host, &carriers);
    let (v2, _) = canary(&versions, &carriers, Some("v2")).expect("v2");
    let moving = plan::moving(&carriers, v2, percent, &Wanted::All).expect("a plan");
    let purpose = Purpose { service: &service.object, canary: "v2", percent };
    let copies = attempt::copies(&routing, &carriers, &moving, purpose)?;
    let wanted = world.after(&weights_only(&carriers, &moving).expect("weights")).expect("patches");
    let changes = attempt::changes(None, copies.clone(), &job("fuse")).expect("changes");
    let changes = changes.into_iter().map(|change| match change {
        Change::Create(mut copy) => {
            copy.value["metadata"]["creationTimestamp"] = json!("2026-02-01T00:00:00Z");
            Change::Create(copy)
        }
        other => panic!("{other:?}"),
    });
    let found = world.after(&changes.collect::<Vec<_>>()).expect("copies");
    Ok(Outcome { wanted, found, copies })
}

/// What a request takes, but for where that is written.
fn way(world: &World, from: &str, request: &Request) -> String {
    ask(world, from, request, |answer| {
        let settings = answer.route.as_ref().map(|route| match &route.action {
            Action::Forward { timeout, retries, rewrite, .. } => {
                format!("{} {timeout:?} {retries:?} {rewrite:?} {:?}", route.name, route.fault)
            }
            other => format!("{other:?}"),
        });
        let destinations =
            answer.destinations.iter().map(|(one, _)| format!("{}={}", one.cluster.name(), one.weight));
        format!("{:?} {settings:?} {}", answer.outcome, destinations.collect::<Vec<_>>().join(" "))
    })
}

fn requests() -> Vec<Request> {
    let texts = [
        "server.shop",
        "server.shop/a",
        "server.shop/a/b",
        "tcp://server.shop:90",
        "shop.example.com/a",
        "shop.example.com",
    ];
    texts.map(request).into_iter().chain([with_header("server.shop/a", "x", "1")]).collect()
}

/// That every caller takes what is wanted, and how many requests are routed otherwise than before.
fn compare(world: &World, outcome: &Outcome) -> usize {
    let mut moved = 0;
    for from in ["client", "guest", "edge", "v1"] {
        for request in requests() {
            let (wanted, found) = (way(&outcome.wanted, from, &request), way(&outcome.found, from, &request));
            assert_eq!(wanted, found, "{from} {request:?}");
            moved += usize::from(way(world, from, &request) != found);
        }
    }
    moved
}

fn moved(mesh: &Mesh) -> usize {
    let world = mesh.world();
    compare(&world, &attempt(&world, 50).expect("an attempt"))
}

fn refused(mesh: &Mesh) -> NoAttempt {
    attempt(&mesh.world(), 50).err().expect("a refusal")
}

#[test]
fn a_copy_comes_before_a_public_original() {
    let mesh = with(
        shop(),
        "shop/server",
        1,
        &format!("{{name: all, timeout: 3s, x-unknown: 1, route: [{SPLIT}]}}"),
        "",
    );
    let world = mesh.world();
    let outcome = attempt(&world, 50).expect("an attempt");
    assert!(compare(&world, &outcome) > 0);
    let [copy] = outcome.copies.as_slice() else { panic!("{:?}", outcome.copies) };
    assert_eq!(copy.key(), "shop/server-try");
    assert_eq!(copy.get("/spec/exportTo"), Some(&json!(["other", "."])));
    assert_eq!(copy.get("/spec/http/0/x-unknown"), Some(&json!(1)));
    assert_eq!(copy.get("/spec/http/0/route/1/weight"), Some(&json!(50)));
    for from in ["client", "guest"] {
        let taken = ask(&outcome.found, from, &request("server.shop"), |answer| {
            answer.virtual_service.map(|one| one.object.key())
        });
        assert_eq!(taken.as_deref(), Some("shop/server-try"));
    }
}

#[test]
fn what_is_private_or_exported_by_name_has_nothing_before_it() {
    for more in [", exportTo: ['.', other]", ", exportTo: [shop, other]", ", exportTo: ['.']"] {
        let refused = refused(&with(shop(), "shop/server", 1, &format!("{{route: [{SPLIT}]}}"), more));
        let NoAttempt::NotPublic { virtual_service, callers } = refused else { panic!("{refused}") };
        assert_eq!(virtual_service, "shop/server");
        assert!(callers.contains("namespace"), "{callers}");
    }
    let mesh = with(shop(), "shop/server", 1, &format!("{{route: [{SPLIT}]}}"), "");
    let refused = refused(&mesh.config("defaultVirtualServiceExportTo: ['.']"));
    assert!(matches!(refused, NoAttempt::NotPublic { .. }), "{refused}");
}

#[test]
fn an_older_one_of_the_callers_own_still_comes_first() {
    let mesh = with(shop(), "shop/server", 1, &format!("{{route: [{SPLIT}]}}"), "");
    let mesh = with(mesh, "other/own", 2, &format!("{{route: [{TO_ALL}]}}"), ", exportTo: ['.']");
    let world = mesh.world();
    let outcome = attempt(&world, 50).expect("an attempt");
    assert!(compare(&world, &outcome) > 0);
    assert_eq!(outcome.copies[0].get("/spec/exportTo"), Some(&json!(["."])));
}

#[test]
fn an_original_of_another_namespace_is_copied_beside_the_service() {
    // Names in it are those of its own namespace.
    let route = format!(
        "{{mirrors: [{{destination: {{host: mirror}}}}], \
         route: [{SPLIT}, {{destination: {{host: legacy}}, weight: 10}}]}}"
    );
    let mesh = with(shop(), "other/server", 1, &route, "");
    let mesh = mesh.service("other", "legacy", "10.0.0.5", "{name: http, port: 80}");
    let world = mesh.world();
    let outcome = attempt(&world, 50).expect("an attempt");
    assert!(compare(&world, &outcome) > 0);
    assert_eq!(outcome.copies[0].key(), "shop/server-other-try");
    for (pointer, host) in [("mirrors/0", "mirror"), ("route/2", "legacy")] {
        let host = json!(format!("{host}.other.svc.cluster.local"));
        assert_eq!(outcome.copies[0].get(&format!("/spec/http/0/{pointer}/destination/host")), Some(&host));
    }
}

#[test]
fn delegates_stand_in_their_places() {
    let hands_on =
        "{name: r, match: [{uri: {prefix: /a}}], timeout: 2s, delegate: {name: part, namespace: other}}";
    let part = format!(
        "{{http: [{{name: d, match: [{{uri: {{prefix: /a/b}}}}], route: [{SPLIT}]}}, {{route: [{SPLIT}]}}]}}"
    );
    let mesh = with(shop(), "shop/root", 1, &format!("{hands_on}, {{route: [{TO_ALL}]}}"), "");
    assert!(moved(&mesh.object("VirtualService", "other/part", &part)) > 0);
}

#[test]
fn rules_for_some_callers_stay_so() {
    let mesh = with(
        shop(),
        "shop/old",
        1,
        &format!("{{match: [{{sourceLabels: {{app: client}}}}], route: [{SPLIT}]}}"),
        "",
    );
    let mesh = with(mesh, "shop/rest", 2, &format!("{{route: [{SPLIT}]}}"), "");
    assert!(moved(&mesh) > 0);
    let mesh = with(
        shop(),
        "shop/some",
        1,
        &format!("{{match: [{{sourceNamespace: other}}], route: [{SPLIT}]}}"),
        "",
    );
    assert!(moved(&mesh) > 0);
}

#[test]
fn tcp_moves_too() {
    let spec = format!("{{hosts: [{SERVER}], tcp: [{{match: [{{port: 90}}], route: [{SPLIT}]}}]}}");
    assert!(moved(&shop().aged("VirtualService", "shop/server", 1, &spec)) > 0);
}

#[test]
fn gateways_join_routes_and_a_copy_keeps_their_order() {
    let bound = |mesh: Mesh, key: &str, age: u32, http: &str| {
        let spec = format!("{{hosts: [shop.example.com], gateways: [shop/edge], http: [{http}]}}");
        mesh.aged("VirtualService", key, age, &spec)
    };
    // The first stays, and stands before a route of the second: of that, only what moves is copied.
    let first = format!("{{match: [{{uri: {{prefix: /a}}}}], route: [{TO_ALL}]}}");
    let second = format!(
        "{{match: [{{uri: {{prefix: /a}}}}], rewrite: {{uri: /}}, route: [{TO_ALL}]}}, {{route: [{SPLIT}]}}"
    );
    let mesh = bound(bound(shop(), "shop/a", 1, &first), "shop/b", 2, &second);
    let world = mesh.world();
    let outcome = attempt(&world, 50).expect("an attempt");
    assert!(compare(&world, &outcome) > 0);
    assert_eq!(outcome.copies[0].get("/spec/http/1"), None);
    // Where what moves stands behind another route for the same requests, no copy is right.
    let third = format!("{{match: [{{uri: {{prefix: /a/b}}}}], route: [{SPLIT}]}}");
    let refused = refused(&bound(bound(shop(), "shop/a", 1, &first), "shop/b", 2, &third));
    assert!(refused.to_string().contains("gateway edge in shop"), "{refused}");
}

#[test]
fn nothing_to_move_is_no_attempt() {
    let mesh = with(shop(), "shop/server", 1, &format!("{{route: [{SPLIT}]}}"), "");
    assert_eq!(attempt(&mesh.world(), 10).err(), Some(NoAttempt::Nothing));
}

/// An attempt under way, in a World that can be changed.
fn under_way() -> World {
    let mesh = with(shop(), "shop/server", 1, &format!("{{name: all, route: [{SPLIT}]}}"), "");
    attempt(&mesh.world(), 50).expect("an attempt").found
}

fn stale(world: &World) -> Option<Stale> {
    let standing = attempt::standing(world, server(world)).expect("a standing");
    standing.expect("an attempt").stale
}

fn edited(world: &World, key: &str, pointer: &str, value: &serde_json::Value) -> World {
    let is_it = |object: &&std::sync::Arc<Object>| object.kind == Kind::VirtualService && object.key() == key;
    let original = world.objects().iter().find(is_it).expect("the original");
    let edit = mesh_model::change::Edit::of(original).set(pointer, value.clone()).expect("a place");
    world.after(&[Change::Patch(edit.patch())]).expect("an edit")
}

#[test]
fn an_attempt_is_read_back_and_ends() {
    let world = under_way();
    let running = attempt::running(&world, "shop/server").expect("an attempt");
    assert_eq!((running.attempt.canary.as_str(), running.attempt.percent), ("v2", 50));
    assert_eq!(running.attempt.of, "shop/server");
    assert_eq!(running.jobs().into_iter().collect::<Vec<_>>(), ["fuse"]);
    assert_eq!(running.orphans().count(), 0);
    assert_eq!(attempt::running(&world, "shop/client"), None);
    let after = attempt::without(&world, &running).expect("an end");
    assert_eq!(attempt::running(&after, "shop/server"), None);
    let weights = ask(&after, "client", &request("server.shop"), |answer| {
        answer.destinations.iter().map(|(one, _)| one.weight).collect::<Vec<_>>()
    });
    assert_eq!(weights, [90, 10]);
}

#[test]
fn a_copy_is_stale_when_its_original_has_changed() {
    let world = under_way();
    assert_eq!(stale(&world), None);
    let changed = edited(&world, "shop/server", "/spec/http/0/timeout", &json!("5s"));
    let Some(Stale::Changed { original, copy, pointer }) = stale(&changed) else { panic!("not stale") };
    assert_eq!((original.as_str(), copy.as_str()), ("shop/server", "shop/server-try"));
    assert_eq!(pointer, "/spec/http/0/timeout");
    // Other weights are what the copy is for.
    let weights = edited(&world, "shop/server", "/spec/http/0/route/1/weight", &json!(20));
    assert_eq!(stale(&weights), None);
    let private = edited(&world, "shop/server", "/spec/exportTo", &json!([".", "other"]));
    assert!(matches!(stale(&private), Some(Stale::Refused(NoAttempt::NotPublic { .. }))));
    let gone =
        edited(&world, "shop/server", "/spec/http/0/route", &json!([{"destination": {"host": SERVER}}]));
    assert!(matches!(stale(&gone), Some(Stale::Route { .. })));
    // Callers of a namespace that the copy does not name go by the original.
    let third = objects(
        "{apiVersion: v1, kind: Namespace, metadata: {name: third, labels: {istio-injection: enabled}}}\n---\n\
         {apiVersion: v1, kind: Pod, metadata: {name: new, namespace: third, labels: {app: new}}, spec: {containers: [{name: main}, {name: istio-proxy}]}}",
    );
    let more = world.clone().with(third);
    assert!(
        matches!(stale(&more), Some(Stale::Changed { pointer, .. }) if pointer.starts_with("/spec/exportTo"))
    );
}

#[test]
fn what_is_kept_are_the_weights_of_the_attempt() {
    let world = under_way();
    let running = attempt::running(&world, "shop/server").expect("an attempt");
    let without = attempt::without(&world, &running).expect("an end");
    let routing = Routing::new(&without);
    let host = routing.registry.of(SERVER, "shop").expect("a host");
    let carriers = carriers(&routing, host, &routing.callers());
    let kept = attempt::kept(&carriers, &running.attempt).expect("weights");
    assert_eq!((kept[0].from.as_slice(), kept[0].to.as_slice()), ([90, 10].as_slice(), [50, 50].as_slice()));
}

#[test]
fn another_attempt_changes_the_copy_in_place() {
    let world = under_way();
    let running = attempt::running(&world, "shop/server").expect("an attempt");
    let without = attempt::without(&world, &running).expect("an end");
    let copies = attempt(&without, 75).expect("an attempt").copies;
    let changes = attempt::changes(Some(&running), copies, &job("next")).expect("changes");
    let [Change::Patch(_)] = changes.as_slice() else { panic!("{changes:?}") };
    let world = world.after(&changes).expect("a change");
    let running = attempt::running(&world, "shop/server").expect("an attempt");
    assert_eq!(running.attempt.percent, 75);
    assert_eq!(running.jobs().into_iter().collect::<Vec<_>>(), ["next"]);
    assert_eq!(running.copies[0].get("/metadata/ownerReferences/1"), None);
    let weights = ask(&world, "client", &request("server.shop"), |answer| {
        answer.destinations.iter().map(|(one, _)| one.weight).collect::<Vec<_>>()
    });
    assert_eq!(weights, [25, 75]);
}

#[test]
fn a_jobs_name_fits_a_label() {
    assert_eq!(attempt::job_name("payment", "abc"), "payment-try-abc");
    assert_eq!(attempt::job_name(&"p".repeat(63), "abc").len(), 63);
}

fn http_route() -> impl Strategy<Value = String> {
    let matches = select(vec![
        "",
        "match: [{uri: {prefix: /a}}], ",
        "match: [{uri: {exact: /a/b}}], ",
        "match: [{headers: {x: {exact: '1'}}}], ",
        "match: [{sourceLabels: {app: client}}], ",
        "match: [{sourceNamespace: other}, {uri: {prefix: /a}}], ",
        "match: [{gateways: [mesh]}], ",
        "match: [{gateways: [shop/edge], uri: {prefix: /a}}], ",
        "match: [{port: 80}], ",
    ]);
    let more = select(vec![
        "",
        "timeout: 2s, ",
        "name: n, ",
        "fault: {abort: {httpStatus: 500, percentage: {value: 1}}}, ",
    ]);
    let destinations =
        select(vec![format!("route: [{SPLIT}]"), format!("route: [{SPLIT}]"), format!("route: [{TO_ALL}]")]);
    (matches, more, destinations).prop_map(|(matches, more, to)| format!("{{{matches}{more}{to}}}"))
}

/// One VirtualService: where it stands, and its spec.
fn virtual_service() -> impl Strategy<Value = (String, String)> {
    (
        select(vec!["shop", "other"]),
        select(vec!["server.shop.svc.cluster.local", "'*.shop.svc.cluster.local'", "shop.example.com"]),
        select(vec![
            "",
            "",
            ", exportTo: ['*']",
            ", exportTo: ['.']",
            ", exportTo: [other]",
            ", exportTo: [shop]",
        ]),
        select(vec!["", ", gateways: [shop/edge]", ", gateways: [mesh, shop/edge]"]),
        prop::collection::vec(http_route(), 1..4),
    )
        .prop_map(|(namespace, host, export_to, gateways, routes)| {
            (
                namespace.to_owned(),
                format!("{{hosts: [{host}], http: [{}]{export_to}{gateways}}}", routes.join(", ")),
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Every caller takes with the copies what it would take with the new weights, or there are no copies.
    #[test]
    fn copies_are_as_good_as_new_weights(
        specs in prop::collection::vec(virtual_service(), 1..4),
        delegated in http_route(),
    ) {
        let mut mesh = shop();
        for (age, (namespace, spec)) in (1..).zip(&specs) {
            mesh = mesh.aged("VirtualService", &format!("{namespace}/vs{age}"), age, spec);
        }
        let root = format!("{{match: [{{uri: {{prefix: /a}}}}], delegate: {{name: part, namespace: other}}}}, {{route: [{SPLIT}]}}");
        mesh = with(mesh, "shop/root", 50, &root, "");
        let world = mesh.object("VirtualService", "other/part", &format!("{{http: [{delegated}]}}")).world();
        if let Ok(outcome) = attempt(&world, 50) {
            compare(&world, &outcome);
        }
    }
}
