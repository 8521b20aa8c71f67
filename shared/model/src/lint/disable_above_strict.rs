//! A workload that demands what its namespace tells clients not to send.

use super::context::{Context, Sender};
use super::finding::{Lint, Severity};
use crate::authorization::connection::{self, Presents};
use crate::peer_authentication::Mode;

pub(super) const LINT: Lint = Lint {
    code: "disable-above-strict",
    severity: Severity::Error,
    summary: "the namespace is DISABLE and a workload STRICT: clients send plaintext, which it resets",
    check,
};

/// Clients go by the namespace's mode (`BestEffortInferServiceMTLSMode`), the server by the workload's.
fn check(context: &mut Context<'_>) {
    let world = context.world;
    let mut reported = Vec::new();
    for (number, workload) in context.all_guarded() {
        if world.peer_authentications().of_namespace(&workload.namespace, &workload.injection.revision).mode
            != Mode::Disable
        {
            continue;
        }
        for (port, speaks) in context.channels(number) {
            let in_force = context.evaluator.mode(workload, port.port);
            let Some((policy, pointer)) = in_force.by.filter(|_| in_force.mode == Mode::Strict) else {
                continue;
            };
            if reported.contains(&policy.object.key()) {
                continue;
            }
            let caller = world.workloads.iter().find(|caller| {
                caller.injection.injected
                    && caller.key() != workload.key()
                    && connection::way(world, caller, workload, &port, None).presents == Presents::Plaintext
            });
            let Some(caller) = caller else { continue };
            let way = connection::way(world, caller, workload, &port, None);
            let trial = context.plain(number, &port, speaks, &Sender { name: caller.key(), way });
            if !context.is_refused(&trial) {
                continue;
            }
            reported.push(policy.object.key());
            let example = context.example(&trial, "a connection with mutual TLS");
            let text = format!(
                "namespace {} is DISABLE, so sidecars send plaintext to its services, and {} takes none",
                workload.namespace,
                workload.key()
            );
            let fix = "Set the namespace to PERMISSIVE, or give clients a DestinationRule with ISTIO_MUTUAL.";
            context.report(&policy.object, &pointer, text, Some(example), fix);
        }
    }
}
