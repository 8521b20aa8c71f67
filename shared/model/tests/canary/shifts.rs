use mesh_model::canary::history::History;
use mesh_model::canary::plan::{self, NoPlan, NoUndo, Wanted};
use mesh_model::world::World;
use proptest::prelude::*;

use crate::carriers::SPLIT;
use crate::shop::{ask, look, occasion, pointers, shift, specs};
use crate::support::{Mesh, SERVER, TO_V2};

const OTHER: &str = "{destination: {host: legacy.shop.svc.cluster.local}, weight: 30}";

/// A VirtualService for the server with some routes.
fn with(mesh: Mesh, key: &str, routes: &str) -> Mesh {
    mesh.object("VirtualService", key, &format!("{{hosts: [{SERVER}], {routes}}}"))
}

fn mesh(routes: &str) -> Mesh {
    with(Mesh::new().subsets("shop/rule", 1, &["v1", "v2"], ""), "shop/a", routes)
}

/// The weights of all routes.
fn weights(world: &World) -> Vec<Vec<u32>> {
    look(world, |shop| shop.carriers.iter().map(|carrier| carrier.weights()).collect())
}

fn no_plan(mesh: &Mesh, percent: u32, wanted: &Wanted) -> NoPlan {
    ask(mesh, |shop| {
        let found = plan::moving(&shop.carriers, shop.version("v2"), percent, wanted);
        found.expect_err("no plan")
    })
}

#[test]
fn only_weights_and_the_history_change() {
    let world = mesh(&format!(
        "http: [{{timeout: 3s, retries: {{attempts: 2}}, new: {{field: 1}}, route: [{SPLIT}]}}]"
    ))
    .world();
    let (_, changes) = shift(&world, "v2", 50, &Wanted::Same, "1");
    assert_eq!(
        pointers(&changes),
        ["/spec/http/0/route/0/weight", "/spec/http/0/route/1/weight", "/metadata/annotations"]
    );
    assert_eq!(weights(&world.after(&changes).expect("it fits")), [[50, 50]]);
}

#[test]
fn a_route_of_the_canary_alone_is_kept() {
    let world = mesh(&format!(
        "http: [{{match: [{{headers: {{x-canary: {{exact: 'true'}}}}}}], route: [{TO_V2}]}}, {{route: [{SPLIT}]}}]"
    ))
    .world();
    let (moving, changes) = shift(&world, "v2", 50, &Wanted::Same, "1");
    assert_eq!(moving.len(), 1);
    assert_eq!(weights(&world.after(&changes).expect("it fits")), [vec![100], vec![50, 50]]);
}

#[test]
fn third_destinations_keep_their_ratio() {
    let world = mesh(&format!(
        "http: [{{route: [{{destination: {{host: {SERVER}, subset: v1}}, weight: 60}}, {OTHER}, \
         {{destination: {{host: {SERVER}, subset: v2}}, weight: 10}}]}}]"
    ))
    .world();
    let (_, changes) = shift(&world, "v2", 40, &Wanted::Same, "1");
    let after = world.after(&changes).expect("it fits");
    assert_eq!(weights(&after), [[40, 20, 40]]);
    // Also after they had nothing: the history knows their ratio.
    let (_, changes) = shift(&after, "v2", 100, &Wanted::Same, "2");
    let all = after.after(&changes).expect("it fits");
    assert_eq!(weights(&all), [[0, 0, 100]]);
    let (_, changes) = shift(&all, "v2", 10, &Wanted::Same, "3");
    assert_eq!(weights(&all.after(&changes).expect("it fits")), [[60, 30, 10]]);
}

#[test]
fn http_tls_and_tcp_routes_move_together() {
    let world = mesh(&format!(
        "http: [{{route: [{SPLIT}]}}], tcp: [{{route: [{SPLIT}]}}], tls: [{{match: [{{sniHosts: [{SERVER}]}}], route: [{SPLIT}]}}]"
    ))
    .world();
    let (moving, changes) = shift(&world, "v2", 25, &Wanted::Same, "1");
    assert_eq!((moving.len(), changes.len()), (3, 1));
    assert_eq!(weights(&world.after(&changes).expect("it fits")), [[75, 25], [75, 25], [75, 25]]);
}

#[test]
fn routes_with_other_shares_are_not_moved_unasked() {
    let other = SPLIT.replace("weight: 90", "weight: 50").replace("weight: 10", "weight: 50");
    let mesh = mesh(&format!(
        "http: [{{match: [{{uri: {{prefix: /a}}}}], route: [{SPLIT}]}}, {{name: rest, route: [{other}]}}]"
    ));
    assert_eq!(
        no_plan(&mesh, 20, &Wanted::Same),
        NoPlan::Ambiguous {
            routes: vec![("shop/a http[0]".to_owned(), Some(10.0)), ("shop/a rest".to_owned(), Some(50.0))]
        }
    );
    let world = mesh.world();
    for (wanted, expected) in [
        (Wanted::All, [[80, 20], [80, 20]]),
        (Wanted::Named(vec!["rest".to_owned()]), [[90, 10], [80, 20]]),
        (Wanted::Named(vec!["http[0]".to_owned()]), [[80, 20], [50, 50]]),
        (Wanted::Named(vec!["shop/a".to_owned()]), [[80, 20], [80, 20]]),
    ] {
        let (_, changes) = shift(&world, "v2", 20, &wanted, "1");
        assert_eq!(weights(&world.after(&changes).expect("it fits")), expected, "{wanted:?}");
    }
    assert_eq!(
        no_plan(&mesh, 20, &Wanted::Named(vec!["nowhere".to_owned()])),
        NoPlan::NoSuchRoute {
            name: "nowhere".to_owned(),
            routes: vec!["shop/a http[0]".to_owned(), "shop/a rest".to_owned()]
        }
    );
}

#[test]
fn a_route_without_a_split_is_no_plan() {
    let mesh = mesh(&format!("http: [{{route: [{TO_V2}]}}]"));
    let found = no_plan(&mesh, 20, &Wanted::Same);
    assert_eq!(found, NoPlan::NoSplit { canary: "v2".to_owned(), routes: vec!["shop/a http[0]".to_owned()] });
}

#[test]
fn weights_that_are_so_already_change_nothing() {
    let world = mesh(&format!("http: [{{route: [{SPLIT}]}}]")).world();
    assert_eq!(shift(&world, "v2", 10, &Wanted::Same, "1").1, []);
}

/// The World after a step is taken back.
fn undone(world: &World, id: &str) -> Result<World, NoUndo> {
    look(world, |shop| {
        let step = plan::last_step(&shop.carriers).ok_or(NoUndo::Nothing)?;
        let moving = plan::undoing(&shop.carriers, &step)?;
        let changes = plan::changes(&shop.carriers, "v2", 10, &moving, &occasion(id)).expect("changes");
        Ok(world.after(&changes).expect("it fits"))
    })
}

#[test]
fn undoing_refuses_where_somebody_changed_the_weights_since() {
    let world = mesh(&format!("http: [{{route: [{SPLIT}]}}]")).world();
    assert_eq!(undone(&world, "1").err(), Some(NoUndo::Nothing));
    let (_, changes) = shift(&world, "v2", 50, &Wanted::Same, "1");
    let shifted = world.after(&changes).expect("it fits");
    let object = shifted.virtual_services.first().expect("it").object.clone();
    let edit = mesh_model::change::Edit::of(&object);
    let edit = edit.set("/spec/http/0/route/0/weight", 70.into()).expect("a place").patch();
    let edited = shifted.after(&[mesh_model::change::Change::Patch(edit)]).expect("it fits");
    assert_eq!(
        undone(&edited, "2").err(),
        Some(NoUndo::ChangedSince {
            object: "shop/a".to_owned(),
            pointer: "/spec/http/0".to_owned(),
            left: vec![50, 50],
            found: vec![70, 50],
        })
    );
}

#[test]
fn an_interrupted_step_says_what_it_has_not_reached() {
    let mesh = with(
        mesh(&format!("http: [{{route: [{SPLIT}]}}]")),
        "shop/b",
        &format!("http: [{{route: [{SPLIT}]}}]"),
    );
    let world = mesh.world();
    let (_, changes) = shift(&world, "v2", 50, &Wanted::Same, "1");
    let [first, _] = changes.as_slice() else { panic!("two objects") };
    let unreached = |world: &World| {
        look(world, |shop| {
            let step = plan::last_step(&shop.carriers).expect("a step");
            plan::unreached(&shop.carriers, &step)
        })
    };
    let half = world.after(std::slice::from_ref(first)).expect("it fits");
    assert_eq!(unreached(&half), ["shop/b"]);
    assert_eq!(unreached(&world.after(&changes).expect("it fits")), [""; 0]);
    // Taking it back touches only what it reached.
    assert_eq!(specs(&undone(&half, "2").expect("undone")), specs(&world));
}

#[test]
fn ten_steps_are_kept_and_the_shift_ends_with_all_or_nothing() {
    let mut world = mesh(&format!("http: [{{route: [{SPLIT}]}}]")).world();
    for step in 1..=12 {
        let (_, changes) = shift(&world, "v2", 20 + step, &Wanted::Same, &format!("{step:02}"));
        world = world.after(&changes).expect("it fits");
    }
    let history = |world: &World| History::of(&world.virtual_services.first().expect("it").object);
    let kept: Vec<String> = history(&world).steps.iter().map(|step| step.id.clone()).collect();
    assert_eq!((kept.len(), kept.first().map(String::as_str)), (10, Some("03")));
    assert_eq!(history(&world).canary.as_deref(), Some("v2"));
    let (_, changes) = shift(&world, "v2", 100, &Wanted::Same, "13");
    assert_eq!(history(&world.after(&changes).expect("it fits")).canary, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Of any number of routes in any number of objects only weights differ after a shift, each total is as
    /// before (or 100 where the share is no whole number of it), and taking the step back leaves the first World.
    #[test]
    fn a_shift_moves_weights_alone_and_can_be_taken_back(
        objects in prop::collection::vec(prop::collection::vec((1u32..200, 0u32..200, 0u32..200), 1..4), 1..4),
        percent in 0u32..=100,
    ) {
        let mut mesh = Mesh::new().subsets("shop/rule", 1, &["v1", "v2"], "");
        for (number, routes) in objects.iter().enumerate() {
            let route = |(index, (v1, v2, other)): (usize, &(u32, u32, u32))| format!(
                "{{match: [{{uri: {{prefix: /{index}}}}}], timeout: {index}s, route: [{{destination: {{host: {SERVER}, subset: v1}}, weight: {v1}}}, \
                 {{destination: {{host: legacy.shop.svc.cluster.local}}, weight: {other}, headers: {{request: {{remove: [x]}}}}}}, \
                 {{destination: {{host: {SERVER}, subset: v2}}, weight: {v2}}}]}}"
            );
            let routes: Vec<String> = routes.iter().enumerate().map(route).collect();
            mesh = with(mesh, &format!("shop/a{number}"), &format!("http: [{}]", routes.join(", ")));
        }
        let world = mesh.world();
        let (moving, changes) = shift(&world, "v2", percent, &Wanted::All, "1");
        for pointer in pointers(&changes) {
            let is_weight = pointer.starts_with("/spec/http/") && pointer.ends_with("/weight");
            prop_assert!(is_weight || pointer.starts_with("/metadata/annotations"), "{}", pointer);
        }
        let after = world.after(&changes).expect("it fits");
        for (before, now) in weights(&world).iter().zip(&weights(&after)) {
            let (old, new): (u32, u32) = (before.iter().sum(), now.iter().sum());
            prop_assert!(new == old || old < 100 && new == 100, "{:?} {:?}", before, now);
        }
        let moved = moving.iter().any(|one| one.from != one.to);
        prop_assert_eq!(changes.is_empty(), !moved);
        if moved {
            prop_assert_eq!(specs(&undone(&after, "2").expect("undone")), specs(&world));
        }
    }
}
