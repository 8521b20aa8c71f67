//! A small shop to try the rules on: who calls what, under which policies.
//!
//! Namespace `shop` has a workload `server` behind a Service with an HTTP, a TCP and an undeclared
//! port, and a caller `client`. Namespace `other` has a caller `guest`. Namespace `bare` has no
//! sidecars. `visitor` is a pod in it.

use std::net::IpAddr;

use mesh_model::authorization::compile::Protocol;
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::judge::Verdict;
use mesh_model::authorization::request::{Fact, Request, Token};
use mesh_model::object::{Kind, Object, Origin};
use mesh_model::question::can::{Answer, Ask, can};
use mesh_model::question::target::{Caller, Target};
use mesh_model::world::{Snapshot, World};
use serde_json::Value;

/// The HTTP port of `server`.
pub(crate) const HTTP: u16 = 8080;
/// Its TCP port.
pub(crate) const TCP: u16 = 9090;
/// Its port without a declared protocol.
pub(crate) const AUTO: u16 = 7070;

const SHOP: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: other, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: bare}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: shop}
spec:
  selector: {app: server}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: tcp-data, port: 90, targetPort: 9090}
  - {name: main, port: 70, targetPort: 7070}
";

/// Objects, of which a World is made when a question is asked.
pub(crate) struct Mesh {
    documents: String,
    config: String,
    version: Option<String>,
    policies: usize,
}

impl Mesh {
    /// The shop without any policy.
    pub(crate) fn new() -> Self {
        Self { documents: SHOP.to_owned(), config: String::new(), version: None, policies: 0 }
            .deployment("shop", "server", "{app: server}")
            .deployment("shop", "client", "{app: client}")
            .deployment("other", "guest", "{app: guest}")
            .deployment("bare", "visitor", "{app: visitor}")
    }

    /// Adds documents.
    pub(crate) fn with(mut self, documents: &str) -> Self {
        self.documents.push_str("\n---\n");
        self.documents.push_str(documents);
        self
    }

    /// Adds a Deployment that runs as a service account of its own name.
    pub(crate) fn deployment(self, namespace: &str, name: &str, labels: &str) -> Self {
        self.with(&format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, namespace: {namespace}}}, \
             spec: {{template: {{metadata: {{labels: {labels}}}, \
             spec: {{serviceAccountName: {name}, containers: [{{name: main}}]}}}}}}}}"
        ))
    }

    /// Adds an AuthorizationPolicy with this `spec` to a namespace. Policies are called p0, p1, ...
    pub(crate) fn policy_in(mut self, namespace: &str, spec: &str) -> Self {
        let name = format!("p{}", self.policies);
        self.policies += 1;
        self.object("AuthorizationPolicy", namespace, &name, spec)
    }

    /// The same in the server's namespace.
    pub(crate) fn policy(self, spec: &str) -> Self {
        self.policy_in("shop", spec)
    }

    /// A policy of one rule that allows.
    pub(crate) fn allow(self, rule: &str) -> Self {
        self.policy(&format!("{{rules: [{rule}]}}"))
    }

    /// A policy of one rule that denies.
    pub(crate) fn deny(self, rule: &str) -> Self {
        self.policy(&format!("{{action: DENY, rules: [{rule}]}}"))
    }

    /// Adds one of Istio's objects.
    pub(crate) fn object(self, kind: &str, namespace: &str, name: &str, spec: &str) -> Self {
        let group = match kind {
            "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication" => "security",
            _ => "networking",
        };
        self.with(&format!(
            "{{apiVersion: {group}.istio.io/v1, kind: {kind}, \
             metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}"
        ))
    }

    /// Adds a PeerAuthentication for the server's namespace.
    pub(crate) fn mtls(self, mode: &str) -> Self {
        self.object("PeerAuthentication", "shop", "namespace", &format!("{{mtls: {{mode: {mode}}}}}"))
    }

    /// Lets the server take tokens of these issuers.
    pub(crate) fn issuers(self, issuers: &[&str]) -> Self {
        let rules: Vec<String> = issuers.iter().map(|issuer| format!("{{issuer: {issuer}}}")).collect();
        self.object(
            "RequestAuthentication",
            "shop",
            "tokens",
            &format!("{{jwtRules: [{}]}}", rules.join(", ")),
        )
    }

    /// Adds a line to the mesh configuration.
    pub(crate) fn config(mut self, line: &str) -> Self {
        self.config.push_str("    ");
        self.config.push_str(line);
        self.config.push('\n');
        self
    }

    /// With a version of Istio.
    pub(crate) fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
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
        World::new(Snapshot { objects, gaps: Vec::new(), istio_version: self.version.clone() })
    }

    /// The answer to a request from a workload, a principal (`td/ns/NS/sa/SA`) or `anonymous`.
    pub(crate) fn answer<R>(&self, from: &str, port: u16, what: &What, read: impl FnOnce(&Answer) -> R) -> R {
        let world = self.world();
        let target = target(&world, "server");
        let target = Target { service: world.services.iter().find(|s| s.object.name == "server"), ..target };
        let caller = match from {
            "anonymous" => Caller::Anonymous,
            principal if principal.contains('/') => Caller::Principal(principal.to_owned()),
            workload => Caller::Workloads(self::target(&world, workload)),
        };
        let ask = Ask {
            caller,
            target,
            port: Some(port),
            or_service_port: false,
            speaks: Some(what.speaks),
            request: what.request.clone(),
            path: what.path.clone(),
        };
        read(&can(&mut Evaluator::new(&world), &ask))
    }

    /// The verdict on a request.
    pub(crate) fn verdict(&self, from: &str, port: u16, what: &What) -> Verdict {
        self.answer(from, port, what, |answer| answer.verdict)
    }

    /// The verdict on everything that a caller can send over HTTP.
    pub(crate) fn any_http(&self, from: &str) -> Verdict {
        self.verdict(from, HTTP, &anything(Protocol::Http))
    }

    /// The verdict on everything that a caller can send to the TCP port.
    pub(crate) fn any_tcp(&self, from: &str) -> Verdict {
        self.verdict(from, TCP, &anything(Protocol::Tcp))
    }

    /// Whether one request of `client` to the HTTP port is let through.
    pub(crate) fn lets(&self, what: &What) -> bool {
        match self.verdict("client", HTTP, what) {
            Verdict::Allow => true,
            Verdict::Deny => false,
            other => panic!("a whole request is {}", other.name()),
        }
    }

    /// The rule that decides on a request of `client`.
    pub(crate) fn decided_by(&self, what: &What) -> Option<String> {
        self.answer("client", HTTP, what, |answer| answer.rule.clone())
    }
}

fn target<'w>(world: &'w World, name: &str) -> Target<'w> {
    let workloads: Vec<usize> =
        (0..world.workloads.len()).filter(|number| world.workloads[*number].name == name).collect();
    assert!(!workloads.is_empty(), "no workload {name}");
    let namespace = world.workloads[workloads[0]].namespace.clone();
    Target { namespace, name: name.to_owned(), service: None, workloads, note: None }
}

/// What is sent.
#[derive(Clone)]
pub(crate) struct What {
    speaks: Protocol,
    request: Request,
    path: Option<String>,
}

/// All that can be sent.
pub(crate) fn anything(speaks: Protocol) -> What {
    What { speaks, request: Request { other_headers_unknown: true, ..Request::default() }, path: None }
}

/// A whole HTTP request, written `GET /path`, to host `server`, from 10.0.0.1, without headers and token.
pub(crate) fn http(line: &str) -> What {
    let (method, path) = line.split_once(' ').expect("METHOD PATH");
    let ip = Fact::Known("10.0.0.1".parse().expect("an address"));
    let request = Request {
        method: Fact::Known(method.to_owned()),
        host: Fact::Known("server".to_owned()),
        source_ip: ip.clone(),
        remote_ip: ip.clone(),
        destination_ip: ip,
        sni: Fact::Absent,
        token: Fact::Absent,
        ..Request::default()
    };
    What { speaks: Protocol::Http, request, path: Some(path.to_owned()) }
}

/// A TCP connection from 10.0.0.1.
pub(crate) fn tcp() -> What {
    let What { request, .. } = http("GET /");
    What { speaks: Protocol::Tcp, request: request.without_http(), path: None }
}

impl What {
    fn change(mut self, change: impl FnOnce(&mut Request)) -> Self {
        change(&mut self.request);
        self
    }

    /// With a host.
    pub(crate) fn host(self, host: &str) -> Self {
        self.change(|request| request.host = Fact::Known(host.to_owned()))
    }

    /// With a header, perhaps of several lines.
    pub(crate) fn header(self, name: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.change(|request| drop(request.headers.insert(name.to_owned(), values)))
    }

    /// From an address.
    pub(crate) fn ip(self, ip: &str) -> Self {
        let ip: IpAddr = ip.parse().expect("an address");
        self.change(|request| request.source_ip = Fact::Known(ip))
    }

    /// For a client address.
    pub(crate) fn remote(self, ip: &str) -> Self {
        let ip: IpAddr = ip.parse().expect("an address");
        self.change(|request| request.remote_ip = Fact::Known(ip))
    }

    /// With a server name.
    pub(crate) fn sni(self, name: &str) -> Self {
        self.change(|request| request.sni = Fact::Known(name.to_owned()))
    }

    /// With a token of this payload.
    pub(crate) fn token(self, payload: &str) -> Self {
        let mut payload: serde_json::Map<String, Value> = serde_saphyr::from_str(payload).expect("a mapping");
        let mut text = |name: &str| match payload.remove(name) {
            Some(Value::String(text)) => Fact::Known(text),
            _ => Fact::Absent,
        };
        let (issuer, subject, presenter) = (text("iss"), text("sub"), text("azp"));
        let audiences = match payload.remove("aud") {
            Some(Value::String(one)) => Fact::Known(vec![one]),
            Some(Value::Array(all)) => {
                Fact::Known(all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
            }
            _ => Fact::Absent,
        };
        let claims = payload.into_iter().collect();
        let token = Token { issuer, subject, audiences, presenter, claims, others_unknown: false };
        self.change(|request| request.token = Fact::Known(token))
    }
}

/// The objects in some documents.
pub(crate) fn objects(documents: &str) -> Vec<Object> {
    let mut objects = Vec::new();
    for document in documents.split("\n---\n") {
        let value: Value = serde_saphyr::from_str(document).unwrap_or_else(|e| panic!("{e}: {document}"));
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = Kind::from_manifest(text("/apiVersion"), text("/kind")).expect("a known kind");
        let namespace = text("/metadata/namespace").to_owned();
        let name = text("/metadata/name").to_owned();
        objects.push(Object { kind, namespace, name, value, origin: Origin::Cluster });
    }
    objects
}
