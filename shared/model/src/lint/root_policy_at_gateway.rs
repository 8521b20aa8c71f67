//! Policies for the whole mesh that also close the doors to it.

use super::context::{Context, plaintext};
use super::finding::{Lint, Severity};
use crate::authorization::chain::Decision;
use crate::authorization::evaluator::Cause;
use crate::authorization::judge::Verdict;
use crate::authorization::request::Request;
use crate::authorization::selection;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "root-policy-at-gateway",
    severity: Severity::Warning,
    summary: "a policy of the root namespace holds for the ingress gateway too, and refuses everybody outside",
    check,
};

/// Clients of a gateway never have an identity, so a rule about callers in the mesh refuses them all.
fn check(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.deciding() {
        if policy.object.namespace != world.mesh.root_namespace || !policy.selector.is_empty() {
            continue;
        }
        for (workload, target) in context.guarded(number) {
            if !target.is_gateway {
                continue;
            }
            let Some((port, speaks)) = context
                .channels(workload)
                .into_iter()
                .find(|(port, _)| port.gateway.is_some_and(|gateway| !gateway.mesh_identity))
            else {
                continue;
            };
            let sender = plaintext();
            let outcome =
                context.evaluator.outcome(workload, &port, &sender.way, speaks, &Request::anything());
            let by_this = match &outcome.cause {
                Cause::Policies(_, Decision::Deny(rule)) => rule.policy == number,
                // Among several ALLOW policies none is guiltier than the others: this one alone is said.
                Cause::Policies(_, Decision::NoneAllows) => {
                    policy.action == Action::Allow
                        && selection::policies(world, target)
                            .iter()
                            .filter_map(|number| world.policies.get(*number))
                            .filter(|policy| policy.action == Action::Allow && !policy.dry_run)
                            .count()
                            == 1
                }
                _ => false,
            };
            if outcome.verdict != Verdict::Deny || !by_this {
                continue;
            }
            let mut sender = sender;
            "a customer outside the mesh".clone_into(&mut sender.name);
            let trial = context.plain(workload, &port, speaks, &sender);
            let example = context.example(&trial, "let through to the services behind the gateway");
            let text = format!(
                "the policy is for every proxy of the mesh, also for the gateway {}, where it refuses all clients from outside",
                target.key()
            );
            let fix =
                "Add an ALLOW policy for the gateway, or put the policy into the namespaces of the services.";
            context.report(&policy.object, "/spec", text, Some(example), fix);
            break;
        }
    }
}
