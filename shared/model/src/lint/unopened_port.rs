//! Ports that no selected workload opens.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "unopened-port",
    severity: Severity::Warning,
    summary: "no workload that the policy selects is known to open the port that it names",
    check,
};

fn check(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.policies() {
        // CUSTOM and AUDIT change nothing by a port that is not there.
        if !matches!(policy.action, Action::Allow | Action::Deny) {
            continue;
        }
        for value in context.values(policy) {
            if !matches!(value.field, "ports" | "destination.port") || value.negated {
                continue;
            }
            let Ok(named) = value.text.parse::<u16>() else { continue };
            let guarded = context.enforced(number);
            let mut known: Vec<u16> = guarded
                .iter()
                .filter_map(|(workload, _)| world.workloads.get(*workload))
                .flat_map(|workload| crate::inbound::ports(world, workload))
                .map(|port| port.port)
                .collect();
            known.sort_unstable();
            known.dedup();
            let of_service = guarded.iter().any(|(_, workload)| {
                world.services_in(&workload.namespace).any(|service| {
                    service.selector.as_ref().is_some_and(|s| s.selects(&workload.labels))
                        && service.ports.iter().any(|port| port.port == named)
                })
            });
            let silent = guarded.iter().any(|(workload, _)| context.ports(*workload).is_empty());
            if known.is_empty() || known.contains(&named) || of_service || silent {
                continue;
            }
            let known: Vec<String> = known.iter().map(u16::to_string).collect();
            let text = format!("no workload that the policy selects is known to open port {named}");
            let fix = format!("They open {}; write workload ports, or declare the port.", known.join(", "));
            context.report(&policy.object, &value.pointer, text, None, fix);
        }
    }
}
