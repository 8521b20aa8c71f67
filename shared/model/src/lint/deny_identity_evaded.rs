//! DENY by identity, which a caller evades by showing none.

use super::context::{Context, plaintext};
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::connection::Presents;
use crate::authorization::request::Request;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "deny-identity-evaded",
    severity: Severity::Warning,
    summary: "who is denied by identity comes in by plaintext, which the port still accepts",
    check,
};

/// A pod chooses for itself whether its calls pass its sidecar (excludeOutboundPorts, a call by pod IP):
/// without STRICT, a DENY of identities is a request, not a rule.
fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding().filter(|(_, policy)| policy.action == Action::Deny) {
        let mut reported = Vec::new();
        for value in context.values(policy) {
            let by_identity = !value.negated
                && matches!(
                    value.field,
                    "principals"
                        | "namespaces"
                        | "serviceAccounts"
                        | "trustDomains"
                        | "source.principal"
                        | "source.namespace"
                        | "source.serviceAccount"
                        | "source.trustDomain"
                );
            if !by_identity || reported.contains(&value.rule) {
                continue;
            }
            let rule = RuleRef { policy: number, rule: value.rule };
            let mut example = None;
            'found: for (workload, _) in context.guarded(number) {
                for (port, speaks) in context.channels(workload) {
                    if port.gateway.is_some() {
                        continue;
                    }
                    for sender in context.senders(workload, &port) {
                        if !matches!(sender.way.presents, Presents::Identity(_)) {
                            continue;
                        }
                        let found =
                            context.matched(workload, &port, speaks, &sender, rule, &Request::anything());
                        let Some(mut trial) = found.filter(|trial| context.is_denied_by(trial, rule)) else {
                            continue;
                        };
                        trial.sender = plaintext();
                        trial.sender.name = format!("{}, around its sidecar in plaintext", sender.name);
                        if context.passes(&trial) {
                            example = Some(context.example(&trial, "refused, as with its identity"));
                            break 'found;
                        }
                    }
                }
            }
            if let Some(example) = example {
                reported.push(value.rule);
                let text = format!(
                    "the port also takes plaintext, which shows no identity: who is denied by {} calls the pod's IP and gets in",
                    value.list()
                );
                let fix = "Set mTLS to STRICT (PeerAuthentication), or allow by identity instead of denying.";
                context.report(&policy.object, &value.pointer, text, Some(example), fix);
            }
        }
    }
}
