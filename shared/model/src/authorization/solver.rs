//! Whether any request satisfies a formula over its attributes, and which.
//!
//! Attributes are independent of each other, so a conjunction of conditions has a solution when each
//! attribute has one by itself: a string in the intersection of regular languages, an address in a
//! set of blocks. The solver searches the formula's cases for such a conjunction, deciding the
//! cheapest case first.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use aws_smt_strings::character_sets::CharSet;
use aws_smt_strings::regular_expressions::{BoundedSearch, ReManager, RegLan};
use ipnet::IpNet;

use super::attribute::Attribute;
use super::condition::{Condition, Matcher};
use super::request::{ALWAYS_PRESENT, CERTIFICATE, Request};
use crate::path::{Normalization, without_query};
use crate::pattern::{Pattern, Piece, one_of};

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
    pub fn attributes(&self, into: &mut std::collections::BTreeSet<Attribute>) {
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
            _ if constraint.positive.is_empty() && can_be_absent(attribute) => Some(Value::Absent),
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
                && in_universe(attribute, text, self.normalization)
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
                    let universe = self.universe(attribute, readable);
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

    /// All values that an attribute can have, or only those that are easy on the eye.
    fn universe(&mut self, attribute: &Attribute, readable: bool) -> RegLan {
        let languages = &mut self.languages;
        match attribute {
            Attribute::Path => path_universe(languages, self.normalization, readable),
            Attribute::Principal => {
                let part = one_of(languages, READABLE);
                let part = languages.plus(part);
                let [ns, sa] = ["/ns/", "/sa/"].map(|text| languages.str(&text.into()));
                languages.concat_list([part, ns, part, sa, part])
            }
            // Split at spaces, so that no value has one.
            Attribute::Claim(path) if is_split(path) && !readable => {
                let word = one_of(languages, &visible().collect::<String>());
                languages.star(word)
            }
            _ => {
                let characters: String = match attribute {
                    Attribute::Method => TOKEN.to_owned(),
                    Attribute::Host if readable => format!("{READABLE}:"),
                    Attribute::Sni => visible().filter(|c| !c.is_ascii_uppercase()).collect(),
                    _ if readable => format!("{READABLE}/:*"),
                    Attribute::Host => visible().filter(|c| *c != '/').collect(),
                    Attribute::Header(_) => return header_universe(languages),
                    _ => return languages.full(),
                };
                let class = one_of(languages, &characters);
                if *attribute == Attribute::Method { languages.plus(class) } else { languages.star(class) }
            }
        }
    }
}

enum Outlook {
    Impossible,
    Certain,
    Open,
}

const READABLE: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
const TOKEN: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";

/// Whether every RequestAuthentication splits this claim.
fn is_split(path: &[Box<str>]) -> bool {
    matches!(path, [name] if matches!(&**name, "scope" | "permission"))
}

fn visible() -> impl Iterator<Item = char> {
    '!'..='~'
}

/// Header values: visible characters and all beyond ASCII, with blanks only between them.
fn header_universe(languages: &mut ReManager) -> RegLan {
    let beyond = languages.char_set(CharSet::range(0x80, 0xd7ff));
    let word = one_of(languages, &visible().collect::<String>());
    let word = languages.union(word, beyond);
    let blank = one_of(languages, " \t");
    let inside = languages.union(word, blank);
    let inside = languages.star(inside);
    let long = languages.concat_list([word, inside, word]);
    let some = languages.union(word, long);
    languages.opt(some)
}

/// Attributes that need not be there. A request always has a method, a path and a peer; a token that
/// passed has an issuer.
fn can_be_absent(attribute: &Attribute) -> bool {
    if let Attribute::Header(name) = attribute {
        return !ALWAYS_PRESENT.contains(&&**name) && &**name != CERTIFICATE;
    }
    !matches!(
        attribute,
        Attribute::Method
            | Attribute::Path
            | Attribute::Host
            | Attribute::Sni
            | Attribute::Issuer
            | Attribute::Principal
            | Attribute::DestinationPort
    )
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

/// Whether a value can arrive at all.
fn in_universe(attribute: &Attribute, text: &str, normalization: Normalization) -> bool {
    match attribute {
        Attribute::Path => normalization.yields(text),
        Attribute::Method => !text.is_empty() && text.chars().all(|c| TOKEN.contains(c)),
        Attribute::Host => text.chars().all(|c| ('!'..='~').contains(&c) && c != '/'),
        // Names arrive in lower case; the empty one is none.
        Attribute::Sni => text.chars().all(|c| ('!'..='~').contains(&c) && !c.is_ascii_uppercase()),
        Attribute::Header(_) => {
            text.trim_matches([' ', '\t']) == text
                && text.chars().all(|c| c == '\t' || (c >= ' ' && c != '\x7f'))
        }
        _ => true,
    }
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

/// Characters that can stand in a path that was normalized; all others arrive percent-encoded
/// (tests/envoy/MEASURED.md).
const PATH: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/!$%&'()*+,-.:;=@[]_~";

/// Paths as they can arrive at a policy, with an optional query.
fn path_universe(languages: &mut ReManager, normalization: Normalization, readable: bool) -> RegLan {
    let slash = languages.char('/'.into());
    let full = languages.full();
    let characters = if readable {
        one_of(languages, &format!("{READABLE}/"))
    } else if normalization == Normalization::None {
        let characters: String = visible().filter(|c| !"#?".contains(*c)).collect();
        one_of(languages, &characters)
    } else {
        one_of(languages, PATH)
    };
    let body = languages.star(characters);
    let mut path = languages.concat(slash, body);
    if normalization != Normalization::None {
        // No dot segment is left. Any encoding can be: decoding happens once.
        let end = {
            let after = languages.concat(slash, full);
            languages.opt(after)
        };
        let mut gone = Vec::new();
        for dots in ["/.", "/.."] {
            let dots = languages.str(&dots.into());
            gone.push(languages.concat_list([full, dots, end]));
        }
        if matches!(normalization, Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes) {
            // Only the whole path may be `//`.
            let double = languages.str(&"//".into());
            let any = languages.all_chars();
            let some = languages.plus(any);
            gone.push(languages.concat_list([some, double, full]));
            gone.push(languages.concat_list([full, double, some]));
        }
        let gone = languages.union_list(gone);
        let kept = languages.complement(gone);
        path = languages.inter(path, kept);
    }
    if readable {
        return path;
    }
    let characters: String = visible().filter(|c| *c != '#').collect();
    let character = one_of(languages, &characters);
    let query = languages.star(character);
    let question = languages.char('?'.into());
    let query = languages.concat(question, query);
    let query = languages.opt(query);
    languages.concat(path, query)
}

#[cfg(test)]
mod tests {
    use aws_smt_strings::smt_strings::SmtString;
    use proptest::prelude::*;

    use super::*;

    const MODES: [Normalization; 4] = [
        Normalization::None,
        Normalization::Base,
        Normalization::MergeSlashes,
        Normalization::DecodeAndMergeSlashes,
    ];

    fn attributes() -> [Attribute; 6] {
        [
            Attribute::Path,
            Attribute::Host,
            Attribute::Sni,
            Attribute::Method,
            Attribute::Header("x".into()),
            Attribute::Subject,
        ]
    }

    /// Whether a text is in the automaton for an attribute's values.
    fn in_language(mode: Normalization, attribute: &Attribute, readable: bool, text: &str) -> bool {
        let mut solver = Solver::new(mode, true);
        let universe = solver.universe(attribute, readable);
        solver.languages.str_in_re(&SmtString::from(text), universe)
    }

    /// A few cases where nobody asks for more.
    fn few(cases: u32) -> ProptestConfig {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases, ..config } }
    }

    proptest! {
        #![proptest_config(few(24))]

        /// What can arrive is said twice, for single texts and as a language.
        #[test]
        fn the_universe_is_the_same_as_a_test_and_as_a_language(
            text in r"/?(a|A|b|/|\.|%|2|e|f|6|1|0|\?|#|\{|\[| |\t|é|~|:|\\){0,8}",
        ) {
            for attribute in attributes() {
                for mode in MODES {
                    if attribute != Attribute::Path && mode != Normalization::Base {
                        continue;
                    }
                    let can_arrive = in_universe(&attribute, &text, mode);
                    prop_assert_eq!(
                        can_arrive,
                        in_language(mode, &attribute, false, &text),
                        "{:?} {:?} {:?}", attribute, mode, text
                    );
                    // What is easy on the eye can arrive, too.
                    prop_assert!(can_arrive || !in_language(mode, &attribute, true, &text));
                }
            }
        }
    }

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
        for attribute in attributes().into_iter().filter(|attribute| *attribute != Attribute::Path) {
            let formula = all_of(&attribute, &[prefix("ab"), suffix("ba"), suffix("a")]);
            let Solved::Some(solution) = Solver::new(Normalization::Base, true).solve(&formula) else {
                panic!("{attribute:?} has no solution");
            };
            for text in &solution.texts[&attribute] {
                assert!(in_universe(&attribute, text, Normalization::Base), "{attribute:?} {text}");
            }
        }
    }
}
