//! Identities that nothing has.

use super::context::Context;
use super::finding::{Lint, Severity};
use super::near::nearest;
use crate::object::{Kind, Origin};

pub(super) const LINT: Lint = Lint {
    code: "unknown-principal",
    severity: Severity::Warning,
    summary: "no workload runs under the service account that the policy names",
    check,
};

fn check(context: &mut Context<'_>) {
    let world = context.world;
    if !context.is_complete(Kind::Pod) || !context.is_complete(Kind::ServiceAccount) {
        return;
    }
    let is_live = context.is_complete(Kind::Namespace)
        && world
            .objects()
            .iter()
            .any(|object| object.kind == Kind::Namespace && object.origin == Origin::Cluster);
    for (_, policy) in context.policies() {
        for value in context.values(policy) {
            let parts: Vec<&str> = value.text.split('/').collect();
            let (namespace, account) = match (value.field, parts.as_slice()) {
                ("principals" | "source.principal", [domain, "ns", namespace, "sa", account])
                    if *domain == "cluster.local" || world.mesh.accepts_trust_domain(domain) =>
                {
                    (*namespace, *account)
                }
                ("serviceAccounts" | "source.serviceAccount", [namespace, account]) => (*namespace, *account),
                _ => continue,
            };
            if account.contains('*') || namespace.contains('*') {
                continue;
            }
            let accounts = world
                .objects()
                .iter()
                .filter(|object| object.kind == Kind::ServiceAccount && object.namespace == namespace);
            let names: Vec<&str> = accounts
                .map(|object| object.name.as_str())
                .chain(world.workloads_in(namespace).map(|workload| workload.service_account.as_str()))
                .collect();
            // In manifests, a namespace of which nothing is in the input may hold anything.
            if (names.is_empty() && !is_live) || names.contains(&account) {
                continue;
            }
            let contains = |name: &&str| name.contains(account) || account.contains(*name);
            let meant = nearest(account, names.iter().copied())
                .or_else(|| names.iter().copied().find(|name| *name != "default" && contains(name)));
            let fix = match meant {
                Some(meant) => format!(
                    "Write `{}`: that account exists.",
                    value.text.replace(&format!("/{account}"), &format!("/{meant}"))
                ),
                None if names.is_empty() => format!("Nothing runs in namespace {namespace}."),
                None => {
                    let known: std::collections::BTreeSet<&str> = names.iter().copied().take(8).collect();
                    let known: Vec<&str> = known.into_iter().collect();
                    format!("Namespace {namespace} has {}.", known.join(", "))
                }
            };
            let example = meant.and_then(|meant| {
                super::identity::example(context, policy, &value, &world.principal(namespace, meant))
            });
            let text = format!(
                "namespace {namespace} has no service account {account}, so `{}` matches nobody",
                value.text
            );
            context.report(&policy.object, &value.pointer, text, example, fix);
        }
    }
}
