//! HTTP authorizers on TCP ports.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::Provider;
use crate::authorization::compile::Protocol;
use crate::policy::Action;
use crate::protocol::PortProtocol;

pub(super) const LINT: Lint = Lint {
    code: "custom-on-tcp",
    severity: Severity::Warning,
    summary: "an HTTP authorizer is never asked about TCP connections",
    check,
};

fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding() {
        let Action::Custom { provider } = &policy.action else { continue };
        'found: for (workload_number, workload) in context.guarded(number) {
            for port in context.ports(workload_number) {
                if port.protocol != PortProtocol::Tcp
                    || context.chain(workload_number, Protocol::Tcp).providers.get(provider)
                        != Some(&Provider::Ignored)
                {
                    continue;
                }
                for sender in context.senders(workload_number, &port) {
                    let trial = context.plain(workload_number, &port, Protocol::Tcp, &sender);
                    if context.passes(&trial) {
                        let example = context.example(&trial, "asked about at the authorizer");
                        let text = format!(
                            "{provider} is an HTTP authorizer: it is never asked about port {} of {}, which is TCP",
                            port.port,
                            workload.key()
                        );
                        let fix =
                            "Use a provider of type envoyExtAuthzGrpc, or guard the port by an ALLOW policy.";
                        context.report(&policy.object, "/spec/provider", text, Some(example), fix);
                        break 'found;
                    }
                }
            }
        }
    }
}
