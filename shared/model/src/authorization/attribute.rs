//! What a rule can read of a request.

use std::fmt;

/// One thing that a condition reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attribute {
    /// The peer's identity, `TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`; absent without mutual TLS.
    Principal,
    /// The connection's direct peer.
    SourceIp,
    /// Envoy's trusted client address: at a sidecar the last `X-Forwarded-For` entry, else the peer.
    RemoteIp,
    /// The pod's address.
    DestinationIp,
    /// The workload's port.
    DestinationPort,
    /// The server name of the TLS handshake; absent without TLS.
    Sni,
    /// The HTTP method.
    Method,
    /// `:path` after normalization, with its query; `paths` reads it without.
    Path,
    /// `:authority`, with the port if the client sent one.
    Host,
    /// A header, by its lower-case name. It may have several values.
    Header(Box<str>),
    /// `iss` of the validated token.
    Issuer,
    /// `sub` of the validated token.
    Subject,
    /// `aud` of the validated token; may have several values.
    Audience,
    /// `azp` of the validated token.
    Presenter,
    /// Another claim of the validated token, by its path; may have several values.
    Claim(Box<[Box<str>]>),
    /// Envoy's dynamic metadata (`experimental.envoy.filters...`): known to the proxy alone.
    Metadata(Box<str>),
}

impl Attribute {
    /// The attribute for `request.headers[NAME]`. Pseudo headers are the parts of the request that
    /// they stand for; Envoy keeps `host` as `:authority`.
    #[must_use]
    pub fn header(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            ":method" => Self::Method,
            ":path" => Self::Path,
            ":authority" | "host" => Self::Host,
            _ => Self::Header(name.into()),
        }
    }

    /// The attribute for `request.auth.claims[A][B]`. The registered claims are one with the
    /// attributes that have names of their own.
    #[must_use]
    pub fn claim(path: &[&str]) -> Self {
        match path {
            ["iss"] => Self::Issuer,
            ["sub"] => Self::Subject,
            ["aud"] => Self::Audience,
            ["azp"] => Self::Presenter,
            _ => Self::Claim(path.iter().map(|part| (*part).into()).collect()),
        }
    }

    /// Whether it is read from a validated token.
    #[must_use]
    pub fn is_token(&self) -> bool {
        matches!(self, Self::Issuer | Self::Subject | Self::Audience | Self::Presenter | Self::Claim(_))
    }

    /// Whether several values can be there at once, each compared by itself.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(
            self,
            Self::Header(_) | Self::Audience | Self::Presenter | Self::Claim(_) | Self::Metadata(_)
        )
    }
}

impl fmt::Display for Attribute {
    /// The flag of `can` that states it, so that a person knows what to add.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal => f.write_str("identity"),
            Self::SourceIp => f.write_str("source-ip"),
            Self::RemoteIp => f.write_str("remote-ip"),
            Self::DestinationIp => f.write_str("destination-ip"),
            Self::DestinationPort => f.write_str("port"),
            Self::Sni => f.write_str("sni"),
            Self::Method => f.write_str("method"),
            Self::Path => f.write_str("path"),
            Self::Host => f.write_str("host"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Issuer => f.write_str("issuer"),
            Self::Subject => f.write_str("subject"),
            Self::Audience => f.write_str("audience"),
            Self::Presenter => f.write_str("claim azp"),
            Self::Claim(path) => write!(f, "claim {}", path.join(".")),
            Self::Metadata(key) => write!(f, "metadata {key}"),
        }
    }
}
