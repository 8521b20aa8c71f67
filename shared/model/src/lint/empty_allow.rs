//! ALLOW with an empty list of rules.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "empty-allow",
    severity: Severity::Warning,
    summary: "`rules` is written and empty: the policy allows nothing, and denies everything",
    check,
};

/// `spec: {}` is the usual way to deny by default; `rules:` with nothing behind it looks like
/// something that got lost.
fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding() {
        let is_written = policy.object.get("/spec").and_then(|spec| spec.get("rules")).is_some();
        if policy.action != Action::Allow || !policy.rules.is_empty() || !is_written {
            continue;
        }
        let mut example = None;
        for (workload, _) in context.guarded(number) {
            for (port, speaks) in context.channels(workload) {
                for sender in context.senders(workload, &port) {
                    let trial = context.plain(workload, &port, speaks, &sender);
                    if example.is_none() && context.is_refused(&trial) {
                        example = Some(
                            context.example(&trial, "let through, if no rules were to mean no restriction"),
                        );
                    }
                }
            }
        }
        let text =
            "`rules` is empty: the policy matches no request, so it allows nothing and all else is denied";
        let fix =
            "Write the rules; `rules: [{}]` allows everything, `spec: {}` denies by default and says so.";
        context.report(&policy.object, "/spec/rules", text, example, fix);
    }
}
