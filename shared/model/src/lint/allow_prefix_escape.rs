//! ALLOW prefixes that `..%2f` climbs out of.

use super::context::Context;
use super::finding::{Lint, Severity};
use super::path_trial::sample;
use crate::authorization::chain::RuleRef;
use crate::authorization::compile::Protocol;
use crate::pattern::is_template;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "allow-prefix-escape",
    severity: Severity::Warning,
    summary: "an encoded slash climbs out of an allowed prefix to a path that another rule guards",
    check,
};

/// Under BASE and MERGE_SLASHES `/public/..%2fadmin` still begins with `/public/`; a server that
/// decodes it serves `/admin` (measured: tests/envoy/MEASURED.md). Reported only where the policies
/// give a path below another prefix to some and not to others, so that there is something to climb to.
fn check(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.deciding().filter(|(_, policy)| policy.action == Action::Allow) {
        let mut reported = false;
        for value in context.values(policy) {
            let Some(prefix) = value.text.strip_suffix("/*").filter(|prefix| prefix.starts_with('/')) else {
                continue;
            };
            if value.field != "paths"
                || value.negated
                || reported
                || is_template(value.text)
                || prefix.contains('*')
            {
                continue;
            }
            let rule = RuleRef { policy: number, rule: value.rule };
            'found: for (workload, _) in context.guarded(number) {
                let elsewhere = guarded_paths(context, workload, prefix);
                for (port, speaks) in context.channels(workload) {
                    if speaks == Protocol::Tcp {
                        continue;
                    }
                    for sender in context.senders(workload, &port) {
                        for guarded in &elsewhere {
                            let up = "..%2f".repeat(prefix.matches('/').count());
                            let climbing = format!("{prefix}/{up}{}", guarded.trim_start_matches('/'));
                            let Some(base) = super::context::with_path(world, &climbing) else { continue };
                            let Some(mut trial) =
                                context.matched(workload, &port, speaks, &sender, rule, &base)
                            else {
                                continue;
                            };
                            trial.raw_path = Some(climbing.clone());
                            let refused = trial
                                .with_path(world, guarded)
                                .is_some_and(|direct| context.is_refused(&direct));
                            if !refused || !context.is_allowed_by(&trial, rule) {
                                continue;
                            }
                            let example = context.example(&trial, format!("refused, as {guarded} is"));
                            let text = format!(
                                "`{}` lets {climbing} through, which a server that decodes %2f takes for {guarded}",
                                value.text
                            );
                            let fix =
                                "Set meshConfig.pathNormalization.normalization: DECODE_AND_MERGE_SLASHES.";
                            context.report(&policy.object, &value.pointer, text, Some(example), fix);
                            reported = true;
                            break 'found;
                        }
                    }
                }
            }
        }
    }
}

/// Paths that the policies of a workload name, outside a prefix.
fn guarded_paths(context: &mut Context<'_>, workload: usize, prefix: &str) -> Vec<String> {
    let world = context.world;
    let Some(target) = world.workloads.get(workload) else { return Vec::new() };
    let selected = crate::authorization::selection::policies(world, target);
    let mut paths: Vec<String> = Vec::new();
    for policy in selected.iter().filter_map(|number| world.policies.get(*number)) {
        for value in context.values(policy) {
            if value.field == "paths"
                && let Some(path) = sample(value.text)
                && !path.starts_with(prefix)
                && !paths.contains(&path)
            {
                paths.push(path);
            }
        }
    }
    paths
}
