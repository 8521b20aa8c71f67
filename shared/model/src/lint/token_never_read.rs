//! Rules about tokens where nobody reads tokens.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::compile::Protocol;
use crate::authorization::request::Request;
use crate::authorization::selection;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "token-never-read",
    severity: Severity::Error,
    summary: "the rule asks for a token, and no RequestAuthentication selects the workload",
    check,
};

/// Without RequestAuthentication there is no `jwt_authn` filter, so `request.auth.*` never is there.
fn check(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.deciding() {
        let mut reported = Vec::new();
        for value in context.values(policy) {
            if !is_token(value.field) || reported.contains(&value.rule) {
                continue;
            }
            let rule = RuleRef { policy: number, rule: value.rule };
            let found = context
                .guarded(number)
                .into_iter()
                .filter(|(_, workload)| selection::tokens(world, workload).is_empty())
                .find(|(workload, _)| {
                    context.channels(*workload).iter().any(|(_, speaks)| *speaks == Protocol::Http)
                });
            let Some((workload, target)) = found else { continue };
            let matches_absent = value.negated;
            let mut example = None;
            for (port, speaks) in context.channels(workload) {
                if speaks == Protocol::Tcp {
                    continue;
                }
                for sender in context.senders(workload, &port) {
                    if example.is_some() {
                        continue;
                    }
                    let found = context.matched(workload, &port, speaks, &sender, rule, &Request::anything());
                    let trial = match found {
                        Some(trial) if matches_absent => trial,
                        None if !matches_absent => context.plain(workload, &port, speaks, &sender),
                        _ => continue,
                    };
                    let (surprises, expected) = match (&policy.action, matches_absent) {
                        (Action::Allow, false) => {
                            (context.is_refused(&trial), "let through with a valid token")
                        }
                        (Action::Deny, true) => {
                            (context.is_denied_by(&trial, rule), "let through with a valid token")
                        }
                        (Action::Deny, false) => (context.passes(&trial), "refused with such a token"),
                        _ => (false, ""),
                    };
                    if surprises {
                        example = Some(context.example(&trial, expected));
                    }
                }
            }
            reported.push(value.rule);
            let effect = match (&policy.action, matches_absent) {
                (Action::Allow, false) => "the rule allows nothing, whatever token comes",
                (Action::Allow, true) => "the rule holds for every token",
                (_, true) => "the rule denies everything, whatever token comes",
                (_, false) => "the rule denies nothing, whatever token comes",
            };
            let text = format!(
                "no RequestAuthentication selects {}, so nobody reads tokens there and {effect}",
                target.key()
            );
            let fix = "Add a RequestAuthentication with the issuer's jwtRules that selects the workload.";
            context.report(&policy.object, &value.pointer, text, example, fix);
        }
    }
}

/// Whether a field or key is read from a token.
pub(super) fn is_token(field: &str) -> bool {
    field == "requestPrincipals" || field.starts_with("request.auth.")
}
