//! Two Services that disagree about a port.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::inbound;

pub(super) const LINT: Lint = Lint {
    code: "conflicting-port-protocols",
    severity: Severity::Warning,
    summary: "two Services declare different protocols for one workload port; the oldest decides which rules hold",
    check,
};

/// `buildInboundChainConfigs`: one chain for each workload port, by the oldest Service.
fn check(context: &mut Context<'_>) {
    let world = context.world;
    let mut reported = Vec::new();
    for (_, workload) in context.all_guarded() {
        if workload.is_gateway {
            continue;
        }
        for port in inbound::ports(world, workload) {
            let services: Vec<_> = inbound::services_on(world, workload, port.port).collect();
            let Some((first, first_port)) = services.first() else { continue };
            let Some((other, other_port)) =
                services.iter().find(|(_, other)| other.protocol != first_port.protocol)
            else {
                continue;
            };
            let key = (other.object.key(), other_port.port);
            if reported.contains(&key) {
                continue;
            }
            let index = other.ports.iter().position(|known| known == *other_port).unwrap_or_default();
            let text = format!(
                "Service {} says {} of port {} of {}, and this one {}: the oldest decides, today {}",
                first.object.key(),
                first_port.reason,
                port.port,
                workload.key(),
                other_port.reason,
                first.object.key()
            );
            let fix = "Declare the same protocol in both Services.";
            context.report(&other.object, &format!("/spec/ports/{index}"), text, None, fix);
            reported.push(key);
        }
    }
}
