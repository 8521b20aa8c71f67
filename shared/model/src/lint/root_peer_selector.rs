//! PeerAuthentication with a selector in the root namespace.

use super::context::Context;
use super::finding::{Lint, Severity};

pub(super) const LINT: Lint = Lint {
    code: "root-peer-selector",
    severity: Severity::Error,
    summary: "a PeerAuthentication with a selector in the root namespace is ignored",
    check,
};

/// `GetPeerAuthenticationsForWorkload` and `ComposePeerAuthentication`: a selector belongs to a workload's
/// own namespace, and the root namespace's own pods are no exception.
fn check(context: &mut Context<'_>) {
    let root = &context.world.mesh.root_namespace;
    for policy in &context.world.peer_authentications {
        if policy.object.namespace != *root || policy.selector.is_empty() {
            continue;
        }
        let mode = policy.mode.map_or("UNSET", |mode| mode.name());
        let text = format!(
            "a selector in the root namespace {root} is for nothing: no workload gets mode {mode} from here"
        );
        let fix = "Move it to the workload's namespace, or take the selector out to set the mesh's mode.";
        context.report(&policy.object, "/spec/selector", text, None, fix);
    }
}
