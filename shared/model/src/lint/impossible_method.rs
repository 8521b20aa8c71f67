//! Methods that no request has.

use super::context::Context;
use super::finding::{Lint, Severity};
use super::near::nearest;
use crate::authorization::chain::RuleRef;
use crate::authorization::request::Request;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "impossible-method",
    severity: Severity::Error,
    summary: "no request has the method: methods are upper case, and Envoy takes those that it knows",
    check,
};

/// Envoy answers 400 to a method that it does not know, also to `get` (tests/envoy/MEASURED.md). gRPC methods
/// are paths; the HTTP method of gRPC is POST.
const METHODS: [&str; 34] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "M-SEARCH",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
];

fn check(context: &mut Context<'_>) {
    for (number, policy) in context.policies() {
        for value in context.values(policy) {
            let is_method =
                value.field == "methods" || value.field.eq_ignore_ascii_case("request.headers[:method]");
            let text = value.text;
            if !is_method
                || text.contains('*')
                || text.is_empty()
                || METHODS.contains(&text)
                || text == "UNSUBSCRIBE"
            {
                continue;
            }
            let upper = text.to_ascii_uppercase();
            let meant = METHODS
                .contains(&upper.as_str())
                .then_some(upper.as_str())
                .or_else(|| nearest(text, METHODS));
            let fix = match meant {
                Some(meant) => format!("Write \"{meant}\"."),
                None => "Write the HTTP method; for gRPC that is POST, with the gRPC method in `paths`: /package.Service/Method.".to_owned(),
            };
            let rule = RuleRef { policy: number, rule: value.rule };
            let example = meant.and_then(|meant| {
                for (workload, _) in context.guarded(number) {
                    for (port, speaks) in context.channels(workload) {
                        if speaks == crate::authorization::compile::Protocol::Tcp {
                            continue;
                        }
                        for sender in context.senders(workload, &port) {
                            // All that the rule asks for, but with the method that was meant.
                            let wanted = Request::anything();
                            let mut trial = context
                                .matched(workload, &port, speaks, &sender, rule, &wanted)
                                .unwrap_or_else(|| context.plain(workload, &port, speaks, &sender));
                            trial.request.method =
                                crate::authorization::request::Fact::Known(meant.to_owned());
                            let (surprises, expected) = match (&policy.action, value.negated) {
                                (Action::Allow, false) => (context.is_refused(&trial), "let through"),
                                (Action::Deny, false) => (context.passes(&trial), "refused"),
                                _ => return None,
                            };
                            if surprises {
                                return Some(context.example(&trial, expected));
                            }
                        }
                    }
                }
                None
            });
            let text = format!(
                "no request has the method `{text}`: the proxy knows methods in upper case and answers 400 to others"
            );
            context.report(&policy.object, &value.pointer, text, example, fix);
        }
    }
}
