//! `notPrincipals` in ALLOW, which a client without any identity satisfies.

use super::context::{Context, plaintext};
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::request::Request;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "negative-identity",
    severity: Severity::Error,
    summary: "an ALLOW rule that only says who may not come lets everybody without an identity in",
    check,
};

const NEGATIVE: [&str; 4] = ["notPrincipals", "notNamespaces", "notServiceAccounts", "notTrustDomains"];

fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding().filter(|(_, policy)| policy.action == Action::Allow) {
        let mut reported = Vec::new();
        for value in context.values(policy) {
            let is_negative = value.negated
                && (NEGATIVE.contains(&value.list())
                    || matches!(
                        value.field,
                        "source.principal"
                            | "source.namespace"
                            | "source.serviceAccount"
                            | "source.trustDomain"
                    ));
            if !is_negative || reported.contains(&value.rule) {
                continue;
            }
            let rule = RuleRef { policy: number, rule: value.rule };
            let mut example = None;
            for (workload, _) in context.guarded(number) {
                for (port, speaks) in context.channels(workload) {
                    // A gateway's clients never have an identity: there it may well be meant.
                    if example.is_some() || port.gateway.is_some() {
                        continue;
                    }
                    let found =
                        context.matched(workload, &port, speaks, &plaintext(), rule, &Request::anything());
                    if let Some(trial) = found.filter(|trial| context.is_allowed_by(trial, rule)) {
                        example =
                            Some(context.example(&trial, "refused: the caller shows no identity at all"));
                    }
                }
            }
            if let Some(example) = example {
                reported.push(value.rule);
                let text = format!(
                    "a caller in plaintext has no identity, so it satisfies {}: whoever is kept out comes in without a sidecar",
                    value.list()
                );
                let fix =
                    "Add `principals: [\"*\"]` (any identity) to the same source, or name who may come.";
                context.report(&policy.object, &value.pointer, text, Some(example), fix);
            }
        }
    }
}
