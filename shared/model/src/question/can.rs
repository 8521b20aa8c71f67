//! `can`: one request, as far as it is stated.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::authorization::compile::Protocol;
use crate::authorization::connection::{Presents, Way};
use crate::authorization::evaluator::{Cause, Evaluator, Outcome};
use crate::authorization::judge::Verdict;
use crate::authorization::request::Request;
use crate::inbound::{self, InboundPort};
use crate::world::Assumption;

use super::access::{protocols, witness_json};
use super::reason::{self, Because, NearestMiss};
use super::requests;
use super::target::{Caller, Target};
use super::who_can;

/// One request.
#[derive(Clone, Debug)]
pub struct Ask<'w> {
    /// Who sends it.
    pub caller: Caller<'w>,
    /// Who gets it.
    pub target: Target<'w>,
    /// The workload's port; all that are known where not stated.
    pub port: Option<u16>,
    /// Whether a port that the workload does not know may be the Service's.
    pub or_service_port: bool,
    /// What the client speaks; told from the request where not stated.
    pub speaks: Option<Protocol>,
    /// What is known of it; its path is put in by [`Ask::path`].
    pub request: Request,
    /// The path as the client sends it.
    pub path: Option<String>,
}

/// One way in which the request can arrive.
#[derive(Clone, Debug)]
pub struct Case {
    /// The number of the target's workload, or of one that stands for several alike.
    pub workload: usize,
    /// The names of the workloads that it stands for.
    pub targets: Vec<String>,
    /// The port.
    pub port: InboundPort,
    /// What the client speaks.
    pub speaks: Protocol,
    /// How the caller connects.
    pub way: Way,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// In one word, over all cases.
    pub verdict: Verdict,
    /// The rule that decides all cases, where it is the same.
    pub rule: Option<String>,
    /// Facts that matter and were not stated.
    pub missing: Vec<String>,
    /// The cases.
    pub cases: Vec<Case>,
    /// Why the verdict is `unknown`; what every answer about the target assumes is
    /// [`who_can::assumptions`].
    pub doubts: Vec<Assumption>,
    /// How the port was understood, where that is not plain.
    pub note: Option<String>,
}

/// Decides.
pub fn can(evaluator: &mut Evaluator<'_>, ask: &Ask<'_>) -> Answer {
    let world = evaluator.world();
    let mut cases: Vec<Case> = Vec::new();
    let mut note = None;
    let mut request = ask.request.clone();
    let mut bad_path = false;
    if let Some(path) = &ask.path {
        request.set_path(path, world.mesh.normalization);
        bad_path = world.mesh.normalization.apply(path).is_none();
    }
    for alike in evaluator.alike(&ask.target.workloads).iter() {
        let Some(&number) = alike.first() else { continue };
        let targets = who_can::names(world, alike);
        let ports = match ask.port {
            Some(port) => vec![stated_port(evaluator, number, ask, port, &mut note)],
            None => reachable_ports(evaluator, number, ask),
        };
        for port in ports {
            for way in ways(evaluator, number, &port, ask) {
                for speaks in spoken(ask, &request, &port) {
                    let mut outcome = evaluator.outcome(number, &port, &way, speaks, &request);
                    // A proxy that only passes bytes on, as of TLS that is not its own, reads no path.
                    if let Cause::Policies(chain, _) = &outcome.cause
                        && bad_path
                        && chain.protocol == Protocol::Http
                    {
                        outcome = Outcome::bad_request();
                    }
                    cases.push(Case {
                        workload: number,
                        targets: targets.clone(),
                        port: port.clone(),
                        speaks,
                        way: way.clone(),
                        outcome,
                    });
                }
            }
        }
    }
    answer(evaluator, cases, note)
}

/// The stated port: the workload's if that is known to it, else the Service's port of that number.
fn stated_port(
    evaluator: &mut Evaluator<'_>,
    number: usize,
    ask: &Ask<'_>,
    stated: u16,
    note: &mut Option<String>,
) -> InboundPort {
    let world = evaluator.world();
    let Some(workload) = world.workloads.get(number) else { return inbound::undeclared(stated) };
    let known = evaluator.ports(number);
    if let Some(port) = known.iter().find(|port| port.port == stated) {
        return port.clone();
    }
    if ask.or_service_port
        && let Some(service) = ask.target.service
        && let Some(service_port) = service.ports.iter().find(|port| port.port == stated)
        && let Some(target) = inbound::target(service_port, workload)
    {
        *note = Some(format!(
            "port {stated} of Service {} is port {target} of the workload",
            service.object.key()
        ));
        return inbound::port(world, workload, target);
    }
    inbound::port(world, workload, stated)
}

/// The ports that the target opens: a Service's own, else all that are known of the workload.
fn reachable_ports(evaluator: &mut Evaluator<'_>, number: usize, ask: &Ask<'_>) -> Vec<InboundPort> {
    let world = evaluator.world();
    let Some(workload) = world.workloads.get(number) else { return Vec::new() };
    let all = evaluator.ports(number);
    let Some(service) = ask.target.service else { return all.to_vec() };
    let of_service: Vec<u16> =
        service.ports.iter().filter_map(|port| inbound::target(port, workload)).collect();
    let kept: Vec<InboundPort> = all.iter().filter(|port| of_service.contains(&port.port)).cloned().collect();
    if kept.is_empty() { all.to_vec() } else { kept }
}

/// The ways in which the caller connects, each once.
fn ways(evaluator: &mut Evaluator<'_>, target: usize, port: &InboundPort, ask: &Ask<'_>) -> Vec<Way> {
    let world = evaluator.world();
    match &ask.caller {
        Caller::Anonymous => vec![Way { presents: Presents::Plaintext, reason: None, at: None }],
        Caller::Principal(principal) => vec![Way::identity(principal.clone())],
        Caller::Workloads(callers) => {
            let through = ask.target.service.filter(|service| {
                world.workloads.get(target).is_some_and(|target| {
                    inbound::services_on(world, target, port.port)
                        .any(|(known, _)| known.host() == service.host())
                })
            });
            let ways: BTreeSet<Way> = callers
                .workloads
                .iter()
                .map(|caller| evaluator.way(*caller, target, port, through))
                .collect();
            ways.into_iter().collect()
        }
    }
}

/// What the client speaks on a port: as stated; HTTP where anything of HTTP is stated or the port is
/// declared so; both where nothing tells.
fn spoken(ask: &Ask<'_>, request: &Request, port: &InboundPort) -> Vec<Protocol> {
    match ask.speaks {
        Some(protocol) => vec![protocol],
        None if ask.path.is_some() || requests::states_http(request) => vec![Protocol::Http],
        None => protocols(port).to_vec(),
    }
}

fn answer(evaluator: &Evaluator<'_>, cases: Vec<Case>, note: Option<String>) -> Answer {
    let world = evaluator.world();
    let verdicts: BTreeSet<Verdict> = cases.iter().map(|case| case.outcome.verdict).collect();
    let verdict = match verdicts.iter().copied().collect::<Vec<_>>().as_slice() {
        [only] => *only,
        [] => Verdict::Unknown,
        several if several.contains(&Verdict::Unknown) => Verdict::Unknown,
        _ => Verdict::Conditional,
    };
    let mut missing: BTreeSet<String> = cases
        .iter()
        .filter(|case| case.outcome.verdict == Verdict::Conditional)
        .flat_map(|case| case.outcome.open.iter().map(ToString::to_string))
        .collect();
    if verdicts.len() > 1 {
        let differ =
            |part: &dyn Fn(&Case) -> String| cases.iter().map(part).collect::<BTreeSet<_>>().len() > 1;
        for (name, part) in [
            ("port", &(|case: &Case| case.port.port.to_string()) as &dyn Fn(&Case) -> String),
            ("protocol", &|case: &Case| case.speaks.name().to_owned()),
            ("the target's workload", &|case: &Case| case.workload.to_string()),
            ("the caller's workload", &|case: &Case| format!("{:?}", case.way.presents)),
        ] {
            if differ(part) {
                missing.insert(name.to_owned());
            }
        }
    }
    let rules: BTreeSet<Option<String>> = cases
        .iter()
        .map(|case| reason::deciding_rule(&case.outcome).map(|rule| reason::rule_name(world, rule)))
        .collect();
    let definite = matches!(verdict, Verdict::Allow | Verdict::Deny | Verdict::Unknown);
    let rule = match rules.into_iter().collect::<Vec<_>>().as_slice() {
        [Some(only)] if definite => Some(only.clone()),
        _ => None,
    };
    let doubts: BTreeSet<Assumption> =
        cases.iter().flat_map(|case| case.outcome.doubts.iter().cloned()).collect();
    Answer {
        verdict,
        rule,
        missing: missing.into_iter().collect(),
        cases,
        doubts: doubts.into_iter().collect(),
        note,
    }
}

impl Case {
    /// Why it comes out so.
    pub fn reasons(&self, evaluator: &mut Evaluator<'_>) -> Vec<Because> {
        let world = evaluator.world();
        match world.workloads.get(self.workload) {
            Some(workload) => reason::reasons(evaluator, workload, self.port.port, &self.way, &self.outcome),
            None => Vec::new(),
        }
    }

    /// What came closest, where no ALLOW rule matched.
    #[must_use]
    pub fn nearest_miss(&self, evaluator: &Evaluator<'_>, request: &Request) -> Option<NearestMiss> {
        use crate::authorization::chain::Decision;
        use crate::authorization::request::Fact;
        let Cause::Policies(chain, Decision::NoneAllows) = &self.outcome.cause else { return None };
        let request = Request {
            principal: Fact::or_absent(self.outcome.principal.clone()),
            destination_port: self.port.port,
            ..request.clone()
        };
        reason::nearest_miss(evaluator.world(), chain, &chain.view(&request))
    }

    /// A request that is let through, as JSON.
    #[must_use]
    pub fn witness(&self) -> Option<Value> {
        self.outcome.witness.as_ref().map(|witness| witness_json(witness, self.speaks))
    }
}
