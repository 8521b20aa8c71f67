//! Ports whose protocol the proxy has to guess.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::compile::Protocol;
use crate::authorization::judge::Verdict;
use crate::authorization::request::Request;
use crate::inbound;
use crate::object::Kind;
use crate::protocol::PortProtocol;

pub(super) const LINT: Lint = Lint {
    code: "undeclared-protocol",
    severity: Severity::Warning,
    summary: "the Service does not say what a port speaks, so that policies hold for HTTP and not for the rest",
    check,
};

/// An Auto port has an HTTP chain and a TCP chain, and policies with HTTP fields differ between them
/// (`checkError` in `model.go`).
fn check(context: &mut Context<'_>) {
    let mut reported = Vec::new();
    for (number, workload) in context.all_guarded() {
        for port in context.ports(number) {
            let Some((service, service_port)) = port.service.clone() else { continue };
            if port.protocol != PortProtocol::Sniffed || reported.contains(&(service.clone(), service_port)) {
                continue;
            }
            for sender in context.senders(number, &port) {
                let http = context.plain(number, &port, Protocol::Http, &sender);
                let tcp = context.plain(number, &port, Protocol::Tcp, &sender);
                let open = context.evaluator.outcome(
                    number,
                    &port,
                    &sender.way,
                    Protocol::Http,
                    &Request::anything(),
                );
                // Only a difference that decides: HTTP is let through and the rest is not, or the
                // other way round.
                let differs = match context.outcome(&tcp).verdict {
                    Verdict::Allow => context.is_refused(&http),
                    Verdict::Deny => matches!(open.verdict, Verdict::Allow | Verdict::Conditional),
                    _ => false,
                };
                if !differs {
                    continue;
                }
                let example = context.example(&tcp, "decided as HTTP requests are");
                let object = context
                    .world
                    .objects()
                    .iter()
                    .find(|object| object.kind == Kind::Service && object.key() == service);
                let Some(object) = object.cloned() else { continue };
                let index = inbound::services_on(context.world, workload, port.port)
                    .find(|(known, _)| known.object.key() == service)
                    .and_then(|(known, _)| known.ports.iter().position(|known| known.port == service_port));
                let pointer = format!("/spec/ports/{}", index.unwrap_or_default());
                let text = format!(
                    "port {service_port} does not say what it speaks ({}), so the proxy guesses by the first bytes, and policies decide otherwise for what is no HTTP",
                    port.reason
                );
                let fix = "Name the port `http` (or `http-...`, `grpc-...`, `tcp-...`), or set appProtocol.";
                context.report(&object, &pointer, text, Some(example), fix);
                reported.push((service, service_port));
                break;
            }
        }
    }
}
