//! Whether a line is a denial, and whose.

use std::fmt;

use super::{Direction, Entry, Field};

/// What a filter of role based access control says that it matched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matched {
    /// A rule of an AuthorizationPolicy.
    Rule {
        /// The policy's namespace.
        namespace: String,
        /// The policy's name.
        name: String,
        /// The index of the rule.
        index: usize,
        /// Whether it is a rule of a CUSTOM policy.
        custom: bool,
    },
    /// No rule of any ALLOW policy.
    Nothing,
    /// Something that istiod did not name so, as an EnvoyFilter could have put it there.
    Other(String),
}

impl Matched {
    /// Reads what Envoy names: `none`, or what istiod calls its rules, `ns[NS]-policy[NAME]-rule[INDEX]`
    /// with `istio-ext-authz-...` before it and a reason behind it for CUSTOM (`policyName` in
    /// `pilot/pkg/security/authz/builder/builder.go`).
    #[must_use]
    pub fn of(id: &str) -> Self {
        if id == "none" {
            return Self::Nothing;
        }
        let custom = id.starts_with("istio-ext-authz-");
        let rule = || {
            let start = if custom { id.find("-ns[")? + 1 } else { 0 };
            let (namespace, rest) = id.get(start..)?.strip_prefix("ns[")?.split_once("]-policy[")?;
            let (name, rest) = rest.split_once("]-rule[")?;
            let (index, behind) = rest.split_once(']')?;
            if !behind.is_empty() && !behind.starts_with("-deny-due-to-bad-CUSTOM-action") {
                return None;
            }
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            Some(Self::Rule { namespace, name, index: index.parse().ok()?, custom })
        };
        rule().unwrap_or_else(|| Self::Other(id.to_owned()))
    }
}

impl fmt::Display for Matched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { namespace, name, index, .. } => write!(f, "{namespace}/{name}[{index}]"),
            Self::Nothing => f.write_str("none"),
            Self::Other(id) => f.write_str(id),
        }
    }
}

/// Why a request or a connection came to nothing, as far as its line says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The proxy's rbac filter refused: by a rule, or because no ALLOW rule matched.
    Policy {
        /// What it matched.
        matched: Matched,
        /// Whether it was the filter for TCP.
        tcp: bool,
    },
    /// Rules of a dry run would have refused.
    DryRun(Matched),
    /// The token was refused; why, in the filter's words.
    Token(String),
    /// An external authorizer refused, or could not be asked.
    Authorizer {
        /// Whether it could not be asked.
        failed: bool,
    },
    /// No filter chain of the port took the connection.
    NoFilterChain,
    /// The application beside the proxy said 401 or 403.
    Application,
    /// Whoever the proxy sent the request to said 401 or 403: an application, or the proxy before it.
    OtherSide,
    /// Whoever the proxy connected to cut the connection, or failed the handshake.
    Cut,
    /// The proxy itself said 401 or 403 for another reason; its words, where the format has them.
    Proxy(Option<String>),
}

impl Cause {
    /// The cause of a line that is a denial; `None` for all others.
    #[must_use]
    pub fn of(entry: &Entry<'_>) -> Option<Self> {
        // The status does not tell: a refused gRPC call has 200, a refused connection none.
        for (field, tcp) in [(Field::Details, false), (Field::Termination, true)] {
            if let Some(cause) = entry.text(field).and_then(|details| of_details(details, tcp)) {
                return Some(cause);
            }
        }
        let has_flag = |wanted| {
            entry.text(Field::Flags).is_some_and(|flags| flags.split(',').any(|flag| flag == wanted))
        };
        let details = entry.text(Field::Details);
        if has_flag("UAEX") {
            return Some(Self::Authorizer { failed: false });
        }
        // `NR` alone is also what a request without a route gets.
        if details == Some("filter_chain_not_found") {
            return Some(Self::NoFilterChain);
        }
        let outbound = entry.direction() == Direction::Outbound;
        match (entry.code(), details) {
            (Some(401 | 403), Some("via_upstream")) if entry.direction() == Direction::Inbound => {
                Some(Self::Application)
            }
            (Some(401 | 403), Some("via_upstream")) => Some(Self::OtherSide),
            (Some(401 | 403), details) => Some(Self::Proxy(details.map(str::to_owned))),
            _ if outbound && (is_cut(details) && has_flag("UC") || fails_handshake(entry)) => Some(Self::Cut),
            _ => None,
        }
    }

    /// A stable word for it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Policy { matched: Matched::Rule { .. }, .. } => "rule",
            Self::Policy { matched: Matched::Nothing, .. } => "no-rule",
            Self::Policy { matched: Matched::Other(_), .. } => "other-rule",
            Self::DryRun(_) => "dry-run",
            Self::Token(_) => "token",
            Self::Authorizer { .. } => "authorizer",
            Self::NoFilterChain => "no-filter-chain",
            Self::Application => "application",
            Self::OtherSide => "other-side",
            Self::Cut => "cut",
            Self::Proxy(_) => "proxy",
        }
    }
}

/// The cause that the words of a filter tell. Envoy writes them with `_` for spaces.
fn of_details(details: &str, tcp: bool) -> Option<Cause> {
    if let Some(id) = details.strip_prefix("rbac_access_denied_matched_policy[") {
        return Some(Cause::Policy { matched: Matched::of(id.strip_suffix(']').unwrap_or(id)), tcp });
    }
    if let Some(reason) = details.strip_prefix("jwt_authn_access_denied{") {
        return Some(Cause::Token(reason.strip_suffix('}').unwrap_or(reason).replace('_', " ")));
    }
    match details {
        "ext_authz_denied" => Some(Cause::Authorizer { failed: false }),
        "ext_authz_error" => Some(Cause::Authorizer { failed: true }),
        _ => None,
    }
}

/// The connection ended before there was an answer.
fn is_cut(details: Option<&str>) -> bool {
    details.is_some_and(|details| {
        details.starts_with("upstream_reset_before_response_started{connection_termination")
    })
}

fn fails_handshake(entry: &Entry<'_>) -> bool {
    entry.text(Field::Failure).is_some_and(|failure| failure.starts_with("TLS"))
}
