//! Client addresses that every caller in the mesh can write.

use std::net::IpAddr;

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::chain::RuleRef;
use crate::authorization::compile::Protocol;
use crate::authorization::request::{Fact, Request};
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "remote-ip-at-sidecar",
    severity: Severity::Warning,
    summary: "at a sidecar remoteIpBlocks is the last entry of X-Forwarded-For, which every caller writes itself",
    check,
};

/// `use_remote_address` is false at sidecars (measured: tests/envoy/MEASURED.md).
fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding() {
        let mut reported = Vec::new();
        for value in context.values(policy) {
            let is_remote = matches!(value.field, "remoteIpBlocks" | "remote.ip");
            if !is_remote || reported.contains(&value.rule) {
                continue;
            }
            let rule = RuleRef { policy: number, rule: value.rule };
            let mut example = None;
            for (workload, _) in context.guarded(number) {
                for (port, speaks) in context.channels(workload) {
                    if speaks == Protocol::Tcp || port.gateway.is_some() || example.is_some() {
                        continue;
                    }
                    for sender in context.senders(workload, &port) {
                        let Some(mut trial) =
                            context.matched(workload, &port, speaks, &sender, rule, &Request::anything())
                        else {
                            continue;
                        };
                        if policy.action == Action::Deny {
                            // Who is denied writes another address, or one of those that are spared.
                            let listed = value.text.split('/').next();
                            let others = ["203.0.113.7", "10.0.0.7", "192.168.0.7"];
                            let passing = others
                                .into_iter()
                                .chain(listed)
                                .filter_map(|ip| ip.parse::<IpAddr>().ok())
                                .any(|ip| {
                                    trial.request.remote_ip = Fact::Known(ip);
                                    context.passes(&trial)
                                });
                            if !passing {
                                continue;
                            }
                        }
                        let Some(ip) = trial.request.remote_ip.known().copied() else { continue };
                        trial.request.headers.insert("x-forwarded-for".to_owned(), vec![ip.to_string()]);
                        if example.is_none() && context.passes(&trial) {
                            example = Some(context.example(&trial, "decided by the client's real address"));
                        }
                    }
                }
            }
            let Some(example) = example else { continue };
            reported.push(value.rule);
            let text = format!(
                "at a sidecar `{}` compares the last entry of X-Forwarded-For, which any caller in the mesh writes as it likes",
                value.list()
            );
            let fix = "Put the rule on the gateway, and let the sidecar admit the gateway's principal only.";
            context.report(&policy.object, &value.pointer, text, Some(example), fix);
        }
    }
}
