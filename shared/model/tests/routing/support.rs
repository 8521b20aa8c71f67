//! A small shop to try the rules on.
//!
//! Namespace `shop` has the Service `server` with an HTTP port (80), a TCP port (90), an undeclared one
//! (70) and one with TLS (443); its pods are `v1` and `v2`. `client` in `shop` and `guest` in `other` call.

use mesh_model::object::{Kind, Object, Origin};
use mesh_model::routing::Routing;
use mesh_model::routing::request::{Protocol, Request};
use mesh_model::routing::resolve::Resolution;
use mesh_model::world::{Snapshot, World};
use serde_json::Value;

/// The full name of the server.
pub(crate) const SERVER: &str = "server.shop.svc.cluster.local";

/// A route to all of the server, and one to each of its subsets.
pub(crate) const TO_ALL: &str = "{destination: {host: server.shop.svc.cluster.local}}";
pub(crate) const TO_V1: &str = "{destination: {host: server.shop.svc.cluster.local, subset: v1}}";
pub(crate) const TO_V2: &str = "{destination: {host: server.shop.svc.cluster.local, subset: v2}}";

const SHOP: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: other, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
";

/// Objects, of which a World is made when a question is asked.
#[derive(Clone)]
pub(crate) struct Mesh {
    documents: String,
    config: String,
}

impl Mesh {
    /// The shop without any rule.
    pub(crate) fn new() -> Self {
        Self { documents: SHOP.to_owned(), config: String::new() }
            .service("shop", "server", "10.0.0.1", "{name: http, port: 80}, {name: tcp-data, port: 90}, {name: main, port: 70}, {name: tls, port: 443}")
            .pod("shop", "v1", "{app: server, version: v1}")
            .pod("shop", "v2", "{app: server, version: v2}")
            .pod("shop", "client", "{app: client}")
            .pod("other", "guest", "{app: guest}")
    }

    /// Adds documents.
    pub(crate) fn with(mut self, documents: &str) -> Self {
        self.documents.push_str("\n---\n");
        self.documents.push_str(documents);
        self
    }

    /// Adds a Service for the pods with its name as `app`.
    pub(crate) fn service(self, namespace: &str, name: &str, address: &str, ports: &str) -> Self {
        self.with(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {namespace}}}, \
             spec: {{selector: {{app: {name}}}, clusterIP: {address}, ports: [{ports}]}}}}"
        ))
    }

    /// Adds a ready pod with a sidecar.
    pub(crate) fn pod(self, namespace: &str, name: &str, labels: &str) -> Self {
        self.with(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}, \
             spec: {{containers: [{{name: main}}, {{name: istio-proxy}}]}}, \
             status: {{phase: Running, conditions: [{{type: Ready, status: 'True'}}]}}}}"
        ))
    }

    /// Adds one of Istio's objects of an age: the lower, the older.
    pub(crate) fn aged(self, kind: &str, key: &str, age: u32, spec: &str) -> Self {
        let (namespace, name) = key.split_once('/').expect("NAMESPACE/NAME");
        self.with(&format!(
            "{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: {name}, namespace: {namespace}, \
             creationTimestamp: '2026-01-01T00:00:{age:02}Z'}}, spec: {spec}}}"
        ))
    }

    /// The same where its age does not matter.
    pub(crate) fn object(self, kind: &str, key: &str, spec: &str) -> Self {
        self.aged(kind, key, 0, spec)
    }

    /// Adds a VirtualService for the server with one route.
    pub(crate) fn virtual_service(self, key: &str, route: &str) -> Self {
        self.object("VirtualService", key, &format!("{{hosts: [{SERVER}], http: [{route}]}}"))
    }

    /// Adds a DestinationRule for the server with subsets of these names, by version.
    pub(crate) fn subsets(self, key: &str, age: u32, names: &[&str], more: &str) -> Self {
        let subsets: Vec<String> =
            names.iter().map(|name| format!("{{name: {name}, labels: {{version: {name}}}}}")).collect();
        let spec = format!("{{host: {SERVER}, subsets: [{}]{more}}}", subsets.join(", "));
        self.aged("DestinationRule", key, age, &spec)
    }

    /// Adds a line to the mesh configuration.
    pub(crate) fn config(mut self, line: &str) -> Self {
        self.config.push_str(&format!("    {line}\n"));
        self
    }

    /// The World.
    pub(crate) fn world(&self) -> World {
        let mut objects = objects(&self.documents);
        let map = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\n\
             data:\n  mesh: |\n    enableTracing: false\n{}",
            self.config
        );
        objects.extend(self::objects(&map));
        World::new(Snapshot { objects, gaps: Vec::new(), istio_version: None })
    }

    /// What becomes of a request of a workload.
    pub(crate) fn ask<R>(&self, from: &str, request: &Request, read: impl FnOnce(&Resolution<'_>) -> R) -> R {
        ask(&self.world(), from, request, read)
    }

    /// The same in short, for a request as [`request`] reads it.
    pub(crate) fn way(&self, from: &str, text: &str) -> String {
        self.ask(from, &request(text), way)
    }

    /// The VirtualServices that the caller does not go by, with the reasons.
    pub(crate) fn shadowed(&self, from: &str, text: &str) -> Vec<String> {
        self.ask(from, &request(text), |answer| {
            let of = |one: &mesh_model::routing::resolve::Shadowed<'_>| {
                format!("{} {:?}", one.virtual_service.object.key(), one.why)
            };
            answer.shadowed.iter().map(of).collect()
        })
    }
}

/// What becomes of a request of a workload.
pub(crate) fn ask<R>(
    world: &World,
    from: &str,
    request: &Request,
    read: impl FnOnce(&Resolution<'_>) -> R,
) -> R {
    let routing = Routing::new(world);
    let workload = world.workloads.iter().find(|workload| workload.name == from);
    let Some(workload) = workload else { panic!("no workload {from}") };
    read(&routing.proxy(workload).resolve(request))
}

/// An answer in short: the outcome, the VirtualService (`-` for none), and each destination as
/// `HOST:PORT/SUBSET=WEIGHT`, with `!` before it where the proxy does not have it.
pub(crate) fn way(answer: &Resolution<'_>) -> String {
    let mut words = vec![format!("{:?}", answer.outcome)];
    words.push(answer.virtual_service.map_or("-".to_owned(), |one| one.object.key()));
    for (one, landing) in &answer.destinations {
        let absent = if landing.exists { "" } else { "!" };
        let cluster = &one.cluster;
        let host = cluster.host.trim_end_matches(".svc.cluster.local");
        words.push(format!("{absent}{host}:{}/{}={}", cluster.port, cluster.subset, one.weight));
    }
    words.join(" ")
}

/// A request, written `[METHOD ][http|tls|tcp://]HOST[:PORT][/PATH]`.
pub(crate) fn request(text: &str) -> Request {
    let (method, url) = text.split_once(' ').unwrap_or(("GET", text));
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    Request {
        speaks: match scheme {
            "http" => Protocol::Http,
            "tls" => Protocol::Tls,
            "tcp" => Protocol::Tcp,
            other => panic!("{other}"),
        },
        host: host.to_owned(),
        port: port.parse().expect("a port"),
        method: method.to_owned(),
        path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        ..Request::default()
    }
}

/// A request with a header.
pub(crate) fn with_header(text: &str, name: &str, value: &str) -> Request {
    Request { headers: vec![(name.to_owned(), value.to_owned())], ..request(text) }
}

/// The objects of some documents.
pub(crate) fn objects(documents: &str) -> Vec<Object> {
    documents.split("\n---\n").map(|document| object(document.trim())).collect()
}

/// The object of a document.
pub(crate) fn object(document: &str) -> Object {
    let value: Value = serde_saphyr::from_str(document).expect(document);
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = Kind::from_manifest(&text("/apiVersion"), &text("/kind")).expect(document);
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    Object { kind, namespace, name, value, origin: Origin::Cluster }
}
