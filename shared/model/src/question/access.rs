//! One caller, one port: what the rows of who-can and what-can have in common.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::authorization::chain::Decision;
use crate::authorization::compile::Protocol;
use crate::authorization::connection::{Presents, Way};
use crate::authorization::evaluator::{Cause, Evaluator, Outcome};
use crate::authorization::judge::Verdict;
use crate::authorization::request::{Fact, Request};
use crate::inbound::InboundPort;
use crate::protocol::PortProtocol;
use crate::world::Assumption;

use super::reason::{self, Because, NearestMiss, RestsOn};
use super::requests;

/// What can be sent from one caller to one port.
#[derive(Clone, Debug, Serialize)]
pub struct Access {
    /// The workload's port.
    pub port: u16,
    /// `http` or `tcp`: a port whose protocol is not declared has a row for each.
    pub protocol: &'static str,
    /// How the caller arrives: `mtls`, `plaintext`, `tls` or `never`.
    pub arrives: &'static str,
    /// In one word.
    pub verdict: Verdict,
    /// Which requests get through; empty where none does.
    pub requests: Vec<String>,
    /// One that gets through.
    pub witness: Option<Value>,
    /// What that rests on.
    #[serde(rename = "restsOn")]
    pub rests_on: Vec<RestsOn>,
    /// Why.
    pub because: Vec<Because>,
    /// What came closest, where nothing gets through.
    #[serde(rename = "nearestMiss", skip_serializing_if = "Option::is_none")]
    pub nearest_miss: Option<NearestMiss>,
    /// Why the verdict is `unknown`; said once for the whole answer.
    #[serde(skip)]
    pub doubts: Vec<Assumption>,
}

/// The kinds of traffic that a port can tell apart.
#[must_use]
pub fn protocols(port: &InboundPort) -> &'static [Protocol] {
    match port.protocol {
        PortProtocol::Http => &[Protocol::Http],
        PortProtocol::Tcp | PortProtocol::Udp => &[Protocol::Tcp],
        PortProtocol::Sniffed => &[Protocol::Http, Protocol::Tcp],
    }
}

/// Everything that a caller can send to a port of the World's `number`th workload.
pub fn access(
    evaluator: &mut Evaluator<'_>,
    number: usize,
    port: &InboundPort,
    way: &Way,
    speaks: Protocol,
) -> Access {
    let outcome = evaluator.outcome(number, port, way, speaks, &Request::anything());
    let world = evaluator.world();
    let mut because = Vec::new();
    let mut rests_on = Vec::new();
    if let Some(workload) = world.workloads.get(number) {
        because = reason::reasons(evaluator, workload, port.port, way, &outcome);
        if matches!(outcome.verdict, Verdict::Allow | Verdict::Conditional) {
            rests_on = reason::rests_on(&outcome, evaluator.mode(workload, port.port).mode);
        }
    }
    let (requests, nearest_miss) = details(evaluator, port, &outcome);
    Access {
        port: port.port,
        protocol: speaks.name(),
        arrives: arrives(way),
        verdict: outcome.verdict,
        requests,
        witness: outcome.witness.map(|witness| witness_json(&witness, speaks)),
        rests_on,
        because,
        nearest_miss,
        doubts: outcome.doubts,
    }
}

fn details(
    evaluator: &mut Evaluator<'_>,
    port: &InboundPort,
    outcome: &Outcome,
) -> (Vec<String>, Option<NearestMiss>) {
    let Cause::Policies(chain, decision) = &outcome.cause else {
        let open = matches!(outcome.cause, Cause::Bypass(_));
        return (if open { vec![format!("* :{}", port.port)] } else { Vec::new() }, None);
    };
    let request = Request {
        principal: Fact::or_absent(outcome.principal.clone()),
        destination_port: port.port,
        ..Request::anything()
    };
    if outcome.verdict == Verdict::Deny {
        let missed = matches!(decision, Decision::NoneAllows);
        let world = evaluator.world();
        let miss = missed.then(|| reason::nearest_miss(world, chain, &chain.view(&request))).flatten();
        return (Vec::new(), miss);
    }
    (requests::allowed(evaluator.judge(), chain, &request), None)
}

/// A witness as JSON: what a client has to send, without what does not matter.
#[must_use]
pub fn witness_json(request: &Request, protocol: Protocol) -> Value {
    let mut fields = serde_json::Map::new();
    let mut text = |name: &str, fact: &Fact<String>| {
        if let Fact::Known(value) = fact {
            fields.insert(name.to_owned(), json!(value));
        }
    };
    if protocol == Protocol::Http {
        text("method", &request.method);
        text("path", &request.path);
        text("host", &request.host);
    }
    text("sni", &request.sni);
    for (name, fact) in [("sourceIP", &request.source_ip), ("remoteIP", &request.remote_ip)] {
        if let Fact::Known(ip) = fact {
            fields.insert(name.to_owned(), json!(ip.to_string()));
        }
    }
    if !request.headers.is_empty() {
        let headers: BTreeMap<&String, Value> = request
            .headers
            .iter()
            .map(|(name, values)| match values.as_slice() {
                [one] => (name, json!(one)),
                many => (name, json!(many)),
            })
            .collect();
        fields.insert("headers".to_owned(), json!(headers));
    }
    if let Fact::Known(token) = &request.token {
        let mut jwt = serde_json::Map::new();
        for (name, fact) in [("iss", &token.issuer), ("sub", &token.subject), ("azp", &token.presenter)] {
            if let Fact::Known(value) = fact {
                jwt.insert(name.to_owned(), json!(value));
            }
        }
        if let Fact::Known(audiences) = &token.audiences {
            jwt.insert("aud".to_owned(), json!(audiences));
        }
        if !token.claims.is_empty() {
            jwt.insert("claims".to_owned(), json!(token.claims));
        }
        fields.insert("jwt".to_owned(), Value::Object(jwt));
    }
    Value::Object(fields)
}

/// How a caller arrives, as a word.
#[must_use]
pub fn arrives(way: &Way) -> &'static str {
    match way.presents {
        Presents::Identity(_) => "mtls",
        Presents::Plaintext => "plaintext",
        Presents::ForeignTls => "tls",
        Presents::Nothing => "never",
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Serialize for Assumption {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({ "code": self.code, "text": self.text }).serialize(serializer)
    }
}
