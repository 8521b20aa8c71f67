//! Dots that match any character.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::pattern::Pattern;

pub(super) const LINT: Lint = Lint {
    code: "regex-metacharacters",
    severity: Severity::Warning,
    summary: "in the mesh's version of Istio a dot in a suffix principal or service account matches any character",
    check,
};

/// Release note 59992: values went into regular expressions without quoting.
fn check(context: &mut Context<'_>) {
    let profile = context.world.profile.clone();
    for (_, policy) in context.policies() {
        for value in context.values(policy) {
            let other = value.text.replace('.', "-");
            let (fixed, matched) = match value.field {
                "principals" | "source.principal" if value.text.starts_with('*') => {
                    let text = format!("x{}", other.trim_start_matches('*'));
                    ("1.28.7, 1.29.3 or 1.30", Pattern::principal(value.text, &profile).matches(&text))
                }
                "serviceAccounts" | "source.serviceAccount" if profile.service_accounts => {
                    let own = &policy.object.namespace;
                    let (namespace, name) = other.split_once('/').unwrap_or((own, &other));
                    let text = context.world.principal(namespace, name);
                    let matched = Pattern::service_account(value.text, own, &profile)
                        .iter()
                        .any(|pattern| pattern.matches(&text));
                    ("1.27.9, 1.28.6, 1.29.2 or 1.30", matched)
                }
                _ => continue,
            };
            if !value.text.contains('.') || !matched {
                continue;
            }
            let text = format!(
                "Istio {} reads `{}` as a regular expression: `{other}` matches too",
                profile.version, value.text
            );
            let fix = format!("Write the principal in full, or upgrade to {fixed}.");
            context.report(&policy.object, &value.pointer, text, None, fix);
        }
    }
}
