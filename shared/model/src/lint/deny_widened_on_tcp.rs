//! DENY rules that deny more on a TCP port than they say.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::compile::{Fate, Protocol};
use crate::policy::Action;
use crate::protocol::PortProtocol;

pub(super) const LINT: Lint = Lint {
    code: "deny-widened-on-tcp",
    severity: Severity::Error,
    summary: "a DENY rule loses its HTTP conditions on a TCP port and denies what they would have spared",
    check,
};

/// `Generate` in `pilot/pkg/security/authz/model/model.go`: what a TCP chain does not have is left
/// out of a DENY rule, and an emptied side matches everything.
fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding().filter(|(_, policy)| policy.action == Action::Deny) {
        for index in 0..policy.rules.len() {
            let reference = RuleRef { policy: number, rule: index };
            'found: for (workload_number, workload) in context.guarded(number) {
                let chain = context.chain(workload_number, Protocol::Tcp);
                let widened = chain.fates.iter().find_map(|(known, fate)| match fate {
                    Fate::Widened(unusable) if *known == reference => unusable.first().cloned(),
                    _ => None,
                });
                let Some(widened) = widened else { continue };
                for port in context.ports(workload_number) {
                    if port.protocol != PortProtocol::Tcp {
                        continue;
                    }
                    for sender in context.senders(workload_number, &port) {
                        let trial = context.plain(workload_number, &port, Protocol::Tcp, &sender);
                        if !context.is_denied_by(&trial, reference) {
                            continue;
                        }
                        let example = context.example(&trial, "not this rule's business: it is no HTTP");
                        let text = format!(
                            "{}, and port {} of {} is TCP ({}): there the rule denies without that condition",
                            widened.reason,
                            port.port,
                            workload.key(),
                            port.reason
                        );
                        let fix = "Add `ports` with the HTTP ports to every `to.operation` of the rule.";
                        context.report(&policy.object, &widened.pointer, text, Some(example), fix);
                        break 'found;
                    }
                }
            }
        }
    }
}
