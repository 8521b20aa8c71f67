//! Policies for ports that go around the sidecar.

use super::context::{Context, plaintext};
use super::finding::{Lint, Severity};
use crate::inbound;
use crate::question::access::protocols;

pub(super) const LINT: Lint = Lint {
    code: "bypassed-port",
    severity: Severity::Error,
    summary: "the policy names a port that goes around the sidecar",
    check,
};

fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding() {
        for value in context.values(policy) {
            if !matches!(value.field, "ports" | "destination.port") || value.negated {
                continue;
            }
            let Ok(port) = value.text.parse::<u16>() else { continue };
            let found = context
                .guarded(number)
                .into_iter()
                .find_map(|(number, workload)| Some((number, workload, inbound::bypass(workload, port)?)));
            let Some((workload_number, workload, reason)) = found else { continue };
            let inbound_port = inbound::port(context.world, workload, port);
            let example = protocols(&inbound_port).first().and_then(|speaks| {
                let trial = context.plain(workload_number, &inbound_port, *speaks, &plaintext());
                context.passes(&trial).then(|| context.example(&trial, "decided by this policy"))
            });
            let text = format!(
                "port {port} of {} goes around the sidecar ({reason}), so this rule is not asked there",
                workload.key()
            );
            let fix = "Take the port out of the annotation, or protect it by a NetworkPolicy.";
            context.report(&policy.object, &value.pointer, text, example, fix);
        }
    }
}
