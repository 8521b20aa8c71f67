//! Where a sidecar takes a connection: by its address and port, then by what it begins with.
//!
//! Rules: `buildSidecarOutboundListeners` in `pilot/pkg/networking/core/listener.go`, the filter chains of
//! `pilot/pkg/networking/core/tls.go`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::host;
use crate::routing::action::{Cluster, Weighted};
use crate::routing::registry::{Addressing, Registry, Speaks};
use crate::routing::scope::{Bind, Egress, Known, Scope};
use crate::routing::table::{Caller, short_names};
use crate::virtual_service::{Destination, Place, VirtualService};

/// A way for connections that are not HTTP.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The server names that it is for; all where empty.
    pub server_names: Vec<String>,
    /// The destinations that it is for; all where empty.
    pub subnets: Vec<String>,
    /// Where it leads.
    pub clusters: Vec<Weighted>,
    /// The number of the VirtualService; `None` where none says it.
    pub virtual_service: Option<usize>,
    /// The route in its VirtualService.
    pub place: Option<Place>,
}

impl Chain {
    /// How narrow its subnets are around an address; `None` where it is outside.
    fn subnet_fit(&self, address: Option<IpAddr>) -> Option<u8> {
        if self.subnets.is_empty() {
            return Some(0);
        }
        let address = address?;
        let lengths = self.subnets.iter().filter_map(|subnet| {
            let single = || subnet.parse::<IpAddr>().map(IpNet::from).ok();
            let net: IpNet = subnet.parse().ok().or_else(single)?;
            net.contains(&address).then_some(net.prefix_len() + 1)
        });
        lengths.max()
    }

    /// How exactly it names a server; `None` where it names others.
    fn name_fit(&self, server_name: Option<&str>) -> Option<usize> {
        if self.server_names.is_empty() {
            return Some(0);
        }
        let name = server_name?.to_ascii_lowercase();
        let lengths = self.server_names.iter().filter_map(|wanted| {
            let wanted = wanted.to_ascii_lowercase();
            match wanted.strip_prefix('*') {
                // An exact name is more than any wildcard.
                None => (wanted == name).then_some(usize::MAX),
                // `*` alone is no name at all.
                Some("") => Some(0),
                Some(suffix) => (name.len() > suffix.len() && name.ends_with(suffix)).then_some(suffix.len()),
            }
        });
        lengths.max()
    }

    /// The chain that takes a connection: the narrowest subnet is chosen first, and of its chains the most
    /// exact server name; Envoy never goes back to a wider subnet (`FilterChainMatch`).
    #[must_use]
    pub fn choose<'c>(
        chains: &'c [Self],
        address: Option<IpAddr>,
        server_name: Option<&str>,
    ) -> Option<&'c Self> {
        let narrowest = chains.iter().filter_map(|chain| chain.subnet_fit(address)).max()?;
        let within = || chains.iter().filter(|chain| chain.subnet_fit(address) == Some(narrowest));
        let best = within().filter_map(|chain| chain.name_fit(server_name)).max()?;
        within().find(|chain| chain.name_fit(server_name) == Some(best))
    }

    /// Whether two of them are for the same connections. Envoy refuses such a listener as a whole and keeps the
    /// one that it had (`tests/envoy/MEASURED.md`).
    #[must_use]
    pub fn clash(chains: &[Self]) -> bool {
        let mut seen = BTreeSet::new();
        let each = |list: &[String]| if list.is_empty() { vec![String::new()] } else { list.to_vec() };
        chains.iter().any(|chain| {
            let subnets = each(&chain.subnets);
            // The name `*` is as good as none.
            let any_name = chain.server_names.iter().any(|name| name == "*");
            let names = if any_name { vec![String::new()] } else { each(&chain.server_names) };
            let asked =
                subnets.iter().flat_map(|subnet| names.iter().map(|name| (normal(subnet), name.clone())));
            // One that repeats itself within its own lists is not two.
            let asked: BTreeSet<_> = asked.collect();
            asked.into_iter().any(|one| !seen.insert(one))
        })
    }

    /// Whether some chain is for the subnet of an address, so that even HTTP goes that way.
    #[must_use]
    pub(crate) fn any_around(chains: &[Self], address: Option<IpAddr>) -> bool {
        chains.iter().any(|chain| chain.subnet_fit(address).is_some_and(|fit| fit > 0))
    }
}

/// Which HTTP routes a listener has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Http {
    /// Those of the port.
    OfPort,
    /// Those of one host of the port.
    OfHost(String),
}

/// What a sidecar does with connections to an address and port.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    /// How HTTP is routed, if it is known as such.
    pub http: Option<Http>,
    /// The ways for all else.
    pub chains: Vec<Chain>,
    /// Whether HTTP alone is spoken: then other bytes have no way, not even the one for what is unknown.
    pub is_http_only: bool,
    is_locked: bool,
}

impl Listener {
    /// Whether two of its ways are for the same connections ([`Chain::clash`]).
    #[must_use]
    pub fn is_refused(&self) -> bool {
        Chain::clash(&self.chains)
    }
}

/// A block of addresses in one way of writing: `10.0.0.1` is `10.0.0.1/32`.
fn normal(subnet: &str) -> String {
    let single = || subnet.parse::<IpAddr>().map(IpNet::from).ok();
    let block = subnet.parse::<IpNet>().ok().or_else(single);
    block.map_or_else(|| subnet.to_owned(), |block| block.trunc().to_string())
}

/// What a listener is looked up by: the address of one host, or none for all.
type Key = Option<IpAddr>;

/// What a sidecar's listeners are made of.
pub(crate) struct Builder<'a, 'r> {
    pub scope: &'a Scope<'r>,
    pub registry: &'r Registry,
    pub virtual_services: &'a [VirtualService],
    pub caller: Caller<'a>,
    /// The addresses of the caller itself: it has no listeners for those.
    pub own: &'a [IpAddr],
    /// The address that is asked for; those of other hosts are not made.
    pub wanted: Option<IpAddr>,
}

impl<'r> Builder<'_, 'r> {
    /// The listener for the wanted address and a port; `None` where the proxy has none.
    pub(crate) fn listener(&self, port: u16) -> Option<Listener> {
        let mut listeners = self.all(port);
        let exact = self.wanted.and_then(|_| listeners.iter().position(|(key, _)| *key == self.wanted));
        let found = exact.or_else(|| listeners.iter().position(|(key, _)| key.is_none()))?;
        Some(listeners.swap_remove(found).1)
    }

    /// Those of a port for the wanted address, and for all addresses.
    fn all(&self, port: u16) -> Vec<(Key, Listener)> {
        let mut listeners: Vec<(Key, Listener)> = Vec::new();
        for egress in &self.scope.egress {
            match egress.port {
                Some((number, _)) if number != port => {}
                // It is reached at an address of the loopback device only.
                Some(_) if egress.is_http_proxy => {}
                Some((_, speaks)) => {
                    for known in &egress.hosts {
                        self.add(&mut listeners, egress, known, speaks, port, known.host.address);
                    }
                }
                None => {
                    for (_, listener) in &mut listeners {
                        listener.is_locked = true;
                    }
                    for known in &egress.hosts {
                        let Some(one) = known.port(port) else { continue };
                        let by_pod = egress.bind.is_none()
                            && known.host.kind.is_passthrough()
                            && known.host.address.is_none()
                            && matches!(one.speaks, Speaks::Tcp | Speaks::Tls | Speaks::Sniffed);
                        if !by_pod {
                            let address = known.host.address;
                            self.add(&mut listeners, egress, known, one.speaks, port, address);
                            continue;
                        }
                        let pods = self.registry.instances(known.host, one);
                        let selects = known.host.is_service() || known.host.selector().is_some();
                        if pods.is_empty() && !selects {
                            self.add(&mut listeners, egress, known, one.speaks, port, None);
                        }
                        // What has only a name gets no listener, and yet is one of them.
                        for pod in pods.into_iter().flatten().filter(|pod| !self.own.contains(pod)) {
                            self.add(&mut listeners, egress, known, one.speaks, port, Some(pod));
                        }
                    }
                }
            }
        }
        listeners
    }

    fn add(
        &self,
        listeners: &mut Vec<(Key, Listener)>,
        egress: &Egress<'r>,
        known: &Known<'r>,
        speaks: Speaks,
        port: u16,
        address: Key,
    ) {
        if known.host.kind == Addressing::Alias || speaks == Speaks::Udp {
            return;
        }
        // At an address of the listener's own, that of the host is not looked at; a socket has none.
        let (key, blocks) = match egress.bind {
            Some(Bind::Address(bind)) => ((!bind.is_unspecified()).then_some(bind), Vec::new()),
            Some(Bind::Socket) => return,
            None if speaks == Speaks::Http => (None, Vec::new()),
            None => (address, known.host.block.iter().cloned().collect()),
        };
        if key.is_some() && key != self.wanted {
            return;
        }
        let existing = listeners.iter().position(|(other, _)| *other == key);
        let existing = existing.and_then(|at| listeners.get_mut(at)).map(|(_, listener)| listener);
        if existing.as_ref().is_some_and(|listener| listener.is_locked) {
            return;
        }
        let chains = || self.chains(egress, known, speaks, port, key, &blocks);
        let http = || match (speaks, key) {
            (Speaks::Sniffed, Some(_)) => Http::OfHost(known.host.name.clone()),
            _ => Http::OfPort,
        };
        match (speaks, existing) {
            (Speaks::Http, Some(listener)) => {
                if listener.http.is_none() {
                    listener.http = Some(http());
                }
            }
            (Speaks::Http, None) => {
                let http = Some(http());
                listeners.push((key, Listener { http, is_http_only: key.is_some(), ..Listener::default() }));
            }
            (Speaks::Sniffed, Some(listener)) => {
                if listener.http.is_none() {
                    merge(&mut listener.chains, chains());
                    listener.http = Some(http());
                }
            }
            (Speaks::Sniffed, None) => {
                let (http, chains) = (Some(http()), chains());
                listeners.push((key, Listener { http, chains, ..Listener::default() }));
            }
            (_, Some(listener)) => {
                merge(&mut listener.chains, chains());
                listener.is_http_only = false;
            }
            (_, None) => listeners.push((key, Listener { chains: chains(), ..Listener::default() })),
        }
    }

    fn chains(
        &self,
        egress: &Egress<'r>,
        known: &Known<'r>,
        speaks: Speaks,
        port: u16,
        key: Key,
        blocks: &[String],
    ) -> Vec<Chain> {
        let name = &known.host.name;
        let of_host = || {
            let numbers = egress.virtual_services.iter().copied();
            numbers
                .filter_map(|number| Some((number, self.virtual_services.get(number)?)))
                .filter(move |(_, one)| one.hosts.iter().any(|host| host::overlap(host, name)))
        };
        let mut chains = Vec::new();
        if speaks == Speaks::Tls {
            let mut subnets = blocks.to_vec();
            let mut seen = Vec::new();
            for (number, one) in of_host() {
                for route in one.tls.iter().filter(|route| !route.destinations.is_empty()) {
                    for matches in
                        route.matches.iter().filter(|m| self.caller.fits_connection(&m.caller, port))
                    {
                        // Once named, they hold for the matches after it too.
                        if !matches.destination_subnets.is_empty() {
                            subnets.clone_from(&matches.destination_subnets);
                        }
                        let asked = (&matches.sni_hosts, &matches.destination_subnets);
                        if seen.contains(&asked) {
                            continue;
                        }
                        seen.push(asked);
                        chains.push(Chain {
                            server_names: matches.sni_hosts.clone(),
                            subnets: subnets.clone(),
                            clusters: self.clusters(&route.destinations, port),
                            virtual_service: Some(number),
                            place: Some(route.place.clone()),
                        });
                    }
                }
            }
            if chains.is_empty() {
                // At an address of its own or of a pod it needs no name to be told from others.
                let shares_address = !subnets.is_empty() || known.host.address.is_none() && key.is_none();
                let mut server_names = Vec::new();
                if shares_address {
                    server_names.push(name.clone());
                    for alias in &known.aliases {
                        server_names.push(alias.clone());
                        server_names.extend(short_names(alias, self.caller.namespace));
                    }
                }
                chains.push(self.default_chain(known, port, server_names, subnets));
            }
            return chains;
        }
        for (number, one) in of_host() {
            for route in one.tcp.iter().filter(|route| !route.destinations.is_empty()) {
                let chain = |subnets: Vec<String>, is_named: bool| Chain {
                    server_names: Vec::new(),
                    subnets,
                    clusters: self.clusters(&route.destinations, port),
                    virtual_service: Some(number).filter(|_| is_named),
                    place: Some(route.place.clone()),
                };
                if route.matches.is_empty() {
                    chains.push(chain(blocks.to_vec(), true));
                    return chains;
                }
                let mut subnets: Vec<String> = Vec::new();
                for matches in route.matches.iter().filter(|m| self.caller.fits_connection(&m.caller, port)) {
                    if matches.destination_subnets.is_empty() {
                        chains.push(chain(blocks.to_vec(), true));
                        return chains;
                    }
                    subnets.extend(matches.destination_subnets.iter().cloned());
                }
                if !subnets.is_empty() {
                    chains.push(chain(subnets, true));
                }
            }
        }
        chains.push(self.default_chain(known, port, Vec::new(), blocks.to_vec()));
        chains
    }

    fn default_chain(
        &self,
        known: &Known<'r>,
        port: u16,
        server_names: Vec<String>,
        subnets: Vec<String>,
    ) -> Chain {
        let port = match known.ports.as_slice() {
            [only] => only.number,
            _ => port,
        };
        let cluster = Cluster { host: known.host.name.clone(), port, subset: String::new() };
        Chain {
            server_names,
            subnets,
            clusters: vec![Weighted { cluster, weight: 1, place: None }],
            virtual_service: None,
            place: None,
        }
    }

    fn clusters(&self, destinations: &[Destination], port: u16) -> Vec<Weighted> {
        clusters(destinations, port, &|name| self.scope.host(name))
    }
}

/// The destinations of a tls or tcp route (`buildOutboundNetworkFilters`): without a port it is the host's
/// only one, else the one that the caller asked for.
pub(crate) fn clusters<'k, 'r: 'k>(
    destinations: &[Destination],
    port: u16,
    known: &dyn Fn(&str) -> Option<&'k Known<'r>>,
) -> Vec<Weighted> {
    let single = destinations.len() == 1;
    let taken = destinations.iter().filter(|destination| single || destination.weight > 0);
    taken
        .map(|destination| {
            let known = known(&destination.host);
            let only = known.and_then(|known| match known.ports.as_slice() {
                [only] => Some(only.number),
                _ => None,
            });
            Weighted {
                cluster: Cluster {
                    host: known
                        .and_then(|known| known.host.alias_of.clone())
                        .unwrap_or_else(|| destination.host.clone()),
                    port: destination.port.or(only).unwrap_or(port),
                    subset: destination.subset.clone(),
                },
                weight: if single { 1 } else { destination.weight },
                place: Some(destination.place.clone()),
            }
        })
        .collect()
}

/// Adds chains that do not take what others take already (`mergeTCPFilterChains`).
fn merge(chains: &mut Vec<Chain>, new: Vec<Chain>) {
    for chain in new {
        let is_taken =
            chains.iter().any(|old| old.server_names == chain.server_names && old.subnets == chain.subnets);
        if !is_taken {
            chains.push(chain);
        }
    }
}
