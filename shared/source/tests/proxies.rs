//! Proxies that have what istiod gave them do what the policies say, rule by rule.
//!
//! `proxies/` has random meshes with what a real Envoy dumped of the configuration that Istio's own code
//! made of them: files of `tests/envoy/record`. `tests/envoy/check` puts many more of them here, by naming a
//! directory in `MESH_PROXY_DUMPS`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use mesh_model::authorization::connection::{Presents, Way};
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::request::Request;
use mesh_model::object::{Kind, Object, Origin};
use mesh_model::proxy::{Agreement, Asked, Proxy, Scope, Verification, verify};
use mesh_model::question::access::protocols;
use mesh_model::world::{Snapshot, World};
use mesh_source::manifests::{self, Manifests};
use serde_json::{Value, json};

/// The directories with a mesh each.
fn meshes(below: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path());
    let mut meshes: Vec<PathBuf> = entries.filter(|path| path.join("listeners.json").exists()).collect();
    meshes.sort();
    meshes
}

fn world(mesh: &Path) -> World {
    let manifests = Manifests {
        filenames: vec![mesh.join("manifests.yaml").to_str().unwrap().to_owned()],
        default_namespace: "default".to_owned(),
        ..Manifests::default()
    };
    let objects = manifests::read(&manifests).unwrap().objects;
    World::new(Snapshot { objects, ..Snapshot::default() })
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proxies")
}

fn target(world: &World) -> usize {
    world.workloads.iter().position(|workload| workload.name == "target").unwrap()
}

#[test]
fn what_istio_gives_a_proxy_is_what_the_policies_say() {
    let more = std::env::var_os("MESH_PROXY_DUMPS").map(PathBuf::from);
    let meshes: Vec<PathBuf> =
        [Some(recorded()), more].iter().flatten().flat_map(|path| meshes(path)).collect();
    assert!(!meshes.is_empty());
    let mut differing = Vec::new();
    for mesh in &meshes {
        let world = world(mesh);
        let proxy = Proxy::read(&json_of(&mesh.join("listeners.json")), &json!({})).unwrap();
        let mut evaluator = Evaluator::new(&world);
        let number = target(&world);
        let ways = [
            Way::identity(world.principal("foo", "foo")),
            Way { presents: Presents::Plaintext, reason: None, at: None },
        ];
        let ports = evaluator.ports(number);
        let request = Request::anything();
        let mut asked = Vec::new();
        for port in ports.iter() {
            for way in &ways {
                for &speaks in protocols(port) {
                    let caller = format!("{:?}", way.presents);
                    asked.push(Asked { caller, port, way, speaks, request: &request, path: None });
                }
            }
        }
        let found = verify(&mut evaluator, number, "target", &proxy, &asked, Scope::Rules);
        assert_eq!(found.decides.len(), asked.len());
        if found.code != Agreement::Agrees {
            differing.push(format!(
                "{}: {} {:#?} {:#?}",
                mesh.display(),
                found.text,
                found.differences,
                found.decides
            ));
        }
    }
    let (count, all) = (differing.len(), meshes.len());
    assert!(
        differing.is_empty(),
        "{count} of {all} differ\n{}",
        differing.get(..count.min(5)).unwrap_or_default().join("\n")
    );
}

/// A recorded mesh, its proxy's listeners and server information, to be changed.
struct Changed {
    world: World,
    listeners: Value,
    server: Value,
}

impl Changed {
    fn new(mesh: &str) -> Self {
        let mesh = recorded().join(mesh);
        Self {
            world: world(&mesh),
            listeners: json_of(&mesh.join("listeners.json")),
            server: json_of(&recorded().join("server_info.json")),
        }
    }

    /// The policies of the HTTP filters on the first port.
    fn rules(&mut self) -> &mut Value {
        self.http_filters()[0].pointer_mut("/typed_config/rules").unwrap()
    }

    fn http_filters(&mut self) -> &mut Vec<Value> {
        let chain = "/configs/0/active_state/listener/filter_chains/0";
        let filters = format!("{chain}/filters/0/typed_config/http_filters");
        self.listeners.pointer_mut(&filters).unwrap().as_array_mut().unwrap()
    }

    fn verify(&self, scope: Scope) -> Verification {
        let proxy = Proxy::read(&self.listeners, &self.server).unwrap();
        let mut evaluator = Evaluator::new(&self.world);
        let number = target(&self.world);
        let ports = evaluator.ports(number);
        let way = Way::identity(self.world.principal("foo", "foo"));
        let request = Request::anything();
        let caller = "sa/foo.foo".to_owned();
        let port = &ports[0];
        let speaks = protocols(port)[0];
        let asked = Asked { caller, port, way: &way, speaks, request: &request, path: Some("/") };
        verify(&mut evaluator, number, "target-1", &proxy, &[asked], scope)
    }

    fn with_envoy_filter(mut self) -> Self {
        let value = json!({
            "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
            "metadata": {"name": "lua", "namespace": "app"},
            "spec": {"configPatches": [{"applyTo": "HTTP_FILTER", "match": {"context": "SIDECAR_INBOUND"}}]},
        });
        self.world = self.world.with(vec![Object {
            kind: Kind::EnvoyFilter,
            namespace: "app".to_owned(),
            name: "lua".to_owned(),
            value,
            origin: Origin::Cluster,
        }]);
        self
    }
}

/// Everything is allowed by two rules that say so.
const MESH: &str = "w10";

#[test]
fn a_proxy_that_has_it_all_agrees() {
    let found = Changed::new(MESH).verify(Scope::Rules);
    assert_eq!(
        (found.code, found.agrees, found.version.as_deref()),
        (Agreement::Agrees, true, Some("1.31.0"))
    );
    // Also where an EnvoyFilter could have changed it, and has not.
    let found = Changed::new(MESH).with_envoy_filter().verify(Scope::Rules);
    assert_eq!(found.code, Agreement::Agrees, "{found:?}");
}

#[test]
fn a_proxy_without_a_rule_lags() {
    let mut changed = Changed::new(MESH);
    let policies = changed.rules()["policies"].as_object_mut().unwrap();
    let removed: Vec<String> = policies.keys().cloned().collect();
    policies.clear();
    let found = changed.verify(Scope::Rules);
    assert_eq!((found.code, found.agrees), (Agreement::Lags, false), "{found:?}");
    let missing = found.differences.iter().filter(|difference| difference.what == "missing-rule");
    assert_eq!(missing.count(), removed.len(), "{found:?}");
    assert!(found.differences[0].text.starts_with("has no ALLOW rule istio-system/policy-2["), "{found:?}");
    assert_eq!(found.differences[0].ports, [8080]);
    let single = changed.verify(Scope::Requests);
    assert_eq!((single.code, single.agrees), (Agreement::Lags, false));
    assert_eq!((single.decides[0].policies.name(), single.decides[0].proxy.name()), ("allow", "deny"));
}

#[test]
fn a_request_that_other_rules_are_about_is_decided_as_said() {
    let mut changed = Changed::new(MESH);
    changed.rules()["policies"]["ns[app]-policy[old]-rule[0]"] = json!({
        "permissions": [{"header": {"name": ":method", "string_match": {"exact": "GET"}}}],
        "principals": [{"any": true}],
    });
    assert_eq!(changed.verify(Scope::Requests).code, Agreement::Agrees);
    let found = changed.verify(Scope::Rules);
    assert_eq!(found.code, Agreement::Lags);
    assert_eq!(found.differences[0].rule.as_deref(), Some("app/old/0"));
    assert_eq!(found.differences[0].text, "has ALLOW rule app/old[0], which nothing in force gives");
}

#[test]
fn an_update_that_envoy_refused_is_told_with_its_reason() {
    let mut changed = Changed::new(MESH);
    let refusals = json_of(&recorded().join("refused.json"));
    changed.listeners["configs"]
        .as_array_mut()
        .unwrap()
        .extend(refusals["configs"].as_array().unwrap().clone());
    let found = changed.verify(Scope::Rules);
    assert_eq!((found.code, found.agrees), (Agreement::Refused, true));
    assert_eq!(found.refused.len(), 1, "Envoy says it twice");
    assert_eq!(found.refused[0].listener, "virtualInbound");
    assert!(found.refused[0].at.is_some());
    assert!(
        found.text.contains("HeaderMatcherValidationError.Name: value length must be at least 1"),
        "{}",
        found.text
    );
    assert!(!found.text.contains('\n'), "{}", found.text);
    changed.rules()["policies"] = json!({});
    let found = changed.verify(Scope::Rules);
    assert_eq!((found.code, found.agrees), (Agreement::Refused, false));
}

#[test]
fn an_envoy_filter_explains_a_difference() {
    let mut changed = Changed::new(MESH).with_envoy_filter();
    changed.http_filters().insert(0, json!({
        "name": "lua", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"},
    }));
    for scope in [Scope::Rules, Scope::Requests] {
        let found = changed.verify(scope);
        assert_eq!((found.code, found.agrees), (Agreement::EnvoyFilter, false), "{found:?}");
        assert_eq!(found.text, "EnvoyFilter app/lua changes its inbound configuration");
        assert_eq!(found.decides[0].proxy.name(), "unknown");
    }
}

#[test]
fn a_filter_that_nobody_declared_is_not_guessed() {
    let mut changed = Changed::new(MESH);
    changed.http_filters().insert(0, json!({"name": "mine", "typed_config": {"@type": "x/y.Z"}}));
    let found = changed.verify(Scope::Requests);
    assert_eq!(found.code, Agreement::Unreadable);
    assert_eq!(found.text, "it has the filter mine, which is not read");
}

#[test]
fn a_proxy_of_another_revision_is_told_apart() {
    let mut changed = Changed::new(MESH);
    changed.server["node"]["metadata"]["PROXY_CONFIG"]["discoveryAddress"] =
        "istiod-canary.istio-system.svc:15012".into();
    assert_eq!(changed.verify(Scope::Rules).code, Agreement::Agrees);
    changed.rules()["policies"] = json!({});
    let found = changed.verify(Scope::Rules);
    assert_eq!(found.code, Agreement::OtherRevision);
    assert!(
        found.text.contains("revision canary") && found.text.contains("that of default"),
        "{}",
        found.text
    );
}

#[test]
fn what_is_no_sidecar_is_said_so() {
    for listeners in [
        json!({}),
        json!({"configs": [{"name": "0.0.0.0_80", "active_state": {"listener": {}}}]}),
        json!([1]),
    ] {
        let error = Proxy::read(&listeners, &json!(null)).unwrap_err();
        assert!(error.contains("no inbound listener"), "{error}");
    }
}

/// The places of all parts of a value.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, inner)| (name.clone(), inner)).collect(),
        Value::Array(items) => (0..).map(|index: usize| index.to_string()).zip(items).collect(),
        _ => Vec::new(),
    };
    for (name, inner) in inner {
        pointers(inner, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
    }
}

/// What comes from a pod can be anything: it is read or named, and never ends the command.
#[test]
fn a_dump_that_is_malformed_anywhere_is_survived() {
    let whole = Changed::new(MESH);
    let mut places = Vec::new();
    pointers(&whole.listeners, "", &mut places);
    assert!(places.len() > 200);
    let mut agreeing = 0;
    for place in &places {
        for wrong in [Value::Null, json!(-1), json!("x"), json!([{}]), json!({"x": 1})] {
            let mut changed = Changed {
                world: whole.world.clone(),
                listeners: whole.listeners.clone(),
                server: wrong.clone(),
            };
            *changed.listeners.pointer_mut(place).unwrap() = wrong;
            let Ok(proxy) = Proxy::read(&changed.listeners, &changed.server) else { continue };
            let mut evaluator = Evaluator::new(&changed.world);
            let found = verify(&mut evaluator, target(&changed.world), "target-1", &proxy, &[], Scope::Rules);
            agreeing += usize::from(found.agrees);
        }
    }
    // What does not decide about requests may be anything: names, statistics, certificates.
    assert!(agreeing > 0 && agreeing < places.len() * 5);
}
