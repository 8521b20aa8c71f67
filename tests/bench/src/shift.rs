//! What a shift of traffic looks at, in a mesh with a VirtualService for every service.

use std::time::{Duration, Instant};

use mesh_model::canary::carrier::{Carrier, carriers};
use mesh_model::canary::preflight::problems;
use mesh_model::canary::version::versions;
use mesh_model::object::{Kind, Object, Origin};
use mesh_model::routing::Routing;
use mesh_model::world::{Snapshot, World};
use serde_json::{Value, json};

/// Namespaces, over which the services are spread.
const NAMESPACES: usize = 50;

/// How long each part takes.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Indexing the routing.
    pub routing: Duration,
    /// Putting callers together whom no rule tells apart.
    pub callers: Duration,
    /// Finding the routes that carry the service, and for whom each is in force.
    pub carriers: Duration,
    /// Finding its versions.
    pub versions: Duration,
    /// Looking at what the canary's share would meet.
    pub preflight: Duration,
    /// How many groups of callers there were.
    pub groups: usize,
}

impl Parts {
    /// All parts together.
    #[must_use]
    pub fn whole(&self) -> Duration {
        self.routing + self.callers + self.carriers + self.versions + self.preflight
    }
}

/// A World of services, each with three workloads, a VirtualService that splits, and a DestinationRule. One service
/// in ten has a second VirtualService, of a client's namespace for that alone; one in twenty asks for labels of the
/// caller.
#[must_use]
pub fn world(services: usize) -> World {
    let mut objects = Vec::new();
    let mut add = |kind: Kind,
                   api_version: &str,
                   namespace: &str,
                   name: &str,
                   labels: Value,
                   mut rest: Value| {
        let mut value = json!({
            "apiVersion": api_version, "kind": kind.name(),
            "metadata": { "name": name, "namespace": namespace, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z" },
        });
        if let (Some(value), Some(rest)) = (value.as_object_mut(), rest.as_object_mut()) {
            value.append(rest);
        }
        let namespace = if kind == Kind::Namespace { "" } else { namespace };
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        objects.push(Object { kind, namespace, name, value, origin: Origin::Cluster });
    };
    let istio = "networking.istio.io/v1";
    for number in 0..NAMESPACES {
        let name = format!("team-{number}");
        add(Kind::Namespace, "v1", "", &name, json!({ "istio-injection": "enabled" }), json!({}));
    }
    for number in 0..services {
        let (name, namespace) = (format!("service-{number}"), format!("team-{}", number % NAMESPACES));
        let host = format!("{name}.{namespace}.svc.cluster.local");
        let ports = json!([{ "name": "http", "port": 8080 }, { "name": "tcp-data", "port": 9090 }]);
        let address = format!("10.{}.{}.{}", 96 + number / 65_536, number / 256 % 256, number % 256);
        let spec = json!({ "selector": { "app": name }, "clusterIP": address, "ports": ports });
        add(Kind::Service, "v1", &namespace, &name, json!({}), json!({ "spec": spec }));
        for version in ["v1", "v2", "v3"] {
            let labels = json!({ "app": name, "version": version });
            let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
            let spec = json!({ "containers": [{ "name": "main" }, { "name": "istio-proxy" }] });
            let pod = json!({ "spec": spec, "status": status });
            add(Kind::Pod, "v1", &namespace, &format!("{name}-{version}"), labels, pod);
        }
        let to = |subset: &str, weight: u32| json!({ "destination": { "host": host, "subset": subset }, "weight": weight });
        let split = json!([to("v1", 90), to("v2", 10)]);
        let mut routes = vec![
            json!({ "match": [{ "uri": { "prefix": "/api" } }], "route": split }),
            json!({ "route": split }),
        ];
        if number % 20 == 0 {
            routes.insert(
                0,
                json!({ "match": [{ "sourceLabels": { "version": "v2" } }], "route": [to("v2", 0)] }),
            );
        }
        let spec = json!({ "hosts": [host], "http": routes });
        add(Kind::VirtualService, istio, &namespace, &name, json!({}), json!({ "spec": spec }));
        if number % 10 == 0 {
            let client = format!("team-{}", (number + 1) % NAMESPACES);
            let spec = json!({ "hosts": [host], "exportTo": ["."], "http": [{ "route": split }] });
            add(
                Kind::VirtualService,
                istio,
                &client,
                &format!("{name}-own"),
                json!({}),
                json!({ "spec": spec }),
            );
        }
        let subsets: Vec<Value> = ["v1", "v2", "v3"]
            .iter()
            .map(|name| json!({ "name": name, "labels": { "version": name } }))
            .collect();
        let spec = json!({ "host": host, "subsets": subsets });
        add(Kind::DestinationRule, istio, &namespace, &name, json!({}), json!({ "spec": spec }));
    }
    World::new(Snapshot { objects, ..Snapshot::default() })
}

/// Looks at a shift of one service in a World; `None` if it is not there as it should be.
#[must_use]
pub fn parts(world: &World) -> Option<Parts> {
    let mut started = Instant::now();
    let mut lap = || std::mem::replace(&mut started, Instant::now()).elapsed();
    let routing = Routing::new(world);
    let time_of_routing = lap();
    let callers = routing.callers();
    let time_of_callers = lap();
    let host = routing.registry.named("service-7.team-7.svc.cluster.local").next()?;
    let carriers = carriers(&routing, host, &callers);
    let time_of_carriers = lap();
    let versions = versions(&routing, host, &carriers);
    let canary = versions.iter().find(|version| version.name == "v2")?;
    let time_of_versions = lap();
    let all: Vec<&Carrier<'_>> = carriers.iter().collect();
    let found = problems(&routing, host, canary, &all, &callers);
    let preflight = lap();
    let is_right = carriers.len() == 2 && found.is_empty() && canary.ready() == 1;
    is_right.then_some(Parts {
        routing: time_of_routing,
        callers: time_of_callers,
        carriers: time_of_carriers,
        versions: time_of_versions,
        preflight,
        groups: callers.len(),
    })
}
