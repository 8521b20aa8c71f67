//! The exact answer for a set of requests: those that agree with what is known.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::attribute::Attribute;
use super::chain::{Chain, Decision, Provider, RuleRef};
use super::compile::CompiledRule;
use super::condition::Condition;
use super::formula::Formula;
use super::request::{Fact, Request, Token};
use super::solver::{Solution, Solved, Solver};
use crate::pattern::Pattern;
use crate::request_authentication::JwtRule;

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Every such request is let through.
    Allow,
    /// Some are and some are not.
    Conditional,
    /// It depends on what cannot be known here; the assumptions say on what.
    Unknown,
    /// None is let through.
    Deny,
}

impl Verdict {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Conditional => "conditional",
            Self::Unknown => "unknown",
            Self::Deny => "deny",
        }
    }
}

/// Why a verdict is `unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doubt {
    /// A CUSTOM provider is asked.
    Provider(RuleRef),
    /// A rule reads dynamic metadata.
    Metadata,
    /// The policies are too intricate to be searched through.
    TooComplex,
}

/// The answer for a set of requests.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// In one word.
    pub verdict: Verdict,
    /// A request that is let through, where the verdict is `allow` or `conditional`.
    pub witness: Option<Request>,
    /// What decides on the witness; for `deny`, what refuses.
    pub decision: Decision,
    /// What the answer still depends on.
    pub open: BTreeSet<Attribute>,
    /// Why the verdict is `unknown`.
    pub doubts: BTreeSet<Doubt>,
}

/// Judges sets of requests, remembering formulas that were solved before.
#[derive(Debug)]
pub struct Judge {
    solver: Solver,
    solved: HashMap<Formula, Solved>,
}

impl Judge {
    /// A judge that asks this solver.
    #[must_use]
    pub fn new(solver: Solver) -> Self {
        Self { solver, solved: HashMap::new() }
    }

    /// Judges all requests that agree with what is known of `request`.
    pub fn judge(&mut self, chain: &Chain, request: &Request) -> Judgement {
        let request = chain.view(request);
        let decision = chain.decide(&request);
        let definite = match &decision {
            Decision::Undecided => None,
            Decision::Asks(rule) => Some((Verdict::Unknown, BTreeSet::from([Doubt::Provider(*rule)]))),
            Decision::Allow(_) => Some((Verdict::Allow, BTreeSet::new())),
            _ => Some((Verdict::Deny, BTreeSet::new())),
        };
        if let Some((verdict, doubts)) = definite {
            let witness = (verdict == Verdict::Allow).then(|| complete(&request, &Solution::default()));
            return Judgement { verdict, witness, decision, open: BTreeSet::new(), doubts };
        }
        self.judge_open(chain, &request)
    }

    fn judge_open(&mut self, chain: &Chain, request: &Request) -> Judgement {
        let scenarios: Vec<Scenario> = scenarios(chain, request);
        let mut open = BTreeSet::new();
        let mut doubts = BTreeSet::new();
        let mut every = scenarios.iter().all(|scenario| !scenario.refused);
        let mut some_at_best = false;
        let mut witness = None;
        for scenario in scenarios.iter().filter(|scenario| !scenario.refused) {
            let best = allowed(chain, &scenario.request, true, &scenario.wanted).at_best();
            let worst = allowed(chain, &scenario.request, false, &scenario.wanted).at_worst();
            worst.attributes(&mut open);
            best.attributes(&mut open);
            match self.solve(&best) {
                Solved::None => {
                    every = false;
                    continue;
                }
                Solved::GaveUp => drop(doubts.insert(Doubt::TooComplex)),
                Solved::Some(_) => some_at_best = true,
            }
            // Not every request is let through where one is possible and refused.
            let refused = Formula::all([scenario.possible.clone(), worst.clone().negated()]);
            match self.solve(&refused) {
                Solved::None => {}
                Solved::Some(_) => every = false,
                Solved::GaveUp => {
                    every = false;
                    doubts.insert(Doubt::TooComplex);
                }
            }
            if witness.is_none() {
                match self.solve(&worst) {
                    Solved::Some(solution) => {
                        let request = complete(&scenario.request, &solution);
                        if matches!(chain.decide(&request), Decision::Allow(_)) {
                            witness = Some(request);
                        } else {
                            // What was solved apart does not fit together: nothing is claimed.
                            doubts.insert(Doubt::TooComplex);
                        }
                    }
                    Solved::None => {}
                    Solved::GaveUp => drop(doubts.insert(Doubt::TooComplex)),
                }
            }
        }
        if scenarios.len() > 1 && (witness.is_some() || some_at_best) {
            open.insert(Attribute::Issuer);
        }
        let verdict = match &witness {
            Some(_) if every => Verdict::Allow,
            Some(_) => Verdict::Conditional,
            None if some_at_best || doubts.contains(&Doubt::TooComplex) => Verdict::Unknown,
            None => Verdict::Deny,
        };
        if verdict == Verdict::Unknown {
            doubts.extend(asked(chain, request));
            if open.iter().any(|attribute| matches!(attribute, Attribute::Metadata(_))) {
                doubts.insert(Doubt::Metadata);
            }
        } else {
            doubts.clear();
        }
        let decision = match &witness {
            Some(witness) => chain.decide(witness),
            None => refusal(chain, request),
        };
        Judgement { verdict, witness, decision, open, doubts }
    }

    /// Solves a formula, or remembers.
    pub fn solve(&mut self, formula: &Formula) -> Solved {
        if let Some(solved) = self.solved.get(formula) {
            return solved.clone();
        }
        let solved = self.solver.solve(formula);
        self.solved.insert(formula.clone(), solved.clone());
        solved
    }
}

/// The CUSTOM providers that may be asked about a request.
fn asked<'a>(chain: &'a Chain, request: &'a Request) -> impl Iterator<Item = Doubt> + 'a {
    let asked = |rule: &&CompiledRule| {
        chain.provider(rule) == Provider::Asked && rule.matches(request) != Some(false)
    };
    chain.custom.iter().filter(asked).map(|rule| Doubt::Provider(rule.reference()))
}

/// One way in which the token of a request can be.
struct Scenario {
    request: Request,
    /// What such requests have in common.
    possible: Formula,
    /// What else must hold, so that the token is accepted.
    wanted: Formula,
    /// Whether such a token is refused whatever the policies say.
    refused: bool,
}

/// Without a token, and with one of each issuer whose tokens are accepted, as far as that agrees with
/// what is known.
fn scenarios(chain: &Chain, request: &Request) -> Vec<Scenario> {
    let plain = |request: Request| Scenario {
        request,
        possible: Formula::Constant(true),
        wanted: Formula::Constant(true),
        refused: false,
    };
    let known = match &request.token {
        Fact::Absent => return vec![plain(request.clone())],
        Fact::Unknown => None,
        Fact::Known(token) => Some(token),
    };
    let mut scenarios = Vec::new();
    if known.is_none() {
        scenarios.push(plain(Request { token: Fact::Absent, ..request.clone() }));
    }
    let issuers: BTreeSet<&String> = chain.tokens.iter().map(|rule| &rule.issuer).collect();
    for issuer in issuers {
        let mut token = known.cloned().unwrap_or_else(|| Token { others_unknown: true, ..Token::default() });
        match &token.issuer {
            Fact::Known(other) if other != issuer => continue,
            Fact::Absent => continue,
            _ => token.issuer = Fact::Known(issuer.clone()),
        }
        let request = Request { token: Fact::Known(token), ..request.clone() };
        let accepted = |rule: &JwtRule| {
            if rule.audiences.is_empty() {
                return Formula::Constant(true);
            }
            Formula::any(rule.audiences.iter().map(|audience| {
                Formula::open_text(Attribute::Audience, &Pattern::Exact(audience.as_str().into()), &request)
            }))
        };
        let accepted = Formula::any(chain.tokens.iter().filter(|rule| rule.issuer == *issuer).map(accepted));
        let one_payload = one_payload(chain, &request);
        let wanted = Formula::all([one_payload.clone(), accepted]);
        // A token that is stated may be one that is refused; of others only the good ones count.
        let possible = if known.is_some() { one_payload } else { wanted.clone() };
        scenarios.push(Scenario { request, possible, wanted, refused: false });
    }
    // A token that is stated, of an issuer that is not, may also be one that nobody knows.
    if known.is_some_and(|token| token.issuer == Fact::Unknown) {
        if chain.tokens.iter().any(|rule| rule.default_location) {
            scenarios.push(Scenario { refused: true, ..plain(request.clone()) });
        } else {
            scenarios.push(plain(Request { token: Fact::Absent, ..request.clone() }));
        }
    }
    scenarios
}

/// A claim that has claims inside has no strings of its own.
fn one_payload(chain: &Chain, request: &Request) -> Formula {
    let claims: BTreeSet<&Attribute> = chain
        .rules()
        .flat_map(CompiledRule::conditions)
        .map(|condition| &condition.attribute)
        .filter(|attribute| matches!(attribute, Attribute::Claim(_)))
        .collect();
    let present = |claim: &Attribute| Formula::open_text(claim.clone(), &Pattern::Present, request);
    let mut apart = Vec::new();
    for outer in &claims {
        for inner in &claims {
            if let (Attribute::Claim(outer_path), Attribute::Claim(inner_path)) = (outer, inner)
                && inner_path.len() > outer_path.len()
                && inner_path.starts_with(outer_path)
            {
                apart.push(Formula::all([present(outer), present(inner)]).negated());
            }
        }
    }
    Formula::all(apart)
}

/// The requests that are let through, where CUSTOM providers say yes (`best`) or no to all.
fn allowed(chain: &Chain, request: &Request, best: bool, wanted: &Formula) -> Formula {
    let custom = chain.custom.iter().filter_map(|rule| match chain.provider(rule) {
        Provider::Ignored => None,
        Provider::Asked if best => None,
        Provider::Asked | Provider::Refuses => Some(rule_formula(rule, request).negated()),
    });
    let deny = chain.deny.iter().map(|rule| rule_formula(rule, request).negated());
    let allow = match &chain.allow {
        None => Formula::Constant(true),
        Some(rules) => Formula::any(rules.iter().map(|rule| rule_formula(rule, request))),
    };
    Formula::all([wanted.clone(), allow].into_iter().chain(custom).chain(deny))
}

/// The requests that a rule matches.
#[must_use]
pub fn rule_formula(rule: &CompiledRule, request: &Request) -> Formula {
    let lists = |lists: &[Vec<Condition>]| {
        Formula::any(lists.iter().map(|conditions| {
            Formula::all(conditions.iter().map(|condition| Formula::of_condition(condition, request)))
        }))
    };
    Formula::all([lists(&rule.to), lists(&rule.from)])
}

/// What refuses all requests of a set: the first DENY rule that matches all of them, else that no
/// ALLOW rule matches what DENY leaves.
fn refusal(chain: &Chain, request: &Request) -> Decision {
    let all = chain.deny.iter().find(|rule| rule.matches(request) == Some(true));
    match (all, &chain.allow) {
        (Some(rule), _) => Decision::Deny(rule.reference()),
        (None, Some(_)) => Decision::NoneAllows,
        (None, None) => {
            let partly = chain.deny.iter().find(|rule| rule.matches(request) != Some(false));
            partly.map_or(Decision::NoneAllows, |rule| Decision::Deny(rule.reference()))
        }
    }
}

/// A whole request: what is known, what the solution asks for, and plain values or absence for all
/// that does not matter.
fn complete(request: &Request, solution: &Solution) -> Request {
    let text = |attribute: Attribute| solution.texts.get(&attribute).and_then(|texts| texts.first()).cloned();
    let address = |attribute: Attribute| solution.addresses.get(&attribute).copied();
    let filled = |fact: &Fact<String>, attribute: Attribute, default: Option<&str>| match fact {
        Fact::Unknown => Fact::or_absent(text(attribute).or(default.map(str::to_owned))),
        known => known.clone(),
    };
    let mut headers = request.headers.clone();
    for (attribute, texts) in &solution.texts {
        if let Attribute::Header(name) = attribute {
            headers.insert(name.to_string(), texts.clone());
        }
    }
    let token = match &request.token {
        Fact::Known(token) => Fact::Known(complete_token(token, solution)),
        Fact::Unknown | Fact::Absent => Fact::Absent,
    };
    let ip = |fact: &Fact<_>, attribute| match fact {
        Fact::Unknown => Fact::or_unknown(address(attribute)),
        known => known.clone(),
    };
    Request {
        principal: filled(&request.principal, Attribute::Principal, None),
        source_ip: ip(&request.source_ip, Attribute::SourceIp),
        remote_ip: ip(&request.remote_ip, Attribute::RemoteIp),
        destination_ip: ip(&request.destination_ip, Attribute::DestinationIp),
        destination_port: request.destination_port,
        sni: filled(&request.sni, Attribute::Sni, None),
        method: filled(&request.method, Attribute::Method, Some("GET")),
        path: filled(&request.path, Attribute::Path, Some("/")),
        host: filled(&request.host, Attribute::Host, None),
        headers,
        other_headers_unknown: false,
        token,
    }
}

fn complete_token(token: &Token, solution: &Solution) -> Token {
    let texts = |attribute: Attribute| solution.texts.get(&attribute).cloned();
    let first = |attribute: Attribute| texts(attribute).and_then(|texts| texts.into_iter().next());
    let filled = |fact: &Fact<String>, attribute: Attribute| match fact {
        Fact::Unknown => Fact::or_absent(first(attribute)),
        known => known.clone(),
    };
    let mut claims: BTreeMap<String, serde_json::Value> = token.claims.clone();
    for (attribute, texts) in &solution.texts {
        let Attribute::Claim(path) = attribute else { continue };
        let Some((first, rest)) = path.split_first() else { continue };
        let mut value = match texts.as_slice() {
            // As a list it is taken as it is; alone, `scope` would be split.
            [one] if one.is_empty() || one.contains(' ') => serde_json::json!([one]),
            [one] => one.clone().into(),
            many => many.to_vec().into(),
        };
        for part in rest.iter().rev() {
            value = serde_json::json!({ part.to_string(): value });
        }
        match (claims.get_mut(&**first).and_then(|v| v.as_object_mut()), value) {
            (Some(existing), serde_json::Value::Object(new)) => existing.extend(new),
            (_, value) => drop(claims.insert(first.to_string(), value)),
        }
    }
    Token {
        issuer: filled(&token.issuer, Attribute::Issuer),
        subject: filled(&token.subject, Attribute::Subject),
        audiences: match &token.audiences {
            Fact::Unknown => Fact::or_absent(texts(Attribute::Audience)),
            known => known.clone(),
        },
        presenter: filled(&token.presenter, Attribute::Presenter),
        claims,
        others_unknown: false,
    }
}
