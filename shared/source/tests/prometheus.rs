//! The gate's numbers, from a real Prometheus that really scrapes.

#![expect(clippy::unwrap_used, reason = "a test may fail wherever it is")]

#[path = "prometheus/servers.rs"]
mod servers;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mesh_lab::ControlPlane;
use mesh_lab::control_plane::{ADMINISTRATOR, LIMITED};
use mesh_model::gate::query::{self, LOOKBACK, ServiceName};
use mesh_model::gate::{
    Alpha, Identity, Judgement, LatencyLimit, Limits, Rates, Tally, Trouble, Verdict, Versions, judge,
};
use mesh_source::cluster::Connection;
use mesh_source::prometheus::{Error, Options, Prometheus};
use serde_json::json;

use servers::{Scraper, Target, answer, own_address, serve};

/// How old a sample may be: many scrapes, for busy machines.
const PATIENCE: f64 = 20.0;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn at(url: &str) -> Result<Prometheus, Error> {
    with(url, Options::default())
}

fn with(url: &str, options: Options) -> Result<Prometheus, Error> {
    let options = Options { address: Some(url.parse().unwrap()), ..options };
    Prometheus::find(&Connection::default(), &options)
}

/// Requests to a workload of a service, as its own proxy counts them.
fn counter(service: &str, workload: &str, code: &str) -> String {
    format!(
        "istio_requests_total{{reporter=\"destination\",destination_service_name=\"{service}\",\
         destination_service_namespace=\"shop\",destination_workload=\"{workload}\",\
         destination_workload_namespace=\"shop\",response_code=\"{code}\",response_flags=\"-\"}}"
    )
}

fn bucket(service: &str, workload: &str, bound: &str) -> String {
    counter(service, workload, "200").replace(
        "istio_requests_total{",
        &format!("istio_request_duration_milliseconds_bucket{{le=\"{bound}\","),
    )
}

/// What clients sent to a service that their proxies had no cluster for.
fn unrouted(host: &str) -> String {
    format!(
        "istio_requests_total{{reporter=\"source\",destination_service=\"{host}\",\
         destination_service_name=\"unknown\",destination_service_namespace=\"unknown\",\
         destination_workload=\"unknown\",destination_workload_namespace=\"unknown\",\
         source_workload_namespace=\"shop\",response_code=\"503\",response_flags=\"NC\"}}"
    )
}

fn service(name: &str) -> ServiceName {
    ServiceName { namespace: "shop".into(), name: name.into() }
}

fn tally(start: f64) -> Tally {
    let workload = |name: &str| Identity::Workload { namespace: "shop".into(), name: name.into() };
    Tally::new(Versions::new(vec![workload("v1")], vec![workload("v2")]).unwrap(), start)
}

fn limits() -> Limits {
    Limits { max_error_rate: Some(0.01), tolerance: None, latency: Vec::new(), alpha: Alpha::default() }
}

/// Feeds a tally with everything up to now.
fn look(prometheus: &Prometheus, tally: &mut Tally, name: &str) {
    let now = prometheus.now().unwrap();
    let since = now - tally.start() + LOOKBACK;
    let [by_host, by_name] = query::unrouted(&service(name), since);
    for text in [query::requests(&service(name), since), by_host, by_name] {
        let answer = prometheus.query(&text, now).unwrap();
        assert!(answer.warnings.is_empty());
        tally.take(&answer.series, now);
    }
    let latency = query::latency(&service(name), now - tally.start());
    tally.take_latency(&prometheus.query(&latency, now).unwrap().series);
}

fn judged(tally: &Tally) -> Judgement {
    judge(&tally.window(PATIENCE), &limits())
}

/// Waits until a query gives something, or nothing.
fn until(prometheus: &Prometheus, text: &str, gives: bool) {
    let begun = Instant::now();
    while prometheus.query(text, prometheus.now().unwrap()).unwrap().series.is_empty() == gives {
        assert!(begun.elapsed() < Duration::from_secs(30), "{text}");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn counts_are_those_that_were_scraped() {
    let target = Target::default();
    target.says(&[]);
    let Some(scraper) = Scraper::start("counts", LOCAL, &target) else { return };
    let prometheus = at(&scraper.url()).unwrap();
    assert!(!prometheus.has_istio());
    assert_eq!(prometheus.name(), format!("{}/", scraper.url()));

    // Before the window: stable has a past, the canary has none, or (`reset`) another one.
    target.says(&[
        (counter("good", "v1", "200"), "1000"),
        (counter("late", "v1", "200"), "1000"),
        (counter("reset", "v2", "200"), "500"),
        (counter("broken", "v2", "200"), "5"),
        ("phase".into(), "1"),
    ]);
    until(&prometheus, "phase == 1", true);
    assert!(at(&scraper.url()).unwrap().has_istio());
    let start = prometheus.now().unwrap();
    let mut tallies = ["good", "late", "reset", "broken", "lost"].map(|name| (name, tally(start)));

    let during = |phase: &'static str, reset: &'static str| {
        vec![
            (counter("good", "v1", "200"), "2000"),
            (counter("good", "v2", "200"), "600"),
            (bucket("good", "v2", "100"), "590"),
            (bucket("good", "v2", "250"), "600"),
            (bucket("good", "v2", "+Inf"), "600"),
            (counter("late", "v1", "200"), "2000"),
            (counter("late", "v2", "200"), "17"),
            (counter("late", "v2", "503"), "3"),
            (counter("reset", "v2", "200"), reset),
            (counter("broken", "v2", "200"), "NaN"),
            (unrouted("lost.shop.svc.cluster.local:8080"), "4"),
            (unrouted("lost:8080"), "5"),
            (counter("lost", "v2", "200"), "600"),
            ("phase".into(), phase),
        ]
    };
    target.says(&during("2", "900"));
    until(&prometheus, "phase == 2", true);
    // A look in between; the next one sees the same samples again, and counts them once.
    for (name, tally) in &mut tallies {
        look(&prometheus, tally, name);
    }
    target.says(&during("3", "400"));
    until(&prometheus, "phase == 3", true);
    for (name, tally) in &mut tallies {
        look(&prometheus, tally, name);
    }
    let of = |name: &str| &tallies.iter().find(|(one, _)| *one == name).unwrap().1;

    let window = of("good").window(PATIENCE);
    assert_eq!((window.destination.stable.requests, window.destination.canary.requests), (1000, 600));
    let judgement = judged(of("good"));
    assert_eq!(judgement.verdict, Verdict::Pass, "{judgement:?}");
    let limit =
        |milliseconds| Limits { latency: vec![LatencyLimit { quantile: 0.99, milliseconds }], ..limits() };
    assert_eq!(judge(&window, &limit(250.0)).verdict, Verdict::Pass);
    assert_eq!(judge(&window, &limit(100.0)).verdict, Verdict::Inconclusive);
    let rates = Rates::of(&window.destination.canary, window.seconds());
    assert_eq!(rates.p50.and_then(|between| between.upper), Some(100.0));
    assert_eq!(rates.p99.and_then(|between| between.upper), Some(250.0));

    // Born at 3: Prometheus' own function sees no error at all.
    let judgement = judged(of("late"));
    assert_eq!(judgement.verdict, Verdict::Fail, "{judgement:?}");
    assert!(judgement.findings[0].reason.starts_with("3 of 20 requests failed"), "{judgement:?}");
    let now = prometheus.now().unwrap();
    let errors = format!("increase({}[60s])", counter("late", "v2", "503"));
    let increase = prometheus.query(&errors, now).unwrap();
    assert!(increase.series.iter().all(|series| series.samples[0].value == 0.0), "{increase:?}");

    let judgement = judged(of("reset"));
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    let window = of("reset").window(PATIENCE);
    assert_eq!(window.destination.canary.requests, 800);
    assert_eq!(window.problems[0].trouble, Trouble::Reset { times: 1 });

    let judgement = judged(of("broken"));
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert!(judgement.findings[0].reason.contains("a counter is NaN"), "{judgement:?}");

    let judgement = judged(of("lost"));
    assert_eq!(judgement.verdict, Verdict::Fail);
    assert!(
        judgement.findings[0].reason.starts_with("9 requests reached no version (503 NC: 9)"),
        "{judgement:?}"
    );

    // A service that nobody knows.
    let mut none = tally(start);
    look(&prometheus, &mut none, "nobody");
    assert_eq!(judged(&none).verdict, Verdict::Inconclusive);

    // The target falls silent: what it said last passes no more.
    target.falls_silent();
    until(&prometheus, "up == 0", true);
    thread::sleep(Duration::from_millis(3500));
    let mut stale = of("good").clone();
    look(&prometheus, &mut stale, "good");
    let judgement = judge(&stale.window(3.0), &limits());
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert!(judgement.findings[0].reason.contains("nothing has been scraped for"), "{judgement:?}");

    // For a graph.
    let points = prometheus.range(&query::graph(&service("good"), 5.0), start, now, 0.1).unwrap();
    assert!(points.series.iter().all(|series| !series.labels.contains_key("response_code")), "{points:?}");
    let points = prometheus.range("phase", start, now, 0.1).unwrap();
    assert!(points.series[0].samples.len() > 1, "{points:?}");

    let error = prometheus.query("sum(", now).unwrap_err();
    assert!(matches!(&error, Error::Query { kind, .. } if kind == "bad_data"), "{error}");
    assert!(error.to_string().contains("parse error") && error.to_string().ends_with("\nsum("), "{error}");
    let infinite = prometheus.query("vector(1/0)", now).unwrap();
    assert_eq!(infinite.series[0].samples[0].value, f64::INFINITY);
    assert!(prometheus.query("\"text\"", now).unwrap_err().to_string().contains("a text"));
    assert!(at(&format!("{}/elsewhere", scraper.url())).is_err());
}

#[test]
fn what_is_no_prometheus_is_said_in_time() {
    let free = TcpListener::bind((LOCAL, 0)).unwrap().local_addr().unwrap().port();
    let error = at(&format!("http://127.0.0.1:{free}")).err().expect("nobody listens");
    assert_eq!(
        error.to_string(),
        format!("cannot reach Prometheus at http://127.0.0.1:{free}/: the connection was refused")
    );
    assert!(error.is_transient());

    let error = at("http://no-such-host.invalid").err().expect("there is no such host");
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");

    // It takes the connection, and never answers.
    let silent = TcpListener::bind((LOCAL, 0)).unwrap();
    let begun = Instant::now();
    let options = Options { deadline: Duration::from_millis(300), ..Options::default() };
    let url = format!("http://{}", silent.local_addr().unwrap());
    let error = with(&url, options).err().expect("it never answers");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));

    let said = |status: &'static str, body: &'static str| {
        let port = serve(LOCAL, move |_| Some(answer(status, "text/html", body)));
        at(&format!("http://127.0.0.1:{port}")).err().expect("it is no Prometheus")
    };
    let error = said("200 OK", "<html><title>Sign in</title></html>");
    assert!(
        error
            .to_string()
            .ends_with("does not answer as Prometheus does: status 200: <html><title>Sign in</title></html>"),
        "{error}"
    );
    assert!(
        matches!(said("302 Found\r\nLocation: https://login", ""), Error::NotPrometheus { reason, .. } if reason == "it redirects to https://login")
    );
    assert!(matches!(said("401 Unauthorized", "who?"), Error::Unauthorized { .. }));
    assert!(matches!(said("403 Forbidden", "no"), Error::Forbidden { by_api_server: false, .. }));
    assert!(matches!(said("503 Service Unavailable", ""), Error::Unreachable { .. }));
    assert!(matches!(said("200 OK", "{}"), Error::NotPrometheus { .. }));
    let partial =
        r#"{"status":"success","warnings":["store x is gone"],"data":{"resultType":"vector","result":[]}}"#;
    let port = serve(LOCAL, move |_| Some(answer("200 OK", "application/json", partial)));
    let thanos = at(&format!("http://127.0.0.1:{port}")).unwrap();
    assert_eq!(thanos.query("up", 0.0).unwrap().warnings, ["store x is gone"]);
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    let huge = format!(r#"{{"status":"success","warnings":["{}"]}}"#, "x".repeat(65 << 20));
    let port = serve(LOCAL, move |_| Some(answer("200 OK", "application/json", &huge)));
    let options = Options { deadline: Duration::from_secs(60), ..Options::default() };
    let error = with(&format!("http://127.0.0.1:{port}"), options).err().expect("it is too much");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn credentials_arrive_and_are_never_shown() {
    let (sender, requests) = mpsc::channel();
    let port = serve(LOCAL, move |request| {
        sender.send(request.to_lowercase()).unwrap();
        Some(answer("401 Unauthorized", "text/plain", "no"))
    });
    let error = at(&format!("http://me:s%40same@127.0.0.1:{port}/mesh")).err().expect("refused");
    let request = requests.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(request.starts_with("post /mesh/api/v1/query http/1.1\r\n"), "{request}");
    // me:s@same
    assert!(request.contains("authorization: basic bwu6c0bzyw1l\r\n"), "{request}");
    assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("same"), "{error:?}");

    let file = std::env::temp_dir().join(format!("kubectl-mesh-token-{}", std::process::id()));
    fs::write(&file, "sesame\n").unwrap();
    let options = Options { token_file: Some(file.clone()), ..Options::default() };
    let error = with(&format!("http://127.0.0.1:{port}"), options.clone()).err().expect("refused");
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert!(
        requests.recv_timeout(Duration::from_secs(20)).unwrap().contains("authorization: bearer sesame\r\n")
    );
    assert!(!format!("{error} {error:?} {options:?}").contains("sesame"));
    fs::remove_file(&file).unwrap();
    let error = with(&format!("http://127.0.0.1:{port}"), options).err().expect("there is no token");
    assert!(matches!(error, Error::TokenFile { .. }), "{error}");
}

#[test]
fn it_is_found_in_the_cluster_and_asked_through_the_api_server() {
    let Some(control_plane) = ControlPlane::shared() else { return };
    let Some(address) = own_address() else { return };
    let target = Target::default();
    target.says(&[(counter("payment", "v1", "200"), "1")]);
    let Some(scraper) = Scraper::start("found", address, &target) else { return };
    let connection = |name: &str, token| {
        let kubeconfig = control_plane.kubeconfig(name, token, "default").unwrap();
        Connection { kubeconfig: Some(kubeconfig), ..Connection::default() }
    };
    let administrator = connection("prometheus-administrator", ADMINISTRATOR);
    let find = |connection: &Connection| Prometheus::find(connection, &Options::default());

    let error = find(&administrator).err().expect("there is none yet");
    assert_eq!(error.to_string(), "found no Prometheus in the cluster");

    let put = |namespace: &str, name: &str, labels: serde_json::Value, port: u16| {
        control_plane
            .create(vec![(
                format!("/api/v1/namespaces/{namespace}/services"),
                json!({"metadata": {"name": name, "labels": labels},
                       "spec": {"ports": [{"name": "grpc", "port": 10901}, {"name": "web", "port": 9090}]}}),
            )])
            .unwrap();
        // The proxy goes to addresses of pods only.
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
        control_plane.create(vec![(pods.clone(), pod)]).unwrap();
        let ip = address.to_string();
        let status = json!({"status": {"podIP": ip, "podIPs": [{"ip": ip}]}});
        control_plane.merge(&format!("{pods}/{name}/status"), &status).unwrap();
        control_plane
            .create(vec![(
                format!("/api/v1/namespaces/{namespace}/endpoints"),
                json!({"metadata": {"name": name}, "subsets": [{
                    "addresses": [{"ip": ip, "targetRef": {"kind": "Pod", "namespace": namespace, "name": name}}],
                    "ports": [{"name": "web", "port": port}]}]}),
            )])
            .unwrap();
    };
    let namespace = |name: &str| ("/api/v1/namespaces".to_owned(), json!({"metadata": {"name": name}}));
    control_plane.create(vec![namespace("monitoring"), namespace("elsewhere")]).unwrap();
    let account = |namespace: &str| {
        let account = json!({"metadata": {"name": "default"}, "automountServiceAccountToken": false});
        (format!("/api/v1/namespaces/{namespace}/serviceaccounts"), account)
    };
    control_plane.create(vec![account("monitoring"), account("elsewhere")]).unwrap();

    // One that does not answer is named with the reason.
    let free = TcpListener::bind((LOCAL, 0)).unwrap().local_addr().unwrap().port();
    put("elsewhere", "down", json!({"app": "prometheus"}), free);
    let error = find(&administrator).err().expect("it does not answer");
    assert!(error.to_string().contains("cannot reach Prometheus at service elsewhere/down:9090"), "{error}");

    put("monitoring", "prometheus-operated", json!({"operated-prometheus": "true"}), scraper.port);
    let mine = at(&scraper.url()).unwrap();
    until(&mine, "istio_requests_total", true);
    let prometheus = find(&administrator).unwrap();
    assert_eq!(prometheus.name(), "service monitoring/prometheus-operated:9090");
    assert!(prometheus.has_istio());
    let now = prometheus.now().unwrap();
    let text = query::requests(&service("payment"), 60.0);
    assert!(!prometheus.query(&text, now).unwrap().series.is_empty());
    let error = prometheus.query("sum(", now).unwrap_err();
    assert!(matches!(&error, Error::Query { kind, .. } if kind == "bad_data"), "{error}");

    // Who may not list Services gets at it by its name, with the one right of docs/rbac/canary-metrics.yaml.
    let limited = connection("prometheus-limited", LIMITED);
    let error = find(&limited).err().expect("nothing is granted");
    let Error::NotFound { tried } = &error else { unreachable!("{error}") };
    assert!(
        tried.iter().all(|error| matches!(error, Error::Forbidden { by_api_server: true, .. })),
        "{error}"
    );
    control_plane
        .create(vec![(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/monitoring/roles".into(),
            json!({"metadata": {"name": "metrics"}, "rules": [{"apiGroups": [""], "resources": ["services/proxy"],
                   "resourceNames": ["prometheus-operated:9090"], "verbs": ["get"]}]}),
        )])
        .unwrap();
    control_plane
        .create(vec![(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/monitoring/rolebindings".into(),
            json!({"metadata": {"name": "metrics"},
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "metrics"},
                   "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited"}]}),
        )])
        .unwrap();
    let begun = Instant::now();
    let prometheus = loop {
        match find(&limited) {
            Ok(prometheus) => break prometheus,
            // The API server takes a moment to see a new role.
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
        }
        thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(prometheus.name(), "service monitoring/prometheus-operated:9090");

    // The stack's own Service beside the operator's is the same Prometheus; one elsewhere is another.
    put("monitoring", "stack", json!({"app": "kube-prometheus-stack-prometheus"}), scraper.port);
    assert_eq!(find(&administrator).unwrap().name(), "service monitoring/stack:9090");
    put("elsewhere", "second", json!({"app.kubernetes.io/name": "prometheus"}), scraper.port);
    let error = find(&administrator).err().expect("there are two");
    assert_eq!(
        error.to_string(),
        "several Prometheus have Istio's metrics: service elsewhere/second:9090, service monitoring/stack:9090"
    );
}
