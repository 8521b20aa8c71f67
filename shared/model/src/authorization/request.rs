//! A request as far as it is known.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::attribute::Attribute;
use crate::path::Normalization;

/// Something that may be known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact<T> {
    /// Not known: it may be anything, also absent where that is possible.
    #[default]
    Unknown,
    /// Known not to be there.
    Absent,
    /// Known.
    Known(T),
}

impl<T> Fact<T> {
    /// A fact from something optional, absent where there is nothing.
    pub fn or_absent(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Self::Known)
    }

    /// A fact from something optional, unknown where there is nothing.
    pub fn or_unknown(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Self::Known)
    }

    /// The value, if known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown | Self::Absent => None,
        }
    }
}

impl Fact<&str> {
    /// The same with a value of its own.
    pub(crate) fn owned(self) -> Fact<String> {
        match self {
            Self::Unknown => Fact::Unknown,
            Self::Absent => Fact::Absent,
            Self::Known(value) => Fact::Known(value.to_owned()),
        }
    }
}

/// A JSON Web Token that a request carries in a place where the proxy looks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// `iss`.
    pub issuer: Fact<String>,
    /// `sub`.
    pub subject: Fact<String>,
    /// `aud`, a string or a list.
    pub audiences: Fact<Vec<String>>,
    /// `azp`.
    pub presenter: Fact<String>,
    /// Other claims, as in the token's payload.
    pub claims: BTreeMap<String, Value>,
    /// Whether claims that are not in `claims` may be there.
    pub others_unknown: bool,
}

/// A request, as far as it is known, as the target's proxy sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The peer's identity without `spiffe://`.
    pub principal: Fact<String>,
    /// The direct peer.
    pub source_ip: Fact<IpAddr>,
    /// The trusted client address.
    pub remote_ip: Fact<IpAddr>,
    /// The pod's address.
    pub destination_ip: Fact<IpAddr>,
    /// The workload's port.
    pub destination_port: u16,
    /// The server name of the handshake.
    pub sni: Fact<String>,
    /// The method.
    pub method: Fact<String>,
    /// The path after normalization, with its query (see [`Request::set_path`]).
    pub path: Fact<String>,
    /// `:authority`.
    pub host: Fact<String>,
    /// Headers by lower-case name, each with all its values.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Whether headers that are not in `headers` may be there.
    pub other_headers_unknown: bool,
    /// The token.
    pub token: Fact<Token>,
}

/// What a [`Request`] has for an [`Attribute`].
#[derive(Debug)]
pub(crate) enum Values<'a> {
    Unknown,
    Absent,
    One(&'a str),
    Many(Cow<'a, [String]>),
    Address(IpAddr),
    Port(u16),
}

impl Request {
    /// A request of which nothing is known.
    #[must_use]
    pub fn anything() -> Self {
        Self { other_headers_unknown: true, ..Self::default() }
    }

    /// Puts a path as the client sent it, normalized as the proxy will.
    pub fn set_path(&mut self, raw: &str, normalization: Normalization) {
        self.path = normalization.apply(raw).map_or(Fact::Absent, |path| Fact::Known(path.into_owned()));
    }

    /// All that can be known of a connection that carries no HTTP.
    #[must_use]
    pub fn without_http(&self) -> Self {
        Self {
            principal: self.principal.clone(),
            source_ip: self.source_ip.clone(),
            remote_ip: self.source_ip.clone(),
            destination_ip: self.destination_ip.clone(),
            destination_port: self.destination_port,
            sni: self.sni.clone(),
            method: Fact::Absent,
            path: Fact::Absent,
            host: Fact::Absent,
            headers: BTreeMap::new(),
            other_headers_unknown: false,
            token: Fact::Absent,
        }
    }

    pub(crate) fn values(&self, attribute: &Attribute) -> Values<'_> {
        match attribute {
            Attribute::Principal => text(&self.principal),
            Attribute::SourceIp => address(&self.source_ip),
            Attribute::RemoteIp => address(&self.remote_ip),
            Attribute::DestinationIp => address(&self.destination_ip),
            Attribute::DestinationPort => Values::Port(self.destination_port),
            // Without a name Envoy compares the empty one (tests/envoy/MEASURED.md).
            Attribute::Sni => match &self.sni {
                Fact::Absent => Values::One(""),
                sni => text(sni),
            },
            Attribute::Method => text(&self.method),
            Attribute::Path => text(&self.path),
            Attribute::Host => text(&self.host),
            Attribute::Header(name) => match self.headers.get(&**name) {
                _ if is_never_visible(name) => Values::Absent,
                // The proxy writes it for callers with a certificate, and for no others.
                _ if &**name == CERTIFICATE && self.principal == Fact::Absent => Values::Absent,
                None if &**name == CERTIFICATE => Values::Unknown,
                None if ALWAYS_PRESENT.contains(&&**name) && self.method != Fact::Absent => Values::Unknown,
                Some(values) => Values::Many(Cow::Borrowed(values)),
                None if self.other_headers_unknown => Values::Unknown,
                None => Values::Absent,
            },
            Attribute::Metadata(_) => Values::Unknown,
            Attribute::Issuer
            | Attribute::Subject
            | Attribute::Audience
            | Attribute::Presenter
            | Attribute::Claim(_) => match &self.token {
                Fact::Unknown => Values::Unknown,
                Fact::Absent => Values::Absent,
                Fact::Known(token) => token.values(attribute),
            },
        }
    }
}

impl Token {
    /// Splits the strings of these claims at spaces (`jwt_authn`'s `normalize_payload_in_metadata`).
    pub(crate) fn split_claims(&mut self, names: &[String]) {
        for name in names {
            if let Some(Value::String(text)) = self.claims.get(name) {
                let parts: Vec<&str> = text.split(' ').collect();
                self.claims.insert(name.clone(), parts.into());
            }
        }
    }

    fn values(&self, attribute: &Attribute) -> Values<'_> {
        match attribute {
            Attribute::Issuer => text(&self.issuer),
            Attribute::Subject => text(&self.subject),
            Attribute::Presenter => text(&self.presenter),
            Attribute::Audience => match &self.audiences {
                Fact::Unknown => Values::Unknown,
                Fact::Absent => Values::Absent,
                Fact::Known(values) => Values::Many(Cow::Borrowed(values)),
            },
            Attribute::Claim(path) => self.claim(path),
            _ => Values::Absent,
        }
    }

    /// The strings at a claim's path: Envoy's matchers see strings and lists of strings.
    fn claim(&self, path: &[Box<str>]) -> Values<'_> {
        let Some((first, rest)) = path.split_first() else { return Values::Absent };
        let Some(mut value) = self.claims.get(&**first) else {
            return if self.others_unknown { Values::Unknown } else { Values::Absent };
        };
        for part in rest {
            match value.get(&**part) {
                Some(inner) => value = inner,
                None => return Values::Absent,
            }
        }
        let delimited = rest.is_empty() && matches!(&**first, "scope" | "permission");
        match value {
            Value::String(text) if delimited => Values::Many(Cow::Owned(
                text.split(' ').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            )),
            Value::String(text) => Values::One(text),
            Value::Array(items) => Values::Many(Cow::Owned(
                items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
            )),
            _ => Values::Absent,
        }
    }
}

/// The header that the sidecar writes for callers with a certificate.
pub(crate) const CERTIFICATE: &str = "x-forwarded-client-cert";

/// Headers that are there, whatever the client sends (tests/envoy/MEASURED.md).
pub(crate) const ALWAYS_PRESENT: [&str; 3] = ["x-request-id", "x-forwarded-proto", ":scheme"];

/// Headers that the sidecar takes away before any policy reads them (tests/envoy/MEASURED.md).
/// `connection` stays in upgrades, and Envoy's own headers where it takes the client for internal.
fn is_never_visible(name: &str) -> bool {
    matches!(name, "keep-alive" | "proxy-connection" | "transfer-encoding")
}

fn text(fact: &Fact<String>) -> Values<'_> {
    match fact {
        Fact::Unknown => Values::Unknown,
        Fact::Absent => Values::Absent,
        Fact::Known(value) => Values::One(value),
    }
}

fn address(fact: &Fact<IpAddr>) -> Values<'static> {
    match fact {
        Fact::Unknown => Values::Unknown,
        Fact::Absent => Values::Absent,
        Fact::Known(value) => Values::Address(*value),
    }
}
