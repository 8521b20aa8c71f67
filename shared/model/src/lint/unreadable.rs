//! Objects that istiod cannot read at all.

use super::context::Context;
use super::finding::{Lint, Severity};

pub(super) const LINT: Lint = Lint {
    code: "unreadable",
    severity: Severity::Error,
    summary: "istiod cannot read the object, so that it is not there for any proxy",
    check,
};

fn check(context: &mut Context<'_>) {
    let world = context.world;
    let policies = world.policies.iter().map(|policy| (&policy.object, &policy.problems));
    let peers = world.peer_authentications.iter().map(|policy| (&policy.object, &policy.problems));
    for (object, problems) in policies.chain(peers) {
        for problem in problems.iter().filter(|problem| problem.unreadable) {
            let text =
                format!("istiod cannot read this object, so that no proxy ever has it: {}", problem.text);
            context.report(object, &problem.pointer, text, None, "Write the field as the API defines it.");
        }
    }
}
