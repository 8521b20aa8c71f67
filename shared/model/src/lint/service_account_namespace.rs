//! Service accounts without a namespace in the root namespace.

use super::context::Context;
use super::finding::{Lint, Severity};

pub(super) const LINT: Lint = Lint {
    code: "service-account-namespace",
    severity: Severity::Error,
    summary: "a service account without a namespace is one of the policy's own namespace",
    check,
};

/// `serviceAccountRegex` in `generator.go` puts the policy's namespace in front.
fn check(context: &mut Context<'_>) {
    let world = context.world;
    if !world.profile.service_accounts {
        return;
    }
    for (_, policy) in context.policies() {
        let own = &policy.object.namespace;
        for value in context.values(policy) {
            let is_account = matches!(value.field, "serviceAccounts" | "source.serviceAccount");
            if !is_account || value.text.contains('/') {
                continue;
            }
            let runs_in = |namespace: &str| {
                world.workloads_in(namespace).any(|workload| workload.service_account == value.text)
            };
            let elsewhere = world.workloads.iter().find(|workload| workload.service_account == value.text);
            let Some(elsewhere) = elsewhere.filter(|_| !runs_in(own)) else { continue };
            let meant = format!("{}/{}", elsewhere.namespace, value.text);
            let principal = world.principal(&elsewhere.namespace, value.text);
            let example = super::identity::example(context, policy, &value, &principal);
            let text = format!(
                "`{}` means {own}/{}, under which nothing runs: a name alone is of the policy's own namespace",
                value.text, value.text
            );
            context.report(&policy.object, &value.pointer, text, example, format!("Write `{meant}`."));
        }
    }
}
