//! Values that no request can have.

use super::context::{Context, Value};
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::compile::{CompiledRule, Protocol};
use crate::authorization::request::Request;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "impossible-value",
    severity: Severity::Error,
    summary: "no request that reaches a policy can have this path, header or server name",
    check,
};

/// Each value by itself: a rule with nothing but it either has a request or has none. What reaches a
/// policy is measured: tests/envoy/MEASURED.md.
fn check(context: &mut Context<'_>) {
    for (number, policy) in context.policies() {
        for value in context.values(policy) {
            let Some(why) = why(&value) else { continue };
            let rule = RuleRef { policy: number, rule: value.rule };
            let Some((workload, _)) = context.guarded(number).into_iter().next() else { continue };
            let Some(compiled) = context.compiled(workload, Protocol::Http, rule) else { continue };
            let list = value.pointer.rsplit_once('/').map_or("", |(list, _)| list).to_owned();
            let index = value.pointer.rsplit('/').next().and_then(|index| index.parse::<usize>().ok());
            let Some(condition) = compiled.conditions().find(|condition| *condition.pointer == *list) else {
                continue;
            };
            let Some(matcher) = index.and_then(|index| condition.matchers.get(index)) else { continue };
            let mut alone = condition.clone();
            alone.matchers = [matcher.clone()].into();
            alone.negated = false;
            let only = CompiledRule { from: vec![vec![alone]], to: vec![Vec::new()], ..compiled };
            let chain = context.chain(workload, Protocol::Http);
            if context.witness(&chain, only, &Request::anything()).is_some() && !is_upper_sni(&value) {
                continue;
            }
            let effect = match (&policy.action, value.negated) {
                (_, true) => "excludes nothing",
                (Action::Allow, _) => "allows nothing",
                _ => "denies nothing",
            };
            let text = format!("`{}` in {} {effect}: {why}", value.text, value.list());
            let fix = match value.field {
                "paths" => {
                    "Write the path as it is after normalization, with a leading slash and without a query."
                }
                "connection.sni" => "Write it in lower case.",
                _ => "Use a header that reaches the policies; names with `_` are dropped, so write `-`.",
            };
            context.report(&policy.object, &value.pointer, text, None, fix);
        }
    }
}

fn is_upper_sni(value: &Value<'_>) -> bool {
    value.field == "connection.sni" && value.text.chars().any(|c| c.is_ascii_uppercase())
}

/// The fields for which values can be impossible, and why they are.
fn why(value: &Value<'_>) -> Option<&'static str> {
    match value.field {
        "paths" if value.text == "*" => None,
        "paths" => Some(
            "a path begins with a slash, has no query, no dot segments and no characters that the proxy encodes",
        ),
        "connection.sni" => Some("server names arrive in lower case"),
        field if field.starts_with("request.headers[") => {
            Some("the proxy takes this header away before any policy reads it, or answers 400 to it")
        }
        _ => None,
    }
}
