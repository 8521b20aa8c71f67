//! One request of one caller: the answer in whole.

use std::net::IpAddr;

use crate::host;
use crate::mesh_config::Outbound;
use crate::routing::action::{Action, Weighted};
use crate::routing::gateway::Tls;
use crate::routing::listener::{Chain, Http, Listener};
use crate::routing::registry::{Addressing, Host};
use crate::routing::request::{Protocol, Request};
use crate::routing::table::{Route, Table};
use crate::routing::{Landing, Proxy};
use crate::virtual_service::{Place, VirtualService};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is sent to one of the destinations.
    Routed,
    /// No route takes it: 404.
    NotFound,
    /// Its routes lead to destinations that the proxy does not have: 503.
    NoCluster,
    /// The proxy does not know the host and sends it on as it is.
    Passthrough,
    /// The proxy does not know the host, and is told to send nothing there.
    Blocked,
    /// Nothing listens, or no way is for this server name: the connection is closed.
    Reset,
    /// The proxy refuses what istiod gives it for this port, and goes on as before: unknown.
    Refused,
    /// The proxy answers with a redirect.
    Redirect,
    /// The proxy answers itself.
    Direct,
}

/// What a caller's request takes.
#[derive(Clone, Debug)]
pub struct Resolution<'r> {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The virtual host in the proxy (`HOST:PORT`), for HTTP.
    pub virtual_host: Option<String>,
    /// The route, for HTTP.
    pub route: Option<Route>,
    /// The routes of the virtual host, where none of them takes the request.
    pub missed: Vec<Route>,
    /// The VirtualService; `None` where none takes part.
    pub virtual_service: Option<&'r VirtualService>,
    /// The route in the VirtualService or its delegate.
    pub place: Option<Place>,
    /// The destinations with their shares.
    pub destinations: Vec<(Weighted, Landing<'r>)>,
    /// VirtualServices for the same host that this caller does not go by, and why.
    pub shadowed: Vec<Shadowed<'r>>,
}

/// A VirtualService that a caller does not go by.
#[derive(Clone, Debug)]
pub struct Shadowed<'r> {
    /// The VirtualService.
    pub virtual_service: &'r VirtualService,
    /// Why.
    pub why: Why,
}

/// Why a caller does not go by a VirtualService.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its `gateways` leave out the caller.
    OtherGateway,
    /// Its `exportTo` leaves out the caller's namespace.
    NotExported,
    /// The caller's Sidecar object does not import it.
    NotImported,
    /// None of its routes is for this caller and port.
    NoRouteForCaller,
    /// Another one comes before it: private before exported before public, then the oldest.
    Later,
    /// Another one names the host more exactly.
    LessSpecific,
}

impl<'r, 'w> Proxy<'r, 'w> {
    /// What becomes of a request.
    #[must_use]
    pub fn resolve(&self, request: &Request) -> Resolution<'r> {
        if self.workload.is_gateway { self.at_gateway(request) } else { self.at_sidecar(request) }
    }

    /// The host that a caller means by a name: of its own namespace where it is short.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&'r Host> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let registry = &self.routing().registry;
        let mut candidates = vec![name.clone()];
        match name.matches('.').count() {
            0 => candidates.push(format!("{name}.{}.svc.cluster.local", self.workload.namespace)),
            1 => candidates.push(format!("{name}.svc.cluster.local")),
            2 if name.ends_with(".svc") => candidates.push(format!("{name}.cluster.local")),
            _ => {}
        }
        // Services first: a resolver knows them, and ServiceEntries only where proxies answer for it.
        let all = || candidates.iter().flat_map(|name| registry.named(name));
        all().find(|host| host.is_service()).or_else(|| all().next())
    }

    /// The address that the caller's resolver gives for a host.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<IpAddr> {
        if let Ok(address) = name.parse() {
            return Some(address);
        }
        let host = self.named(name)?;
        match host.kind {
            Addressing::Headless => self.routing().registry.pod_addresses(host).next(),
            Addressing::Alias => self.address(host.alias_of.as_deref()?),
            _ => host.address,
        }
    }

    fn at_sidecar(&self, request: &Request) -> Resolution<'r> {
        let address = request.address.or_else(|| self.address(&request.host));
        let Some(listener) = self.listener(address, request.port) else {
            return self.unknown();
        };
        if listener.is_refused() {
            return self.answer(Outcome::Refused);
        }
        let is_taken = Chain::any_around(&listener.chains, address);
        if let (Protocol::Http, Some(http), false) = (request.speaks, &listener.http, is_taken) {
            let sniffed = match http {
                Http::OfHost(name) => Some(name.as_str()),
                Http::OfPort => None,
            };
            return match self.table(request.port, sniffed) {
                Some(table) => self.routed(&table, request),
                None => self.unknown(),
            };
        }
        self.connected(&listener, request, address)
    }

    fn connected(&self, listener: &Listener, request: &Request, address: Option<IpAddr>) -> Resolution<'r> {
        let server_name = match request.speaks {
            Protocol::Tls => Some(request.server_name.as_deref().unwrap_or(&request.host)),
            Protocol::Http | Protocol::Tcp => None,
        };
        match Chain::choose(&listener.chains, address, server_name) {
            Some(chain) => self.by_chain(chain, &request.host),
            None if listener.is_http_only => self.answer(Outcome::Reset),
            None => self.unknown(),
        }
    }

    fn at_gateway(&self, request: &Request) -> Resolution<'r> {
        let builder = self.gateway();
        let target = builder.target(request.port);
        let Some(listeners) = builder.listeners(target) else { return self.answer(Outcome::Reset) };
        let name = request.server_name.as_deref().unwrap_or(&request.host);
        let found = match request.speaks {
            Protocol::Http => builder.http(&listeners, target).map(Tls::Ends),
            Protocol::Tls => builder.tls(&listeners, target, Some(name)),
            Protocol::Tcp => None,
        };
        match found.or_else(|| builder.tcp(&listeners).map(Tls::Passes)) {
            Some(Tls::Ends(table)) => self.routed(&table, request),
            Some(Tls::Passes(chain)) => self.by_chain(&chain, &request.host),
            Some(Tls::Refused) => self.answer(Outcome::Refused),
            None => self.answer(Outcome::Reset),
        }
    }

    fn routed(&self, table: &Table, request: &Request) -> Resolution<'r> {
        let Some(host) = table.host(&request.domain()) else {
            return if table.catches_all { self.unknown() } else { self.answer(Outcome::NotFound) };
        };
        let mut answer = self.answer(Outcome::NotFound);
        answer.virtual_host = Some(host.name.clone());
        let name = host.name.rsplit_once(':').map_or(host.name.as_str(), |(name, _)| name);
        if host.redirects && request.speaks != Protocol::Tls {
            answer.outcome = Outcome::Redirect;
            return answer;
        }
        let route = host
            .routes
            .iter()
            .find(|route| route.matches.as_ref().is_none_or(|matches| request.fits(matches)));
        if let Some(route) = route {
            match &route.action {
                Action::Forward { clusters, .. } => self.land(&mut answer, clusters),
                Action::Redirect(_) => answer.outcome = Outcome::Redirect,
                Action::Direct(_) => answer.outcome = Outcome::Direct,
            }
            answer.virtual_service = self.virtual_service(route.virtual_service);
            answer.place.clone_from(&route.place);
            answer.route = Some(route.clone());
        } else {
            // The virtual host is somebody's, though none of its routes takes this request.
            let first = host.routes.iter().find_map(|route| route.virtual_service);
            answer.virtual_service = self.virtual_service(first);
            answer.missed.clone_from(&host.routes);
        }
        answer.shadowed = self.shadowed(name, request.port, answer.virtual_service);
        answer
    }

    fn by_chain(&self, chain: &Chain, host: &str) -> Resolution<'r> {
        let mut answer = self.answer(Outcome::Routed);
        self.land(&mut answer, &chain.clusters);
        answer.virtual_service = self.virtual_service(chain.virtual_service);
        answer.place.clone_from(&chain.place);
        let name = self.named(host).map_or(host, |host| host.name.as_str());
        answer.shadowed = self.shadowed(name, 0, answer.virtual_service);
        answer
    }

    fn land(&self, answer: &mut Resolution<'r>, clusters: &[Weighted]) {
        answer.destinations = clusters.iter().map(|one| (one.clone(), self.landing(&one.cluster))).collect();
        let any = answer.destinations.iter().any(|(_, landing)| landing.exists);
        answer.outcome = if any { Outcome::Routed } else { Outcome::NoCluster };
    }

    fn virtual_service(&self, number: Option<usize>) -> Option<&'r VirtualService> {
        self.routing().virtual_services.get(number?)
    }

    fn answer(&self, outcome: Outcome) -> Resolution<'r> {
        Resolution {
            outcome,
            virtual_host: None,
            route: None,
            missed: Vec::new(),
            virtual_service: None,
            place: None,
            destinations: Vec::new(),
            shadowed: Vec::new(),
        }
    }

    fn unknown(&self) -> Resolution<'r> {
        self.answer(match self.scope.outbound {
            Outbound::AllowAny => Outcome::Passthrough,
            Outbound::RegistryOnly => Outcome::Blocked,
        })
    }

    /// The VirtualServices that name a host and that this caller does not go by. At a gateway routes are
    /// joined, so that none shadows another.
    #[must_use]
    pub fn shadowed(&self, name: &str, port: u16, taken: Option<&VirtualService>) -> Vec<Shadowed<'r>> {
        let all = &self.routing().virtual_services;
        let gateways = self.gateways();
        let egress = self.scope.egress_for(port);
        let is_same = |one: &VirtualService, other: &VirtualService| one.object.key() == other.object.key();
        let exact = taken.is_some_and(|taken| taken.hosts.iter().any(|host| host == name));
        let caller = self.caller(&gateways);
        all.all()
            .iter()
            .enumerate()
            .filter(|(_, one)| one.hosts.iter().any(|host| host::overlap(host, name)))
            .filter(|(_, one)| !taken.is_some_and(|taken| is_same(one, taken)))
            .filter_map(|(number, one)| {
                let bound: Vec<&String> =
                    one.gateways.iter().filter(|gateway| gateways.contains(gateway)).collect();
                let is_known = bound
                    .iter()
                    .any(|gateway| all.for_gateway(&self.workload.namespace, gateway).any(|n| n == number));
                let why = if bound.is_empty() {
                    Why::OtherGateway
                } else if !is_known {
                    Why::NotExported
                } else if self.workload.is_gateway {
                    return None;
                } else if egress.is_some_and(|egress| !egress.virtual_services.contains(&number)) {
                    Why::NotImported
                } else if !one.http.iter().any(|route| {
                    route.matches.is_empty() || route.matches.iter().any(|m| caller.fits(&m.caller, port))
                }) {
                    Why::NoRouteForCaller
                } else if exact && !one.hosts.iter().any(|host| host == name) {
                    Why::LessSpecific
                } else {
                    Why::Later
                };
                Some(Shadowed { virtual_service: one, why })
            })
            .collect()
    }
}
