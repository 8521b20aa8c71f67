//! Principals with `spiffe://`.

use super::context::Context;
use super::finding::{Lint, Severity};

pub(super) const LINT: Lint = Lint {
    code: "principal-with-scheme",
    severity: Severity::Error,
    summary: "a principal with spiffe:// never matches: Istio adds that itself",
    check,
};

/// `principalGenerator` in `generator.go` puts `spiffe://` in front of every value.
fn check(context: &mut Context<'_>) {
    for (_, policy) in context.policies() {
        for value in context.values(policy) {
            let is_principal = matches!(value.field, "principals" | "source.principal");
            let Some(rest) = value.text.strip_prefix("spiffe://").filter(|_| is_principal) else { continue };
            let text = format!(
                "`{}` never matches: Istio adds spiffe:// itself and would look for spiffe://spiffe://...",
                value.text
            );
            let example = super::identity::example(context, policy, &value, rest);
            context.report(&policy.object, &value.pointer, text, example, format!("Write `{rest}`."));
        }
    }
}
