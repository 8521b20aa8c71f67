//! Hosts in one spelling of many.

use super::context::{Context, Value};
use super::finding::{Example, Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::compile::Protocol;
use crate::authorization::request::{Fact, Request};
use crate::inbound;
use crate::policy::{Action, AuthorizationPolicy};

/// Hosts that are kept out and come in under another name.
pub(super) const EVADED: Lint = Lint {
    code: "deny-host-evaded",
    severity: Severity::Error,
    summary: "a denied host is let through when the client writes it with its port",
    check: evaded,
};

/// Hosts that are let in, and other names of the same service that are not.
pub(super) const MISSED: Lint = Lint {
    code: "allow-host-spelling",
    severity: Severity::Warning,
    summary: "an allowed host is refused when the client writes another of the service's names, or its port",
    check: missed,
};

fn evaded(context: &mut Context<'_>) {
    for (number, policy) in context.deciding() {
        for value in context.values(policy) {
            let keeps_out =
                matches!((&policy.action, value.negated), (Action::Deny, false) | (Action::Allow, true));
            if !keeps_out || !is_exact_host(&value) {
                continue;
            }
            let Some((example, spelling)) = other_spelling(context, number, policy, &value, false) else {
                continue;
            };
            let text = format!(
                "`{}` is kept out and {spelling}, the same host with the port as clients may write it, is not",
                value.text
            );
            let fix = format!("Write \"{}\", \"{}:*\".", value.text, value.text);
            context.report(&policy.object, &value.pointer, text, Some(example), fix);
        }
    }
}

fn missed(context: &mut Context<'_>) {
    for (number, policy) in context.deciding() {
        if policy.action != Action::Allow {
            continue;
        }
        for value in context.values(policy) {
            if value.negated || !is_exact_host(&value) {
                continue;
            }
            let Some((example, spelling)) = other_spelling(context, number, policy, &value, true) else {
                continue;
            };
            let text = format!(
                "`{}` is let in and {spelling}, another name of the same service, is not: the host is whatever the client wrote",
                value.text
            );
            let fix = "Leave hosts out at a sidecar and select the workload; or list every name, each also with `:*`.";
            context.report(&policy.object, &value.pointer, text, Some(example), fix);
        }
    }
}

fn is_exact_host(value: &Value<'_>) -> bool {
    value.field == "hosts" && !value.text.contains('*') && !value.text.contains(':')
}

/// A request that a host decides about, under another spelling, where that turns the verdict.
fn other_spelling(
    context: &mut Context<'_>,
    number: usize,
    policy: &AuthorizationPolicy,
    value: &Value<'_>,
    allowed_at_first: bool,
) -> Option<(Example, String)> {
    let world = context.world;
    let rule = RuleRef { policy: number, rule: value.rule };
    for (workload_number, workload) in context.enforced(number) {
        for (port, speaks) in context.channels(workload_number) {
            if speaks == Protocol::Tcp {
                continue;
            }
            let services: Vec<(String, String, u16)> = inbound::services_on(world, workload, port.port)
                .map(|(service, port)| {
                    (service.object.name.clone(), service.object.namespace.clone(), port.port)
                })
                .collect();
            let mut spellings: Vec<String> = Vec::new();
            for (name, namespace, service_port) in &services {
                let names = [
                    name.clone(),
                    format!("{name}.{namespace}"),
                    format!("{name}.{namespace}.svc"),
                    format!("{name}.{namespace}.svc.cluster.local"),
                ];
                if names.contains(&value.text.to_owned()) {
                    spellings.push(format!("{}:{service_port}", value.text));
                    // What else is let in under another of its names is not what DENY had in mind.
                    if allowed_at_first {
                        spellings.extend(names.into_iter().filter(|name| name != value.text));
                    }
                }
            }
            if spellings.is_empty() && (port.gateway.is_some() || !allowed_at_first) {
                let clients = port.service.as_ref().map_or(port.port, |(_, service_port)| *service_port);
                spellings.push(format!("{}:{clients}", value.text));
            }
            for sender in context.senders(workload_number, &port) {
                let base = match policy.action {
                    Action::Deny => {
                        Request { host: Fact::Known(value.text.to_owned()), ..Request::anything() }
                    }
                    _ if allowed_at_first => {
                        Request { host: Fact::Known(value.text.to_owned()), ..Request::anything() }
                    }
                    _ => Request::anything(),
                };
                let Some(mut trial) = context.matched(workload_number, &port, speaks, &sender, rule, &base)
                else {
                    continue;
                };
                trial.request.host = Fact::Known(value.text.to_owned());
                let decides =
                    if allowed_at_first { context.passes(&trial) } else { context.is_refused(&trial) };
                if !decides {
                    continue;
                }
                for spelling in &spellings {
                    let mut other = trial.clone();
                    other.request.host = Fact::Known(spelling.clone());
                    let turns =
                        if allowed_at_first { context.is_refused(&other) } else { context.passes(&other) };
                    if turns {
                        let expected = if allowed_at_first { "let through" } else { "refused" };
                        let expected = format!("{expected}, as {} is", value.text);
                        return Some((context.example(&other, expected), spelling.clone()));
                    }
                }
            }
        }
    }
    None
}
