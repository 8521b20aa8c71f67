//! CUSTOM policies whose provider cannot be asked.

use crate::authorization::request::Request;
use std::collections::BTreeSet;

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "custom-provider",
    severity: Severity::Error,
    summary: "the provider of a CUSTOM policy is not in the mesh configuration, so that all it matches is refused",
    check,
};

fn check(context: &mut Context<'_>) {
    let mesh = &context.world.mesh;
    for (number, policy) in context.deciding() {
        let Action::Custom { provider } = &policy.action else { continue };
        if !mesh.is_known || provider.is_empty() || mesh.providers.iter().any(|(name, _)| name == provider) {
            continue;
        }
        let example = (0..policy.rules.len()).find_map(|rule| {
            let trial = context.any_matched(RuleRef { policy: number, rule }, &Request::anything())?;
            context.is_refused(&trial).then(|| context.example(&trial, format!("asked about at {provider}")))
        });
        let known: BTreeSet<&str> = mesh.providers.iter().map(|(name, _)| name.as_str()).collect();
        let known: Vec<&str> = known.into_iter().collect();
        let fix = if known.is_empty() {
            "Define it under extensionProviders in the mesh configuration.".to_owned()
        } else {
            format!("Define it under extensionProviders; there are {}.", known.join(", "))
        };
        let text = format!(
            "provider {provider} is not in the mesh configuration: every request that the policy matches is refused"
        );
        context.report(&policy.object, "/spec/provider", text, example, fix);
    }
}
