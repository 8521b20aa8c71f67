//! `explain`: what protects each port of a target, in the order in which it is evaluated.

use serde::Serialize;

use crate::authorization::chain::{Chain, Provider, RuleRef};
use crate::authorization::compile::{CompiledRule, Fate, Protocol};
use crate::authorization::condition::Condition;
use crate::authorization::evaluator::Evaluator;
use crate::authorization::selection;
use crate::inbound::{self, InboundPort};
use crate::policy::{Action, AuthorizationPolicy};
use crate::workload::Workload;
use crate::world::{Assumption, World};

use super::access::protocols;
use super::reason;
use super::target::Target;
use super::trace::port_word;
use super::who_can::{self, TargetName};

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Explain {
    /// What was asked about.
    pub target: TargetName,
    /// Each of its workloads.
    pub workloads: Vec<WorkloadPart>,
    /// What was assumed.
    pub assumptions: Vec<Assumption>,
}

/// Workloads for which all is the same.
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadPart {
    /// `kind/name` of the workloads that are alike.
    pub names: Vec<String>,
    /// Whether it has a sidecar, and why.
    pub sidecar: String,
    /// Whether it has a sidecar.
    pub injected: bool,
    /// Its ports.
    pub ports: Vec<PortPart>,
    /// Policies that stand where they could apply and do not.
    pub ignored: Vec<Ignored>,
}

/// A policy that does not apply.
#[derive(Clone, Debug, Serialize)]
pub struct Ignored {
    /// `namespace/name`.
    pub policy: String,
    /// Where it stands.
    pub at: String,
    /// Why it does not apply.
    pub reason: String,
}

/// One port.
#[derive(Clone, Debug, Serialize)]
pub struct PortPart {
    /// The workload's port.
    pub port: u16,
    /// `HTTP`, `TCP`, or both.
    pub protocol: &'static str,
    /// Why.
    pub reason: String,
    /// Where that stands.
    pub at: Option<String>,
    /// Why no policy is asked here.
    pub bypass: Option<String>,
    /// The mTLS mode.
    pub mtls: &'static str,
    /// What sets the mode; `null` for Istio's default.
    #[serde(rename = "mtlsFrom")]
    pub mtls_from: Option<String>,
    /// Where that stands.
    #[serde(rename = "mtlsAt")]
    pub mtls_at: Option<String>,
    /// The filters, for each kind of traffic.
    pub chains: Vec<ChainPart>,
}

/// The filters of one kind of traffic.
#[derive(Clone, Debug, Serialize)]
pub struct ChainPart {
    /// `http` or `tcp`.
    pub protocol: &'static str,
    /// Issuers of tokens that are accepted.
    pub issuers: Vec<String>,
    /// The policies in the order in which they are evaluated.
    pub policies: Vec<PolicyPart>,
    /// What happens to requests that no rule matches.
    pub otherwise: &'static str,
}

/// One policy.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyPart {
    /// `namespace/name`.
    pub policy: String,
    /// `CUSTOM`, `AUDIT`, `DENY` or `ALLOW`.
    pub action: &'static str,
    /// What it does here, where its action alone does not say it.
    pub note: Option<String>,
    /// Its rules.
    pub rules: Vec<RulePart>,
}

/// One rule.
#[derive(Clone, Debug, Serialize)]
pub struct RulePart {
    /// Its index.
    pub rule: usize,
    /// Where it stands.
    pub at: String,
    /// What it matches, in words.
    pub matches: String,
    /// What became of it on this chain: dropped or widened, and why.
    pub fate: Option<String>,
}

/// Explains a target.
pub fn explain(evaluator: &mut Evaluator<'_>, target: &Target<'_>) -> Explain {
    let world = evaluator.world();
    let mut parts = Vec::new();
    let mut assumptions = who_can::assumptions(world, &target.workloads);
    for alike in evaluator.alike(&target.workloads).iter() {
        let Some(&number) = alike.first() else { continue };
        let Some(workload) = world.workloads.get(number) else { continue };
        let ports =
            evaluator.ports(number).iter().map(|port| port_part(evaluator, number, workload, port)).collect();
        assumptions.extend(who_can::asked(evaluator, number));
        assumptions.extend(evaluator.uncertain(number));
        parts.push(WorkloadPart {
            names: alike.iter().filter_map(|n| world.workloads.get(*n)).map(Workload::reference).collect(),
            sidecar: workload.injection.reason.clone(),
            injected: workload.injection.injected,
            ports,
            ignored: ignored(world, workload),
        });
    }
    Explain {
        target: TargetName {
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            workloads: who_can::names(world, &target.workloads),
        },
        workloads: parts,
        assumptions: assumptions.into_iter().collect(),
    }
}

fn ignored(world: &World, workload: &Workload) -> Vec<Ignored> {
    selection::candidates(world, workload)
        .filter_map(|number| world.policies.get(number))
        .filter_map(|policy| {
            let reason = selection::why_not(world, policy, workload)?;
            let (policy, at) = (policy.object.key(), policy.object.at("/spec/selector"));
            Some(Ignored { policy, at, reason })
        })
        .collect()
}

fn port_part(
    evaluator: &mut Evaluator<'_>,
    number: usize,
    workload: &Workload,
    port: &InboundPort,
) -> PortPart {
    let bypass = inbound::bypass(workload, port.port);
    let in_force = evaluator.mode(workload, port.port);
    let chains = if bypass.is_some() {
        Vec::new()
    } else {
        protocols(port).iter().map(|protocol| chain_part(evaluator, number, *protocol)).collect()
    };
    PortPart {
        port: port.port,
        protocol: port_word(port.protocol),
        reason: port.reason.clone(),
        at: port.at.clone(),
        bypass,
        mtls: if port.gateway.is_some() { "the Gateway's" } else { in_force.mode.name() },
        mtls_from: in_force.by.as_ref().map(|(policy, _)| policy.object.key()),
        mtls_at: in_force.by.as_ref().map(|(policy, pointer)| policy.object.at(pointer)),
        chains,
    }
}

fn chain_part(evaluator: &mut Evaluator<'_>, number: usize, protocol: Protocol) -> ChainPart {
    let world = evaluator.world();
    let chain = evaluator.chain(number, protocol);
    let selected = world.workloads.get(number).map_or(Vec::new(), |w| selection::policies(world, w));
    let mut policies: Vec<(u8, PolicyPart)> = selected
        .iter()
        .filter_map(|number| {
            let policy = world.policies.get(*number)?;
            let order = match policy.action {
                Action::Custom { .. } => 0,
                Action::Audit => 1,
                Action::Deny => 2,
                Action::Allow => 3,
            };
            Some((order, policy_part(&chain, *number, policy)))
        })
        .collect();
    policies.sort_by_key(|(order, _)| *order);
    let otherwise = if chain.allow.is_some() {
        "refused: ALLOW policies select the workload, so what none of their rules matches is denied"
    } else {
        "let through: no ALLOW policy selects the workload"
    };
    ChainPart {
        protocol: protocol.name(),
        issuers: chain.tokens.iter().map(|rule| rule.issuer.clone()).collect(),
        policies: policies.into_iter().map(|(_, part)| part).collect(),
        otherwise,
    }
}

fn policy_part(chain: &Chain, number: usize, policy: &AuthorizationPolicy) -> PolicyPart {
    let rules: Vec<RulePart> = (0..policy.rules.len())
        .map(|index| {
            let reference = RuleRef { policy: number, rule: index };
            let fate = chain.fates.iter().find(|(rule, _)| *rule == reference).map(|(_, fate)| fate);
            let compiled = chain.rules().chain(&chain.silent).find(|rule| rule.reference() == reference);
            RulePart {
                rule: index,
                at: policy.object.at(&format!("/spec/rules/{index}")),
                matches: compiled.map_or_else(|| "nothing".to_owned(), in_words),
                fate: match fate {
                    Some(Fate::Dropped(unusable)) => {
                        Some(format!("dropped, it never matches: {}", unusable.reason))
                    }
                    Some(Fate::Widened(values)) => {
                        let reasons: Vec<&str> = values.iter().map(|v| v.reason.as_str()).collect();
                        Some(format!("widened, it matches more than is written: {}", reasons.join("; ")))
                    }
                    Some(Fate::Kept) | None => None,
                },
            }
        })
        .collect();
    let note = match &policy.action {
        _ if policy.dry_run => Some("dry run: it decides nothing".to_owned()),
        Action::Audit => Some("only logs".to_owned()),
        Action::Custom { provider } => Some(match chain.providers.get(provider) {
            Some(Provider::Asked) => format!("asks {provider}, whose answer is not known here"),
            Some(Provider::Ignored) => format!("{provider} is for HTTP only: no effect here"),
            _ => format!("provider `{provider}` cannot be asked: what it matches is refused"),
        }),
        Action::Allow if rules.is_empty() => Some("has no rules: it lets nothing through".to_owned()),
        Action::Deny if rules.is_empty() => Some("has no rules: it refuses nothing".to_owned()),
        Action::Allow | Action::Deny => None,
    };
    PolicyPart { policy: policy.object.key(), action: policy.action.name(), note, rules }
}

/// A rule in words: sources, then operations.
fn in_words(rule: &CompiledRule) -> String {
    let lists = |lists: &[Vec<Condition>]| {
        let parts: Vec<String> = lists
            .iter()
            .map(|conditions| conditions.iter().map(reason::wanted).collect::<Vec<_>>().join(" and "))
            .collect();
        if parts.iter().any(String::is_empty) { None } else { Some(parts.join("; or ")) }
    };
    match (lists(&rule.from), lists(&rule.to)) {
        (None, None) => "everything".to_owned(),
        (Some(from), None) => from,
        (None, Some(to)) => to,
        (Some(from), Some(to)) if rule.from.len() == 1 && rule.to.len() == 1 => format!("{from} and {to}"),
        (Some(from), Some(to)) => format!("({from}) and ({to})"),
    }
}
