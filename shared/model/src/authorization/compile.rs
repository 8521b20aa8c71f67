//! From policies as written to rules as the proxy has them.
//!
//! Rules: `pilot/pkg/security/authz/model/model.go` (`New`, `Generate`, `checkError`) and
//! `generator.go`. On a TCP chain, or with a value that cannot be read, an ALLOW rule is dropped
//! whole, while DENY, AUDIT and CUSTOM rules lose that value and so match more.

use std::net::IpAddr;

use ipnet::IpNet;

use super::attribute::Attribute;
use super::condition::{Condition, Matcher};
use super::request::Request;
use crate::pattern::Pattern;
use crate::policy::{Action, AuthorizationPolicy, Rule, Values};
use crate::trust_domain::TrustDomains;
use crate::version::Profile;

/// Which of the two kinds of filter chain a connection takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP: all attributes.
    Http,
    /// TCP: the connection alone.
    Tcp,
}

impl Protocol {
    /// `http` or `tcp`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

/// A value that could not be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// JSON pointer of the field in the policy.
    pub pointer: String,
    /// Why.
    pub reason: String,
}

/// What became of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is there as written.
    Kept,
    /// It is not there: it can never match.
    Dropped(Unusable),
    /// It is there without these values and matches more than is written.
    Widened(Vec<Unusable>),
}

/// A rule as the proxy has it: any of `from` and any of `to`, each a list that must hold whole.
#[derive(Clone, Debug)]
pub struct CompiledRule {
    /// The index of the policy in the World's list.
    pub policy: usize,
    /// The index of the rule in its policy.
    pub index: usize,
    /// The rule's id in the proxy; rules are tried in the order of their ids.
    pub id: String,
    /// Principals in Envoy's words.
    pub from: Vec<Vec<Condition>>,
    /// Permissions in Envoy's words.
    pub to: Vec<Vec<Condition>>,
    /// The provider of a CUSTOM rule.
    pub provider: Option<String>,
}

impl CompiledRule {
    /// Whether the rule matches; `None` where that depends on what is not known of the request.
    #[must_use]
    pub fn matches(&self, request: &Request) -> Option<bool> {
        // Most rules are told apart by who calls.
        match any_holds(&self.from, request) {
            Some(false) => Some(false),
            from => match (from, any_holds(&self.to, request)) {
                (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
        }
    }
}

/// Whether one of the lists holds whole.
fn any_holds(lists: &[Vec<Condition>], request: &Request) -> Option<bool> {
    let mut undecided = false;
    for conditions in lists {
        match all_hold(conditions, request) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => undecided = true,
        }
    }
    if undecided { None } else { Some(false) }
}

fn all_hold(conditions: &[Condition], request: &Request) -> Option<bool> {
    let mut undecided = false;
    for condition in conditions {
        match condition.holds(request) {
            Some(false) => return Some(false),
            Some(true) => {}
            None => undecided = true,
        }
    }
    if undecided { None } else { Some(true) }
}

/// Compiles rules for one kind of chain.
#[derive(Clone, Copy, Debug)]
pub struct Compiler<'a> {
    /// The mesh's trust domains.
    pub trust_domains: &'a TrustDomains,
    /// The version's reading.
    pub profile: &'a Profile,
    /// The kind of chain.
    pub protocol: Protocol,
}

/// Why compiling a rule stopped: it is not in the proxy.
struct Dropped(Unusable);

impl Compiler<'_> {
    /// Compiles the rule of `policy` (the World's `number`th) with an index. The rule is `None`
    /// where the proxy does not have it.
    #[must_use]
    pub fn rule(
        &self,
        number: usize,
        policy: &AuthorizationPolicy,
        index: usize,
    ) -> (Option<CompiledRule>, Fate) {
        let Some(Some(rule)) = policy.rules.get(index) else {
            let pointer = format!("/spec/rules/{index}");
            return (None, Fate::Dropped(Unusable { pointer, reason: "the rule is null".to_owned() }));
        };
        let sources = rule.from.len().max(1);
        let mut rule_compiler = RuleCompiler { compiler: self, policy, sources, widened: Vec::new() };
        match rule_compiler.compile(rule) {
            Err(Dropped(unusable)) => (None, Fate::Dropped(unusable)),
            Ok((from, to)) => {
                let provider = match &policy.action {
                    Action::Custom { provider } => Some(provider.clone()),
                    _ => None,
                };
                let id = policy.rule_id(index);
                let fate = if rule_compiler.widened.is_empty() {
                    Fate::Kept
                } else {
                    Fate::Widened(rule_compiler.widened)
                };
                (Some(CompiledRule { policy: number, index, id, from, to, provider }), fate)
            }
        }
    }
}

struct RuleCompiler<'a> {
    compiler: &'a Compiler<'a>,
    policy: &'a AuthorizationPolicy,
    /// How many sources the rule has, at least one.
    sources: usize,
    widened: Vec<Unusable>,
}

type Lists = Vec<Vec<Condition>>;

impl RuleCompiler<'_> {
    fn compile(&mut self, rule: &Rule) -> Result<(Lists, Lists), Dropped> {
        // An unknown key skips the rule for every action, also DENY (`New` in model.go).
        for when in &rule.when {
            if self.attribute(&when.field).is_none() {
                return Err(Dropped(Unusable {
                    pointer: when.pointer.trim_end_matches("/values").to_owned(),
                    reason: format!("unknown key `{}`", when.field),
                }));
            }
        }
        let (permissions, principals): (Vec<&Values>, Vec<&Values>) =
            rule.when.iter().partition(|when| is_permission(&when.field));
        Ok((self.lists(&rule.from, &principals)?, self.lists(&rule.to, &permissions)?))
    }

    fn lists(&mut self, parts: &[Vec<Values>], when: &[&Values]) -> Result<Lists, Dropped> {
        let none = [Vec::new()];
        let parts = if parts.is_empty() { &none[..] } else { parts };
        let mut lists = Vec::new();
        for part in parts {
            let mut conditions = Vec::new();
            for values in part.iter().chain(when.iter().copied()) {
                self.condition(values, &mut conditions)?;
            }
            lists.push(conditions);
        }
        Ok(lists)
    }

    fn condition(&mut self, values: &Values, conditions: &mut Vec<Condition>) -> Result<(), Dropped> {
        let profile = self.compiler.profile;
        match values.field.as_str() {
            // Fields that this version does not know are dropped before anybody reads them.
            "serviceAccounts" if !profile.service_accounts => return Ok(()),
            "trustDomains" if !profile.trust_domains => return Ok(()),
            _ => {}
        }
        for (list, pointer, negated) in
            [(&values.values, &values.pointer, false), (&values.not_values, &values.not_pointer, true)]
        {
            let matchers = self.matchers(&values.field, list, pointer)?;
            let Some(attribute) = self.attribute(&values.field) else { continue };
            // JWTs are read only after CUSTOM: there, no token has been validated yet.
            let blind = matches!(self.policy.action, Action::Custom { .. }) && attribute.is_token();
            if matchers.is_empty() || (blind && negated) {
                continue;
            }
            let matchers = if blind { Box::default() } else { matchers.into() };
            conditions.push(Condition { attribute, matchers, negated, pointer: pointer.as_str().into() });
        }
        Ok(())
    }

    fn matchers(&mut self, field: &str, values: &[String], pointer: &str) -> Result<Vec<Matcher>, Dropped> {
        let mut matchers = Vec::new();
        for value in values {
            match self.value(field, value) {
                Ok(found) => matchers.extend(found),
                Err(reason) => {
                    let unusable = Unusable { pointer: pointer.to_owned(), reason };
                    if self.policy.action == Action::Allow {
                        return Err(Dropped(unusable));
                    }
                    if !self.widened.contains(&unusable) {
                        self.widened.push(unusable);
                    }
                }
            }
        }
        Ok(matchers)
    }

    fn value(&self, field: &str, value: &str) -> Result<Vec<Matcher>, String> {
        let Compiler { trust_domains, profile, protocol } = *self.compiler;
        let one = |matcher| Ok(vec![matcher]);
        if protocol == Protocol::Tcp && is_http_only(field) {
            return Err(format!("`{field}` exists for HTTP only"));
        }
        match field {
            "principals" | "source.principal" => {
                // What all sources share is expanded once for each of them, so that what a suffix left of
                // the mesh's domains is expanded again (`copy` and `MigrateTrustDomain` in model.go).
                let times = if field == "principals" { 1 } else { self.sources.min(2) };
                let expand = |values: Vec<String>| -> Vec<String> {
                    values.iter().flat_map(|value| trust_domains.expand_principal(value)).collect()
                };
                let values = (0..times).fold(vec![value.to_owned()], |values, _| expand(values));
                let text = |value: &String| Matcher::Text(Pattern::principal(value, profile));
                Ok(values.iter().map(text).collect())
            }
            "namespaces" | "source.namespace" => one(Matcher::Text(Pattern::namespace(value, profile))),
            "serviceAccounts" | "source.serviceAccount" => {
                let namespace = &self.policy.object.namespace;
                let patterns = Pattern::service_account(value, namespace, profile);
                Ok(patterns.into_iter().map(Matcher::Text).collect())
            }
            "trustDomains" | "source.trustDomain" => Ok(trust_domains
                .expand(value)
                .iter()
                .map(|value| Matcher::Text(Pattern::trust_domain(value)))
                .collect()),
            "requestPrincipals" | "request.auth.principal" => one(token_principal(value, profile)),
            "ipBlocks" | "source.ip" | "remoteIpBlocks" | "remote.ip" | "destination.ip" => {
                parse_block(value).map(|block| vec![Matcher::Block(block)])
            }
            "ports" | "destination.port" => parse_port(value).map(|port| vec![Matcher::Port(port)]),
            "paths" => one(Matcher::Path(Pattern::path(value, profile))),
            "hosts" => one(Matcher::Text(Pattern::host(value))),
            "methods" => one(Matcher::Text(Pattern::header(value))),
            _ if field.starts_with("request.headers") => {
                in_brackets(field.strip_prefix("request.headers").unwrap_or_default())?;
                one(Matcher::Text(Pattern::header(value)))
            }
            _ if field.starts_with("request.auth.claims") => {
                claim_path(field.strip_prefix("request.auth.claims").unwrap_or_default())?;
                one(Matcher::Text(Pattern::text(value)))
            }
            _ if field.starts_with(METADATA) => {
                if !field.contains('[') {
                    return Err(format!("`{field}` has no [KEY]"));
                }
                let value = match value.strip_prefix('[').and_then(|v| v.strip_suffix(']')) {
                    Some(member) => member,
                    None => value,
                };
                one(Matcher::Text(Pattern::text(value)))
            }
            _ => one(Matcher::Text(Pattern::text(value))),
        }
    }

    /// The attribute of a field or `when` key; `None` for keys that istiod does not know.
    fn attribute(&self, field: &str) -> Option<Attribute> {
        let profile = self.compiler.profile;
        Some(match field {
            "principals" | "source.principal" | "namespaces" | "source.namespace" | "serviceAccounts"
            | "trustDomains" => Attribute::Principal,
            "source.serviceAccount" if profile.service_accounts => Attribute::Principal,
            "source.trustDomain" if profile.trust_domains => Attribute::Principal,
            // Compared as a pair; the subject stands for both.
            "requestPrincipals" | "request.auth.principal" => Attribute::Subject,
            "request.auth.audiences" => Attribute::Audience,
            "request.auth.presenter" => Attribute::Presenter,
            "ipBlocks" | "source.ip" => Attribute::SourceIp,
            // Without headers the client is the peer.
            "remoteIpBlocks" | "remote.ip" if self.compiler.protocol == Protocol::Tcp => Attribute::SourceIp,
            "remoteIpBlocks" | "remote.ip" => Attribute::RemoteIp,
            "destination.ip" => Attribute::DestinationIp,
            "ports" | "destination.port" => Attribute::DestinationPort,
            "connection.sni" => Attribute::Sni,
            "methods" => Attribute::Method,
            "paths" => Attribute::Path,
            "hosts" => Attribute::Host,
            _ => {
                if let Some(name) = field.strip_prefix("request.headers") {
                    Attribute::header(in_brackets(name).unwrap_or_default())
                } else if let Some(path) = field.strip_prefix("request.auth.claims") {
                    Attribute::claim(&claim_path(path).unwrap_or_default())
                } else if let Some(key) = field.strip_prefix(METADATA) {
                    Attribute::Metadata(key.into())
                } else {
                    return None;
                }
            }
        })
    }
}

const METADATA: &str = "experimental.envoy.filters.";

/// Whether a `when` key belongs to Envoy's permissions (the rest to its principals).
fn is_permission(key: &str) -> bool {
    matches!(key, "destination.ip" | "destination.port" | "connection.sni") || key.starts_with(METADATA)
}

/// Fields that a TCP chain does not have.
#[must_use]
pub fn is_http_only(field: &str) -> bool {
    matches!(field, "hosts" | "methods" | "paths" | "requestPrincipals")
        || field.starts_with("request.headers")
        || field.starts_with("request.auth.")
}

/// `requestPrincipals`: split at the last slash into issuer and subject
/// (`requestPrincipalGenerator`).
fn token_principal(value: &str, profile: &Profile) -> Matcher {
    let split =
        if profile.request_principal_last_slash { value.rsplit_once('/') } else { value.split_once('/') };
    let any = || Pattern::NonEmpty;
    let suffix = |text: &str| Pattern::Suffix(text.strip_prefix('*').unwrap_or(text).into());
    let prefix = |text: &str| Pattern::Prefix(text.strip_suffix('*').unwrap_or(text).into());
    let exact = |text: &str| Pattern::Exact(text.into());
    let (issuer, subject) = match (value, split) {
        ("*", _) => (any(), any()),
        (_, Some(("*", subject))) => (any(), exact(subject)),
        (_, Some((issuer, subject))) if value.starts_with('*') => (suffix(issuer), exact(subject)),
        (_, None) if value.starts_with('*') => (any(), suffix(value)),
        (_, Some((issuer, "*"))) => (exact(issuer), any()),
        (_, Some((issuer, subject))) if value.ends_with('*') => (exact(issuer), prefix(subject)),
        (_, None) if value.ends_with('*') => (prefix(value), any()),
        (_, Some((issuer, subject))) => (exact(issuer), exact(subject)),
        (_, None) => (exact(value), exact("")),
    };
    Matcher::TokenPrincipal { issuer, subject }
}

/// A CIDR block or a single address, as Go's `netip` reads them (`AddrStrToCidrRange`): a block's
/// length has no leading zero, and a single IPv6 address may name a zone.
fn parse_block(value: &str) -> Result<IpNet, String> {
    let block = match value.split_once('/') {
        Some((_, length)) if length.len() > 1 && length.starts_with('0') => None,
        Some(_) => value.parse::<IpNet>().ok(),
        None => {
            let address = match value.split_once('%') {
                Some((address, zone)) if address.contains(':') && !zone.is_empty() => address,
                _ => value,
            };
            address.parse::<IpAddr>().ok().map(IpNet::from)
        }
    };
    block.ok_or_else(|| format!("`{value}` is neither an address nor a CIDR block"))
}

/// A decimal port (`convertToPort`).
fn parse_port(value: &str) -> Result<u16, String> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let port = if digits { value.trim_start_matches('0').parse::<u16>().ok() } else { None };
    let zero = digits && value.bytes().all(|b| b == b'0');
    port.or(zero.then_some(0)).ok_or_else(|| format!("`{value}` is not a port"))
}

fn in_brackets(text: &str) -> Result<&str, String> {
    text.strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .ok_or_else(|| format!("expected [NAME] instead of `{text}`"))
}

/// `[a][b]` as a path; anything else in one pair of brackets is one name
/// (`extractNameInNestedBrackets`).
fn claim_path(text: &str) -> Result<Vec<&str>, String> {
    let mut path = Vec::new();
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix('[') {
        match inner.find(['[', ']']) {
            Some(end) if inner[end..].starts_with(']') => {
                path.push(&inner[..end]);
                rest = &inner[end + 1..];
            }
            _ => break,
        }
    }
    if rest.is_empty() { Ok(path) } else { in_brackets(text).map(|name| vec![name]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_as_go_reads_them() {
        assert!(parse_block("10.0.0.1").is_ok());
        assert!(parse_block("10.0.0.77/24").is_ok());
        assert!(parse_block("fe80::1%eth0").is_ok());
        assert!(parse_block("127.0.0.1/08").is_err());
        assert!(parse_block("127.0.0.1/33").is_err());
        assert!(parse_block("10.0.0.1%eth0").is_err());
        assert!(parse_block("010.0.0.1").is_err());
    }
}
