//! Wildcards that are no wildcards.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::pattern::{Pattern, is_template};

pub(super) const LINT: Lint = Lint {
    code: "middle-wildcard",
    severity: Severity::Error,
    summary: "a * that is neither first nor last is the character itself, and the value matches nothing",
    check,
};

/// `pilot/pkg/security/authz/matcher/string.go`: a leading `*` makes a suffix, else a trailing one a
/// prefix, else all of it is literal.
fn check(context: &mut Context<'_>) {
    for (_, policy) in context.policies() {
        for value in context.values(policy) {
            let field = value.field;
            let template = field == "paths" && is_template(value.text);
            let literal = match value.text.strip_prefix('*') {
                Some(rest) => rest,
                None => value.text.strip_suffix('*').unwrap_or(value.text),
            };
            if !has_affixes(field) || template || !literal.contains('*') {
                continue;
            }
            // What its author would call a match, with every wildcard filled in.
            let meant = value.text.replace('*', "x");
            let pattern = match field {
                "paths" => Pattern::path(value.text, &context.world.profile),
                "hosts" => Pattern::host(value.text),
                "principals" | "source.principal" => Pattern::principal(value.text, &context.world.profile),
                _ => Pattern::text(value.text),
            };
            if pattern.matches(&meant) {
                continue;
            }
            let text = format!(
                "the inner `*` of `{}` is the character itself: `{meant}` does not match",
                value.text
            );
            let fix = match field {
                "paths" => {
                    format!("Write a template: `{}`.", value.text.trim_start_matches('*').replace('*', "{*}"))
                }
                _ => "Write one `*` at the start or at the end, or one value for each case.".to_owned(),
            };
            let example = match field {
                "principals" | "source.principal" => {
                    super::identity::example(context, policy, &value, &meant)
                }
                "paths" => super::path_trial::unmatched(context, policy, &value, &meant),
                _ => None,
            };
            context.report(&policy.object, &value.pointer, text, example, fix);
        }
    }
}

/// Whether the values of a field are exact, prefixes or suffixes.
fn has_affixes(field: &str) -> bool {
    !matches!(
        field,
        "namespaces"
            | "source.namespace"
            | "serviceAccounts"
            | "source.serviceAccount"
            | "trustDomains"
            | "source.trustDomain"
            | "ports"
            | "destination.port"
            | "ipBlocks"
            | "remoteIpBlocks"
            | "source.ip"
            | "remote.ip"
            | "destination.ip"
    )
}
