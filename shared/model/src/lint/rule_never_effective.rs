//! ALLOW rules of which DENY leaves nothing.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::formula::Formula;
use crate::authorization::judge::rule_formula;
use crate::authorization::request::{Fact, Request};
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "rule-never-effective",
    severity: Severity::Warning,
    summary: "DENY rules deny all that an ALLOW rule allows",
    check,
};

fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding().filter(|(_, policy)| policy.action == Action::Allow) {
        for index in 0..policy.rules.len() {
            let rule = RuleRef { policy: number, rule: index };
            if context.has_error(policy, index) {
                continue;
            }
            let mut denied_by = None;
            let mut gets_through = false;
            for (workload, _) in context.guarded(number) {
                for (port, speaks) in context.channels(workload) {
                    let Some(compiled) = context.compiled(workload, speaks, rule) else { continue };
                    let chain = context.chain(workload, speaks);
                    // Tokens may be anything: nothing is claimed that a token could change.
                    let open = Request { destination_port: port.port, ..Request::anything() };
                    let open =
                        if chain.tokens.is_empty() { Request { token: Fact::Absent, ..open } } else { open };
                    let matches = rule_formula(&compiled, &open);
                    if !context.is_possible(&matches) {
                        continue;
                    }
                    let spared = chain.deny.iter().map(|deny| rule_formula(deny, &open).negated());
                    if context.is_possible(&Formula::all(spared.chain([matches]))) {
                        gets_through = true;
                    } else if let Some(deny) = chain.deny.first() {
                        denied_by.get_or_insert(deny.reference());
                    }
                }
            }
            let Some(_) = denied_by.filter(|_| !gets_through) else { continue };
            let Some(trial) = context.any_matched(rule, &Request::anything()) else { continue };
            if !context.is_refused(&trial) {
                continue;
            }
            let example = context.example(&trial, "let through by this rule");
            let text = "every request that this rule allows is denied by DENY rules, so it has no effect";
            let fix = "Narrow the DENY rule, or delete this one.";
            context.report(&policy.object, &format!("/spec/rules/{index}"), text, Some(example), fix);
        }
    }
}
