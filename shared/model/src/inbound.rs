//! What a workload's proxy listens on, and which ports go around it.
//!
//! Rules: `buildInboundChainConfigs` in `pilot/pkg/networking/core/listener_inbound.go`.

use crate::protocol::PortProtocol;
use crate::service::{Service, ServicePort, TargetPort};
use crate::workload::Workload;
use crate::world::World;

/// A port of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundPort {
    /// The workload's port: what policies call `ports`.
    pub port: u16,
    /// How the proxy treats it.
    pub protocol: PortProtocol,
    /// Why, with the object that says so.
    pub reason: String,
    /// Where that object says so.
    pub at: Option<String>,
    /// The Service that decides (`namespace/name`) and its own port.
    pub service: Option<(String, u16)>,
    /// Whether this is a gateway's listener, which PeerAuthentication does not touch.
    pub gateway: Option<GatewayListener>,
}

/// A gateway's listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayListener {
    /// Whether its clients show the mesh's certificate.
    pub mesh_identity: bool,
}

/// The ports that are known of a workload: those of its Services or of its Sidecar's ingress, those
/// that its containers name, and a gateway's listeners; by number.
#[must_use]
pub fn ports(world: &World, workload: &Workload) -> Vec<InboundPort> {
    let mut ports = declared(world, workload);
    for container in &workload.ports {
        if ports.iter().all(|known| known.port != container.port) {
            ports.push(undeclared(container.port));
        }
    }
    ports.retain(|port| port.protocol != PortProtocol::Udp);
    ports.sort_by_key(|port| port.port);
    ports
}

/// One port of a workload, also one that nothing declares: the proxy passes those on after looking
/// at how the connection begins.
#[must_use]
pub fn port(world: &World, workload: &Workload, number: u16) -> InboundPort {
    let known = declared(world, workload).into_iter().find(|port| port.port == number);
    known.unwrap_or_else(|| undeclared(number))
}

/// A port of which nothing is known.
#[must_use]
pub fn undeclared(port: u16) -> InboundPort {
    InboundPort {
        port,
        protocol: PortProtocol::Sniffed,
        reason: "no Service declares it".to_owned(),
        at: None,
        service: None,
        gateway: None,
    }
}

fn declared(world: &World, workload: &Workload) -> Vec<InboundPort> {
    if workload.is_gateway {
        return gateway_ports(world, workload);
    }
    if let Some(sidecar) = world.sidecar_of(workload).filter(|sidecar| !sidecar.ingress.is_empty()) {
        let mut ports: Vec<InboundPort> = Vec::new();
        for listener in &sidecar.ingress {
            if ports.iter().all(|port| port.port != listener.port) {
                ports.push(InboundPort {
                    port: listener.port,
                    protocol: listener.protocol,
                    reason: format!("protocol `{}` of Sidecar {}", listener.word, sidecar.object.key()),
                    at: Some(sidecar.object.at(&listener.pointer)),
                    // Clients still come through the Services.
                    service: services_on(world, workload, listener.port)
                        .map(|(service, port)| (service.object.key(), port.port))
                        .next(),
                    gateway: None,
                });
            }
        }
        return ports;
    }
    let mut ports: Vec<InboundPort> = Vec::new();
    // The oldest Service decides where several open the same port.
    for service in world.services_in(&workload.namespace) {
        if !service.selector.as_ref().is_some_and(|selector| selector.selects(&workload.labels)) {
            continue;
        }
        for (index, service_port) in service.ports.iter().enumerate() {
            // No chain is made for it: TCP that comes there is passed on as on an undeclared port.
            if service_port.protocol == PortProtocol::Udp {
                continue;
            }
            let Some(target) = target(service_port, workload) else { continue };
            if ports.iter().all(|port| port.port != target) {
                ports.push(InboundPort {
                    port: target,
                    protocol: service_port.protocol,
                    reason: format!("{} of Service {}", service_port.reason, service.object.key()),
                    at: Some(service.object.at(&format!("/spec/ports/{index}"))),
                    service: Some((service.object.key(), service_port.port)),
                    gateway: None,
                });
            }
        }
    }
    ports
}

/// A gateway listens on the target ports of the Service ports that its Gateway objects name.
fn gateway_ports(world: &World, workload: &Workload) -> Vec<InboundPort> {
    let mut ports: Vec<InboundPort> = Vec::new();
    for gateway in world.gateways_of(workload) {
        for server in &gateway.servers {
            let through = world
                .services_in(&workload.namespace)
                .filter(|service| service.selector.as_ref().is_some_and(|s| s.selects(&workload.labels)))
                .find_map(|service| {
                    let port = service.ports.iter().find(|port| port.port == server.port)?;
                    Some((service, target(port, workload)?))
                });
            let number = through.map_or(server.port, |(_, target)| target);
            if ports.iter().all(|port| port.port != number) {
                ports.push(InboundPort {
                    port: number,
                    protocol: server.protocol,
                    reason: format!("{} of Gateway {}", server.reason, gateway.object.key()),
                    at: Some(gateway.object.at(&server.pointer)),
                    service: through.map(|(service, _)| (service.object.key(), server.port)),
                    gateway: Some(GatewayListener { mesh_identity: server.mesh_identity }),
                });
            }
        }
    }
    ports
}

/// The workload's port behind a Service's; a named one is looked up among the containers'.
#[must_use]
pub fn target(port: &ServicePort, workload: &Workload) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => workload.ports.iter().find(|port| port.name == *name).map(|port| port.port),
    }
}

/// The Services, with their ports, through which clients reach a workload's port.
pub fn services_on<'a>(
    world: &'a World,
    workload: &'a Workload,
    number: u16,
) -> impl Iterator<Item = (&'a Service, &'a ServicePort)> {
    world
        .services_in(&workload.namespace)
        .filter(|service| {
            service.selector.as_ref().is_some_and(|selector| selector.selects(&workload.labels))
        })
        .flat_map(|service| service.ports.iter().map(move |port| (service, port)))
        .filter(move |(_, port)| port.protocol != PortProtocol::Udp && target(port, workload) == Some(number))
}

/// The sidecar's own ports: health, telemetry and merged metrics. They never pass the policies.
pub const OWN_PORTS: [(u16, &str); 3] = [
    (15020, "the sidecar's merged metrics and rewritten probes"),
    (15021, "the sidecar's health"),
    (15090, "the sidecar's telemetry"),
];

/// Why a port goes around the sidecar, so that no policy is asked; `None` where it does not.
///
/// Rules: the redirection that `istio-init` sets up from annotations
/// (`tools/istio-iptables`, `injection-template.yaml`).
#[must_use]
pub fn bypass(workload: &Workload, port: u16) -> Option<String> {
    if !workload.injection.injected {
        return Some(format!("no sidecar: {}", workload.injection.reason));
    }
    if let Some((_, what)) = OWN_PORTS.iter().find(|(own, _)| *own == port) {
        return Some((*what).to_owned());
    }
    let annotation = |name: &str| workload.annotations.get(name).map(String::as_str);
    if annotation("sidecar.istio.io/interceptionMode") == Some("NONE") {
        return Some("sidecar.istio.io/interceptionMode is NONE".to_owned());
    }
    let excluded = "traffic.sidecar.istio.io/excludeInboundPorts";
    if annotation(excluded).is_some_and(|ports| lists(ports, port)) {
        return Some(format!("annotation {excluded} names it"));
    }
    let included = "traffic.sidecar.istio.io/includeInboundPorts";
    if annotation(included).is_some_and(|ports| ports.trim() != "*" && !lists(ports, port)) {
        return Some(format!("annotation {included} does not name it"));
    }
    None
}

/// Whether a list of ports with commas names a port.
pub(crate) fn lists(ports: &str, port: u16) -> bool {
    ports.split(',').any(|item| item.trim().parse() == Ok(port))
}

/// Ports of a workload that go around the sidecar though they are not the sidecar's own.
#[must_use]
pub fn bypassing(world: &World, workload: &Workload) -> Vec<(u16, String)> {
    let mut known: Vec<u16> = ports(world, workload).iter().map(|port| port.port).collect();
    if let Some(listed) = workload.annotations.get("traffic.sidecar.istio.io/excludeInboundPorts") {
        known.extend(listed.split(',').filter_map(|item| item.trim().parse::<u16>().ok()));
    }
    known.sort_unstable();
    known.dedup();
    known.retain(|port| OWN_PORTS.iter().all(|(own, _)| own != port));
    known.into_iter().filter_map(|port| Some((port, bypass(workload, port)?))).collect()
}
