//! `--verify`: a mesh whose proxy says what a real Envoy said of the configuration that Istio made for it,
//! and what is said where that proxy differs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use mesh_lab::ControlPlane;
use mesh_lab::control_plane::LIMITED;
use mesh_source::cluster::{Connection, Proxies, ProxyOf};
use serde_json::{Value, json};

#[path = "../../../shared/source/tests/port_forward/api_server.rs"]
mod api_server;

/// A mesh recorded by `tests/envoy/record`, in which everything is allowed by rules that say so.
fn recorded(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/source/tests/proxies").join(file)
}

fn json_of(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(recorded(file)).unwrap()).unwrap()
}

/// The objects of the mesh, and running pods of its workload.
fn objects(pods: &[&str]) -> Vec<Value> {
    let text = fs::read_to_string(recorded("w10/manifests.yaml")).unwrap();
    let documents = text.split("\n---\n").map(|document| serde_yaml::from_str(document).unwrap());
    let pod = |name: &&str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "app",
                "labels": {"app": "target", "version": "v1", "pod-template-hash": "abc"},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "target-abc", "controller": true},
                ],
            },
            "spec": {
                "nodeName": "node", "serviceAccountName": "target",
                "containers": [
                    {"name": "target", "ports": [{"containerPort": 8080}, {"containerPort": 9090}]},
                    {"name": "istio-proxy"},
                ],
            },
            "status": {"phase": "Running"},
        })
    };
    documents.chain(pods.iter().map(pod)).collect()
}

/// What the command says, where the proxies of these pods have these listeners.
fn run(arguments: &[&str], pods: &[&str], listeners: Value) -> (Option<i32>, String, String) {
    run_with(arguments, pods, listeners, None)
}

/// The same with one object more.
fn run_with(
    arguments: &[&str],
    pods: &[&str],
    listeners: Value,
    more: Option<Value>,
) -> (Option<i32>, String, String) {
    let objects: Vec<Value> = objects(pods).into_iter().chain(more).collect();
    let server = json_of("server_info.json").to_string();
    let listeners = listeners.to_string();
    let url = api_server::start(
        &objects,
        Box::new(move |_, asked| match asked.split('?').next() {
            Some("/server_info") => ("200 OK", server.clone()),
            Some("/config_dump") => ("200 OK", listeners.clone()),
            _ => ("404 Not Found", String::new()),
        }),
    );
    let name = format!("verify-{}.kubeconfig", url.rsplit(':').next().unwrap_or_default());
    let kubeconfig = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&kubeconfig, "{apiVersion: v1, kind: Config}").unwrap();
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_kubectl-mesh_authz"))
        .args(arguments)
        .args(["--verify", "-n", "app", "--server", &url, "--kubeconfig", kubeconfig.to_str().unwrap()])
        .output()
        .unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// What the proxy really has.
fn listeners() -> Value {
    json_of("w10/listeners.json")
}

/// The same without the rules that let HTTP requests in.
fn without_rules() -> Value {
    let mut listeners = listeners();
    let filters = "/configs/0/active_state/listener/filter_chains/0/filters/0/typed_config/http_filters";
    listeners.pointer_mut(filters).unwrap()[0]["typed_config"]["rules"]["policies"] = json!({});
    listeners
}

const CAN: [&str; 5] = ["can", "sa/foo.foo", "target", "GET", "/"];

#[test]
fn proxies_that_agree_are_said_last() {
    for command in [&CAN[..], &["who-can", "target"], &["explain", "target"]] {
        let (code, stdout, stderr) = run(command, &["target-abc-1", "target-abc-2"], listeners());
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        let last = "verified: 2 of 2 proxies asked do what the answer says\n";
        assert!(stdout.ends_with(last), "{stdout}{stderr}");
    }
}

#[test]
fn a_proxy_that_lags_turns_the_answer() {
    let (code, stdout, stderr) = run(&CAN, &["target-abc-1"], without_rules());
    assert_eq!(code, Some(3), "{stdout}{stderr}");
    assert!(stdout.starts_with("allow: "), "{stdout}");
    let (_, verification) = stdout.split_once("not what the proxies do").unwrap();
    assert_eq!(
        verification,
        ": 0 of 1 proxies asked do what the answer says
  pod target-abc-1: lags: it does not have what the policies say: istiod has not sent it yet, or does not see what was read
    it has no ALLOW rule istio-system/policy-2[1] (port 8080)
    it has no ALLOW rule istio-system/policy-2[2] (port 8080)
    sa/foo.foo to 8080/http: the proxy says deny, the policies allow
"
    );
}

#[test]
fn a_refused_update_is_told_to_programs() {
    let mut refused = without_rules();
    let refusals = json_of("refused.json");
    refused["configs"].as_array_mut().unwrap().extend(refusals["configs"].as_array().unwrap().clone());
    let (code, stdout, stderr) = run(&["who-can", "target", "-o", "json"], &["target-abc-1"], refused);
    assert_eq!(code, Some(3), "{stdout}{stderr}");
    let answer: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&answer["kind"], &answer["apiVersion"]), (&json!("WhoCan"), &json!("kubectl-mesh.dev/v1")));
    assert!(!answer["callers"].as_array().unwrap().is_empty());
    let verification = &answer["verification"];
    assert_eq!(
        [&verification["agrees"], &verification["asked"], &verification["of"]],
        [&json!(false), &json!(1), &json!(1)]
    );
    let pod = &verification["pods"][0];
    assert_eq!(
        [&pod["pod"], &pod["code"], &pod["agrees"]],
        [&json!("target-abc-1"), &json!("refused"), &json!(false)]
    );
    assert_eq!(pod["istioVersion"], "1.31.0");
    assert_eq!(pod["refused"][0]["listener"], "virtualInbound");
    let missing = json!({
        "what": "missing-rule", "rule": "istio-system/policy-2/1", "ports": [8080],
        "text": "has no ALLOW rule istio-system/policy-2[1]",
    });
    assert_eq!(pod["differences"][0], missing);
    let decides = &pod["decides"][0];
    assert_eq!([&decides["policies"], &decides["proxy"]], [&json!("allow"), &json!("deny")], "{pod:#}");
}

/// An EnvoyFilter makes the answer unknown; the proxy knows.
#[test]
fn what_proxies_decide_is_told_where_the_answer_is_unknown() {
    let can = [&CAN[..], &["--port", "8080"]].concat();
    let filter = json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "metadata": {"name": "lua", "namespace": "app"},
        "spec": {"configPatches": [{"applyTo": "HTTP_FILTER", "match": {"context": "SIDECAR_INBOUND"}}]},
    });
    let (code, stdout, stderr) = run_with(&can, &["target-abc-1"], listeners(), Some(filter.clone()));
    assert_eq!(code, Some(3), "{stdout}{stderr}");
    assert!(stdout.starts_with("unknown: "), "{stdout}");
    let last = "verified: 1 of 1 proxies asked has what the policies say
  sa/foo.foo to 8080/http: the proxy says allow by rule istio-system/policy-2/1
";
    assert!(stdout.ends_with(last), "{stdout}");

    let mut changed = listeners();
    let filters = "/configs/0/active_state/listener/filter_chains/0/filters/0/typed_config/http_filters";
    let lua = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua";
    let lua = json!({"name": "lua", "typed_config": {"@type": lua}});
    changed.pointer_mut(filters).unwrap().as_array_mut().unwrap().insert(0, lua);
    let (code, stdout, _) = run_with(&can, &["target-abc-1"], changed, Some(filter));
    assert_eq!(code, Some(3));
    let last = "
  pod target-abc-1: envoy-filter: EnvoyFilter app/lua changes its inbound configuration
    it has the filter lua, which is not read (port 8080)
    sa/foo.foo to 8080/http: the proxy says unknown, the policies allow
";
    assert!(stdout.ends_with(last), "{stdout}");
}

#[test]
fn a_pod_that_cannot_be_read_leaves_the_answer_unverified() {
    let (code, stdout, stderr) = run(&CAN, &["forbidden", "target-abc-1"], listeners());
    assert_eq!(code, Some(3), "{stdout}{stderr}");
    assert!(stdout.contains("1 of 2 proxies asked does what the answer says"), "{stdout}");
    assert!(stdout.contains("pod forbidden: unreadable: Error from server (Forbidden)"), "{stdout}");
    assert!(stderr.contains("docs/rbac/authz-verify.yaml"), "{stderr}");
}

#[test]
fn of_many_pods_some_are_asked() {
    let names: Vec<String> = (0..13).map(|number| format!("target-abc-{number}")).collect();
    let pods: Vec<&str> = names.iter().map(String::as_str).collect();
    let (code, stdout, stderr) = run(&CAN, &pods, listeners());
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let last = "verified: 10 of 10 proxies asked (of 13 that run) do what the answer says\n";
    assert!(stdout.ends_with(last), "{stdout}");
}

#[test]
fn without_a_pod_nothing_is_verified() {
    let (code, stdout, _) = run(&CAN, &[], listeners());
    assert_eq!(code, Some(3));
    assert!(stdout.ends_with("not verified: no pod of it runs\n"), "{stdout}");
}

/// A real API server lets nobody forward without these rights, and asks for each of them.
#[test]
fn the_documented_rights_are_enough_and_needed() {
    let Some(control_plane) = ControlPlane::shared() else { return };
    let kubeconfig = control_plane.kubeconfig("verify.kubeconfig", LIMITED, "app").unwrap();
    let connection = Connection { kubeconfig: Some(kubeconfig), ..Connection::default() };
    let proxies = Proxies::connect(&connection).unwrap();
    let pod = ProxyOf { namespace: "app".to_owned(), pod: "nobody".to_owned(), ports: Vec::new() };
    let ask = || proxies.read(std::slice::from_ref(&pod)).remove(0).unwrap_err().to_string();
    assert!(ask().starts_with("Error from server (Forbidden)"), "{}", ask());

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rbac/authz-verify.yaml");
    let role: Value = serde_yaml::from_str(&fs::read_to_string(page).unwrap()).unwrap();
    let verbs: Vec<String> = serde_json::from_value(role["rules"][0]["verbs"].clone()).unwrap();
    let api = "rbac.authorization.k8s.io/v1";
    let grant = |name: &str, verbs: &[String]| {
        let mut role = role.clone();
        role["metadata"]["name"] = name.into();
        role["rules"][0]["verbs"] = json!(verbs);
        let binding = json!({
            "apiVersion": api, "kind": "RoleBinding", "metadata": {"name": name, "namespace": "app"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited"}],
        });
        control_plane
            .create(vec![
                (format!("/apis/{api}/clusterroles"), role),
                (format!("/apis/{api}/namespaces/app/rolebindings"), binding),
            ])
            .unwrap();
    };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app"}});
    control_plane.create(vec![("/api/v1/namespaces".to_owned(), namespace)]).unwrap();
    // One right after the other: only with the last of them the pod is looked for.
    let (_, before) = verbs.split_last().unwrap();
    for verb in before {
        grant(&format!("verify-{verb}"), std::slice::from_ref(verb));
    }
    thread::sleep(Duration::from_secs(1));
    assert!(ask().starts_with("Error from server (Forbidden)"), "{}", ask());
    grant("verify-all", &verbs);
    let granted = (0..50).any(|_| {
        thread::sleep(Duration::from_millis(100));
        ask() == "Error from server (NotFound): pods \"nobody\" not found"
    });
    assert!(granted, "{}", ask());
}
