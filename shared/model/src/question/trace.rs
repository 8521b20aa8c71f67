//! The evaluation of one request, step by step, in the order in which it happens.

use serde::Serialize;

use crate::authorization::chain::{Chain, Provider};
use crate::authorization::compile::{CompiledRule, Fate};
use crate::authorization::connection::Presents;
use crate::authorization::evaluator::{Cause, Evaluator};
use crate::authorization::request::{Fact, Request};
use crate::policy::Action;
use crate::world::World;

use super::access::arrives;
use super::can::Case;
use super::reason;

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// `caller`, `port`, `mtls`, `CUSTOM`, `JWT`, `AUDIT`, `DENY`, `ALLOW` or `verdict`.
    pub stage: &'static str,
    /// `namespace/name` of the object behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The index of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// Where that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What happens there.
    pub text: String,
}

impl Step {
    fn new(stage: &'static str, text: impl Into<String>) -> Self {
        Self { stage, policy: None, rule: None, at: None, text: text.into() }
    }
}

/// Follows one case of a request.
pub fn trace(evaluator: &mut Evaluator<'_>, case: &Case, request: &Request) -> Vec<Step> {
    let world = evaluator.world();
    let Some(workload) = world.workloads.get(case.workload) else { return Vec::new() };
    let shows = match &case.way.presents {
        Presents::Identity(principal) => format!("arrives with mutual TLS as {principal}"),
        Presents::Nothing => "is stopped by the caller's own proxy".to_owned(),
        _ => format!("arrives as {}, without an identity", arrives(&case.way)),
    };
    let reason = case.way.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    let mut steps = vec![
        Step { at: case.way.at.clone(), ..Step::new("caller", format!("{shows}{reason}")) },
        Step {
            at: case.port.at.clone(),
            ..Step::new(
                "port",
                format!(
                    "{} of {} is {}: {}; the client speaks {}",
                    case.port.port,
                    workload.key(),
                    port_word(case.port.protocol),
                    case.port.reason,
                    case.speaks.name()
                ),
            )
        },
    ];
    let in_force = evaluator.mode(workload, case.port.port);
    let mode = in_force.mode.name();
    steps.push(match in_force.by {
        Some((policy, pointer)) => Step {
            policy: Some(policy.object.key()),
            at: Some(policy.object.at(&pointer)),
            ..Step::new("mtls", mode)
        },
        None => Step::new("mtls", format!("{mode}, Istio's default")),
    });
    if let Cause::Policies(chain, _) = &case.outcome.cause {
        let request = Request {
            principal: Fact::or_absent(case.outcome.principal.clone()),
            destination_port: case.port.port,
            ..request.clone()
        };
        follow(world, chain, &chain.view(&request), &mut steps);
    }
    let reasons = reason::reasons(evaluator, workload, case.port.port, &case.way, &case.outcome);
    let first = reasons.first();
    steps.push(Step {
        policy: first.and_then(|because| because.policy.clone()),
        rule: first.and_then(|because| because.rule),
        at: first.and_then(|because| because.at.clone()),
        ..Step::new(
            "verdict",
            match first {
                Some(because) => format!("{}: {}", case.outcome.verdict.name(), because.text),
                None => case.outcome.verdict.name().to_owned(),
            },
        )
    });
    steps
}

/// A port's protocol as a word.
#[must_use]
pub fn port_word(protocol: crate::protocol::PortProtocol) -> &'static str {
    use crate::protocol::PortProtocol;
    match protocol {
        PortProtocol::Http => "HTTP",
        PortProtocol::Tcp => "TCP",
        PortProtocol::Sniffed => "HTTP or TCP, told from the first bytes",
        PortProtocol::Udp => "UDP",
    }
}

fn follow(world: &World, chain: &Chain, request: &Request, steps: &mut Vec<Step>) {
    for rule in &chain.custom {
        let what = match chain.provider(rule) {
            Provider::Asked => "asks the external authorizer",
            Provider::Ignored => "has no effect on TCP",
            Provider::Refuses => "refuses: its provider cannot be asked",
        };
        steps.push(rule_step(world, "CUSTOM", rule, request, what));
    }
    if !chain.tokens.is_empty() {
        let issuers: Vec<&str> = chain.tokens.iter().map(|rule| rule.issuer.as_str()).collect();
        let token = match &request.token {
            Fact::Absent => "no token: passes",
            Fact::Unknown => "whether there is a token is not known",
            Fact::Known(_) => "the token is checked",
        };
        steps.push(Step::new("JWT", format!("{token}; accepted issuers: {}", issuers.join(", "))));
    }
    for rule in &chain.silent {
        let dry = world.policies.get(rule.policy).is_some_and(|policy| policy.dry_run);
        let (stage, what) = match world.policies.get(rule.policy).map(|policy| &policy.action) {
            Some(Action::Audit) => ("AUDIT", "is logged; decides nothing"),
            Some(Action::Deny) if dry => ("DENY", "is a dry run; decides nothing"),
            _ => ("ALLOW", "is a dry run; decides nothing"),
        };
        steps.push(rule_step(world, stage, rule, request, what));
    }
    for (stage, rules, what) in
        [("DENY", Some(&chain.deny), "refuses"), ("ALLOW", chain.allow.as_ref(), "lets it through")]
    {
        for rule in rules.into_iter().flatten() {
            steps.push(rule_step(world, stage, rule, request, what));
        }
        for (rule, fate) in &chain.fates {
            let Some(policy) = world.policies.get(rule.policy) else { continue };
            let Fate::Dropped(unusable) = fate else { continue };
            if policy.action.name() == stage && !policy.dry_run {
                steps.push(Step {
                    policy: Some(policy.object.key()),
                    rule: Some(rule.rule),
                    at: Some(policy.object.at(&unusable.pointer)),
                    ..Step::new(stage, format!("is not in the proxy: {}", unusable.reason))
                });
            }
        }
    }
    if chain.allow.is_none() {
        steps.push(Step::new("ALLOW", "no ALLOW policy selects the workload: what is left is let through"));
    }
}

fn rule_step(world: &World, stage: &'static str, rule: &CompiledRule, request: &Request, what: &str) -> Step {
    let text = match rule.matches(request) {
        Some(true) => format!("matches: {what}"),
        Some(false) => {
            let failed = reason::failures(rule, request);
            let wanted: Vec<String> = failed.iter().map(|condition| reason::wanted(condition)).collect();
            format!("would match if {}", wanted.join(" and "))
        }
        None => "may match: it depends on what is not stated".to_owned(),
    };
    let policy = world.policies.get(rule.policy);
    Step {
        policy: policy.map(|policy| policy.object.key()),
        rule: Some(rule.index),
        at: policy.map(|policy| policy.object.at(&format!("/spec/rules/{}", rule.index))),
        ..Step::new(stage, text)
    }
}
