//! The HTTP routes of a proxy: virtual hosts, each with its routes in order.
//!
//! Rules: `BuildSidecarOutboundVirtualHosts` in `pilot/pkg/networking/core/httproute.go`,
//! `BuildSidecarVirtualHostWrapper` in `pilot/pkg/networking/core/route/route.go`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::host;
use crate::labels::Labels;
use crate::routing::action::{Action, Cluster, Fault, fault};
use crate::routing::registry::Addressing;
use crate::routing::scope::{Egress, Known};
use crate::virtual_service::{CallerMatch, HttpMatch, MESH, Place, StringMatch, VirtualService};

/// One route: what it takes, and what it does with it.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name in the proxy: the route's, and its match's behind a dot.
    pub name: String,
    /// What it takes; everything where absent.
    pub matches: Option<HttpMatch>,
    /// What it does.
    pub action: Action,
    /// What it breaks on purpose.
    pub fault: Option<Fault>,
    /// The number of the VirtualService; `None` for what is done without one.
    pub virtual_service: Option<usize>,
    /// The route in its VirtualService, or in a delegate.
    pub place: Option<Place>,
}

impl Route {
    /// Whether it takes every request (`IsCatchAllRoute`).
    #[must_use]
    pub fn is_catch_all(&self) -> bool {
        let Some(matches) = &self.matches else { return true };
        let any_path = match &matches.uri {
            None | Some(StringMatch::Present) => true,
            Some(StringMatch::Prefix(prefix)) => prefix == "/",
            Some(StringMatch::Regex(regex)) => regex == ".*",
            Some(StringMatch::Exact(_)) => false,
        };
        any_path
            && [&matches.method, &matches.authority, &matches.scheme].iter().all(|part| part.is_none())
            && matches.headers.is_empty()
            && matches.without_headers.is_empty()
            && matches.query.is_empty()
    }
}

/// The routes of some domains.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// The name in the proxy: `HOST:PORT`.
    pub name: String,
    /// The Host headers that it is for, without ports; perhaps with a leading wildcard.
    pub domains: Vec<String>,
    /// The routes, the first that matches is taken.
    pub routes: Vec<Route>,
    /// Whether plaintext requests are redirected to https before any route is looked at
    /// (`tls.httpsRedirect` of a Gateway's server).
    pub redirects: bool,
}

/// The virtual hosts behind one listener.
#[derive(Clone, Debug)]
pub struct Table {
    /// The name in the proxy: the port, or `HOST:PORT`.
    pub name: String,
    /// The virtual hosts.
    pub hosts: Vec<VirtualHost>,
    /// Whether requests for other hosts go on as the proxy's policy for them says; else there is no route
    /// for them.
    pub catches_all: bool,
}

impl Table {
    /// The virtual host for a Host header without port: the exact domain, else the longest wildcard.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&VirtualHost> {
        let name = name.to_ascii_lowercase();
        let find = |wanted: &str| {
            self.hosts
                .iter()
                .find(|host| host.domains.iter().any(|domain| domain.eq_ignore_ascii_case(wanted)))
        };
        if let Some(exact) = find(&name) {
            return Some(exact);
        }
        let domains = || self.hosts.iter().flat_map(|host| &host.domains);
        // A wildcard stands for at least one character.
        let covers = |domain: &&String| {
            let suffix = domain.strip_prefix('*').map(str::to_ascii_lowercase);
            suffix.is_some_and(|suffix| {
                !suffix.is_empty() && name.len() > suffix.len() && name.ends_with(&suffix)
            })
        };
        let longest = domains().filter(covers).max_by_key(|domain| domain.len());
        longest.and_then(|domain| find(domain)).or_else(|| find("*"))
    }
}

/// What the routes are made for.
pub(crate) struct Caller<'a> {
    /// The namespace of the proxy.
    pub namespace: &'a str,
    /// The labels of the proxy.
    pub labels: &'a Labels,
    /// The gateways that it stands for; [`MESH`] for a sidecar.
    pub gateways: &'a [String],
}

impl Caller<'_> {
    /// Whether a match is for this caller at a port (`sourceMatchHTTP`).
    pub(crate) fn fits(&self, asked: &CallerMatch, port: u16) -> bool {
        if asked.port.is_some_and(|only| only != port) {
            return false;
        }
        if !asked.gateways.is_empty() {
            return asked.gateways.iter().any(|gateway| self.gateways.contains(gateway));
        }
        self.has_labels(&asked.labels) && (asked.namespace.is_empty() || asked.namespace == self.namespace)
    }

    /// The same for tls and tcp, which look at all parts (`matchTLS`, `matchTCP`).
    pub(crate) fn fits_connection(&self, asked: &CallerMatch, port: u16) -> bool {
        asked.port.is_none_or(|only| only == port)
            && (asked.gateways.is_empty()
                || asked.gateways.iter().any(|gateway| self.gateways.contains(gateway)))
            && self.has_labels(&asked.labels)
            && (asked.namespace.is_empty() || asked.namespace == self.namespace)
    }

    fn has_labels(&self, asked: &Labels) -> bool {
        asked.iter().all(|(name, value)| self.labels.get(name) == Some(value))
    }
}

/// The routes of a VirtualService for a caller and a port, up to the first that takes everything
/// (`BuildHTTPRoutesForVirtualService`).
pub(crate) fn routes(
    one: &VirtualService,
    number: usize,
    caller: &Caller<'_>,
    port: u16,
    locate: &dyn Fn(&str, &str, Option<u16>) -> Cluster,
    default_retries: Option<&Value>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    for http in &one.http {
        let route = |matches: Option<&HttpMatch>| Route {
            name: match matches.map(|matches| matches.name.as_str()) {
                None | Some("") => http.name.clone(),
                Some(name) => format!("{}.{name}", http.name),
            },
            matches: matches.cloned(),
            action: Action::of(http, locate, default_retries),
            fault: fault(http),
            virtual_service: Some(number),
            place: Some(http.place.clone()),
        };
        if http.matches.is_empty() {
            routes.push(route(None));
            break;
        }
        for matches in http.matches.iter().filter(|matches| caller.fits(&matches.caller, port)) {
            routes.push(route(Some(matches)));
            if routes.last().is_some_and(Route::is_catch_all) {
                return routes;
            }
        }
    }
    routes
}

/// What a sidecar's table is made of.
pub(crate) struct Sidecar<'a, 'r> {
    pub caller: Caller<'a>,
    pub egress: &'a Egress<'r>,
    pub virtual_services: &'a [VirtualService],
    pub default_retries: Option<&'a Value>,
    /// Only these of the registered hosts; all where absent.
    pub only: Option<&'a BTreeSet<String>>,
}

impl Sidecar<'_, '_> {
    /// The table of a port, or of one sniffed host's port.
    pub(crate) fn table(&self, port: u16, sniffed: Option<&str>) -> Table {
        let mut hosts = self.virtual_hosts(port);
        let Some(name) = sniffed else {
            return Table { name: port.to_string(), hosts, catches_all: true };
        };
        hosts.retain(|host| host.domains.iter().any(|domain| domain == name));
        if let [only] = hosts.as_mut_slice() {
            only.domains = vec!["*".to_owned()];
        }
        Table { name: format!("{name}:{port}"), hosts, catches_all: false }
    }

    fn virtual_hosts(&self, port: u16) -> Vec<VirtualHost> {
        // Names that were met twice stand for the later one, as in istiod's map.
        let mut services: BTreeMap<String, &Known<'_>> = BTreeMap::new();
        let mut order: Vec<String> = Vec::new();
        let is_wanted = |known: &&Known<'_>| self.only.is_none_or(|only| only.contains(&known.host.name));
        for known in self.egress.hosts.iter().filter(|known| known.port(port).is_some()).filter(is_wanted) {
            let name = known.host.name.to_ascii_lowercase();
            if services.insert(name.clone(), known).is_none() {
                order.push(name);
            }
        }
        let speaks_http = |known: &Known<'_>| known.port(port).is_some_and(|port| port.speaks.may_be_http());
        let locate = |name: &str, subset: &str, asked: Option<u16>| Cluster {
            host: services
                .get(name)
                .and_then(|known| known.host.alias_of.clone())
                .unwrap_or_else(|| name.to_owned()),
            port: asked.unwrap_or(port),
            subset: subset.to_owned(),
        };
        let mut wrappers: Vec<(Vec<String>, Vec<&Known<'_>>, Vec<Route>)> = Vec::new();
        let mut claimed: BTreeSet<String> = BTreeSet::new();
        for number in &self.egress.virtual_services {
            let Some(one) = self.virtual_services.get(*number) else { continue };
            let is_apart = |only: &BTreeSet<String>| {
                !one.hosts.iter().any(|host| only.iter().any(|name| host::overlap(host, name)))
            };
            if self.only.is_some_and(is_apart) {
                continue;
            }
            // Port 80 is special: hosts that nobody has registered have routes there.
            if port != 80 && !self.is_selected(one, &services) {
                continue;
            }
            let routes = routes(one, *number, &self.caller, port, &locate, self.default_retries);
            if routes.is_empty() {
                continue;
            }
            let (names, known) = self.separate(one, *number, &services);
            let known: Vec<&Known<'_>> = known.into_iter().filter(|known| speaks_http(known)).collect();
            if known.is_empty() && port != 80 {
                continue;
            }
            claimed.extend(known.iter().map(|known| known.host.name.to_ascii_lowercase()));
            wrappers.push((names, known, routes));
        }
        for name in &order {
            let Some(known) = services.get(name).filter(|known| speaks_http(known)) else { continue };
            if claimed.contains(name) || known.host.kind == Addressing::Alias {
                continue;
            }
            let cluster = Cluster { host: name.clone(), port, subset: String::new() };
            let route = Route {
                name: "default".to_owned(),
                matches: None,
                action: Action::default_for(cluster, self.default_retries),
                fault: None,
                virtual_service: None,
                place: None,
            };
            wrappers.push((Vec::new(), vec![known], vec![route]));
        }
        self.name(&wrappers, port)
    }

    /// Whether any of its hosts is one that the port has (`selectVirtualServices`).
    fn is_selected(&self, one: &VirtualService, services: &BTreeMap<String, &Known<'_>>) -> bool {
        one.hosts.iter().any(|name| {
            let name = name.to_ascii_lowercase();
            services.contains_key(&name)
                || services.keys().any(|host| {
                    (name.starts_with('*') || host.starts_with('*')) && host::overlap(&name, host)
                })
        })
    }

    /// The hosts of a VirtualService that nobody has registered, and those that somebody has
    /// (`separateVSHostsAndServices`).
    fn separate<'k, 'r>(
        &self,
        one: &VirtualService,
        number: usize,
        services: &BTreeMap<String, &'k Known<'r>>,
    ) -> (Vec<String>, Vec<&'k Known<'r>>) {
        let mut names = Vec::new();
        let mut known = Vec::new();
        let (wildcards, exact): (Vec<&String>, Vec<&String>) =
            one.hosts.iter().partition(|name| name.starts_with('*'));
        for name in exact {
            match services.get(&name.to_ascii_lowercase()) {
                Some(service) => known.push(*service),
                None => names.push(name.clone()),
            }
        }
        for name in wildcards {
            let name = name.to_ascii_lowercase();
            let mut is_registered = false;
            for (host, service) in services.iter().filter(|(host, _)| host::overlap(host, &name)) {
                is_registered = true;
                if self.egress.most_specific(self.virtual_services, host) == Some(number) {
                    known.push(*service);
                }
            }
            if !is_registered {
                names.push(name);
            }
        }
        (names, known)
    }

    /// Gives each its name and domains; what others have already is left out.
    fn name(&self, wrappers: &[(Vec<String>, Vec<&Known<'_>>, Vec<Route>)], port: u16) -> Vec<VirtualHost> {
        let registered: BTreeSet<&str> =
            wrappers.iter().flat_map(|(_, known, _)| known).map(|known| known.host.name.as_str()).collect();
        let mut taken_names: BTreeSet<String> = BTreeSet::new();
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let mut hosts = Vec::new();
        for (names, known, routes) in wrappers {
            let plain = names.iter().map(|name| (name.to_ascii_lowercase(), None));
            let services = known.iter().map(|known| (known.host.name.to_ascii_lowercase(), Some(*known)));
            for (host, known) in plain.chain(services) {
                let name = format!("{host}:{port}");
                if !taken_names.insert(name.clone()) {
                    continue;
                }
                let (mut domains, alternatives) = match known {
                    None => (vec![host], Vec::new()),
                    Some(known) => domains(known, &host, self.caller.namespace),
                };
                domains.retain(|domain| {
                    // A short name gives way to a host that really has it.
                    let is_anothers = alternatives.contains(domain) && registered.contains(domain.as_str());
                    !is_anothers && taken.insert(domain.to_ascii_lowercase())
                });
                if !domains.is_empty() {
                    hosts.push(VirtualHost { name, domains, routes: routes.clone(), redirects: false });
                }
            }
        }
        hosts
    }
}

/// The Host headers by which callers of a namespace can mean a host, and those of them that are short for it
/// (`generateVirtualHostDomains`).
fn domains(known: &Known<'_>, name: &str, namespace: &str) -> (Vec<String>, Vec<String>) {
    let mut domains = Vec::new();
    let mut alternatives = Vec::new();
    for name in std::iter::once(name).chain(known.aliases.iter().map(String::as_str)) {
        domains.push(name.to_owned());
        let short = short_names(name, namespace);
        domains.extend(short.iter().cloned());
        alternatives.extend(short);
    }
    if known.host.kind == Addressing::Headless {
        let pods: Vec<String> = domains.iter().map(|domain| format!("*.{domain}")).collect();
        domains.extend(pods);
    }
    // A block stands among them as it is, though no Host header is one.
    domains.extend(known.host.block.clone());
    domains.extend(known.host.address.map(|address| match address {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    }));
    (domains, alternatives)
}

/// Other names of a host: with a dot at the end, and for a Service without what callers may leave out
/// (`GenerateAltVirtualHosts`).
pub(crate) fn short_names(name: &str, namespace: &str) -> Vec<String> {
    let mut names = Vec::new();
    if name.parse::<std::net::IpAddr>().is_err() {
        names.push(format!("{name}."));
    }
    let Some(service) = name.strip_suffix(".svc.cluster.local") else { return names };
    match service.split_once('.') {
        Some((short, owner)) if owner == namespace => {
            names.extend([short.to_owned(), format!("{service}.svc"), service.to_owned()]);
        }
        Some(_) => names.extend([service.to_owned(), format!("{service}.svc")]),
        None => {}
    }
    names
}

/// The gateway of sidecars, as a list.
pub(crate) fn mesh() -> [String; 1] {
    [MESH.to_owned()]
}
