//! What callers can name: the hosts of Services and ServiceEntries, as one list.
//!
//! Rules: `initServiceRegistry` in `pilot/pkg/model/push_context.go`, `ConvertService` in
//! `pilot/pkg/serviceregistry/kube/conversion.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use crate::host;
use crate::labels::{Labels, labels};
use crate::mesh_config::list;
use crate::object::{Kind, Object};
use crate::protocol::PortProtocol;
use crate::service::{Service, ServicePort, TargetPort};
use crate::service_entry::{Resolution, ServiceEntry};
use crate::world::World;

/// How a port of a host is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP in one of its kinds.
    Http,
    /// TLS, of which the server name is read.
    Tls,
    /// Anything else over TCP.
    Tcp,
    /// HTTP or TCP, by what the connection begins with.
    Sniffed,
    /// UDP: the proxy takes no part.
    Udp,
}

impl Speaks {
    /// Of a word, as in `port.protocol` and port names (`protocol.Parse`).
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        if matches!(word.to_ascii_lowercase().as_str(), "https" | "tls") {
            return Self::Tls;
        }
        match PortProtocol::parse(word) {
            Some(PortProtocol::Http) => Self::Http,
            Some(PortProtocol::Tcp) => Self::Tcp,
            Some(PortProtocol::Udp) => Self::Udp,
            Some(PortProtocol::Sniffed) | None => Self::Sniffed,
        }
    }

    fn of_service_port(port: &ServicePort) -> Self {
        match port.protocol {
            PortProtocol::Http => Self::Http,
            PortProtocol::Sniffed => Self::Sniffed,
            PortProtocol::Udp => Self::Udp,
            PortProtocol::Tcp if port.is_tls => Self::Tls,
            PortProtocol::Tcp => Self::Tcp,
        }
    }

    /// Whether HTTP routes are made for it (`IsHTTPOrSniffed`).
    #[must_use]
    pub fn may_be_http(self) -> bool {
        matches!(self, Self::Http | Self::Sniffed)
    }
}

/// One port of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The number that callers use.
    pub number: u16,
    /// The name, by which endpoints of ServiceEntries are found.
    pub name: String,
    /// How it is spoken to.
    pub speaks: Speaks,
}

/// Where a host's addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// A Service with an address of its own.
    Service,
    /// A headless Service: callers get the pods' addresses.
    Headless,
    /// A Service that is another's name (`ExternalName`).
    Alias,
    /// A ServiceEntry.
    Entry(Resolution),
}

/// A host that callers can name.
#[derive(Clone, Debug)]
pub struct Host {
    /// The name: for a Service in full, for a ServiceEntry as it is written.
    pub name: String,
    /// The Service or ServiceEntry.
    pub object: Arc<Object>,
    /// The ports.
    pub ports: Vec<Port>,
    /// Where its addresses come from.
    pub kind: Addressing,
    /// Its address, where callers get one of its own; for a Service without, one that stands for it.
    pub address: Option<IpAddr>,
    /// A block of addresses that it stands for instead.
    pub block: Option<String>,
    /// Full names of `ExternalName` Services that lead here.
    pub aliases: Vec<String>,
    /// For an alias, the name it leads to.
    pub alias_of: Option<String>,
    /// Which namespaces may know it; everywhere where empty.
    pub export_to: Vec<String>,
    /// The name by which it is sorted among those of the same age.
    pub(crate) sort_name: String,
    created: String,
    number: usize,
}

impl Host {
    /// The namespace of its object.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.object.namespace
    }

    /// Whether it is a Service of Kubernetes.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.object.kind == Kind::Service
    }

    /// When its object was made.
    pub(crate) fn age(&self) -> &str {
        &self.created
    }

    /// What selects its endpoints, as it is written.
    pub(crate) fn selector(&self) -> Option<&Value> {
        let pointer = if self.is_service() { "/spec/selector" } else { "/spec/workloadSelector/labels" };
        self.object.get(pointer).filter(|selector| !selector.is_null())
    }

    /// The port with a number.
    #[must_use]
    pub fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// Whether a namespace may know it (`IsServiceVisible`).
    #[must_use]
    pub fn is_visible(&self, namespace: &str) -> bool {
        host::exported(&self.export_to, self.namespace(), namespace)
    }
}

/// What takes requests for a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// A pod's namespace and name, or the address in a ServiceEntry.
    pub name: String,
    /// The labels that subsets select by.
    pub labels: Labels,
    /// Whether it takes requests now.
    pub ready: bool,
}

/// An endpoint at one of its ports.
struct Instance<'a> {
    endpoint: Endpoint,
    address: Option<IpAddr>,
    /// Whether it has an address: a name is left out where addresses are wanted.
    is_address: bool,
    port_name: &'a str,
    /// The number in the ServiceEntry; that of a Service is found by its name.
    number: Option<u16>,
}

/// All hosts, in the order in which istiod goes through them: the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    hosts: Vec<Host>,
    by_name: BTreeMap<String, Vec<usize>>,
    services: Vec<Service>,
    entries: Vec<ServiceEntry>,
    pods: BTreeMap<String, Vec<Pod>>,
}

#[derive(Clone, Debug)]
struct Pod {
    name: String,
    labels: Labels,
    ready: bool,
    ports: Vec<String>,
    address: Option<IpAddr>,
}

impl Registry {
    /// The hosts of a World.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let mut hosts: Vec<Host> = Vec::new();
        let default = &world.mesh.default_service_export_to;
        for (number, service) in world.services.iter().enumerate() {
            hosts.push(of_service(service, number, default));
        }
        for (number, entry) in world.service_entries.iter().enumerate() {
            hosts.extend(of_entry(entry, number, default));
        }
        hosts.sort_by(|a, b| {
            (&a.created, &a.sort_name, a.namespace()).cmp(&(&b.created, &b.sort_name, b.namespace()))
        });
        alias(&mut hosts);
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, host) in hosts.iter().enumerate() {
            by_name.entry(host.name.clone()).or_default().push(number);
        }
        let mut pods: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
        for object in world.objects().iter().filter(|object| object.kind == Kind::Pod) {
            pods.entry(object.namespace.clone()).or_default().extend(Pod::read(object));
        }
        Self {
            hosts,
            by_name,
            services: world.services.clone(),
            entries: world.service_entries.clone(),
            pods,
        }
    }

    /// All hosts, the oldest first.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The hosts of a name, of all namespaces, the oldest first.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Host> {
        let numbers = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        numbers.iter().filter_map(|number| self.hosts.get(*number))
    }

    /// The host of a name and namespace: the Service, else the oldest ServiceEntry.
    #[must_use]
    pub fn of(&self, name: &str, namespace: &str) -> Option<&Host> {
        let mut candidates = self.named(name).filter(|host| host.namespace() == namespace);
        let first = candidates.next()?;
        if first.is_service() {
            return Some(first);
        }
        Some(candidates.find(|host| host.is_service()).unwrap_or(first))
    }

    /// Whether any pods are in the input: else nothing is known about what is ready.
    #[must_use]
    pub fn knows_pods(&self) -> bool {
        !self.pods.is_empty()
    }

    /// Whether what was read tells what is behind a host: the pods of a Service's selector, or the endpoints that a
    /// ServiceEntry lists. `EndpointSlice`s without a selector and `WorkloadEntry`s are not read.
    #[must_use]
    pub fn knows_endpoints(&self, host: &Host) -> bool {
        let selects = host.selector().and_then(Value::as_object).is_some_and(|labels| !labels.is_empty());
        match host.kind {
            Addressing::Service | Addressing::Headless | Addressing::Alias => selects && self.knows_pods(),
            Addressing::Entry(_) => !selects,
        }
    }

    /// What takes requests for a host's port.
    #[must_use]
    pub fn endpoints(&self, host: &Host, port: u16) -> Vec<Endpoint> {
        host.port(port).map_or_else(Vec::new, |port| self.endpoints_of(host, port))
    }

    /// The same for a port that a proxy knows, which may come from another ServiceEntry of the host.
    ///
    /// Endpoints belong to a namespace and a name, whatever Service or ServiceEntry they come from. Where the
    /// proxy gets them as addresses they are found by the port's name (`BuildClusterLoadAssignment`), and where
    /// it asks DNS by its number (`CopyEndpoints`).
    #[must_use]
    pub fn endpoints_of(&self, host: &Host, port: &Port) -> Vec<Endpoint> {
        let found = if host.kind == Addressing::Entry(Resolution::Dns) {
            self.by_number(host, port)
        } else {
            let mut found = self.at_name(host);
            found.retain(|one| one.port_name == port.name && one.is_address);
            found
        };
        found.into_iter().map(|one| one.endpoint).collect()
    }

    fn by_number<'a>(&'a self, host: &'a Host, port: &Port) -> Vec<Instance<'a>> {
        let mut found = self.at_name(host);
        found.retain(|one| match one.number {
            Some(number) => number == port.number,
            None => one.port_name == port.name,
        });
        found
    }

    /// What is behind a name in a namespace, for each of its ports: the Service's pods, and the endpoints of
    /// all ServiceEntries (`mergeServicesInstancesByNamespaceHost`).
    fn at_name<'a>(&'a self, host: &'a Host) -> Vec<Instance<'a>> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        // Of names to ask DNS in turn a proxy takes only one for each port.
        let mut taken: BTreeSet<u16> = BTreeSet::new();
        for other in self.named(&host.name).filter(|other| other.namespace() == host.namespace()) {
            if !seen.insert((other.is_service(), other.number)) {
                continue;
            }
            if other.is_service() {
                if let Some(service) = self.services.get(other.number) {
                    found.extend(self.of_service(service));
                }
                continue;
            }
            let Some(entry) = self.entries.get(other.number) else { continue };
            let in_turn =
                entry.object.get("/spec/resolution").and_then(Value::as_str) == Some("DNS_ROUND_ROBIN");
            for (endpoint, address) in self.of_entry(host, entry) {
                let is_socket = endpoint.name.starts_with("unix://");
                for port in &entry.ports {
                    let is_first = taken.insert(port.number);
                    if in_turn && !is_first {
                        continue;
                    }
                    found.push(Instance {
                        endpoint: endpoint.clone(),
                        address,
                        is_address: address.is_some() || is_socket || endpoint.name.contains('/'),
                        port_name: &port.name,
                        number: Some(port.number),
                    });
                }
            }
        }
        found
    }

    fn of_service<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = Instance<'a>> {
        let pods = self.pods.get(&service.object.namespace).map_or(&[][..], Vec::as_slice);
        let all_are_ready =
            service.object.get("/spec/publishNotReadyAddresses").and_then(Value::as_bool) == Some(true);
        let selected = pods.iter().filter(move |pod| {
            service.selector.as_ref().is_some_and(|selector| selector.selects(&pod.labels))
        });
        selected.flat_map(move |pod| {
            service.ports.iter().filter(|port| pod.listens(&port.target)).map(move |port| Instance {
                endpoint: Endpoint {
                    name: format!("{}/{}", service.object.namespace, pod.name),
                    labels: pod.labels.clone(),
                    ready: pod.ready || all_are_ready,
                },
                address: pod.address,
                is_address: true,
                port_name: &port.name,
                number: None,
            })
        })
    }

    fn of_entry(&self, host: &Host, entry: &ServiceEntry) -> Vec<(Endpoint, Option<IpAddr>)> {
        if let Some(selector) = &entry.workload_selector {
            let pods = self.pods.get(host.namespace()).map_or(&[][..], Vec::as_slice);
            let selected = pods.iter().filter(|pod| selector.selects(&pod.labels));
            return selected
                .map(|pod| {
                    let name = format!("{}/{}", host.namespace(), pod.name);
                    (Endpoint { name, labels: pod.labels.clone(), ready: pod.ready }, pod.address)
                })
                .collect();
        }
        let endpoint = |name: &str, labels: Labels| {
            (Endpoint { name: name.to_owned(), labels, ready: true }, name.parse().ok())
        };
        // Without endpoints, DNS asks for the host itself.
        if entry.endpoints.is_empty() && entry.resolution == Resolution::Dns {
            return vec![endpoint(&host.name, Labels::new())];
        }
        entry.endpoints.iter().map(|one| endpoint(&one.address, one.labels.clone())).collect()
    }

    /// The addresses of what takes connections to a host's port, ready or not; `None` for what has a name.
    pub(crate) fn instances(&self, host: &Host, port: &Port) -> Vec<Option<IpAddr>> {
        self.by_number(host, port).into_iter().map(|one| one.address).collect()
    }

    /// The addresses of a host's pods.
    pub fn pod_addresses(&self, host: &Host) -> impl Iterator<Item = IpAddr> {
        let service = self.services.get(host.number).filter(|_| host.is_service());
        let selector = service.and_then(|service| service.selector.as_ref());
        let pods = self.pods.get(host.namespace()).map_or(&[][..], Vec::as_slice);
        pods.iter()
            .filter(move |pod| selector.is_some_and(|selector| selector.selects(&pod.labels)))
            .filter_map(|pod| pod.address)
    }
}

impl Pod {
    fn read(object: &Arc<Object>) -> Option<Self> {
        if matches!(object.get("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed")) {
            return None;
        }
        let condition = list(object.get("/status/conditions"))
            .iter()
            .find(|condition| condition.get("type").and_then(Value::as_str) == Some("Ready"));
        let is_ready =
            condition.and_then(|condition| condition.get("status")).and_then(Value::as_str) == Some("True");
        let containers = list(object.get("/spec/containers")).iter();
        Some(Self {
            name: object.name.clone(),
            labels: labels(object.get("/metadata/labels")),
            // What is being deleted takes no new requests.
            ready: is_ready && object.get("/metadata/deletionTimestamp").is_none(),
            ports: containers
                .flat_map(|container| list(container.get("ports")))
                .filter_map(|port| Some(port.get("name")?.as_str()?.to_owned()))
                .collect(),
            address: object.get("/status/podIP").and_then(Value::as_str).and_then(|ip| ip.parse().ok()),
        })
    }

    /// Whether a target port is one of the pod: a number always is.
    fn listens(&self, target: &TargetPort) -> bool {
        match target {
            TargetPort::Name(name) => self.ports.contains(name),
            TargetPort::Number(_) => true,
        }
    }
}

fn of_service(service: &Service, number: usize, default: &[String]) -> Host {
    let spec = |name: &str| service.object.get(&format!("/spec/{name}")).and_then(Value::as_str);
    let external = spec("externalName").filter(|name| !name.is_empty());
    let kind = match (spec("type"), external) {
        (Some("ExternalName"), Some(_)) => Addressing::Alias,
        _ if service.headless => Addressing::Headless,
        _ => Addressing::Service,
    };
    Host {
        name: service.host(),
        ports: service
            .ports
            .iter()
            .map(|port| Port {
                number: port.port,
                name: port.name.clone(),
                speaks: Speaks::of_service_port(port),
            })
            .collect(),
        kind,
        address: match spec("clusterIP").filter(|address| !address.is_empty()) {
            Some(address) => address.parse().ok(),
            None if kind == Addressing::Service => stand_in(number),
            None => None,
        },
        block: None,
        aliases: Vec::new(),
        alias_of: external.filter(|_| kind == Addressing::Alias).map(str::to_owned),
        export_to: service.export_to.clone().unwrap_or_else(|| default.to_vec()),
        sort_name: service.object.name.clone(),
        created: service.created.clone(),
        number,
        object: Arc::clone(&service.object),
    }
}

/// An address for a Service that gets one only in a cluster, so that in manifests too no two share a
/// listener: from the block that nobody uses (RFC 1112, section 4).
fn stand_in(number: usize) -> Option<IpAddr> {
    let number = u32::try_from(number).ok().filter(|number| *number < 0x0fff_ffff)?;
    Some(IpAddr::from((0xf000_0000 | number).to_be_bytes()))
}

fn of_entry(entry: &ServiceEntry, number: usize, default: &[String]) -> impl Iterator<Item = Host> {
    let ports: Vec<Port> = entry
        .ports
        .iter()
        .map(|port| Port {
            number: port.number,
            name: port.name.clone(),
            speaks: Speaks::of_word(&port.protocol),
        })
        .collect();
    entry.hosts.iter().flat_map(move |name| {
        let mut addresses: Vec<(Option<IpAddr>, Option<String>)> =
            entry.addresses.iter().map(|(address, block)| (*address, block.clone())).collect();
        if addresses.is_empty() {
            addresses.push((None, None));
        }
        let ports = ports.clone();
        addresses.into_iter().map(move |(address, block)| Host {
            name: name.clone(),
            object: Arc::clone(&entry.object),
            ports: ports.clone(),
            kind: Addressing::Entry(entry.resolution),
            address,
            block,
            aliases: Vec::new(),
            alias_of: None,
            export_to: entry.export_to.clone().unwrap_or_else(|| default.to_vec()),
            sort_name: name.clone(),
            created: entry.created.clone(),
            number,
        })
    })
}

/// Gives each host the names that lead to it (`resolveServiceAliases`).
fn alias(hosts: &mut [Host]) {
    let leads: BTreeMap<String, String> =
        hosts.iter().filter_map(|host| Some((host.name.clone(), host.alias_of.clone()?))).collect();
    let mut aliases: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for host in hosts.iter() {
        let Some(mut end) = host.alias_of.as_ref() else { continue };
        // As many steps as there are aliases: a longer way is a circle.
        for _ in 0..=leads.len() {
            match leads.get(end) {
                Some(next) => end = next,
                None => break,
            }
        }
        if !leads.contains_key(end) {
            aliases.entry(end.clone()).or_default().push((host.namespace().to_owned(), host.name.clone()));
        }
    }
    for host in hosts {
        if let Some(names) = aliases.get_mut(&host.name) {
            names.sort();
            host.aliases = names.iter().map(|(_, name)| name.clone()).collect();
        }
    }
}
