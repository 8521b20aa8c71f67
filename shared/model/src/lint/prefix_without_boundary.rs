//! Prefixes that end inside a name.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::pattern::is_template;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "prefix-without-boundary",
    severity: Severity::Warning,
    summary: "an ALLOW prefix without a slash before its * also allows longer names",
    check,
};

fn check(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.deciding().filter(|(_, policy)| policy.action == Action::Allow) {
        for value in context.values(policy) {
            let prefix = value.text.strip_suffix('*').unwrap_or_default();
            let ends_in_name = prefix.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric());
            if value.field != "paths" || value.negated || is_template(value.text) || !ends_in_name {
                continue;
            }
            if prefix.starts_with('*') {
                continue;
            }
            let longer = format!("{prefix}-admin");
            let rule = RuleRef { policy: number, rule: value.rule };
            let Some(base) = super::context::with_path(world, &longer) else { continue };
            let found = context.any_matched(rule, &base);
            let Some(trial) = found.filter(|trial| context.is_allowed_by(trial, rule)) else { continue };
            let example = context.example(&trial, format!("refused: it is not below {prefix}"));
            let text = format!("`{}` also allows every longer name, such as {longer}", value.text);
            let fix = format!("Write two paths: \"{prefix}\" and \"{prefix}/*\".");
            context.report(&policy.object, &value.pointer, text, Some(example), fix);
        }
    }
}
