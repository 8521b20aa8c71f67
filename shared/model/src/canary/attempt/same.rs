//! Whether all callers take the same routes in two Worlds.

use std::collections::{BTreeMap, BTreeSet};

use super::NoAttempt;
use crate::host;
use crate::routing::action::{Action, Weighted};
use crate::routing::listener::Chain;
use crate::routing::table::{Route, Table};
use crate::routing::{Callers, Proxy, Routing};
use crate::virtual_service::{CallerMatch, HttpMatch, HttpRoute, VirtualService};
use crate::world::World;

/// The first caller for whom the World that was found is not the one that is wanted. Where it goes by what an
/// original claims, that is looked at; a gateway's routes are looked at as a whole.
pub(super) fn difference(wanted: &World, found: &World, originals: &[&VirtualService]) -> Option<NoAttempt> {
    let (wanted, found) = (Routing::new(wanted), Routing::new(found));
    let hosts = hosts(&wanted, originals);
    // Copies ask for the same labels as their originals, so that those who are alike in one World are in the other.
    wanted.callers().iter().find_map(|callers| {
        let (before, after) = (ways(&wanted, callers, &hosts), ways(&found, callers, &hosts));
        (before != after).then(|| refusal(&wanted, callers, originals, &first_difference(&before, &after)))
    })
}

fn refusal(
    wanted: &Routing<'_>,
    callers: &Callers<'_>,
    originals: &[&VirtualService],
    what: &str,
) -> NoAttempt {
    let workload = callers.workload;
    let callers = if workload.is_gateway {
        format!("gateway {} in {}", workload.name, workload.namespace)
    } else {
        format!("{} of namespace {}", callers.names.join(", "), workload.namespace)
    };
    let default = &wanted.world().mesh.default_virtual_service_export_to;
    let not_public = originals.iter().find(|one| {
        let export_to = one.export_to.as_deref().unwrap_or(default);
        let is_public = export_to.is_empty() || export_to.iter().any(|to| to == "*");
        !is_public && host::exported(export_to, &one.object.namespace, &workload.namespace)
    });
    match not_public {
        Some(one) => NoAttempt::NotPublic { virtual_service: one.object.key(), callers },
        None => NoAttempt::Differs { callers, what: what.to_owned() },
    }
}

/// The first virtual host or listener whose routes differ, and the first of them.
fn first_difference(before: &Ways, after: &Ways) -> String {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let none = Vec::new();
    let routes = |ways: &Ways, name: &String| ways.get(name).unwrap_or(&none).clone();
    let difference = names.into_iter().find_map(|name| {
        let (before, after) = (routes(before, name), routes(after, name));
        let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
        (before != after).then(|| format!("{name} differs from its route {same} on"))
    });
    difference.unwrap_or_default()
}

/// All hosts whose routes a copy may claim.
fn hosts(routing: &Routing<'_>, originals: &[&VirtualService]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for name in originals.iter().flat_map(|one| &one.hosts) {
        if name.starts_with('*') {
            let known = routing.registry.hosts().iter().map(|host| &host.name);
            names.extend(known.filter(|known| host::overlap(name, known)).cloned());
        }
        names.insert(name.clone());
    }
    names
}

/// A proxy's ways, each virtual host or listener with its routes in order, in words that can be compared.
type Ways = BTreeMap<String, Vec<String>>;

fn ways(routing: &Routing<'_>, callers: &Callers<'_>, hosts: &BTreeSet<String>) -> Ways {
    // The callers may be of another World: their workload is looked for by name.
    let workloads = routing.world().workloads.iter();
    let mut same = workloads.filter(|workload| {
        workload.name == callers.workload.name && workload.namespace == callers.workload.namespace
    });
    let Some(workload) = same.next() else { return Ways::new() };
    let proxy = routing.proxy(workload);
    let mut found = Ways::new();
    if workload.is_gateway {
        for table in proxy.gateway_tables() {
            add_table(&mut found, routing, &table);
        }
        let chains = proxy.gateway_chains();
        found.insert("tcp".to_owned(), chains.iter().map(chain).collect());
        return found;
    }
    let known: Vec<_> = hosts.iter().filter_map(|name| proxy.scope.host(name)).collect();
    let ports: BTreeSet<u16> =
        known.iter().flat_map(|known| &known.ports).map(|port| port.number).chain([80]).collect();
    for port in &ports {
        if let Some(table) = proxy.table_of(*port, None, Some(hosts)) {
            add_table(&mut found, routing, &table);
        }
    }
    for known in known {
        for port in &known.ports {
            let name = format!("{}:{} tcp", known.host.name, port.number);
            found.insert(name, chains(&proxy, &known.host.name, port.number));
        }
    }
    found
}

fn chains(proxy: &Proxy<'_, '_>, host: &str, port: u16) -> Vec<String> {
    let listener = proxy.listener(proxy.address(host), port);
    let mut all: Vec<String> = listener.iter().map(|listener| format!("{:?}", listener.http)).collect();
    all.extend(listener.iter().flat_map(|listener| &listener.chains).map(chain));
    all
}

fn add_table(found: &mut Ways, routing: &Routing<'_>, table: &Table) {
    for host in &table.hosts {
        let mut domains = host.domains.clone();
        domains.sort_unstable();
        let mut seen: Vec<Option<HttpMatch>> = Vec::new();
        let mut routes = vec![format!("domains {}", domains.join(","))];
        for route in &host.routes {
            let plain = route.matches.as_ref().map(|matches| HttpMatch {
                caller: CallerMatch::default(),
                name: String::new(),
                ..matches.clone()
            });
            // What an earlier route takes in whole never comes to this one.
            if seen.contains(&plain) {
                continue;
            }
            routes.push(in_words(routing, route, plain.as_ref()));
            seen.push(plain);
            if route.is_catch_all() {
                break;
            }
        }
        found.insert(format!("{} {}", table.name, host.name), routes);
    }
}

fn in_words(routing: &Routing<'_>, route: &Route, matches: Option<&HttpMatch>) -> String {
    let action = match &route.action {
        Action::Forward { clusters, timeout, retries, rewrite, mirrors } => {
            format!(
                "{} timeout {timeout:?} retries {retries:?} rewrite {rewrite:?} mirrors {mirrors:?}",
                weighted(clusters)
            )
        }
        Action::Redirect(value) => format!("redirect {value}"),
        Action::Direct(value) => format!("answer {value}"),
    };
    // What the resolver does not look at is compared as it is written.
    let written = route.virtual_service.and_then(|number| routing.virtual_services.get(number));
    let written = written.and_then(|one| {
        let place = route.place.as_ref()?;
        let same = |other: &&HttpRoute| {
            other.place.pointer == place.pointer && other.place.object.key() == place.object.key()
        };
        one.http.iter().find(same)
    });
    let rest: Vec<String> = ["headers", "corsPolicy"]
        .iter()
        .filter_map(|name| Some(format!("{name} {}", written?.setting(name)?)))
        .collect();
    format!("{} {matches:?} {action} fault {:?} {}", route.name, route.fault, rest.join(" "))
}

fn weighted(clusters: &[Weighted]) -> String {
    let one = |one: &Weighted| format!("{}={}", one.cluster.name(), one.weight);
    clusters.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn chain(chain: &Chain) -> String {
    format!("names {:?} subnets {:?} {}", chain.server_names, chain.subnets, weighted(&chain.clusters))
}
