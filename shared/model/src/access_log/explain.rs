//! Why a request was denied: what its line says, held against the policies that were read.
//!
//! The line is what happened; the policies may be others by now. Where the two do not fit together the
//! explanation says so ([`Explanation::changed`]) and does not name a reason that cannot have been it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use serde::{Serialize, Serializer};

use crate::authorization::chain::{Chain, Decision, RuleRef};
use crate::authorization::compile::{CompiledRule, Protocol};
use crate::authorization::condition::Condition;
use crate::authorization::connection::Presents;
use crate::authorization::evaluator::{Cause as Outcome, Evaluator};
use crate::authorization::judge::Verdict;
use crate::authorization::request::{Fact, Request};
use crate::authorization::selection;
use crate::inbound;
use crate::object::Kind;
use crate::peer_authentication::Mode;
use crate::policy::Action;
use crate::question::can::{self, Ask};
use crate::question::reason::{self, Because, NearestMiss};
use crate::question::target::{Caller, Scope, Target};
use crate::service::Service;
use crate::workload::Workload;
use crate::world::{Assumption, World};

use super::cause::{Cause, Matched};
use super::{Entry, Field};

/// Who said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The mesh: a policy, a mode, a proxy.
    Mesh,
    /// The application; or it was no refusal at all, but a connection that broke.
    Application,
    /// Nobody: a dry run.
    Nobody,
    /// The line does not tell, and the policies do not either.
    Unknown,
}

impl By {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Application => "application",
            Self::Nobody => "nobody",
            Self::Unknown => "unknown",
        }
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Why a request was denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// A stable word for what the line says: see [`Cause::code`].
    pub cause: &'static str,
    /// Who said no.
    pub by: By,
    /// The status; none without HTTP.
    pub status: Option<u16>,
    /// `namespace/name` of the workload that was called.
    pub target: Option<String>,
    /// The workload's port.
    pub port: Option<u16>,
    /// `http` or `tcp`.
    pub protocol: Option<&'static str>,
    /// The caller's identity, or `anonymous`; none where nobody knows.
    pub caller: Option<String>,
    /// Why, the weightiest first.
    pub because: Vec<Because>,
    /// The ALLOW rule that came closest.
    #[serde(rename = "nearestMiss", skip_serializing_if = "Option::is_none")]
    pub nearest_miss: Option<NearestMiss>,
    /// What does not fit the policies that were read: they are not those that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// What was assumed.
    pub assumptions: Vec<Assumption>,
}

/// Explains denials by the policies of a World.
#[derive(Debug)]
pub struct Explainer<'w> {
    evaluator: Evaluator<'w>,
    /// Whose log it is, where that was said.
    log_of: Option<Target<'w>>,
    /// Where pods are looked for that a line names.
    scope: Scope<'w>,
    /// The workloads of pods, by the pod's name.
    pods: HashMap<&'w str, Vec<usize>>,
    /// The workload of an address, where one has it for itself: pods on the node's network share theirs.
    addresses: HashMap<IpAddr, Option<usize>>,
}

/// The workload of the proxy that wrote a line, or the one that it called.
struct Place {
    /// A number of the World's, which stands for others that are alike.
    number: usize,
    name: String,
}

/// Who called.
struct Who {
    principal: Fact<String>,
    /// The workload, where it is known.
    workload: Option<usize>,
}

impl<'w> Explainer<'w> {
    /// Explains the log of `log_of`, or of whatever proxies the lines tell.
    #[must_use]
    pub fn new(world: &'w World, log_of: Option<Target<'w>>, scope: Scope<'w>) -> Self {
        let (mut pods, mut addresses) = (HashMap::<&str, Vec<usize>>::new(), HashMap::new());
        for (number, workload) in (0..).zip(&world.workloads) {
            for pod in &workload.pods {
                pods.entry(pod).or_default().push(number);
            }
            for address in workload.pod_ips.iter().filter(|_| !workload.host_network) {
                let same = |known: &mut Option<usize>| *known = known.filter(|known| *known == number);
                addresses.entry(*address).and_modify(same).or_insert(Some(number));
            }
        }
        Self { evaluator: Evaluator::new(world), log_of, scope, pods, addresses }
    }

    /// The World.
    #[must_use]
    pub fn world(&self) -> &'w World {
        self.evaluator.world()
    }

    /// Explains a decision of the rbac filter of which nothing but the rule is known.
    pub fn decision(&mut self, shadow: bool, matched: &Matched, pod: Option<&str>) -> Explanation {
        let entry = Entry::default();
        let cause = if shadow {
            Cause::DryRun(matched.clone())
        } else {
            Cause::Policy { matched: matched.clone(), tcp: false }
        };
        let mut explanation = self.explain(&cause, &entry, pod);
        // The filters for HTTP and for TCP use the same words.
        explanation.protocol = None;
        explanation
    }

    /// Explains a denial; `pod` wrote the line, where that is known.
    pub fn explain(&mut self, cause: &Cause, entry: &Entry<'_>, pod: Option<&str>) -> Explanation {
        let mut to = Explanation {
            cause: cause.code(),
            by: match cause {
                Cause::Application => By::Application,
                Cause::DryRun(_) => By::Nobody,
                Cause::OtherSide | Cause::Cut => By::Unknown,
                _ => By::Mesh,
            },
            status: entry.code().filter(|code| *code != 0),
            target: None,
            port: None,
            protocol: None,
            caller: None,
            because: Vec::new(),
            nearest_miss: None,
            changed: None,
            assumptions: Vec::new(),
        };
        if matches!(cause, Cause::OtherSide | Cause::Cut) {
            self.other_side(cause, entry, pod, &mut to);
            return to;
        }
        let protocol = protocol(cause, entry);
        to.protocol = protocol.map(Protocol::name);
        to.port = entry.port();
        let place = self.subject(entry, pod, false, &mut to.assumptions);
        to.target = place.as_ref().map(|place| place.name.clone());
        let who = self.who(entry, place.as_ref(), &mut to.assumptions);
        to.caller = match &who.principal {
            Fact::Known(principal) => Some(principal.clone()),
            Fact::Absent => Some("anonymous".to_owned()),
            Fact::Unknown => None,
        };
        let doubts = place.as_ref().map_or(Vec::new(), |place| self.evaluator.uncertain(place.number));
        let is_sure = doubts.is_empty();
        to.assumptions.extend(doubts);
        let is_said = to.assumptions.iter().any(|assumption| assumption.code == "target-unknown");
        if place.is_none() && needs_target(cause) && !is_said {
            to.assumptions.push(Assumption {
                code: "target-unknown",
                text: "the log does not tell whose it is, so that no policy could be asked: name the workload, or read the cluster that has its pod".to_owned(),
            });
        }
        // Without a port no rule could be asked.
        let arrived = place.as_ref().zip(protocol).filter(|_| to.port.is_some());
        let met = arrived.map(|(place, protocol)| {
            let request = request(entry, protocol, &who);
            let chain = self.evaluator.chain(place.number, protocol);
            let request = chain.view(&request);
            (chain, request)
        });
        match cause {
            Cause::Policy { matched: Matched::Rule { namespace, name, index, custom }, .. } => {
                self.named_rule(namespace, name, *index, *custom, met, &mut to);
            }
            Cause::Policy { matched: Matched::Nothing, .. } => self.no_rule(met, &mut to),
            Cause::Policy { matched: Matched::Other(id), .. } => {
                to.because.push(Because::words(format!(
                    "`{id}` refused it, which is no rule of an AuthorizationPolicy: an EnvoyFilter may have put it there"
                )));
            }
            Cause::DryRun(matched) => self.dry_run(matched, &mut to),
            Cause::Token(why) => self.token(why, place.as_ref(), &mut to),
            Cause::Authorizer { failed } => self.authorizer(*failed, met, &mut to),
            Cause::NoFilterChain => self.no_filter_chain(entry, place.as_ref(), &who, &mut to),
            Cause::Application => to.because.push(Because::words(
                "the application itself answered so: the proxy had let the request through to it",
            )),
            Cause::Proxy(details) => to.because.push(Because::words(match details {
                Some(details) => format!("the proxy answered so, but no authorization policy did: {details}"),
                None => "the format of the log has no RESPONSE_CODE_DETAILS, which tell who answered so"
                    .to_owned(),
            })),
            Cause::OtherSide | Cause::Cut => {}
        }
        if *cause == Cause::Proxy(None) {
            to.by = By::Unknown;
        }
        if !is_sure {
            // What was not read, or is not known of the proxy, may be what refused.
            to.changed = None;
        }
        if to.changed.is_some() {
            to.assumptions.push(Assumption {
                code: "policy-changed",
                text: "a denial that does not fit the policies that were read is taken to be of others: they were changed since, or not all of them are here".to_owned(),
            });
        }
        to
    }

    /// The rule that the proxy named.
    fn named_rule(
        &mut self,
        namespace: &str,
        name: &str,
        index: usize,
        custom: bool,
        met: Option<(Rc<Chain>, Request)>,
        to: &mut Explanation,
    ) {
        let world = self.world();
        let policy = policy(world, namespace, name);
        let logged = format!("{namespace}/{name}[{index}]");
        let Some((number, policy)) = policy else {
            to.because.push(Because::words(format!("rule {logged} refused it")));
            match world.gaps().iter().find(|gap| {
                gap.kind == Kind::AuthorizationPolicy
                    && !gap.readable.iter().any(|readable| readable == namespace)
            }) {
                Some(gap) => to.assumptions.push(Assumption {
                    code: "forbidden-list",
                    text: format!("{} could not be listed: {}", gap.kind.plural(), gap.reason),
                }),
                None => to.changed = Some(format!("no AuthorizationPolicy {namespace}/{name} was read")),
            }
            return;
        };
        let reference = RuleRef { policy: number, rule: index };
        if index >= policy.rules.len() {
            to.because.push(Because::words(format!("rule {logged} refused it")));
            to.changed = Some(format!(
                "AuthorizationPolicy {namespace}/{name} has no rule {index}: it has {}",
                policy.rules.len()
            ));
            return;
        }
        let text = if custom {
            "this CUSTOM rule refused it: its provider was not defined in the mesh configuration, or there were several"
        } else {
            "this DENY rule refused it"
        };
        to.because.push(Because::rule(world, reference, text));
        let fits = match policy.action {
            Action::Custom { .. } => custom,
            Action::Deny => !custom,
            _ => false,
        };
        if !fits || policy.dry_run {
            let dry = if policy.dry_run { ", as a dry run" } else { "" };
            to.changed = Some(format!("its action is {} now{dry}", policy.action.name()));
            return;
        }
        let Some((chain, request)) = met else { return };
        let rule = chain.custom.iter().chain(&chain.deny).find(|rule| rule.reference() == reference);
        to.changed = match rule {
            None => Some("it is not in force for the workload".to_owned()),
            Some(rule) if rule.matches(&request) == Some(false) => {
                let (failed, _) = short_of(rule, &request);
                Some(format!("it matches only if {}", wanted(&failed)))
            }
            Some(_) => None,
        };
    }

    /// No ALLOW rule matched.
    fn no_rule(&mut self, met: Option<(Rc<Chain>, Request)>, to: &mut Explanation) {
        let world = self.world();
        to.because.push(Because::words("ALLOW policies select the workload and none of their rules matched"));
        let Some((chain, request)) = met else { return };
        let Some(rules) = &chain.allow else {
            to.changed = Some("no ALLOW policy selects the workload".to_owned());
            return;
        };
        let (rule, does) = match chain.decide(&request) {
            Decision::Allow(Some(rule)) => (rule, "lets it through"),
            Decision::Asks(rule) => (rule, "asks an external authorizer, and nothing else refuses it"),
            Decision::Deny(rule) => (rule, "refuses it"),
            Decision::BadProvider(rule) => (rule, "refuses it, as its provider cannot be asked"),
            Decision::Allow(None) | Decision::BadToken | Decision::NoneAllows | Decision::Undecided => {
                to.nearest_miss = nearest_miss(world, rules, &request);
                return;
            }
        };
        to.because.push(Because::rule(world, rule, format!("as it was read, this rule {does}")));
        to.changed = Some(format!("a rule {does}"));
    }

    fn dry_run(&self, matched: &Matched, to: &mut Explanation) {
        let world = self.world();
        let words = "in force, the policies of the dry run would have refused it";
        let Matched::Rule { namespace, name, index, .. } = matched else {
            to.because.push(Because::words(format!("{words}: none of their ALLOW rules matched")));
            return;
        };
        match policy(world, namespace, name).filter(|(_, policy)| *index < policy.rules.len()) {
            Some((number, policy)) => {
                to.because.push(Because::rule(world, RuleRef { policy: number, rule: *index }, words));
                if !policy.dry_run {
                    to.changed = Some("it is no dry run".to_owned());
                }
            }
            None => {
                to.because.push(Because::words(words));
                to.changed = Some(format!("no rule {matched} was read"));
            }
        }
    }

    /// The token was refused: by whatever RequestAuthentications there are.
    fn token(&self, why: &str, place: Option<&Place>, to: &mut Explanation) {
        let world = self.world();
        to.because.push(Because::words(format!("the token was refused: {why}")));
        let Some(workload) = place.and_then(|place| world.workloads.get(place.number)) else { return };
        let mut none = true;
        for policy in selection::authentications(world, workload).filter(|policy| !policy.rules.is_empty()) {
            none = false;
            let issuers: Vec<&str> = policy.rules.iter().map(|rule| rule.issuer.as_str()).collect();
            to.because.push(Because {
                kind: Some("RequestAuthentication"),
                policy: Some(policy.object.key()),
                at: Some(policy.object.at("/spec/jwtRules")),
                ..Because::words(format!("tokens of {} are checked", issuers.join(", ")))
            });
        }
        if none {
            to.changed = Some("no RequestAuthentication selects the workload".to_owned());
        }
    }

    /// An external authorizer was asked by a CUSTOM rule.
    fn authorizer(&self, failed: bool, met: Option<(Rc<Chain>, Request)>, to: &mut Explanation) {
        let did = if failed { "could not be asked" } else { "refused it" };
        to.because.push(Because::words(format!("an external authorizer {did}")));
        let Some((chain, request)) = met else { return };
        let asking: Vec<&CompiledRule> =
            chain.custom.iter().filter(|rule| rule.matches(&request) != Some(false)).collect();
        if asking.is_empty() {
            to.changed = Some("no CUSTOM rule asks about it".to_owned());
        }
        let world = self.world();
        to.because.extend(
            asking
                .iter()
                .map(|rule| Because::rule(world, rule.reference(), "this CUSTOM rule asks about it")),
        );
    }

    /// No filter chain: plaintext where the mode is STRICT, or TLS that is not the mesh's.
    fn no_filter_chain(&mut self, entry: &Entry<'_>, place: Option<&Place>, who: &Who, to: &mut Explanation) {
        let world = self.world();
        let called = place.and_then(|place| world.workloads.get(place.number));
        // A listener for what the workload calls can have no chain for a connection either.
        if let (Some(workload), Some(local)) = (called, entry.address(Field::Local))
            && !workload.pod_ips.is_empty()
            && !workload.pod_ips.contains(&local.ip())
        {
            to.caller = to.target.take();
            to.port = None;
            to.because.push(Because::words(format!(
                "no filter chain of the proxy's listener for {local} takes the connection: it is one to somewhere else, which no mTLS mode refuses"
            )));
            return;
        }
        let name = entry.get(Field::ServerName);
        let plaintext = match name {
            Fact::Absent => Some("it came in plaintext"),
            Fact::Known(name) if is_mesh(name) => None,
            Fact::Known(_) => Some("it came with TLS that is not the mesh's"),
            Fact::Unknown => None,
        };
        let what = plaintext.unwrap_or("it came in plaintext, or with TLS that is not the mesh's");
        to.because.push(Because::words(format!("no filter chain of the port takes the connection: {what}")));
        let (Some(place), Some(workload), Some(port)) = (place, called, to.port) else { return };
        let in_force = self.evaluator.mode(workload, port);
        match in_force.by {
            Some((policy, pointer)) => to.because.push(Because {
                kind: Some("PeerAuthentication"),
                policy: Some(policy.object.key()),
                at: Some(policy.object.at(&pointer)),
                ..Because::words(format!("mTLS is {}", in_force.mode.name()))
            }),
            None => {
                to.because.push(Because::words(format!("mTLS is {}, Istio's default", in_force.mode.name())))
            }
        }
        if name == Fact::Absent && in_force.mode != Mode::Strict && !workload.is_gateway {
            to.changed = Some(format!("mTLS is {}, which takes plaintext", in_force.mode.name()));
        }
        if let Some(caller) = who.workload {
            let port = inbound::port(world, workload, port);
            let way = self.evaluator.way(caller, place.number, &port, None);
            if let Some(reason) = way.reason.filter(|_| way.presents == Presents::Plaintext) {
                to.because.push(Because {
                    at: way.at,
                    ..Because::words(format!("the caller connects so because {reason}"))
                });
            }
        }
    }

    /// A line of the caller's own proxy: what it called refused, or ended the connection. Whether that was
    /// the mesh is what the policies say.
    fn other_side(&mut self, cause: &Cause, entry: &Entry<'_>, pod: Option<&str>, to: &mut Explanation) {
        let world = self.world();
        let status = to.status.map_or(String::new(), |status| format!(" {status}"));
        to.because.push(Because::words(match cause {
            Cause::Cut => "the other side ended the connection before it answered".to_owned(),
            _ => format!("the other side answered{status}: its application, or the proxy before that"),
        }));
        let caller = self.subject(entry, pod, true, &mut to.assumptions);
        let called = self.called(entry);
        if let Some(target) = &called {
            to.target = Some(format!("{}/{}", target.namespace, target.name));
        }
        if let Some(workload) = caller.as_ref().and_then(|place| world.workloads.get(place.number)) {
            to.caller = Some(world.principal(&workload.namespace, &workload.service_account));
        }
        let (Some(caller), Some(called)) = (caller, called) else {
            to.assumptions.push(Assumption {
                code: "target-unknown",
                text: "the log does not tell who called whom, so that no policy could be asked; the log of the other side's proxy does".to_owned(),
            });
            return;
        };
        let caller = Target {
            namespace: String::new(),
            name: caller.name.clone(),
            service: None,
            workloads: vec![caller.number],
            note: None,
        };
        let is_http = entry.get(Field::Method) != Fact::Absent;
        to.assumptions.extend(is_http.then(|| Assumption {
            code: "as-sent",
            text: "method, path and host are taken to reach the other side as the caller's proxy logged them".to_owned(),
        }));
        let ask = Ask {
            caller: Caller::Workloads(caller),
            target: called,
            port: outbound(entry).map(|(port, _)| port),
            or_service_port: true,
            speaks: Some(if is_http { Protocol::Http } else { Protocol::Tcp }),
            request: Request {
                method: fact(entry, Field::Method),
                host: fact(entry, Field::Host),
                ..Request::anything()
            },
            path: entry.text(Field::Path).map(str::to_owned),
        };
        let answer = can::can(&mut self.evaluator, &ask);
        to.assumptions.extend(answer.doubts.iter().cloned());
        to.port = answer.cases.first().map(|case| case.port.port);
        to.protocol = answer.cases.first().map(|case| case.speaks.name());
        let refuses = |case: &can::Case| match cause {
            // A policy answers; only a port without a chain for the connection cuts it.
            Cause::Cut => matches!(case.outcome.cause, Outcome::Refused(_)),
            _ => matches!(case.outcome.cause, Outcome::Policies(..)),
        };
        match answer.verdict {
            Verdict::Deny if answer.cases.iter().all(refuses) => {
                to.by = By::Mesh;
                if let Some(case) = answer.cases.first() {
                    to.because.extend(case.reasons(&mut self.evaluator));
                    let mut request = ask.request.clone();
                    if let Some(path) = &ask.path {
                        request.set_path(path, world.mesh.normalization);
                    }
                    to.nearest_miss = case.nearest_miss(&self.evaluator, &request);
                }
            }
            Verdict::Allow => {
                to.by = By::Application;
                to.because.push(Because::words("the policies over there let it through"));
            }
            Verdict::Deny => to.because.push(Because::words("what the policies over there refuse ends otherwise")),
            Verdict::Conditional | Verdict::Unknown => to.because.push(Because::words(
                match answer.missing.join(", ").as_str() {
                    "" => "whether the policies over there refuse it is not known".to_owned(),
                    missing => format!("whether the policies over there refuse it depends on what the log does not say: {missing}"),
                },
            )),
        }
    }

    /// The workload whose proxy wrote a line: by the pod's name, by what the user said, by the pod's
    /// address; else, where it was called, by the server name that the caller's proxy set.
    fn subject(
        &mut self,
        entry: &Entry<'_>,
        pod: Option<&str>,
        is_caller: bool,
        assumptions: &mut Vec<Assumption>,
    ) -> Option<Place> {
        let world = self.world();
        let by_pod = pod.and_then(|pod| self.of_pod(pod));
        // The client of an outbound listener is the application beside a sidecar, but anybody of a gateway.
        let address = entry.address(if is_caller { Field::UpstreamLocal } else { Field::Local });
        let by_address = address.and_then(|address| self.of_address(address.ip()));
        if let Some(number) = by_pod {
            return Some(Place { number, name: name(world, number)? });
        }
        if let Some(target) = &self.log_of {
            let known = by_address.filter(|number| target.workloads.contains(number));
            let workloads = known.map_or_else(|| target.workloads.clone(), |number| vec![number]);
            let target = format!("{}/{}", target.namespace, target.name);
            return self.one_of(&workloads, target, assumptions);
        }
        if let Some(number) = by_address {
            return Some(Place { number, name: name(world, number)? });
        }
        if is_caller {
            return None;
        }
        let (_, host) = mesh_name(entry.text(Field::ServerName)?)?;
        let service = world.services.iter().find(|service| service.host() == host)?;
        assumptions.push(Assumption {
            code: "target-by-server-name",
            text: format!(
                "the log is taken to be of Service {}, which the caller's proxy meant",
                service.object.key()
            ),
        });
        self.one_of(&numbers_of(world, service), service.object.key(), assumptions)
    }

    /// What a proxy called: the Service of its cluster, of whose workloads only the one with the address where
    /// that is known.
    fn called(&self, entry: &Entry<'_>) -> Option<Target<'w>> {
        let world = self.world();
        let (_, host) = outbound(entry)?;
        let service = world.services.iter().find(|service| service.host() == host)?;
        let mut workloads = numbers_of(world, service);
        let reached = entry.address(Field::UpstreamHost).and_then(|address| self.of_address(address.ip()));
        if let Some(number) = reached.filter(|number| workloads.contains(number)) {
            workloads = vec![number];
        }
        Some(Target {
            namespace: service.object.namespace.clone(),
            name: service.object.name.clone(),
            service: Some(service),
            workloads,
            note: None,
        })
    }

    /// One workload that stands for all, if it does.
    fn one_of(
        &mut self,
        workloads: &[usize],
        target: String,
        assumptions: &mut Vec<Assumption>,
    ) -> Option<Place> {
        let world = self.world();
        let alike = self.evaluator.alike(workloads);
        match (workloads, alike.as_ref()) {
            ([only], _) => Some(Place { number: *only, name: name(world, *only)? }),
            (_, [group]) => Some(Place { number: *group.first()?, name: target }),
            _ => {
                assumptions.push(Assumption {
                    code: "target-unknown",
                    text: format!("the workloads of {target} have different policies, and the log does not tell which it was"),
                });
                None
            }
        }
    }

    /// The workload of a pod, by its name; nothing where several namespaces have one of that name.
    fn of_pod(&self, pod: &str) -> Option<usize> {
        let world = self.world();
        let namespace = self.log_of.as_ref().map_or(self.scope.namespace, |target| target.namespace.as_str());
        let having = self.pods.get(pod).map_or(&[][..], Vec::as_slice);
        let is_here =
            |number: &&usize| world.workloads.get(**number).is_some_and(|w| w.namespace == namespace);
        match (having.iter().find(is_here), having) {
            (Some(number), _) => Some(*number),
            (None, [only]) if self.scope.anywhere => Some(*only),
            _ => None,
        }
    }

    fn of_address(&self, address: IpAddr) -> Option<usize> {
        self.addresses.get(&address).copied().flatten()
    }

    /// Who called: by the certificate where the log has it; else by the address, and, as to the
    /// certificate, by the server name of the handshake.
    fn who(&self, entry: &Entry<'_>, place: Option<&Place>, assumptions: &mut Vec<Assumption>) -> Who {
        let world = self.world();
        let workload = entry.peer_address().and_then(|address| self.of_address(address));
        if let Some(principal) = certificate(entry) {
            return Who { principal, workload };
        }
        // Clients of a gateway are not of the mesh: what they write as a server name tells nothing.
        let called = place.and_then(|place| world.workloads.get(place.number));
        let name = match called {
            Some(called) if called.is_gateway => Fact::Unknown,
            _ => entry.get(Field::ServerName),
        };
        let principal = match (name, workload.and_then(|number| world.workloads.get(number))) {
            (Fact::Known(name), Some(caller)) if is_mesh(name) => {
                let principal = world.principal(&caller.namespace, &caller.service_account);
                assumptions.push(Assumption {
                    code: "caller-by-address",
                    text: "callers are taken to be who has their address now: the log does not have their identity".to_owned(),
                });
                Fact::Known(principal)
            }
            (Fact::Absent, _) => {
                assumptions.push(Assumption {
                    code: "plaintext-by-server-name",
                    text: "callers without a server name are taken to have shown no certificate, as the mesh's proxies always send one".to_owned(),
                });
                Fact::Absent
            }
            _ => Fact::Unknown,
        };
        Who { principal, workload }
    }
}

/// Whether there is more to say about a denial where the workload is known.
fn needs_target(cause: &Cause) -> bool {
    matches!(cause, Cause::Policy { .. } | Cause::Token(_) | Cause::Authorizer { .. } | Cause::NoFilterChain)
}

/// The kind of chain that a denial was on.
fn protocol(cause: &Cause, entry: &Entry<'_>) -> Option<Protocol> {
    match (cause, entry.get(Field::Method)) {
        (Cause::NoFilterChain, _) => None,
        (Cause::Policy { tcp: true, .. }, _) => Some(Protocol::Tcp),
        (Cause::Policy { tcp: false, .. } | Cause::Token(_) | Cause::Application, _)
        | (_, Fact::Known(_)) => Some(Protocol::Http),
        (_, Fact::Absent) => Some(Protocol::Tcp),
        (_, Fact::Unknown) => None,
    }
}

/// The request as the rules saw it. The path in the log is the normalized one; of headers and the token it
/// says nothing.
fn request(entry: &Entry<'_>, protocol: Protocol, who: &Who) -> Request {
    let remote = entry.address(Field::Remote).map(|address| address.ip());
    let is_http = protocol == Protocol::Http;
    let http = |field| if is_http { fact(entry, field) } else { Fact::Absent };
    Request {
        principal: who.principal.clone(),
        source_ip: Fact::or_unknown(entry.peer_address()),
        remote_ip: Fact::or_unknown(remote),
        destination_ip: Fact::or_unknown(entry.address(Field::Local).map(|address| address.ip())),
        destination_port: entry.port().unwrap_or_default(),
        sni: entry.get(Field::ServerName).owned(),
        method: http(Field::Method),
        path: http(Field::Path),
        host: http(Field::Host),
        ..Request::anything()
    }
}

/// A field of HTTP. A request has each of them: one that the log leaves out is not known.
fn fact(entry: &Entry<'_>, field: Field) -> Fact<String> {
    Fact::or_unknown(entry.text(field).map(str::to_owned))
}

/// The identity in the client's certificate, as far as the log has one of the fields with it.
fn certificate(entry: &Entry<'_>) -> Option<Fact<String>> {
    let identity = |uri: &str| Fact::or_absent(uri.strip_prefix("spiffe://").map(str::to_owned));
    match entry.get(Field::Peer) {
        Fact::Known(names) => return Some(identity(names.split(',').next().unwrap_or_default())),
        Fact::Absent => return Some(Fact::Absent),
        Fact::Unknown => {}
    }
    match entry.get(Field::Certificate) {
        // A sidecar appends the certificate of its own client, and takes the header away where there is none
        // (`APPEND_FORWARD`, Envoy's `ConnectionManagerUtility::mutateXfccRequestHeader`).
        Fact::Known(header) => {
            let last = header.rsplit(',').next().unwrap_or_default();
            let uri = last.split(';').find_map(|part| part.strip_prefix("URI="))?;
            Some(identity(uri))
        }
        Fact::Absent => Some(Fact::Absent),
        Fact::Unknown => None,
    }
}

/// The ALLOW rule that came closest. That none matched is certain, so where a rule fails for nothing that
/// the log says, it failed for something that the log does not say.
fn nearest_miss(world: &World, rules: &[CompiledRule], request: &Request) -> Option<NearestMiss> {
    let short = |rule| short_of(rule, request);
    let (rule, (failed, open)) = rules
        .iter()
        .map(|rule| (rule, short(rule)))
        .filter(|(_, (failed, open))| !failed.is_empty() || !open.is_empty())
        .min_by_key(|(_, (failed, open))| (failed.len(), open.len()))?;
    let failed = if failed.is_empty() { open } else { failed };
    let policy = world.policies.get(rule.policy)?;
    Some(NearestMiss {
        policy: policy.object.key(),
        rule: rule.index,
        at: Some(policy.object.at(&failed.first()?.pointer)),
        wanted: wanted(&failed),
        failed: failed.iter().map(|condition| reason::field(&condition.pointer)).collect(),
    })
}

/// The conditions that fail, and those that nobody knows of, in the source and the operation of a rule that
/// come closest.
fn short_of<'r>(rule: &'r CompiledRule, request: &Request) -> (Vec<&'r Condition>, Vec<&'r Condition>) {
    let (mut failed, mut open) = (Vec::new(), Vec::new());
    for lists in [&rule.from, &rule.to] {
        let closest = lists
            .iter()
            .map(|conditions| {
                let that = |wanted| {
                    conditions.iter().filter(move |c| c.holds(request) == wanted).collect::<Vec<_>>()
                };
                (that(Some(false)), that(None))
            })
            .min_by_key(|(failed, open)| (failed.len(), open.len()));
        let (closest_failed, closest_open) = closest.unwrap_or_default();
        failed.extend(closest_failed);
        open.extend(closest_open);
    }
    (failed, open)
}

fn wanted(conditions: &[&Condition]) -> String {
    conditions.iter().map(|condition| reason::wanted(condition)).collect::<Vec<_>>().join(" and ")
}

fn policy<'w>(
    world: &'w World,
    namespace: &str,
    name: &str,
) -> Option<(usize, &'w crate::policy::AuthorizationPolicy)> {
    let number = world
        .policies_in(namespace)
        .iter()
        .copied()
        .find(|number| world.policies.get(*number).is_some_and(|policy| policy.object.name == name))?;
    Some((number, world.policies.get(number)?))
}

fn name(world: &World, number: usize) -> Option<String> {
    world.workloads.get(number).map(Workload::key)
}

fn numbers_of(world: &World, service: &Service) -> Vec<usize> {
    let is_of = |workload: &Workload| {
        workload.namespace == service.object.namespace
            && service.selector.as_ref().is_some_and(|selector| selector.selects(&workload.labels))
    };
    (0..).zip(&world.workloads).filter(|(_, workload)| is_of(workload)).map(|(number, _)| number).collect()
}

/// Port and host in a server name that a proxy of the mesh sets: `outbound_.PORT_.SUBSET_.HOST`
/// (`BuildDNSSrvSubsetKey` in `pilot/pkg/model/push_context.go`).
fn mesh_name(name: &str) -> Option<(u16, &str)> {
    let mut parts = name.strip_prefix("outbound_.")?.splitn(3, "_.");
    let (port, _, host) = (parts.next()?, parts.next()?, parts.next()?);
    Some((port.parse().ok()?, host))
}

fn is_mesh(name: &str) -> bool {
    mesh_name(name).is_some()
}

/// Port and host in the name of an outbound cluster: `outbound|PORT|SUBSET|HOST`.
fn outbound<'a>(entry: &'a Entry<'_>) -> Option<(u16, &'a str)> {
    let mut parts = entry.text(Field::Cluster)?.strip_prefix("outbound|")?.splitn(3, '|');
    let (port, _, host) = (parts.next()?, parts.next()?, parts.next()?);
    Some((port.parse().ok()?, host))
}
