//! ALLOW rules that a TCP port does not have.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::compile::{Fate, Protocol, is_http_only};
use crate::inbound::InboundPort;
use crate::policy::{Action, Rule};
use crate::protocol::PortProtocol;

pub(super) const LINT: Lint = Lint {
    code: "allow-dropped-on-tcp",
    severity: Severity::Error,
    summary: "an ALLOW rule with HTTP fields is for TCP ports only, where the proxy drops it whole",
    check,
};

/// `checkError` in `pilot/pkg/security/authz/model/model.go`.
fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding().filter(|(_, policy)| policy.action == Action::Allow) {
        for (index, rule) in policy.rules.iter().enumerate() {
            let Some(rule) = rule else { continue };
            let reference = RuleRef { policy: number, rule: index };
            for (workload_number, workload) in context.guarded(number) {
                let reached: Vec<InboundPort> = context
                    .ports(workload_number)
                    .into_iter()
                    .filter(|port| names(rule, port.port))
                    .collect();
                // Where an HTTP port is reached as well, that is what the rule is for.
                let Some(port) = reached.first() else { continue };
                if reached.iter().any(|port| port.protocol != PortProtocol::Tcp) {
                    continue;
                }
                let chain = context.chain(workload_number, Protocol::Tcp);
                let dropped = chain.fates.iter().find_map(|(known, fate)| match fate {
                    Fate::Dropped(unusable) if *known == reference => Some(unusable.clone()),
                    _ => None,
                });
                let Some(dropped) = dropped.filter(|_| has_http_field(rule)) else { continue };
                // Where somebody is let in by another policy, the port is not this one's concern.
                let trials: Vec<_> = context
                    .senders(workload_number, port)
                    .iter()
                    .map(|sender| context.plain(workload_number, port, Protocol::Tcp, sender))
                    .collect();
                if trials.iter().any(|trial| !context.is_refused(trial)) {
                    continue;
                }
                let example =
                    trials.first().map(|trial| context.example(trial, "let through where the rule says so"));
                let text = format!(
                    "port {} of {} is TCP for the proxy ({}), where {}: the whole rule is dropped and allows nothing",
                    port.port,
                    workload.key(),
                    port.reason,
                    dropped.reason
                );
                let fix = "If it speaks HTTP, say so (Service port name http-... or appProtocol: http); else take the HTTP fields out of the rule.";
                context.report(&policy.object, &dropped.pointer, text, example, fix);
                break;
            }
        }
    }
}

/// Whether a rule's ports leave this one in, in any of its operations.
fn names(rule: &Rule, port: u16) -> bool {
    let listed = |list: &[String]| list.iter().any(|text| text.parse() == Ok(port));
    rule.to.is_empty()
        || rule.to.iter().any(|operation| {
            operation.iter().filter(|values| values.field == "ports").all(|values| {
                (values.values.is_empty() || listed(&values.values)) && !listed(&values.not_values)
            })
        })
}

fn has_http_field(rule: &Rule) -> bool {
    rule.from.iter().chain(&rule.to).flatten().chain(&rule.when).any(|values| is_http_only(&values.field))
}
