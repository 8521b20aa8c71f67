//! Conditions on requests as formulas over their attributes.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::attribute::Attribute;
use super::condition::{Condition, Matcher};
use super::request::Request;
use crate::pattern::Pattern;

/// An attribute that matches any of some values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Atom {
    /// The attribute.
    pub attribute: Attribute,
    /// The values.
    pub matchers: Rc<[Matcher]>,
}

/// A condition on requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Formula {
    /// Holds always or never.
    Constant(bool),
    /// Holds where an attribute matches.
    Atom(Atom),
    /// Holds where the other does not.
    Not(Box<Formula>),
    /// Holds where all do.
    All(Vec<Formula>),
    /// Holds where any does.
    Any(Vec<Formula>),
}

impl Formula {
    /// Holds where all do.
    #[must_use]
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::Constant(true) => {}
                Self::Constant(false) => return part,
                Self::All(inner) => kept.extend(inner),
                part => kept.push(part),
            }
        }
        match kept.len() {
            0 => Self::Constant(true),
            1 => kept.remove(0),
            _ => Self::All(kept),
        }
    }

    /// Holds where any does.
    #[must_use]
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::Constant(false) => {}
                Self::Constant(true) => return part,
                Self::Any(inner) => kept.extend(inner),
                part => kept.push(part),
            }
        }
        match kept.len() {
            0 => Self::Constant(false),
            1 => kept.remove(0),
            _ => Self::Any(kept),
        }
    }

    /// Holds where this does not.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(!value),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// A condition as far as the request leaves it open.
    #[must_use]
    pub fn of_condition(condition: &Condition, request: &Request) -> Self {
        let positive = match condition.holds(request) {
            Some(holds) => return Self::Constant(holds),
            None => Self::any_matcher(&condition.attribute, &condition.matchers, request),
        };
        if condition.negated { positive.negated() } else { positive }
    }

    fn any_matcher(attribute: &Attribute, matchers: &[Matcher], request: &Request) -> Self {
        let open = |matcher: &&Matcher| matcher.matches(attribute, request).is_none();
        let (pairs, plain): (Vec<&Matcher>, Vec<&Matcher>) = matchers
            .iter()
            .filter(open)
            .partition(|matcher| matches!(matcher, Matcher::TokenPrincipal { .. }));
        let mut parts: Vec<Self> = Vec::new();
        if !plain.is_empty() {
            let matchers = plain.into_iter().cloned().collect();
            parts.push(Self::Atom(Atom { attribute: attribute.clone(), matchers }));
        }
        for pair in pairs {
            if let Matcher::TokenPrincipal { issuer, subject } = pair {
                parts.push(Self::all([
                    Self::open_text(Attribute::Issuer, issuer, request),
                    Self::open_text(Attribute::Subject, subject, request),
                ]));
            }
        }
        Self::any(parts)
    }

    /// One text matcher, as far as the request leaves it open.
    pub(crate) fn open_text(attribute: Attribute, pattern: &Pattern, request: &Request) -> Self {
        let matcher = Matcher::Text(pattern.clone());
        match matcher.matches(&attribute, request) {
            Some(matches) => Self::Constant(matches),
            None => Self::Atom(Atom { attribute, matchers: [matcher].into() }),
        }
    }

    /// Adds every attribute that the formula still reads.
    pub fn attributes(&self, into: &mut BTreeSet<Attribute>) {
        match self {
            Self::Constant(_) => {}
            Self::Atom(atom) => {
                into.insert(atom.attribute.clone());
            }
            Self::Not(inner) => inner.attributes(into),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.attributes(into)),
        }
    }

    /// This formula with what nobody can know (dynamic metadata) taken for the worst: the strongest
    /// claim that holds whatever it is.
    #[must_use]
    pub fn at_worst(&self) -> Self {
        self.settled(false)
    }

    /// This formula with dynamic metadata taken for the best.
    #[must_use]
    pub fn at_best(&self) -> Self {
        self.settled(true)
    }

    fn settled(&self, value: bool) -> Self {
        match self {
            Self::Atom(Atom { attribute: Attribute::Metadata(_), .. }) => Self::Constant(value),
            Self::Constant(_) | Self::Atom(_) => self.clone(),
            Self::Not(inner) => inner.settled(!value).negated(),
            Self::All(parts) => Self::all(parts.iter().map(|part| part.settled(value))),
            Self::Any(parts) => Self::any(parts.iter().map(|part| part.settled(value))),
        }
    }
}
