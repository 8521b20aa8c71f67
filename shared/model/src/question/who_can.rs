//! `who-can`: a row for each caller and port.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Serialize;

use crate::authorization::attribute::Attribute;
use crate::authorization::chain::Provider;
use crate::authorization::compile::Protocol;
use crate::authorization::condition::Matcher;
use crate::authorization::connection::{Presents, Way};
use crate::authorization::evaluator::Evaluator;
use crate::authorization::formula::{Atom, Formula};
use crate::authorization::judge::Verdict;
use crate::authorization::selection;
use crate::authorization::solver::Solved;
use crate::inbound::{self, InboundPort};
use crate::lint::rejected_by_webhook;
use crate::object::{Kind, Object, Origin};
use crate::pattern::Pattern;
use crate::workload::Workload;
use crate::world::{Assumption, World};

use super::access::{self, Access, access};
use super::reason::{Because, RestsOn};
use super::target::Target;

/// What kind of caller a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerKind {
    /// A service account with workloads behind it.
    Identity,
    /// The same, where the workloads are gateways: everybody outside hides behind them.
    Gateway,
    /// Whoever shows no identity: pods without a sidecar, hostNetwork, nodes, outside.
    Anonymous,
    /// A port that goes around the sidecar: whoever reaches it.
    Bypass,
    /// An identity that a policy names and nothing runs as.
    Unmatched,
}

/// One row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The principal without `spiffe://`, a pattern of principals, or `anonymous`.
    pub caller: String,
    /// The kind of caller.
    pub kind: CallerKind,
    /// The workloads behind it, `namespace/name`.
    pub workloads: Vec<String>,
    /// The target's workloads that the row is about.
    pub targets: Vec<String>,
    /// What can be sent.
    #[serde(flatten)]
    pub access: Access,
    /// How the caller connects; `None` where no proxy is in the way.
    #[serde(skip)]
    pub connects: Option<Connects>,
}

/// How the caller of a row connects, so that a running proxy can be asked the same.
#[derive(Clone, Debug)]
pub struct Connects {
    /// The number of the target's workload, which stands for those alike.
    pub workload: usize,
    /// The port.
    pub port: InboundPort,
    /// What is spoken.
    pub speaks: Protocol,
    /// The way.
    pub way: Way,
}

/// The target as in the answer.
#[derive(Clone, Debug, Serialize)]
pub struct TargetName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The names of its workloads.
    pub workloads: Vec<String>,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct WhoCan {
    /// What was asked about.
    pub target: TargetName,
    /// The rows.
    pub callers: Vec<Row>,
    /// What was assumed.
    pub assumptions: Vec<Assumption>,
}

/// A caller with all workloads that connect in the same way.
struct Group {
    caller: String,
    kind: CallerKind,
    workloads: Vec<String>,
    way: Way,
}

/// Answers for a target.
pub fn who_can(evaluator: &mut Evaluator<'_>, target: &Target<'_>) -> WhoCan {
    let world = evaluator.world();
    let mut rows: Vec<Row> = Vec::new();
    let mut assumptions = assumptions(world, &target.workloads);
    for alike in evaluator.alike(&target.workloads).iter() {
        let Some((&number, names)) = alike.first().zip(Some(names(world, alike))) else { continue };
        let Some(workload) = world.workloads.get(number) else { continue };
        for (port, reason) in inbound::bypassing(world, workload) {
            rows.push(bypass_row(world, &names, port, reason));
        }
        if workload.injection.injected {
            for (port, reason) in inbound::OWN_PORTS {
                rows.push(bypass_row(world, &names, port, reason.to_owned()));
            }
        }
        assumptions.extend(asked(evaluator, number));
        for port in evaluator.ports(number).iter() {
            if inbound::bypass(workload, port.port).is_some() {
                continue;
            }
            let groups = groups(evaluator, number, workload, port, target);
            for group in groups {
                for &protocol in access::protocols(port) {
                    let found = access(evaluator, number, port, &group.way, protocol);
                    assumptions.extend(found.doubts.iter().cloned());
                    let (port, way) = (port.clone(), group.way.clone());
                    let connects = Connects { workload: number, port, speaks: protocol, way };
                    rows.push(row(&group, &names, found, connects));
                }
            }
        }
    }
    rows.sort_by(|a, b| {
        let bypass = |row: &Row| row.kind == CallerKind::Bypass;
        let (x, y) = (&a.access, &b.access);
        (bypass(a), x.verdict, x.port, a.kind, &a.caller, x.protocol, &a.targets).cmp(&(
            bypass(b),
            y.verdict,
            y.port,
            b.kind,
            &b.caller,
            y.protocol,
            &b.targets,
        ))
    });
    let workloads = names(world, &target.workloads);
    WhoCan {
        target: TargetName { namespace: target.namespace.clone(), name: target.name.clone(), workloads },
        callers: rows,
        assumptions: assumptions.into_iter().collect(),
    }
}

/// The names of workloads; with their pods where policies tell pods of one maker apart, as they can
/// those of a StatefulSet.
pub(super) fn names(world: &World, numbers: &[usize]) -> Vec<String> {
    let name = |number: &usize| {
        let workload = world.workloads.get(*number)?;
        // Workloads are in the order of their names.
        let beside = [number.checked_sub(1), number.checked_add(1)].into_iter().flatten();
        let several = beside.filter_map(|beside| world.workloads.get(beside)).any(|other| {
            (other.kind, &other.namespace, &other.name)
                == (workload.kind, &workload.namespace, &workload.name)
        });
        Some(match workload.pods.as_slice() {
            [pod] if several => pod.clone(),
            [first, more @ ..] if several => format!("{first} and {} more", more.len()),
            _ => workload.name.clone(),
        })
    };
    numbers.iter().filter_map(name).collect()
}

fn row(group: &Group, targets: &[String], found: Access, connects: Connects) -> Row {
    Row {
        caller: group.caller.clone(),
        kind: group.kind,
        workloads: group.workloads.clone(),
        targets: targets.to_vec(),
        access: found,
        connects: Some(connects),
    }
}

fn bypass_row(world: &World, targets: &[String], port: u16, reason: String) -> Row {
    Row {
        caller: "anonymous".to_owned(),
        kind: CallerKind::Bypass,
        workloads: without_sidecar(world),
        targets: targets.to_vec(),
        access: Access {
            port,
            protocol: Protocol::Tcp.name(),
            arrives: "plaintext",
            verdict: Verdict::Allow,
            requests: vec![format!("* :{port}")],
            witness: None,
            rests_on: vec![RestsOn::Plaintext],
            because: vec![Because::words(format!("no policy is asked on this port: {reason}"))],
            nearest_miss: None,
            doubts: Vec::new(),
        },
        connects: None,
    }
}

/// Workloads that cannot show an identity.
fn without_sidecar(world: &World) -> Vec<String> {
    let names: BTreeSet<String> =
        world.workloads.iter().filter(|workload| !workload.injection.injected).map(Workload::key).collect();
    names.into_iter().collect()
}

/// Everybody who could call a port, each with the way in which they connect.
fn groups(
    evaluator: &mut Evaluator<'_>,
    number: usize,
    target: &Workload,
    port: &InboundPort,
    asked: &Target<'_>,
) -> Vec<Group> {
    let world = evaluator.world();
    let mut groups: BTreeMap<(String, CallerKind, Way), Vec<String>> = BTreeMap::new();
    let through = asked.service.filter(|service| {
        inbound::services_on(world, target, port.port).any(|(known, _)| known.host() == service.host())
    });
    for (caller, workload) in (0..).zip(&world.workloads).filter(|(_, w)| w.injection.injected) {
        let principal = world.principal(&workload.namespace, &workload.service_account);
        let kind = if workload.is_gateway { CallerKind::Gateway } else { CallerKind::Identity };
        let way = evaluator.way(caller, number, port, through);
        let names = groups.entry((principal, kind, way)).or_default();
        if !names.contains(&workload.key()) {
            names.push(workload.key());
        }
    }
    let running: BTreeSet<String> = groups.keys().map(|(principal, ..)| principal.clone()).collect();
    let mut all: Vec<Group> = groups
        .into_iter()
        .map(|((caller, kind, way), workloads)| Group { caller, kind, workloads, way })
        .collect();
    // Service accounts that nothing runs as now; `default` is in every namespace and says nothing.
    for object in world.objects().iter().filter(|object| object.kind == Kind::ServiceAccount) {
        let caller = world.principal(&object.namespace, &object.name);
        if object.name != "default" && !running.contains(&caller) {
            let way = Way::identity(caller.clone());
            all.push(Group { caller, kind: CallerKind::Identity, workloads: Vec::new(), way });
        }
    }
    all.push(Group {
        caller: "anonymous".to_owned(),
        kind: CallerKind::Anonymous,
        workloads: without_sidecar(world),
        way: Way { presents: Presents::Plaintext, reason: None, at: None },
    });
    let known: BTreeSet<String> = all.iter().map(|group| group.caller.clone()).collect();
    all.extend(unmatched(evaluator, number, &known));
    all
}

/// Identities that ALLOW rules name and nothing in the World has.
fn unmatched(evaluator: &mut Evaluator<'_>, number: usize, known: &BTreeSet<String>) -> Vec<Group> {
    let world = evaluator.world();
    let chain = evaluator.chain(number, Protocol::Http);
    let mut named: BTreeSet<&Matcher> = BTreeSet::new();
    for rule in chain.allow.iter().flatten() {
        for condition in rule.conditions() {
            if condition.attribute == Attribute::Principal && !condition.negated {
                named.extend(condition.matchers.iter());
            }
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for matcher in named {
        let Matcher::Text(pattern) = matcher else { continue };
        if known.iter().any(|principal| pattern.matches(principal)) {
            continue;
        }
        let (caller, principal) = match pattern.as_exact() {
            Some(exact) => (exact.to_owned(), exact.to_owned()),
            // Somebody whom the pattern would let in.
            None => match somebody(evaluator, matcher) {
                Some(principal) => (pattern.to_string(), principal),
                None => continue,
            },
        };
        let domain = principal.split('/').next().unwrap_or_default();
        let foreign = !world.mesh.accepts_trust_domain(domain);
        let duplicate =
            groups.iter().any(|group| group.way.presents == Presents::Identity(principal.clone()));
        if !foreign && !duplicate {
            let way = Way::identity(principal);
            groups.push(Group { caller, kind: CallerKind::Unmatched, workloads: Vec::new(), way });
        }
    }
    groups
}

/// A principal of the mesh that a pattern matches.
fn somebody(evaluator: &mut Evaluator<'_>, matcher: &Matcher) -> Option<String> {
    let own = Pattern::Prefix(format!("{}/ns/", evaluator.world().mesh.trust_domains.own()).into());
    let atom = |matchers: Rc<[Matcher]>| Formula::Atom(Atom { attribute: Attribute::Principal, matchers });
    let formula = Formula::all([atom([matcher.clone()].into()), atom([Matcher::Text(own)].into())]);
    match evaluator.judge().solve(&formula) {
        Solved::Some(solution) => {
            solution.texts.get(&Attribute::Principal).and_then(|texts| texts.first()).cloned()
        }
        Solved::None | Solved::GaveUp => None,
    }
}

/// The external authorizers that a workload's proxy asks about some requests.
pub(super) fn asked(evaluator: &mut Evaluator<'_>, number: usize) -> Vec<Assumption> {
    let world = evaluator.world();
    let chain = evaluator.chain(number, Protocol::Http);
    let rules = chain.custom.iter().filter(|rule| chain.provider(rule) == Provider::Asked);
    let policies: BTreeSet<usize> = rules.map(|rule| rule.policy).collect();
    let name = |policy: usize| world.policies.get(policy).map_or(String::new(), |policy| policy.object.key());
    policies.into_iter().map(|policy| Assumption::external_authorizer(&name(policy))).collect()
}

/// What is assumed of the mesh as a whole where the input does not say it: its configuration and version.
#[must_use]
pub fn defaults(world: &World) -> BTreeSet<Assumption> {
    let mut assumptions = BTreeSet::new();
    let mut add = |code, text: String| {
        assumptions.insert(Assumption { code, text });
    };
    if !world.mesh.is_known {
        add(
            "mesh-config-default",
            "Istio's default mesh configuration, as none was read (trust domain cluster.local, root namespace istio-system)".to_owned(),
        );
    }
    if world.version_source.is_none() {
        add(
            "istio-version-assumed",
            format!(
                "Istio {}, as nothing says which version runs (set it with --istio-version)",
                world.profile.version
            ),
        );
    }
    assumptions
}

/// What every answer about these workloads assumes.
#[must_use]
pub fn assumptions(world: &World, numbers: &[usize]) -> BTreeSet<Assumption> {
    let mut assumptions = defaults(world);
    let mut add = |code, text: String| {
        assumptions.insert(Assumption { code, text });
    };
    for gap in world.gaps() {
        add("forbidden-list", format!("{} could not be listed: {}", gap.kind.plural(), gap.reason));
    }
    let mut namespaces: BTreeSet<&str> = BTreeSet::new();
    namespaces.extend(world.workloads.iter().filter(|w| w.injection.assumed).map(|w| w.namespace.as_str()));
    if !namespaces.is_empty() {
        let names = namespaces.into_iter().collect::<Vec<_>>().join(", ");
        add(
            "namespace-not-in-input",
            format!("pods are taken to be injected in namespaces that were not read: {names}"),
        );
    }
    let mut candidates: BTreeSet<usize> = BTreeSet::new();
    for workload in numbers.iter().filter_map(|number| world.workloads.get(*number)) {
        candidates.extend(selection::candidates(world, workload));
        for policy in selection::candidates(world, workload).filter_map(|n| world.policies.get(n)) {
            if !policy.is_readable() {
                add(
                    "policy-unreadable",
                    format!(
                        "istiod cannot read AuthorizationPolicy {}, so it is not in force; lint says why",
                        located(&policy.object, "")
                    ),
                );
            } else if let Some(revision) = policy.object.revision() {
                add(
                    "revision",
                    format!(
                        "AuthorizationPolicy {} is for revision {revision}; {} is taken to be served by {}",
                        policy.object.key(),
                        workload.key(),
                        workload.injection.revision
                    ),
                );
            }
        }
        for policy in &world.peer_authentications {
            let namespace = &policy.object.namespace;
            let here = *namespace == workload.namespace || *namespace == world.mesh.root_namespace;
            if here && policy.problems.iter().any(|problem| problem.unreadable) {
                add(
                    "policy-unreadable",
                    format!(
                        "istiod cannot read PeerAuthentication {}, so it is not in force; lint says why",
                        located(&policy.object, "")
                    ),
                );
            }
        }
        if !selection::tokens(world, workload).is_empty() {
            add("token-validity", "tokens are taken to be well signed and not expired".to_owned());
        }
    }
    // What the cluster holds got past the webhook, however it did.
    let written = candidates.into_iter().filter_map(|number| world.policies.get(number));
    for policy in written.filter(|policy| matches!(policy.object.origin, Origin::File { .. })) {
        if let Some((pointer, text)) = rejected_by_webhook::refusal(&policy.object) {
            add(
                "refused-by-webhook",
                format!(
                    "Istio's webhook would refuse AuthorizationPolicy {}: {text}. Shown is what a proxy would do with it",
                    located(&policy.object, &pointer)
                ),
            );
        }
    }
    assumptions
}

/// `namespace/name (file:line)`.
fn located(object: &Object, pointer: &str) -> String {
    let (key, at) = (object.key(), object.at(pointer));
    if at == key { key } else { format!("{key} ({at})") }
}
