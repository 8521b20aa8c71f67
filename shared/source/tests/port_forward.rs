//! Reading a proxy through a port-forward.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use mesh_source::cluster::{Connection, Error, Proxies, ProxyDump, ProxyOf};
use serde_json::json;

#[path = "port_forward/api_server.rs"]
mod api_server;

/// Answers with what was asked.
fn admin(_: &str, asked: &str) -> (&'static str, String) {
    match asked.split('?').next() {
        Some("/server_info") => ("200 OK", json!({ "node": { "id": "x" } }).to_string()),
        Some("/config_dump") if asked.ends_with("%5F666") => ("400 Bad Request", "no\n".to_owned()),
        Some("/config_dump") => ("200 OK", json!({ "asked": asked }).to_string()),
        _ => ("404 Not Found", String::new()),
    }
}

fn read(pods: &[&str], ports: &[u16], timeout: Duration) -> Vec<Result<ProxyDump, Error>> {
    let url = api_server::start(&[], Box::new(admin));
    let name = format!("port-forward-{}.kubeconfig", url.rsplit(':').next().unwrap_or_default());
    let kubeconfig = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&kubeconfig, "{apiVersion: v1, kind: Config}").unwrap();
    let proxies = Proxies::connect(&Connection {
        kubeconfig: Some(kubeconfig),
        server: Some(url),
        request_timeout: Some(timeout),
        ..Connection::default()
    });
    let of = |pod: &&str| ProxyOf { namespace: "shop".into(), pod: (*pod).into(), ports: ports.to_vec() };
    proxies.unwrap().read(&pods.iter().map(of).collect::<Vec<_>>())
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn the_admin_interface_is_asked_for_no_more_than_is_needed() {
    let read = read(&["a"], &[8080, 9090], LONG).remove(0).unwrap();
    assert_eq!(read.server["node"]["id"], "x");
    assert_eq!(
        read.listeners["asked"],
        "/config_dump?resource=dynamic_listeners&name_regex=virtualInbound%7C%2E%2A%5F8080%7C%2E%2A%5F9090"
    );
}

#[test]
fn many_pods_are_read_in_their_order() {
    let names: Vec<String> = (0..9).map(|number| format!("pod-{number}")).collect();
    let pods: Vec<&str> = names.iter().map(String::as_str).collect();
    let read = read(&pods, &[], LONG);
    assert_eq!(read.len(), 9);
    assert!(read.iter().all(Result::is_ok), "{read:?}");
}

#[test]
fn one_pod_that_cannot_be_read_does_not_disturb_the_others() {
    let start = Instant::now();
    let pods = ["a", "forbidden", "absent", "pending", "bare", "cut", "b"];
    let read = read(&pods, &[], LONG);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    let said: Vec<String> = read
        .iter()
        .map(|read| read.as_ref().map_or_else(ToString::to_string, |_| "read".to_owned()))
        .collect();
    assert_eq!(said[0], "read");
    assert_eq!(said[1], "Error from server (Forbidden): pods \"forbidden\" is forbidden: no");
    assert!(matches!(read[1], Err(Error::Forbidden { .. })));
    assert_eq!(said[2], "Error from server (NotFound): pods \"absent\" not found");
    assert_eq!(said[3], "Error from server (BadRequest): pod pending is not running");
    assert_eq!(
        said[4],
        "Error from server: failed to connect to localhost:15000 inside namespace: connection refused"
    );
    assert!(said[5].starts_with("cannot understand the answer of the server to /server_info"), "{}", said[5]);
    assert_eq!(said[6], "read");
}

#[test]
fn a_proxy_that_does_not_answer_is_not_waited_for() {
    let start = Instant::now();
    let read = read(&["silent"], &[], Duration::from_millis(300)).remove(0);
    assert!(matches!(read, Err(Error::Timeout { .. })), "{read:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_envoy_refuses_is_said() {
    let error = read(&["a"], &[666], LONG).remove(0).unwrap_err();
    assert!(error.to_string().ends_with("400 Bad Request: no"), "{error}");
}
