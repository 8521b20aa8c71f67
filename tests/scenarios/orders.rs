//! Every claim of examples/orders/README.md is a request that is sent.

use mesh_lab::{Mesh, Request};

use crate::clients::client;

const GATEWAY: &str = "http://istio-ingressgateway.istio-ingress";

/// How often each status came back.
fn count(outcomes: &[String], wanted: &str) -> usize {
    outcomes.iter().filter(|outcome| *outcome == wanted).count()
}

#[test]
fn the_shop_does_what_its_readme_says() {
    let Some(mesh) = Mesh::shared() else { return };
    // The lab's image in the place of the shop's can also call.
    if !mesh.is_ours() {
        return;
    }
    mesh.apply("examples/orders").unwrap();
    client(mesh, "orders-strangers", true).unwrap();
    client(mesh, "orders-plaintext", false).unwrap();
    for namespace in ["orders", "istio-ingress"] {
        mesh.ready(namespace).unwrap();
    }
    mesh.settle().unwrap();

    who_can_call_what(mesh);
    the_way_in(mesh);
    payments_go_to_two_versions(mesh);
    payments_end_within_five_seconds_and_are_not_repeated(mesh);
    reads_are_repeated(mesh);
    a_failing_pod_is_left_out_but_never_all(mesh);
    too_many_requests_get_503_at_once(mesh);
    calls_from_a_debug_container_are_those_of_the_service(mesh);
}

/// "Who can call what", the table.
fn who_can_call_what(mesh: &Mesh) {
    let callers = [
        "orders/order-service",
        "orders/payment-service-v1",
        "orders/payment-service-v2",
        "orders/inventory-service",
        "orders-strangers/client",
        "orders-plaintext/client",
    ];
    let requests = [
        Request::post("http://order-service.orders/api/orders"),
        Request::get("http://order-service.orders/"),
        Request::post("http://payment-service.orders:8080/api/payments"),
        Request::post("http://payment-service.orders:8080/api/payments/7"),
        Request::post("http://payment-service.orders:8080/api/payments-admin"),
        Request::get("http://payment-service.orders:8080/api/payments"),
        Request::get("http://inventory-service.orders/any/path"),
        Request::post("http://inventory-service.orders/any/path"),
    ];
    for caller in callers {
        let expected = match caller {
            "orders/order-service" => ["403", "403", "200", "200", "403", "403", "200", "403"],
            "orders-plaintext/client" => ["reset"; 8],
            _ => ["403"; 8],
        };
        let answers = mesh.call_all(caller, &requests).unwrap();
        let outcomes: Vec<String> = answers.iter().map(mesh_lab::Answer::outcome).collect();
        assert_eq!(outcomes, expected, "{caller}");
    }
}

/// "From outside, the gateway passes on only orders.example.com/api/orders and what is below it".
fn the_way_in(mesh: &Mesh) {
    let cases = [
        ("orders.example.com", "/api/orders", "200"),
        ("orders.example.com", "/api/orders/42", "200"),
        ("orders.example.com", "/api/orders-internal", "404"),
        ("orders.example.com", "/", "404"),
        ("other.example.com", "/api/orders", "404"),
    ];
    for (host, path, expected) in cases {
        let request = Request::post(&format!("{GATEWAY}{path}")).host(host);
        let answer = mesh.call("orders-plaintext/client", &request).unwrap();
        assert_eq!(answer.outcome(), expected, "{host}{path}");
    }
}

/// "payment: one request in ten goes to v2".
fn payments_go_to_two_versions(mesh: &Mesh) {
    let requests = vec![Request::post("http://payment-service:8080/api/payments"); 500];
    let answers = mesh.call_all("orders/order-service", &requests).unwrap();
    let versions: Vec<String> = answers
        .iter()
        .map(|answer| answer.application().unwrap()["version"].as_str().unwrap().to_owned())
        .collect();
    let second = count(&versions, "v2");
    assert_eq!(count(&versions, "v1") + second, 500);
    // Six standard deviations around 50: less often wrong than the machine.
    assert!((10..=90).contains(&second), "{second} of 500 went to v2");
}

/// "An answer or an error within 5 s. Retried only if a request surely did not reach the application".
fn payments_end_within_five_seconds_and_are_not_repeated(mesh: &Mesh) {
    let slow = Request::post("http://payment-service:8080/api/payments?delay=20s");
    let answer = mesh.call("orders/order-service", &slow).unwrap();
    assert_eq!(answer.outcome(), "504");
    assert!((4.9..8.0).contains(&answer.seconds), "{}", answer.seconds);

    for (id, wish, expected) in
        [("paid-once-failed", "status=503", "503"), ("paid-once-closed", "close=1", "503")]
    {
        let url = format!("http://payment-service:8080/api/payments?{wish}");
        let answer =
            mesh.call("orders/order-service", &Request::post(&url).header("x-request-id", id)).unwrap();
        assert_eq!(answer.outcome(), expected, "{wish}");
        let arrived: usize = ["orders/payment-service-v1", "orders/payment-service-v2"]
            .iter()
            .map(|server| mesh.logged(server, id).unwrap().len())
            .sum();
        assert_eq!(arrived, 1, "{wish}");
    }
}

/// "inventory: reads are tried up to three times within 3 s".
fn reads_are_repeated(mesh: &Mesh) {
    let failing =
        Request::get("http://inventory-service/stock?status=503").header("x-request-id", "read-three-times");
    assert_eq!(mesh.call("orders/order-service", &failing).unwrap().outcome(), "503");
    assert_eq!(mesh.logged("orders/inventory-service", "read-three-times").unwrap().len(), 3);

    let slow = Request::get("http://inventory-service/stock?delay=20s");
    let answer = mesh.call("orders/order-service", &slow).unwrap();
    assert_eq!(answer.outcome(), "504");
    assert!((2.6..6.0).contains(&answer.seconds), "{}", answer.seconds);
}

/// "A pod that answers with five errors in a row is left out for 30 s, but never more than half".
fn a_failing_pod_is_left_out_but_never_all(mesh: &Mesh) {
    let failing = vec![Request::get("http://inventory-service/stock?status=503"); 20];
    mesh.call_all("orders/order-service", &failing).unwrap();
    let pod = mesh
        .kubectl(&["get", "pods", "--namespace=orders", "--selector=app=order-service", "--output=name"])
        .unwrap();
    let clusters = mesh.admin("orders", pod.trim(), "clusters").unwrap();
    let left_out = clusters
        .lines()
        .filter(|line| {
            line.starts_with("outbound|80||inventory-service") && line.contains("failed_outlier_check")
        })
        .count();
    assert_eq!(left_out, 1, "{clusters}");
    // The other one still answers.
    let answer = mesh.call("orders/order-service", &Request::get("http://inventory-service/stock")).unwrap();
    assert_eq!(answer.outcome(), "200");
}

/// "When 100 requests wait for a connection, or 200 are under way, further ones get 503 at once".
fn too_many_requests_get_503_at_once(mesh: &Mesh) {
    let requests: Vec<Request> = (0..400)
        .map(|number| {
            Request::get("http://inventory-service/stock?delay=600ms")
                .header("x-request-id", &format!("too-many-{number}"))
        })
        .collect();
    let answers = mesh.call_all("orders/order-service", &requests).unwrap();
    let outcomes: Vec<String> = answers.iter().map(mesh_lab::Answer::outcome).collect();
    let refused = answers.iter().position(|answer| answer.status == Some(503)).unwrap();
    assert!(count(&outcomes, "200") > 0, "{outcomes:?}");
    let line = &mesh.logged("orders/order-service", &format!("too-many-{refused}")).unwrap()[0];
    assert!(line["response_flags"].as_str().unwrap().contains("UO"), "{line}");
}

/// "To call as order-service does, through its sidecar and with its identity".
fn calls_from_a_debug_container_are_those_of_the_service(mesh: &Mesh) {
    let pod = mesh
        .kubectl(&["get", "pods", "--namespace=orders", "--selector=app=order-service", "--output=name"])
        .unwrap();
    let said = mesh
        .kubectl(&[
            "debug",
            "--namespace=orders",
            "--stdin",
            pod.trim(),
            "--image=docker.io/curlimages/curl",
            "--",
            "curl",
            "-i",
            "-X",
            "POST",
            "http://payment-service:8080/api/payments",
        ])
        .unwrap();
    assert!(said.contains("200 OK") && said.contains("sa/order-service"), "{said}");
}
