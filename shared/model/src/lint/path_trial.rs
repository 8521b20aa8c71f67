//! Requests of a certain path, for lints about paths that a rule was to match.

use super::context::{Context, Value};
use super::finding::Example;
use crate::authorization::chain::RuleRef;
use crate::authorization::compile::Protocol;
use crate::authorization::request::{Fact, Request};
use crate::policy::{Action, AuthorizationPolicy};

/// A plain request to a path that a value was to match and does not.
pub(super) fn unmatched(
    context: &mut Context<'_>,
    policy: &AuthorizationPolicy,
    value: &Value<'_>,
    path: &str,
) -> Option<Example> {
    let world = context.world;
    let number = world.policies.iter().position(|known| known.object.key() == policy.object.key())?;
    let meant = match (&policy.action, value.negated) {
        (Action::Allow, false) | (Action::Deny, true) => "let through",
        (Action::Deny, false) | (Action::Allow, true) => "refused",
        _ => return None,
    };
    for (workload, _) in context.guarded(number) {
        for (port, speaks) in context.channels(workload) {
            if speaks == Protocol::Tcp {
                continue;
            }
            for sender in context.senders(workload, &port) {
                let trial = context.plain(workload, &port, speaks, &sender).with_path(world, path)?;
                let surprising =
                    if meant == "refused" { context.passes(&trial) } else { context.is_refused(&trial) };
                if surprising {
                    return Some(context.example(&trial, meant));
                }
            }
        }
    }
    None
}

/// A path that a value matches, as a person would write it; `None` for patterns of anything.
pub(super) fn sample(value: &str) -> Option<String> {
    let path = if crate::pattern::is_template(value) {
        value.replace("{**}", "x").replace("{*}", "x")
    } else if let Some(suffix) = value.strip_prefix('*') {
        if suffix.is_empty() {
            return None;
        }
        format!("/x{suffix}")
    } else {
        match value.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('/') => format!("{prefix}x"),
            Some(prefix) => prefix.to_owned(),
            None => value.to_owned(),
        }
    };
    path.starts_with('/').then_some(path)
}

/// Whether a value's path is one that the rule keeps out: `paths` of DENY, `notPaths` of ALLOW.
pub(super) fn keeps_out(action: &Action, value: &Value<'_>) -> bool {
    value.field == "paths" && matches!((action, value.negated), (Action::Deny, false) | (Action::Allow, true))
}

/// A path that is kept out, and another to the same thing that gets through: the same sender, port,
/// method, headers.
pub(super) fn evaded(
    context: &mut Context<'_>,
    rule: RuleRef,
    action: &Action,
    path: &str,
    variants: &[String],
) -> Option<(Example, String)> {
    let world = context.world;
    let base = super::context::with_path(world, path)?;
    for (number, _) in context.guarded(rule.policy) {
        for (port, speaks) in context.channels(number) {
            if speaks == Protocol::Tcp {
                continue;
            }
            for sender in context.senders(number, &port) {
                let trial = match action {
                    Action::Deny => context
                        .matched(number, &port, speaks, &sender, rule, &base)
                        .filter(|trial| context.is_denied_by(trial, rule)),
                    // An ALLOW rule keeps a path out when it lets another one of the same request in.
                    _ => {
                        let open = Request { path: Default::default(), ..Request::anything() };
                        context
                            .matched(number, &port, speaks, &sender, rule, &open)
                            .and_then(|trial| trial.with_path(world, path))
                            .filter(|trial| context.is_refused(trial))
                    }
                };
                let Some(trial) = trial else { continue };
                for variant in variants {
                    let Some(other) = trial.with_path(world, variant) else { continue };
                    if other.request.path != trial.request.path && context.passes(&other) {
                        let example = context.example(&other, format!("refused, as {path} is"));
                        return Some((example, variant.clone()));
                    }
                }
            }
        }
    }
    None
}

/// A plain request with a method and a path, where it surprises: an ALLOW rule does not let it
/// through, a DENY rule does not stop it.
pub(super) fn with_method(
    context: &mut Context<'_>,
    policy: &AuthorizationPolicy,
    path: &str,
    method: &str,
    pointer: &str,
) -> Option<Example> {
    let world = context.world;
    let path = sample(path)?;
    let rule = pointer.strip_prefix("/spec/rules/")?.split('/').next()?.parse().ok()?;
    let number = world.policies.iter().position(|known| known.object.key() == policy.object.key())?;
    let base = super::context::with_path(world, &path)?;
    for (workload, _) in context.guarded(number) {
        for (port, speaks) in context.channels(workload) {
            if speaks == Protocol::Tcp {
                continue;
            }
            for sender in context.senders(workload, &port) {
                let reference = RuleRef { policy: number, rule };
                let Some(mut trial) = context.matched(workload, &port, speaks, &sender, reference, &base)
                else {
                    continue;
                };
                trial.request.method = Fact::Known(method.to_owned());
                let (surprises, expected) = match policy.action {
                    Action::Allow => (context.is_refused(&trial), "let through"),
                    Action::Deny => (context.passes(&trial), "refused"),
                    _ => return None,
                };
                if surprises {
                    return Some(context.example(&trial, expected));
                }
            }
        }
    }
    None
}
