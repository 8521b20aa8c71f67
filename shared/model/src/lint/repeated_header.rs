//! Headers that are sent twice.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::request::Request;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "repeated-header",
    severity: Severity::Error,
    summary: "in the mesh's version of Envoy a header that is sent twice evades a DENY of its value",
    check,
};

/// GHSA-ghc4-35x6-crw5 (CVE-2026-26308): the values of a repeated header were joined with commas before
/// they were compared.
fn check(context: &mut Context<'_>) {
    if context.world.profile.separate_header_values {
        return;
    }
    for (number, policy) in context.deciding().filter(|(_, policy)| policy.action == Action::Deny) {
        for value in context.values(policy) {
            let Some(name) = value
                .field
                .strip_prefix("request.headers[")
                .and_then(|name| name.strip_suffix(']'))
                .filter(|_| !value.negated && !value.text.contains('*'))
            else {
                continue;
            };
            let rule = RuleRef { policy: number, rule: value.rule };
            let name = name.to_ascii_lowercase();
            let Some(mut trial) = context.any_matched(rule, &Request::anything()) else { continue };
            // What Envoy compares there is the joined value.
            trial.request.headers.insert(name.clone(), vec![format!("{},x", value.text)]);
            if !context.passes(&trial) {
                continue;
            }
            let example = context.example(&trial, format!("refused, as with {name}: {} alone", value.text));
            let text = format!(
                "Istio {}'s Envoy joins the values of a repeated header, so {name} sent twice evades `{}`",
                context.world.profile.version, value.text
            );
            let fix = "Upgrade (1.27.9, 1.28.6, 1.29.2 or 1.30), or allow the values that may come instead.";
            context.report(&policy.object, &value.pointer, text, Some(example), fix);
        }
    }
}
