//! What each caller's proxy should have after a shift: what the World after it says, and nothing else.

use std::collections::BTreeSet;

use crate::canary::carrier::{Carrier, tables};
use crate::proxy::routes::Wanted;
use crate::routing::action::{Action, Cluster};
use crate::routing::registry::Host;
use crate::routing::{Proxy, Routing};
use crate::workload::Workload;

/// A proxy that runs, and what it should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The namespace of its pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// What it should have.
    pub wanted: Wanted,
}

/// The proxies of all callers that some routes are in force for, spread over the workloads; `routing` is of
/// the World after the shift, in which `carriers` were found.
#[must_use]
pub fn due(routing: &Routing<'_>, host: &Host, moved: &[&Carrier<'_>]) -> Vec<Due> {
    let places: BTreeSet<(String, String)> = moved.iter().map(|carrier| carrier.place.key()).collect();
    of_callers(routing, |proxy, wanted| routes(proxy, host, &places, wanted))
}

/// The proxies of all callers that know a host, with the clusters of some of its subsets.
#[must_use]
pub fn clusters_due(routing: &Routing<'_>, host: &Host, subsets: &[String]) -> Vec<Due> {
    of_callers(routing, |proxy, wanted| {
        for port in proxy.scope.host(&host.name).iter().flat_map(|known| &known.ports) {
            for subset in subsets {
                let cluster =
                    Cluster { host: host.name.clone(), port: port.number, subset: subset.to_owned() };
                // What the rules hide from a caller never comes; the preflight tells of it.
                if proxy.landing(&cluster).exists {
                    wanted.cluster(cluster.name());
                }
            }
        }
    })
}

fn of_callers(routing: &Routing<'_>, want: impl Fn(&Proxy<'_, '_>, &mut Wanted)) -> Vec<Due> {
    let world = routing.world();
    let stopped = world.stopped_pods();
    let mut by_workload: Vec<Vec<Due>> = Vec::new();
    for callers in routing.callers() {
        let mut wanted = Wanted::default();
        want(&routing.proxy_of(&callers), &mut wanted);
        if wanted.is_empty() {
            continue;
        }
        let namespace = &callers.workload.namespace;
        let alike = |workload: &&Workload| {
            workload.namespace == *namespace && callers.names.contains(&workload.name.as_str())
        };
        for workload in world.workloads.iter().filter(alike) {
            let pods =
                workload.pods.iter().filter(|pod| !stopped.contains(&(namespace.as_str(), pod.as_str())));
            by_workload.push(
                pods.map(|pod| Due {
                    namespace: namespace.clone(),
                    pod: pod.clone(),
                    wanted: wanted.clone(),
                })
                .collect(),
            );
        }
    }
    crate::proxy::in_turn(by_workload)
}

/// The routes and other ways at some places that a proxy should have.
fn routes(proxy: &Proxy<'_, '_>, host: &Host, places: &BTreeSet<(String, String)>, wanted: &mut Wanted) {
    let is_gateway = proxy.workload.is_gateway;
    for table in tables(proxy, host) {
        // HTTP that is only guessed has a table of its own for each host: `HOST:PORT`.
        let names = if is_gateway { regex::escape(&table.name) } else { format!("(.*:)?{}", table.name) };
        for virtual_host in &table.hosts {
            for route in &virtual_host.routes {
                let is_moved = route.place.as_ref().is_some_and(|place| places.contains(&place.key()));
                if let (true, Action::Forward { clusters, .. }) = (is_moved, &route.action) {
                    wanted.route(names.clone(), &virtual_host.name, clusters);
                }
            }
            if !is_gateway && !is_listened_for(proxy, &virtual_host.name) {
                wanted.optional(&virtual_host.name);
            }
        }
    }
    let is_moved = |chain: &crate::routing::listener::Chain| {
        chain.place.as_ref().is_some_and(|place| places.contains(&place.key()))
    };
    if is_gateway {
        for chain in proxy.gateway_chains().iter().filter(|chain| is_moved(chain)) {
            wanted.chain(".*".to_owned(), &chain.clusters);
        }
        return;
    }
    for port in &host.ports {
        let listener = proxy.listener(proxy.address(&host.name), port.number);
        for chain in listener.iter().flat_map(|listener| &listener.chains).filter(|chain| is_moved(chain)) {
            wanted.chain(format!(".*_{}", port.number), &chain.clusters);
        }
    }
}

/// Whether a sidecar surely has a listener for a virtual host (`HOST:PORT`): the host has that port. Hosts without
/// are at port 80 all the same, where there may be no listener.
fn is_listened_for(proxy: &Proxy<'_, '_>, virtual_host: &str) -> bool {
    let Some((name, port)) = virtual_host.rsplit_once(':') else { return false };
    let port = port.parse().ok().and_then(|port| proxy.scope.host(name)?.port(port));
    port.is_some_and(|port| port.speaks.may_be_http())
}
