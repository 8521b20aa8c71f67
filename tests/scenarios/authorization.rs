//! What `mesh-authz` says of random policies is what the whole mesh does with requests that are sent.
//!
//! The seed is printed; `MESH_SEED=SEED` takes it again.

use std::collections::BTreeMap;
use std::fs;

use mesh_lab::{Answer, Mesh, Request};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::clients::{client, workload};
use crate::token::Issuer;

/// How many guarded workloads there are, each with policies of its own.
const TARGETS: usize = 14;

/// How many requests each caller sends to each of them.
const REQUESTS: usize = 12;

/// Callers: two with a sidecar, one without.
const CALLERS: [&str; 3] = ["who-a", "who-b", "who-plain"];

const ISSUER: &str = "https://issuer.lab";

/// A request that a random caller sends, and what describes it in a test case.
#[derive(Debug)]
struct Case {
    request: Request,
    described: Value,
}

#[test]
fn the_mesh_does_what_mesh_authz_says() {
    let Some(mesh) = Mesh::shared() else { return };
    let seed = std::env::var("MESH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(random_seed);
    println!("MESH_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let issuer = Issuer::new(ISSUER, &bytes);

    for caller in CALLERS {
        client(mesh, caller, caller != "who-plain").unwrap();
    }
    let mut manifests = Vec::new();
    for number in 0..TARGETS {
        manifests.push(target(&format!("what-{number}")));
        let objects =
            policies(&format!("what-{number}"), issuer.keys()).new_tree(&mut runner).unwrap().current();
        manifests.extend(objects.iter().map(Value::to_string));
    }
    match mesh.apply(&manifests.join("\n---\n")) {
        // What Istio's webhook refuses is there for neither side; all else was applied.
        Err(error) if error.to_string().contains("denied the request") => println!("{error}"),
        applied => applied.unwrap(),
    }
    for number in 0..TARGETS {
        mesh.ready(&format!("what-{number}")).unwrap();
    }
    mesh.settle().unwrap();

    let mut cases = Vec::new();
    for caller in CALLERS {
        let mut sent = Vec::new();
        for number in 0..TARGETS {
            for _ in 0..REQUESTS {
                sent.push(
                    case(caller, &format!("what-{number}"), &issuer).new_tree(&mut runner).unwrap().current(),
                );
            }
        }
        let requests: Vec<Request> = sent.iter().map(|case| case.request.clone()).collect();
        let answers = mesh.call_all(&format!("{caller}/client"), &requests).unwrap();
        for (case, answer) in sent.into_iter().zip(answers) {
            let mut described = case.described;
            described["name"] = format!("{} {}", cases.len(), answer.outcome()).into();
            described["expect"] = verdict(&answer, &described).into();
            cases.push(described);
        }
    }

    let file = mesh.directory().join("authorization-cases.yaml");
    fs::write(&file, json!({"cases": cases}).to_string()).unwrap();
    let output = mesh.plugin("authz", mesh.kubeconfig(), &["test", &file.to_string_lossy()]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let policies =
        || mesh.kubectl(&["get", "authorizationpolicies,peerauthentications", "-A", "-o", "yaml"]).unwrap();
    assert!(output.status.success(), "MESH_SEED={seed}\n{said}\n{}", policies());
    let count: BTreeMap<&str, usize> = cases.iter().fold(BTreeMap::new(), |mut count, case| {
        *count.entry(case["expect"].as_str().unwrap()).or_default() += 1;
        count
    });
    println!("{} requests: {count:?}", cases.len());
    // Otherwise nothing was tested.
    assert!(count.values().all(|&count| count > cases.len() / 20) && count.len() == 2, "{count:?}");
}

fn random_seed() -> u64 {
    let mut random = TestRunner::default();
    any::<u64>().new_tree(&mut random).unwrap().current()
}

/// What the mesh did, as a verdict. A connection that the server's sidecar resets, because it is plaintext
/// where only mutual TLS is taken, is a 503 of the caller's own sidecar to an HTTP client (seed
/// 17693715666796658089: a namespace that is DISABLE, and one port of a workload STRICT).
fn verdict(answer: &Answer, case: &Value) -> &'static str {
    match answer.outcome().as_str() {
        "200" | "open" => "allow",
        "403" | "reset" | "closed" => "deny",
        "503" if answer.body.ends_with("reset reason: connection termination") => "deny",
        other => panic!("{other} is no answer to {case}: {}", answer.body),
    }
}

/// A guarded workload: HTTP on 8080, TCP on 9000, and the same on 7000 and 7001, whose protocols nobody
/// declared.
fn target(namespace: &str) -> String {
    let server = workload(namespace, "server").replace(
        "- { name: TCP_PORTS, value: \"9000\" }",
        "- { name: TCP_PORTS, value: \"9000,7001\" }\n            - { name: HTTP_PORTS, value: \"8080,7000\" }",
    );
    let service = "    - { name: any, port: 7000 }\n    - { name: other, port: 7001 }\n";
    format!(
        "\
apiVersion: v1
kind: Namespace
metadata: {{ name: {namespace}, labels: {{ istio-injection: enabled }} }}
---
{server}{service}"
    )
}

/// Policies of one namespace.
fn policies(namespace: &str, keys: String) -> impl Strategy<Value = Vec<Value>> + use<> {
    let namespace = namespace.to_owned();
    let of = {
        let namespace = namespace.clone();
        move |group: &str, kind: &str, name: &str, spec: Value| {
            json!({
                "apiVersion": format!("{group}.istio.io/v1"), "kind": kind,
                "metadata": {"name": name, "namespace": namespace}, "spec": spec,
            })
        }
    };
    let modes = || select(vec!["STRICT", "PERMISSIVE", "DISABLE"]);
    let authorization =
        prop::collection::vec((select(vec!["ALLOW", "ALLOW", "DENY"]), rules(&namespace)), 0..3);
    (
        authorization,
        prop::option::of(modes()),
        prop::option::of((modes(), select(vec![8080, 9000, 7000, 7001]))),
        any::<bool>(),
    )
        .prop_map(move |(authorization, mode, port_mode, tokens)| {
            let mut objects = Vec::new();
            for (number, (action, rules)) in authorization.into_iter().enumerate() {
                // Istio's webhook refuses a DENY policy without rules.
                let action = if rules.is_empty() { "ALLOW" } else { action };
                let spec = json!({"action": action, "rules": rules});
                objects.push(of("security", "AuthorizationPolicy", &format!("policy-{number}"), spec));
            }
            if let Some(mode) = mode {
                let spec = json!({"mtls": {"mode": mode}});
                objects.push(of("security", "PeerAuthentication", "default", spec));
            }
            if let Some((mode, port)) = port_mode {
                let spec = json!({
                    "selector": {"matchLabels": {"app": "server"}},
                    "portLevelMtls": {port.to_string(): {"mode": mode}},
                });
                objects.push(of("security", "PeerAuthentication", "server", spec));
            }
            if tokens {
                let spec = json!({"jwtRules": [{"issuer": ISSUER, "jwks": keys}]});
                objects.push(of("security", "RequestAuthentication", "tokens", spec));
            }
            objects
        })
}

fn rules(namespace: &str) -> impl Strategy<Value = Vec<Value>> + use<> {
    let source = prop_oneof![
        values(
            "principals",
            &["cluster.local/ns/who-a/sa/client", "cluster.local/ns/who-b/*", "*/sa/client", "*"]
        ),
        values("namespaces", &["who-a", "who-b", "who-*", "nowhere"]),
        values("notNamespaces", &["who-a", "nowhere"]),
        values("requestPrincipals", &["https://issuer.lab/anna", "https://issuer.lab/*", "*"]),
        values("notRequestPrincipals", &["https://issuer.lab/anna"]),
    ];
    let host = format!("server.{namespace}:8080");
    let operation = prop_oneof![
        values("ports", &["8080", "9000", "7000", "7001"]),
        values("notPorts", &["8080", "9000"]),
        values("methods", &["GET", "POST", "P*"]),
        values("notMethods", &["GET"]),
        values("paths", &["/a", "/a/*", "*/z", "/{*}/z", "/a/{**}"]),
        values("notPaths", &["/a", "/b*"]),
        values("hosts", &[&host, "server.*", "other"]),
    ];
    let when = prop_oneof![
        values("request.headers[x-team]", &["red", "re*", "blue"]),
        values("request.auth.claims[role]", &["admin", "guest"]),
        values("destination.port", &["8080", "7001"]),
        values("source.namespace", &["who-a", "who-b"]),
    ]
    .prop_map(|(key, values)| json!({"key": key, "values": values}));
    let object = |fields: BTreeMap<String, Vec<String>>| json!(fields);
    let from =
        prop::collection::vec(fields(source.boxed()).prop_map(move |it| json!({"source": object(it)})), 0..3);
    let to = prop::collection::vec(
        fields(operation.boxed()).prop_map(move |it| json!({"operation": object(it)})),
        0..3,
    );
    let rule = (from, to, prop::collection::vec(when, 0..2)).prop_map(|(from, to, when)| {
        let mut rule = serde_json::Map::new();
        for (name, part) in [("from", from), ("to", to), ("when", when)] {
            if !part.is_empty() {
                rule.insert(name.to_owned(), part.into());
            }
        }
        Value::Object(rule)
    });
    prop::collection::vec(rule, 0..3)
}

/// One or two fields with some of their values.
fn fields(
    field: BoxedStrategy<(String, Vec<String>)>,
) -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    prop::collection::vec(field, 1..3).prop_map(|fields| fields.into_iter().collect())
}

/// A field with one or two of its values.
fn values(name: &str, of: &[&str]) -> impl Strategy<Value = (String, Vec<String>)> + use<> {
    let name = name.to_owned();
    let of: Vec<String> = of.iter().map(|&value| value.to_owned()).collect();
    let most = of.len().min(2);
    subsequence(of, 1..=most).prop_map(move |values| (name.clone(), values))
}

/// A request of a caller to a target.
fn case(caller: &str, target: &str, issuer: &Issuer) -> impl Strategy<Value = Case> + use<> {
    let (from, to) = (format!("client.{caller}"), format!("server.{target}"));
    let tokens: Vec<Option<(Value, String)>> = [("anna", "admin"), ("bert", "guest")]
        .iter()
        .map(|(subject, role)| {
            let claims = json!({"iss": ISSUER, "sub": subject, "claims": {"role": role}});
            Some((claims, issuer.token(subject, &json!({"role": role}))))
        })
        .chain([None])
        .collect();
    // Of a request that comes over mTLS to a port without a protocol, Istio's proxies say by ALPN that
    // it is HTTP, with a filter of their own build (`istio.alpn`), which a stock Envoy does not have.
    let http_ports = if caller == "who-plain" { vec![8080, 8080, 7000] } else { vec![8080] };
    let http = (
        select(http_ports),
        select(vec!["GET", "POST", "PUT"]),
        select(vec!["/a", "/a/b", "/b/z", "/a/x/z", "/"]),
        prop::option::of(select(vec!["red", "blue", "read"])),
        select(tokens),
    );
    let address = to.clone();
    let described = json!({"from": from, "to": to});
    let tcp_described = described.clone();
    let http = http.prop_map(move |(port, method, path, team, token)| {
        let host = format!("{to}:{port}");
        let mut request = Request::new(method, &format!("http://{host}{path}"));
        let mut asked = json!({"method": method, "path": path, "host": host});
        if let Some(team) = team {
            request = request.header("x-team", team);
            asked["headers"] = json!({"x-team": team});
        }
        if let Some((claims, token)) = token {
            request = request.header("authorization", &format!("Bearer {token}"));
            asked["jwt"] = claims;
        }
        let mut described = described.clone();
        described["port"] = port.into();
        described["protocol"] = "http".into();
        described["request"] = asked;
        Case { request, described }
    });
    let tcp = select(vec![9000, 7001]).prop_map(move |port| {
        let mut described = tcp_described.clone();
        described["port"] = port.into();
        described["protocol"] = "tcp".into();
        Case { request: Request::tcp(&format!("{address}:{port}")), described }
    });
    prop_oneof![4 => http, 1 => tcp]
}
