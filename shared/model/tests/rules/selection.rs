//! Which policies apply to a pod.

use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::judge::Verdict::{Allow, Deny};
use mesh_model::question::target::{Scope, find};
use mesh_model::question::who_can::who_can;
use mesh_model::world::{Snapshot, World};

use crate::support::{Mesh, http, objects};

#[test]
fn policies_of_the_root_namespace_and_of_the_pods_own_apply_together() {
    let mesh = Mesh::new()
        .policy_in("istio-system", "{action: DENY, rules: [{to: [{operation: {paths: [/root]}}]}]}")
        .policy("{action: DENY, rules: [{to: [{operation: {paths: [/own]}}]}]}")
        .policy_in("other", "{action: DENY, rules: [{to: [{operation: {paths: [/other]}}]}]}");
    assert!(!mesh.lets(&http("GET /root")));
    assert!(!mesh.lets(&http("GET /own")));
    assert!(mesh.lets(&http("GET /other")));
}

#[test]
fn the_root_namespace_is_the_one_of_the_mesh_configuration() {
    let mesh = Mesh::new().config("rootNamespace: other").policy_in("istio-system", "{}");
    assert_eq!(mesh.any_http("client"), Allow);
    assert_eq!(mesh.policy_in("other", "{}").any_http("client"), Deny);
}

#[test]
fn no_selector_and_an_empty_one_select_all_pods() {
    assert_eq!(Mesh::new().policy("{}").any_http("client"), Deny);
    assert_eq!(Mesh::new().policy("{selector: {}}").any_http("client"), Deny);
    assert_eq!(Mesh::new().policy("{selector: {matchLabels: {}}}").any_http("client"), Deny);
}

#[test]
fn a_selector_needs_every_label() {
    let selected = |labels: &str| {
        Mesh::new().policy(&format!("{{selector: {{matchLabels: {labels}}}}}")).any_http("client") == Deny
    };
    assert!(selected("{app: server}"));
    assert!(!selected("{app: client}"));
    assert!(!selected("{app: server, version: v1}"));
}

#[test]
fn labels_that_injection_adds_can_be_selected_by() {
    let mesh = Mesh::new().policy("{selector: {matchLabels: {security.istio.io/tlsMode: istio}}}");
    assert_eq!(mesh.any_http("client"), Deny);
    let mesh = Mesh::new().policy("{selector: {matchLabels: {service.istio.io/canonical-name: server}}}");
    assert_eq!(mesh.any_http("client"), Deny);
}

#[test]
fn a_sidecar_ignores_policies_with_target_refs() {
    let refs = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: server}]";
    assert_eq!(Mesh::new().policy(&format!("{{{refs}}}")).any_http("client"), Allow);
    let single = "targetRef: {kind: Service, name: server}";
    assert_eq!(Mesh::new().policy(&format!("{{{single}}}")).any_http("client"), Allow);
}

#[test]
fn a_policy_with_a_revision_counts_for_that_revision_only() {
    let policy = |revision: &str| {
        format!(
            "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, \
             metadata: {{name: r, namespace: shop, labels: {{istio.io/rev: {revision}}}}}, spec: {{}}}}"
        )
    };
    assert_eq!(Mesh::new().with(&policy("default")).any_http("client"), Deny);
    assert_eq!(Mesh::new().with(&policy("canary")).any_http("client"), Allow);
}

#[test]
fn namespaces_outside_the_discovery_selectors_are_not_read() {
    let mesh = Mesh::new().config("discoverySelectors: [{matchLabels: {watched: 'yes'}}]").policy("{}");
    // Without its Service the port is one that nobody declares, and policies are not read.
    assert_eq!(mesh.any_http("anonymous"), Allow);
}

#[test]
fn pods_of_one_service_can_have_different_policies() {
    let mesh = Mesh::new()
        .deployment("shop", "server", "{app: server}")
        .with(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: server-v2, namespace: shop}, \
             spec: {template: {metadata: {labels: {app: server, version: v2}}, \
             spec: {containers: [{name: main}]}}}}",
        )
        .policy("{selector: {matchLabels: {version: v2}}}");
    let world = mesh.world();
    let selected = |name: &str| {
        let workload = world.workloads.iter().find(|workload| workload.name == name).unwrap();
        mesh_model::authorization::selection::policies(&world, workload).len()
    };
    assert_eq!(selected("server"), 0);
    assert_eq!(selected("server-v2"), 1);
}

/// A policy can select one pod of a StatefulSet: each is then asked, and named, by itself.
#[test]
fn pods_of_one_maker_are_told_apart_where_a_policy_does() {
    let pod = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, \
             labels: {{app: db, statefulset.kubernetes.io/pod-name: {name}}}, \
             ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: db, controller: true}}]}}, \
             spec: {{nodeName: n, containers: [{{name: istio-proxy}}]}}}}"
        )
    };
    let service = "{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, \
                   spec: {selector: {app: db}, ports: [{name: http, port: 80}]}}";
    let policy = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, \
                  metadata: {name: one, namespace: shop}, spec: {action: DENY, \
                  selector: {matchLabels: {statefulset.kubernetes.io/pod-name: db-1}}, rules: [{}]}}";
    let documents = [pod("db-0"), pod("db-1"), service.to_owned(), policy.to_owned()].join("\n---\n");
    let world = World::new(Snapshot { objects: objects(&documents), ..Snapshot::default() });
    let scope = Scope { namespace: "shop", anywhere: false };
    let target = find(&world, "db", scope).expect("a Service");
    let answer = who_can(&mut Evaluator::new(&world), &target);
    let denied = answer.callers.iter().filter(|row| row.access.verdict == Deny);
    assert!(denied.clone().count() > 0);
    assert!(denied.into_iter().all(|row| row.targets == ["db-1"]));
}
