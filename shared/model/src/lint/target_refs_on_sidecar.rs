//! Policies for waypoints in a mesh of sidecars.

use super::context::Context;
use super::finding::{Lint, Severity};

pub(super) const LINT: Lint = Lint {
    code: "target-refs-on-sidecar",
    severity: Severity::Error,
    summary: "a policy with targetRefs to Services is ignored by sidecars",
    check,
};

/// `ShouldAttachPolicy` in `pilot/pkg/model/policyattachment.go`: a proxy that is not of the Gateway
/// API ignores every policy with targetRefs.
fn check(context: &mut Context<'_>) {
    if !context.world.profile.target_refs {
        return;
    }
    for (_, policy) in context.policies() {
        let of_waypoint = |kind: &str| matches!(kind, "Service" | "ServiceEntry");
        if policy.target_refs.is_empty() || !policy.target_refs.iter().all(|target| of_waypoint(&target.kind))
        {
            continue;
        }
        let pointer = match policy.object.get("/spec/targetRefs") {
            Some(_) => "/spec/targetRefs",
            None => "/spec/targetRef",
        };
        let world = context.world;
        let service = policy.target_refs.iter().find_map(|target| {
            world.services_in(&policy.object.namespace).find(|service| service.object.name == target.name)
        });
        let mut example = None;
        let workload = service.and_then(|service| {
            world.workloads.iter().position(|workload| {
                workload.namespace == policy.object.namespace
                    && workload.injection.injected
                    && service.selector.as_ref().is_some_and(|selector| selector.selects(&workload.labels))
            })
        });
        if let Some(number) = workload {
            for (port, speaks) in context.channels(number) {
                for sender in context.senders(number, &port) {
                    let trial = context.plain(number, &port, speaks, &sender);
                    if example.is_none() && context.passes(&trial) {
                        example = Some(context.example(&trial, "decided by this policy"));
                    }
                }
            }
        }
        let fix = match service.and_then(|service| service.selector.as_ref()) {
            Some(selector) => {
                let labels: Vec<String> =
                    selector.labels().iter().map(|(name, value)| format!("{name}: {value}")).collect();
                format!("Write `selector: {{ matchLabels: {{ {} }} }}` instead.", labels.join(", "))
            }
            None => "Select the pods by `selector.matchLabels` instead.".to_owned(),
        };
        let text = "targetRefs to Services are for ambient waypoints: sidecars ignore the whole policy";
        context.report(&policy.object, pointer, text, example, fix);
    }
}
