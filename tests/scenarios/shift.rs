//! A shift over several VirtualServices, while everything around it breaks.

use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mesh_lab::{Mesh, Request};
use serde_json::Value;

use crate::canary::payment;
use crate::clients::client;

/// The second VirtualService of `payment`: for requests from outside.
const OUTSIDE: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: pay, namespace: shop }
spec:
  selector: { istio: orders-ingressgateway }
  servers:
    - port: { number: 80, name: http, protocol: HTTP }
      hosts: [pay.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: payment-outside, namespace: shop }
spec:
  hosts: [pay.example.com]
  gateways: [pay]
  http:
    - match: [{ headers: { x-version: { exact: v2 } } }]
      route: [{ destination: { host: payment, subset: v2 } }]
    - route:
        - { destination: { host: payment, subset: v1 }, weight: 100 }
        - { destination: { host: payment, subset: v2 }, weight: 0 }
";

/// A mesh of this file's own, with `payment` for callers within and outside.
struct Shop {
    mesh: Mesh,
}

impl Shop {
    fn open() -> Option<Self> {
        let mesh = Mesh::started()?;
        mesh.apply("examples/orders/00-namespaces.yaml").unwrap();
        mesh.apply("examples/orders/10-ingress-gateway.yaml").unwrap();
        client(&mesh, "shop", true).unwrap();
        mesh.apply(&payment("shop")).unwrap();
        mesh.apply(OUTSIDE).unwrap();
        mesh.ready("shop").unwrap();
        mesh.ready("istio-ingress").unwrap();
        mesh.settle().unwrap();
        Some(Self { mesh })
    }

    /// Runs the plugin: its exit code, and all that it said.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        said(&self.plugin(arguments))
    }

    fn plugin(&self, arguments: &[&str]) -> Output {
        let words: Vec<&str> = arguments.iter().copied().chain(["-n", "shop"]).collect();
        self.mesh.plugin("canary", self.mesh.kubeconfig(), &words).unwrap()
    }

    /// The weights in the cluster, of the mesh's route and of the gateway's.
    fn weights(&self) -> [Vec<u64>; 2] {
        [("payment", 0), ("payment-outside", 1)].map(|(name, route)| {
            let arguments = ["get", "virtualservice", name, "--namespace=shop", "--output=json"];
            let object: Value = serde_json::from_str(&self.mesh.kubectl(&arguments).unwrap()).unwrap();
            let destinations = object["spec"]["http"][route]["route"].as_array().unwrap();
            destinations.iter().map(|one| one["weight"].as_u64().unwrap_or(0)).collect()
        })
    }

    /// How many of the requests by a way each version answered, and how many failed.
    fn answers(&self, url: &str, host: Option<&str>, count: usize) -> (usize, usize, usize) {
        let request = Request::get(url);
        let request = match host {
            Some(host) => request.host(host),
            None => request,
        };
        let answers = self.mesh.call_all("shop/client", &vec![request; count]).unwrap();
        let of = |version: &str| {
            let is = |answer: &&mesh_lab::Answer| {
                answer.outcome() == "200" && answer.application().unwrap()["version"] == version
            };
            answers.iter().filter(is).count()
        };
        let (first, second) = (of("v1"), of("v2"));
        (first, second, count - first - second)
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    (output.status.code(), said.concat())
}

const INSIDE_URL: &str = "http://payment:8080/";
const OUTSIDE_URL: &str = "http://istio-ingressgateway.istio-ingress/";

#[test]
fn a_shift_holds_whatever_breaks() {
    let Some(shop) = Shop::open() else { return };
    both_ways_move_together(&shop);
    no_more_requests_than_needed(&shop);
    half_a_shift_is_said_and_finished(&shop);
    lost_requests_are_found_again(&shop);
    an_api_server_that_is_away_is_waited_for(&shop);
    two_people_do_not_tear_it_apart(&shop);
    whoever_puts_it_back_is_named(&shop);
    forced_shares_fail_as_foretold(&shop);
    rights_are_the_least(&shop);
}

fn both_ways_move_together(shop: &Shop) {
    let (code, text) = shop.run(&["payment", "50", "--canary", "v2"]);
    assert_eq!(code, Some(0), "{text}");
    // The client, two versions, the gateway.
    assert!(text.contains("in force: on 4 of 4 proxies"), "{text}");
    assert_eq!(shop.weights(), [[50, 50], [50, 50]]);
    for (url, host) in [(INSIDE_URL, None), (OUTSIDE_URL, Some("pay.example.com"))] {
        let (first, second, failed) = shop.answers(url, host, 1_000);
        assert_eq!(failed, 0, "{url}");
        // Six standard deviations.
        assert!((400..=600).contains(&second), "{url}: {first} to v1, {second} to v2");
    }
}

/// The price of a shift: one list for each kind that bears on routing, one question who we are, one patch and
/// one reading back for each object, one port-forward for each proxy.
fn no_more_requests_than_needed(shop: &Shop) {
    shop.mesh.requests().unwrap();
    let (code, text) = shop.run(&["payment", "40"]);
    assert_eq!(code, Some(0), "{text}");
    let requests = shop.mesh.requests().unwrap();
    let count = |part: &str| requests.iter().filter(|request| request.contains(part)).count();
    assert_eq!(count("PATCH "), 2, "{requests:#?}");
    assert_eq!(
        count("GET /apis/networking.istio.io/v1/namespaces/shop/virtualservices/"),
        2,
        "{requests:#?}"
    );
    assert_eq!(count("POST "), count("selfsubjectreviews"), "{requests:#?}");
    assert_eq!(count("selfsubjectreviews"), 1, "{requests:#?}");
    // Some proxies are asked a second time, when the first was too early.
    let forwards = count("/portforward");
    assert!((4..=40).contains(&forwards), "{requests:#?}");
    let lists: Vec<&String> = requests.iter().filter(|request| request.contains("limit=")).collect();
    let kinds = mesh_model::routing::KINDS.len();
    assert!(lists.len() <= kinds, "{lists:#?}");
    // What is left finds out which versions of Istio's kinds the server has, and where istiod is.
    let rest = requests.len() - lists.len() - forwards - 5;
    assert!(rest <= 5, "{rest}: {requests:#?}");
    println!("a shift of two VirtualServices: {} requests, {forwards} of them port-forwards", requests.len());
    for url in [INSIDE_URL, OUTSIDE_URL] {
        let host = (url == OUTSIDE_URL).then_some("pay.example.com");
        assert_eq!(shop.answers(url, host, 50).2, 0);
    }
}

fn half_a_shift_is_said_and_finished(shop: &Shop) {
    let mesh = &shop.mesh;
    mesh.apply(
        "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: half }
rules:
  - { apiGroups: [\"*\"], resources: [\"*\"], verbs: [get, list] }
  - { apiGroups: [networking.istio.io], resources: [virtualservices], resourceNames: [payment], verbs: [patch] }
",
    )
    .unwrap();
    mesh.kubectl(&["create", "clusterrolebinding", "half", "--clusterrole=half", "--user=limited"]).unwrap();
    let (code, text) =
        said(&mesh.plugin("canary", &mesh.limited(), &["payment", "60", "-n", "shop", "--no-wait"]).unwrap());
    mesh.kubectl(&["delete", "clusterrolebinding", "half"]).unwrap();
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("done: VirtualService shop/payment; not done: VirtualService shop/payment-outside"),
        "{text}"
    );
    assert!(text.contains("--resume"), "{text}");
    assert_eq!(shop.weights(), [[40, 60], [60, 40]]);

    // The next to come is told, and can finish it: it stays one step.
    let (code, text) = shop.run(&["payment", "--resume"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("has not reached shop/payment-outside"), "{text}");
    assert_eq!(shop.weights(), [[40, 60], [40, 60]]);
    let (code, text) = shop.run(&["undo", "payment"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(shop.weights(), [[60, 40], [60, 40]]);
    let (code, text) = shop.run(&["payment", "--resume"]);
    assert_eq!(code, Some(2), "{text}");
}

/// Every request of a shift is lost once: on its way there, and on its way back.
fn lost_requests_are_found_again(shop: &Shop) {
    shop.mesh.requests().unwrap();
    let (code, text) = shop.run(&["payment", "10", "--no-wait"]);
    assert_eq!(code, Some(0), "{text}");
    let count = shop.mesh.requests().unwrap().len();
    let mut percent = 10;
    for number in 1..=count {
        for served in [false, true] {
            let wanted = if percent == 10 { 90 } else { 10 };
            shop.mesh.cut(number, served).unwrap();
            let (code, text) = shop.run(&["payment", &wanted.to_string(), "--no-wait"]);
            let weights = shop.weights();
            let context = format!("request {number} of {count}, served: {served}: {weights:?} {text}");
            let all = |percent: u64| [vec![100 - percent, percent], vec![100 - percent, percent]];
            match code {
                Some(0) => {
                    assert_eq!(weights, all(wanted), "{context}");
                    percent = wanted;
                }
                // Nothing was written.
                Some(2) => assert_eq!(weights, all(percent), "{context}"),
                _ => panic!("{code:?} {context}"),
            }
        }
    }
}

fn an_api_server_that_is_away_is_waited_for(shop: &Shop) {
    let before = shop.weights();
    shop.mesh.stop("kube-apiserver").unwrap();
    let (code, text) = shop.run(&["payment", "33"]);
    assert_eq!(code, Some(2), "{text}");
    shop.mesh.restart("kube-apiserver").unwrap();
    await_api_server(shop);
    assert_eq!(shop.weights(), before);

    // Between the two patches.
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            shop.mesh.requests().unwrap();
            while !done.load(Ordering::Relaxed) {
                if shop.mesh.requests().unwrap().iter().any(|request| request.starts_with("PATCH")) {
                    shop.mesh.stop("kube-apiserver").unwrap();
                    thread::sleep(Duration::from_secs(2));
                    shop.mesh.restart("kube-apiserver").unwrap();
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let (code, text) = shop.run(&["payment", "34", "--no-wait"]);
        done.store(true, Ordering::Relaxed);
        assert_eq!(code, Some(0), "{text}");
    });
    await_api_server(shop);
    assert_eq!(shop.weights(), [[66, 34], [66, 34]]);
}

fn await_api_server(shop: &Shop) {
    for _ in 0..100 {
        if shop.mesh.kubectl(&["get", "--raw", "/readyz"]).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(300));
    }
    panic!("the API server does not come back");
}

fn two_people_do_not_tear_it_apart(shop: &Shop) {
    for _ in 0..5 {
        let codes = thread::scope(|scope| {
            let people = ["20", "80"].map(|percent| {
                scope.spawn(move || shop.run(&["payment", percent, "--canary", "v2", "--no-wait"]))
            });
            people.map(|one| one.join().unwrap())
        });
        let weights = shop.weights();
        assert!(weights.iter().all(|weights| weights.iter().sum::<u64>() == 100), "{weights:?}");
        let lost = codes.iter().any(|(code, _)| *code == Some(4));
        assert!(codes.iter().all(|(code, _)| matches!(code, Some(0 | 4))), "{codes:?}");
        assert!(lost || weights[0] == weights[1], "{weights:?} {codes:?}");
        let (code, text) = shop.run(&["abort", "payment", "--canary", "v2", "--no-wait"]);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(shop.weights(), [[100, 0], [100, 0]]);
    }
}

/// As Argo CD with self-heal: git wins.
fn whoever_puts_it_back_is_named(shop: &Shop) {
    let done = AtomicBool::new(false);
    let manifest = shop.mesh.directory().join("git.yaml");
    let all = payment("shop");
    let git = all.split("---\n").find(|one| one.contains("kind: VirtualService")).unwrap();
    std::fs::write(&manifest, git).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let words = [
                    "apply",
                    "--server-side",
                    "--force-conflicts",
                    "--field-manager=argocd-controller",
                    "--filename",
                    &manifest.to_string_lossy(),
                ];
                shop.mesh.kubectl(&words).unwrap();
            }
        });
        let (code, text) = shop.run(&["payment", "50", "--canary", "v2", "--propagation-timeout", "3s"]);
        done.store(true, Ordering::Relaxed);
        assert_eq!(code, Some(4), "{text}");
        assert!(text.contains("argocd-controller"), "{text}");
    });
    let (code, text) = shop.run(&["abort", "payment", "--canary", "v2"]);
    assert_eq!(code, Some(0), "{text}");
}

/// A DestinationRule in the callers' namespace hides the subsets of the service's namespace (traffic.md 2.3).
fn forced_shares_fail_as_foretold(shop: &Shop) {
    client(&shop.mesh, "elsewhere", true).unwrap();
    shop.mesh
        .apply(
            "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: hides, namespace: elsewhere }
spec: { host: \"*.svc.cluster.local\", trafficPolicy: { tls: { mode: ISTIO_MUTUAL } } }
",
        )
        .unwrap();
    shop.mesh.settle().unwrap();
    let (code, text) = shop.run(&["payment", "30", "--canary", "v2"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("503 for namespace elsewhere"), "{text}");
    assert!(text.contains("DestinationRule elsewhere/hides"), "{text}");
    assert_eq!(shop.weights(), [[100, 0], [100, 0]]);
    let (code, text) = shop.run(&["payment", "30", "--canary", "v2", "--force"]);
    assert_eq!(code, Some(0), "{text}");
    let requests = vec![Request::get("http://payment.shop:8080/"); 500];
    let answers = shop.mesh.call_all("elsewhere/client", &requests).unwrap();
    let failed = answers.iter().filter(|answer| answer.outcome() == "503").count();
    // These callers have neither subset.
    assert_eq!(failed, 500);
    assert_eq!(shop.answers(INSIDE_URL, None, 200).2, 0);
    shop.mesh.kubectl(&["delete", "destinationrule", "hides", "--namespace=elsewhere"]).unwrap();
    let (code, text) = shop.run(&["abort", "payment", "--canary", "v2"]);
    assert_eq!(code, Some(0), "{text}");
}

fn rights_are_the_least(shop: &Shop) {
    let mesh = &shop.mesh;
    let run = |arguments: &[&str]| {
        let words: Vec<&str> = arguments.iter().copied().chain(["-n", "shop"]).collect();
        said(&mesh.plugin("canary", &mesh.limited(), &words).unwrap())
    };
    let bind = |namespace: &str, role: &str| {
        let role = format!("--clusterrole={role}");
        let name = format!("bound-{}", &role["--clusterrole=".len()..]);
        let namespace = format!("--namespace={namespace}");
        mesh.kubectl(&["create", "rolebinding", &name, &role, "--user=limited", &namespace]).unwrap();
    };
    let (code, text) = run(&["payment"]);
    assert_eq!(code, Some(2), "{text}");
    crate::clients::grant(mesh, "canary", "mesh-canary");
    let (code, text) = run(&["payment"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("forbidden"), "{text}");
    let (code, text) = run(&["payment", "20", "--canary", "v2"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("Forbidden"), "{text}");
    assert_eq!(shop.weights(), [[100, 0], [100, 0]]);

    bind("shop", "mesh-canary-shift");
    let (code, text) = run(&["payment", "20", "--canary", "v2"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("not proven"), "{text}");
    mesh.apply("docs/rbac/canary-proof.yaml").unwrap();
    for namespace in ["shop", "elsewhere", "istio-ingress"] {
        bind(namespace, "mesh-canary-proof");
    }
    let (code, text) = run(&["abort", "payment"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("in force: on 5 of 5 proxies"), "{text}");

    // What is missing is made; requests go on all the while.
    let words = ["delete", "virtualservice,destinationrule", "--all", "--namespace=shop"];
    mesh.kubectl(&words).unwrap();
    mesh.settle().unwrap();
    bind("shop", "mesh-canary-init");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(shop.answers(INSIDE_URL, None, 50).2, 0);
            }
        });
        let (code, text) = run(&["init", "payment", "--canary", "v2"]);
        done.store(true, Ordering::Relaxed);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("all requests go to v1"), "{text}");
    });
    assert_eq!(shop.answers(INSIDE_URL, None, 100), (100, 0, 0));
}
