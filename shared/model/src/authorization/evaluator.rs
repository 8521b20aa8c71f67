//! Decides for workloads of a World, remembering what it compiled and solved.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::inbound::{self, InboundPort};
use crate::object::Kind;
use crate::peer_authentication::InForce;
use crate::workload::Workload;
use crate::world::{Assumption, World};

use super::attribute::Attribute;
use super::chain::{Chain, Decision};
use super::compile::{CompiledRule, Protocol};
use super::condition::Condition;
use super::connection::{self, Refusal, Way};
use super::judge::{Doubt, Judge, Judgement, Verdict};
use super::request::{Fact, Request};
use super::selection;
use super::solver::Solver;

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
    doubts: HashMap<usize, Rc<[Assumption]>>,
}

/// A chain with the conditions on identities that it has.
#[derive(Debug)]
struct Compiled {
    chain: Rc<Chain>,
    identities: Vec<Condition>,
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
            let mut identities: Vec<Condition> = Vec::new();
            for condition in chain.rules().flat_map(CompiledRule::conditions) {
                if condition.attribute == Attribute::Principal
                    && !identities.iter().any(|known| known.matchers == condition.matchers)
                {
                    identities.push(Condition { negated: false, ..condition.clone() });
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

    /// Everything that a caller can send to a port: all that the request does not state is open.
    pub fn outcome(
        &mut self,
        number: usize,
        port: &InboundPort,
        way: &Way,
        speaks: Protocol,
        request: &Request,
    ) -> Outcome {
        let world = self.world;
        let Some(workload) = world.workloads.get(number) else { return Outcome::refused(Refusal::ByCaller) };
        if let Some(reason) = inbound::bypass(workload, port.port) {
            // What the caller's own proxy refuses never gets there either.
            if way.presents == connection::Presents::Nothing {
                return Outcome::refused(Refusal::ByCaller);
            }
            return Outcome { cause: Cause::Bypass(reason), ..Outcome::open_door() };
        }
        let mode = self.mode(workload, port.port).mode;
        let (protocol, principal) = match connection::chain(world, port, mode, &way.presents, speaks) {
            Ok(found) => found,
            Err(refusal) => return self.doubtful(number, Outcome::refused(refusal)),
        };
        let is_open = *request == Request { other_headers_unknown: true, ..Request::default() };
        let mut request = request.clone();
        request.principal = Fact::or_absent(principal.clone());
        request.destination_port = port.port;
        // On TCP the proxy reads the server name of TLS that it passes through, which anybody can open.
        let plaintext = principal.is_none() && protocol == Protocol::Http;
        if plaintext && port.gateway.is_none() && request.sni == Fact::Unknown {
            request.sni = Fact::Absent;
        }
        if let [ip] = workload.pod_ips.as_slice()
            && request.destination_ip == Fact::Unknown
        {
            request.destination_ip = Fact::Known(*ip);
        }
        let compiled = self.compiled(number, protocol);
        let judgement = if is_open {
            let key = Remembered {
                workload: number,
                protocol,
                port: port.port,
                anonymous: principal.is_none(),
                identities: compiled.identities.iter().map(|c| c.holds(&request) == Some(true)).collect(),
            };
            match self.remembered.get(&key) {
                Some(judgement) => judgement.clone(),
                None => {
                    let judgement = self.judge.judge(&compiled.chain, &request);
                    self.remembered.insert(key, judgement.clone());
                    judgement
                }
            }
        } else {
            self.judge.judge(&compiled.chain, &request)
        };
        let Judgement { verdict, witness, decision, open, doubts } = judgement;
        let doubts = doubts.iter().map(|doubt| self.assumption(doubt)).collect();
        let witness = witness.map(|witness| Request { principal: request.principal.clone(), ..witness });
        let cause = Cause::Policies(Rc::clone(&compiled.chain), decision);
        self.doubtful(number, Outcome { verdict, cause, principal, witness, open, doubts })
    }

    /// An outcome of a workload whose answers nobody can be sure of is `unknown`.
    fn doubtful(&mut self, number: usize, mut outcome: Outcome) -> Outcome {
        let world = self.world;
        let doubts = self.doubts.entry(number).or_insert_with(|| {
            world.workloads.get(number).map_or(Vec::new(), |workload| doubts(world, workload)).into()
        });
        if let Cause::Refused(Refusal::TrustDomain(domain)) = &outcome.cause
            && !world.mesh.is_known
        {
            outcome.verdict = Verdict::Unknown;
            let text = format!("whether the mesh accepts trust domain {domain} is in its configuration");
            outcome.doubts.push(Assumption { code: "mesh-config-default", text });
        }
        if !doubts.is_empty() {
            outcome.verdict = Verdict::Unknown;
            outcome.witness = None;
            outcome.doubts.extend(doubts.iter().cloned());
        }
        outcome
    }

    fn assumption(&self, doubt: &Doubt) -> Assumption {
        match doubt {
            Doubt::Provider(rule) => {
                let policy = self.world.policies.get(rule.policy);
                let name = policy.map_or(String::new(), |policy| policy.object.key());
                let text = format!(
                    "AuthorizationPolicy {name} asks an external authorizer, whose answer is not known here"
                );
                Assumption { code: "external-authorizer", text }
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

/// What makes every answer about a workload uncertain.
fn doubts(world: &World, workload: &Workload) -> Vec<Assumption> {
    let mut doubts = Vec::new();
    let root = world.mesh.root_namespace.as_str();
    for gap in world.gaps() {
        let hides = |namespace: &str| !gap.readable.iter().any(|readable| readable == namespace);
        let decides = matches!(
            gap.kind,
            Kind::AuthorizationPolicy | Kind::PeerAuthentication | Kind::RequestAuthentication
        );
        if decides && (hides(&workload.namespace) || hides(root)) {
            doubts.push(Assumption {
                code: "forbidden-list",
                text: format!("{} could not be listed: {}", gap.kind.plural(), gap.reason),
            });
        }
    }
    for object in world.objects().iter().filter(|object| object.kind == Kind::EnvoyFilter) {
        if crate::envoy_filter::changes_inbound(object, workload, root) {
            doubts.push(Assumption {
                code: "envoy-filter",
                text: format!("EnvoyFilter {} changes the proxy's inbound configuration", object.key()),
            });
        }
    }
    doubts
}
