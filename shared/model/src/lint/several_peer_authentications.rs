//! PeerAuthentications that lose against an older one.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::injection::DEFAULT_REVISION;
use crate::peer_authentication::PeerAuthentication;

pub(super) const LINT: Lint = Lint {
    code: "several-peer-authentications",
    severity: Severity::Error,
    summary: "of several PeerAuthentications for the same workloads only the oldest counts",
    check,
};

fn check(context: &mut Context<'_>) {
    let world = context.world;
    let all = world.peer_authentications();
    for policy in &world.peer_authentications {
        if policy.problems.iter().any(|problem| problem.unreadable) {
            continue;
        }
        let namespace = &policy.object.namespace;
        let same = |other: &PeerAuthentication| other.object.key() == policy.object.key();
        let differs = |other: &PeerAuthentication| other.mode != policy.mode || other.ports != policy.ports;
        let winner = if policy.selector.is_empty() {
            if policy.mode.is_none() {
                continue;
            }
            world
                .peer_authentications
                .iter()
                .filter(|other| {
                    other.object.namespace == *namespace && other.selector.is_empty() && !same(other)
                })
                .find(|other| {
                    // Who of the two is in force, the mode's origin tells.
                    all.of_namespace(namespace, DEFAULT_REVISION)
                        .by
                        .is_some_and(|(by, _)| by.object.key() == other.object.key())
                })
                .filter(|other| differs(other))
        } else if *namespace == world.mesh.root_namespace {
            None
        } else {
            world
                .workloads_in(namespace)
                .filter(|workload| policy.selector.selects(&workload.labels))
                .find_map(|workload| {
                    let port = policy.ports.keys().next().copied().unwrap_or(1);
                    let by = all.of_port(namespace, &workload.labels, port).by?.0;
                    (!same(by) && !by.selector.is_empty() && by.object.namespace == *namespace && differs(by))
                        .then_some(by)
                })
        };
        let Some(winner) = winner else { continue };
        let text = format!(
            "PeerAuthentication {} is for the same workloads and older (or the first by name), and it alone counts",
            winner.object.key()
        );
        let fix = "Keep one PeerAuthentication on each level: mesh, namespace, workload.";
        context.report(&policy.object, "/spec", text, None, fix);
    }
}
