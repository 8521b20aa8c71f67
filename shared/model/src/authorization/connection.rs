//! How a caller's connection arrives: with which identity, and on which chain.

use crate::destination_rule::ClientTls;
use crate::inbound::{self, InboundPort};
use crate::mesh_config::Outbound;
use crate::peer_authentication::Mode;
use crate::protocol::PortProtocol;
use crate::service::{Service, ServicePort};
use crate::workload::Workload;
use crate::world::World;

use super::compile::Protocol;

/// What a connection shows of its caller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presents {
    /// The mesh's certificate, with this identity.
    Identity(String),
    /// Nothing: plaintext.
    Plaintext,
    /// TLS without the mesh's certificate.
    ForeignTls,
    /// It never leaves the caller.
    Nothing,
}

/// How a caller connects, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// What the connection shows.
    pub presents: Presents,
    /// Why, where it is not what one expects of a sidecar.
    pub reason: Option<String>,
    /// Where the object that causes it says so.
    pub at: Option<String>,
}

impl Way {
    /// With an identity, as a sidecar does.
    #[must_use]
    pub fn identity(principal: String) -> Self {
        Self { presents: Presents::Identity(principal), reason: None, at: None }
    }

    /// In plaintext.
    #[must_use]
    pub fn plaintext(reason: impl Into<String>) -> Self {
        Self { presents: Presents::Plaintext, reason: Some(reason.into()), at: None }
    }
}

/// The annotation with ports of other services that a caller's sidecar does not see.
pub const EXCLUDED_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";

/// How a workload connects to another's port, through the Service that names it (`through`, or any
/// that it knows).
///
/// Rules: `checkMtlsEnabled` in `pilot/pkg/xds/endpoints/mtls_checker.go`,
/// `BestEffortInferServiceMTLSMode` in `push_context.go`, `cluster_tls.go`.
#[must_use]
pub fn way(
    world: &World,
    caller: &Workload,
    target: &Workload,
    port: &InboundPort,
    through: Option<&Service>,
) -> Way {
    if !caller.injection.injected {
        return Way::plaintext(format!("it has no sidecar: {}", caller.injection.reason));
    }
    let services: Vec<(&Service, &ServicePort)> = inbound::services_on(world, target, port.port)
        .filter(|(service, _)| through.is_none_or(|wanted| wanted.host() == service.host()))
        .collect();
    let known = services.iter().find(|(service, port)| world.knows(caller, service, port.port));
    let Some((service, service_port)) = known else {
        let reason = match services.first() {
            None => "no Service names the port, so it is called by pod IP".to_owned(),
            Some((service, _)) => {
                format!("its proxy does not know Service {} (exportTo, Sidecar)", service.object.key())
            }
        };
        return unknown_host(world, caller, reason);
    };
    let excluded = EXCLUDED_PORTS;
    if caller.annotations.get(excluded).is_some_and(|ports| inbound::lists(ports, service_port.port)) {
        return Way::plaintext(format!("its annotation {excluded} names port {}", service_port.port));
    }
    let rule = world.destination_rule(caller, service);
    if let Some(rule) = rule
        && let Some((tls, pointer)) = rule.tls(service_port.port)
    {
        let mode = world.peer_authentications().of_port(&target.namespace, &target.labels, port.port).mode;
        let (presents, word) = match tls {
            // Forced upon a port that takes no mutual TLS, it is TLS like any other there.
            ClientTls::IstioMutual if mode == Mode::Disable && port.gateway.is_none() => {
                (Presents::ForeignTls, "ISTIO_MUTUAL, though the port's mTLS mode is DISABLE")
            }
            ClientTls::IstioMutual => (Presents::Identity(principal(world, caller)), "ISTIO_MUTUAL"),
            ClientTls::Disable => (Presents::Plaintext, "DISABLE"),
            ClientTls::Foreign => (Presents::ForeignTls, "SIMPLE or MUTUAL"),
        };
        return Way {
            presents,
            reason: Some(format!("DestinationRule {} sets TLS {word}", rule.object.key())),
            at: Some(rule.object.at(&pointer)),
        };
    }
    let passthrough = rule.is_some_and(|rule| rule.is_passthrough());
    match automatic(world, &caller.injection.revision, target, port, service, passthrough) {
        Some(reason) => Way::plaintext(reason),
        None => Way::identity(principal(world, caller)),
    }
}

/// Why a sidecar does not use mutual TLS by itself; `None` where it does.
fn automatic(
    world: &World,
    revision: &str,
    target: &Workload,
    port: &InboundPort,
    service: &Service,
    passthrough: bool,
) -> Option<String> {
    if !world.mesh.auto_mtls {
        return Some("enableAutoMtls is false in the mesh configuration".to_owned());
    }
    if (service.headless || passthrough)
        && let Some(without) = world.workloads_of(service).find(|workload| !has_tls(workload))
    {
        let kind = if service.headless { "headless" } else { "passed through" };
        return Some(format!(
            "Service {} is {kind} and {} behind it has no sidecar",
            service.object.key(),
            without.key()
        ));
    }
    let authentications = world.peer_authentications();
    let in_namespace = authentications.of_namespace(&service.object.namespace, revision);
    if in_namespace.mode == Mode::Disable {
        let by = in_namespace.by.map_or(String::new(), |(policy, _)| policy.object.key());
        return Some(format!("clients go by PeerAuthentication {by} of the namespace, which is DISABLE"));
    }
    if !has_tls(target) {
        return Some(format!("{} has no sidecar", target.key()));
    }
    // A gateway's own listeners do not heed PeerAuthentication, but its clients do.
    let in_force = authentications.of_port(&target.namespace, &target.labels, port.port);
    (in_force.mode == Mode::Disable).then(|| format!("the port's mTLS mode is DISABLE on {}", target.key()))
}

fn has_tls(workload: &Workload) -> bool {
    let label = workload.labels.get("security.istio.io/tlsMode");
    workload.injection.injected && label.is_none_or(|mode| mode == "istio")
}

fn principal(world: &World, caller: &Workload) -> String {
    world.principal(&caller.namespace, &caller.service_account)
}

/// A host that the caller's proxy does not know: passed on as it is, or refused.
fn unknown_host(world: &World, caller: &Workload, reason: String) -> Way {
    let outbound =
        world.sidecar_of(caller).and_then(|sidecar| sidecar.outbound).unwrap_or(world.mesh.outbound);
    match outbound {
        Outbound::AllowAny => Way::plaintext(format!("{reason}: it goes out as plaintext")),
        Outbound::RegistryOnly => Way {
            presents: Presents::Nothing,
            reason: Some(format!(
                "{reason}, and outboundTrafficPolicy is REGISTRY_ONLY: its own proxy refuses"
            )),
            at: None,
        },
    }
}

/// Why a connection does not reach any policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its own proxy does not let it out.
    ByCaller,
    /// Mutual TLS is demanded and not shown: reset, no 403.
    Strict,
    /// TLS that no chain takes: reset.
    ForeignTls,
    /// The handshake does not accept the trust domain.
    TrustDomain(String),
    /// The port takes HTTP only.
    NotHttp,
}

/// The chain that a connection takes on a port under a mode, and the identity that it has there.
///
/// # Errors
/// Why it takes none.
pub fn chain(
    world: &World,
    port: &InboundPort,
    mode: Mode,
    presents: &Presents,
    speaks: Protocol,
) -> Result<(Protocol, Option<String>), Refusal> {
    let by_what_it_speaks = match port.protocol {
        PortProtocol::Tcp | PortProtocol::Udp => Ok(Protocol::Tcp),
        PortProtocol::Sniffed => Ok(speaks),
        PortProtocol::Http if speaks == Protocol::Http => Ok(Protocol::Http),
        PortProtocol::Http => Err(Refusal::NotHttp),
    };
    if let Some(gateway) = port.gateway {
        let principal = match presents {
            Presents::Nothing => return Err(Refusal::ByCaller),
            Presents::Identity(principal) if gateway.mesh_identity => Some(principal.clone()),
            _ if gateway.mesh_identity => return Err(Refusal::Strict),
            _ => None,
        };
        return by_what_it_speaks.map(|protocol| (protocol, principal));
    }
    match (presents, mode) {
        (Presents::Nothing, _) => Err(Refusal::ByCaller),
        (Presents::Plaintext | Presents::ForeignTls, Mode::Strict) => Err(Refusal::Strict),
        // Without a chain for it, foreign TLS is reset on an HTTP port and passed on elsewhere.
        (Presents::ForeignTls, _) if port.protocol == PortProtocol::Http => Err(Refusal::ForeignTls),
        (Presents::ForeignTls, _) => Ok((Protocol::Tcp, None)),
        (Presents::Plaintext, _) => by_what_it_speaks.map(|protocol| (protocol, None)),
        // Clients see DISABLE and send plaintext.
        (Presents::Identity(_), Mode::Disable) => by_what_it_speaks.map(|protocol| (protocol, None)),
        (Presents::Identity(principal), _) => {
            let domain = principal.split('/').next().unwrap_or_default();
            if !world.mesh.accepts_trust_domain(domain) {
                return Err(Refusal::TrustDomain(domain.to_owned()));
            }
            by_what_it_speaks.map(|protocol| (protocol, Some(principal.clone())))
        }
    }
}
