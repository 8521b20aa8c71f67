//! What a proxy has other than the policies say, rule by rule.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::Serialize;

use super::{Door, Filters, Proxy, text};
use crate::authorization::attribute::Attribute;
use crate::authorization::chain::{Chain, Provider};
use crate::authorization::compile::{CompiledRule, Protocol};
use crate::authorization::condition::{Condition, Matcher};
use crate::authorization::connection::{self, Presents};
use crate::authorization::evaluator::Evaluator;
use crate::inbound::{self, InboundPort};
use crate::path::Normalization;
use crate::peer_authentication::Mode;
use crate::question::access::protocols;
use crate::request_authentication::JwtRule;

/// One thing that is not as the policies say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// `missing-rule`, `extra-rule`, `other-rule`, `allow-policies`, `tokens`, `paths`, `connections` or
    /// `unreadable`.
    pub what: &'static str,
    /// The rule, as `NAMESPACE/NAME/INDEX`, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// In words, as what the proxy does: `has no ALLOW rule orders/a[0]`.
    pub text: String,
    /// The ports on which it is so.
    pub ports: Vec<u16>,
}

/// A difference before it is known on which ports it is.
type Found = (&'static str, Option<String>, String);

/// All differences on the ports of a workload.
pub(super) fn differences(evaluator: &mut Evaluator<'_>, proxy: &Proxy, number: usize) -> Vec<Difference> {
    let world = evaluator.world();
    let Some(workload) = world.workloads.get(number) else { return Vec::new() };
    // Any identity of the mesh: which one does not matter to the way in.
    let identity = Presents::Identity(world.principal(&workload.namespace, &workload.service_account));
    let mut found: BTreeMap<Found, BTreeSet<u16>> = BTreeMap::new();
    for port in evaluator.ports(number).iter() {
        if inbound::bypass(workload, port.port).is_some() {
            continue;
        }
        for presents in [&identity, &Presents::Plaintext, &Presents::ForeignTls] {
            for &speaks in protocols(port) {
                for difference in of_door(evaluator, proxy, number, port, presents, speaks) {
                    found.entry(difference).or_default().insert(port.port);
                }
            }
        }
    }
    let difference = |((what, rule, text), ports): (Found, BTreeSet<u16>)| Difference {
        what,
        rule,
        text,
        ports: ports.into_iter().collect(),
    };
    found.into_iter().map(difference).collect()
}

/// What a client sends to a port: where mutual TLS is off, its sidecar sends plaintext
/// (`authorization::connection`).
pub(super) fn sent(mode: Mode, presents: &Presents) -> Presents {
    match (presents, mode) {
        (Presents::Identity(_), Mode::Disable) => Presents::Plaintext,
        _ => presents.clone(),
    }
}

fn of_door(
    evaluator: &mut Evaluator<'_>,
    proxy: &Proxy,
    number: usize,
    port: &InboundPort,
    presents: &Presents,
    speaks: Protocol,
) -> Vec<Found> {
    let world = evaluator.world();
    let Some(workload) = world.workloads.get(number) else { return Vec::new() };
    let mode = evaluator.mode(workload, port.port).mode;
    let expected = connection::chain(world, port, mode, presents, speaks);
    let door = match proxy.door(port.port, &sent(mode, presents), speaks, &world.profile) {
        Ok(door) => door,
        Err(reason) => return vec![("unreadable", None, format!("has {reason}, which is not read"))],
    };
    let way = match presents {
        Presents::Identity(_) => "mutual TLS",
        Presents::Plaintext => "plaintext",
        Presents::ForeignTls | Presents::Nothing => "TLS of others",
    };
    let connections = |does: &str| {
        vec![("connections", None, format!("{does} with {} over {way}", speaks.name().to_uppercase()))]
    };
    match (expected, door) {
        (Err(_), Door::Closed) => Vec::new(),
        (Err(_), Door::Open { .. }) => connections("takes connections that should be closed,"),
        (Ok(_), Door::Closed) => connections("closes connections that should be taken,"),
        (Ok((protocol, principal)), Door::Open { filters, shows_identity }) => {
            if protocol != filters.chain.protocol {
                return connections(&format!("treats as {}", filters.chain.protocol.name()));
            }
            if principal.is_some() != shows_identity {
                let sees = if shows_identity { "sees an identity" } else { "sees no identity" };
                return connections(sees);
            }
            let chain = evaluator.chain(number, protocol);
            of_filters(&chain, &filters, world.mesh.normalization)
        }
    }
}

fn of_filters(expected: &Chain, filters: &Filters, normalization: Normalization) -> Vec<Found> {
    let mut found = Vec::new();
    let chain = &filters.chain;
    for what in filters.unreadable.iter().chain(&filters.unreadable_rules) {
        found.push(("unreadable", None, format!("has {what}, which is not read")));
    }
    let none = Vec::new();
    for (action, expected, have) in [
        ("CUSTOM", &expected.custom, &chain.custom),
        ("DENY", &expected.deny, &chain.deny),
        ("ALLOW", expected.allow.as_ref().unwrap_or(&none), chain.allow.as_ref().unwrap_or(&none)),
        ("AUDIT or dry-run", &expected.silent, &chain.silent),
    ] {
        of_rules(action, expected, have, &mut found);
    }
    // A CUSTOM rule's provider that is asked, or that refuses what the rule matches.
    let refuses = |chain: &Chain| chain.custom.iter().any(|rule| chain.provider(rule) == Provider::Refuses);
    if refuses(expected) != refuses(chain) && !expected.custom.is_empty() && !chain.custom.is_empty() {
        let does = if refuses(chain) { "refuses" } else { "asks an authorizer about" };
        found.push(("other-rule", None, format!("{does} what its CUSTOM rules match")));
    }
    match (&expected.allow, &chain.allow) {
        (None, Some(_)) => found.push((
            "allow-policies",
            None,
            "refuses what no ALLOW rule matches, though no ALLOW policy is in force".to_owned(),
        )),
        (Some(_), None) => found.push((
            "allow-policies",
            None,
            "has no ALLOW policy: it lets through what no DENY rule matches".to_owned(),
        )),
        _ => {}
    }
    let tokens = |rules: &[JwtRule]| -> BTreeSet<String> { rules.iter().map(token).collect() };
    if tokens(&expected.tokens) != tokens(&chain.tokens) {
        let issuers: BTreeSet<&str> = chain.tokens.iter().map(|rule| rule.issuer.as_str()).collect();
        let issuers = issuers.into_iter().collect::<Vec<_>>().join(", ");
        let of = if issuers.is_empty() {
            "accepts no tokens".to_owned()
        } else {
            format!("accepts tokens of {issuers}")
        };
        found.push(("tokens", None, format!("{of}, other than the RequestAuthentications say")));
    }
    if let Some(own) = filters.normalization.filter(|own| *own != normalization) {
        let text = format!("normalizes paths as {}, not as {}", own.name(), normalization.name());
        found.push(("paths", None, text));
    }
    found
}

fn token(rule: &JwtRule) -> String {
    let set = |values: &[String]| values.iter().cloned().collect::<BTreeSet<String>>();
    format!(
        "{} {:?} {} {} {:?}",
        rule.issuer,
        set(&rule.audiences),
        rule.default_location,
        rule.forwards,
        set(&rule.space_delimited)
    )
}

fn of_rules(action: &str, expected: &[CompiledRule], have: &[CompiledRule], found: &mut Vec<Found>) {
    let by_id = |rules: &[CompiledRule]| -> BTreeMap<String, Content> {
        rules.iter().filter_map(|rule| Some((rule.id.clone(), content(rule)?))).collect()
    };
    let (expected, have) = (by_id(expected), by_id(have));
    let ids: BTreeSet<&String> = expected.keys().chain(have.keys()).collect();
    for id in ids {
        let (name, place) = rule_name(id);
        let (what, text) = match (expected.get(id), have.get(id)) {
            (Some(_), None) => ("missing-rule", format!("has no {action} rule {place}")),
            (None, Some(_)) => {
                ("extra-rule", format!("has {action} rule {place}, which nothing in force gives"))
            }
            (Some(expected), Some(have)) if expected != have => {
                ("other-rule", format!("has another {action} rule {place}"))
            }
            _ => continue,
        };
        found.push((what, Some(name), text));
    }
}

/// `NAMESPACE/NAME/INDEX` and `NAMESPACE/NAME[INDEX]` of a rule's id; both the id where it is another's.
pub(super) fn rule_name(id: &str) -> (String, String) {
    let parts = || {
        let (namespace, rest) = id.strip_prefix("ns[")?.split_once("]-policy[")?;
        let (name, rest) = rest.split_once("]-rule[")?;
        let index = rest.strip_suffix(']')?;
        Some((format!("{namespace}/{name}/{index}"), format!("{namespace}/{name}[{index}]")))
    };
    parts().unwrap_or_else(|| (id.to_owned(), id.to_owned()))
}

type Lists = BTreeSet<BTreeSet<(Attribute, bool, BTreeSet<Matcher>)>>;

/// What a rule matches, so that rules that are written in another order are equal.
type Content = (Lists, Lists);

/// `None` for a rule that matches nothing: it may as well not be there.
fn content(rule: &CompiledRule) -> Option<Content> {
    let (from, to) = (lists(&rule.from), lists(&rule.to));
    if from.is_empty() || to.is_empty() { None } else { Some((from, to)) }
}

fn lists(lists: &[Vec<Condition>]) -> Lists {
    // A comparison with nothing never holds, and its opposite always.
    let never = |condition: &Condition| condition.matchers.is_empty() && !condition.negated;
    let possible = lists.iter().filter(|conditions| !conditions.iter().any(never));
    let all = possible.map(|conditions| {
        let telling = conditions.iter().filter(|condition| !condition.matchers.is_empty());
        telling
            .map(|condition| {
                let matchers = condition.matchers.iter().map(canonical).collect();
                (condition.attribute.clone(), condition.negated, matchers)
            })
            .collect()
    });
    let lists: Lists = all.collect();
    // One that asks for nothing makes the others idle.
    if lists.contains(&BTreeSet::new()) { BTreeSet::from([BTreeSet::new()]) } else { lists }
}

fn canonical(matcher: &Matcher) -> Matcher {
    match matcher {
        Matcher::Text(pattern) => Matcher::Text(text::canonical(pattern)),
        Matcher::Path(pattern) => Matcher::Path(text::canonical(pattern)),
        Matcher::Block(block) => Matcher::Block(IpNet::trunc(block)),
        Matcher::Port(port) => Matcher::Port(*port),
        Matcher::TokenPrincipal { issuer, subject } => {
            Matcher::TokenPrincipal { issuer: text::canonical(issuer), subject: text::canonical(subject) }
        }
    }
}
