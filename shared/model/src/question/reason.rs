//! Why: objects, fields and places behind a verdict.

use serde::Serialize;

use crate::authorization::attribute::Attribute;
use crate::authorization::chain::{Chain, Decision, RuleRef};
use crate::authorization::compile::CompiledRule;
use crate::authorization::condition::{Condition, Matcher};
use crate::authorization::connection::{Refusal, Way};
use crate::authorization::evaluator::{Cause, Evaluator, Outcome};
use crate::authorization::judge::Verdict;
use crate::authorization::request::Request;
use crate::peer_authentication::Mode;
use crate::workload::Workload;
use crate::world::World;

/// A reason: an object, perhaps a rule of it, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, PartialOrd, Ord)]
pub struct Because {
    /// The kind of the object, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The action of an AuthorizationPolicy: `ALLOW`, `DENY` or `CUSTOM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// `namespace/name` of the object; `null` where no object is behind it.
    pub policy: Option<String>,
    /// The index of the rule.
    pub rule: Option<usize>,
    /// `file:line`, or `namespace/name` in a cluster.
    pub at: Option<String>,
    /// The reason in words.
    pub text: String,
}

impl Because {
    /// A reason without an object.
    #[must_use]
    pub fn words(text: impl Into<String>) -> Self {
        Self { kind: None, action: None, policy: None, rule: None, at: None, text: text.into() }
    }

    /// A rule of a policy.
    #[must_use]
    pub fn rule(world: &World, rule: RuleRef, text: impl Into<String>) -> Self {
        let policy = world.policies.get(rule.policy);
        Self {
            kind: Some("AuthorizationPolicy"),
            action: policy.map(|policy| policy.action.name()),
            policy: policy.map(|policy| policy.object.key()),
            rule: Some(rule.rule),
            at: policy.map(|policy| policy.object.at(&format!("/spec/rules/{}", rule.rule))),
            text: text.into(),
        }
    }
}

/// `NAMESPACE/NAME/INDEX` of a rule.
#[must_use]
pub fn rule_name(world: &World, rule: RuleRef) -> String {
    let key = world.policies.get(rule.policy).map_or(String::new(), |policy| policy.object.key());
    format!("{key}/{}", rule.rule)
}

/// The rule that decides, where one does.
#[must_use]
pub fn deciding_rule(outcome: &Outcome) -> Option<RuleRef> {
    match &outcome.cause {
        Cause::Policies(_, Decision::Allow(rule)) => *rule,
        Cause::Policies(_, Decision::Deny(rule) | Decision::BadProvider(rule) | Decision::Asks(rule)) => {
            Some(*rule)
        }
        _ => None,
    }
}

/// The reasons for an outcome, the weightiest first.
pub fn reasons(
    evaluator: &mut Evaluator<'_>,
    workload: &Workload,
    port: u16,
    way: &Way,
    outcome: &Outcome,
) -> Vec<Because> {
    let world = evaluator.world();
    let in_force = evaluator.mode(workload, port);
    let mut reasons = Vec::new();
    match &outcome.cause {
        Cause::Bypass(reason) => {
            reasons.push(Because::words(format!("no policy is asked on this port: {reason}")));
        }
        Cause::BadRequest => {
            reasons.push(Because::words("the proxy answers 400 before any policy is asked"));
        }
        Cause::Refused(refusal) => {
            let text = match refusal {
                Refusal::ByCaller => "the caller's own proxy refuses the connection".to_owned(),
                Refusal::Strict => {
                    format!(
                        "mTLS is {}: without the mesh's certificate the connection is reset",
                        in_force.mode.name()
                    )
                }
                Refusal::ForeignTls => {
                    "the port takes no TLS but the mesh's: the connection is reset".to_owned()
                }
                Refusal::TrustDomain(domain) => {
                    format!("the handshake does not accept trust domain {domain}")
                }
                Refusal::NotHttp => {
                    "the port is declared HTTP: the proxy lets nothing else through".to_owned()
                }
            };
            let mut because = Because::words(text);
            if let (Refusal::Strict, Some((policy, pointer))) = (refusal, in_force.by) {
                because.kind = Some("PeerAuthentication");
                because.policy = Some(policy.object.key());
                because.at = Some(policy.object.at(&pointer));
            }
            reasons.push(because);
        }
        Cause::Policies(chain, decision) => reasons.extend(of_decision(world, chain, decision, outcome)),
    }
    // What nobody can know comes before what is known all the same.
    if outcome.verdict == Verdict::Unknown && reasons.iter().all(|because| because.policy.is_none()) {
        let doubts = outcome.doubts.iter().map(|doubt| Because::words(doubt.text.clone()));
        reasons.splice(..0, doubts);
    }
    if let Some(reason) = &way.reason {
        let text = format!("the caller connects so because {reason}");
        reasons.push(Because { at: way.at.clone(), ..Because::words(text) });
    }
    reasons
}

fn of_decision(world: &World, chain: &Chain, decision: &Decision, outcome: &Outcome) -> Vec<Because> {
    match decision {
        Decision::Allow(Some(rule)) => {
            let some = if outcome.verdict == Verdict::Allow { "it" } else { "some requests" };
            vec![Because::rule(world, *rule, format!("this ALLOW rule lets {some} through"))]
        }
        Decision::Allow(None) => vec![Because::words("no ALLOW policy selects the workload, so all that no DENY rule matches is let through")],
        Decision::Deny(rule) => vec![Because::rule(world, *rule, "this DENY rule refuses it")],
        Decision::BadProvider(rule) => vec![Because::rule(
            world,
            *rule,
            "this CUSTOM rule refuses it: its provider is not defined in the mesh configuration, or there are several",
        )],
        Decision::Asks(rule) => {
            vec![Because::rule(world, *rule, "this CUSTOM rule asks an external authorizer")]
        }
        Decision::BadToken => vec![Because::words(
            "401: no RequestAuthentication accepts a token of this issuer for this audience",
        )],
        Decision::NoneAllows | Decision::Undecided if outcome.verdict == Verdict::Deny => {
            vec![Because::words("ALLOW policies select the workload and none of their rules matches")]
        }
        Decision::NoneAllows | Decision::Undecided => {
            vec![Because::words("it depends on what is not known of the request")]
        }
    }
    .into_iter()
    .chain(chain.allow.as_ref().is_some_and(Vec::is_empty).then(|| {
        Because::words("the ALLOW policies here have no rule that can match: they refuse everything")
    }))
    .collect()
}

/// The ALLOW rule that comes closest to letting something through, and the conditions that fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearestMiss {
    /// `namespace/name` of the policy.
    pub policy: String,
    /// The index of the rule.
    pub rule: usize,
    /// `file:line`, or `namespace/name` in a cluster.
    pub at: Option<String>,
    /// The fields that fail, as in `from[0].source.principals`.
    pub failed: Vec<String>,
    /// What they would have to be.
    pub wanted: String,
}

/// The nearest miss of a request that is refused because no ALLOW rule matches; of equally near
/// rules the first.
#[must_use]
pub fn nearest_miss(world: &World, chain: &Chain, request: &Request) -> Option<NearestMiss> {
    let rules = chain.allow.as_ref()?;
    let (failed, rule) = rules
        .iter()
        .map(|rule| (failures(rule, request), rule))
        .filter(|(failed, _)| !failed.is_empty())
        .min_by_key(|(failed, _)| failed.len())?;
    let policy = world.policies.get(rule.policy)?;
    let first = failed.first()?;
    Some(NearestMiss {
        policy: policy.object.key(),
        rule: rule.index,
        at: Some(policy.object.at(&first.pointer)),
        wanted: failed.iter().map(|condition| wanted(condition)).collect::<Vec<_>>().join(" and "),
        failed: failed.iter().map(|condition| field(&condition.pointer)).collect(),
    })
}

/// The conditions that fail in the source and in the operation that come closest.
pub(super) fn failures<'a>(rule: &'a CompiledRule, request: &Request) -> Vec<&'a Condition> {
    let closest = |lists: &'a [Vec<Condition>]| {
        lists
            .iter()
            .map(|conditions| {
                conditions.iter().filter(|c| c.holds(request) == Some(false)).collect::<Vec<_>>()
            })
            .min_by_key(Vec::len)
            .unwrap_or_default()
    };
    let mut failed = closest(&rule.from);
    failed.extend(closest(&rule.to));
    failed
}

/// The field of a JSON pointer inside a rule: `from[0].source.principals`.
#[must_use]
pub fn field(pointer: &str) -> String {
    let inside = pointer.strip_prefix("/spec/rules/").and_then(|rest| rest.split_once('/'));
    let mut field = String::new();
    for part in inside.map_or(pointer, |(_, inside)| inside).split('/').filter(|part| !part.is_empty()) {
        if part.bytes().all(|b| b.is_ascii_digit()) {
            field.push_str(&format!("[{part}]"));
        } else {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(part);
        }
    }
    field
}

/// What a condition asks for, in words: `principals is td/ns/a/sa/b`.
#[must_use]
pub fn wanted(condition: &Condition) -> String {
    let what = match &condition.attribute {
        Attribute::Principal => "caller".to_owned(),
        Attribute::DestinationPort => "port".to_owned(),
        Attribute::Subject if is_pair(condition) => "request principal".to_owned(),
        attribute => attribute.to_string(),
    };
    let is = if condition.negated { "is not" } else { "is" };
    format!("{what} {is} {}", values(&condition.matchers))
}

fn is_pair(condition: &Condition) -> bool {
    condition.matchers.iter().any(|matcher| matches!(matcher, Matcher::TokenPrincipal { .. }))
}

/// The values of a condition as written, the first few of many.
#[must_use]
pub fn values(matchers: &[Matcher]) -> String {
    let mut shown: Vec<String> = Vec::new();
    for matcher in matchers {
        let text = match matcher {
            Matcher::Text(pattern) | Matcher::Path(pattern) => pattern.to_string(),
            Matcher::Block(block) => block.to_string(),
            Matcher::Port(port) => port.to_string(),
            Matcher::TokenPrincipal { issuer, subject } => format!("{issuer}/{subject}"),
        };
        if !shown.contains(&text) {
            shown.push(text);
        }
    }
    match shown.len() {
        0 => "nothing".to_owned(),
        1..=4 => shown.join(","),
        more => format!("{},... ({more} values)", shown.get(..3).unwrap_or_default().join(",")),
    }
}

/// What a permission rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RestsOn {
    /// The mesh's certificate.
    Mtls,
    /// A validated token.
    Jwt,
    /// The peer's address.
    Ip,
    /// A header (also `X-Forwarded-For`): any caller can write it.
    Header,
    /// The host name that the caller wrote.
    Host,
    /// Nothing but reaching the port.
    Plaintext,
}

impl RestsOn {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mtls => "mtls",
            Self::Jwt => "jwt",
            Self::Ip => "ip",
            Self::Header => "header",
            Self::Host => "host",
            Self::Plaintext => "plaintext",
        }
    }
}

/// What lets the witness through rests on.
#[must_use]
pub fn rests_on(outcome: &Outcome, mode: Mode) -> Vec<RestsOn> {
    let mut rests = Vec::new();
    if let (Cause::Policies(chain, Decision::Allow(Some(rule))), Some(witness)) =
        (&outcome.cause, &outcome.witness)
    {
        let rule = chain.allow.iter().flatten().find(|known| known.reference() == *rule);
        for conditions in rule.into_iter().flat_map(|rule| [&rule.from, &rule.to]) {
            let holding = conditions
                .iter()
                .find(|conditions| conditions.iter().all(|c| c.holds(witness) == Some(true)));
            rests.extend(holding.into_iter().flatten().filter(|c| !c.negated).filter_map(|c| {
                match &c.attribute {
                    Attribute::Principal => Some(RestsOn::Mtls),
                    attribute if attribute.is_token() => Some(RestsOn::Jwt),
                    Attribute::SourceIp => Some(RestsOn::Ip),
                    Attribute::RemoteIp | Attribute::Header(_) => Some(RestsOn::Header),
                    Attribute::Host | Attribute::Sni => Some(RestsOn::Host),
                    _ => None,
                }
            }));
        }
    }
    if !rests.iter().any(|rest| matches!(rest, RestsOn::Mtls | RestsOn::Jwt | RestsOn::Ip)) {
        let strict = mode == Mode::Strict && outcome.principal.is_some();
        rests.push(if strict { RestsOn::Mtls } else { RestsOn::Plaintext });
    }
    rests.sort();
    rests.dedup();
    rests
}
