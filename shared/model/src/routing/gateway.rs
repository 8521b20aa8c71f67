//! What a gateway does: servers merged by port, their routes joined by host.
//!
//! Rules: `mergeGateways` in `pilot/pkg/model/gateway.go`, `buildGatewayHTTPRouteConfig` and
//! `createGatewayTCPFilterChainOpts` in `pilot/pkg/networking/core/gateway.go`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::gateway::{Gateway, Server};
use crate::host;
use crate::labels::Labels;
use crate::routing::action::Cluster;
use crate::routing::listener::{Chain, clusters};
use crate::routing::registry::{Registry, Speaks};
use crate::routing::scope::Scope;
use crate::routing::table::{Caller, Route, Table, VirtualHost, routes};
use crate::routing::virtual_services::VirtualServices;
use crate::service::TargetPort;
use crate::virtual_service::VirtualService;
use crate::workload::Workload;
use crate::world::World;

/// What a gateway listens with at one of its pods' ports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listeners<'w> {
    /// Plaintext HTTP, with the Gateway's name.
    http: Vec<(String, &'w Server)>,
    /// TLS, each with the Gateway's name.
    tls: Vec<(String, &'w Server)>,
    /// Other bytes.
    tcp: Option<(String, &'w Server)>,
}

/// What a gateway's routes are made of.
pub(crate) struct Builder<'a, 'w> {
    pub world: &'w World,
    pub registry: &'a Registry,
    pub virtual_services: &'a VirtualServices,
    pub scope: &'a Scope<'a>,
    pub workload: &'w Workload,
    pub namespace: &'a str,
    pub labels: &'a Labels,
}

impl<'w> Builder<'_, 'w> {
    /// The pods' port behind a port that callers ask for.
    pub(crate) fn target(&self, port: u16) -> u16 {
        self.targets(port).first().copied().unwrap_or(port)
    }

    /// The pods' ports behind a port of the Services that select them; itself where none has it.
    fn targets(&self, port: u16) -> Vec<u16> {
        let services = self.world.services_in(&self.workload.namespace);
        let mut found: Vec<u16> = services
            .filter(|service| service.selector.as_ref().is_some_and(|s| s.selects(&self.workload.labels)))
            .flat_map(|service| &service.ports)
            .filter(|one| one.port == port)
            .filter_map(|one| match &one.target {
                TargetPort::Number(number) => Some(*number),
                TargetPort::Name(name) => {
                    self.workload.ports.iter().find(|port| port.name == *name).map(|port| port.port)
                }
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The servers at one of the pods' ports.
    pub(crate) fn listeners(&self, target: u16) -> Option<Listeners<'w>> {
        let mut gateways: Vec<&'w Gateway> = self.world.gateways_of(self.workload).collect();
        gateways.sort_by(|a, b| {
            (&a.created, &a.object.name, &a.object.namespace).cmp(&(
                &b.created,
                &b.object.name,
                &b.object.namespace,
            ))
        });
        let mut listeners = Listeners::default();
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for gateway in gateways {
            for server in &gateway.servers {
                let targets = self.targets(server.port);
                let is_here = targets.contains(&target) || (targets.is_empty() && server.port == target);
                if is_here {
                    listeners.add(gateway.object.key(), server, &mut names);
                }
            }
        }
        let is_empty = listeners.http.is_empty() && listeners.tls.is_empty() && listeners.tcp.is_none();
        (!is_empty).then_some(listeners)
    }

    /// The servers at all of the pods' ports.
    pub(crate) fn all(&self) -> Vec<(u16, Listeners<'w>)> {
        let servers = self.world.gateways_of(self.workload).flat_map(|gateway| &gateway.servers);
        let mut targets: Vec<u16> = servers
            .flat_map(|server| {
                let targets = self.targets(server.port);
                if targets.is_empty() { vec![server.port] } else { targets }
            })
            .collect();
        targets.sort_unstable();
        targets.dedup();
        targets.into_iter().filter_map(|target| Some((target, self.listeners(target)?))).collect()
    }

    /// The HTTP routes of all servers, also of those that end TLS.
    pub(crate) fn tables(&self, listeners: &Listeners<'w>, target: u16) -> Vec<Table> {
        let plain = self.http(listeners, target);
        plain
            .into_iter()
            .chain(self.tls_ways(listeners, target).into_iter().filter_map(|(_, table)| table))
            .collect()
    }

    /// The ways of all servers that do not route HTTP.
    pub(crate) fn chains(&self, listeners: &Listeners<'w>) -> Vec<Chain> {
        let tls = self.tls_ways(listeners, 0).into_iter().filter(|(_, table)| table.is_none());
        tls.map(|(chain, _)| chain).chain(self.tcp(listeners)).collect()
    }

    /// The routes of the plaintext HTTP servers.
    pub(crate) fn http(&self, listeners: &Listeners<'w>, target: u16) -> Option<Table> {
        (!listeners.http.is_empty()).then(|| self.table(format!("http.{target}"), &listeners.http))
    }

    /// What the TLS server for a name does: routes where it ends TLS, ways where it passes it on.
    pub(crate) fn tls(&self, listeners: &Listeners<'w>, target: u16, name: Option<&str>) -> Option<Tls> {
        let name = name.map(str::to_ascii_lowercase);
        let chains = self.tls_ways(listeners, target);
        let ways: Vec<Chain> = chains.iter().map(|(chain, _)| chain.clone()).collect();
        if Chain::clash(&ways) {
            return Some(Tls::Refused);
        }
        let taken = Chain::choose(&ways, None, name.as_deref())?;
        let at = ways.iter().position(|way| std::ptr::eq(way, taken))?;
        let (chain, table) = chains.into_iter().nth(at)?;
        Some(match table {
            Some(table) => Tls::Ends(table),
            None => Tls::Passes(chain),
        })
    }

    /// The TLS servers: routes where they end TLS, ways where they pass it on.
    fn tls_ways(&self, listeners: &Listeners<'w>, target: u16) -> Vec<(Chain, Option<Table>)> {
        let mut chains: Vec<(Chain, Option<Table>)> = Vec::new();
        // Server names are taken once for all servers of a port (`tlsHostsByPort`), each with its address.
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        for (gateway, server) in &listeners.tls {
            let passes = matches!(server.tls.as_deref(), Some("PASSTHROUGH"));
            if passes {
                let own = self.tls_chains(gateway, server, &mut taken);
                chains.extend(own.into_iter().map(|chain| (chain, None)));
                continue;
            }
            let server_names: Vec<String> = server
                .hosts
                .iter()
                .map(|host| host.split_once('/').map_or(host.as_str(), |(_, host)| host).to_owned())
                .collect();
            let server_names =
                if server_names.iter().any(|name| name == "*") { Vec::new() } else { server_names };
            let is_http =
                Speaks::of_word(&server.word) == Speaks::Http || server.word.eq_ignore_ascii_case("https");
            if is_http {
                let (namespace, short) = gateway.split_once('/').unwrap_or_default();
                let table = self.table(
                    format!("https.{target}.{}.{short}.{namespace}", server.port_name),
                    &[(gateway.clone(), server)],
                );
                let way = Chain { server_names, ..Chain::none() };
                chains.push((way, Some(table)));
            } else if let Some(way) = self.tcp_chain(gateway, server) {
                chains.push((Chain { server_names, ..way }, None));
            }
        }
        chains
    }

    /// The way of other bytes.
    pub(crate) fn tcp(&self, listeners: &Listeners<'w>) -> Option<Chain> {
        let (gateway, server) = listeners.tcp.as_ref()?;
        self.tcp_chain(gateway, server)
    }

    fn bound(&self, gateway: &str) -> impl Iterator<Item = (usize, &VirtualService)> {
        let numbers = self.virtual_services.for_gateway(self.namespace, gateway);
        numbers.filter_map(|number| Some((number, self.virtual_services.get(number)?)))
    }

    fn table(&self, name: String, servers: &[(String, &Server)]) -> Table {
        let mut hosts: BTreeMap<String, Joined> = BTreeMap::new();
        // Made once for each VirtualService of a Gateway, with the port of the first server.
        let mut made: BTreeMap<(&str, usize), Vec<Route>> = BTreeMap::new();
        for (gateway, server) in servers {
            for (number, one) in self.bound(gateway) {
                let shared = intersection(&server.hosts, one);
                if shared.is_empty() {
                    continue;
                }
                let routes = made
                    .entry((gateway, number))
                    .or_insert_with(|| self.routes(gateway, server.port, number, one))
                    .clone();
                if routes.is_empty() {
                    continue;
                }
                for host in shared {
                    let joined = hosts
                        .entry(host.to_ascii_lowercase())
                        .or_insert_with(|| Joined { port: server.port, ..Joined::default() });
                    joined.from.push((gateway.clone(), number));
                    joined.redirects |= server.https_redirect;
                    joined.routes.extend(routes.iter().cloned());
                }
            }
            // Every host of such a server redirects, also those that no VirtualService has.
            for host in server.hosts.iter().filter(|_| server.https_redirect) {
                let joined = hosts.entry(host.to_ascii_lowercase());
                joined.or_insert_with(|| Joined { port: server.port, ..Joined::default() }).redirects = true;
            }
        }
        Table { name, hosts: collapse(hosts), catches_all: false }
    }

    fn routes(&self, gateway: &str, port: u16, number: usize, one: &VirtualService) -> Vec<Route> {
        let gateways = [gateway.to_owned()];
        let caller = Caller { namespace: self.namespace, labels: self.labels, gateways: &gateways };
        let locate = |name: &str, subset: &str, asked: Option<u16>| {
            // The VirtualService's own namespace comes first where the name is in several.
            let own = self.registry.of(name, &one.object.namespace);
            let visible = own.filter(|host| host.is_visible(self.namespace));
            let known = visible.or_else(|| self.scope.host(name).map(|known| known.host));
            let only = known.and_then(|host| match host.ports.as_slice() {
                [only] => Some(only.number),
                _ => None,
            });
            Cluster {
                host: known.and_then(|host| host.alias_of.clone()).unwrap_or_else(|| name.to_owned()),
                port: asked.or(only).unwrap_or(port),
                subset: subset.to_owned(),
            }
        };
        let default_retries: Option<&Value> = self.world.mesh.default_retries.as_ref();
        routes(one, number, &caller, port, &locate, default_retries)
    }

    fn tcp_chain(&self, gateway: &str, server: &Server) -> Option<Chain> {
        for (number, one) in self.bound(gateway) {
            if !has_server_host(&server.hosts, one) {
                continue;
            }
            for route in one.tcp.iter().filter(|route| !route.destinations.is_empty()) {
                let fits = route.matches.is_empty()
                    || route.matches.iter().any(|m| fits_server(&m.caller, gateway, server.port));
                if fits {
                    return Some(Chain {
                        clusters: clusters(&route.destinations, server.port, &|name| self.scope.host(name)),
                        virtual_service: Some(number),
                        place: Some(route.place.clone()),
                        ..Chain::none()
                    });
                }
            }
        }
        None
    }

    fn tls_chains(&self, gateway: &str, server: &Server, taken: &mut BTreeMap<String, String>) -> Vec<Chain> {
        let mut chains: Vec<Chain> = Vec::new();
        for (number, one) in self.bound(gateway) {
            if !has_server_host(&server.hosts, one) {
                continue;
            }
            for route in one.tls.iter().filter(|route| !route.destinations.is_empty()) {
                for matches in route.matches.iter().filter(|m| fits_server(&m.caller, gateway, server.port)) {
                    if matches.sni_hosts.iter().any(|name| taken.get(name) == Some(&server.bind)) {
                        continue;
                    }
                    taken.extend(matches.sni_hosts.iter().map(|name| (name.clone(), server.bind.clone())));
                    chains.push(Chain {
                        server_names: matches.sni_hosts.clone(),
                        clusters: clusters(&route.destinations, server.port, &|name| self.scope.host(name)),
                        virtual_service: Some(number),
                        place: Some(route.place.clone()),
                        ..Chain::none()
                    });
                }
            }
        }
        chains
    }
}

/// What a gateway does with TLS.
pub(crate) enum Tls {
    /// It ends it, and routes what is within.
    Ends(Table),
    /// It passes it on.
    Passes(Chain),
    /// Two servers are for the same names, so that Envoy refuses the listener.
    Refused,
}

impl Chain {
    pub(crate) fn none() -> Self {
        Self {
            server_names: Vec::new(),
            subnets: Vec::new(),
            clusters: Vec::new(),
            virtual_service: None,
            place: None,
        }
    }
}

impl<'w> Listeners<'w> {
    fn add(&mut self, gateway: String, server: &'w Server, names: &mut BTreeMap<String, String>) {
        if server.tls.is_some() && !take(&server.hosts, &server.bind, names) {
            return;
        }
        if server.tls.is_some() && !server.https_redirect_only() {
            if self.http.is_empty() && self.tcp.is_none() {
                self.tls.push((gateway, server));
            }
            return;
        }
        let is_http = Speaks::of_word(&server.word) == Speaks::Http;
        if is_http && self.tcp.is_none() && self.tls.is_empty() {
            self.http.push((gateway, server));
        } else if !is_http && self.http.is_empty() && self.tls.is_empty() && self.tcp.is_none() {
            self.tcp = Some((gateway, server));
        }
    }
}

/// Takes the hosts of a server that has `tls`, be it only to redirect; `false` where one was taken before, which leaves
/// out the whole server (`CheckDuplicates`).
fn take(hosts: &[String], bind: &str, taken: &mut BTreeMap<String, String>) -> bool {
    let is_free = !hosts.iter().any(|host| taken.get(host).is_some_and(|other| other == bind));
    if is_free {
        taken.extend(hosts.iter().map(|host| (host.clone(), bind.to_owned())));
    }
    is_free
}

impl Server {
    /// Whether `tls` is there only to redirect plaintext HTTP.
    fn https_redirect_only(&self) -> bool {
        self.https_redirect && Speaks::of_word(&self.word) == Speaks::Http
    }
}

/// The routes of a host at a gateway, of all VirtualServices that have it.
#[derive(Default)]
struct Joined {
    port: u16,
    from: Vec<(String, usize)>,
    redirects: bool,
    routes: Vec<Route>,
}

/// What hosts must have in common to be put together: where their routes are from, and whether they redirect.
type Likeness = (Vec<(String, usize)>, bool);

/// Puts hosts with the same routes together, under the name of the most specific
/// (`collapseDuplicateRoutes`); routes that take everything come last, whoever wrote them first.
fn collapse(hosts: BTreeMap<String, Joined>) -> Vec<VirtualHost> {
    let mut hosts: Vec<(String, Joined)> = hosts.into_iter().collect();
    hosts.sort_by_key(|(name, _)| (name.starts_with('*'), std::cmp::Reverse(name.len()), name.clone()));
    let mut collapsed: Vec<(Likeness, VirtualHost)> = Vec::new();
    for (domain, joined) in hosts {
        let like = (joined.from, joined.redirects);
        if let Some((_, same)) = collapsed.iter_mut().find(|(other, _)| *other == like) {
            same.domains.push(domain);
            continue;
        }
        let mut routes = joined.routes;
        routes.sort_by_key(Route::is_catch_all);
        let name = format!("{domain}:{}", joined.port);
        let redirects = like.1;
        collapsed.push((like, VirtualHost { name, domains: vec![domain], routes, redirects }));
    }
    collapsed.into_iter().map(|(_, host)| host).collect()
}

/// Whether a tls or tcp match is for a server (`l4SingleMatch`).
fn fits_server(asked: &crate::virtual_service::CallerMatch, gateway: &str, port: u16) -> bool {
    asked.port.is_none_or(|only| only == port)
        && (asked.gateways.is_empty() || asked.gateways.iter().any(|name| name == gateway))
}

/// The hosts of a server that are for VirtualServices of a namespace (`NamesForNamespace`).
fn for_namespace<'h>(hosts: &'h [String], namespace: &str) -> impl Iterator<Item = &'h str> {
    hosts.iter().filter_map(move |host| match host.split_once('/') {
        Some((only, host)) => (only == namespace || only == "*").then_some(host),
        None => Some(host.as_str()),
    })
}

/// The hosts that a server and a VirtualService have in common (`Names.Intersection`).
fn intersection(server: &[String], one: &VirtualService) -> Vec<String> {
    let mut shared: Vec<String> = Vec::new();
    for host in for_namespace(server, &one.object.namespace) {
        for other in &one.hosts {
            let narrow = if host::is_within(host, other) {
                host
            } else if host::is_within(other, host) {
                other
            } else {
                continue;
            };
            if !shared.iter().any(|known| known == narrow) {
                shared.push(narrow.to_owned());
            }
        }
    }
    shared
}

/// Whether a VirtualService has a host of a server (`pickMatchingGatewayHosts`).
fn has_server_host(server: &[String], one: &VirtualService) -> bool {
    for_namespace(server, &one.object.namespace)
        .any(|host| one.hosts.iter().any(|other| host::overlap(other, host)))
}
