//! `--verify`: what a running proxy really has, by a user who may do only what docs/rbac grants.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use mesh_lab::{Mesh, Request};

use crate::clients::{client, grant, workload};

const ALLOW: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: reads, namespace: verified }
spec:
  selector: { matchLabels: { app: server } }
  rules: [{ from: [{ source: { namespaces: [verified] } }], to: [{ operation: { methods: [GET] } }] }]
";

/// Istio's webhook takes this, and Envoy does not: an empty claim (tests/envoy/MEASURED.md).
const REFUSED: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: refused, namespace: verified }
spec:
  selector: { matchLabels: { app: server } }
  action: DENY
  rules: [{ when: [{ key: \"request.auth.claims[a][]\", values: [x] }] }]
";

const LATE: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: late, namespace: verified }
spec:
  selector: { matchLabels: { app: server } }
  action: DENY
  rules: [{ to: [{ operation: { methods: [GET] } }] }]
";

/// It lets everything in, whatever the policies say.
const FILTER: &str = "\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: { name: open, namespace: verified }
spec:
  workloadSelector: { labels: { app: server } }
  configPatches:
    - applyTo: HTTP_FILTER
      match:
        context: SIDECAR_INBOUND
        listener: { filterChain: { filter: { name: envoy.filters.network.http_connection_manager, subFilter: { name: envoy.filters.http.rbac } } } }
      patch: { operation: REMOVE }
";

/// Runs a command as the limited user until its output has a word, and returns exit code and output.
fn until(mesh: &Mesh, kubeconfig: &Path, word: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let output = mesh.plugin("authz", kubeconfig, arguments).unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if said.contains(word) || Instant::now() > patience {
            assert!(said.contains(word), "no {word:?} in\n{said}");
            return (output.status.code(), said);
        }
        thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn verify_says_what_the_proxy_really_has() {
    // Its own mesh: istiod is taken away from it.
    let Some(mesh) = Mesh::started() else { return };
    client(&mesh, "verified", true).unwrap();
    mesh.apply(&workload("verified", "server")).unwrap();
    mesh.apply(ALLOW).unwrap();
    mesh.ready("verified").unwrap();
    mesh.settle().unwrap();

    let limited = mesh.limited();
    let can = ["can", "client", "server", "GET", "/a", "--port", "8080", "-n", "verified", "--verify"];
    let who_can = ["who-can", "server", "-n", "verified", "--verify"];
    let explain = ["explain", "server", "-n", "verified", "--verify"];
    let call = |request: &Request| mesh.call("verified/client", request).unwrap().outcome();
    let get = Request::get("http://server:8080/a");

    // Without rights there is no answer; with those to read, but not to ask proxies, no proof.
    let nothing = mesh.plugin("authz", &limited, &can).unwrap();
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
    grant(&mesh, "authz", "mesh-authz");
    let (code, said) = until(&mesh, &limited, "unreadable", &can);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("docs/rbac/authz-verify.yaml"), "{said}");

    grant(&mesh, "authz-verify", "mesh-authz-verify");
    for command in [&can[..], &who_can, &explain] {
        let (code, said) = until(&mesh, &limited, "verified:", command);
        assert_eq!(code, Some(0), "{said}");
    }
    assert_eq!(call(&get), "200");

    // The webhook refuses what is surely wrong, and takes what Envoy will refuse.
    let wrong = mesh.apply(&REFUSED.replace("request.auth.claims[a][]", "no.such.key"));
    assert!(wrong.is_err_and(|error| error.to_string().contains("validation.istio.io")));
    mesh.apply(REFUSED).unwrap();
    mesh.delete(REFUSED).unwrap();
    mesh.settle().unwrap();

    // istiod has no say: the proxy lags behind.
    mesh.stop_istiod().unwrap();
    mesh.kubectl(&["delete", "validatingwebhookconfiguration", "--all"]).unwrap();
    mesh.apply(LATE).unwrap();
    let (code, said) = until(&mesh, &limited, "lags", &can);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("late"), "{said}");
    assert_eq!(call(&get), "200");
    mesh.start_istiod().unwrap();
    let (code, said) = until(&mesh, &limited, "verified:", &can);
    assert_eq!(code, Some(1), "{said}");
    // A connection from before is decided by the rules from before, and then closed.
    call(&get);
    assert_eq!(call(&get), "403");
    mesh.delete(LATE).unwrap();
    mesh.settle().unwrap();
    call(&get);

    // Envoy refuses a policy and keeps what it had.
    mesh.apply(REFUSED).unwrap();
    let (code, said) = until(&mesh, &limited, "refused", &can);
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(call(&get), "200");
    mesh.delete(REFUSED).unwrap();
    mesh.settle().unwrap();

    // An EnvoyFilter undoes the policies.
    let write = Request::post("http://server:8080/a");
    assert_eq!(call(&write), "403");
    mesh.apply(FILTER).unwrap();
    mesh.settle().unwrap();
    call(&write);
    assert_eq!(call(&write), "200");
    let post = ["can", "client", "server", "POST", "/a", "--port", "8080", "-n", "verified", "--verify"];
    let (code, said) = until(&mesh, &limited, "envoy-filter", &post);
    assert_eq!(code, Some(3), "{said}");

    another_revision(&mesh, &limited);
}

/// A second istiod with another mesh configuration, which the limited user may not read.
fn another_revision(mesh: &Mesh, limited: &Path) {
    let install = concat!(env!("CARGO_MANIFEST_DIR"), "/../lab/istio/install.yaml");
    let with = "meshConfig.pathNormalization.normalization=NONE";
    let manifests =
        mesh.istioctl(&["manifest", "generate", "-f", install, "--set", "revision=canary", "--set", with]);
    mesh.apply(&manifests.unwrap()).unwrap();
    mesh.ready("istio-system").unwrap();
    mesh.apply(
        "apiVersion: v1\nkind: Namespace\nmetadata: { name: revised, labels: { istio.io/rev: canary } }\n",
    )
    .unwrap();
    mesh.apply(&workload("revised", "server")).unwrap();
    mesh.ready("revised").unwrap();
    let (code, said) =
        until(mesh, limited, "other-revision", &["explain", "server", "-n", "revised", "--verify"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("canary"), "{said}");
}
