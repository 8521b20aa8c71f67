//! Boolean expressions of conditions, and how they become the lists that a compiled rule has.

use crate::authorization::attribute::Attribute;
use crate::authorization::condition::{Condition, Matcher};
use crate::pattern::Pattern;

/// More lists than any rule of Istio has in one expression; what is larger is not read.
const MOST_LISTS: usize = 256;

/// A permission or a principal of Envoy.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// Always, or never.
    Constant(bool),
    /// All of them.
    All(Vec<Self>),
    /// One of them.
    Any(Vec<Self>),
    /// The opposite.
    Not(Box<Self>),
    /// An attribute compared with values.
    Compare(Attribute, Vec<Matcher>),
    /// Issuer or subject of the token as one string: half of `requestPrincipals`.
    HalfToken(Attribute, Pattern),
    /// What cannot be read, by its name.
    Unreadable(String),
}

impl Expression {
    /// All of them. Issuer and subject together are one comparison, as the model has it.
    pub(super) fn all(parts: Vec<Self>) -> Self {
        match parts.as_slice() {
            [Self::HalfToken(Attribute::Issuer, issuer), Self::HalfToken(Attribute::Subject, subject)] => {
                let (issuer, subject) = (issuer.clone(), subject.clone());
                Self::Compare(Attribute::Subject, vec![Matcher::TokenPrincipal { issuer, subject }])
            }
            _ => Self::All(parts),
        }
    }

    /// One of them. Comparisons of one attribute are joined: Istio writes one for each value of a field.
    pub(super) fn any(parts: Vec<Self>) -> Self {
        let mut joined: Vec<Self> = Vec::new();
        for part in parts {
            let Self::Compare(attribute, matchers) = part else {
                joined.push(part);
                continue;
            };
            // All matchers of a condition are of one kind.
            let kind = matchers.first().map(std::mem::discriminant);
            let same = joined.iter_mut().find_map(|known| match known {
                Self::Compare(other, list)
                    if *other == attribute && list.first().map(std::mem::discriminant) == kind =>
                {
                    Some(list)
                }
                _ => None,
            });
            match same {
                Some(list) => list.extend(matchers),
                None => joined.push(Self::Compare(attribute, matchers)),
            }
        }
        Self::Any(joined)
    }

    /// A list of lists: one of them must hold whole. What cannot be read holds for no known request and
    /// fails for none; its names are added to `unreadable`.
    pub(super) fn lists(&self, unreadable: &mut Vec<String>) -> Vec<Vec<Condition>> {
        match self.expand(false, unreadable) {
            Some(lists) => lists,
            None => unknown("an expression that is too large", false, unreadable),
        }
    }

    fn expand(&self, negated: bool, unreadable: &mut Vec<String>) -> Option<Vec<Vec<Condition>>> {
        let one = |attribute: &Attribute, matchers: Vec<Matcher>| {
            Some(vec![vec![condition(attribute.clone(), matchers, negated)]])
        };
        match self {
            Self::Constant(holds) => Some(if *holds == negated { Vec::new() } else { vec![Vec::new()] }),
            Self::Not(inner) => inner.expand(!negated, unreadable),
            Self::All(parts) if negated => some(parts, negated, unreadable),
            Self::Any(parts) if negated => every(parts, negated, unreadable),
            Self::All(parts) => every(parts, negated, unreadable),
            Self::Any(parts) => some(parts, negated, unreadable),
            Self::Compare(attribute, matchers) => one(attribute, matchers.clone()),
            Self::HalfToken(attribute, pattern) => one(attribute, vec![Matcher::Text(pattern.clone())]),
            Self::Unreadable(what) => Some(unknown(what, negated, unreadable)),
        }
    }
}

/// A condition of which nobody but the proxy knows whether it holds.
fn unknown(what: &str, negated: bool, unreadable: &mut Vec<String>) -> Vec<Vec<Condition>> {
    if !unreadable.iter().any(|known| known == what) {
        unreadable.push(what.to_owned());
    }
    let attribute = Attribute::Metadata(what.into());
    vec![vec![condition(attribute, vec![Matcher::Text(Pattern::Present)], negated)]]
}

fn condition(attribute: Attribute, matchers: Vec<Matcher>, negated: bool) -> Condition {
    Condition { attribute, matchers: matchers.into(), negated, pointer: Box::default() }
}

/// The lists of all parts together: each of one with each of the others.
fn every(parts: &[Expression], negated: bool, unreadable: &mut Vec<String>) -> Option<Vec<Vec<Condition>>> {
    let mut lists: Vec<Vec<Condition>> = vec![Vec::new()];
    for part in parts {
        let more = part.expand(negated, unreadable)?;
        if lists.len().saturating_mul(more.len()) > MOST_LISTS {
            return None;
        }
        let with = |before: &Vec<Condition>| -> Vec<Vec<Condition>> {
            more.iter().map(|after| [before.as_slice(), after].concat()).collect()
        };
        lists = lists.iter().flat_map(with).collect();
    }
    Some(lists)
}

/// The lists of all parts, one behind the other.
fn some(parts: &[Expression], negated: bool, unreadable: &mut Vec<String>) -> Option<Vec<Vec<Condition>>> {
    let mut lists = Vec::new();
    for part in parts {
        lists.extend(part.expand(negated, unreadable)?);
        if lists.len() > MOST_LISTS {
            return None;
        }
    }
    Some(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u16) -> Expression {
        Expression::Compare(Attribute::DestinationPort, vec![Matcher::Port(number)])
    }

    #[test]
    fn values_of_one_field_are_one_condition() {
        let any = Expression::any(vec![port(1), port(2)]);
        let lists = any.lists(&mut Vec::new());
        assert!(lists.len() == 1 && lists[0].len() == 1 && lists[0][0].matchers.len() == 2, "{lists:?}");
        let lists = Expression::Not(Box::new(any)).lists(&mut Vec::new());
        assert!(lists.len() == 1 && lists[0].len() == 1 && lists[0][0].negated, "{lists:?}");
    }

    #[test]
    fn what_is_never_true_has_no_list() {
        let never = Expression::Not(Box::new(Expression::Constant(true)));
        assert!(never.lists(&mut Vec::new()).is_empty());
        let both = Expression::all(vec![never, port(1)]);
        assert!(both.lists(&mut Vec::new()).is_empty());
    }

    #[test]
    fn what_grows_beyond_measure_is_unknown() {
        let pair = || Expression::Any(vec![port(1), port(2)]);
        let large = Expression::All((0..9).map(|_| pair()).collect());
        let mut unreadable = Vec::new();
        assert_eq!(large.lists(&mut unreadable).len(), 1);
        assert_eq!(unreadable, ["an expression that is too large"]);
    }
}
