//! ALLOW by what every caller can write.

use super::context::Context;
use super::finding::{Lint, Severity};
use crate::authorization::attribute::Attribute;
use crate::authorization::chain::RuleRef;
use crate::authorization::compile::Protocol;
use crate::authorization::request::Request;
use crate::policy::Action;

pub(super) const LINT: Lint = Lint {
    code: "forgeable",
    severity: Severity::Warning,
    summary: "an ALLOW rule rests on nothing but a header or a host, which every caller writes itself",
    check,
};

fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding().filter(|(_, policy)| policy.action == Action::Allow) {
        for index in 0..policy.rules.len() {
            let rule = RuleRef { policy: number, rule: index };
            'found: for (workload, target) in context.guarded(number) {
                for (port, speaks) in context.channels(workload) {
                    // At a gateway the host and the headers are what a rule is about.
                    if speaks == Protocol::Tcp || port.gateway.is_some() {
                        continue;
                    }
                    let Some(compiled) = context.compiled(workload, Protocol::Http, rule) else { continue };
                    let written = |attribute: &Attribute| {
                        matches!(attribute, Attribute::Header(_) | Attribute::Host | Attribute::Sni)
                    };
                    let proven = |attribute: &Attribute| {
                        attribute.is_token()
                            || matches!(attribute, Attribute::Principal | Attribute::SourceIp)
                    };
                    let Some(first) = compiled
                        .conditions()
                        .find(|condition| !condition.negated && written(&condition.attribute))
                    else {
                        continue;
                    };
                    if compiled.conditions().any(|condition| proven(&condition.attribute)) {
                        continue;
                    }
                    let pointer = first.pointer.to_string();
                    let what = match &first.attribute {
                        Attribute::Header(name) => format!("header {name}"),
                        Attribute::Host => "the host".to_owned(),
                        _ => "the server name".to_owned(),
                    };
                    let stranger = context.stranger(&target.namespace);
                    let Some(trial) =
                        context.matched(workload, &port, speaks, &stranger, rule, &Request::anything())
                    else {
                        continue;
                    };
                    if !context.is_allowed_by(&trial, rule) {
                        continue;
                    }
                    let example =
                        context.example(&trial, "refused: it is not who the header was to come from");
                    let text = format!(
                        "the rule rests on {what} alone, which every caller in the mesh writes as it likes"
                    );
                    let fix = "Add `from` with the principals that may send it, such as the gateway's.";
                    context.report(&policy.object, &pointer, text, Some(example), fix);
                    break 'found;
                }
            }
        }
    }
}
