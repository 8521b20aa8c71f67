//! What `explain-log` says of the sidecars' own logs is what was done to their callers.

use std::thread;
use std::time::Duration;

use mesh_lab::{Mesh, Request};
use serde_json::Value;

use crate::clients::{client, workload};

const GUARDED: &str = "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: strict, namespace: logged }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: never, namespace: logged }
spec:
  selector: { matchLabels: { app: server } }
  action: DENY
  rules: [{ to: [{ operation: { methods: [DELETE] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: mostly, namespace: logged }
spec:
  selector: { matchLabels: { app: server } }
  rules: [{ to: [{ operation: { methods: [GET, DELETE], ports: [\"8080\"] } }] }]
";

#[test]
fn denials_in_a_log_are_those_that_were_made() {
    let Some(mesh) = Mesh::shared() else { return };
    client(mesh, "logged", true).unwrap();
    client(mesh, "logged-plain", false).unwrap();
    mesh.apply(&workload("logged", "server")).unwrap();
    mesh.apply(GUARDED).unwrap();
    mesh.ready("logged").unwrap();
    mesh.settle().unwrap();

    let server = "http://server.logged:8080/a";
    let outcome = |caller: &str, request: Request| mesh.call(caller, &request).unwrap().outcome();
    assert_eq!(outcome("logged/client", Request::get(server)), "200");
    assert_eq!(outcome("logged/client", Request::new("DELETE", server)), "403");
    assert_eq!(outcome("logged/client", Request::post(server)), "403");
    assert_eq!(outcome("logged-plain/client", Request::get(server)), "reset");
    // Envoy writes its log every second.
    thread::sleep(Duration::from_secs(2));

    let explain = |target: &str| {
        let words = ["explain-log", target, "-n", "logged", "-o", "json"];
        let output = mesh.plugin("authz", mesh.kubeconfig(), &words).unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        println!("{}", answer["lines"]);
        answer["denials"].as_array().unwrap().clone()
    };
    let caller = "cluster.local/ns/logged/sa/client";
    let of_server = explain("server");
    let find = |cause: &str| {
        of_server.iter().find(|denial| denial["cause"] == cause).unwrap_or_else(|| panic!("{of_server:#?}"))
    };
    assert_eq!(
        (&find("rule")["because"][0]["policy"], &find("rule")["caller"]),
        (&"logged/never".into(), &caller.into())
    );
    assert_eq!(find("no-rule")["nearestMiss"]["policy"], "logged/mostly");
    assert_eq!(find("no-rule")["caller"], caller);
    assert_eq!(find("no-filter-chain")["because"][1]["policy"], "logged/strict");
    assert!(
        of_server.iter().all(|denial| denial["by"] == "mesh" && denial.get("changed").is_none()),
        "{of_server:#?}"
    );

    // The caller's own log, by the policies of what it called.
    let of_client = explain("client");
    assert!(
        of_client.iter().all(|denial| denial["cause"] == "other-side" && denial["by"] == "mesh"),
        "{of_client:#?}"
    );
    assert_eq!(of_client.len(), 2, "{of_client:#?}");
}
