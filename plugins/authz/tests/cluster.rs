//! The plugin against a real API server: the rights of docs/rbac/authz.yaml are enough, the answer is that
//! of the manifests, and `--what-if` answers before a change.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mesh_lab::ControlPlane;
use mesh_lab::control_plane::LIMITED;
use mesh_model::object::Kind;
use serde_json::{Value, json};

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.split("\n---\n").map(|document| serde_yaml::from_str(document).unwrap()).collect()
}

/// An object with the path of its collection.
fn placed(object: Value) -> (String, Value) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind, namespace) = (text("/apiVersion"), text("/kind"), text("/metadata/namespace"));
    let plural = match Kind::from_manifest(&version, &kind) {
        Some(kind) => kind.plural().to_owned(),
        None => format!("{}s", kind.to_lowercase()),
    };
    let root = if version.contains('/') { "apis" } else { "api" };
    let within = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
    (format!("/{root}/{version}{within}/{plural}"), object)
}

fn binding(kind: &str, role: &str, name: &str, namespace: Option<&str>) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited"}],
    })
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_kubectl-mesh_authz"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"))
        .args(arguments)
        .output()
        .unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Caller, port, verdict and requests of each row.
fn rows(answer: &str) -> Vec<[Value; 4]> {
    let answer: Value = serde_json::from_str(answer).unwrap();
    let rows = answer["callers"].as_array().unwrap().iter();
    rows.map(|row| ["caller", "port", "verdict", "requests"].map(|field| row[field].clone())).collect()
}

#[test]
fn the_documented_rights_are_enough_and_needed() {
    let Some(control_plane) = ControlPlane::shared() else { return };
    let kubeconfig: PathBuf = control_plane.kubeconfig("limited.kubeconfig", LIMITED, "library").unwrap();
    let cluster = ["--kubeconfig", kubeconfig.to_str().unwrap()];
    let ask = |more: &[&str]| run(&[&["who-can", "catalog"], more].concat());

    let (code, stdout, stderr) = ask(&cluster);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("Error from server (Forbidden)"), "{stderr}");

    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rights = documents(&package.join("../../docs/rbac/authz.yaml"));
    let library = documents(&package.join("tests/fixtures/library.yaml"));
    let (namespaces, rest): (Vec<Value>, Vec<Value>) =
        library.into_iter().partition(|object| object["kind"] == "Namespace");
    let system = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}});
    let mesh = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"mesh": ""},
        "metadata": {"name": "istio", "namespace": "istio-system"},
    });
    let bindings = [
        binding("ClusterRoleBinding", "ClusterRole", "mesh-authz", None),
        binding("RoleBinding", "Role", "mesh-authz", Some("istio-system")),
    ];
    let placed = |objects: Vec<Value>| objects.into_iter().map(placed).collect();
    control_plane.create(placed([namespaces, vec![system]].concat())).unwrap();
    control_plane.create(placed([rest, rights, bindings.to_vec(), vec![mesh]].concat())).unwrap();

    let (code, by_cluster, stderr) = ask(&[&cluster[..], &["-o", "json"]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    for code in ["forbidden-list", "mesh-config-default", "namespace-not-in-input"] {
        assert!(!by_cluster.contains(code), "{by_cluster}");
    }
    let (_, by_manifests, _) = ask(&["-f", "library.yaml", "-o", "json"]);
    assert_eq!(rows(&by_cluster), rows(&by_manifests));

    let change = ["--what-if", "-f", "closed.yaml"];
    let (code, stdout, stderr) = ask(&[&cluster[..], &change].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("12 deny, of 12 callers and ports; 1 open to anybody"), "{stdout}");

    logs_need_a_right_of_their_own(control_plane, &cluster);
}

/// As far as a server without nodes can show it: the log of a pod without a node is empty, for whoever may
/// read it.
fn logs_need_a_right_of_their_own(control_plane: &ControlPlane, cluster: &[&str]) {
    let ask = || run(&[&["explain-log", "pod/archive"], cluster].concat());
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "archive", "namespace": "library"},
        "spec": {"containers": [{"name": "archive", "image": "library/archive"}, {"name": "istio-proxy", "image": "istio/proxyv2"}]},
    });
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "library"},
    });
    control_plane.create(vec![placed(account), placed(pod)]).unwrap();
    let (code, stdout, stderr) = ask();
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("cannot get resource \"pods/log\""), "{stderr}");
    assert!(stderr.contains("hint: reading logs takes the verb get on pods/log"), "{stderr}");

    let rights = documents(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rbac/authz-logs.yaml"));
    let bound = binding("RoleBinding", "ClusterRole", "mesh-authz-logs", Some("library"));
    control_plane.create([rights, vec![bound]].concat().into_iter().map(placed).collect()).unwrap();
    let (code, stdout, stderr) = ask();
    assert_eq!((code, stdout.as_str()), (Some(0), "0 lines: 0 denied, 0 not denied\n"), "{stderr}");
}
