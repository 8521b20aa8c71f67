//! Fields that the mesh's version does not know.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::request::Request;
use crate::pattern::is_template;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "newer-than-mesh",
    severity: Severity::Error,
    summary: "the mesh's version of Istio does not know a field or syntax that the policy uses",
    check,
};

fn check(context: &mut Context<'_>) {
    let profile = context.world.profile.clone();
    for (number, policy) in context.policies() {
        if !policy.target_refs.is_empty() && !profile.target_refs {
            let text = format!(
                "Istio {} does not know targetRefs (1.22): without them the policy is for the whole namespace",
                profile.version
            );
            let fix = "Select the pods by `selector.matchLabels`.";
            context.report(&policy.object, "/spec/targetRefs", text, None, fix);
        }
        let mut reported: Vec<(usize, &str)> = Vec::new();
        for value in context.values(policy) {
            let (since, effect) = match value.field {
                "serviceAccounts" if !profile.service_accounts => {
                    ("1.25", "it drops the field, and the source matches more")
                }
                "trustDomains" if !profile.trust_domains => {
                    ("1.30.2", "it drops the field, and the source matches more")
                }
                "source.serviceAccount" if !profile.service_accounts => ("1.25", "it skips the whole rule"),
                "source.trustDomain" if !profile.trust_domains => ("1.30.2", "it skips the whole rule"),
                "paths" if is_template(value.text) && !profile.path_templates => {
                    ("1.22", "it takes the braces literally")
                }
                _ => continue,
            };
            if reported.contains(&(value.rule, value.field)) {
                continue;
            }
            reported.push((value.rule, value.field));
            let rule = RuleRef { policy: number, rule: value.rule };
            // A source that lost its only field lets everybody in.
            let anybody = context.any_matched(rule, &Request::anything());
            let example = anybody
                .filter(|trial| policy.action == Action::Allow && context.is_allowed_by(trial, rule))
                .filter(|_| matches!(value.field, "serviceAccounts" | "trustDomains"))
                .map(|trial| context.example(&trial, format!("refused by {}", value.field)));
            let text = format!("Istio {} does not know {} ({since}): {effect}", profile.version, value.field);
            let fix = match value.field {
                "serviceAccounts" | "source.serviceAccount" => {
                    "Write principals: TRUST-DOMAIN/ns/NAMESPACE/sa/NAME."
                }
                "trustDomains" | "source.trustDomain" => "Write principals: TRUST-DOMAIN/*.",
                _ => "Write exact paths, prefixes or suffixes.",
            };
            context.report(&policy.object, &value.pointer, text, example, fix);
        }
    }
}
