//! Rules that another rule makes unnecessary.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::formula::Formula;
use crate::authorization::judge::rule_formula;
use crate::authorization::request::{Fact, Request};
use crate::policy::{Action, Rule};

pub(super) const LINT: Lint = Lint {
    code: "subsumed-rule",
    severity: Severity::Warning,
    summary: "another rule of the same policy matches all that this one matches, so that narrowing this one changes nothing",
    check,
};

/// Rules compared with each other: more would take long and say little.
const MOST: usize = 40;

/// Rules of one policy only: that a mesh-wide policy covers what a namespace's says is how they are
/// written.
fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding() {
        if policy.rules.len() < 2
            || policy.rules.len() > MOST
            || !matches!(policy.action, Action::Allow | Action::Deny)
        {
            continue;
        }
        let Some((workload, _)) = context.guarded(number).into_iter().next() else { continue };
        for index in 0..policy.rules.len() {
            if context.has_error(policy, index) || policy.rules.get(index) == Some(&Some(Rule::default())) {
                continue;
            }
            let wider = (0..policy.rules.len()).filter(|other| *other != index).find(|other| {
                // Of two that are the same, the later one is too many.
                covers(context, workload, number, *other, index)
                    && (*other < index || !covers(context, workload, number, index, *other))
            });
            let Some(wider) = wider else { continue };
            let text = format!(
                "rule {wider} matches all that rule {index} matches: narrowing this one has no effect"
            );
            let fix = "Delete it, or narrow the other.";
            context.report(&policy.object, &format!("/spec/rules/{index}"), text, None, fix);
        }
    }
}

/// Whether one rule matches every request on every port that another matches.
fn covers(context: &mut Context<'_>, workload: usize, policy: usize, wide: usize, narrow: usize) -> bool {
    let mut seen = false;
    for (port, speaks) in context.channels(workload) {
        let Some(narrow) = context.compiled(workload, speaks, RuleRef { policy, rule: narrow }) else {
            continue;
        };
        let Some(wide) = context.compiled(workload, speaks, RuleRef { policy, rule: wide }) else {
            return false;
        };
        for principal in [Fact::Unknown, Fact::Absent] {
            for token in [Fact::Unknown, Fact::Absent] {
                let open = Request {
                    destination_port: port.port,
                    principal: principal.clone(),
                    token,
                    ..Request::anything()
                };
                let left = Formula::all([rule_formula(&narrow, &open), rule_formula(&wide, &open).negated()]);
                if context.is_possible(&left) {
                    return false;
                }
                seen |= context.is_possible(&rule_formula(&narrow, &open));
            }
        }
    }
    seen
}
