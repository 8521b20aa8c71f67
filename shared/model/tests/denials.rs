//! Denials in access logs, held against small Worlds. Lines are JSON with only the keys that matter.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_model::access_log::explain::{By, Explainer};
use mesh_model::access_log::summary::{Denial, Summarizer, Summary};
use mesh_model::object::{Kind, Object, Origin};
use mesh_model::question::target::Scope;
use mesh_model::world::{Gap, Snapshot, World};
use serde_json::{Value, json};

const NONE: &str = "rbac_access_denied_matched_policy[none]";
const BY_RULE: &str = "rbac_access_denied_matched_policy[ns[shop]-policy[no]-rule[0]]";
const NAME: &str = "outbound_.80_._.cart.shop.svc.cluster.local";

fn object(value: Value) -> Object {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = Kind::from_manifest(&text("/apiVersion"), &text("/kind")).unwrap();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    Object { kind, namespace, name, value, origin: Origin::Cluster }
}

fn pod(name: &str, app: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "labels": {"app": app, "security.istio.io/tlsMode": "istio", "version": name}},
        "spec": {"nodeName": "n", "serviceAccountName": app, "containers": [{"name": "istio-proxy"}]},
        "status": {"podIP": ip},
    })
}

fn policy(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"namespace": "shop", "name": name}, "spec": spec,
    })
}

/// The cart, whose one ALLOW rule lets the shop post, and two callers.
fn shop(more: Vec<Value>) -> Vec<Value> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "cart"},
        "spec": {"selector": {"app": "cart"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    });
    let allow = json!({
        "selector": {"matchLabels": {"app": "cart"}},
        "rules": [{
            "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}],
            "to": [{"operation": {"methods": ["POST"]}}],
        }],
    });
    let mut objects = vec![
        service,
        pod("cart-1", "cart", "10.0.0.1"),
        pod("web-1", "web", "10.0.0.2"),
        pod("spy-1", "spy", "10.0.0.3"),
        policy("cart", allow),
    ];
    objects.extend(more);
    objects
}

fn world(objects: Vec<Value>) -> World {
    World::new(Snapshot { objects: objects.into_iter().map(object).collect(), ..Snapshot::default() })
}

fn summary(world: &World, lines: &[Value]) -> Summary {
    let scope = Scope { namespace: "shop", anywhere: false };
    let mut summarizer = Summarizer::new(Explainer::new(world, None, scope));
    lines.iter().for_each(|line| summarizer.line(&line.to_string(), None));
    summarizer.finish()
}

/// The only denial of a line.
fn denial(world: &World, line: Value) -> Denial {
    let mut summary = summary(world, &[line]);
    assert_eq!(summary.denials.len(), 1);
    summary.denials.remove(0)
}

/// A request of `web` that the cart's proxy refused.
fn refused(details: &str, more: Value) -> Value {
    let mut line = json!({
        "method": "GET", "path": "/cart", "authority": "cart", "response_code": 403,
        "response_code_details": details, "upstream_cluster": "inbound|8080||", "requested_server_name": NAME,
        "downstream_local_address": "10.0.0.1:8080", "downstream_remote_address": "10.0.0.2:40000",
    });
    for (key, value) in more.as_object().unwrap() {
        line[key] = value.clone();
    }
    line
}

fn codes(denial: &Denial) -> Vec<&str> {
    denial.explanation.assumptions.iter().map(|assumption| assumption.code).collect()
}

#[test]
fn the_nearest_miss_of_a_caller_by_its_address() {
    let denial = denial(&world(shop(vec![])), refused(NONE, json!({})));
    let explanation = &denial.explanation;
    assert_eq!(explanation.target.as_deref(), Some("shop/cart-1"));
    assert_eq!(explanation.caller.as_deref(), Some("cluster.local/ns/shop/sa/web"));
    assert_eq!(explanation.nearest_miss.as_ref().unwrap().wanted, "method is POST");
    assert_eq!(codes(&denial), ["caller-by-address"]);
    assert_eq!(explanation.changed, None);
}

#[test]
fn the_certificate_comes_before_the_address() {
    let world = world(shop(vec![]));
    let spy = "spiffe://cluster.local/ns/shop/sa/spy";
    for more in [
        json!({"downstream_peer_uri_san": spy}),
        json!({"x_forwarded_client_cert": format!("By=a;URI=spiffe://x/ns/y/sa/z,By=b;Hash=c;Subject=\"\";URI={spy}")}),
    ] {
        let denial = denial(&world, refused(NONE, more));
        assert_eq!(denial.explanation.caller.as_deref(), Some("cluster.local/ns/shop/sa/spy"));
        assert!(codes(&denial).is_empty(), "{denial:?}");
        let miss = denial.explanation.nearest_miss.unwrap();
        assert_eq!(miss.wanted, "caller is cluster.local/ns/shop/sa/web and method is POST");
    }
    let denial = denial(&world, refused(NONE, json!({"downstream_peer_uri_san": null})));
    assert_eq!(denial.explanation.caller.as_deref(), Some("anonymous"));
}

#[test]
fn what_the_line_does_not_have_is_what_failed() {
    let world = world(shop(vec![]));
    // Behind a gateway: who it was, the line does not say. The method is right, so it was the caller.
    let line = refused(NONE, json!({"method": "POST", "downstream_remote_address": "203.0.113.7:0"}));
    let denial = denial(&world, line);
    assert_eq!(denial.explanation.caller, None);
    assert_eq!(denial.explanation.nearest_miss.unwrap().wanted, "caller is cluster.local/ns/shop/sa/web");
}

#[test]
fn an_address_that_two_have_is_nobodys() {
    let world = world(shop(vec![pod("late-1", "late", "10.0.0.2")]));
    assert_eq!(denial(&world, refused(NONE, json!({}))).explanation.caller, None);
}

#[test]
fn what_the_policies_now_let_through_was_refused_by_others() {
    let world = world(shop(vec![]));
    let denial = denial(&world, refused(NONE, json!({"method": "POST"})));
    assert_eq!(denial.explanation.changed.as_deref(), Some("a rule lets it through"));
    let because = &denial.explanation.because[1];
    assert_eq!((because.policy.as_deref(), because.rule), (Some("shop/cart"), Some(0)));
    assert_eq!(denial.explanation.nearest_miss, None);
    assert_eq!(codes(&denial), ["caller-by-address", "policy-changed"]);
}

#[test]
fn a_named_rule() {
    let deny = |methods: Value, app: &str| {
        let to = json!([{"operation": {"methods": methods}}]);
        let spec =
            json!({"selector": {"matchLabels": {"app": app}}, "action": "DENY", "rules": [{"to": to}]});
        world(shop(vec![policy("no", spec)]))
    };
    let changed = |world: &World| denial(world, refused(BY_RULE, json!({}))).explanation.changed;
    assert_eq!(changed(&deny(json!(["GET"]), "cart")), None);
    assert_eq!(changed(&deny(json!(["PUT"]), "cart")).as_deref(), Some("it matches only if method is PUT"));
    assert_eq!(changed(&deny(json!(["GET"]), "web")).as_deref(), Some("it is not in force for the workload"));
    assert_eq!(changed(&world(shop(vec![]))).as_deref(), Some("no AuthorizationPolicy shop/no was read"));
    let allow = world(shop(vec![policy("no", json!({"rules": [{}]}))]));
    assert_eq!(changed(&allow).as_deref(), Some("its action is ALLOW now"));
}

#[test]
fn policies_that_nobody_may_list_have_not_changed() {
    let gap = Gap { kind: Kind::AuthorizationPolicy, readable: Vec::new(), reason: "no".to_owned() };
    let objects = shop(vec![]).into_iter().filter(|object| object["kind"] != "AuthorizationPolicy");
    let objects = objects.map(object).collect();
    let world = World::new(Snapshot { objects, gaps: vec![gap], istio_version: None });
    for details in [BY_RULE, NONE] {
        let denial = denial(&world, refused(details, json!({})));
        assert_eq!(denial.explanation.changed, None, "{details}");
        assert!(codes(&denial).contains(&"forbidden-list"), "{denial:?}");
    }
}

#[test]
fn an_external_authorizer_is_named_by_the_rules_that_ask() {
    let custom = |path: &str| {
        let to = json!([{"operation": {"paths": [path]}}]);
        let spec = json!({"action": "CUSTOM", "provider": {"name": "ask"}, "rules": [{"to": to}]});
        world(shop(vec![policy("ask", spec)]))
    };
    let line = || refused("ext_authz_denied", json!({"response_flags": "UAEX"}));
    let named = denial(&custom("/cart"), line()).explanation;
    assert_eq!(named.because[1].policy.as_deref(), Some("shop/ask"));
    let other = denial(&custom("/pay"), line()).explanation;
    assert_eq!(other.changed.as_deref(), Some("no CUSTOM rule asks about it"));
}

#[test]
fn workloads_that_policies_tell_apart_are_not_mixed_up() {
    let spec = json!({"selector": {"matchLabels": {"version": "cart-2"}}, "rules": [{}]});
    let world = world(shop(vec![pod("cart-2", "cart", "10.0.0.4"), policy("open", spec)]));
    // The line has no address of the pod, but the Service's name.
    let denial = denial(&world, refused(NONE, json!({"downstream_local_address": null})));
    assert_eq!(denial.explanation.target, None);
    assert!(codes(&denial).contains(&"target-unknown"), "{denial:?}");
}

#[test]
fn a_listener_to_the_outside_refuses_by_no_mode() {
    let line = json!({
        "method": null, "response_code": 0, "response_flags": "NR", "response_code_details": "filter_chain_not_found",
        "downstream_local_address": "10.96.0.1:443", "downstream_remote_address": "10.0.0.2:40000",
        "requested_server_name": null, "upstream_cluster": null,
    });
    let strict = json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"namespace": "shop", "name": "default"}, "spec": {"mtls": {"mode": "STRICT"}},
    });
    let world = world(shop(vec![strict]));
    let scope = Scope { namespace: "shop", anywhere: false };
    let mut summarizer = Summarizer::new(Explainer::new(&world, None, scope));
    summarizer.line(&line.to_string(), Some("web-1"));
    let summary = summarizer.finish();
    let explanation = &summary.denials[0].explanation;
    assert_eq!(explanation.caller.as_deref(), Some("shop/web-1"));
    assert!(explanation.because.iter().all(|because| because.policy.is_none()), "{explanation:?}");
}

#[test]
fn the_callers_log_is_explained_by_the_policies_of_the_called() {
    let world = world(shop(vec![]));
    let line = |method: &str, code: u16, flags: &str, details: &str| {
        json!({
            "method": method, "path": "/cart", "authority": "cart", "response_code": code, "response_flags": flags,
            "response_code_details": details, "upstream_cluster": "outbound|80||cart.shop.svc.cluster.local",
            "upstream_host": "10.0.0.1:8080", "upstream_local_address": "10.0.0.2:50000",
            "downstream_local_address": "10.96.0.7:80", "downstream_remote_address": "10.0.0.2:40000",
        })
    };
    let of = |line| denial(&world, line).explanation;
    let refused = of(line("GET", 403, "-", "via_upstream"));
    assert_eq!((refused.by, refused.port), (By::Mesh, Some(8080)));
    assert_eq!(refused.nearest_miss.unwrap().wanted, "method is POST");
    assert_eq!(of(line("POST", 403, "-", "via_upstream")).by, By::Application);
    let cut = "upstream_reset_before_response_started{connection_termination}";
    assert_eq!(of(line("POST", 503, "UC", cut)).by, By::Application);
    // What a policy refuses is answered, not cut.
    assert_eq!(of(line("GET", 503, "UC", cut)).by, By::Unknown);
}

#[test]
fn plaintext_to_a_strict_port_is_cut() {
    let strict = json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"namespace": "shop", "name": "default"}, "spec": {"mtls": {"mode": "STRICT"}},
    });
    let plaintext = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"namespace": "shop", "name": "cart"},
        "spec": {"host": "cart", "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
    });
    let world = world(shop(vec![strict, plaintext]));
    let line = json!({
        "method": "POST", "path": "/cart", "response_code": 503, "response_flags": "UC",
        "response_code_details": "upstream_reset_before_response_started{connection_termination}",
        "upstream_cluster": "outbound|80||cart.shop.svc.cluster.local", "upstream_local_address": "10.0.0.2:50000",
    });
    let explanation = denial(&world, line).explanation;
    assert_eq!(explanation.by, By::Mesh);
    let text = format!("{:?}", explanation.because);
    assert!(text.contains("mTLS is STRICT") && text.contains("DestinationRule shop/cart"), "{text}");
}

#[test]
fn the_same_denial_is_told_once() {
    let world = world(shop(vec![]));
    let line = |second: usize, path: usize| {
        let time = format!("2026-01-01T00:00:{second:02}.000Z");
        refused(NONE, json!({"start_time": time, "path": format!("/cart/{path}")}))
    };
    let lines: Vec<Value> = (0..5_000).map(|number| line((number + 30) % 60, number)).collect();
    let summary = summary(&world, &lines);
    assert_eq!(summary.denials.len(), 1);
    let denial = &summary.denials[0];
    assert_eq!((denial.count, denial.example.path.as_deref()), (5_000, Some("/cart/0")));
    assert_eq!(denial.first.as_deref(), Some("2026-01-01T00:00:00.000Z"));
    assert_eq!(denial.last.as_deref(), Some("2026-01-01T00:00:59.000Z"));
    assert!(summary.has_denials());
}

#[test]
fn different_denials_are_kept_up_to_a_bound() {
    let world = world(shop(vec![]));
    let lines: Vec<Value> = (0..1_500)
        .map(|number| {
            refused(NONE, json!({"downstream_peer_uri_san": format!("spiffe://x/ns/y/sa/{number}")}))
        })
        .collect();
    let summary = summary(&world, &lines);
    assert_eq!(
        (summary.denials.len(), summary.counts.denied, summary.counts.not_listed),
        (1_000, 1_500, 500)
    );
}

#[test]
fn an_application_that_refuses_is_no_denial_of_the_mesh() {
    let world = world(shop(vec![]));
    let summary = summary(&world, &[refused("via_upstream", json!({}))]);
    assert_eq!(summary.denials[0].explanation.by, By::Application);
    assert!(!summary.has_denials());
}

#[test]
fn messages_of_several_lines_are_the_agents_own() {
    let world = world(shop(vec![]));
    let scope = Scope { namespace: "shop", anywhere: false };
    let mut summarizer = Summarizer::new(Explainer::new(&world, None, scope));
    let start = "2026-11-23T21:02:22.000000Z\tinfo\tEffective config: binaryPath: /usr/local/bin/envoy";
    for line in [start, "concurrency: 1", "configPath: ./etc", "", "panic: at last"] {
        summarizer.line(line, None);
    }
    let probe = "2026-11-23T21:02:25.000000Z\terror\tprobes\tRequest to probe app failed: refused, original URL path = /app-health";
    for line in [probe, "app URL path = /health"] {
        summarizer.line(line, None);
    }
    let counts = summarizer.finish().counts;
    assert_eq!((counts.own, counts.unreadable), (6, 1));
}
