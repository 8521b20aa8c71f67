//! Ports of the Service in place of the workload's.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::request::Request;
use crate::inbound;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "service-port",
    severity: Severity::Error,
    summary: "the policy names the Service's port, and policies see the workload's",
    check,
};

/// `portGenerator` in `generator.go`: the original destination, which is the workload's port.
fn check(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.policies() {
        for value in context.values(policy) {
            if !matches!(value.field, "ports" | "destination.port") {
                continue;
            }
            let Ok(named) = value.text.parse::<u16>() else { continue };
            let guarded = context.enforced(number);
            let opens = guarded
                .iter()
                .any(|(workload, _)| context.ports(*workload).iter().any(|port| port.port == named));
            let meant = guarded.iter().find_map(|(workload_number, workload)| {
                world.services_in(&workload.namespace).find_map(|service| {
                    let selects = service.selector.as_ref().is_some_and(|s| s.selects(&workload.labels));
                    let port = service.ports.iter().find(|port| selects && port.port == named)?;
                    let target = inbound::target(port, workload).filter(|target| *target != named)?;
                    Some((*workload_number, service.object.key(), target))
                })
            });
            let Some((workload, service, target)) = meant.filter(|_| !opens) else { continue };
            let port = context.ports(workload).into_iter().find(|port| port.port == target);
            let example = port.and_then(|port| {
                let speaks = *crate::question::access::protocols(&port).first()?;
                let rule = crate::authorization::chain::RuleRef { policy: number, rule: value.rule };
                context.senders(workload, &port).into_iter().find_map(|sender| {
                    let trial = context.plain(workload, &port, speaks, &sender);
                    let misses = context.compiled(workload, speaks, rule).is_none_or(|rule| {
                        rule.matches(&crate::authorization::request::Request {
                            destination_port: port.port,
                            ..Request::anything()
                        }) == Some(false)
                    });
                    let (surprises, expected) = match (&policy.action, value.negated) {
                        (Action::Allow, false) => {
                            (context.is_refused(&trial), "let through where the rule says so")
                        }
                        (Action::Deny, false) => (context.passes(&trial), "refused where the rule says so"),
                        _ => return None,
                    };
                    (misses && surprises).then(|| context.example(&trial, expected))
                })
            });
            let text = format!(
                "{named} is the port of Service {service}; requests arrive at the workload's port {target}, so the rule does not see {named}"
            );
            context.report(&policy.object, &value.pointer, text, example, format!("Write \"{target}\"."));
        }
    }
}
