//! The routes that carry a service, and for whom each is in force.

use std::collections::BTreeSet;

use crate::host;
use crate::routing::action::Action;
use crate::routing::registry::Host;
use crate::routing::table::Table;
use crate::routing::{Callers, Proxy, Routing};
use crate::virtual_service::{CallerMatch, ConnectionRoute, Destination, Place, VirtualService};

/// Which list of a VirtualService a route is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// `http`.
    Http,
    /// `tls`.
    Tls,
    /// `tcp`.
    Tcp,
}

/// A route with a destination that is the service.
#[derive(Clone, Debug)]
pub struct Carrier<'r> {
    /// The VirtualService; of a delegated route the root.
    pub virtual_service: &'r VirtualService,
    /// Which list it is in.
    pub layer: Layer,
    /// What a person calls it: its name, else its pointer in short (`http[0]`).
    pub name: String,
    /// Where it stands; of a delegated route in the delegate.
    pub place: Place,
    /// Its destinations, those of other hosts too.
    pub destinations: &'r [Destination],
    /// Whether it takes only some requests.
    pub has_match: bool,
    /// The ports that its matches ask for; any where empty.
    pub ports: BTreeSet<u16>,
    /// Whom it is in force for.
    pub in_force: Vec<Client>,
}

/// Callers that a route is in force for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    /// The namespace.
    pub namespace: String,
    /// The gateway, if it is one.
    pub gateway: Option<String>,
    /// How many proxies run.
    pub proxies: usize,
    /// The position among [`Routing::callers`].
    pub callers: usize,
}

impl Carrier<'_> {
    /// The weights, in the order of the destinations.
    #[must_use]
    pub fn weights(&self) -> Vec<u32> {
        match self.destinations {
            [only] => vec![if only.weight == 0 { 100 } else { only.weight }],
            several => several.iter().map(|destination| destination.weight).collect(),
        }
    }

    /// Whether it splits requests at all.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.destinations.len() > 1
    }
}

/// All routes that carry a host, each with whom it is in force for.
#[must_use]
pub fn carriers<'r, 'w>(
    routing: &'r Routing<'w>,
    host: &'r Host,
    callers: &[Callers<'w>],
) -> Vec<Carrier<'r>> {
    let mut found = routes(routing, host);
    for (number, (group, proxy)) in callers.iter().zip(routing.proxies(callers)).enumerate() {
        let places = in_force(&proxy, host);
        for carrier in &mut found {
            let key = carrier.place.key();
            if places.contains(&key) {
                carrier.in_force.push(Client {
                    namespace: group.workload.namespace.clone(),
                    gateway: group.workload.is_gateway.then(|| group.workload.name.clone()),
                    proxies: group.proxies,
                    callers: number,
                });
            }
        }
    }
    found
}

fn routes<'r>(routing: &'r Routing<'_>, host: &'r Host) -> Vec<Carrier<'r>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let leads =
        |destinations: &[Destination]| destinations.iter().any(|destination| destination.host == host.name);
    for one in routing.virtual_services.all() {
        let http = one.http.iter().map(|route| {
            let name = Some(&route.name).filter(|name| !name.is_empty());
            let asked: Vec<&CallerMatch> = route.matches.iter().map(|matches| &matches.caller).collect();
            (Layer::Http, name, &route.place, &route.destinations, asked)
        });
        let connection = |layer: Layer, routes: &'r [ConnectionRoute]| {
            routes.iter().map(move |route| {
                let asked: Vec<&CallerMatch> = route.matches.iter().map(|matches| &matches.caller).collect();
                (layer, None, &route.place, &route.destinations, asked)
            })
        };
        let other = connection(Layer::Tls, &one.tls).chain(connection(Layer::Tcp, &one.tcp));
        for (layer, name, place, destinations, asked) in http.chain(other) {
            // A delegate's route stands once, however many roots lead to it.
            if !leads(destinations) || !seen.insert(place.key()) {
                continue;
            }
            found.push(Carrier {
                virtual_service: one,
                layer,
                name: name.cloned().unwrap_or_else(|| short(&place.pointer)),
                place: place.clone(),
                destinations,
                has_match: !asked.is_empty(),
                // One match without a port takes them all.
                ports: asked.iter().map(|asked| asked.port).collect::<Option<_>>().unwrap_or_default(),
                in_force: Vec::new(),
            });
        }
    }
    found
}

/// `/spec/http/0` as people say it: `http[0]`.
fn short(pointer: &str) -> String {
    let rest = pointer.strip_prefix("/spec/").unwrap_or(pointer);
    rest.split_once('/').map_or_else(|| rest.to_owned(), |(list, index)| format!("{list}[{index}]"))
}

/// The routes with a destination that is the host which a proxy has.
fn in_force(proxy: &Proxy<'_, '_>, host: &Host) -> BTreeSet<(String, String)> {
    let mut places = BTreeSet::new();
    for table in tables(proxy, host) {
        let routes = table.hosts.iter().flat_map(|host| &host.routes);
        for route in routes.filter(|route| match &route.action {
            // What has weight 0 is not among them: the route is the service's all the same.
            Action::Forward { .. } => true,
            Action::Redirect(_) | Action::Direct(_) => false,
        }) {
            places.extend(route.place.as_ref().map(Place::key));
        }
    }
    for port in host.ports.iter().filter(|_| !proxy.workload.is_gateway) {
        let listener = proxy.listener(proxy.address(&host.name), port.number);
        for chain in listener.iter().flat_map(|listener| &listener.chains) {
            places.extend(chain.place.as_ref().map(Place::key));
        }
    }
    for chain in proxy.gateway_chains() {
        places.extend(chain.place.as_ref().map(Place::key));
    }
    places
}

/// The routes by which a proxy can reach a host: under its own name, and under those of VirtualServices that
/// lead to it.
pub(crate) fn tables(proxy: &Proxy<'_, '_>, host: &Host) -> Vec<Table> {
    if proxy.workload.is_gateway {
        return proxy.gateway_tables();
    }
    let names = names(proxy.routing(), host);
    // Routes for hosts that nobody has registered are at port 80.
    let ports: BTreeSet<u16> = names
        .iter()
        .filter_map(|name| proxy.scope.host(name))
        .flat_map(|known| &known.ports)
        .filter(|port| port.speaks.may_be_http())
        .map(|port| port.number)
        .chain([80])
        .collect();
    ports.into_iter().filter_map(|port| proxy.table_of(port, None, Some(&names))).collect()
}

/// The hosts of all VirtualServices that lead to a host, and its own name.
fn names(routing: &Routing<'_>, target: &Host) -> BTreeSet<String> {
    let mut names = BTreeSet::from([target.name.clone()]);
    for one in routing.virtual_services.all() {
        let leads = |destinations: &[Destination]| {
            destinations.iter().any(|destination| destination.host == target.name)
        };
        let any = one.http.iter().any(|route| leads(&route.destinations));
        if !any {
            continue;
        }
        for name in &one.hosts {
            if name.starts_with('*') {
                let known = routing.registry.hosts().iter().map(|host| &host.name);
                names.extend(known.filter(|known| host::covers(name, known)).cloned());
            }
            names.insert(name.clone());
        }
    }
    names
}
