//! Which way a caller's request takes: VirtualService, route, DestinationRule, subset, endpoints.
//!
//! Everything is made as istiod makes it for the caller's proxy: first what the proxy knows of
//! ([`scope`]), then the listener that takes the connection ([`listener`]), the virtual host and route
//! ([`table`]), and last the clusters, which exist or do not ([`rules`]). `tests/envoy/check --routes`
//! compares all of it with what a real istiod generates.

pub mod action;
pub mod assumption;
mod callers;
mod delegate;
mod gateway;
pub mod listener;
pub mod registry;
pub mod request;
pub mod resolve;
pub mod rules;
pub mod scope;
pub mod table;
mod virtual_services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use callers::Callers;
pub use delegate::Dropped;
pub use virtual_services::VirtualServices;

use crate::labels::Labels;
use crate::object::Kind;
use crate::routing::action::Cluster;
use crate::routing::listener::{Chain, Listener};
use crate::routing::registry::{Endpoint, Registry};
use crate::routing::rules::{Rule, Rules, Subset};
use crate::routing::scope::Scope;
use crate::routing::table::{Caller, Sidecar, Table, mesh};
use crate::service_entry::Resolution;
use crate::virtual_service::MESH;
use crate::workload::Workload;
use crate::world::World;

/// The kinds that bear on routing: what a World must have for it, and what it need not.
pub const KINDS: [Kind; 14] = [
    Kind::Namespace,
    Kind::Service,
    Kind::Pod,
    Kind::ConfigMap,
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::ReplicaSet,
    Kind::DestinationRule,
    Kind::VirtualService,
    Kind::Gateway,
    Kind::Sidecar,
    Kind::ServiceEntry,
    Kind::EnvoyFilter,
];

/// A World's routing, indexed.
#[derive(Clone, Debug)]
pub struct Routing<'w> {
    world: &'w World,
    /// The hosts that callers can name.
    pub registry: Registry,
    /// VirtualServices, with their delegates.
    pub virtual_services: VirtualServices,
    /// DestinationRules, merged.
    pub rules: Rules,
}

impl<'w> Routing<'w> {
    /// Of a World.
    #[must_use]
    pub fn new(world: &'w World) -> Self {
        Self {
            world,
            registry: Registry::new(world),
            virtual_services: VirtualServices::new(world),
            rules: Rules::new(world),
        }
    }

    /// The World.
    #[must_use]
    pub fn world(&self) -> &'w World {
        self.world
    }

    /// The proxy before a workload.
    #[must_use]
    pub fn proxy(&self, workload: &'w Workload) -> Proxy<'_, 'w> {
        let scope = if workload.is_gateway {
            Scope::of_gateway(&self.registry, &workload.namespace)
        } else {
            Scope::of_sidecar(
                &self.registry,
                &self.virtual_services,
                &workload.namespace,
                self.world.sidecar_of(workload),
                self.world.mesh.outbound,
            )
        };
        Proxy { routing: self, workload, scope: Arc::new(scope) }
    }

    /// The proxies before several groups of callers. What those of one namespace with one Sidecar object know is
    /// worked out once: their labels have no part in it.
    #[must_use]
    pub fn proxies(&self, groups: &[Callers<'w>]) -> Vec<Proxy<'_, 'w>> {
        let mut known: BTreeMap<(&str, bool, Option<String>), Arc<Scope<'_>>> = BTreeMap::new();
        let mut proxies = Vec::new();
        for workload in groups.iter().map(|group| group.workload) {
            let sidecar = self.world.sidecar_of(workload).map(|sidecar| sidecar.object.key());
            let key = (workload.namespace.as_str(), workload.is_gateway, sidecar);
            let scope = known.entry(key).or_insert_with(|| self.proxy(workload).scope);
            proxies.push(Proxy { routing: self, workload, scope: Arc::clone(scope) });
        }
        proxies
    }
}

/// One caller's proxy.
#[derive(Clone, Debug)]
pub struct Proxy<'r, 'w> {
    routing: &'r Routing<'w>,
    /// The workload that it stands before, or the gateway that it is.
    pub workload: &'w Workload,
    /// What it knows of.
    pub scope: Arc<Scope<'r>>,
}

/// A destination as a proxy has it.
#[derive(Clone, Debug)]
pub struct Landing<'r> {
    /// Whether the proxy has it; else requests for it are answered with 503.
    pub exists: bool,
    /// The DestinationRule that the proxy goes by.
    pub rule: Option<&'r Rule>,
    /// The subset in that rule.
    pub subset: Option<&'r Subset>,
    /// Whether requests go to the address that the caller asked for.
    pub is_passthrough: bool,
    /// What takes the requests; none where that is not known beforehand.
    pub endpoints: Vec<Endpoint>,
}

impl<'r, 'w> Proxy<'r, 'w> {
    /// The routing that it is part of.
    #[must_use]
    pub fn routing(&self) -> &'r Routing<'w> {
        self.routing
    }

    /// The gateways that it stands for: the names of Gateway objects, or [`MESH`].
    #[must_use]
    pub fn gateways(&self) -> Vec<String> {
        if self.workload.is_gateway {
            self.routing.world.gateways_of(self.workload).map(|gateway| gateway.object.key()).collect()
        } else {
            vec![MESH.to_owned()]
        }
    }

    /// A sidecar's routes of a port, or of one host's port where HTTP is only guessed.
    #[must_use]
    pub fn table(&self, port: u16, sniffed: Option<&str>) -> Option<Table> {
        self.table_of(port, sniffed, None)
    }

    /// The same with some of the registered hosts only: what their virtual hosts have, for less work.
    #[must_use]
    pub fn table_of(
        &self,
        port: u16,
        sniffed: Option<&str>,
        only: Option<&BTreeSet<String>>,
    ) -> Option<Table> {
        let egress = self.scope.egress_for(port)?;
        let gateways = mesh();
        let sidecar = Sidecar {
            caller: self.caller(&gateways),
            egress,
            virtual_services: self.routing.virtual_services.all(),
            default_retries: self.routing.world.mesh.default_retries.as_ref(),
            only,
        };
        Some(sidecar.table(port, sniffed))
    }

    /// All HTTP routes of a gateway; none of a sidecar.
    #[must_use]
    pub fn gateway_tables(&self) -> Vec<Table> {
        let builder = self.gateway();
        builder.all().iter().flat_map(|(target, listeners)| builder.tables(listeners, *target)).collect()
    }

    /// All other ways of a gateway; none of a sidecar.
    #[must_use]
    pub fn gateway_chains(&self) -> Vec<Chain> {
        let builder = self.gateway();
        builder.all().iter().flat_map(|(_, listeners)| builder.chains(listeners)).collect()
    }

    fn gateway(&self) -> gateway::Builder<'_, 'w> {
        gateway::Builder {
            world: self.routing.world,
            registry: &self.routing.registry,
            virtual_services: &self.routing.virtual_services,
            scope: &self.scope,
            workload: self.workload,
            namespace: &self.workload.namespace,
            labels: &self.workload.labels,
        }
    }

    /// A sidecar's listener for an address and port.
    #[must_use]
    pub fn listener(&self, address: Option<IpAddr>, port: u16) -> Option<Listener> {
        let gateways = mesh();
        let builder = listener::Builder {
            scope: &self.scope,
            registry: &self.routing.registry,
            virtual_services: self.routing.virtual_services.all(),
            caller: self.caller(&gateways),
            own: &self.workload.pod_ips,
            wanted: address,
        };
        builder.listener(port)
    }

    /// A destination as this proxy has it.
    #[must_use]
    pub fn landing(&self, cluster: &Cluster) -> Landing<'r> {
        let nowhere = |rule, subset| Landing {
            exists: false,
            rule,
            subset,
            is_passthrough: false,
            endpoints: Vec::new(),
        };
        let known = self.scope.host(&cluster.host).filter(|known| known.host.alias_of.is_none());
        let Some(known) = known else { return nowhere(None, None) };
        let rule = self.routing.rules.of(
            &self.workload.namespace,
            &self.workload.labels,
            &cluster.host,
            known.host.namespace(),
        );
        let subset = rule.and_then(|rule| rule.subset(&cluster.subset));
        let port = known.port(cluster.port).filter(|port| port.speaks != registry::Speaks::Udp);
        let Some(port) = port.filter(|_| cluster.subset.is_empty() || subset.is_some()) else {
            return nowhere(rule, subset);
        };
        let mut endpoints = self.routing.registry.endpoints_of(known.host, port);
        let by_dns = known.host.kind == registry::Addressing::Entry(Resolution::Dns);
        // Without an address, a cluster of names is not made, nor its subsets (`buildCluster`).
        let has_host = !(by_dns && endpoints.is_empty());
        let passes = |balancer: Option<&serde_json::Value>| {
            balancer.and_then(|balancer| balancer.get("simple")?.as_str()) == Some("PASSTHROUGH")
        };
        let host_passes = passes(rule.and_then(|rule| rule.setting(cluster.port, "loadBalancer")));
        let mut subset_passes = false;
        if let Some(subset) = subset.filter(|_| !cluster.subset.is_empty()) {
            endpoints.retain(|endpoint| {
                subset.labels.iter().all(|(name, value)| endpoint.labels.get(name) == Some(value))
            });
            let place = subset.place.below("trafficPolicy/loadBalancer");
            subset_passes = passes(place.object.get(&place.pointer));
        }
        let by_address = host_passes || subset_passes;
        // A gateway has no address to pass on: it goes by the pods (`convertResolution`).
        let is_passthrough = by_address || (known.host.kind.is_passthrough() && !self.workload.is_gateway);
        let exists = has_host && !(by_dns && endpoints.is_empty() && !by_address);
        Landing { exists, rule, subset, is_passthrough, endpoints }
    }

    fn caller<'a>(&'a self, gateways: &'a [String]) -> Caller<'a> {
        Caller { namespace: &self.workload.namespace, labels: self.labels(), gateways }
    }

    fn labels(&self) -> &Labels {
        &self.workload.labels
    }
}
