//! Clients that are told to connect otherwise than the server wants.

use super::context::{Context, Sender};
use super::finding::{Lint, Severity};
use crate::authorization::connection::{self, Presents, Way};
use crate::authorization::judge::Verdict;
use crate::authorization::request::Request;
use crate::destination_rule::ClientTls;
use crate::inbound;
use crate::peer_authentication::Mode;

pub(super) const LINT: Lint = Lint {
    code: "destination-rule-tls",
    severity: Severity::Error,
    summary: "a DestinationRule's TLS mode does not fit the server's mTLS mode or its policies",
    check,
};

fn check(context: &mut Context<'_>) {
    let world = context.world;
    'rules: for rule in &world.destination_rules {
        for service in &world.services {
            if !crate::host::covers(&rule.host, &service.host()) {
                continue;
            }
            for (number, target) in context.all_guarded() {
                if target.namespace != service.object.namespace
                    || !service.selector.as_ref().is_some_and(|selector| selector.selects(&target.labels))
                {
                    continue;
                }
                for service_port in &service.ports {
                    let Some((tls, pointer)) = rule.tls(service_port.port) else { continue };
                    let Some(port) = inbound::target(service_port, target) else { continue };
                    let port = inbound::port(world, target, port);
                    let in_force = context.evaluator.mode(target, port.port);
                    let caller = world.workloads.iter().find(|caller| {
                        caller.injection.injected
                            && caller.key() != target.key()
                            && world
                                .destination_rule(caller, service)
                                .is_some_and(|used| used.object.key() == rule.object.key())
                    });
                    let Some(caller) = caller else { continue };
                    if tls == ClientTls::IstioMutual {
                        // The engine takes clients for wise enough not to: text alone.
                        if in_force.mode == Mode::Disable {
                            let text = format!(
                                "clients start mutual TLS with {}, whose mTLS mode is DISABLE: it takes the handshake for the request, and the call fails",
                                target.key()
                            );
                            let fix =
                                "Take `tls` out: sidecars find out by themselves what the server takes.";
                            context.report(&rule.object, &pointer, text, None, fix);
                            continue 'rules;
                        }
                        continue;
                    }
                    let way = connection::way(world, caller, target, &port, Some(service));
                    if !matches!(way.presents, Presents::Plaintext | Presents::ForeignTls) {
                        continue;
                    }
                    let Some(speaks) = crate::question::access::protocols(&port).first().copied() else {
                        continue;
                    };
                    let open = Request::anything();
                    let now = context.evaluator.outcome(number, &port, &way, speaks, &open);
                    let principal = world.principal(&caller.namespace, &caller.service_account);
                    let with_identity = context.evaluator.outcome(
                        number,
                        &port,
                        &Way::identity(principal.clone()),
                        speaks,
                        &open,
                    );
                    let (Verdict::Deny, Some(request)) = (now.verdict, with_identity.witness) else {
                        continue;
                    };
                    let mut trial = context.plain(number, &port, speaks, &Sender { name: caller.key(), way });
                    trial.request = request;
                    let expected = format!("let through, as with the identity {principal}");
                    let example = context.example(&trial, expected);
                    let what = match in_force.mode {
                        Mode::Strict => "its mTLS mode is STRICT",
                        _ => "its policies ask for an identity",
                    };
                    let word = if tls == ClientTls::Disable {
                        "plaintext"
                    } else {
                        "TLS without the mesh's certificate"
                    };
                    let text = format!("clients of {} connect with {word}, and {what}", service.object.key());
                    let fix =
                        "Take `tls` out: sidecars use mutual TLS by themselves; or write mode: ISTIO_MUTUAL.";
                    context.report(&rule.object, &pointer, text, Some(example), fix);
                    continue 'rules;
                }
            }
        }
    }
}
