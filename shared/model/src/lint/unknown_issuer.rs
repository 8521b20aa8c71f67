//! Issuers whose tokens are refused before any policy.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::selection;

pub(super) const LINT: Lint = Lint {
    code: "unknown-issuer",
    severity: Severity::Error,
    summary: "the rule names an issuer that no RequestAuthentication of the workload accepts",
    check,
};

/// A token of an issuer that no rule knows is answered with 401 (tests/envoy/MEASURED.md, JWT).
fn check(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.policies() {
        for value in context.values(policy) {
            let issuer = match value.field {
                "requestPrincipals" | "request.auth.principal" if !value.text.starts_with('*') => {
                    value.text.rsplit_once('/').map(|(issuer, _)| issuer)
                }
                "request.auth.claims[iss]" if !value.text.contains('*') => Some(value.text),
                _ => None,
            };
            let Some(issuer) = issuer else { continue };
            let known: Vec<String> = context
                .guarded(number)
                .iter()
                .flat_map(|(_, workload)| selection::tokens(world, workload))
                .map(|rule| rule.issuer)
                .collect();
            if known.is_empty() || known.iter().any(|known| known == issuer || known == value.text) {
                continue;
            }
            let text = format!(
                "no token of issuer `{issuer}` ever gets here: the workload's RequestAuthentications accept {} and answer 401 to others",
                known.join(", ")
            );
            let fix = format!("Add a jwtRule with issuer {issuer}, or write the issuer that there is.");
            context.report(&policy.object, &value.pointer, text, None, fix);
        }
    }
}
