//! What could change an answer about routes and cannot be known from what was read.
//!
//! Each has a stable code, which `docs/doctor.md` explains.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::envoy_filter::changes_outbound;
use crate::object::Kind;
use crate::routing::registry::Host;
use crate::routing::{Callers, Proxy, Routing};
use crate::version::Version;

/// Something that is assumed of routes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assumed {
    /// Stable, kebab-case.
    pub code: &'static str,
    /// What is assumed and about what, as a sentence.
    pub text: String,
    /// Whether the way of a request could be another one if it does not hold; else only what is told beside it.
    pub decisive: bool,
}

/// The kinds on which routes rest.
const KINDS: [Kind; 7] = [
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::Sidecar,
    Kind::Service,
    Kind::ServiceEntry,
    Kind::Gateway,
    Kind::EnvoyFilter,
];

/// The label by which a namespace or a pod is part of an ambient mesh.
const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";

/// The label by which requests for a Service, or all of a namespace, go through a waypoint.
const WAYPOINT: &str = "istio.io/use-waypoint";

/// The label that says in which network of a mesh of several clusters something is.
const NETWORK: &str = "topology.istio.io/network";

impl<'w> Routing<'w> {
    /// What all answers about a host assume, for these callers.
    #[must_use]
    pub fn assumptions(&self, host: &Host, callers: &[Callers<'w>]) -> BTreeSet<Assumed> {
        let mut all = self.assumptions_of(host);
        for group in callers {
            all.extend(self.proxy_of(group).assumptions());
        }
        all
    }

    /// What is assumed of a host as a destination.
    #[must_use]
    pub fn assumptions_of(&self, host: &Host) -> BTreeSet<Assumed> {
        let mut all = BTreeSet::new();
        let mut add = |code, text: String, decisive| {
            all.insert(Assumed { code, text, decisive });
        };
        let world = self.world();
        let namespace = host.namespace();
        let kind = host.object.kind.name();
        let key = host.object.key();
        let readable = |readable: &[String]| readable.iter().any(|one| one == namespace);
        let gap = world.gaps().iter().find(|gap| gap.kind == Kind::Pod && !readable(&gap.readable));
        let why = match gap {
            Some(gap) if host.is_service() => Some(format!("pods could not be listed: {}", gap.reason)),
            _ if self.registry.knows_endpoints(host) => None,
            _ if !self.registry.knows_pods() => Some("no pods were read".to_owned()),
            _ => Some("EndpointSlices without a selector and WorkloadEntries are not read".to_owned()),
        };
        if let Some(why) = why {
            let text = format!("which endpoints of {kind} {key} are ready is not known: {why}");
            add("readiness-unknown", text, false);
        }
        let labels = world.namespaces.get(namespace);
        let own = host.object.get("/metadata/labels").and_then(|labels| labels.get(WAYPOINT));
        let waypoint = own.and_then(Value::as_str).or_else(|| Some(labels?.get(WAYPOINT)?.as_str()));
        if let Some(waypoint) = waypoint.filter(|waypoint| *waypoint != "none") {
            let text =
                format!("{kind} {key} has waypoint {waypoint}: what it does with requests is not looked at");
            add("waypoint", text, true);
        }
        let spans = world.services.iter().find(|service| {
            let label = |name| service.object.get("/metadata/labels")?.get(name)?.as_str();
            label(NETWORK).is_some() || label("istio") == Some("eastwestgateway")
        });
        if let Some(service) = spans {
            let text = format!(
                "Service {} joins networks: the same host may have endpoints, and another Service, in other clusters",
                service.object.key()
            );
            add("other-clusters", text, false);
        }
        all
    }
}

impl Proxy<'_, '_> {
    /// What is assumed of a caller, whatever it asks for.
    #[must_use]
    pub fn assumptions(&self) -> BTreeSet<Assumed> {
        let mut all = BTreeSet::new();
        let mut add = |code, text: String, decisive| {
            all.insert(Assumed { code, text, decisive });
        };
        let world = self.routing().world();
        let workload = self.workload;
        let namespace = &workload.namespace;
        for gap in world.gaps().iter().filter(|gap| KINDS.contains(&gap.kind)) {
            let matters = gap.kind != Kind::Gateway || workload.is_gateway;
            let text = format!("{} could not be listed: {}", gap.kind.plural(), gap.reason);
            add("forbidden-list", text, matters);
        }
        if workload.injection.assumed {
            let text = format!("pods are taken to be injected in namespace {namespace}, which was not read");
            add("namespace-not-in-input", text, false);
        }
        for filter in &world.envoy_filters {
            if changes_outbound(filter, workload, &world.mesh.root_namespace) {
                let (key, at) = (filter.key(), filter.at("/spec/configPatches"));
                let at = if key == at { key } else { format!("{key} {at}") };
                let text =
                    format!("EnvoyFilter {at} does not change the route; it patches what the caller sends");
                add("envoy-filter-outbound", text, true);
            }
        }
        let has_proxy = workload.injection.injected || workload.is_gateway;
        let mode = workload.labels.get(DATAPLANE_MODE);
        let mode = mode.or_else(|| world.namespaces.get(namespace)?.get(DATAPLANE_MODE));
        if !has_proxy && mode.is_some_and(|mode| mode == "ambient") {
            let text = format!("{namespace}/{} is in an ambient mesh, which is not looked at", workload.name);
            add("ambient", text, true);
        }
        for egress in self.scope.egress.iter().filter(|egress| egress.is_http_proxy) {
            let port = egress.port.map_or(0, |(port, _)| port);
            let sidecar = world.sidecar_of(workload).map(|sidecar| sidecar.object.key()).unwrap_or_default();
            let text = format!(
                "callers do not use port {port} as an HTTP proxy, as Sidecar {sidecar} offers it, nor ask for that port"
            );
            add("http-proxy-listener", text, true);
        }
        // `EXCLUDE_UNSAFE_503_FROM_DEFAULT_RETRY` (release note 50506).
        if world.profile.version < Version::new(1, 24, 0) {
            let text = format!(
                "the default retries are those of Istio 1.24 and newer; {} retries on 503 too",
                world.profile.version
            );
            add("retries-before-1-24", text, false);
        }
        all
    }
}
