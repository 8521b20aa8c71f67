//! Principals that the mesh's own trust domain does not reach.

use super::context::Context;
use super::finding::{Lint, Severity};

pub(super) const LINT: Lint = Lint {
    code: "short-principal",
    severity: Severity::Error,
    summary: "cluster.local is not replaced in a principal of fewer than five parts",
    check,
};

/// `bundle.go` replaces the trust domain of values of exactly five parts (istio#47322).
fn check(context: &mut Context<'_>) {
    let domains = &context.world.mesh.trust_domains;
    if !context.world.mesh.is_known || domains.iter().any(|domain| domain == "cluster.local") {
        return;
    }
    for (_, policy) in context.policies() {
        for value in context.values(policy) {
            let parts: Vec<&str> = value.text.split('/').collect();
            if !matches!(value.field, "principals" | "source.principal")
                || parts.first() != Some(&"cluster.local")
                || parts.len() == 5
            {
                continue;
            }
            let own = domains.own();
            let meant = value.text.replacen("cluster.local", own, 1);
            let principal = meant.trim_end_matches('*').trim_end_matches('/').to_owned();
            let principal = match parts.as_slice() {
                [_, "ns", namespace, ..] if *namespace != "*" => {
                    context.world.principal(namespace, "some-account")
                }
                _ => format!(
                    "{}/ns/some-namespace/sa/some-account",
                    principal.split('/').next().unwrap_or(own)
                ),
            };
            let example = super::identity::example(context, policy, &value, &principal);
            let text = format!(
                "`{}` never matches: the mesh's trust domain is {own}, and Istio replaces cluster.local only in principals of five parts",
                value.text
            );
            context.report(&policy.object, &value.pointer, text, example, format!("Write `{meant}`."));
        }
    }
}
