//! Why a request does not get where its caller wants it: each reason has a stable code.

use mesh_model::host;
use mesh_model::mesh_config::Outbound;
use mesh_model::routing::action::Cluster;
use mesh_model::routing::registry::{Host, Speaks};
use mesh_model::routing::request::{Protocol, Request};
use mesh_model::routing::resolve::{Shadowed, Why};
use mesh_model::routing::table::Route;
use mesh_model::routing::{Dropped, Landing, Proxy};
use mesh_model::virtual_service::VirtualService;
use serde::Serialize;

use crate::words;

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reason {
    /// Stable, kebab-case; each is explained in `docs/doctor.md`.
    pub code: &'static str,
    /// The reason, as a part of a sentence.
    pub text: String,
}

fn reason(code: &'static str, text: impl Into<String>) -> Reason {
    Reason { code, text: text.into() }
}

/// Why a caller's proxy has no such destination; each is answered with 503.
pub(crate) fn no_destination(proxy: &Proxy<'_, '_>, cluster: &Cluster, landing: &Landing<'_>) -> Reason {
    if let Some(why) = unknown_host(proxy, &cluster.host, cluster.port) {
        return why;
    }
    let named = &cluster.subset;
    let namespace = &proxy.workload.namespace;
    let subset_is_missing = !named.is_empty() && landing.subset.is_none();
    if !subset_is_missing {
        return reason("no-address", format!("{} has no address to connect to", cluster.host));
    }
    let owner = proxy.scope.host(&cluster.host).map_or("", |known| known.host.namespace());
    let hidden = proxy.routing().rules.hidden(namespace, &proxy.workload.labels, &cluster.host, owner);
    let definer = hidden.into_iter().find(|rule| rule.subset(named).is_some());
    match (landing.rule, definer) {
        (Some(taken), Some(definer)) => reason(
            "subset-hidden",
            format!(
                "subset {named} is defined in DestinationRule {}, which is hidden by {}: callers in namespace {namespace} go by that one alone",
                definer.key(),
                taken.key(),
            ),
        ),
        (Some(taken), None) => reason(
            "no-subset",
            format!(
                "subset {named} is not defined in DestinationRule {}, by which callers in namespace {namespace} go",
                taken.key()
            ),
        ),
        (None, Some(definer)) => reason(
            "subset-hidden",
            format!(
                "subset {named} is defined in DestinationRule {}, which is not in force for callers in namespace {namespace} (exportTo)",
                definer.key()
            ),
        ),
        (None, None) => reason(
            "no-subset",
            format!("subset {named} is not defined: no DestinationRule is for {}", cluster.host),
        ),
    }
}

/// Why a caller's proxy does not know a host's port; `None` where it does.
fn unknown_host(proxy: &Proxy<'_, '_>, name: &str, port: u16) -> Option<Reason> {
    let registry = &proxy.routing().registry;
    let namespace = &proxy.workload.namespace;
    let all = || registry.named(name);
    let first = all().next();
    let Some(first) = first else {
        return Some(reason(
            "unknown-host",
            format!("no Service or ServiceEntry has the host {name}{}", full(proxy, name)),
        ));
    };
    if let Some(leads_to) = all().find_map(|host| host.alias_of.as_ref()) {
        return Some(reason("alias", format!("{name} is only another name for {leads_to} (ExternalName)")));
    }
    if !all().any(|host| host.is_visible(namespace)) {
        let text = format!("{} is not exported to namespace {namespace}", object(first));
        return Some(reason("not-exported", text));
    }
    let Some(known) = proxy.scope.host(name) else {
        return Some(reason("not-imported", format!("{} does not import {name}", sidecar(proxy))));
    };
    match known.port(port) {
        None if known.host.port(port).is_some() => {
            let text = format!("{} does not import port {port} of {name}", sidecar(proxy));
            Some(reason("not-imported", text))
        }
        None => Some(no_port(known.host, port)),
        Some(port) if port.speaks == Speaks::Udp => Some(reason(
            "udp",
            format!("port {} of {name} is UDP, of which proxies take no part", port.number),
        )),
        Some(_) => None,
    }
}

/// A dotted name in a VirtualService is never made full: says which Service may be meant.
fn full(proxy: &Proxy<'_, '_>, name: &str) -> String {
    let meant = proxy.named(name).filter(|host| host.name != name);
    meant.map_or(String::new(), |host| format!("; VirtualServices must name {} in full", host.name))
}

fn no_port(host: &Host, port: u16) -> Reason {
    let ports: Vec<String> = host.ports.iter().map(|port| port.number.to_string()).collect();
    let has = if ports.is_empty() { "none".to_owned() } else { words::all(&ports) };
    reason("no-port", format!("{} has no port {port}, but {has}", object(host)))
}

fn object(host: &Host) -> String {
    format!("{} {}", host.object.kind.name(), host.object.key())
}

fn sidecar(proxy: &Proxy<'_, '_>) -> String {
    let sidecar = proxy.routing().world().sidecar_of(proxy.workload);
    sidecar.map_or("the proxy".to_owned(), |sidecar| {
        format!("Sidecar {}", words::located(&sidecar.object, "/spec/egress"))
    })
}

/// Why a proxy has no routes for what a caller asks for.
pub(crate) fn not_known(proxy: &Proxy<'_, '_>, request: &Request) -> Reason {
    let policy = match proxy.scope.outbound {
        Outbound::AllowAny => "",
        Outbound::RegistryOnly => "; outboundTrafficPolicy is REGISTRY_ONLY",
    };
    let Some(host) = proxy.named(&request.host) else {
        let elsewhere = elsewhere(proxy, &request.host);
        let text = format!("no Service or ServiceEntry has the host {}{elsewhere}{policy}", request.host);
        return reason("unknown-host", text);
    };
    if let Some(why) = unknown_host(proxy, &host.name, request.port) {
        return Reason { text: format!("{}{policy}", why.text), ..why };
    }
    let declared = host.port(request.port).is_some_and(|port| port.speaks == Speaks::Http);
    let text = match request.speaks {
        Protocol::Http if request.domain() != request.host => {
            format!("no virtual host of port {} is for Host {}{policy}", request.port, request.authority())
        }
        Protocol::Tls if declared => {
            format!(
                "port {} of {} is HTTP, and the caller begins TLS itself there{policy}",
                request.port, host.name
            )
        }
        Protocol::Tcp if declared => {
            format!(
                "port {} of {} is HTTP, and the caller does not speak it there{policy}",
                request.port, host.name
            )
        }
        _ => format!("the proxy has no way for {}:{}{policy}", request.host, request.port),
    };
    reason("no-way", text)
}

/// Where else a short name is a Service's: callers of other namespaces must say which.
fn elsewhere(proxy: &Proxy<'_, '_>, name: &str) -> String {
    if name.contains('.') {
        return String::new();
    }
    let services = proxy.routing().world().services.iter().filter(|service| service.object.name == name);
    let found: Vec<String> = services.map(|service| format!("{name}.{}", service.object.namespace)).collect();
    if found.is_empty() {
        String::new()
    } else {
        format!("; in other namespaces there is {}", words::all(&found))
    }
}

/// Why a gateway closes a connection.
pub(crate) fn no_server(proxy: &Proxy<'_, '_>, request: &Request) -> Reason {
    let gateways = proxy.gateways();
    if gateways.is_empty() {
        return reason("no-gateway", "no Gateway selects it");
    }
    let what = match request.speaks {
        Protocol::Tls => format!(" for TLS to {}", request.host),
        _ => String::new(),
    };
    let text =
        format!("no server of Gateway {} listens on port {}{what}", words::all(&gateways), request.port);
    reason("no-server", text)
}

/// Why nothing takes a request that a table is asked for.
pub(crate) fn no_route(
    proxy: &Proxy<'_, '_>,
    request: &Request,
    virtual_host: Option<&str>,
    missed: &[Route],
) -> Reason {
    let Some(virtual_host) = virtual_host else {
        let gateways = proxy.gateways();
        let text = if proxy.workload.is_gateway {
            format!(
                "no VirtualService of Gateway {} is for the host {}",
                words::all(&gateways),
                request.domain()
            )
        } else {
            format!("no virtual host of port {} is for Host {}", request.port, request.authority())
        };
        return reason("no-virtual-host", text);
    };
    let nearest = missed
        .iter()
        .filter_map(|route| Some((route, route.matches.as_ref()?)))
        .map(|(route, matches)| {
            let parts = words::of_request(matches, request);
            let fitting = parts.iter().filter(|(_, fits)| *fits).count();
            let wanted: Vec<String> =
                parts.into_iter().filter(|(_, fits)| !fits).map(|(words, _)| words).collect();
            (route, wanted, fitting)
        })
        .min_by_key(|(_, wanted, fitting)| (wanted.len(), std::cmp::Reverse(*fitting)));
    let nearest = nearest.map_or(String::new(), |(route, wanted, _)| {
        let at = route.place.as_ref().map_or(String::new(), |place| format!(" {}", place.at()));
        format!("; the nearest would if {}:{at}", words::all(&wanted))
    });
    reason(
        "no-route",
        format!("virtual host {virtual_host} takes it, and none of its routes matches{nearest}"),
    )
}

/// The code of why a caller does not go by a VirtualService.
pub(crate) fn code(why: Why) -> &'static str {
    match why {
        Why::OtherGateway => "other-gateway",
        Why::NotExported => "not-exported",
        Why::NotImported => "not-imported",
        Why::NoRouteForCaller => "no-route-for-caller",
        Why::Later => "later",
        Why::LessSpecific => "less-specific",
    }
}

/// Why a caller does not go by a VirtualService, and whether that rests on an age that is not known.
pub(crate) fn shadowed(
    proxy: &Proxy<'_, '_>,
    shadowed: &Shadowed<'_>,
    taken: Option<&VirtualService>,
) -> (Reason, bool) {
    let one = shadowed.virtual_service;
    let namespace = &proxy.workload.namespace;
    let mut by_name = false;
    let taken_key = taken.map_or("another".to_owned(), |taken| taken.object.key());
    let text = match shadowed.why {
        Why::OtherGateway => {
            let own = if proxy.workload.is_gateway { "which does not select this one" } else { "and not for mesh" };
            format!("it is for Gateway {}, {own}", words::all(&one.gateways))
        }
        Why::NotExported => format!("its exportTo leaves out namespace {namespace}"),
        Why::NotImported => format!("{} does not import it", sidecar(proxy)),
        Why::NoRouteForCaller => {
            "none of its http routes is for this caller and port (sourceLabels, sourceNamespace, gateways, port)"
                .to_owned()
        }
        Why::LessSpecific => format!("{taken_key} names the host more exactly"),
        Why::Later => {
            let default = &proxy.routing().world().mesh.default_virtual_service_export_to;
            let tier = |one: &VirtualService| {
                let export_to = one.export_to.as_deref().unwrap_or(default);
                match export_to {
                    list if list.is_empty() || list.iter().any(|to| to == "*") => "public",
                    _ if one.object.namespace == *namespace => "private",
                    _ => "exported",
                }
            };
            match taken {
                Some(taken) if tier(taken) != tier(one) && tier(taken) == "private" => {
                    format!("{taken_key} is private to namespace {namespace} (exportTo) and comes first")
                }
                Some(taken) if tier(taken) != tier(one) => {
                    format!("{taken_key} is exported to namespace {namespace} by name and comes first")
                }
                Some(taken) if taken.created != one.created => format!("{taken_key} is older"),
                _ => {
                    by_name = one.created.is_empty();
                    let age = if by_name { "neither says how old it is" } else { "they are of one age" };
                    format!("{taken_key} comes first by its name, as {age}")
                }
            }
        }
    };
    (reason(code(shadowed.why), text), by_name)
}

/// What of delegates is left out of the routes for a host.
pub(crate) fn dropped(proxy: &Proxy<'_, '_>, name: &str) -> Vec<String> {
    let all = &proxy.routing().virtual_services;
    let concerns = |root: &str| {
        all.all()
            .iter()
            .any(|one| one.object.key() == root && one.hosts.iter().any(|host| host::overlap(host, name)))
    };
    let said = all.dropped.iter().filter_map(|dropped| match dropped {
        Dropped::NotFound { root, delegate } => concerns(root).then(|| {
            format!("VirtualService {root} delegates to {delegate}, which is not there or has hosts of its own: that route is left out")
        }),
        Dropped::NotExported { root, delegate } => concerns(root).then(|| {
            format!("VirtualService {root} delegates to {delegate}, whose exportTo leaves out namespace {}: that route is left out", root.split('/').next().unwrap_or_default())
        }),
        Dropped::Conflict { root, delegate, pointer } => concerns(root).then(|| {
            let place = proxy.routing().world().virtual_services.iter().find(|one| one.object.key() == *delegate);
            let at = place.map_or(String::new(), |one| format!(" {}", one.object.at(pointer)));
            let route = pointer.rsplit('/').next().unwrap_or_default();
            format!("route http[{route}] of delegate {delegate} is left out: its matches are not within those of {root}{at}")
        }),
    });
    said.collect()
}
