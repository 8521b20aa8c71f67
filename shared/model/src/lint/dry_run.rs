//! Policies on trial.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::request::{Fact, Request};
use crate::authorization::selection;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "dry-run",
    severity: Severity::Warning,
    summary: "a dry-run policy is the only one of its workloads: nothing is enforced",
    check,
};

/// A dry-run policy goes to Envoy's shadow rules: it counts and logs, and decides nothing.
fn check(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.policies() {
        if !policy.dry_run || !matches!(policy.action, Action::Allow | Action::Deny) {
            continue;
        }
        let alone = context.guarded(number).into_iter().find(|(_, workload)| {
            selection::policies(world, workload)
                .iter()
                .filter_map(|number| world.policies.get(*number))
                .all(|policy| policy.dry_run || policy.action == Action::Audit)
        });
        let Some((workload_number, workload)) = alone else { continue };
        let mut example = None;
        for (port, speaks) in context.channels(workload_number) {
            let sender = super::context::plaintext();
            let trial = match policy.action {
                Action::Deny => (0..policy.rules.len()).find_map(|rule| {
                    let rule = RuleRef { policy: number, rule };
                    context.matched(workload_number, &port, speaks, &sender, rule, &Request::anything())
                }),
                _ => {
                    let trial = context.plain(workload_number, &port, speaks, &sender);
                    let request = Request {
                        principal: Fact::Absent,
                        destination_port: port.port,
                        sni: Fact::Absent,
                        ..trial.request.clone()
                    };
                    // Refused by all of its rules, if they were enforced.
                    let matched = (0..policy.rules.len()).any(|rule| {
                        let rule = RuleRef { policy: number, rule };
                        context
                            .compiled(workload_number, speaks, rule)
                            .is_some_and(|rule| rule.matches(&request) != Some(false))
                    });
                    (!matched).then_some(trial)
                }
            };
            let Some(trial) = trial else { continue };
            if example.is_none() && context.passes(&trial) {
                example = Some(context.example(&trial, "refused, once the policy is enforced"));
            }
        }
        let text = format!(
            "the policy is on trial (istio.io/dry-run) and no other is in force for {}: everything gets through",
            workload.key()
        );
        let fix = "Take the annotation out when the logs of the trial are as they should be.";
        context.report(&policy.object, "/metadata/annotations/istio.io~1dry-run", text, example, fix);
    }
}
