use mesh_model::canary::init::{Init, NoInit, init};
use mesh_model::change::Change;
use mesh_model::world::World;

use crate::shop::look;
use crate::support::{Mesh, TO_ALL, request, way};

fn plan(world: &World, label: &str) -> Result<Init, NoInit> {
    look(world, |shop| {
        let service = world.services.iter().find(|one| one.object.name == "server").expect("the server");
        init(shop.routing, service, shop.host, &shop.carriers, label, Some("v2"))
    })
}

fn written(changes: &[Change]) -> Vec<String> {
    let of = |change: &Change| {
        let verb = match change {
            Change::Create(_) => "create",
            Change::Patch(_) => "patch",
            Change::Delete { .. } => "delete",
        };
        format!("{verb} {}", change.object())
    };
    changes.iter().map(of).collect()
}

/// After the plan, requests go where they went.
fn holds(mesh: &Mesh, plan: &Init) {
    let world = mesh.world();
    let changes: Vec<Change> = plan.first.iter().chain(&plan.then).cloned().collect();
    let after = world.after(&changes).expect("a plan that fits");
    for text in ["server:80", "tcp://server:90", "tls://server:443", "tls://server.shop:443", "server:70"] {
        let outcome = |world: &World| {
            crate::support::ask(world, "client", &request(text), |answer| {
                (format!("{:?}", answer.outcome), answer.destinations.len())
            })
        };
        assert_eq!(outcome(&world), outcome(&after), "{text}");
    }
}

#[test]
fn subsets_come_first_and_the_routes_after_them() {
    let mesh = Mesh::new();
    let plan = plan(&mesh.world(), "version").expect("a plan");
    assert_eq!(plan.versions, ["v1", "v2"]);
    assert_eq!(written(&plan.first), ["create DestinationRule shop/server"]);
    assert_eq!(written(&plan.then), ["create VirtualService shop/server"]);
    holds(&mesh, &plan);
}

#[test]
fn a_tls_port_is_left_as_it_is() {
    let mesh = Mesh::new();
    let plan = plan(&mesh.world(), "version").expect("a plan");
    assert!(plan.notes.iter().any(|note| note.starts_with("port 443 is TLS")), "{:?}", plan.notes);
    let after = mesh.world().after(&plan.then).expect("a plan that fits");
    let found = crate::support::ask(&after, "client", &request("tls://server.shop:443"), way);
    assert_eq!(found, "Routed - server.shop:443/=1");
}

#[test]
fn names_that_are_taken_are_left_alone() {
    let mesh = Mesh::new()
        .object(
            "VirtualService",
            "shop/server",
            "{hosts: [other.example.com], http: [{directResponse: {status: 200}}]}",
        )
        .object("DestinationRule", "shop/server", "{host: '*.example.com'}");
    let plan = plan(&mesh.world(), "version").expect("a plan");
    assert_eq!(written(&plan.first), ["create DestinationRule shop/server-versions"]);
    assert_eq!(written(&plan.then), ["create VirtualService shop/server-versions"]);
    holds(&mesh, &plan);
}

#[test]
fn a_rule_that_is_there_gets_the_missing_subset_and_a_route_its_split() {
    let mesh = Mesh::new()
        .subsets("shop/rule", 1, &["v1"], "")
        .virtual_service("shop/a", &format!("{{timeout: 3s, route: [{TO_ALL}]}}"));
    let plan = plan(&mesh.world(), "version").expect("a plan");
    assert_eq!(written(&plan.first), ["patch DestinationRule shop/rule"]);
    assert_eq!(written(&plan.then), ["patch VirtualService shop/a"]);
    holds(&mesh, &plan);
}

#[test]
fn a_policy_of_another_rule_is_taken_along() {
    let mesh = Mesh::new().object(
        "DestinationRule",
        "shop/wide",
        "{host: '*.svc.cluster.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
    );
    let plan = plan(&mesh.world(), "version").expect("a plan");
    let [Change::Create(rule)] = plan.first.as_slice() else { panic!("{:?}", written(&plan.first)) };
    assert_eq!(rule.get("/spec/trafficPolicy/tls/mode").and_then(|mode| mode.as_str()), Some("ISTIO_MUTUAL"));
    assert!(plan.notes.iter().any(|note| note.contains("shop/wide")));
}

#[test]
fn what_is_there_already_is_not_made_again() {
    let mesh = Mesh::new();
    let world = mesh.world();
    let first = plan(&world, "version").expect("a plan");
    let changes: Vec<Change> = first.first.into_iter().chain(first.then).collect();
    let again = plan(&world.after(&changes).expect("a plan that fits"), "version").expect("a plan");
    assert_eq!((again.first, again.then), (Vec::new(), Vec::new()));
}

#[test]
fn why_nothing_can_be_made() {
    let world = Mesh::new().world();
    let one = NoInit::OneVersion { label: "app".to_owned(), version: "server".to_owned() };
    assert_eq!(plan(&world, "app").err(), Some(one));
    let Err(NoInit::Unlabelled { workloads, .. }) = plan(&world, "track") else { panic!("no label") };
    assert_eq!(workloads.len(), 2);
}
