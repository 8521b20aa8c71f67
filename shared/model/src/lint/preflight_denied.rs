//! CORS preflights, which never carry a token.

use super::context::Context;
use super::finding::{Lint, Severity};
use super::token_never_read::is_token;
use crate::authorization::compile::Protocol;
use crate::authorization::request::{Fact, Request};
use crate::mesh_config::{list, strings};
use crate::object::Kind;

pub(super) const LINT: Lint = Lint {
    code: "preflight-denied",
    severity: Severity::Warning,
    summary: "a gateway with a CORS policy refuses preflights, because they carry no token",
    check,
};

/// The policies come before CORS in the gateway's filters (`listener_builder.go`).
fn check(context: &mut Context<'_>) {
    let world = context.world;
    for (number, policy) in context.deciding() {
        let Some(value) = context.values(policy).into_iter().find(|value| is_token(value.field)) else {
            continue;
        };
        for (workload_number, workload) in context.guarded(number) {
            let gateways: Vec<String> =
                world.gateways_of(workload).map(|gateway| gateway.object.key()).collect();
            let with_cors = world.objects().iter().find(|object| {
                let routes = list(object.get("/spec/http"));
                object.kind == Kind::VirtualService
                    && routes.iter().any(|route| route.get("corsPolicy").is_some())
                    && strings(object.get("/spec/gateways")).iter().any(|name| {
                        let name = if name.contains('/') {
                            name.clone()
                        } else {
                            format!("{}/{name}", object.namespace)
                        };
                        gateways.contains(&name)
                    })
            });
            let Some(with_cors) = with_cors else { continue };
            let channel =
                context.channels(workload_number).into_iter().find(|(_, speaks)| *speaks == Protocol::Http);
            let Some((port, speaks)) = channel else { continue };
            let sender = super::context::plaintext();
            let mut trial = context.plain(workload_number, &port, speaks, &sender);
            trial.request.method = Fact::Known("OPTIONS".to_owned());
            trial.request.host = Fact::or_absent(strings(with_cors.get("/spec/hosts")).into_iter().next());
            for (name, value) in
                [("origin", "https://shop.example"), ("access-control-request-method", "GET")]
            {
                trial.request.headers.insert(name.to_owned(), vec![value.to_owned()]);
            }
            // Not where preflights are let in by any path of this policy.
            let open = Request {
                method: Fact::Known("OPTIONS".to_owned()),
                token: Fact::Absent,
                ..Request::anything()
            };
            let spared = context
                .evaluator
                .outcome(workload_number, &port, &sender.way, speaks, &open)
                .witness
                .is_some();
            if spared || !context.is_refused(&trial) {
                continue;
            }
            let example = context.example(&trial, "answered with the CORS headers");
            let text = format!(
                "browsers send preflights without a token, and the policies come before the CORS policy of VirtualService {}",
                with_cors.key()
            );
            let fix = "Add an ALLOW rule for methods: [\"OPTIONS\"], or notMethods: [\"OPTIONS\"] to the rule that denies.";
            context.report(&policy.object, &value.pointer, text, Some(example), fix);
            break;
        }
    }
}
