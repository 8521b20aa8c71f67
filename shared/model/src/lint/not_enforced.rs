//! Policies for pods without a sidecar.

use super::context::{Context, plaintext};
use super::finding::{Lint, Severity};
use crate::inbound;
use crate::policy::Action;
use crate::question::access::protocols;

pub(super) const LINT: Lint = Lint {
    code: "not-enforced",
    severity: Severity::Error,
    summary: "no pod that the policy selects has a sidecar, so nobody enforces it",
    check,
};

fn check(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.policies() {
        let selected: Vec<usize> = context.selected(number).to_vec();
        let workloads = || selected.iter().filter_map(|number| world.workloads.get(*number));
        // A policy for all of the mesh or AUDIT alone protects nothing in particular.
        if policy.action == Action::Audit
            || selected.is_empty()
            || policy.object.namespace == world.mesh.root_namespace
            || workloads().any(|workload| workload.injection.injected)
        {
            continue;
        }
        let Some((first, workload)) = selected.first().zip(workloads().next()) else { continue };
        let example = inbound::ports(world, workload).first().and_then(|port| {
            let speaks = *protocols(port).first()?;
            let trial = context.plain(*first, port, speaks, &plaintext());
            context.passes(&trial).then(|| context.example(&trial, "decided by this policy"))
        });
        let text = format!(
            "none of the pods that it selects has a sidecar ({}: {}), so nothing of it is enforced",
            workload.key(),
            workload.injection.reason
        );
        let fix = "Have the pods injected: label the namespace istio-injection=enabled and restart them.";
        context.report(&policy.object, "/spec/selector", text, example, fix);
    }
}
