//! Peer addresses that never are the client's.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value as Json;

use super::context::Context;
use super::finding::{Lint, Severity};

/// At sidecars.
pub(super) const PUBLIC: Lint = Lint {
    code: "public-ip-at-sidecar",
    severity: Severity::Warning,
    summary: "ipBlocks at a sidecar names public addresses, and the peer is a pod",
    check: public,
};

/// At gateways.
pub(super) const GATEWAY: Lint = Lint {
    code: "ip-block-at-gateway",
    severity: Severity::Warning,
    summary: "ipBlocks at a gateway sees the node's address, not the client's",
    check: gateway,
};

/// `source.ip` is the direct peer: behind a gateway that is the gateway's pod.
fn public(context: &mut Context<'_>) {
    for (number, policy) in context.policies() {
        for value in context.values(policy) {
            let block =
                value.text.parse::<IpNet>().ok().or(value.text.parse::<IpAddr>().ok().map(IpNet::from));
            let is_source = matches!(value.field, "ipBlocks" | "source.ip");
            let Some(block) = block.filter(|block| is_source && is_public(block)) else { continue };
            let sidecars = context.guarded(number);
            let Some((_, workload)) = sidecars.iter().find(|(_, workload)| !workload.is_gateway) else {
                continue;
            };
            let text = format!(
                "{block} is public, and the peer of {} is always a pod or a node: the client's address stays at the gateway",
                workload.key()
            );
            let fix = "Put the rule on the gateway, and let the sidecar admit the gateway's principal only.";
            context.report(&policy.object, &value.pointer, text, None, fix);
        }
    }
}

fn gateway(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.policies() {
        for value in context.values(policy) {
            if !matches!(value.field, "ipBlocks" | "source.ip") {
                continue;
            }
            let found =
                context.guarded(number).into_iter().filter(|(_, workload)| workload.is_gateway).find_map(
                    |(_, workload)| {
                        world.services_in(&workload.namespace).find(|service| {
                            let text = |at: &str| service.object.get(at).and_then(Json::as_str);
                            service.selector.as_ref().is_some_and(|s| s.selects(&workload.labels))
                                && matches!(text("/spec/type"), Some("LoadBalancer" | "NodePort"))
                                && text("/spec/externalTrafficPolicy") != Some("Local")
                        })
                    },
                );
            let Some(service) = found else { continue };
            let text = format!(
                "Service {} has externalTrafficPolicy Cluster: nodes put their own address in place of the client's, and `{}` compares that",
                service.object.key(),
                value.list()
            );
            let fix = "Set externalTrafficPolicy: Local, or use remoteIpBlocks with numTrustedProxies behind a proxy.";
            context.report(&policy.object, &value.pointer, text, None, fix);
        }
    }
}

fn is_public(block: &IpNet) -> bool {
    if block.prefix_len() < 8 {
        return false;
    }
    match block.network() {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared)
        }
        IpAddr::V6(ip) => !(ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local()),
    }
}
