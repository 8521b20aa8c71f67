//! Keys that Envoy does not take, so that the proxy keeps what it had.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::update::has_empty_name;

pub(super) const LINT: Lint = Lint {
    code: "refused-by-envoy",
    severity: Severity::Error,
    summary: "Envoy refuses the listener with this condition and goes on with the old one",
    check,
};

/// Measured (tests/envoy/MEASURED.md, "Updates that Envoy does not take"): an empty name in brackets.
fn check(context: &mut Context<'_>) {
    for (_, policy) in context.policies() {
        for (index, rule) in policy.rules.iter().enumerate() {
            for condition in rule.iter().flat_map(|rule| &rule.when) {
                let key = &condition.field;
                if !has_empty_name(key) {
                    continue;
                }
                let text = format!(
                    "`{key}` has an empty name: every proxy that rule {index} selects refuses its new configuration and keeps the old, stale, for all later changes too"
                );
                let at = condition.pointer.trim_end_matches("/values").to_owned();
                context.report(&policy.object, &at, text, None, "Write the name in the brackets.");
            }
        }
    }
}
