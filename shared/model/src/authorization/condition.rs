//! One condition of a compiled rule: an attribute and what it is compared with.

use std::net::IpAddr;

use ipnet::IpNet;

use super::attribute::Attribute;
use super::request::{Request, Values};
use crate::path::without_query;
use crate::pattern::Pattern;

/// One value of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Matcher {
    /// The attribute's text.
    Text(Pattern),
    /// The path without its query.
    Path(Pattern),
    /// An address in a block.
    Block(IpNet),
    /// A port.
    Port(u16),
    /// Issuer and subject of the token together (`requestPrincipals`).
    TokenPrincipal {
        /// Pattern of `iss`.
        issuer: Pattern,
        /// Pattern of `sub`.
        subject: Pattern,
    },
}

/// An attribute compared with values: any of them matches, or none where negated. An absent
/// attribute matches no value, so that a negated condition holds for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is read.
    pub attribute: Attribute,
    /// What it is compared with.
    pub matchers: Box<[Matcher]>,
    /// Whether it must match none instead of any.
    pub negated: bool,
    /// JSON pointer of the values in the policy.
    pub pointer: Box<str>,
}

impl Condition {
    /// Whether it holds; `None` where that depends on what is not known of the request.
    #[must_use]
    pub fn holds(&self, request: &Request) -> Option<bool> {
        // All matchers of a condition are of one kind.
        let Some(first) = self.matchers.first() else { return Some(self.negated) };
        let values = first.values(&self.attribute, request);
        // Nearly all conditions compare one text, and nearly all time goes by here.
        if let (Matcher::Text(_) | Matcher::Path(_), Values::One(text)) = (first, &values) {
            let is_matched = |matcher: &Matcher| match matcher {
                Matcher::Text(pattern) | Matcher::Path(pattern) => pattern.matches(text),
                _ => false,
            };
            return Some(self.matchers.iter().any(is_matched) != self.negated);
        }
        let mut undecided = false;
        for matcher in &self.matchers {
            match matcher.matches_values(&values, request) {
                Some(true) => return Some(!self.negated),
                Some(false) => {}
                None => undecided = true,
            }
        }
        if undecided { None } else { Some(self.negated) }
    }
}

impl Matcher {
    /// Whether the request's attribute matches; `None` where it is not known.
    pub(crate) fn matches(&self, attribute: &Attribute, request: &Request) -> Option<bool> {
        self.matches_values(&self.values(attribute, request), request)
    }

    /// What the request has for the attribute, as this matcher reads it.
    fn values<'a>(&self, attribute: &Attribute, request: &'a Request) -> Values<'a> {
        match (self, request.values(attribute)) {
            (Self::Path(_), Values::One(path)) => Values::One(without_query(path)),
            (_, values) => values,
        }
    }

    /// [`Self::matches`], where the [values](Self::values) are at hand.
    fn matches_values(&self, values: &Values<'_>, request: &Request) -> Option<bool> {
        match self {
            Self::Text(pattern) => text_matches(pattern, values),
            Self::Path(pattern) => match values {
                Values::One(path) => Some(pattern.matches(path)),
                Values::Unknown => None,
                _ => Some(false),
            },
            Self::Block(block) => match values {
                Values::Address(address) => Some(block.contains(address)),
                Values::Unknown => None,
                _ => Some(false),
            },
            Self::Port(port) => match values {
                Values::Port(actual) => Some(actual == port),
                _ => Some(false),
            },
            Self::TokenPrincipal { issuer, subject } => {
                let issuer = text_matches(issuer, &request.values(&Attribute::Issuer));
                let subject = text_matches(subject, &request.values(&Attribute::Subject));
                match (issuer, subject) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                }
            }
        }
    }

    /// Whether an address matches, for the solver.
    pub(crate) fn contains_address(&self, address: &IpAddr) -> bool {
        matches!(self, Self::Block(block) if block.contains(address))
    }
}

fn text_matches(pattern: &Pattern, values: &Values<'_>) -> Option<bool> {
    match values {
        Values::Unknown => None,
        Values::One(text) => Some(pattern.matches(text)),
        Values::Many(texts) => Some(texts.iter().any(|text| pattern.matches(text))),
        Values::Absent | Values::Address(_) | Values::Port(_) => Some(false),
    }
}
