//! Files of policy tests: a list of cases, alone or under `cases`, in one or several documents.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;

use mesh_cli::Failure;
use mesh_model::authorization::compile::Protocol;
use mesh_model::authorization::request::{Fact, Request, Token};
use mesh_source::error::Error;
use mesh_source::manifests::{self, Document};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A case as written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What it is called in results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The caller.
    pub(crate) from: String,
    /// The service or workload.
    pub(crate) to: String,
    /// The workload's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    /// What the client speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<String>,
    /// The request.
    #[serde(default, skip_serializing_if = "Stated::is_empty")]
    pub(crate) request: Stated,
    /// The verdict that is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expect: Option<String>,
    /// The rule that decides, `NAMESPACE/NAME/INDEX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
}

/// A request as stated. What is not stated is absent, but addresses are unknown.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Stated {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, OneOrMany>,
    #[serde(default, rename = "sourceIP", skip_serializing_if = "Option::is_none")]
    source_ip: Option<IpAddr>,
    #[serde(default, rename = "remoteIP", skip_serializing_if = "Option::is_none")]
    remote_ip: Option<IpAddr>,
    #[serde(default, rename = "destinationIP", skip_serializing_if = "Option::is_none")]
    destination_ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sni: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jwt: Option<Jwt>,
}

/// A token's payload.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Jwt {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<OneOrMany>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    azp: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    claims: BTreeMap<String, Value>,
}

/// A value, or a list of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
struct OneOrMany(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let value = Value::deserialize(deserializer)?;
        let texts = match &value {
            Value::Array(items) => items.iter().map(text).collect(),
            one => text(one).map(|text| vec![text]),
        };
        texts.map(Self).ok_or_else(|| serde::de::Error::custom("expected a string or a list of strings"))
    }
}

impl Stated {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The path as sent.
    pub(crate) fn path(&self) -> Option<String> {
        self.path.clone()
    }

    /// What is stated, but for the path.
    pub(crate) fn request(&self) -> Request {
        let text = |text: &Option<String>| Fact::or_absent(text.clone());
        let headers =
            self.headers.iter().map(|(name, values)| (name.to_ascii_lowercase(), values.0.clone())).collect();
        Request {
            source_ip: Fact::or_unknown(self.source_ip),
            remote_ip: Fact::or_unknown(self.remote_ip),
            destination_ip: Fact::or_unknown(self.destination_ip),
            sni: Fact::or_absent(self.sni.as_ref().map(|sni| sni.to_ascii_lowercase())),
            method: text(&self.method),
            path: Fact::Absent,
            host: text(&self.host),
            headers,
            token: match &self.jwt {
                None => Fact::Absent,
                Some(jwt) => Fact::Known(Token {
                    issuer: text(&jwt.iss),
                    subject: text(&jwt.sub),
                    audiences: Fact::or_absent(jwt.aud.as_ref().map(|aud| aud.0.clone())),
                    presenter: text(&jwt.azp),
                    claims: jwt.claims.clone(),
                    others_unknown: false,
                }),
            },
            ..Request::default()
        }
    }

    /// A request from a witness, as `record` writes it.
    pub(crate) fn from_witness(witness: &Value) -> Option<Self> {
        serde_json::from_value(witness.clone()).ok()
    }
}

/// A case with the place that it was read from.
pub(crate) struct Placed {
    pub(crate) case: Case,
    /// `file:line`.
    pub(crate) at: String,
    /// The file.
    pub(crate) file: String,
}

const EXPECTED: [&str; 4] = ["allow", "deny", "conditional", "unknown"];

/// Reads the cases of a file; `-` is standard input.
pub(crate) fn read(path: &str) -> Result<Vec<Placed>, Failure> {
    let text =
        if path == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let text = text.map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Unreadable { path: path.to_owned(), source },
    })?;
    let mut cases = Vec::new();
    for mut document in manifests::documents(path, &text)? {
        let (list, pointer) = match document.value.take() {
            Value::Array(items) => (items, ""),
            Value::Object(mut map) => match map.get_mut("cases").map(Value::take) {
                Some(Value::Array(items)) => (items, "/cases"),
                _ if map.contains_key("from") => {
                    cases.push(placed(path, &document, "", Value::Object(map))?);
                    continue;
                }
                _ => return Err(no_cases(path, &document)),
            },
            Value::Null => continue,
            _ => return Err(no_cases(path, &document)),
        };
        for (index, item) in list.into_iter().enumerate() {
            cases.push(placed(path, &document, &format!("{pointer}/{index}"), item)?);
        }
    }
    if cases.is_empty() {
        return Err(Failure::error(format!("{path} holds no case")).hint(SHAPE));
    }
    Ok(cases)
}

const SHAPE: &str =
    "write a list under `cases:`, each with `from`, `to`, `request` and `expect` (see docs/authz.md)";

fn no_cases(path: &str, document: &Document) -> Failure {
    Failure::error(format!("{path}:{} is not a list of cases", document.line)).hint(SHAPE)
}

fn placed(path: &str, document: &Document, pointer: &str, value: Value) -> Result<Placed, Failure> {
    let at = format!("{path}:{}", document.lines.line_of(pointer).unwrap_or(document.line));
    let wrong = |reason: String| Failure::error(format!("{at}: not a case: {reason}")).hint(SHAPE);
    let case: Case = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
    if let Some(expect) = &case.expect
        && !EXPECTED.contains(&expect.as_str())
    {
        return Err(wrong(format!("`expect` is {expect}; known are {}", EXPECTED.join(", "))));
    }
    if let Some(protocol) = &case.protocol {
        parse_protocol(protocol).map_err(wrong)?;
    }
    Ok(Placed { case, at, file: path.to_owned() })
}

/// The protocol of a case.
pub(crate) fn parse_protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "http" => Ok(Protocol::Http),
        "tcp" => Ok(Protocol::Tcp),
        other => Err(format!("`protocol` is {other}; known are http and tcp")),
    }
}
