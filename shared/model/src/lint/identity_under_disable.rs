//! Rules about identities where there are none.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::attribute::Attribute;
use crate::authorization::chain::RuleRef;
use crate::peer_authentication::Mode;

pub(super) const LINT: Lint = Lint {
    code: "identity-under-disable",
    severity: Severity::Error,
    summary: "the rule asks for an identity, and mutual TLS is disabled on the port",
    check,
};

fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding() {
        for index in 0..policy.rules.len() {
            let rule = RuleRef { policy: number, rule: index };
            'found: for (workload_number, workload) in context.guarded(number) {
                for (port, speaks) in context.channels(workload_number) {
                    let in_force = context.evaluator.mode(workload, port.port);
                    if in_force.mode != Mode::Disable || port.gateway.is_some() {
                        continue;
                    }
                    let Some(compiled) = context.compiled(workload_number, speaks, rule) else { continue };
                    let reaches = compiled.to.iter().any(|conditions| {
                        conditions.iter().all(|condition| {
                            condition.attribute != Attribute::DestinationPort
                                || condition.holds(&crate::authorization::request::Request {
                                    destination_port: port.port,
                                    ..Default::default()
                                }) == Some(true)
                        })
                    });
                    let identity = |condition: &&crate::authorization::condition::Condition| {
                        condition.attribute == Attribute::Principal && !condition.negated
                    };
                    let asks = compiled.from.iter().all(|source| source.iter().any(|c| identity(&c)));
                    let Some(first) = compiled.from.iter().flatten().find(identity) else { continue };
                    if !reaches || !asks {
                        continue;
                    }
                    let pointer = first.pointer.to_string();
                    let Some(sender) = context.senders(workload_number, &port).into_iter().next() else {
                        continue;
                    };
                    let trial = context.plain(workload_number, &port, speaks, &sender);
                    let example = context.example(&trial, "decided by this rule");
                    let by = in_force.by.map_or(String::new(), |(policy, _)| {
                        format!(" by PeerAuthentication {}", policy.object.key())
                    });
                    let text = format!(
                        "mutual TLS is DISABLE on port {} of {}{by}, so no caller shows an identity there and the rule never matches",
                        port.port,
                        workload.key()
                    );
                    let fix = "Set the port's mTLS mode to STRICT or PERMISSIVE.";
                    context.report(&policy.object, &pointer, text, Some(example), fix);
                    break 'found;
                }
            }
        }
    }
}
