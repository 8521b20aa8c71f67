//! `mesh-canary` moves real requests, and none of them fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mesh_lab::{Mesh, Request};

use crate::clients::{client, workload};

/// Two versions of `payment` behind one Service, all requests on v1.
pub(crate) fn payment(namespace: &str) -> String {
    let version = |version: &str| {
        let name = format!("payment-{version}");
        let deployment = workload(namespace, &name);
        // The versions share the Service `payment`, and each keeps its own.
        deployment
            .replace(
                &format!("labels: {{ app: {name} }}\n"),
                &format!("labels: {{ app: {name}, part: payment, version: {version} }}\n"),
            )
            .replace("env:\n", &format!("env:\n            - {{ name: VERSION, value: {version} }}\n"))
    };
    format!(
        "\
{}---
{}---
apiVersion: v1
kind: Service
metadata: {{ name: payment, namespace: {namespace} }}
spec:
  selector: {{ part: payment }}
  ports: [{{ name: http, port: 8080 }}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: payment, namespace: {namespace} }}
spec:
  host: payment
  subsets:
    - {{ name: v1, labels: {{ version: v1 }} }}
    - {{ name: v2, labels: {{ version: v2 }} }}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: payment, namespace: {namespace} }}
spec:
  hosts: [payment]
  http:
    - name: all
      timeout: 5s
      route:
        - {{ destination: {{ host: payment, subset: v1 }}, weight: 100 }}
        - {{ destination: {{ host: payment, subset: v2 }}, weight: 0 }}
",
        version("v1"),
        version("v2"),
    )
}

/// How many of some requests each version answered; every one must be answered with 200.
pub(crate) fn shares(mesh: &Mesh, caller: &str, count: usize) -> (usize, usize) {
    let requests = vec![Request::get("http://payment:8080/"); count];
    let answers = mesh.call_all(caller, &requests).unwrap();
    let failed: Vec<String> =
        answers.iter().map(mesh_lab::Answer::outcome).filter(|outcome| outcome != "200").collect();
    assert!(failed.is_empty(), "{failed:?}");
    let second = answers
        .iter()
        .filter(|answer| answer.application().unwrap()["version"].as_str() == Some("v2"))
        .count();
    (count - second, second)
}

#[test]
fn half_of_the_requests_move_and_none_fails() {
    let Some(mesh) = Mesh::shared() else { return };
    if !mesh.is_ours() {
        return;
    }
    client(mesh, "canary", true).unwrap();
    mesh.apply(&payment("canary")).unwrap();
    mesh.ready("canary").unwrap();
    mesh.settle().unwrap();
    let kubeconfig = mesh.directory().join("kubeconfig");
    let run = |arguments: &[&str]| {
        let words: Vec<&str> = arguments.iter().copied().chain(["-n", "canary"]).collect();
        let output = mesh.plugin("canary", &kubeconfig, &words).unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (output.status.code(), said.concat())
    };
    assert_eq!(shares(mesh, "canary/client", 50), (50, 0));

    // Requests all the while.
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                shares(mesh, "canary/client", 50);
            }
        });
        let (code, said) = run(&["payment", "50", "--canary", "v2"]);
        done.store(true, Ordering::Relaxed);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("100/0 -> 50/50"), "{said}");
    });
    mesh.settle().unwrap();
    // Six standard deviations around 1,000 are 13 %; 3 % are asked for, so many requests are sent.
    let (first, second) = shares(mesh, "canary/client", 10_000);
    assert!((4_700..=5_300).contains(&second), "{first} to v1, {second} to v2");

    // The steps say which is the canary from now on.
    let (code, said) = run(&["payment", "25"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("v2 is the canary: the shift that is under way says so"), "{said}");
    let (code, said) = run(&["undo", "payment"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("75/25 -> 50/50"), "{said}");
    let (code, said) = run(&["history", "payment"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("100/0 -> 50/50") && said.contains("undo"), "{said}");

    // A subset that no rule defines would be 503 for its share.
    let hidden = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: payment, namespace: canary }
spec: { host: payment, subsets: [{ name: v1, labels: { version: v1 } }] }
";
    mesh.apply(hidden).unwrap();
    let (code, said) = run(&["payment", "60"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("which does not define subset v2"), "{said}");

    // And back: one object is written once, whatever was read before.
    mesh.requests().unwrap();
    let (code, said) = run(&["abort", "payment"]);
    assert_eq!(code, Some(0), "{said}");
    let requests = mesh.requests().unwrap();
    let writes: Vec<&String> =
        requests.iter().filter(|request| request.contains("PATCH /apis/networking")).collect();
    let ours: Vec<&&String> =
        writes.iter().filter(|request| request.contains("virtualservices/payment")).collect();
    assert_eq!(ours.len(), 1, "{requests:?}");
    mesh.settle().unwrap();
    assert_eq!(shares(mesh, "canary/client", 100), (100, 0));
}
