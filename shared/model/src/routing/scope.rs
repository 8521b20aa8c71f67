//! What a caller's proxy knows of: hosts and VirtualServices, by its namespace and its Sidecar object.
//!
//! Rules: `pilot/pkg/model/sidecar.go`, `SelectVirtualServices` in `pilot/pkg/model/virtualservice.go`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::host;
use crate::mesh_config::Outbound;
use crate::routing::registry::{Addressing, Host, Port, Registry, Speaks};
use crate::routing::virtual_services::VirtualServices;
use crate::sidecar::{EgressListener, Sidecar};
use crate::virtual_service::{MESH, VirtualService};

/// A host as a proxy knows it: perhaps with fewer ports or aliases than it has.
#[derive(Clone, Debug)]
pub struct Known<'r> {
    /// The host.
    pub host: &'r Host,
    /// The ports that the proxy knows.
    pub ports: Vec<Port>,
    /// The aliases that the proxy knows.
    pub aliases: Vec<String>,
}

impl<'r> Known<'r> {
    fn all(host: &'r Host) -> Self {
        Self { host, ports: host.ports.clone(), aliases: host.aliases.clone() }
    }

    fn with_port(mut self, number: u16) -> Option<Self> {
        self.ports.retain(|port| port.number == number);
        (!self.ports.is_empty()).then_some(self)
    }

    /// The port of a number.
    #[must_use]
    pub fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }
}

/// Where an egress listener listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// An address.
    Address(IpAddr),
    /// A socket in the file system.
    Socket,
}

/// One egress listener of a proxy.
#[derive(Clone, Debug)]
pub struct Egress<'r> {
    /// The port that it is for, and how it speaks; any where absent.
    pub port: Option<(u16, Speaks)>,
    /// Whether callers use it as an HTTP proxy.
    pub is_http_proxy: bool,
    /// Where it listens, if callers have to send to it there (`bind`).
    pub bind: Option<Bind>,
    /// The hosts that callers can name here.
    pub hosts: Vec<Known<'r>>,
    /// The numbers of the VirtualServices, in the order in which they are tried.
    pub virtual_services: Vec<usize>,
}

impl Egress<'_> {
    /// For a host, the number of the VirtualService with the most specific host for it
    /// (`computeWildcardHostVirtualServiceIndex`).
    #[must_use]
    pub fn most_specific(&self, all: &[VirtualService], name: &str) -> Option<usize> {
        let hosts = || {
            self.virtual_services
                .iter()
                .filter_map(|number| Some((*number, all.get(*number)?)))
                .flat_map(|(number, one)| one.hosts.iter().map(move |host| (number, host.as_str())))
        };
        let best = host::most_specific(name, hosts().map(|(_, host)| host))?;
        hosts().find(|(_, host)| *host == best).map(|(number, _)| number)
    }
}

/// What a proxy knows of.
#[derive(Clone, Debug)]
pub struct Scope<'r> {
    /// The egress listeners; none of a gateway.
    pub egress: Vec<Egress<'r>>,
    /// The hosts that it has clusters for.
    pub hosts: Hosts<'r>,
    /// What it does with requests for other hosts.
    pub outbound: Outbound,
}

/// Hosts, one of each name.
#[derive(Clone, Debug, Default)]
pub struct Hosts<'r> {
    all: Vec<Known<'r>>,
    by_name: HashMap<&'r str, usize>,
}

impl<'r> Hosts<'r> {
    /// All of them, in the order in which they were met.
    #[must_use]
    pub fn all(&self) -> &[Known<'r>] {
        &self.all
    }

    /// The host of a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Known<'r>> {
        self.all.get(*self.by_name.get(name)?)
    }
}

impl<'r> Scope<'r> {
    /// Of a gateway: all that is exported to its namespace.
    pub(crate) fn of_gateway(registry: &'r Registry, namespace: &str) -> Self {
        let mut hosts = Hosts::default();
        for host in exported_to(registry, namespace) {
            hosts.add(Known::all(host));
        }
        Self { egress: Vec::new(), hosts, outbound: Outbound::RegistryOnly }
    }

    /// Of a sidecar.
    pub(crate) fn of_sidecar(
        registry: &'r Registry,
        virtual_services: &VirtualServices,
        namespace: &str,
        sidecar: Option<&Sidecar>,
        mesh_outbound: Outbound,
    ) -> Self {
        let everything = [EgressListener {
            hosts: vec!["*/*".to_owned()],
            port: None,
            protocol: String::new(),
            bind: None,
            pointer: String::new(),
        }];
        let listeners =
            sidecar.and_then(|sidecar| sidecar.egress.as_deref()).unwrap_or(everything.as_slice());
        let egress: Vec<Egress<'r>> = listeners
            .iter()
            .map(|listener| egress(registry, virtual_services, namespace, listener))
            .collect();
        let hosts = imported(registry, virtual_services.all(), namespace, &egress);
        Self {
            egress,
            hosts,
            outbound: sidecar.and_then(|sidecar| sidecar.outbound).unwrap_or(mesh_outbound),
        }
    }

    /// The host of a name, as the proxy knows it (`ServiceForHostname`).
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Known<'r>> {
        self.hosts.named(name)
    }

    /// The listener that answers for a port (`GetEgressListenerForRDS`).
    #[must_use]
    pub fn egress_for(&self, port: u16) -> Option<&Egress<'r>> {
        self.egress.iter().find(|egress| egress.port.is_none_or(|(number, _)| number == port))
    }
}

/// The hosts that a namespace may know: first those that are exported to some namespaces only.
fn exported_to<'r>(registry: &'r Registry, namespace: &str) -> Vec<&'r Host> {
    let is_public = |host: &&Host| host.export_to.is_empty() || host.export_to.iter().any(|to| to == "*");
    let (public, private): (Vec<&Host>, Vec<&Host>) = registry.hosts().iter().partition(is_public);
    let private = private.into_iter().filter(|host| {
        // `~` hides it, whatever else is listed.
        !host.export_to.iter().any(|to| to == "~") && host.is_visible(namespace)
    });
    private.chain(public).collect()
}

/// `hosts` of an egress listener, by namespace.
#[derive(Default)]
struct Imports {
    of: BTreeMap<String, Import>,
}

#[derive(Default)]
struct Import {
    hosts: Vec<String>,
    excluded: Vec<String>,
}

impl Import {
    fn excludes(&self, name: &str) -> bool {
        self.excluded.iter().any(|excluded| host::is_within(name, excluded))
    }

    fn has(&self, name: &str, matches: impl Fn(&str, &str) -> bool) -> bool {
        self.hosts.iter().any(|host| {
            let both_are_exact = !host.starts_with('*') && !name.starts_with('*');
            if both_are_exact { host == name } else { host == name || matches(name, host) }
        })
    }

    fn has_service(&self, name: &str) -> bool {
        self.has(name, host::is_within)
    }

    /// The old, two-way matching, which VirtualServices keep (`VSMatches`).
    fn has_virtual_service(&self, name: &str) -> bool {
        self.has(name, host::overlap)
    }
}

impl Imports {
    fn read(listener: &EgressListener, namespace: &str) -> Self {
        let mut imports = Self::default();
        for entry in &listener.hosts {
            let Some((from, name)) = entry.split_once('/') else { continue };
            let excluded = from.strip_prefix('~').map(|from| if from.is_empty() { "*" } else { from });
            let from = match excluded.unwrap_or(from) {
                "." => namespace,
                other => other,
            };
            let import = imports.of.entry(from.to_owned()).or_default();
            let list = if excluded.is_some() { &mut import.excluded } else { &mut import.hosts };
            list.push(name.to_owned());
        }
        imports
    }

    /// Whether every import names one host of one namespace.
    fn are_exact(&self) -> bool {
        self.of.iter().all(|(from, import)| {
            import.hosts.is_empty() || from != "*" && !import.hosts.iter().any(|host| host.starts_with('*'))
        })
    }

    /// The imports that hold for a namespace: of its own name, and of all.
    fn for_namespace(&self, namespace: &str) -> impl Iterator<Item = &Import> {
        self.of.get(namespace).into_iter().chain(self.of.get("*"))
    }
}

fn egress<'r>(
    registry: &'r Registry,
    virtual_services: &VirtualServices,
    namespace: &str,
    listener: &EgressListener,
) -> Egress<'r> {
    let imports = Imports::read(listener, namespace);
    let is_http_proxy = listener.protocol.eq_ignore_ascii_case("http_proxy");
    let only = listener.port.filter(|_| !is_http_proxy);
    let mut hosts: Vec<Known<'r>> = Vec::new();
    let candidates = if imports.are_exact() {
        one_each(registry, namespace, &imports)
    } else {
        exported_to(registry, namespace)
    };
    for host in candidates {
        if imports.for_namespace(host.namespace()).any(|import| import.excludes(&host.name)) {
            continue;
        }
        let known = imports.for_namespace(host.namespace()).find_map(|import| {
            let known = Some(Known::all(host)).filter(|_| import.has_service(&host.name))?;
            let mut known = match only {
                Some(port) => known.with_port(port)?,
                None => known,
            };
            known.aliases.retain(|alias| import.has_service(alias));
            Some(known)
        });
        hosts.extend(known);
    }
    one_namespace_each(&mut hosts, namespace);
    let selected = virtual_services.for_gateway(namespace, MESH).filter(|number| {
        virtual_services.get(*number).is_some_and(|one| {
            imports.for_namespace(&one.object.namespace).any(|import| {
                one.hosts.iter().any(|host| {
                    import.has_virtual_service(host)
                        && !imports
                            .for_namespace(&one.object.namespace)
                            .any(|excluding| excluding.excludes(host))
                })
            })
        })
    });
    Egress {
        port: listener.port.map(|port| (port, Speaks::of_word(&listener.protocol))),
        is_http_proxy,
        bind: listener.bind.as_deref().map(|bind| bind.parse().map_or(Bind::Socket, Bind::Address)),
        virtual_services: selected.collect(),
        hosts,
    }
}

/// What exact imports name. They are looked up, and of a name and namespace that gives only one host: the Service,
/// else the oldest ServiceEntry; with any wildcard beside them it would be all (`servicesForExactHosts`).
fn one_each<'r>(registry: &'r Registry, namespace: &str, imports: &Imports) -> Vec<&'r Host> {
    let is_named = |host: &Host| {
        imports.of.get(host.namespace()).is_some_and(|import| import.hosts.contains(&host.name))
            && registry.of(&host.name, host.namespace()).is_some_and(|one| std::ptr::eq(one, host))
    };
    registry.hosts().iter().filter(|host| is_named(host) && host.is_visible(namespace)).collect()
}

/// Of hosts with one name, those of one namespace: the caller's, else a Service's, else the first.
fn one_namespace_each(hosts: &mut Vec<Known<'_>>, namespace: &str) {
    let mut taken: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for known in hosts.iter() {
        let (owner, is_service) = (known.host.namespace(), known.host.is_service());
        let better = match taken.get(&known.host.name) {
            None => true,
            Some(_) if owner == namespace => true,
            Some((before, was_service)) => !was_service && is_service && before != namespace,
        };
        if better {
            taken.insert(known.host.name.clone(), (owner.to_owned(), is_service));
        }
    }
    hosts.retain(|known| {
        taken.get(&known.host.name).is_some_and(|(owner, _)| owner == known.host.namespace())
    });
}

/// The hosts that a sidecar has clusters for: those of its listeners, and those that the listeners'
/// VirtualServices lead to (`collectImportedServices`).
fn imported<'r>(
    registry: &'r Registry,
    all: &[VirtualService],
    namespace: &str,
    egress: &[Egress<'r>],
) -> Hosts<'r> {
    let mut hosts = Hosts::default();
    for listener in egress {
        for known in &listener.hosts {
            hosts.add(known.clone());
        }
        let only = listener.port.filter(|_| !listener.is_http_proxy).map(|(number, _)| number);
        for virtual_service in listener.virtual_services.iter().filter_map(|number| all.get(*number)) {
            for (name, ports) in destinations(virtual_service, namespace) {
                let Some(host) = pick(registry, &name, namespace) else { continue };
                let mut known = Known::all(host);
                match only {
                    Some(port) => known.ports.retain(|one| one.number == port),
                    None if ports.contains(&0) => {}
                    None => known.ports.retain(|one| ports.contains(&one.number)),
                }
                if !known.ports.is_empty() || host.ports.is_empty() && only.is_none() {
                    hosts.add(known);
                }
            }
        }
    }
    hosts
}

/// The hosts that a VirtualService leads callers of a namespace to, with the ports that it names; 0 where
/// it names none (`virtualServiceDestinationsFilteredBySourceNamespace`).
fn destinations(one: &VirtualService, namespace: &str) -> BTreeMap<String, BTreeSet<u16>> {
    let mut found: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    let mut note = |name: &str, port: Option<u16>| {
        found.entry(name.to_owned()).or_default().insert(port.unwrap_or(0));
    };
    for route in &one.http {
        let mut is_for_namespace = true;
        for asked in route.matches.iter().map(|m| m.caller.namespace.as_str()).filter(|n| !n.is_empty()) {
            is_for_namespace = asked == namespace;
            if is_for_namespace {
                break;
            }
        }
        if !is_for_namespace {
            continue;
        }
        for destination in &route.destinations {
            note(&destination.host, destination.port);
        }
        for mirror in crate::routing::action::mirrors(route) {
            note(&mirror.host, mirror.port);
        }
    }
    for route in one.tcp.iter().chain(&one.tls) {
        for destination in &route.destinations {
            note(&destination.host, destination.port);
        }
    }
    found
}

/// The host of a name that a namespace gets: its own, else a Service, else the oldest ServiceEntry.
fn pick<'r>(registry: &'r Registry, name: &str, namespace: &str) -> Option<&'r Host> {
    // Its own even where it is exported to others only: visibility is not asked there.
    if let Some(own) = registry.of(name, namespace) {
        return Some(own);
    }
    let owners: BTreeSet<&str> = registry.named(name).map(Host::namespace).collect();
    let mut visible: Vec<&Host> = owners
        .into_iter()
        .filter_map(|owner| registry.of(name, owner))
        .filter(|host| host.is_visible(namespace))
        .collect();
    if let Some(service) = visible.iter().find(|host| host.is_service()) {
        return Some(service);
    }
    visible.sort_by(|a, b| a.age().cmp(b.age()));
    visible.first().copied()
}

impl<'r> Hosts<'r> {
    /// Adds a host, or its ports to what is known under its name (`appendSidecarServices`).
    fn add(&mut self, new: Known<'r>) {
        let at = self.by_name.get(new.host.name.as_str()).copied();
        let Some(old) = at.and_then(|at| self.all.get_mut(at)) else {
            self.by_name.insert(&new.host.name, self.all.len());
            self.all.push(new);
            return;
        };
        if old.host.is_service() != new.host.is_service() {
            if new.host.is_service() {
                *old = new;
            }
            return;
        }
        let alike = old.host.namespace() == new.host.namespace()
            && old.host.kind == new.host.kind
            && old.host.selector() == new.host.selector()
            && old.host.object.get("/metadata/labels") == new.host.object.get("/metadata/labels")
            && old.host.export_to.iter().collect::<BTreeSet<_>>()
                == new.host.export_to.iter().collect::<BTreeSet<_>>();
        if alike {
            for port in new.ports {
                if old.port(port.number).is_none() {
                    old.ports.push(port);
                }
            }
        }
    }
}

impl Addressing {
    /// Whether callers' requests go to the addresses that they asked for.
    #[must_use]
    pub fn is_passthrough(self) -> bool {
        matches!(self, Self::Headless | Self::Entry(crate::service_entry::Resolution::None))
    }
}
