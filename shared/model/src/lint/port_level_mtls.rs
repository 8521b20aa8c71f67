//! `portLevelMtls` by the Service's port.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::inbound;

pub(super) const LINT: Lint = Lint {
    code: "port-level-mtls",
    severity: Severity::Error,
    summary: "portLevelMtls names the Service's port, and counts the workload's",
    check,
};

fn check(context: &mut Context<'_>) {
    let world = context.world;
    for policy in &world.peer_authentications {
        for port in policy.ports.keys() {
            let workloads = || {
                world
                    .workloads_in(&policy.object.namespace)
                    .filter(|workload| policy.selector.selects(&workload.labels))
            };
            let opens = |port: u16| {
                workloads()
                    .any(|workload| inbound::ports(world, workload).iter().any(|open| open.port == port))
            };
            if policy.selector.is_empty() || opens(*port) {
                continue;
            }
            let meant = workloads().find_map(|workload| {
                world.services_in(&workload.namespace).find_map(|service| {
                    let selects = service.selector.as_ref().is_some_and(|s| s.selects(&workload.labels));
                    let service_port = service.ports.iter().find(|known| selects && known.port == *port)?;
                    Some((service.object.key(), inbound::target(service_port, workload)?))
                })
            });
            let Some((service, target)) = meant else { continue };
            let text = format!(
                "{port} is the port of Service {service}; the workload listens on {target}, whose mode this does not change"
            );
            let pointer = format!("/spec/portLevelMtls/{port}");
            context.report(&policy.object, &pointer, text, None, format!("Write {target}."));
        }
    }
}
