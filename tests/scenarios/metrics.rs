//! Prometheus in the lab: it counts the requests that were really sent.

use std::thread;
use std::time::{Duration, Instant};

use mesh_lab::{Mesh, Request};

use crate::clients::{client, workload};

#[test]
fn prometheus_counts_the_requests_that_were_sent() {
    let Some(mesh) = Mesh::shared() else { return };
    if !mesh.is_ours() || mesh.lacks("prometheus") {
        return;
    }
    client(mesh, "counted", true).unwrap();
    mesh.apply(&workload("counted", "server")).unwrap();
    mesh.apply("tests/lab/prometheus.yaml").unwrap();
    mesh.ready("counted").unwrap();
    mesh.ready("istio-system").unwrap();

    let mut requests = vec![Request::get("http://server:8080/a"); 7];
    requests.extend(vec![Request::get("http://server:8080/a?status=500"); 3]);
    mesh.call_all("counted/client", &requests).unwrap();

    let count = |status: &str| {
        let caller = "spiffe://cluster.local/ns/counted/sa/client";
        let of = format!("response_code=\"{status}\",source_principal=\"{caller}\"");
        let query = format!("sum(istio_requests_total{{namespace=\"counted\",{of}}})");
        mesh.metric(&query).unwrap()
    };
    let until = Instant::now() + Duration::from_secs(60);
    while (count("200"), count("500")) != (Some(7.0), Some(3.0)) {
        assert!(Instant::now() < until, "{:?} {:?}", count("200"), count("500"));
        thread::sleep(Duration::from_millis(500));
    }
    let slow = "histogram_quantile(0.5, sum by (le) (istio_request_duration_milliseconds_bucket{namespace=\"counted\"}))";
    assert!(mesh.metric(slow).unwrap().is_some_and(|median| median < 1000.0));
}
