//! Where a running proxy sends requests, read from what its admin interface dumps.
//!
//! `/config_dump?resource=dynamic_route_configs` (`envoy.admin.v3.RoutesConfigDump`),
//! `dynamic_listeners` for what is not HTTP, and `dynamic_active_clusters`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::mesh_config::list;
use crate::routing::action::Weighted;

/// Clusters by name, each with its share. A single one has all, whatever its weight.
pub type Shares = BTreeMap<String, u32>;

/// The share of a cluster that is the only one.
const ALL: u32 = 100;

/// What a proxy has, as far as it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// The shares of each route, by the name of its virtual host.
    routes: BTreeMap<String, Vec<Shares>>,
    /// The shares of each way that is not HTTP.
    chains: Vec<Shares>,
    /// All clusters.
    clusters: BTreeSet<String>,
}

impl Ways {
    /// Reads dumps; of each all that is known here is taken.
    #[must_use]
    pub fn read(dumps: &[Value]) -> Self {
        let mut ways = Self::default();
        for entry in dumps.iter().flat_map(|dump| list(dump.get("configs"))) {
            if let Some(table) = entry.get("route_config") {
                for host in list(table.get("virtual_hosts")) {
                    let name = text(host.get("name")).to_owned();
                    let shares =
                        list(host.get("routes")).iter().filter_map(|route| shares(route.get("route")?));
                    ways.routes.entry(name).or_default().extend(shares);
                }
            }
            if let Some(listener) = entry.pointer("/active_state/listener") {
                let chains = list(listener.get("filter_chains")).iter();
                let filters = chains
                    .chain(listener.get("default_filter_chain"))
                    .flat_map(|chain| list(chain.get("filters")));
                let settings = filters.filter_map(|filter| filter.get("typed_config"));
                ways.chains.extend(settings.filter(|one| is_tcp_proxy(one)).filter_map(shares));
            }
            if let Some(cluster) = entry.get("cluster") {
                ways.clusters.insert(text(cluster.get("name")).to_owned());
            }
        }
        ways
    }
}

/// `{cluster}` or `{weighted_clusters: {clusters: [{name, weight}]}}`, as routes and the TCP proxy have it.
fn shares(forward: &Value) -> Option<Shares> {
    if let Some(only) = forward.get("cluster").and_then(Value::as_str) {
        return Some(Shares::from([(only.to_owned(), ALL)]));
    }
    let weighted = list(forward.pointer("/weighted_clusters/clusters"));
    let named = weighted.iter().map(|one| {
        let weight = one.get("weight").and_then(Value::as_u64).and_then(|weight| u32::try_from(weight).ok());
        (text(one.get("name")).to_owned(), weight.unwrap_or(0))
    });
    (!weighted.is_empty()).then(|| together(named))
}

fn together(named: impl Iterator<Item = (String, u32)>) -> Shares {
    let mut shares = Shares::new();
    for (name, weight) in named {
        *shares.entry(name).or_default() += weight;
    }
    if shares.len() == 1 {
        shares.values_mut().for_each(|share| *share = ALL);
    }
    shares
}

fn is_tcp_proxy(settings: &Value) -> bool {
    text(settings.get("@type")).ends_with("TcpProxy")
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

/// What a proxy should have, and what to ask it for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Virtual hosts, each with the shares of some of its routes.
    routes: BTreeMap<String, Vec<Shares>>,
    /// Virtual hosts that a proxy need not have.
    optional: BTreeSet<String>,
    /// The shares of ways that are not HTTP.
    chains: Vec<Shares>,
    /// Clusters.
    clusters: BTreeSet<String>,
    /// The names of route configurations and of listeners, as regular expressions of Envoy.
    tables: BTreeSet<String>,
    listeners: BTreeSet<String>,
}

impl Wanted {
    /// Wants a route in a virtual host. `tables` is a regular expression for the route configurations that may
    /// have it.
    pub fn route(&mut self, tables: String, host: &str, clusters: &[Weighted]) {
        self.tables.insert(tables);
        self.routes.entry(host.to_owned()).or_default().push(as_shares(clusters));
    }

    /// Lets a proxy be without a virtual host: one that is made for it, behind a listener that it may not have.
    pub fn optional(&mut self, host: &str) {
        self.optional.insert(host.to_owned());
    }

    /// Wants a way that is not HTTP, in listeners whose names fit a regular expression.
    pub fn chain(&mut self, listeners: String, clusters: &[Weighted]) {
        self.listeners.insert(listeners);
        self.chains.push(as_shares(clusters));
    }

    /// Wants a cluster.
    pub fn cluster(&mut self, name: String) {
        self.clusters.insert(name);
    }

    /// Whether there is nothing to ask for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.chains.is_empty() && self.clusters.is_empty()
    }

    /// What to ask Envoy's admin interface for: kinds of resources, each with a regular expression for whole
    /// names.
    #[must_use]
    pub fn resources(&self) -> Vec<(&'static str, String)> {
        let any = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join("|");
        let clusters: BTreeSet<String> = self.clusters.iter().map(|name| regex::escape(name)).collect();
        [
            ("dynamic_route_configs", any(&self.tables)),
            ("dynamic_listeners", any(&self.listeners)),
            ("dynamic_active_clusters", any(&clusters)),
        ]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .collect()
    }

    /// Whether a proxy has it all.
    #[must_use]
    pub fn is_met(&self, ways: &Ways) -> bool {
        let routes = self.routes.iter().all(|(host, wanted)| match ways.routes.get(host) {
            Some(found) => wanted.iter().all(|shares| found.contains(shares)),
            None => self.optional.contains(host),
        });
        routes
            && self.chains.iter().all(|shares| ways.chains.contains(shares))
            && self.clusters.is_subset(&ways.clusters)
    }
}

fn as_shares(clusters: &[Weighted]) -> Shares {
    together(clusters.iter().map(|one| (one.cluster.name(), one.weight)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::routing::action::Cluster;

    fn split(first: u32, second: u32) -> Vec<Weighted> {
        let to = |subset: &str, weight| Weighted {
            cluster: Cluster { host: "payment.shop.svc".to_owned(), port: 8080, subset: subset.to_owned() },
            weight,
            place: None,
        };
        let all = [to("v1", first), to("v2", second)];
        // istiod renders no share of 0.
        all.into_iter().filter(|one| one.weight > 0).collect()
    }

    fn dump(routes: &Value) -> Value {
        json!({"configs": [{"@type": "t", "route_config": {"name": "8080", "virtual_hosts": [
            {"name": "payment.shop.svc:8080", "routes": routes},
        ]}}]})
    }

    fn wanted(first: u32, second: u32) -> Wanted {
        let mut wanted = Wanted::default();
        wanted.route("(.*:)?8080".to_owned(), "payment.shop.svc:8080", &split(first, second));
        wanted
    }

    #[test]
    fn the_weights_of_a_route_are_compared() {
        let found = json!([
            {"route": {"cluster": "outbound|8080||other.shop.svc"}},
            {"direct_response": {"status": 200}},
            {"route": {"weighted_clusters": {"clusters": [
                {"name": "outbound|8080|v1|payment.shop.svc", "weight": 70},
                {"name": "outbound|8080|v2|payment.shop.svc", "weight": 30},
            ]}}},
        ]);
        let ways = Ways::read(&[dump(&found)]);
        assert!(wanted(70, 30).is_met(&ways));
        assert!(!wanted(50, 50).is_met(&ways));
        assert!(!wanted(100, 0).is_met(&ways));
    }

    #[test]
    fn the_only_cluster_has_all_however_it_is_written() {
        let plain = json!([{"route": {"cluster": "outbound|8080|v2|payment.shop.svc"}}]);
        let weighted = json!([{"route": {"weighted_clusters": {"clusters": [
            {"name": "outbound|8080|v2|payment.shop.svc", "weight": 7},
        ]}}}]);
        for found in [plain, weighted] {
            assert!(wanted(0, 100).is_met(&Ways::read(&[dump(&found)])));
            assert!(!wanted(100, 0).is_met(&Ways::read(&[dump(&found)])));
        }
    }

    #[test]
    fn a_proxy_without_the_virtual_host_has_not_got_it() {
        let mut wanted = wanted(50, 50);
        assert!(!wanted.is_met(&Ways::default()));
        wanted.optional("payment.shop.svc:8080");
        assert!(wanted.is_met(&Ways::default()));
        let old = json!([{"route": {"cluster": "outbound|8080|v1|payment.shop.svc"}}]);
        assert!(!wanted.is_met(&Ways::read(&[dump(&old)])));
    }

    #[test]
    fn other_bytes_and_clusters_are_found() {
        let listeners = json!({"configs": [{"name": "10.0.0.1_5432", "active_state": {"listener": {
            "filter_chains": [{"filters": [
                {"name": "stats", "typed_config": {"@type": "type.googleapis.com/stats"}},
                {"name": "tcp", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "weighted_clusters": {"clusters": [
                        {"name": "outbound|8080|v1|payment.shop.svc", "weight": 50},
                        {"name": "outbound|8080|v2|payment.shop.svc", "weight": 50},
                    ]},
                }},
            ]}],
        }}}]});
        let clusters = json!({"configs": [{"cluster": {"name": "outbound|8080|v2|payment.shop.svc"}}]});
        let ways = Ways::read(&[listeners, clusters]);
        let mut wanted = Wanted::default();
        wanted.chain(".*_5432".to_owned(), &split(50, 50));
        wanted.cluster("outbound|8080|v2|payment.shop.svc".to_owned());
        assert!(wanted.is_met(&ways));
        assert_eq!(
            wanted.resources(),
            [
                ("dynamic_listeners", ".*_5432".to_owned()),
                ("dynamic_active_clusters", r"outbound\|8080\|v2\|payment\.shop\.svc".to_owned()),
            ]
        );
        wanted.cluster("outbound|8080|v3|payment.shop.svc".to_owned());
        assert!(!wanted.is_met(&ways));
    }
}
