//! Requests of a certain identity, for lints about identities that a rule was to match.

use super::context::{Context, Sender, Value};
use super::finding::Example;
use crate::authorization::chain::RuleRef;
use crate::authorization::compile::{CompiledRule, Protocol};
use crate::authorization::connection::Way;
use crate::authorization::request::{Fact, Request};
use crate::policy::{Action, AuthorizationPolicy};

/// A plain request of the identity that a value was to match and does not: an ALLOW rule does not
/// let it through, a DENY rule does not stop it.
pub(super) fn example(
    context: &mut Context<'_>,
    policy: &AuthorizationPolicy,
    value: &Value<'_>,
    principal: &str,
) -> Option<Example> {
    let number = context.world.policies.iter().position(|known| known.object.key() == policy.object.key())?;
    let sender = Sender { name: principal.to_owned(), way: Way::identity(principal.to_owned()) };
    let meant = match (&policy.action, value.negated) {
        (Action::Allow, false) | (Action::Deny, true) => "let through",
        (Action::Deny, false) | (Action::Allow, true) => "refused",
        _ => return None,
    };
    for (workload, _) in context.guarded(number) {
        for (port, speaks) in context.channels(workload) {
            let mut trial = context.plain(workload, &port, speaks, &sender);
            // As near as possible to what the rest of the rule asks for.
            if let Some(request) =
                near(context, workload, speaks, RuleRef { policy: number, rule: value.rule })
            {
                trial.request = Request { destination_port: port.port, ..request };
            }
            let surprising =
                if meant == "refused" { context.passes(&trial) } else { context.is_refused(&trial) };
            if surprising {
                return Some(context.example(&trial, meant));
            }
        }
    }
    None
}

/// A request that satisfies the operations of a rule, whoever sends it.
fn near(context: &mut Context<'_>, workload: usize, speaks: Protocol, rule: RuleRef) -> Option<Request> {
    let compiled = context.compiled(workload, speaks, rule)?;
    let chain = context.chain(workload, speaks);
    context.ports(workload).iter().find_map(|port| {
        let open = Request { destination_port: port.port, token: Fact::Absent, ..Request::anything() };
        let anybody = CompiledRule { from: vec![Vec::new()], ..compiled.clone() };
        context.witness(&chain, anybody, &open)
    })
}
