//! What a shift would break, seen before it is made: by the World after it, for each kind of caller.

use std::collections::BTreeMap;

use crate::canary::carrier::{Carrier, Layer};
use crate::canary::plan::Moving;
use crate::canary::version::Version;
use crate::canary::weights::percent;
use crate::routing::action::Cluster;
use crate::routing::registry::{Host, Speaks};
use crate::routing::{Callers, Routing};

/// Why callers would get 503 for the canary's share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The proxy does not know the host.
    HostUnknown,
    /// The host has no such port.
    NoPort {
        /// The port.
        port: u16,
    },
    /// No DestinationRule for the host is in force.
    NoRule,
    /// The DestinationRule in force does not define the subset.
    NoSubset {
        /// `NS/NAME` of the rule in force.
        rule: String,
        /// Where it stands.
        at: String,
        /// `NS/NAME` of rules that define it and are hidden from these callers.
        hidden: Vec<String>,
    },
    /// The subset's labels select no pod, or the version has none.
    NoEndpoints {
        /// What selects them.
        labels: String,
        /// Where it stands.
        at: String,
    },
    /// None of the pods is ready.
    NotReady {
        /// How many there are.
        pods: usize,
    },
}

/// What callers of one namespace, or one gateway, would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The callers: a namespace, or a gateway's namespace and name.
    pub callers: String,
    /// How many proxies run there.
    pub proxies: usize,
    /// The destination as the proxy names it.
    pub cluster: Cluster,
    /// Why.
    pub cause: Cause,
}

/// The versions that get more requests than before, each with the routes on which they do.
#[must_use]
pub fn gaining<'v, 'w, 'c, 'r>(
    versions: &'v [Version<'w>],
    carriers: &'c [Carrier<'r>],
    moving: &[Moving],
) -> Vec<(&'v Version<'w>, Vec<&'c Carrier<'r>>)> {
    let routes = |version: &Version<'_>| -> Vec<&'c Carrier<'r>> {
        let gains = moving.iter().filter_map(|one| {
            let carrier = carriers.get(one.carrier)?;
            let shares = one.from.iter().zip(&one.to).zip(carrier.destinations);
            let gains =
                shares.filter(|(_, destination)| version.is(destination)).any(|((from, to), _)| from < to);
            gains.then_some(carrier)
        });
        gains.collect()
    };
    let gaining = versions.iter().map(|version| (version, routes(version)));
    gaining.filter(|(_, routes)| !routes.is_empty()).collect()
}

/// A version that gets a far greater share of the requests than it has of the ready pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Thin {
    /// The version.
    pub version: String,
    /// Its share of the requests, in percent.
    pub percent: f64,
    /// Its ready pods.
    pub ready: usize,
    /// The ready pods of all versions.
    pub of: usize,
}

/// The versions that are thin after a shift: with less than half of the pods that their share of the requests
/// would take, if all pods took the same.
#[must_use]
pub fn thin(versions: &[Version<'_>], carriers: &[Carrier<'_>], moving: &[Moving]) -> Vec<Thin> {
    let of: usize = versions.iter().map(Version::ready).sum();
    let mut found: Vec<Thin> = Vec::new();
    for one in moving {
        let Some(carrier) = carriers.get(one.carrier) else { continue };
        for version in versions {
            let is: Vec<bool> = carrier.destinations.iter().map(|one| version.is(one)).collect();
            let share = |weights: &[u32]| percent(weights, &is).unwrap_or(0.0);
            let (before, after) = (share(&one.from), share(&one.to));
            let ready = version.ready();
            let of_pods = 100.0 * ready as f64 / of.max(1) as f64;
            let is_thin = ready > 0 && after > before && after > 2.0 * of_pods;
            if is_thin && !found.iter().any(|thin| thin.version == version.name) {
                found.push(Thin { version: version.name.clone(), percent: after, ready, of });
            }
        }
    }
    found
}

/// The problems that a version's share above 0 meets. `routing` is of the World after the shift, `carriers` the
/// routes that move, with whom they are in force for.
#[must_use]
pub fn problems<'w>(
    routing: &Routing<'w>,
    host: &Host,
    canary: &Version<'_>,
    carriers: &[&Carrier<'_>],
    callers: &[Callers<'w>],
) -> Vec<Problem> {
    let mut found: BTreeMap<(String, Cluster), Problem> = BTreeMap::new();
    let proxies = routing.proxies(callers);
    for carrier in carriers {
        for client in &carrier.in_force {
            let Some(proxy) = proxies.get(client.callers) else { continue };
            let name = match &client.gateway {
                Some(gateway) => format!("gateway {gateway} in {}", client.namespace),
                None => format!("namespace {}", client.namespace),
            };
            for cluster in clusters(carrier, canary, host, proxy) {
                let Some(cause) = cause(proxy, canary, &cluster) else { continue };
                let problem = found.entry((name.clone(), cluster.clone())).or_insert_with(|| Problem {
                    callers: name.clone(),
                    proxies: 0,
                    cluster,
                    cause,
                });
                problem.proxies += client.proxies;
            }
        }
    }
    found.into_values().collect()
}

/// The destinations of the canary that a route leads to, with the port that the proxy puts in.
fn clusters(
    carrier: &Carrier<'_>,
    canary: &Version<'_>,
    host: &Host,
    proxy: &crate::routing::Proxy<'_, '_>,
) -> Vec<Cluster> {
    let own = carrier.destinations.iter().filter(|destination| canary.is(destination));
    own.flat_map(|destination| {
        let of =
            |port: u16| Cluster { host: destination.host.clone(), port, subset: destination.subset.clone() };
        if let Some(port) = destination.port {
            return vec![of(port)];
        }
        // Without a port it is the one that the caller asks for, or the only one.
        let known = proxy.scope.host(&host.name).map(|known| known.ports.as_slice()).unwrap_or_default();
        let asked = known.iter().filter(|port| match carrier.layer {
            Layer::Http => port.speaks.may_be_http(),
            Layer::Tls => port.speaks == Speaks::Tls,
            Layer::Tcp => matches!(port.speaks, Speaks::Tcp | Speaks::Sniffed),
        });
        let asked = asked.filter(|port| carrier.ports.is_empty() || carrier.ports.contains(&port.number));
        asked.map(|port| of(port.number)).collect()
    })
    .collect()
}

fn cause(proxy: &crate::routing::Proxy<'_, '_>, canary: &Version<'_>, cluster: &Cluster) -> Option<Cause> {
    let landing = proxy.landing(cluster);
    if landing.exists {
        let known = proxy.scope.host(&cluster.host).map(|known| known.host);
        let is_counted = known.is_some_and(|host| proxy.routing().registry.knows_endpoints(host));
        if !is_counted || landing.is_passthrough {
            return None;
        }
        if landing.endpoints.is_empty() {
            let subset = landing.subset;
            let labels = subset.map(|subset| &subset.labels).or(canary.labels.as_ref());
            let text = labels.map(|labels| {
                labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
            });
            let at = subset.map(|subset| subset.place.below("labels").at()).unwrap_or_default();
            return Some(Cause::NoEndpoints { labels: text.unwrap_or_default(), at });
        }
        let ready = landing.endpoints.iter().any(|endpoint| endpoint.ready);
        return (!ready).then_some(Cause::NotReady { pods: landing.endpoints.len() });
    }
    let Some(known) = proxy.scope.host(&cluster.host) else { return Some(Cause::HostUnknown) };
    if known.port(cluster.port).is_none() {
        return Some(Cause::NoPort { port: cluster.port });
    }
    let (caller, labels) = (&proxy.workload.namespace, &proxy.workload.labels);
    let rules = &proxy.routing().rules;
    let hidden = rules.hidden(caller, labels, &cluster.host, known.host.namespace());
    let hidden = hidden.into_iter().filter(|rule| rule.subset(&cluster.subset).is_some());
    Some(match landing.rule {
        None => Cause::NoRule,
        Some(rule) => Cause::NoSubset {
            rule: rule.key(),
            at: rule.from.first().map(|object| object.at("/spec/subsets")).unwrap_or_default(),
            hidden: hidden.map(|rule| rule.key()).collect(),
        },
    })
}
