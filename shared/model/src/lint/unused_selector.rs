//! Policies that select nothing.

use super::context::Context;
use super::finding::{Example, Lint, Severity};
use crate::authorization::compile::{CompiledRule, Compiler};
use crate::authorization::request::{Fact, Request};
use crate::object::Kind;
use crate::policy::{Action, AuthorizationPolicy};
use crate::question::access::protocols;

pub(super) const LINT: Lint = Lint {
    code: "unused-selector",
    severity: Severity::Error,
    summary: "the policy's selector matches the labels of no pod",
    check,
};

fn check(context: &mut Context<'_>) {
    let world = context.world;
    if !context.is_complete(Kind::Pod) {
        return;
    }
    for (number, policy) in context.policies() {
        // Without any workload of the namespace in the input, nobody can say that there is none.
        let somewhere = world.workloads.iter().any(|workload| {
            workload.namespace == policy.object.namespace
                || (policy.object.namespace == world.mesh.root_namespace && workload.injection.injected)
        });
        let selects = world.workloads.iter().any(|workload| {
            (workload.namespace == policy.object.namespace
                || policy.object.namespace == world.mesh.root_namespace)
                && policy.selector.selects(&workload.labels)
        });
        if policy.selector.is_empty() || !somewhere || selects || !context.selected(number).is_empty() {
            continue;
        }
        let labels: Vec<String> =
            policy.selector.labels().iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let labels = labels.join(", ");
        let meant = meant_service(context, policy);
        let fix = match &meant {
            Some((service, selector)) => format!(
                "Selectors choose pods by their labels, not Services by their names. The pods of Service {service} have {selector}."
            ),
            None => {
                "Write labels that the pods have; `kubectl get pods --show-labels` shows them.".to_owned()
            }
        };
        let example = meant.and_then(|(service, _)| example(context, policy, &service));
        let what = match policy.action {
            Action::Allow => "it allows nothing and restricts nothing",
            _ => "nothing of what it names is checked",
        };
        let text = format!("no pod has the labels {labels}, so the policy is in force nowhere: {what}");
        context.report(&policy.object, "/spec/selector", text, example, fix);
    }
}

/// The Service whose name the selector wrote for a label, with the labels of its pods.
fn meant_service(context: &Context<'_>, policy: &AuthorizationPolicy) -> Option<(String, String)> {
    let values: Vec<&String> = policy.selector.labels().values().collect();
    context.world.services_in(&policy.object.namespace).find_map(|service| {
        let name = &service.object.name;
        let short = |text: &str| text.trim_end_matches("-service").trim_end_matches("-svc").to_owned();
        let selector = service.selector.as_ref()?;
        let meant = values.iter().any(|value| *value == name || short(value) == short(name));
        let labels: Vec<String> =
            selector.labels().iter().map(|(name, value)| format!("{name}: {value}")).collect();
        meant.then(|| (service.object.key(), labels.join(", ")))
    })
}

/// A request to the meant workload, which shows that the policy does nothing there.
fn example(context: &mut Context<'_>, policy: &AuthorizationPolicy, service: &str) -> Option<Example> {
    let world = context.world;
    let service = world.services_in(&policy.object.namespace).find(|s| s.object.key() == service)?;
    let number = world.workloads.iter().position(|workload| {
        workload.namespace == policy.object.namespace
            && workload.injection.injected
            && service.selector.as_ref().is_some_and(|selector| selector.selects(&workload.labels))
    })?;
    let policy_number = world.policies.iter().position(|known| known.object.key() == policy.object.key())?;
    let port = context.ports(number).into_iter().next()?;
    let speaks = *protocols(&port).first()?;
    let chain = context.chain(number, speaks);
    let compiler =
        Compiler { trust_domains: &world.mesh.trust_domains, profile: &world.profile, protocol: speaks };
    let rules: Vec<CompiledRule> =
        (0..policy.rules.len()).filter_map(|rule| compiler.rule(policy_number, policy, rule).0).collect();
    let mut open_door = None;
    for sender in context.senders(number, &port) {
        let mut trial = context.plain(number, &port, speaks, &sender);
        let Some((_, principal)) = context.arrival(number, &port, &sender, speaks) else { continue };
        let known = Request {
            principal: Fact::or_absent(principal),
            destination_port: port.port,
            ..Request::anything()
        };
        for rule in &rules {
            let Some(request) = context.witness(&chain, rule.clone(), &known) else { continue };
            trial.request = request;
            match policy.action {
                Action::Allow if context.is_refused(&trial) => {
                    return Some(context.example(&trial, "let through: this policy says so"));
                }
                Action::Deny if context.passes(&trial) => {
                    return Some(context.example(&trial, "refused: this policy says so"));
                }
                _ => {}
            }
        }
        let plain = context.plain(number, &port, speaks, &sender);
        let unnamed =
            Request { principal: known.principal, destination_port: port.port, ..plain.request.clone() };
        let is_named = rules.iter().any(|rule| rule.matches(&unnamed) != Some(false));
        if policy.action == Action::Allow && !is_named && context.passes(&plain) {
            open_door.get_or_insert(plain);
        }
    }
    open_door.map(|trial| context.example(&trial, "refused: this policy does not allow it"))
}
