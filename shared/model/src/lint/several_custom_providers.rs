//! Several CUSTOM providers on one workload.

use crate::authorization::request::Request;
use std::collections::BTreeMap;

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "several-custom-providers",
    severity: Severity::Error,
    summary: "CUSTOM policies with different providers select one workload, so that all they match is refused",
    check,
};

/// Without PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS (1.30) a workload may have one provider.
fn check(context: &mut Context<'_>) {
    let mut of_workload: BTreeMap<usize, Vec<(usize, &str)>> = BTreeMap::new();
    for (number, policy) in context.deciding() {
        let Action::Custom { provider } = &policy.action else { continue };
        for (workload, _) in context.guarded(number) {
            of_workload.entry(workload).or_default().push((number, provider));
        }
    }
    let mut reported = Vec::new();
    for (workload, policies) in of_workload {
        let Some(((_, first), (number, other))) = policies
            .first()
            .zip(policies.iter().find(|(_, provider)| policies.first().is_some_and(|(_, p)| p != provider)))
        else {
            continue;
        };
        if reported.contains(number) {
            continue;
        }
        reported.push(*number);
        let world = context.world;
        let Some((policy, target)) = world.policies.get(*number).zip(world.workloads.get(workload)) else {
            continue;
        };
        let example = (0..policy.rules.len()).find_map(|rule| {
            let trial = context.any_matched(RuleRef { policy: *number, rule }, &Request::anything())?;
            context.is_refused(&trial).then(|| context.example(&trial, format!("asked about at {other}")))
        });
        let text = format!(
            "{} has two authorizers, {first} and {other}; Istio takes one, and refuses what either policy matches",
            target.key()
        );
        let fix = "Use one provider for a workload, or set PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS on istiod (1.30 or newer).";
        context.report(&policy.object, "/spec/provider", text, example, fix);
    }
}
