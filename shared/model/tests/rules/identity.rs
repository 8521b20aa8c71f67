//! Which identity a caller presents.

use mesh_model::authorization::judge::Verdict::{Allow, Deny};

use crate::support::{HTTP, Mesh, http};

fn only(principal: &str) -> Mesh {
    Mesh::new().allow(&format!("{{from: [{{source: {{principals: [{principal}]}}}}]}}"))
}

const CLIENT: &str = "cluster.local/ns/shop/sa/client";

/// Whether a caller arrives with its identity.
fn identified(mesh: impl FnOnce(Mesh) -> Mesh, from: &str) -> bool {
    mesh(Mesh::new().allow("{from: [{source: {principals: ['*']}}]}")).any_http(from) == Allow
}

#[test]
fn a_sidecar_presents_its_service_account() {
    assert_eq!(only(CLIENT).any_http("client"), Allow);
    assert_eq!(only(CLIENT).any_http("guest"), Deny);
    let mesh = only("cluster.local/ns/shop/sa/default").with(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: plain, namespace: shop}, \
         spec: {template: {spec: {containers: [{name: main}]}}}}",
    );
    assert_eq!(mesh.any_http("plain"), Allow);
}

fn pod(name: &str, metadata: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, namespace: shop}}, \
         spec: {{template: {{metadata: {metadata}, spec: {spec}}}}}}}"
    )
}

#[test]
fn without_a_sidecar_a_caller_is_anonymous() {
    for (metadata, spec) in [
        ("{}", "{hostNetwork: true, containers: [{name: main}]}"),
        ("{labels: {sidecar.istio.io/inject: 'false'}}", "{containers: [{name: main}]}"),
        ("{annotations: {sidecar.istio.io/inject: 'false'}}", "{containers: [{name: main}]}"),
    ] {
        assert!(!identified(|mesh| mesh.with(&pod("x", metadata, spec)), "x"), "{metadata}");
    }
    assert!(identified(|mesh| mesh.with(&pod("x", "{}", "{containers: [{name: main}]}")), "x"));
    assert!(!identified(|mesh| mesh, "visitor"));
}

#[test]
fn a_destination_rule_sets_how_clients_connect() {
    let rule =
        |spec: &'static str| identified(|mesh| mesh.object("DestinationRule", "shop", "d", spec), "client");
    assert!(rule("{host: server, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}"));
    assert!(!rule("{host: server, trafficPolicy: {tls: {mode: DISABLE}}}"));
    assert!(!rule("{host: server, trafficPolicy: {tls: {mode: SIMPLE}}}"));
    assert!(rule("{host: elsewhere, trafficPolicy: {tls: {mode: DISABLE}}}"));
    assert!(rule(
        "{host: server, trafficPolicy: {tls: {mode: DISABLE}, \
         portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]}}"
    ));
}

#[test]
fn without_auto_mtls_nobody_presents_anything() {
    assert!(!identified(|mesh| mesh.config("enableAutoMtls: false"), "client"));
}

#[test]
fn clients_go_by_the_mode_of_the_namespace_and_not_of_the_workload() {
    let own = "{selector: {matchLabels: {app: server}}, mtls: {mode: STRICT}}";
    let mesh = Mesh::new().mtls("DISABLE").object("PeerAuthentication", "shop", "own", own);
    // Plaintext arrives where only mutual TLS is taken.
    assert_eq!(mesh.any_http("client"), Deny);
}

#[test]
fn calls_to_unknown_hosts_are_plaintext_or_refused() {
    // Nobody's Service names the port, so it is called by address.
    let mesh = |mode: &str| Mesh::new().config(&format!("outboundTrafficPolicy: {{mode: {mode}}}"));
    let anonymous = "{from: [{source: {notPrincipals: ['*']}}]}";
    assert_eq!(mesh("ALLOW_ANY").allow(anonymous).verdict("client", 5555, &http("GET /")), Allow);
    assert_eq!(mesh("REGISTRY_ONLY").allow(anonymous).verdict("client", 5555, &http("GET /")), Deny);
    let sidecar = "{egress: [{hosts: ['./none']}]}";
    assert!(!identified(|mesh| mesh.object("Sidecar", "shop", "s", sidecar), "client"));
}

#[test]
fn an_excluded_port_of_the_caller_is_plaintext() {
    let metadata = "{annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: '80'}}";
    assert!(!identified(|mesh| mesh.with(&pod("x", metadata, "{containers: [{name: main}]}")), "x"));
}

#[test]
fn headless_services_need_sidecars_behind_all_endpoints() {
    let headless = "
apiVersion: v1
kind: Service
metadata: {name: server, namespace: shop}
spec: {clusterIP: None, selector: {tier: back}, ports: [{name: http, port: 80, targetPort: 8080}]}
";
    let mesh = |more: &str| {
        Mesh::new()
            .with(headless)
            .with(&pod("server", "{labels: {tier: back}}", "{containers: [{name: main}]}"))
            .with(&pod("bare", more, "{containers: [{name: main}]}"))
            .allow("{from: [{source: {principals: ['*']}}]}")
            .world()
    };
    // Read through the World since two Services and workloads share the name here.
    let presents = |world: &mesh_model::world::World| {
        let find = |name: &str, label: &str| {
            world.workloads.iter().find(|w| w.name == name && w.labels.contains_key(label)).unwrap()
        };
        let (client, server) = (find("client", "app"), find("server", "tier"));
        let port = mesh_model::inbound::port(world, server, HTTP);
        let service = world.services.iter().find(|service| service.headless);
        mesh_model::authorization::connection::way(world, client, server, &port, service).presents
    };
    use mesh_model::authorization::connection::Presents;
    let all = mesh("{labels: {tier: back}}");
    assert_eq!(presents(&all), Presents::Identity(CLIENT.to_owned()));
    let some = mesh("{labels: {tier: back, sidecar.istio.io/inject: 'false'}}");
    assert_eq!(presents(&some), Presents::Plaintext);
}

#[test]
fn some_ports_go_around_the_sidecar() {
    let deny_all = || Mesh::new().policy("{}");
    for port in [15020, 15021, 15090] {
        assert_eq!(deny_all().verdict("anonymous", port, &http("GET /")), Allow);
    }
    let annotated = |annotation: &str, labels: &str| {
        let mesh = Mesh::new().policy("{}").with(&format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: around, namespace: shop}}, spec: {{template: \
             {{metadata: {{labels: {labels}, annotations: {{{annotation}}}}}, spec: {{containers: [{{name: main}}]}}}}}}}}"
        ));
        let world = mesh.world();
        let workload = world.workloads.iter().find(|workload| workload.name == "around").unwrap();
        mesh_model::inbound::bypass(workload, HTTP).is_some()
    };
    assert!(!annotated("a: b", "{}"));
    assert!(annotated("traffic.sidecar.istio.io/excludeInboundPorts: '1, 8080'", "{}"));
    assert!(annotated("traffic.sidecar.istio.io/includeInboundPorts: '1'", "{}"));
    assert!(!annotated("traffic.sidecar.istio.io/includeInboundPorts: '*'", "{}"));
    assert!(annotated("sidecar.istio.io/interceptionMode: NONE", "{}"));
    assert!(annotated("a: b", "{sidecar.istio.io/inject: 'false'}"));
}
