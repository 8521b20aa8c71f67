//! Issuers without a subject.

use super::context::Context;
use super::finding::{Lint, Severity};

pub(super) const LINT: Lint = Lint {
    code: "bare-issuer",
    severity: Severity::Error,
    summary: "a request principal without a slash or wildcard asks for a token with an empty subject",
    check,
};

/// `requestPrincipalGenerator`: split at the last slash into issuer and subject, both exact; measured on
/// Envoy (tests/envoy/MEASURED.md, JWT). An issuer that is a URL is split at its own slash.
fn check(context: &mut Context<'_>) {
    for (_, policy) in context.policies() {
        for value in context.values(policy) {
            if !matches!(value.field, "requestPrincipals" | "request.auth.principal")
                || value.text.contains('*')
            {
                continue;
            }
            let issuers: Vec<&str> = context
                .world
                .request_authentications
                .iter()
                .flat_map(|authentication| &authentication.rules)
                .map(|rule| rule.issuer.as_str())
                .collect();
            let is_issuer =
                issuers.contains(&value.text) || !value.text.contains('/') || value.text.ends_with('/');
            if !is_issuer {
                continue;
            }
            let trimmed = value.text.trim_end_matches('/');
            let text = match value.text.rsplit_once('/').filter(|(_, subject)| !subject.is_empty()) {
                Some((issuer, subject)) => format!(
                    "`{}` is an issuer without a subject: Istio reads it as issuer {issuer}, subject {subject}",
                    value.text
                ),
                None => format!(
                    "`{}` is an issuer without a subject: it asks for a token whose subject is empty",
                    value.text
                ),
            };
            let fix = format!("Write \"{trimmed}/*\" for all of its tokens.");
            context.report(&policy.object, &value.pointer, text, None, fix);
        }
    }
}
