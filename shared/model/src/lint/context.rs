//! What all lints need: which workloads a policy is in force for, and requests to try on them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::authorization::attribute::Attribute;
use crate::authorization::chain::{Chain, Decision, RuleRef};
use crate::authorization::compile::{CompiledRule, Protocol};
use crate::authorization::condition::Condition;
use crate::authorization::connection::{self, Presents, Way};
use crate::authorization::evaluator::{Cause, Evaluator, Outcome};
use crate::authorization::formula::Formula;
use crate::authorization::judge::Verdict;
use crate::authorization::request::{Fact, Request};
use crate::authorization::selection;
use crate::authorization::solver::Solved;
use crate::inbound::{self, InboundPort};
use crate::object::{Kind, Object};
use crate::policy::{Action, AuthorizationPolicy, Values};
use crate::question::access::protocols;
use crate::question::reason;
use crate::workload::Workload;
use crate::world::World;

use super::finding::{Example, Finding, Lint};

/// A client that requests are tried with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sender {
    /// How a person calls it.
    pub(super) name: String,
    /// How it connects.
    pub(super) way: Way,
}

/// One request on its way to one port of one workload.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// The workload's number in the World.
    pub(super) number: usize,
    /// The port.
    pub(super) port: InboundPort,
    /// Who sends it.
    pub(super) sender: Sender,
    /// What it speaks.
    pub(super) speaks: Protocol,
    /// The request, whole.
    pub(super) request: Request,
    /// The path before normalization, where it differs.
    pub(super) raw_path: Option<String>,
}

impl Trial {
    /// The same request with another path; `None` where the proxy answers 400 to it.
    pub(super) fn with_path(&self, world: &World, path: &str) -> Option<Self> {
        let normal = world.mesh.normalization.apply(path)?.into_owned();
        let request = Request { path: Fact::Known(normal), ..self.request.clone() };
        Some(Self { request, raw_path: Some(path.to_owned()), ..self.clone() })
    }
}

/// One value of a field of a rule.
#[derive(Clone, Debug)]
pub(super) struct Value<'w> {
    /// The index of the rule.
    pub(super) rule: usize,
    /// The field (`principals`) or `when` key.
    pub(super) field: &'w str,
    /// The value.
    pub(super) text: &'w str,
    /// Whether it stands in the `not` list.
    pub(super) negated: bool,
    /// JSON pointer of the value.
    pub(super) pointer: String,
}

impl Value<'_> {
    /// The name of the list in which it stands (`notPrincipals`).
    pub(super) fn list(&self) -> &str {
        let list = self.pointer.rsplit('/').nth(1).unwrap_or_default();
        if matches!(list, "values" | "notValues") { self.field } else { list }
    }
}

/// What lints work with.
pub(super) struct Context<'w> {
    /// The World.
    pub(super) world: &'w World,
    /// What decides on the requests that are tried.
    pub(super) evaluator: Evaluator<'w>,
    /// The lint at work.
    pub(super) lint: &'static Lint,
    findings: Vec<Finding>,
    /// For each policy the workloads for which it is in force.
    in_force: Vec<Vec<usize>>,
    /// Of workloads that are alike for all policies, the first.
    representatives: BTreeSet<usize>,
    callers: Vec<usize>,
    /// The clients of each port, once found.
    senders: BTreeMap<(usize, u16), Vec<Sender>>,
}

/// Callers tried on one port: enough to find one of each kind, few enough for a big mesh.
const CALLERS: usize = 16;

impl<'w> Context<'w> {
    pub(super) fn new(world: &'w World, lint: &'static Lint) -> Self {
        let mut in_force = vec![Vec::new(); world.policies.len()];
        let mut known = BTreeSet::new();
        let mut representatives = BTreeSet::new();
        for (number, workload) in world.workloads.iter().enumerate() {
            let selected = selection::policies(world, workload);
            let ports: Vec<(u16, String, &str)> = inbound::ports(world, workload)
                .iter()
                .map(|port| {
                    let mode = world.peer_authentications().of_port(
                        &workload.namespace,
                        &workload.labels,
                        port.port,
                    );
                    (port.port, format!("{:?}", port.protocol), mode.mode.name())
                })
                .collect();
            if known.insert((
                workload.namespace.as_str(),
                workload.injection.injected,
                selected.clone(),
                ports,
            )) {
                representatives.insert(number);
            }
            for policy in selected {
                in_force[policy].push(number);
            }
        }
        // One workload with a sidecar for each identity, then one without a sidecar.
        let mut identities = BTreeSet::new();
        let callers = world
            .workloads
            .iter()
            .enumerate()
            .filter(|(_, workload)| {
                workload.injection.injected
                    && identities.insert((&workload.namespace, &workload.service_account))
            })
            .map(|(number, _)| number)
            .collect();
        Self {
            world,
            evaluator: Evaluator::new(world),
            lint,
            findings: Vec::new(),
            in_force,
            representatives,
            callers,
            senders: BTreeMap::new(),
        }
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Adds a finding about the part of an object at a JSON pointer.
    pub(super) fn report(
        &mut self,
        object: &Object,
        pointer: &str,
        text: impl Into<String>,
        request: Option<Example>,
        fix: impl Into<String>,
    ) {
        let rule = (object.kind == Kind::AuthorizationPolicy)
            .then(|| pointer.strip_prefix("/spec/rules/")?.split('/').next()?.parse().ok())
            .flatten();
        self.findings.push(Finding {
            code: self.lint.code,
            severity: self.lint.severity,
            kind: object.kind.name(),
            object: object.key(),
            rule,
            at: object.at(pointer),
            text: text.into(),
            request,
            fix: fix.into(),
        });
    }

    /// Whether an earlier lint found an error in a rule already.
    pub(super) fn has_error(&self, policy: &AuthorizationPolicy, rule: usize) -> bool {
        self.findings.iter().any(|finding| {
            finding.severity == super::Severity::Error
                && finding.kind == Kind::AuthorizationPolicy.name()
                && finding.object == policy.object.key()
                && finding.rule.is_none_or(|known| known == rule)
        })
    }

    /// Whether an earlier lint found a certain thing in a rule.
    pub(super) fn has_finding(&self, policy: &AuthorizationPolicy, rule: usize, code: &str) -> bool {
        self.findings.iter().any(|finding| {
            finding.code == code && finding.object == policy.object.key() && finding.rule == Some(rule)
        })
    }

    /// Policies that istiod can read, with their numbers.
    pub(super) fn policies(&self) -> impl Iterator<Item = (usize, &'w AuthorizationPolicy)> + use<'w> {
        self.world.policies.iter().enumerate().filter(|(_, policy)| policy.is_readable())
    }

    /// [`Self::policies`] that decide: neither AUDIT nor dry-run.
    pub(super) fn deciding(&self) -> impl Iterator<Item = (usize, &'w AuthorizationPolicy)> + use<'w> {
        self.policies().filter(|(_, policy)| !policy.dry_run && policy.action != Action::Audit)
    }

    /// All values of a policy's rules.
    pub(super) fn values(&self, policy: &'w AuthorizationPolicy) -> Vec<Value<'w>> {
        let mut found = Vec::new();
        for (rule, parts) in policy.rules.iter().enumerate() {
            let Some(parts) = parts else { continue };
            for values in parts.from.iter().chain(&parts.to).flatten().chain(&parts.when) {
                found.extend(values_of(rule, values));
            }
        }
        found
    }

    /// The workloads for which a policy is in force.
    pub(super) fn selected(&self, policy: usize) -> &[usize] {
        self.in_force.get(policy).map_or(&[], Vec::as_slice)
    }

    /// The workloads with a sidecar for which a policy is in force, one of each kind.
    pub(super) fn guarded(&self, policy: usize) -> Vec<(usize, &'w Workload)> {
        let world = self.world;
        self.selected(policy)
            .iter()
            .filter(|number| self.representatives.contains(number))
            .filter_map(|number| Some((*number, world.workloads.get(*number)?)))
            .filter(|(_, workload)| workload.injection.injected)
            .collect()
    }

    /// All workloads with a sidecar for which a policy is in force, for lints that look at Services and
    /// annotations, in which workloads of one kind differ.
    pub(super) fn enforced(&self, policy: usize) -> Vec<(usize, &'w Workload)> {
        let world = self.world;
        self.selected(policy)
            .iter()
            .filter_map(|number| Some((*number, world.workloads.get(*number)?)))
            .filter(|(_, workload)| workload.injection.injected)
            .collect()
    }

    /// All workloads with a sidecar.
    pub(super) fn all_guarded(&self) -> impl Iterator<Item = (usize, &'w Workload)> + use<'w> {
        self.world.workloads.iter().enumerate().filter(|(_, workload)| workload.injection.injected)
    }

    /// The ports that a workload is known to open and that pass its sidecar.
    pub(super) fn ports(&self, number: usize) -> Vec<InboundPort> {
        let Some(workload) = self.world.workloads.get(number) else { return Vec::new() };
        let mut ports = inbound::ports(self.world, workload);
        ports.retain(|port| inbound::bypass(workload, port.port).is_none());
        ports
    }

    /// Every port with every kind of traffic that it can tell apart.
    pub(super) fn channels(&self, number: usize) -> Vec<(InboundPort, Protocol)> {
        self.ports(number)
            .into_iter()
            .flat_map(|port| protocols(&port).iter().map(move |protocol| (port.clone(), *protocol)))
            .collect()
    }

    /// A rule as the proxy of a workload has it.
    pub(super) fn compiled(
        &mut self,
        number: usize,
        protocol: Protocol,
        rule: RuleRef,
    ) -> Option<CompiledRule> {
        let chain = self.evaluator.chain(number, protocol);
        chain.rules().chain(&chain.silent).find(|known| known.reference() == rule).cloned()
    }

    /// Clients of a port: workloads of the World, somebody else with an identity where there are
    /// none, and one in plaintext.
    pub(super) fn senders(&mut self, number: usize, port: &InboundPort) -> Vec<Sender> {
        if let Some(known) = self.senders.get(&(number, port.port)) {
            return known.clone();
        }
        let senders = self.find_senders(number, port);
        self.senders.insert((number, port.port), senders.clone());
        senders
    }

    fn find_senders(&mut self, number: usize, port: &InboundPort) -> Vec<Sender> {
        let world = self.world;
        let Some(target) = world.workloads.get(number) else { return Vec::new() };
        // Of callers whom no policy here tells apart, one is enough.
        let chains = [Protocol::Http, Protocol::Tcp].map(|protocol| self.evaluator.chain(number, protocol));
        let conditions: Vec<&Condition> = chains
            .iter()
            .flat_map(|chain| chain.rules().chain(&chain.silent))
            .flat_map(CompiledRule::conditions)
            .filter(|condition| condition.attribute == Attribute::Principal)
            .collect();
        let mut told_apart = BTreeSet::new();
        let mut senders: Vec<Sender> = Vec::new();
        // Those nearest to the target first: they are what a reader thinks of.
        let near = |caller: &&usize| {
            world.workloads.get(**caller).is_some_and(|caller| caller.namespace == target.namespace)
        };
        let (near, far): (Vec<&usize>, Vec<&usize>) = self.callers.iter().partition(near);
        for caller in near.into_iter().chain(far).filter(|caller| **caller != number) {
            let Some(caller) = world.workloads.get(*caller) else { continue };
            let principal = world.principal(&caller.namespace, &caller.service_account);
            let known = Request { principal: Fact::Known(principal), ..Request::default() };
            let signature: Vec<bool> =
                conditions.iter().map(|condition| condition.holds(&known) == Some(true)).collect();
            if told_apart.contains(&signature) {
                continue;
            }
            let way = connection::way(world, caller, target, port, None);
            if matches!(way.presents, Presents::Identity(_)) {
                told_apart.insert(signature);
                senders.push(Sender { name: caller.key(), way });
                if senders.len() == CALLERS {
                    break;
                }
            }
        }
        if senders.is_empty() {
            senders.push(self.stranger(&target.namespace));
        }
        senders.push(plaintext());
        senders
    }

    /// A client with a sidecar that is not in the World.
    pub(super) fn stranger(&self, namespace: &str) -> Sender {
        let principal = self.world.principal(namespace, "any-other-account");
        Sender { name: principal.clone(), way: Way::identity(principal) }
    }

    /// With which kind of filters and which identity a sender's connection meets; `None` where it
    /// does not get so far.
    pub(super) fn arrival(
        &self,
        number: usize,
        port: &InboundPort,
        sender: &Sender,
        speaks: Protocol,
    ) -> Option<(Protocol, Option<String>)> {
        let workload = self.world.workloads.get(number)?;
        let mode = self.evaluator.mode(workload, port.port).mode;
        connection::chain(self.world, port, mode, &sender.way.presents, speaks).ok()
    }

    /// A whole request of a sender that a rule of a workload matches, as far as `base` leaves it open.
    pub(super) fn matched(
        &mut self,
        number: usize,
        port: &InboundPort,
        speaks: Protocol,
        sender: &Sender,
        rule: RuleRef,
        base: &Request,
    ) -> Option<Trial> {
        let (protocol, principal) = self.arrival(number, port, sender, speaks)?;
        let compiled = self.compiled(number, protocol, rule)?;
        let chain = self.evaluator.chain(number, protocol);
        let mut request = base.clone();
        request.principal = Fact::or_absent(principal.clone());
        request.destination_port = port.port;
        if principal.is_none() && port.gateway.is_none() && request.sni == Fact::Unknown {
            request.sni = Fact::Absent;
        }
        let request =
            Request { principal: request.principal.clone(), ..self.witness(&chain, compiled, &request)? };
        let sender = sender.clone();
        Some(Trial { number, port: port.clone(), sender, speaks, request, raw_path: None })
    }

    /// A whole request that a rule matches, with a token that the chain accepts where it needs one:
    /// what a chain would let through that has nothing but this rule.
    pub(super) fn witness(
        &mut self,
        chain: &Chain,
        rule: CompiledRule,
        request: &Request,
    ) -> Option<Request> {
        let tokens = chain.tokens.clone();
        let only = Chain { allow: Some(vec![rule]), tokens, ..Chain::empty(chain.protocol) };
        self.evaluator.judge().judge(&only, request).witness
    }

    /// The first request of any sender that a rule matches, on any port of any workload for which
    /// its policy is in force.
    pub(super) fn any_matched(&mut self, rule: RuleRef, base: &Request) -> Option<Trial> {
        for (number, _) in self.guarded(rule.policy) {
            for (port, speaks) in self.channels(number) {
                for sender in self.senders(number, &port) {
                    if let Some(trial) = self.matched(number, &port, speaks, &sender, rule, base) {
                        return Some(trial);
                    }
                }
            }
        }
        None
    }

    /// A plain request: what a client sends that adds nothing of its own.
    pub(super) fn plain(
        &self,
        number: usize,
        port: &InboundPort,
        speaks: Protocol,
        sender: &Sender,
    ) -> Trial {
        let request = match speaks {
            Protocol::Http => Request {
                method: Fact::Known("GET".to_owned()),
                path: Fact::Known("/".to_owned()),
                host: self.host(number, port),
                token: Fact::Absent,
                ..Request::default()
            },
            Protocol::Tcp => Request::default().without_http(),
        };
        let (port, sender) = (port.clone(), sender.clone());
        Trial { number, port, sender, speaks, request, raw_path: None }
    }

    /// The host that clients call a port by.
    fn host(&self, number: usize, port: &InboundPort) -> Fact<String> {
        let host = self.world.workloads.get(number).and_then(|workload| {
            let (service, service_port) = inbound::services_on(self.world, workload, port.port).next()?;
            Some(format!("{}.{}:{}", service.object.name, service.object.namespace, service_port.port))
        });
        Fact::or_absent(host)
    }

    /// What becomes of a request.
    pub(super) fn outcome(&mut self, trial: &Trial) -> Outcome {
        self.evaluator.outcome(trial.number, &trial.port, &trial.sender.way, trial.speaks, &trial.request)
    }

    /// Whether a request is let through for certain.
    pub(super) fn passes(&mut self, trial: &Trial) -> bool {
        self.outcome(trial).verdict == Verdict::Allow
    }

    /// Whether a request is refused for certain.
    pub(super) fn is_refused(&mut self, trial: &Trial) -> bool {
        self.outcome(trial).verdict == Verdict::Deny
    }

    /// Whether a request is refused by a DENY rule.
    pub(super) fn is_denied_by(&mut self, trial: &Trial, rule: RuleRef) -> bool {
        let outcome = self.outcome(trial);
        outcome.verdict == Verdict::Deny
            && matches!(&outcome.cause, Cause::Policies(_, Decision::Deny(by)) if *by == rule)
    }

    /// Whether a request is let through by an ALLOW rule.
    pub(super) fn is_allowed_by(&mut self, trial: &Trial, rule: RuleRef) -> bool {
        let outcome = self.outcome(trial);
        outcome.verdict == Verdict::Allow
            && matches!(&outcome.cause, Cause::Policies(_, Decision::Allow(Some(by))) if *by == rule)
    }

    /// A request as an example, with what really becomes of it.
    pub(super) fn example(&mut self, trial: &Trial, expected: impl Into<String>) -> Example {
        let outcome = self.outcome(trial);
        let workload = self.world.workloads.get(trial.number);
        let happens = workload.map_or(String::new(), |workload| {
            let reasons =
                reason::reasons(&mut self.evaluator, workload, trial.port.port, &trial.sender.way, &outcome);
            let words = match outcome.verdict {
                Verdict::Allow => "let through",
                Verdict::Deny if matches!(outcome.cause, Cause::Refused(_)) => "connection reset",
                Verdict::Deny => "refused",
                Verdict::Conditional => "depends on the rest of the request",
                Verdict::Unknown => "unknown",
            };
            match reasons.into_iter().next() {
                None => words.to_owned(),
                Some(because) => match (because.policy, because.rule) {
                    (Some(policy), Some(rule)) => format!("{words} by rule {rule} of {policy}"),
                    (Some(policy), None) => format!("{words} by {policy}: {}", because.text),
                    _ => format!("{words}: {}", because.text),
                },
            }
        });
        let known = |fact: &Fact<String>| fact.known().cloned();
        let http = trial.speaks == Protocol::Http;
        let from = match &trial.sender.way.presents {
            Presents::Identity(principal) if *principal != trial.sender.name => {
                format!("{} ({principal})", trial.sender.name)
            }
            _ => trial.sender.name.clone(),
        };
        let request = &trial.request;
        Example {
            from,
            to: workload.map_or(String::new(), Workload::key),
            port: trial.port.port,
            protocol: trial.speaks.name(),
            method: known(&request.method).filter(|_| http),
            path: trial.raw_path.clone().or(known(&request.path)).filter(|_| http),
            host: known(&request.host).filter(|_| http),
            headers: request
                .headers
                .iter()
                .flat_map(|(name, values)| values.iter().map(|value| (name.clone(), value.clone())))
                .filter(|_| http)
                .collect(),
            token: request.token.known().map(|token| {
                let text = |fact: &Fact<String>| fact.known().cloned().unwrap_or_default();
                format!("{}/{}", text(&token.issuer), text(&token.subject))
            }),
            verdict: outcome.verdict,
            happens,
            expected: expected.into(),
        }
    }

    /// Whether some request satisfies a formula.
    pub(super) fn is_possible(&mut self, formula: &Formula) -> bool {
        self.evaluator.judge().solve(formula) != Solved::None
    }

    /// The filters of a workload.
    pub(super) fn chain(&mut self, number: usize, protocol: Protocol) -> Rc<Chain> {
        self.evaluator.chain(number, protocol)
    }

    /// Whether a kind could be listed everywhere, so that its absence means something.
    pub(super) fn is_complete(&self, kind: Kind) -> bool {
        self.world.gaps().iter().all(|gap| gap.kind != kind)
    }
}

/// A client without a sidecar.
pub(super) fn plaintext() -> Sender {
    Sender {
        name: "a client without a sidecar".to_owned(),
        way: Way { presents: Presents::Plaintext, reason: None, at: None },
    }
}

/// A request of which only the path is known.
pub(super) fn with_path(world: &World, path: &str) -> Option<Request> {
    let path = world.mesh.normalization.apply(path)?.into_owned();
    Some(Request { path: Fact::Known(path), ..Request::anything() })
}

fn values_of(rule: usize, values: &Values) -> impl Iterator<Item = Value<'_>> {
    [(&values.values, &values.pointer, false), (&values.not_values, &values.not_pointer, true)]
        .into_iter()
        .flat_map(move |(list, pointer, negated)| {
            list.iter().enumerate().map(move |(index, text)| Value {
                rule,
                field: &values.field,
                text,
                negated,
                pointer: format!("{pointer}/{index}"),
            })
        })
}
