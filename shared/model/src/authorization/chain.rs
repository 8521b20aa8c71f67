//! The filters that one connection meets, in order, and their decision on a request.
//!
//! Order (`listener_builder.go`): CUSTOM, JWT, AUDIT, DENY, ALLOW on an HTTP chain; CUSTOM, AUDIT, DENY,
//! ALLOW on a TCP chain.

use std::collections::BTreeMap;

use super::compile::{CompiledRule, Compiler, Fate, Protocol};
use super::condition::Condition;
use super::request::{Fact, Request};
use crate::policy::{Action, AuthorizationPolicy};
use crate::request_authentication::JwtRule;

/// What a CUSTOM provider does on this chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// It is asked; its answer cannot be known here.
    Asked,
    /// It is an HTTP authorizer on a TCP chain: its policies have no effect.
    Ignored,
    /// It is not defined in the mesh configuration, or there are several: what matches is refused.
    Refuses,
}

/// A rule by policy and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRef {
    /// The index of the policy in the World's list.
    pub policy: usize,
    /// The index of the rule in its policy.
    pub rule: usize,
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let through, by an ALLOW rule or because no ALLOW policy is there.
    Allow(Option<RuleRef>),
    /// Refused by a DENY rule.
    Deny(RuleRef),
    /// Refused because no ALLOW rule matched.
    NoneAllows,
    /// Refused because of a CUSTOM policy whose provider cannot be asked.
    BadProvider(RuleRef),
    /// 401: the token is not one that the proxy accepts.
    BadToken,
    /// A CUSTOM provider decides; all else would let it through.
    Asks(RuleRef),
    /// It depends on what is not known of the request.
    Undecided,
}

/// The filters of one chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The kind.
    pub protocol: Protocol,
    /// CUSTOM rules, and what their providers do.
    pub custom: Vec<CompiledRule>,
    /// What each provider does here.
    pub providers: BTreeMap<String, Provider>,
    /// DENY rules in the order of their ids.
    pub deny: Vec<CompiledRule>,
    /// ALLOW rules in the order of their ids; `None` where no enforced ALLOW policy is there.
    pub allow: Option<Vec<CompiledRule>>,
    /// AUDIT rules and the rules of dry-run policies: they decide nothing.
    pub silent: Vec<CompiledRule>,
    /// The tokens that are accepted (HTTP only); none: tokens are not looked at.
    pub tokens: Vec<JwtRule>,
    /// Whether the values of a repeated header are one value, with commas between them.
    pub joins_headers: bool,
    /// What became of each rule, by policy and index.
    pub fates: Vec<(RuleRef, Fate)>,
}

impl Chain {
    /// A chain without any filter.
    #[must_use]
    pub fn empty(protocol: Protocol) -> Self {
        Self {
            protocol,
            custom: Vec::new(),
            providers: BTreeMap::new(),
            deny: Vec::new(),
            allow: None,
            silent: Vec::new(),
            tokens: Vec::new(),
            joins_headers: false,
            fates: Vec::new(),
        }
    }

    /// All rules that decide.
    pub fn rules(&self) -> impl Iterator<Item = &CompiledRule> {
        self.custom.iter().chain(&self.deny).chain(self.allow.iter().flatten())
    }

    /// Compiles the policies that select a workload (numbers into `all`) for one kind of chain.
    #[must_use]
    pub fn new(
        compiler: Compiler<'_>,
        all: &[AuthorizationPolicy],
        selected: &[usize],
        tokens: Vec<JwtRule>,
        provider: impl Fn(&str) -> Provider,
    ) -> Self {
        let mut chain = Self::empty(compiler.protocol);
        chain.joins_headers = !compiler.profile.separate_header_values;
        if chain.protocol == Protocol::Http {
            chain.tokens = tokens;
        }
        for &number in selected {
            let Some(policy) = all.get(number) else { continue };
            let silent = policy.dry_run || policy.action == Action::Audit;
            if policy.action == Action::Allow && !silent {
                chain.allow.get_or_insert_default();
            }
            if let Action::Custom { provider: name } = &policy.action {
                chain.providers.insert(name.clone(), provider(name));
            }
            for index in 0..policy.rules.len() {
                let (rule, fate) = compiler.rule(number, policy, index);
                chain.fates.push((RuleRef { policy: number, rule: index }, fate));
                let Some(rule) = rule else { continue };
                match &policy.action {
                    _ if silent => chain.silent.push(rule),
                    Action::Allow => chain.allow.get_or_insert_default().push(rule),
                    Action::Deny => chain.deny.push(rule),
                    Action::Custom { .. } => chain.custom.push(rule),
                    Action::Audit => {}
                }
            }
        }
        // More than one provider on a workload: without a flag of istiod, all are refused.
        if chain.providers.len() > 1 {
            chain.providers.values_mut().for_each(|provider| *provider = Provider::Refuses);
        }
        for rules in [&mut chain.custom, &mut chain.deny].into_iter().chain(chain.allow.as_mut()) {
            rules.sort_by(|a, b| a.id.cmp(&b.id));
        }
        chain
    }

    /// Decides on a request as far as it is known. The first match in the order of ids is named, as
    /// Envoy does.
    #[must_use]
    pub fn decide(&self, request: &Request) -> Decision {
        let mut asked = None;
        for rule in &self.custom {
            match (self.provider(rule), rule.matches(request)) {
                (Provider::Ignored, _) | (_, Some(false)) => {}
                (_, None) => return Decision::Undecided,
                (Provider::Refuses, Some(true)) => return Decision::BadProvider(rule.reference()),
                (Provider::Asked, Some(true)) => asked = asked.or(Some(rule.reference())),
            }
        }
        match self.accepts_token(request) {
            Some(false) => return Decision::BadToken,
            None => return Decision::Undecided,
            Some(true) => {}
        }
        match first_match(&self.deny, request) {
            Err(()) => return Decision::Undecided,
            Ok(Some(rule)) => return Decision::Deny(rule),
            Ok(None) => {}
        }
        let allowed = match &self.allow {
            None => None,
            Some(rules) => match first_match(rules, request) {
                Err(()) => return Decision::Undecided,
                Ok(None) => return Decision::NoneAllows,
                Ok(rule) => rule,
            },
        };
        asked.map_or(Decision::Allow(allowed), Decision::Asks)
    }

    /// What the provider of a CUSTOM rule does here.
    #[must_use]
    pub fn provider(&self, rule: &CompiledRule) -> Provider {
        let name = rule.provider.as_deref().unwrap_or_default();
        self.providers.get(name).copied().unwrap_or(Provider::Refuses)
    }

    /// Whether the request's token passes the JWT filter: none does, and one of a known issuer for a
    /// wanted audience. Signature and expiry are taken for good.
    fn accepts_token(&self, request: &Request) -> Option<bool> {
        let Fact::Known(token) = &request.token else { return Some(true) };
        if self.tokens.is_empty() {
            return Some(true);
        }
        let issuer = match &token.issuer {
            Fact::Known(issuer) => issuer.as_str(),
            Fact::Unknown => return None,
            Fact::Absent => "",
        };
        let mut of_issuer = self.tokens.iter().filter(|rule| rule.issuer == issuer).peekable();
        if of_issuer.peek().is_none() {
            return Some(!self.tokens.iter().any(|rule| rule.default_location));
        }
        let mut undecided = false;
        for rule in of_issuer {
            match &token.audiences {
                _ if rule.audiences.is_empty() => return Some(true),
                Fact::Known(audiences) if audiences.iter().any(|a| rule.audiences.contains(a)) => {
                    return Some(true);
                }
                Fact::Known(_) | Fact::Absent => {}
                Fact::Unknown => undecided = true,
            }
        }
        if undecided { None } else { Some(false) }
    }

    /// The request as this chain's policies see it: with its server name in lower case, without HTTP
    /// on a TCP chain, without a token where no RequestAuthentication reads one.
    #[must_use]
    pub fn view(&self, request: &Request) -> Request {
        let mut request = request.clone();
        if let Fact::Known(sni) = &mut request.sni {
            sni.make_ascii_lowercase();
        }
        if self.protocol == Protocol::Tcp {
            return request.without_http();
        }
        if self.joins_headers {
            for values in request.headers.values_mut().filter(|values| values.len() > 1) {
                *values = vec![values.join(",")];
            }
        }
        let foreign = match &request.token {
            Fact::Known(token) => {
                let issuer = token.issuer.known();
                issuer.is_some_and(|issuer| self.tokens.iter().all(|rule| rule.issuer != *issuer))
                    && !self.tokens.iter().any(|rule| rule.default_location)
            }
            _ => false,
        };
        if self.tokens.is_empty() || foreign {
            request.token = Fact::Absent;
        } else if let Fact::Known(token) = &mut request.token {
            let issuer = token.issuer.known().cloned();
            let mut of_issuer = self.tokens.iter().filter(|rule| Some(&rule.issuer) == issuer.as_ref());
            for rule in of_issuer.clone() {
                token.split_claims(&rule.space_delimited);
            }
            // A validated token is taken out of the request (tests/envoy/MEASURED.md).
            if of_issuer.all(|rule| rule.default_location && !rule.forwards) {
                request.headers.remove("authorization");
            }
        }
        request
    }
}

impl CompiledRule {
    /// All conditions of the rule.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.from.iter().chain(&self.to).flatten()
    }

    /// The rule by policy and index.
    #[must_use]
    pub fn reference(&self) -> RuleRef {
        RuleRef { policy: self.policy, rule: self.index }
    }
}

/// The first rule that matches; an error where that cannot be said.
fn first_match(rules: &[CompiledRule], request: &Request) -> Result<Option<RuleRef>, ()> {
    let mut undecided = false;
    for rule in rules {
        match rule.matches(request) {
            Some(true) => return Ok(Some(rule.reference())),
            Some(false) => {}
            None => undecided = true,
        }
    }
    if undecided { Err(()) } else { Ok(None) }
}
