//! Whether a proxy does what an answer says, and if not, why.

use serde::{Serialize, Serializer};

use super::compare::{Difference, differences, rule_name, sent};
use super::{Door, Proxy, RefusedUpdate};
use crate::authorization::chain::{Chain, Decision};
use crate::authorization::compile::Protocol;
use crate::authorization::connection::{Presents, Refusal, Way};
use crate::authorization::evaluator::{Cause, Evaluator};
use crate::authorization::judge::Verdict;
use crate::authorization::request::Request;
use crate::envoy_filter;
use crate::inbound::InboundPort;

/// How a proxy stands to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Agreement {
    /// It does what the answer says.
    Agrees,
    /// It refused an update and keeps what it had.
    Refused,
    /// It is served by another revision of istiod than the one whose mesh configuration was read.
    OtherRevision,
    /// It differs, and an EnvoyFilter changes it.
    EnvoyFilter,
    /// It differs, and nothing else explains it: it has not got the newest configuration, or istiod does
    /// not see what was read.
    Lags,
    /// It could not be read, or does something that cannot be read.
    Unreadable,
}

impl Agreement {
    /// The code: stable, kebab-case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Refused => "refused",
            Self::OtherRevision => "other-revision",
            Self::EnvoyFilter => "envoy-filter",
            Self::Lags => "lags",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Serialize for Agreement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// What an answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Single requests: other rules may differ.
    Requests,
    /// All rules.
    Rules,
}

/// A request that the proxy is to decide as well.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Who sends it, for people.
    pub caller: String,
    /// The workload's port.
    pub port: &'a InboundPort,
    /// How the caller connects.
    pub way: &'a Way,
    /// What it speaks.
    pub speaks: Protocol,
    /// The request, without its path.
    pub request: &'a Request,
    /// The path as it is sent.
    pub path: Option<&'a str>,
}

/// What a proxy decides about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// Who sends it.
    pub caller: String,
    /// The workload's port.
    pub port: u16,
    /// `http` or `tcp`.
    pub protocol: &'static str,
    /// What the policies that were read say.
    pub policies: Verdict,
    /// What the proxy's own rules say.
    pub proxy: Verdict,
    /// The rule by which the proxy decides, as `NAMESPACE/NAME/INDEX`.
    pub rule: Option<String>,
}

/// What became of one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The pod's name.
    pub pod: String,
    /// How its proxy stands to the answer.
    pub code: Agreement,
    /// Whether it does what the answer says; a proxy that refused an update can do so too.
    pub agrees: bool,
    /// The code in words.
    pub text: String,
    /// The proxy's version of Istio.
    #[serde(rename = "istioVersion")]
    pub version: Option<String>,
    /// What it refused.
    pub refused: Vec<RefusedUpdate>,
    /// What it has other than the policies say.
    pub differences: Vec<Difference>,
    /// What it decides about the requests asked.
    pub decides: Vec<Decided>,
}

impl Verification {
    /// A pod whose proxy could not be read, and why.
    #[must_use]
    pub fn unreadable(pod: &str, reason: impl Into<String>) -> Self {
        Self {
            pod: pod.to_owned(),
            code: Agreement::Unreadable,
            agrees: false,
            text: reason.into(),
            version: None,
            refused: Vec::new(),
            differences: Vec::new(),
            decides: Vec::new(),
        }
    }
}

/// Verifies the proxy of a pod of the World's `number`th workload.
pub fn verify(
    evaluator: &mut Evaluator<'_>,
    number: usize,
    pod: &str,
    proxy: &Proxy,
    asked: &[Asked<'_>],
    scope: Scope,
) -> Verification {
    let world = evaluator.world();
    let Some(workload) = world.workloads.get(number) else {
        return Verification::unreadable(pod, "its workload is not in the input");
    };
    if workload.is_gateway {
        return Verification::unreadable(pod, "the listeners of gateways are not compared");
    }
    let differences = differences(evaluator, proxy, number);
    let decided: Vec<(Decided, Vec<String>)> =
        asked.iter().filter_map(|asked| decide(evaluator, proxy, number, asked)).collect();
    // What could not be read, where something depends on it.
    let mut unreadable: Vec<String> = match scope {
        Scope::Requests => decided.iter().flat_map(|(_, unreadable)| unreadable.iter().cloned()).collect(),
        Scope::Rules => differences
            .iter()
            .filter(|difference| difference.what == "unreadable")
            .map(|difference| difference.text.clone())
            .collect(),
    };
    unreadable.sort();
    unreadable.dedup();
    let decides: Vec<Decided> = decided.into_iter().map(|(decided, _)| decided).collect();
    let same_verdicts = decides.iter().all(|decided| decided.policies == decided.proxy);
    let agrees =
        same_verdicts && unreadable.is_empty() && (scope == Scope::Requests || differences.is_empty());

    let filters: Vec<String> = world
        .envoy_filters
        .iter()
        .filter(|object| envoy_filter::changes_inbound(object, workload, &world.mesh.root_namespace))
        .map(|object| object.key())
        .collect();
    let read = world.mesh.revision.as_deref();
    let other = proxy.revision.as_deref().filter(|own| read.is_some_and(|read| read != *own));
    let (code, text) = if let Some(refused) = proxy.refused.first() {
        let does = if agrees {
            "and all the same does what the answer says"
        } else {
            "and does other than the answer says"
        };
        let text = format!(
            "its Envoy refused an update of listener {} and keeps what it had, {does}: {}",
            refused.listener,
            refused.reason()
        );
        (Agreement::Refused, text)
    } else if agrees {
        (Agreement::Agrees, "its proxy does what the answer says".to_owned())
    } else if let Some(own) = other {
        let read = read.unwrap_or_default();
        let text =
            format!("it is served by revision {own}, and the mesh configuration read is that of {read}");
        (Agreement::OtherRevision, text)
    } else if !filters.is_empty() {
        (
            Agreement::EnvoyFilter,
            format!("EnvoyFilter {} changes its inbound configuration", filters.join(", ")),
        )
    } else if !unreadable.is_empty() {
        (Agreement::Unreadable, format!("it {}", unreadable.join("; it ")))
    } else {
        let text = "it does not have what the policies say: istiod has not sent it yet, or does not see what was read";
        (Agreement::Lags, text.to_owned())
    };
    Verification {
        pod: pod.to_owned(),
        code,
        agrees,
        text,
        version: proxy.version.clone(),
        refused: proxy.refused.clone(),
        differences,
        decides,
    }
}

/// Decides a request by the policies and by the proxy; `None` where the proxy has no part in the answer.
/// Beside it what cannot be read of that on which the proxy's decision depends.
fn decide(
    evaluator: &mut Evaluator<'_>,
    proxy: &Proxy,
    number: usize,
    asked: &Asked<'_>,
) -> Option<(Decided, Vec<String>)> {
    let world = evaluator.world();
    let workload = world.workloads.get(number)?;
    let mut request = asked.request.clone();
    if let Some(path) = asked.path {
        request.set_path(path, world.mesh.normalization);
    }
    let outcome = evaluator.undoubted(number, asked.port, asked.way, asked.speaks, &request);
    match &outcome.cause {
        Cause::Bypass(_)
        | Cause::BadRequest
        | Cause::Refused(Refusal::ByCaller | Refusal::TrustDomain(_)) => return None,
        Cause::Refused(_) | Cause::Policies(..) => {}
    }
    let decided = |proxy, rule, unreadable| {
        let decided = Decided {
            caller: asked.caller.clone(),
            port: asked.port.port,
            protocol: asked.speaks.name(),
            policies: outcome.verdict,
            proxy,
            rule,
        };
        Some((decided, unreadable))
    };
    let mode = evaluator.mode(workload, asked.port.port).mode;
    let presents = sent(mode, &asked.way.presents);
    let (filters, shows_identity) = match proxy.door(asked.port.port, &presents, asked.speaks, &world.profile)
    {
        Ok(Door::Open { filters, shows_identity }) => (filters, shows_identity),
        Ok(Door::Closed) => return decided(Verdict::Deny, None, Vec::new()),
        Err(reason) => {
            return decided(Verdict::Unknown, None, vec![format!("has {reason}, which is not read")]);
        }
    };
    let names =
        |parts: &[String]| parts.iter().map(|what| format!("has {what}, which is not read")).collect();
    if !filters.unreadable.is_empty() {
        return decided(Verdict::Unknown, None, names(&filters.unreadable));
    }
    if let (Some(path), Some(normalization)) = (asked.path, filters.normalization) {
        request.set_path(path, normalization);
    }
    let principal = match &presents {
        Presents::Identity(principal) if shows_identity => Some(principal.as_str()),
        _ => None,
    };
    let chain = &filters.chain;
    let request = evaluator.arrived(number, asked.port, chain.protocol, principal, &request);
    let judgement = evaluator.judge().judge(chain, &request);
    let unknown = judgement.verdict == Verdict::Unknown;
    let unreadable = if unknown { names(&filters.unreadable_rules) } else { Vec::new() };
    decided(judgement.verdict, rule(chain, &judgement.decision), unreadable)
}

fn rule(chain: &Chain, decision: &Decision) -> Option<String> {
    let reference = match decision {
        Decision::Allow(rule) => (*rule)?,
        Decision::Deny(rule) | Decision::BadProvider(rule) | Decision::Asks(rule) => *rule,
        Decision::NoneAllows | Decision::BadToken | Decision::Undecided => return None,
    };
    let rule = chain.rules().find(|rule| rule.reference() == reference)?;
    Some(rule_name(&rule.id).0)
}
