//! Whether any request satisfies a formula over its attributes, and which.
//!
//! Attributes are independent of each other, so a conjunction of conditions has a solution when each
//! attribute has one by itself: a string in the intersection of regular languages, an address in a
//! set of blocks. The solver searches the formula's cases for such a conjunction, deciding the
//! cheapest case first.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use aws_smt_strings::regular_expressions::{BoundedSearch, ReManager, RegLan};
use ipnet::IpNet;

use super::attribute::Attribute;
use super::condition::Matcher;
use super::formula::{Atom, Formula};
use super::universe;
use crate::path::{Normalization, without_query};
use crate::pattern::{Pattern, Piece};

/// Values for the attributes that a formula constrains. Attributes that are not named may be
/// anything, also absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Solution {
    /// Strings; several only where one alone cannot satisfy all conditions on a list.
    pub texts: BTreeMap<Attribute, Vec<String>>,
    /// Addresses.
    pub addresses: BTreeMap<Attribute, IpAddr>,
}

/// What the solver found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Solved {
    /// A request exists.
    Some(Solution),
    /// No request exists.
    None,
    /// The search was given up; nothing is claimed.
    GaveUp,
}

/// Cases looked at before the search is given up. Real policies need a few dozen.
const CASES: usize = 200_000;
/// States of an automaton looked at before an attribute's search is given up.
const STATES: usize = 10_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Constraint {
    positive: Vec<Rc<[Matcher]>>,
    negative: Vec<Rc<[Matcher]>>,
}

#[derive(Clone, Debug)]
enum Value {
    Texts(Vec<String>),
    Address(IpAddr),
    /// Satisfied by absence.
    Absent,
}

struct GaveUp;

/// Searches for requests. Keeps what it learned about attributes from one question to the next.
pub struct Solver {
    normalization: Normalization,
    /// Whether values of a repeated header are compared one by one (the version's profile).
    separate_headers: bool,
    languages: ReManager,
    universes: HashMap<(Attribute, bool), RegLan>,
    known: HashMap<(Attribute, Constraint), Option<Value>>,
    cases: usize,
}

impl std::fmt::Debug for Solver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Solver").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

type State = BTreeMap<Attribute, (Constraint, Value)>;

impl Solver {
    /// A solver for a mesh's path normalization and a version's reading of repeated headers.
    #[must_use]
    pub fn new(normalization: Normalization, separate_headers: bool) -> Self {
        Self {
            normalization,
            separate_headers,
            languages: ReManager::new(),
            universes: HashMap::new(),
            known: HashMap::new(),
            cases: 0,
        }
    }

    /// A request that satisfies the formula.
    pub fn solve(&mut self, formula: &Formula) -> Solved {
        self.cases = 0;
        match self.search(State::new(), vec![(formula, true)], Vec::new()) {
            Err(GaveUp) => Solved::GaveUp,
            Ok(None) => Solved::None,
            Ok(Some(state)) => {
                let mut solution = Solution::default();
                for (attribute, (_, value)) in state {
                    match value {
                        Value::Texts(texts) => drop(solution.texts.insert(attribute, texts)),
                        Value::Address(address) => drop(solution.addresses.insert(attribute, address)),
                        Value::Absent => {}
                    }
                }
                Solved::Some(solution)
            }
        }
    }

    /// Follows everything that must hold; then tries the choice with the fewest cases left.
    fn search<'f>(
        &mut self,
        mut state: State,
        mut must: Vec<(&'f Formula, bool)>,
        mut choices: Vec<(&'f [Formula], bool)>,
    ) -> Result<Option<State>, GaveUp> {
        self.cases += 1;
        if self.cases > CASES {
            return Err(GaveUp);
        }
        loop {
            while let Some((formula, holds)) = must.pop() {
                match (formula, holds) {
                    (Formula::Constant(value), _) if *value == holds => {}
                    (Formula::Constant(_), _) => return Ok(None),
                    (Formula::Not(inner), _) => must.push((inner, !holds)),
                    (Formula::All(parts), true) | (Formula::Any(parts), false) => {
                        must.extend(parts.iter().map(|part| (part, holds)));
                    }
                    (Formula::Any(parts), true) | (Formula::All(parts), false) => {
                        choices.push((parts, holds));
                    }
                    (Formula::Atom(atom), _) => {
                        if !self.assume(&mut state, atom, holds)? {
                            return Ok(None);
                        }
                    }
                }
            }
            // Cases that contradict the state already are left out; a choice of one is no choice.
            let mut fewest: Option<(usize, Vec<(&Formula, bool)>)> = None;
            let mut settled = Vec::new();
            let mut forced = None;
            for (index, (parts, holds)) in choices.iter().enumerate() {
                let mut cases = Vec::new();
                let mut holds_already = false;
                for part in *parts {
                    match self.outlook(&state, part, *holds)? {
                        Outlook::Impossible => {}
                        Outlook::Certain => holds_already = true,
                        Outlook::Open => cases.push((part, *holds)),
                    }
                }
                if holds_already {
                    settled.push(index);
                    continue;
                }
                match cases.as_slice() {
                    [] => return Ok(None),
                    [only] => {
                        forced = Some((index, *only));
                        break;
                    }
                    _ if fewest.as_ref().is_none_or(|(_, best)| cases.len() < best.len()) => {
                        fewest = Some((index, cases));
                    }
                    _ => {}
                }
            }
            if let Some((index, only)) = forced {
                choices.swap_remove(index);
                must.push(only);
                continue;
            }
            let Some((index, cases)) = fewest else { return Ok(Some(state)) };
            choices.swap_remove(index);
            for case in cases {
                if let Some(found) = self.search(state.clone(), vec![case], choices.clone())? {
                    return Ok(Some(found));
                }
            }
            return Ok(None);
        }
    }

    fn outlook(&mut self, state: &State, formula: &Formula, holds: bool) -> Result<Outlook, GaveUp> {
        let (formula, holds) = match formula {
            Formula::Not(inner) => (&**inner, !holds),
            other => (other, holds),
        };
        match formula {
            Formula::Constant(value) if *value == holds => Ok(Outlook::Certain),
            Formula::Constant(_) => Ok(Outlook::Impossible),
            Formula::Atom(atom) => {
                let mut constraint = match state.get(&atom.attribute) {
                    Some((constraint, _)) => constraint.clone(),
                    None => Constraint::default(),
                };
                let side = if holds { &mut constraint.positive } else { &mut constraint.negative };
                if side.contains(&atom.matchers) {
                    return Ok(Outlook::Certain);
                }
                side.push(Rc::clone(&atom.matchers));
                side.sort();
                let value = self.value(&atom.attribute, constraint)?;
                Ok(if value.is_some() { Outlook::Open } else { Outlook::Impossible })
            }
            // A conjunction is impossible where one of its parts is.
            Formula::All(parts) if holds => self.weakest(state, parts, holds),
            Formula::Any(parts) if !holds => self.weakest(state, parts, holds),
            Formula::All(_) | Formula::Any(_) | Formula::Not(_) => Ok(Outlook::Open),
        }
    }

    fn weakest(&mut self, state: &State, parts: &[Formula], holds: bool) -> Result<Outlook, GaveUp> {
        let mut all_certain = true;
        for part in parts {
            match self.outlook(state, part, holds)? {
                Outlook::Impossible => return Ok(Outlook::Impossible),
                Outlook::Open => all_certain = false,
                Outlook::Certain => {}
            }
        }
        Ok(if all_certain { Outlook::Certain } else { Outlook::Open })
    }

    fn assume(&mut self, state: &mut State, atom: &Atom, holds: bool) -> Result<bool, GaveUp> {
        let mut constraint = match state.get(&atom.attribute) {
            Some((constraint, _)) => constraint.clone(),
            None => Constraint::default(),
        };
        let side = if holds { &mut constraint.positive } else { &mut constraint.negative };
        if !side.contains(&atom.matchers) {
            side.push(Rc::clone(&atom.matchers));
            side.sort();
        }
        match self.value(&atom.attribute, constraint.clone())? {
            Some(value) => {
                state.insert(atom.attribute.clone(), (constraint, value));
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// A value of the attribute under the constraint.
    fn value(&mut self, attribute: &Attribute, constraint: Constraint) -> Result<Option<Value>, GaveUp> {
        let key = (attribute.clone(), constraint);
        if let Some(value) = self.known.get(&key) {
            return Ok(value.clone());
        }
        let (attribute, constraint) = (&key.0, &key.1);
        let value = match attribute {
            Attribute::SourceIp | Attribute::RemoteIp | Attribute::DestinationIp => {
                address(constraint).map(Value::Address)
            }
            _ if constraint.positive.is_empty() && universe::can_be_absent(attribute) => Some(Value::Absent),
            _ => self.text(attribute, constraint)?.map(Value::Texts),
        };
        self.known.insert(key, value.clone());
        Ok(value)
    }

    fn text(
        &mut self,
        attribute: &Attribute,
        constraint: &Constraint,
    ) -> Result<Option<Vec<String>>, GaveUp> {
        let Constraint { positive, negative } = constraint;
        if let Some(one) = self.one_text(attribute, positive, negative)? {
            return Ok(Some(vec![one]));
        }
        let joined = !self.separate_headers && matches!(attribute, Attribute::Header(_));
        if !attribute.is_list() || joined || positive.len() < 2 {
            return Ok(None);
        }
        // Each value of a list is compared by itself, so each condition may have a value of its own.
        let mut texts = Vec::new();
        for matchers in positive {
            match self.one_text(attribute, std::slice::from_ref(matchers), negative)? {
                Some(text) => texts.push(text),
                None => return Ok(None),
            }
        }
        texts.sort();
        texts.dedup();
        Ok(Some(texts))
    }

    fn one_text(
        &mut self,
        attribute: &Attribute,
        positive: &[Rc<[Matcher]>],
        negative: &[Rc<[Matcher]>],
    ) -> Result<Option<String>, GaveUp> {
        // A value that is excluded as it stands need not be looked for.
        let left: Vec<Rc<[Matcher]>> = positive
            .iter()
            .map(|matchers| {
                let open = |matcher: &&Matcher| {
                    !negative.iter().flat_map(|no| no.iter()).any(|no| covers(no, matcher))
                };
                matchers.iter().filter(open).cloned().collect()
            })
            .collect();
        if left.iter().any(|matchers| matchers.is_empty()) {
            return Ok(None);
        }
        let positive = left.as_slice();
        let fits = |text: &str| {
            positive.iter().all(|matchers| text_matches(matchers, text))
                && !negative.iter().any(|matchers| text_matches(matchers, text))
                && universe::contains(attribute, text, self.normalization)
        };
        // What a person would try first; all that there is, where only exact values are allowed.
        if let Some(text) = candidates(attribute, positive).into_iter().find(|text| fits(text)) {
            return Ok(Some(text));
        }
        if positive.iter().any(|matchers| is_finite(matchers)) {
            return Ok(None);
        }
        for readable in [true, false] {
            let universe = match self.universes.get(&(attribute.clone(), readable)) {
                Some(universe) => universe,
                None => {
                    let universe =
                        universe::language(&mut self.languages, attribute, self.normalization, readable);
                    self.universes.insert((attribute.clone(), readable), universe);
                    universe
                }
            };
            let mut parts = vec![universe];
            for matchers in positive {
                parts.push(self.language(matchers));
            }
            for matchers in negative {
                let language = self.language(matchers);
                parts.push(self.languages.complement(language));
            }
            let language = self.languages.inter_list(parts);
            match self.languages.get_string_bounded(language, STATES) {
                BoundedSearch::Some(text) => return Ok(Some(text.to_unicode_string())),
                BoundedSearch::Empty => {}
                BoundedSearch::Failed => return Err(GaveUp),
            }
        }
        Ok(None)
    }

    fn language(&mut self, matchers: &[Matcher]) -> RegLan {
        let mut languages = Vec::new();
        for matcher in matchers {
            match matcher {
                Matcher::Text(pattern) => languages.push(pattern.language(&mut self.languages)),
                Matcher::Path(pattern) => {
                    let path = pattern.language(&mut self.languages);
                    let question = self.languages.char('?'.into());
                    let full = self.languages.full();
                    let without = self.languages.concat_list([full, question, full]);
                    let without = self.languages.complement(without);
                    let path = self.languages.inter(path, without);
                    let query = self.languages.concat(question, full);
                    let query = self.languages.opt(query);
                    languages.push(self.languages.concat(path, query));
                }
                Matcher::Block(_) | Matcher::Port(_) | Matcher::TokenPrincipal { .. } => {}
            }
        }
        self.languages.union_list(languages)
    }
}

enum Outlook {
    Impossible,
    Certain,
    Open,
}

fn text_matches(matchers: &[Matcher], text: &str) -> bool {
    matchers.iter().any(|matcher| match matcher {
        Matcher::Text(pattern) => pattern.matches(text),
        Matcher::Path(pattern) => pattern.matches(without_query(text)),
        Matcher::Block(_) | Matcher::Port(_) | Matcher::TokenPrincipal { .. } => false,
    })
}

/// Whether all that `inner` matches is plainly matched by `outer`, too.
fn covers(outer: &Matcher, inner: &Matcher) -> bool {
    let (outer, inner) = match (outer, inner) {
        (Matcher::Text(outer), Matcher::Text(inner)) | (Matcher::Path(outer), Matcher::Path(inner)) => {
            (outer, inner)
        }
        _ => return false,
    };
    match (outer, inner) {
        (Pattern::Present, _) => true,
        (Pattern::Prefix(outer), Pattern::Prefix(inner)) => inner.starts_with(&**outer),
        (Pattern::Suffix(outer), Pattern::Suffix(inner)) => inner.ends_with(&**outer),
        (outer, Pattern::Exact(inner)) => outer.matches(inner),
        (outer, inner) => outer == inner,
    }
}

/// Whether the matchers name all their strings (paths may still have any query).
fn is_finite(matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| matches!(matcher, Matcher::Text(pattern) if pattern.as_exact().is_some()))
}

fn candidates(attribute: &Attribute, positive: &[Rc<[Matcher]>]) -> Vec<String> {
    let mut texts: Vec<String> = match attribute {
        Attribute::Method => ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
            .map(str::to_owned)
            .into_iter()
            .collect(),
        Attribute::Path => vec!["/".to_owned()],
        _ => vec!["x".to_owned()],
    };
    for matcher in positive.iter().flat_map(|matchers| matchers.iter()) {
        let (Matcher::Text(pattern) | Matcher::Path(pattern)) = matcher else { continue };
        let pattern = match pattern {
            Pattern::IgnoreCase(inner) => inner,
            pattern => pattern,
        };
        match pattern {
            Pattern::Exact(value) => texts.insert(0, value.to_string()),
            Pattern::Prefix(value) => {
                texts.extend([value.to_string(), format!("{value}x"), format!("{value}/x")]);
            }
            Pattern::Suffix(value) => {
                texts.extend([
                    value.to_string(),
                    format!("x{value}"),
                    format!("/x{value}"),
                    format!("/{value}"),
                ]);
            }
            Pattern::Sequence(pieces) => {
                for rest in ["", "x", "x/x"] {
                    let text = pieces.iter().map(|piece| match piece {
                        Piece::Literal(literal) => literal,
                        Piece::Star(_) => rest,
                        Piece::One(_) | Piece::Plus(_) => "x",
                    });
                    texts.push(text.collect());
                }
            }
            Pattern::Present | Pattern::NonEmpty | Pattern::IgnoreCase(_) => {}
        }
    }
    texts
}

/// The regions into which blocks cut the address space each contain the first address of a block, the
/// address behind a block, or the space's first address; so these are all that need trying.
fn address(constraint: &Constraint) -> Option<IpAddr> {
    let Constraint { positive, negative } = constraint;
    let mut candidates = vec![
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    for matcher in positive.iter().chain(negative).flat_map(|matchers| matchers.iter()) {
        let Matcher::Block(block) = matcher else { continue };
        candidates.push(block.network());
        let after = match block {
            IpNet::V4(block) => u32::from(block.broadcast()).checked_add(1).map(|ip| IpAddr::V4(ip.into())),
            IpNet::V6(block) => u128::from(block.broadcast()).checked_add(1).map(|ip| IpAddr::V6(ip.into())),
        };
        candidates.extend(after);
    }
    let inside = |matchers: &Rc<[Matcher]>, ip: &IpAddr| matchers.iter().any(|m| m.contains_address(ip));
    candidates.into_iter().find(|ip| {
        positive.iter().all(|matchers| inside(matchers, ip))
            && !negative.iter().any(|matchers| inside(matchers, ip))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(attribute: &Attribute, patterns: &[Pattern]) -> Formula {
        Formula::all(patterns.iter().map(|pattern| {
            let matchers = [Matcher::Text(pattern.clone())].into();
            Formula::Atom(Atom { attribute: attribute.clone(), matchers })
        }))
    }

    #[test]
    fn a_solution_can_arrive_and_has_what_was_asked_for() {
        let suffix = |text: &str| Pattern::Suffix(text.into());
        let prefix = |text: &str| Pattern::Prefix(text.into());
        let header = Attribute::Header("x".into());
        for attribute in [Attribute::Host, Attribute::Sni, Attribute::Method, header, Attribute::Subject] {
            let formula = all_of(&attribute, &[prefix("ab"), suffix("ba"), suffix("a")]);
            let Solved::Some(solution) = Solver::new(Normalization::Base, true).solve(&formula) else {
                panic!("{attribute:?} has no solution");
            };
            for text in &solution.texts[&attribute] {
                assert!(universe::contains(&attribute, text, Normalization::Base), "{attribute:?} {text}");
            }
        }
    }
}
