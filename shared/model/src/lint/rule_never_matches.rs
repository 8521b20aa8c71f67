//! Rules that contradict themselves.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::judge::rule_formula;
use crate::authorization::request::{Fact, Request};

pub(super) const LINT: Lint = Lint {
    code: "rule-never-matches",
    severity: Severity::Error,
    summary: "no request can satisfy all conditions of a rule at once",
    check,
};

/// The last of all: rules for which another lint has an explanation are left out.
fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding() {
        for index in 0..policy.rules.len() {
            let rule = RuleRef { policy: number, rule: index };
            let guarded = context.guarded(number);
            if guarded.is_empty()
                || context.has_error(policy, index)
                || context.has_finding(policy, index, "unopened-port")
            {
                continue;
            }
            let mut seen = false;
            let mut possible = false;
            for (workload, _) in guarded {
                for (port, speaks) in context.channels(workload) {
                    seen = true;
                    let Some(compiled) = context.compiled(workload, speaks, rule) else { continue };
                    let chain = context.chain(workload, speaks);
                    let open = Request { destination_port: port.port, ..Request::anything() };
                    let open =
                        if chain.tokens.is_empty() { Request { token: Fact::Absent, ..open } } else { open };
                    let identified = rule_formula(&compiled, &open);
                    let anonymous =
                        rule_formula(&compiled, &Request { principal: Fact::Absent, ..open.clone() });
                    let plain = rule_formula(&compiled, &Request { sni: Fact::Absent, ..open });
                    possible |=
                        [identified, anonymous, plain].iter().any(|formula| context.is_possible(formula));
                }
            }
            if !seen || possible {
                continue;
            }
            let text =
                "no request to the workloads that the policy selects satisfies all conditions of this rule";
            let fix = "Look for conditions that exclude each other, or write them as rules of their own.";
            context.report(&policy.object, &format!("/spec/rules/{index}"), text, None, fix);
        }
    }
}
