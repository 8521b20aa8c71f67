//! Decides for workloads of a World, remembering what it compiled and solved.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::inbound::{self, InboundPort};
use crate::labels::Labels;
use crate::object::Kind;
use crate::peer_authentication::{InForce, Mode};
use crate::service::Service;
use crate::workload::Workload;
use crate::world::{Assumption, World};

use super::attribute::Attribute;
use super::chain::{Chain, Decision};
use super::compile::{CompiledRule, Protocol};
use super::condition::Matcher;
use super::connection::{self, Presents, Refusal, Way};
use super::judge::{Doubt, Judge, Judgement, Verdict};
use super::request::{Fact, Request};
use super::selection;
use super::solver::Solver;
use super::update;

/// What becomes of requests on one port of one workload.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In one word.
    pub verdict: Verdict,
    /// How it comes to that.
    pub cause: Cause,
    /// The identity with which requests arrive.
    pub principal: Option<String>,
    /// A request that is let through.
    pub witness: Option<Request>,
    /// What the verdict still depends on.
    pub open: BTreeSet<Attribute>,
    /// Why the verdict is `unknown`.
    pub doubts: Vec<Assumption>,
}

/// How an outcome came to be.
#[derive(Clone, Debug)]
pub enum Cause {
    /// The port goes around the sidecar; why.
    Bypass(String),
    /// The connection takes no chain.
    Refused(Refusal),
    /// The proxy answers 400 before any policy is asked.
    BadRequest,
    /// The filters of this chain decided.
    Policies(Rc<Chain>, Decision),
}

/// Decides for workloads of a World.
#[derive(Debug)]
pub struct Evaluator<'w> {
    world: &'w World,
    judge: Judge,
    chains: HashMap<(usize, Protocol), Rc<Compiled>>,
    remembered: HashMap<Remembered, Judgement>,
    doubts: HashMap<usize, Rc<Doubts>>,
    ports: HashMap<usize, Rc<[InboundPort]>>,
    alike: HashMap<Vec<usize>, Rc<[Vec<usize>]>>,
    vantages: HashMap<usize, Rc<Vantage<'w>>>,
    ways: HashMap<(Rc<Vantage<'w>>, usize, u16, Option<String>), Way>,
}

/// A chain with the values that its conditions on identities have.
#[derive(Debug)]
struct Compiled {
    chain: Rc<Chain>,
    identities: Vec<Box<[Matcher]>>,
}

/// All that a caller's way depends on, but for the identity that it shows.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Vantage<'w> {
    namespace: &'w str,
    revision: &'w str,
    /// Why it has no sidecar.
    without: Option<&'w str>,
    is_gateway: bool,
    excluded_ports: Option<&'w String>,
    /// The object by its name.
    sidecar: Option<&'w str>,
    /// Where DestinationRules choose their clients.
    labels: Option<&'w Labels>,
}

/// All that an answer about everything that a caller can send depends on.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Remembered {
    workload: usize,
    protocol: Protocol,
    port: u16,
    anonymous: bool,
    identities: Vec<bool>,
}

impl<'w> Evaluator<'w> {
    /// An evaluator for a World.
    #[must_use]
    pub fn new(world: &'w World) -> Self {
        let solver = Solver::new(world.mesh.normalization, world.profile.separate_header_values);
        Self {
            world,
            judge: Judge::new(solver),
            chains: HashMap::new(),
            remembered: HashMap::new(),
            doubts: HashMap::new(),
            ports: HashMap::new(),
            alike: HashMap::new(),
            vantages: HashMap::new(),
            ways: HashMap::new(),
        }
    }

    /// The World.
    #[must_use]
    pub fn world(&self) -> &'w World {
        self.world
    }

    /// The judge, for questions about single formulas.
    pub fn judge(&mut self) -> &mut Judge {
        &mut self.judge
    }

    /// The filters of the World's `number`th workload.
    pub fn chain(&mut self, number: usize, protocol: Protocol) -> Rc<Chain> {
        Rc::clone(&self.compiled(number, protocol).chain)
    }

    fn compiled(&mut self, number: usize, protocol: Protocol) -> Rc<Compiled> {
        let world = self.world;
        let compiled = self.chains.entry((number, protocol)).or_insert_with(|| {
            let chain = match world.workloads.get(number) {
                Some(workload) => {
                    let selected = selection::policies(world, workload);
                    selection::chain(world, workload, &selected, protocol)
                }
                None => Chain::empty(protocol),
            };
            let mut identities: Vec<Box<[Matcher]>> = Vec::new();
            for condition in chain.rules().flat_map(CompiledRule::conditions) {
                if condition.attribute == Attribute::Principal && !identities.contains(&condition.matchers) {
                    identities.push(condition.matchers.clone());
                }
            }
            Rc::new(Compiled { chain: Rc::new(chain), identities })
        });
        Rc::clone(compiled)
    }

    /// The mTLS mode of a workload's port.
    #[must_use]
    pub fn mode(&self, workload: &Workload, port: u16) -> InForce<'w> {
        self.world.peer_authentications().of_port(&workload.namespace, &workload.labels, port)
    }

    /// The ports that are known of a workload.
    pub fn ports(&mut self, number: usize) -> Rc<[InboundPort]> {
        let world = self.world;
        let ports = self.ports.entry(number).or_insert_with(|| {
            world.workloads.get(number).map_or(Vec::new(), |workload| inbound::ports(world, workload)).into()
        });
        Rc::clone(ports)
    }

    /// Workloads for which every answer is the same, together: those with the same policies, ports
    /// and modes. A Service can select pods that policies tell apart.
    pub fn alike(&mut self, numbers: &[usize]) -> Rc<[Vec<usize>]> {
        if let Some(alike) = self.alike.get(numbers) {
            return Rc::clone(alike);
        }
        let world = self.world;
        let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
        for &number in numbers {
            let Some(workload) = world.workloads.get(number) else { continue };
            let modes: Vec<_> = self
                .ports(number)
                .iter()
                .map(|port| {
                    (port.clone(), self.mode(workload, port.port).mode, inbound::bypass(workload, port.port))
                })
                .collect();
            let same = format!(
                "{:?} {:?} {modes:?} {:?} {:?}",
                selection::policies(world, workload),
                selection::tokens(world, workload),
                inbound::bypassing(world, workload),
                self.doubts_of(number),
            );
            match groups.iter_mut().find(|(known, _)| *known == same) {
                Some((_, numbers)) => numbers.push(number),
                None => groups.push((same, vec![number])),
            }
        }
        let alike: Rc<[Vec<usize>]> = groups.into_iter().map(|(_, numbers)| numbers).collect();
        self.alike.insert(numbers.to_vec(), Rc::clone(&alike));
        alike
    }

    /// How a workload connects to another's port, through a Service if one is meant.
    pub fn way(
        &mut self,
        caller: usize,
        target: usize,
        port: &InboundPort,
        through: Option<&Service>,
    ) -> Way {
        let world = self.world;
        let (Some(from), Some(to)) = (world.workloads.get(caller), world.workloads.get(target)) else {
            return Way::plaintext("it is not known");
        };
        let vantage = self.vantage(caller, from);
        let key = (vantage, target, port.port, through.map(Service::host));
        let mut way =
            self.ways.entry(key).or_insert_with(|| connection::way(world, from, to, port, through)).clone();
        if let Presents::Identity(principal) = &mut way.presents {
            *principal = world.principal(&from.namespace, &from.service_account);
        }
        way
    }

    fn vantage(&mut self, number: usize, workload: &'w Workload) -> Rc<Vantage<'w>> {
        let world = self.world;
        let vantage = self.vantages.entry(number).or_insert_with(|| {
            let chosen = world.destination_rules.iter().any(|rule| !rule.workload_selector.is_empty());
            let injection = &workload.injection;
            Rc::new(Vantage {
                namespace: &workload.namespace,
                revision: &injection.revision,
                without: (!injection.injected).then_some(injection.reason.as_str()),
                is_gateway: workload.is_gateway,
                excluded_ports: workload.annotations.get(connection::EXCLUDED_PORTS),
                sidecar: world.sidecar_of(workload).map(|sidecar| sidecar.object.name.as_str()),
                labels: chosen.then_some(&workload.labels),
            })
        });
        Rc::clone(vantage)
    }

    /// The verdict on everything that a caller can send to a port.
    pub fn verdict(&mut self, number: usize, port: &InboundPort, way: &Way, speaks: Protocol) -> Verdict {
        if let Some(Ok((protocol, principal))) = self.arrive(number, port, way, speaks) {
            let key = self.key(number, port, protocol, principal.as_deref());
            if let Some(judgement) = self.remembered.get(&key) {
                let verdict = judgement.verdict;
                return if self.doubts_of(number).is_empty() { verdict } else { Verdict::Unknown };
            }
        }
        self.outcome(number, port, way, speaks, &Request::anything()).verdict
    }

    /// What becomes of a request on a port; all that it does not state is open.
    pub fn outcome(
        &mut self,
        number: usize,
        port: &InboundPort,
        way: &Way,
        speaks: Protocol,
        request: &Request,
    ) -> Outcome {
        let outcome = self.undoubted(number, port, way, speaks, request);
        match &outcome.cause {
            Cause::Bypass(_) => outcome,
            _ => self.doubtful(number, outcome),
        }
    }

    /// The same as a proxy decides that has the policies as they were read, whatever else may be known of
    /// it: an EnvoyFilter, an update that it refused.
    pub(crate) fn undoubted(
        &mut self,
        number: usize,
        port: &InboundPort,
        way: &Way,
        speaks: Protocol,
        request: &Request,
    ) -> Outcome {
        let (protocol, principal) = match self.arrive(number, port, way, speaks) {
            None => return Outcome::refused(Refusal::ByCaller),
            Some(Ok(found)) => found,
            Some(Err(Cause::Bypass(reason))) => {
                return Outcome { cause: Cause::Bypass(reason), ..Outcome::open_door() };
            }
            Some(Err(cause)) => return Outcome { cause, ..Outcome::refused(Refusal::ByCaller) },
        };
        let is_open = *request == Request::anything();
        let request = self.arrived(number, port, protocol, principal.as_deref(), request);
        let chain = self.chain(number, protocol);
        let judgement = if is_open {
            let key = self.key(number, port, protocol, principal.as_deref());
            match self.remembered.get(&key) {
                Some(judgement) => judgement.clone(),
                None => {
                    let judgement = self.judge.judge(&chain, &request);
                    self.remembered.insert(key, judgement.clone());
                    judgement
                }
            }
        } else {
            self.judge.judge(&chain, &request)
        };
        let Judgement { verdict, witness, decision, open, doubts } = judgement;
        let doubts = doubts.iter().map(|doubt| self.assumption(doubt)).collect();
        let witness = witness.map(|witness| Request { principal: request.principal.clone(), ..witness });
        Outcome { verdict, cause: Cause::Policies(chain, decision), principal, witness, open, doubts }
    }

    /// A request with what its connection says of it.
    pub(crate) fn arrived(
        &self,
        number: usize,
        port: &InboundPort,
        protocol: Protocol,
        principal: Option<&str>,
        request: &Request,
    ) -> Request {
        let mut request = request.clone();
        request.principal = Fact::or_absent(principal.map(str::to_owned));
        request.destination_port = port.port;
        // On TCP the proxy reads the server name of TLS that it passes through, which anybody can open.
        let plaintext = principal.is_none() && protocol == Protocol::Http;
        if plaintext && port.gateway.is_none() && request.sni == Fact::Unknown {
            request.sni = Fact::Absent;
        }
        let Some(workload) = self.world.workloads.get(number) else { return request };
        // Where no chain is for TLS, istiod switches the inspector of TLS off (`populateListenerFilters` in
        // `listener_inbound.go`): the name stays unread, also of TLS that is passed through.
        if port.gateway.is_none() && self.mode(workload, port.port).mode == Mode::Disable {
            request.sni = Fact::Absent;
        }
        if let [ip] = workload.pod_ips.as_slice()
            && request.destination_ip == Fact::Unknown
        {
            request.destination_ip = Fact::Known(*ip);
        }
        request
    }

    /// The chain that a connection takes and its identity there, or why it takes none; `None` for a
    /// workload that is not there.
    fn arrive(
        &self,
        number: usize,
        port: &InboundPort,
        way: &Way,
        speaks: Protocol,
    ) -> Option<Result<(Protocol, Option<String>), Cause>> {
        let workload = self.world.workloads.get(number)?;
        // What the caller's own proxy refuses does not get to a port without a proxy either.
        if way.presents == Presents::Nothing {
            return Some(Err(Cause::Refused(Refusal::ByCaller)));
        }
        if let Some(reason) = inbound::bypass(workload, port.port) {
            return Some(Err(Cause::Bypass(reason)));
        }
        let mode = self.mode(workload, port.port).mode;
        Some(connection::chain(self.world, port, mode, &way.presents, speaks).map_err(Cause::Refused))
    }

    fn key(
        &mut self,
        number: usize,
        port: &InboundPort,
        protocol: Protocol,
        principal: Option<&str>,
    ) -> Remembered {
        let is = |matchers: &[Matcher]| {
            let matches = |matcher: &Matcher, principal| matches!(matcher, Matcher::Text(pattern) if pattern.matches(principal));
            principal.is_some_and(|principal| matchers.iter().any(|matcher| matches(matcher, principal)))
        };
        let compiled = self.compiled(number, protocol);
        Remembered {
            workload: number,
            protocol,
            port: port.port,
            anonymous: principal.is_none(),
            identities: compiled.identities.iter().map(|matchers| is(matchers)).collect(),
        }
    }

    /// What makes answers about a workload uncertain.
    pub(crate) fn uncertain(&mut self, number: usize) -> Vec<Assumption> {
        let doubts = self.doubts_of(number);
        doubts.always.iter().chain(&doubts.policies).cloned().collect()
    }

    fn doubts_of(&mut self, number: usize) -> Rc<Doubts> {
        let world = self.world;
        let doubts = self.doubts.entry(number).or_insert_with(|| {
            let workload = world.workloads.get(number);
            Rc::new(workload.map_or_else(Doubts::default, |workload| Doubts::about(world, workload)))
        });
        Rc::clone(doubts)
    }

    /// An outcome of a workload whose answers nobody can be sure of is `unknown`.
    fn doubtful(&mut self, number: usize, mut outcome: Outcome) -> Outcome {
        let world = self.world;
        let doubts = self.doubts_of(number);
        if let Cause::Refused(Refusal::TrustDomain(domain)) = &outcome.cause
            && !world.mesh.is_known
        {
            outcome.verdict = Verdict::Unknown;
            let text = format!("whether the mesh accepts trust domain {domain} is in its configuration");
            outcome.doubts.push(Assumption { code: "mesh-config-default", text });
        }
        let of_policies = match outcome.cause {
            Cause::Refused(_) => &[],
            _ => doubts.policies.as_slice(),
        };
        if !doubts.always.is_empty() || !of_policies.is_empty() {
            outcome.verdict = Verdict::Unknown;
            outcome.witness = None;
            outcome.doubts.extend(doubts.always.iter().chain(of_policies).cloned());
        }
        outcome
    }

    fn assumption(&self, doubt: &Doubt) -> Assumption {
        match doubt {
            Doubt::Provider(rule) => {
                let policy = self.world.policies.get(rule.policy);
                let name = policy.map_or(String::new(), |policy| policy.object.key());
                Assumption::external_authorizer(&name)
            }
            Doubt::Metadata => Assumption {
                code: "dynamic-metadata",
                text: "a rule reads Envoy's dynamic metadata, which only the proxy knows".to_owned(),
            },
            Doubt::TooComplex => Assumption {
                code: "too-complex",
                text: "the policies are too intricate to search all requests; ask with `can`".to_owned(),
            },
        }
    }
}

impl Outcome {
    fn refused(refusal: Refusal) -> Self {
        Self {
            verdict: Verdict::Deny,
            cause: Cause::Refused(refusal),
            principal: None,
            witness: None,
            open: BTreeSet::new(),
            doubts: Vec::new(),
        }
    }

    fn open_door() -> Self {
        Self { verdict: Verdict::Allow, ..Self::refused(Refusal::ByCaller) }
    }

    /// The proxy answers 400 before any policy is asked.
    #[must_use]
    pub fn bad_request() -> Self {
        Self { cause: Cause::BadRequest, ..Self::refused(Refusal::NotHttp) }
    }
}

/// What makes answers about a workload uncertain.
#[derive(Debug, Default)]
struct Doubts {
    /// Every answer.
    always: Vec<Assumption>,
    /// Answers that policies give; a connection that takes no chain is refused whatever they say.
    policies: Vec<Assumption>,
}

impl Doubts {
    fn about(world: &World, workload: &Workload) -> Self {
        let mut doubts = Self::default();
        let root = world.mesh.root_namespace.as_str();
        for gap in world.gaps() {
            let hides = |namespace: &str| !gap.readable.iter().any(|readable| readable == namespace);
            let list = match gap.kind {
                Kind::PeerAuthentication => &mut doubts.always,
                Kind::AuthorizationPolicy | Kind::RequestAuthentication => &mut doubts.policies,
                _ => continue,
            };
            if hides(&workload.namespace) || hides(root) {
                list.push(Assumption {
                    code: "forbidden-list",
                    text: format!("{} could not be listed: {}", gap.kind.plural(), gap.reason),
                });
            }
        }
        for object in &world.envoy_filters {
            if crate::envoy_filter::changes_inbound(object, workload, root) {
                doubts.always.push(Assumption {
                    code: "envoy-filter",
                    text: format!("EnvoyFilter {} changes the proxy's inbound configuration", object.key()),
                });
            }
        }
        // The proxy does not have what it refused, and nobody knows what it had before.
        for policy in selection::policies(world, workload).iter().filter_map(|n| world.policies.get(*n)) {
            if let Some(reason) = update::refused(policy, &world.profile) {
                let name = policy.object.key();
                doubts.always.push(Assumption {
                    code: "refused-by-proxy",
                    text: format!("the proxy does not take AuthorizationPolicy {name}: {reason}"),
                });
            }
            if let Some(template) = update::template_inside_segment(policy, &world.profile) {
                let name = policy.object.key();
                doubts.policies.push(Assumption {
                    code: "template-inside-segment",
                    text: format!(
                        "`{template}` of AuthorizationPolicy {name} has an operator inside a segment, which Envoy reads in a way of its own"
                    ),
                });
            }
        }
        doubts
    }

    fn is_empty(&self) -> bool {
        self.always.is_empty() && self.policies.is_empty()
    }
}
