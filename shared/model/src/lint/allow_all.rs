//! An empty rule among narrow ones.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::request::Request;
use crate::policy::{Action, Rule};

pub(super) const LINT: Lint = Lint {
    code: "allow-all",
    severity: Severity::Error,
    summary: "an empty ALLOW rule matches everything, so that other ALLOW policies of the workload restrict nothing",
    check,
};

fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding().filter(|(_, policy)| policy.action == Action::Allow) {
        for (index, rule) in policy.rules.iter().enumerate() {
            if *rule != Some(Rule::default()) {
                continue;
            }
            let world = context.world;
            let others = world.policies.iter().enumerate().filter(|(other, policy)| {
                *other != number
                    && policy.action == Action::Allow
                    && !policy.dry_run
                    && policy.rules.iter().flatten().any(|rule| *rule != Rule::default())
            });
            let others: Vec<usize> = others.map(|(other, _)| other).collect();
            let found = context.guarded(number).into_iter().find_map(|(workload, _)| {
                let other = others.iter().find(|other| context.selected(**other).contains(&workload))?;
                Some((workload, *other))
            });
            let Some((workload, other_number)) = found else { continue };
            let Some(other) = world.policies.get(other_number) else { continue };
            let reference = RuleRef { policy: number, rule: index };
            let channel = context.channels(workload).into_iter().next();
            let example = channel.and_then(|(port, speaks)| {
                let sender = context.stranger("default");
                let trial =
                    context.matched(workload, &port, speaks, &sender, reference, &Request::anything())?;
                let allowed_there = (0..other.rules.len()).any(|rule| {
                    let rule = RuleRef { policy: other_number, rule };
                    let compiled = context.compiled(workload, speaks, rule);
                    compiled.is_some_and(|rule| rule.matches(&trial.request) != Some(false))
                });
                let expected = format!("refused: {} does not allow it", other.object.key());
                (!allowed_there && context.passes(&trial)).then(|| context.example(&trial, expected))
            });
            let Some(example) = example else { continue };
            let text = format!(
                "an empty rule matches every request, so what {} allows makes no difference",
                other.object.key()
            );
            let fix = "Delete the empty rule. To deny by default write `spec: {}`, without `rules`.";
            context.report(&policy.object, &format!("/spec/rules/{index}"), text, Some(example), fix);
        }
    }
}
