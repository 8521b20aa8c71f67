//! What an applied manifest does not say and the API server keeps.

use crate::support::{Mesh, SERVER, TO_ALL, ask, objects, request, way};

fn manifest(name: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}, namespace: shop}}, \
         spec: {{hosts: [{SERVER}], http: [{{route: [{TO_ALL}]}}]}}}}"
    )
}

fn mesh() -> Mesh {
    let spec = format!("{{hosts: [{SERVER}], http: [{{route: [{TO_ALL}]}}]}}");
    Mesh::new().aged("VirtualService", "shop/b", 1, &spec).aged("VirtualService", "shop/c", 2, &spec)
}

#[test]
fn a_new_object_is_the_youngest() {
    let world = mesh().world().with(objects(&manifest("a")));
    assert_eq!(ask(&world, "client", &request("server"), way), "Routed shop/b server.shop:80/=1");
}

#[test]
fn a_changed_object_keeps_its_age() {
    let world = mesh().world().with(objects(&manifest("c")));
    assert_eq!(ask(&world, "client", &request("server"), way), "Routed shop/b server.shop:80/=1");
}

#[test]
fn a_changed_service_keeps_its_address() {
    let service = "{apiVersion: v1, kind: Service, metadata: {name: server, namespace: shop}, \
        spec: {selector: {app: server}, ports: [{name: tcp-data, port: 90}]}}";
    let world = mesh().world().with(objects(service));
    let server = world.services.iter().find(|service| service.object.name == "server").expect("the server");
    assert_eq!(server.object.get("/spec/clusterIP").and_then(serde_json::Value::as_str), Some("10.0.0.1"));
}
