//! Path templates that end the proxy's process.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::update::template_refused;
use crate::pattern::is_template;

pub(super) const LINT: Lint = Lint {
    code: "template-aborts-proxy",
    severity: Severity::Error,
    summary: "a path template that passes Istio's webhook makes Envoy abort",
    check,
};

/// Measured on Envoy 1.36.4, 1.38.3 and 1.40.0 (tests/envoy/MEASURED.md, "Updates that Envoy does not
/// take"): the webhook trims slashes first (`CheckValidPathTemplate`), Envoy does not, and aborts.
fn check(context: &mut Context<'_>) {
    if !context.world.profile.path_templates {
        return;
    }
    for (number, policy) in context.policies() {
        for value in context.values(policy) {
            if value.field != "paths" || !is_template(value.text) {
                continue;
            }
            let Some(what) = template_refused(value.text, context.world.profile.wide_templates) else {
                continue;
            };
            let hit: Vec<String> =
                context.guarded(number).iter().map(|(_, workload)| workload.key()).take(3).collect();
            let hit = if hit.is_empty() { "every proxy that it selects".to_owned() } else { hit.join(", ") };
            let text = format!(
                "the template `{}` {what}: Envoy aborts when it gets it, and again after every restart ({hit})",
                value.text
            );
            let trimmed = value.text.trim_matches('/');
            let fix = if trimmed.contains("//") || trimmed.is_empty() {
                "Write a template with a leading slash and no empty segment, such as `/api/{*}`.".to_owned()
            } else {
                format!("Write `/{trimmed}`.")
            };
            context.report(&policy.object, &value.pointer, text, None, fix);
        }
    }
}
