//! `mesh-canary run` takes back what is bad, promotes what is good, and holds what nobody knows.

use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mesh_lab::{Mesh, Request};
use serde_json::Value;

use crate::canary::payment;
use crate::clients::client;

/// Two versions that are counted as Istio counts them; so many percent of what v2 answers are errors.
fn counted(namespace: &str, errors: u32) -> String {
    let mut manifests = payment(namespace);
    for (version, errors) in [("v1", 0), ("v2", errors)] {
        let workload = format!("payment-{version}");
        let counted = format!(
            "- {{ name: NAME, value: payment }}
            - {{ name: WORKLOAD, value: {workload} }}
            - {{ name: NAMESPACE, value: {namespace} }}
            - {{ name: ERROR_PERCENT, value: \"{errors}\" }}"
        );
        manifests = manifests.replace(&format!("- {{ name: NAME, value: {workload} }}"), &counted);
    }
    manifests
}

struct Shop {
    mesh: Mesh,
    /// Whether requests are sent.
    sends: AtomicBool,
    is_over: AtomicBool,
}

impl Shop {
    fn weights(&self, namespace: &str) -> (u64, u64) {
        let namespace = format!("--namespace={namespace}");
        let arguments = ["get", "virtualservice", "payment", &namespace, "--output=json"];
        let object: Value = serde_json::from_str(&self.mesh.kubectl(&arguments).unwrap()).unwrap();
        let weight = |at: usize| object["spec"]["http"][0]["route"][at]["weight"].as_u64().unwrap_or(0);
        (weight(0), weight(1))
    }

    fn run(&self, namespace: &str, arguments: &[&str]) -> (Option<i32>, String) {
        said(&self.spawn(namespace, arguments).wait_with_output().unwrap())
    }

    fn spawn(&self, namespace: &str, arguments: &[&str]) -> Child {
        let words: Vec<&str> = arguments.iter().copied().chain(["-n", namespace]).collect();
        let mut command = self.mesh.plugin_command("canary", self.mesh.kubeconfig(), &words).unwrap();
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A run with short times whose first step is 50 %.
    fn start(&self, namespace: &str, more: &[&str]) -> Child {
        let words = ["run", "payment", "--canary", "v2", "--steps", "50,100", "--max-error-rate", "5%"];
        let child = self.spawn(namespace, &[&words, more].concat());
        let until = Instant::now() + Duration::from_secs(30);
        while self.weights(namespace) != (50, 50) {
            assert!(Instant::now() < until, "the first step was not made");
            thread::sleep(Duration::from_millis(100));
        }
        child
    }

    /// Sends requests to `payment` of some namespaces until it is over.
    fn send(&self, namespaces: &[&str]) {
        let requests: Vec<Request> = vec![Request::get("http://payment:8080/"); 60];
        while !self.is_over.load(Ordering::Relaxed) {
            for namespace in namespaces {
                if self.sends.load(Ordering::Relaxed) {
                    // While the API server or pods come and go it may fail.
                    let _ = self.mesh.call_all(&format!("{namespace}/client"), &requests);
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    (output.status.code(), said.concat())
}

fn signal(child: &Child, signal: &str) {
    let status = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_run_ends_as_the_canary_deserves() {
    let Some(mesh) = Mesh::started() else { return };
    if mesh.lacks("prometheus") {
        return;
    }
    let namespaces = ["good", "bad", "left"];
    for (namespace, errors) in [("good", 0), ("bad", 10), ("left", 0)] {
        client(&mesh, namespace, true).unwrap();
        mesh.apply(&counted(namespace, errors)).unwrap();
    }
    mesh.apply("tests/lab/prometheus.yaml").unwrap();
    namespaces.iter().chain(&["istio-system"]).for_each(|namespace| mesh.ready(namespace).unwrap());
    mesh.settle().unwrap();
    let shop = Shop { mesh, sends: AtomicBool::new(false), is_over: AtomicBool::new(false) };
    without_requests_nothing_is_proven(&shop);
    thread::scope(|scope| {
        scope.spawn(|| shop.send(&namespaces));
        // Whatever fails, the requests end.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            shop.sends.store(true, Ordering::Relaxed);
            thread::scope(|scope| {
                scope.spawn(|| a_healthy_canary_is_promoted(&shop));
                scope.spawn(|| a_bad_canary_is_taken_back(&shop));
                scope.spawn(|| who_is_stopped_goes_on(&shop));
            });
            somebody_else_is_noticed(&shop);
            a_subset_that_goes_is_noticed(&shop);
            without_prometheus_nothing_is_proven(&shop);
        }));
        shop.is_over.store(true, Ordering::Relaxed);
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
}

fn without_requests_nothing_is_proven(shop: &Shop) {
    let words =
        ["run", "payment", "--canary", "v2", "--steps", "10,100", "--interval", "2s", "--max-wait", "3s"];
    let (code, text) = shop.run("good", &words);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("held") && text.contains("run payment --resume"), "{text}");
    assert_eq!(shop.weights("good"), (90, 10), "{text}");
    // Nor is a split seen that nobody has made.
    let (code, text) = shop.run("good", &["payment", "--watch", "--until", "stable", "--timeout", "1s"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("not stable within 1s"), "{text}");
    let (code, text) = shop.run("good", &["abort", "payment"]);
    assert_eq!(code, Some(0), "{text}");
    // A run that somebody has ended does not go on.
    let (code, text) = shop.run("good", &["run", "payment", "--resume"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("ended by abort"), "{text}");
}

fn a_healthy_canary_is_promoted(shop: &Shop) {
    let (code, text) =
        shop.run("good", &["run", "payment", "--canary", "v2", "--dry-run=client", "-o", "json"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\"kind\": \"CanaryCourse\""), "{text}");
    let words =
        ["run", "payment", "--canary", "v2", "--steps", "25,100", "--interval", "5s", "--max-wait", "90s"];
    let (code, text) =
        shop.run("good", &[&words[..], &["--max-error-rate", "5%", "--max-p99", "10s"]].concat());
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(shop.weights("good"), (0, 100), "{text}");
    assert!(text.contains("passed"), "{text}");
    // Nothing of the run is left but its steps.
    let arguments = ["get", "virtualservice", "payment", "--namespace=good", "--output=yaml"];
    let object = shop.mesh.kubectl(&arguments).unwrap();
    assert!(!object.contains("kubectl-mesh.dev/canary-run:"), "{object}");
    let (_, text) = shop.run("good", &["history", "payment"]);
    assert!(text.contains("75/25 -> 0/100"), "{text}");
}

fn a_bad_canary_is_taken_back(shop: &Shop) {
    let words = ["run", "payment", "--canary", "v2", "--steps", "25,100", "--interval", "20s", "-o", "json"];
    let (code, text) = shop.run("bad", &words);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(shop.weights("bad"), (100, 0), "{text}");
    let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(names.first(), Some(&"started"), "{text}");
    assert_eq!(names.last(), Some(&"ended"), "{text}");
    assert!(names.contains(&"back"), "{text}");
    let last = events.last().unwrap();
    assert_eq!((&last["end"], &last["kind"]), (&"failed".into(), &"CanaryRunEvent".into()), "{text}");
}

/// By Ctrl-C, which holds; by kill -9, after which the objects tell what was under way.
fn who_is_stopped_goes_on(shop: &Shop) {
    let child = shop.start("left", &["--interval", "3s", "--max-wait", "90s"]);
    signal(&child, "-INT");
    let (code, text) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("interrupted") && text.contains("run payment --resume"), "{text}");
    assert_eq!(shop.weights("left"), (50, 50));

    let mut child = shop.spawn("left", &["run", "payment", "--resume"]);
    thread::sleep(Duration::from_millis(1500));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(shop.weights("left"), (50, 50) | (0, 100)));
    let (_, text) = shop.run("left", &["payment"]);
    assert!(text.contains("run payment --resume"), "{text}");
    let (code, text) = shop.run("left", &["run", "payment", "--resume"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(shop.weights("left"), (0, 100), "{text}");
    let (code, text) = shop.run("left", &["payment", "0", "--canary", "v2"]);
    assert_eq!(code, Some(0), "{text}");
}

fn somebody_else_is_noticed(shop: &Shop) {
    // Two looks at least.
    let times = ["--interval", "12s"];
    let child = shop.start("left", &times);
    let patch = r#"[{"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 70},
        {"op": "replace", "path": "/spec/http/0/route/1/weight", "value": 30}]"#;
    let words = ["patch", "virtualservice", "payment", "--namespace=left", "--type=json", "--patch", patch];
    shop.mesh.kubectl(&words).unwrap();
    let (code, text) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("somebody else"), "{text}");
    assert_eq!(shop.weights("left"), (70, 30), "{text}");

    // The VirtualService goes.
    let (code, text) = shop.run("left", &["abort", "payment", "--canary", "v2"]);
    assert_eq!(code, Some(0), "{text}");
    let child = shop.start("left", &times);
    shop.mesh.kubectl(&["delete", "virtualservice", "payment", "--namespace=left"]).unwrap();
    let (code, text) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("gone"), "{text}");
    shop.mesh.apply(&counted("left", 0)).unwrap();
    shop.mesh.settle().unwrap();
}

fn a_subset_that_goes_is_noticed(shop: &Shop) {
    let child = shop.start("left", &["--interval", "12s"]);
    let patch = r#"[{"op": "remove", "path": "/spec/subsets/1"}]"#;
    let words = ["patch", "destinationrule", "payment", "--namespace=left", "--type=json", "--patch", patch];
    shop.mesh.kubectl(&words).unwrap();
    let (code, text) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("does not define subset v2"), "{text}");
    assert_eq!(shop.weights("left"), (100, 0), "{text}");
    shop.mesh.apply(&counted("left", 0)).unwrap();
    shop.mesh.settle().unwrap();
}

fn without_prometheus_nothing_is_proven(shop: &Shop) {
    let child = shop.start("left", &["--interval", "4s", "--max-wait", "6s"]);
    shop.mesh
        .kubectl(&["scale", "deployment/prometheus", "--namespace=istio-system", "--replicas=0"])
        .unwrap();
    let (code, text) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(3), "{text}");
    assert_eq!(shop.weights("left"), (50, 50), "{text}");
    let (code, text) = shop.run("left", &["abort", "payment"]);
    assert_eq!(code, Some(0), "{text}");
    // None at all: nothing is begun.
    let (code, text) = shop.run("left", &["run", "payment", "--canary", "v2"]);
    assert_eq!(code, Some(2), "{text}");
    assert_eq!(shop.weights("left"), (100, 0), "{text}");
    // The status does without.
    let (code, text) = shop.run("left", &["payment"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no numbers"), "{text}");
}
