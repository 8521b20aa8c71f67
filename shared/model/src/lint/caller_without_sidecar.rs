//! Identities of callers that have no sidecar to show one.

use super::context::{Context, Sender};
use super::finding::{Lint, Severity};
use crate::authorization::connection;
use crate::pattern::Pattern;
use crate::policy::Action;
use crate::workload::Workload;

pub(super) const LINT: Lint = Lint {
    code: "caller-without-sidecar",
    severity: Severity::Error,
    summary: "the rule names a caller that has no sidecar and so no identity",
    check,
};

fn check(context: &mut Context<'_>) {
    let world = context.world;
    let identities: Vec<(&Workload, String)> = world
        .workloads
        .iter()
        .map(|workload| (workload, world.principal(&workload.namespace, &workload.service_account)))
        .collect();
    for (number, policy) in context.deciding() {
        for value in context.values(policy) {
            if value.negated || !matches!(policy.action, Action::Allow | Action::Deny) {
                continue;
            }
            let of_identity = [
                "principals",
                "source.principal",
                "namespaces",
                "source.namespace",
                "serviceAccounts",
                "source.serviceAccount",
            ];
            if !of_identity.contains(&value.field) {
                continue;
            }
            let patterns: Vec<Pattern> = world
                .mesh
                .trust_domains
                .expand_principal(value.text)
                .iter()
                .map(|value| Pattern::principal(value, &world.profile))
                .collect();
            let named = |(workload, principal): &(&Workload, String)| match value.field {
                "principals" | "source.principal" => {
                    !value.text.starts_with('*') && patterns.iter().any(|pattern| pattern.matches(principal))
                }
                "namespaces" | "source.namespace" => workload.namespace == value.text,
                _ => format!("{}/{}", workload.namespace, workload.service_account) == value.text,
            };
            let callers: Vec<&Workload> =
                identities.iter().filter(|identity| named(identity)).map(|(workload, _)| *workload).collect();
            let Some(caller) = callers.first() else { continue };
            if callers.iter().any(|caller| caller.injection.injected) {
                continue;
            }
            let mut example = None;
            for (target_number, target) in context.guarded(number) {
                for (port, speaks) in context.channels(target_number) {
                    if example.is_some() {
                        continue;
                    }
                    let way = connection::way(world, caller, target, &port, None);
                    let sender = Sender { name: format!("{}, without a sidecar", caller.key()), way };
                    let trial = context.plain(target_number, &port, speaks, &sender);
                    let (surprises, expected) = match policy.action {
                        Action::Allow => (context.is_refused(&trial), "let through"),
                        _ => (context.passes(&trial), "refused"),
                    };
                    if surprises {
                        example = Some(context.example(&trial, expected));
                    }
                }
            }
            let text = format!(
                "`{}` means {}, which has no sidecar ({}): it shows no identity, and the rule never matches it",
                value.text,
                caller.key(),
                caller.injection.reason
            );
            let fix = "Give the caller a sidecar, or let it in by ipBlocks on a port that takes plaintext.";
            context.report(&policy.object, &value.pointer, text, example, fix);
        }
    }
}
