//! The Authorization header, which the proxy takes away.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::selection;
use crate::mesh_config::list;

pub(super) const LINT: Lint = Lint {
    code: "authorization-header",
    severity: Severity::Error,
    summary: "a rule reads the Authorization header, which the proxy removes once it has validated the token",
    check,
};

/// Measured (tests/envoy/MEASURED.md, JWT): removed before the policies, unless forwardOriginalToken.
fn check(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.policies() {
        for value in context.values(policy) {
            if !value.field.eq_ignore_ascii_case("request.headers[authorization]") {
                continue;
            }
            let found = context.guarded(number).into_iter().find(|(_, workload)| {
                selection::tokens(world, workload).iter().any(|rule| rule.default_location)
                    && world.request_authentications.iter().any(|authentication| {
                        authentication.object.namespace == workload.namespace
                            && authentication.selector.selects(&workload.labels)
                            && list(authentication.object.get("/spec/jwtRules"))
                                .iter()
                                .any(|rule| rule.get("forwardOriginalToken") != Some(&true.into()))
                    })
            });
            let Some((_, workload)) = found else { continue };
            let text = format!(
                "the proxy of {} removes the Authorization header of a valid token before the policies, so this condition sees none",
                workload.key()
            );
            let fix = "Use requestPrincipals or request.auth.claims[...], which are validated; or set forwardOriginalToken: true.";
            context.report(&policy.object, &value.pointer, text, None, fix);
        }
    }
}
