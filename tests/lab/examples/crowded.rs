//! A control plane with as many services and pods as asked for, to measure against:
//! `cargo run --example crowded -- SERVICES PODS`. It prints its kubeconfig, and ends with its
//! standard input.

#![expect(clippy::print_stdout, reason = "an example has no other way to speak")]

use std::io;

use mesh_lab::ControlPlane;
use mesh_lab::control_plane::{ADMINISTRATOR, Error};
use serde_json::{Value, json};

fn main() -> Result<(), Error> {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let services = numbers.next().unwrap_or(2_000);
    let pods = numbers.next().unwrap_or(10_000);
    let control_plane = ControlPlane::start()?;
    control_plane.install_istio()?;
    control_plane.create(vec![("/api/v1/namespaces".into(), json!({"metadata": {"name": "crowd"}}))])?;
    let collection = |plural: &str| format!("/api/v1/namespaces/crowd/{plural}");
    let account = json!({"metadata": {"name": "account"}});
    control_plane.create(vec![(collection("serviceaccounts"), account)])?;
    control_plane.create((0..services).map(|i| (collection("services"), service(i))).collect())?;
    control_plane.create((0..pods).map(|i| (collection("pods"), pod(i, i % services))).collect())?;
    println!("{}", control_plane.kubeconfig("crowded.kubeconfig", ADMINISTRATOR, "crowd")?.display());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn service(number: usize) -> Value {
    json!({
        "metadata": {"name": format!("service-{number}"), "labels": {"app": format!("app-{number}")}},
        "spec": {
            // Addresses are scarce, and the API server hands them out one by one.
            "clusterIP": "None",
            "selector": {"app": format!("app-{number}")},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "grpc", "port": 9000}],
        },
    })
}

/// A pod of the size that Istio's injection makes of a usual one.
fn pod(number: usize, service: usize) -> Value {
    let variables = |prefix: &str, count: usize| -> Vec<Value> {
        (0..count).map(|i| json!({"name": format!("{prefix}_{i}"), "value": format!("value number {i} of {prefix}")})).collect()
    };
    let mounts = json!([
        {"name": "istio-envoy", "mountPath": "/etc/istio/proxy"},
        {"name": "istio-data", "mountPath": "/var/lib/istio/data"},
        {"name": "workload-socket", "mountPath": "/var/run/secrets/workload-spiffe-uds"},
    ]);
    let probe = json!({"httpGet": {"path": "/healthz/ready", "port": 15021}, "periodSeconds": 15});
    json!({
        "metadata": {
            "name": format!("app-{service}-6d5f8c7b9-{number}"),
            "labels": {
                "app": format!("app-{service}"), "version": "v1", "pod-template-hash": "6d5f8c7b9",
                "security.istio.io/tlsMode": "istio", "service.istio.io/canonical-name": format!("app-{service}"),
            },
            "annotations": {
                "sidecar.istio.io/status": json!({"initContainers": ["istio-init"], "containers": ["istio-proxy"],
                    "volumes": ["workload-socket", "istio-envoy", "istio-data", "istio-podinfo", "istio-token"]}).to_string(),
                "prometheus.io/path": "/stats/prometheus", "prometheus.io/port": "15020",
            },
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("app-{service}-6d5f8c7b9"),
                "uid": "11111111-2222-3333-4444-555555555555", "controller": true}],
        },
        "spec": {
            "serviceAccountName": "account",
            "automountServiceAccountToken": false,
            "nodeName": "node-1",
            "initContainers": [{
                "name": "istio-init", "image": "docker.io/istio/proxyv2:1.27.0",
                "args": ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*"],
            }],
            "containers": [
                {
                    "name": "app", "image": format!("registry.example.com/team/app-{service}:1.2.3"),
                    "env": variables("APP", 20),
                    "ports": [{"name": "http", "containerPort": 8080}, {"name": "grpc", "containerPort": 9000}],
                    "readinessProbe": probe,
                },
                {
                    "name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.27.0",
                    "args": ["proxy", "sidecar", "--domain", "crowd.svc.cluster.local"],
                    "env": variables("ISTIO_META", 25),
                    "ports": [{"name": "http-envoy-prom", "containerPort": 15090}],
                    "readinessProbe": probe,
                    "volumeMounts": mounts,
                },
            ],
            "volumes": [
                {"name": "workload-socket", "emptyDir": {}}, {"name": "istio-data", "emptyDir": {}},
                {"name": "istio-envoy", "emptyDir": {"medium": "Memory"}},
            ],
        },
    })
}
