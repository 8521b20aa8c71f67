//! RequestAuthentication that nobody insists on.

use super::context::Context;
use super::finding::{Lint, Severity};
use super::token_never_read::is_token;
use crate::authorization::compile::Protocol;
use crate::authorization::request::{Fact, Request};
use crate::authorization::selection;

pub(super) const LINT: Lint = Lint {
    code: "token-optional",
    severity: Severity::Warning,
    summary: "a RequestAuthentication refuses bad tokens, and lets requests without any token in",
    check,
};

/// `jwt_authn` is configured with `allow_missing`: only a policy makes a token necessary.
fn check(context: &mut Context<'_>) {
    let world = context.world;
    for authentication in &world.request_authentications {
        if !authentication.target_refs.is_empty() || authentication.rules.is_empty() {
            continue;
        }
        let namespace = &authentication.object.namespace;
        'found: for (number, workload) in context.all_guarded() {
            let selects = (*namespace == workload.namespace || *namespace == world.mesh.root_namespace)
                && authentication.selector.selects(&workload.labels);
            let asks = selection::policies(world, workload)
                .iter()
                .filter_map(|policy| world.policies.get(*policy))
                .any(|policy| context.values(policy).iter().any(|value| is_token(value.field)));
            // Where some policy looks at tokens, somebody has thought of it.
            if !selects || asks {
                continue;
            }
            for (port, speaks) in context.channels(number) {
                if speaks == Protocol::Tcp {
                    continue;
                }
                for sender in context.senders(number, &port) {
                    let without = Request { token: Fact::Absent, ..Request::anything() };
                    let outcome = context.evaluator.outcome(number, &port, &sender.way, speaks, &without);
                    let Some(request) = outcome.witness else { continue };
                    let mut trial = context.plain(number, &port, speaks, &sender);
                    trial.request = request;
                    if !context.passes(&trial) {
                        continue;
                    }
                    let example = context.example(&trial, "refused: it carries no token");
                    let text = format!(
                        "requests without a token get through to {}: no policy there asks for one",
                        workload.key()
                    );
                    let fix = "Add an ALLOW policy with `requestPrincipals: [\"*\"]`, or a DENY with `notRequestPrincipals: [\"*\"]` and the HTTP ports.";
                    context.report(&authentication.object, "/spec/jwtRules", text, Some(example), fix);
                    break 'found;
                }
            }
        }
    }
}
