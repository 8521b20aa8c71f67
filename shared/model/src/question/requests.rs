//! Which requests get through, in words that a person can type: `POST /api/payments* :8080`.

use crate::authorization::attribute::Attribute;
use crate::authorization::chain::{Chain, Provider};
use crate::authorization::compile::{CompiledRule, Protocol};
use crate::authorization::condition::Condition;
use crate::authorization::formula::Formula;
use crate::authorization::judge::{Judge, rule_formula};
use crate::authorization::request::{Fact, Request};
use crate::authorization::solver::Solved;

use super::reason::values;

/// The requests that are let through, one line for each operation that an ALLOW rule gives, minus what
/// DENY rules take from it. Lines from which DENY takes all are left out.
#[must_use]
pub fn allowed(judge: &mut Judge, chain: &Chain, request: &Request) -> Vec<String> {
    let request = chain.view(request);
    let port = request.destination_port;
    // Which tokens exist is the judge's business; here any is imagined.
    let denied: Vec<&CompiledRule> = chain
        .deny
        .iter()
        .chain(chain.custom.iter().filter(|rule| chain.provider(rule) == Provider::Refuses))
        .filter(|rule| rule.matches(&request) != Some(false))
        .collect();
    let passes = |judge: &mut Judge, part: &Formula| {
        let all = denied.iter().map(|rule| rule_formula(rule, &request).negated());
        judge.solve(&Formula::all(all.chain([part.clone()]))) != Solved::None
    };
    let mut lines = Vec::new();
    let Some(rules) = &chain.allow else {
        let everything = Formula::Constant(true);
        if passes(judge, &everything) {
            let except = exceptions(judge, &denied, &request, &everything);
            let asked = asked(judge, chain, &request, &everything);
            lines.push(format!("{}{except}{asked}", line(&[], chain.protocol, port)));
        }
        return lines;
    };
    for rule in rules {
        for (conditions, formula) in alternatives(rule, &request) {
            if passes(judge, &formula) {
                let except = exceptions(judge, &denied, &request, &formula);
                let asked = asked(judge, chain, &request, &formula);
                let text = format!("{}{except}{asked}", line(&conditions, chain.protocol, port));
                if !lines.contains(&text) {
                    lines.push(text);
                }
            }
        }
    }
    lines
}

/// The pairs of a source and an operation of a rule that the request leaves possible, each with what
/// it leaves open.
fn alternatives<'a>(rule: &'a CompiledRule, request: &Request) -> Vec<(Vec<&'a Condition>, Formula)> {
    let open = |lists: &'a [Vec<Condition>]| {
        let mut open: Vec<Vec<&'a Condition>> = Vec::new();
        for conditions in lists {
            if conditions.iter().any(|condition| condition.holds(request) == Some(false)) {
                continue;
            }
            let left: Vec<&Condition> =
                conditions.iter().filter(|condition| condition.holds(request).is_none()).collect();
            if !open.contains(&left) {
                open.push(left);
            }
        }
        open
    };
    let (from, to) = (open(&rule.from), open(&rule.to));
    let mut pairs = Vec::new();
    for operation in &to {
        for source in &from {
            let conditions: Vec<&Condition> = operation.iter().chain(source).copied().collect();
            let formula =
                Formula::all(conditions.iter().map(|condition| Formula::of_condition(condition, request)));
            pairs.push((conditions, formula));
        }
    }
    pairs
}

/// What DENY rules take from a part, where they take something.
fn exceptions(judge: &mut Judge, denied: &[&CompiledRule], request: &Request, part: &Formula) -> String {
    let mut except = Vec::new();
    for rule in denied {
        for (conditions, formula) in alternatives(rule, request) {
            if judge.solve(&Formula::all([part.clone(), formula])) != Solved::None {
                let (words, rest) = words(&conditions);
                let text = [words, rest].concat().join(" ");
                if !except.contains(&text) {
                    except.push(text);
                }
            }
        }
    }
    if except.is_empty() { String::new() } else { format!(" except {}", except.join(" or ")) }
}

/// The part about which an external authorizer is asked.
fn asked(judge: &mut Judge, chain: &Chain, request: &Request, part: &Formula) -> String {
    let rules: Vec<&CompiledRule> =
        chain.custom.iter().filter(|rule| chain.provider(rule) == Provider::Asked).collect();
    let asked = exceptions(judge, &rules, request, part);
    match asked.strip_prefix(" except") {
        Some(" ") => " if the external authorizer agrees".to_owned(),
        Some(asked) => format!(", and the external authorizer decides about{asked}"),
        None => String::new(),
    }
}

fn line(conditions: &[&Condition], protocol: Protocol, port: u16) -> String {
    let (mut words, rest) = words(conditions);
    match protocol {
        Protocol::Tcp => words = vec!["tcp".to_owned()],
        Protocol::Http if words.is_empty() => words.push("*".to_owned()),
        Protocol::Http => {}
    }
    words.push(format!(":{port}"));
    words.extend(rest);
    words.join(" ")
}

/// Conditions as words: method and path as in a request line, and all else by name.
fn words(conditions: &[&Condition]) -> (Vec<String>, Vec<String>) {
    let mut method = None;
    let mut path = None;
    let mut rest = Vec::new();
    for condition in conditions {
        let text = values(&condition.matchers);
        match (&condition.attribute, condition.negated) {
            (Attribute::Method, false) if method.is_none() => method = Some(text),
            (Attribute::Path, false) if path.is_none() => path = Some(text),
            (Attribute::Subject, negated) => rest.push(named("jwt", negated, &text)),
            (attribute, negated) => rest.push(named(&name(attribute), negated, &text)),
        }
    }
    let words = match (method, path) {
        (None, None) => Vec::new(),
        (Some(method), None) => vec![method],
        (method, Some(path)) => vec![method.unwrap_or_else(|| "*".to_owned()), path],
    };
    (words, rest)
}

fn named(name: &str, negated: bool, text: &str) -> String {
    let equals = if negated { "!=" } else { "=" };
    format!("{name}{equals}{text}")
}

fn name(attribute: &Attribute) -> String {
    match attribute {
        Attribute::Header(name) => name.to_string(),
        Attribute::SourceIp => "ip".to_owned(),
        Attribute::Claim(path) => format!("claims.{}", path.join(".")),
        Attribute::Metadata(key) => format!("metadata.{key}"),
        other => other.to_string().replace(' ', "."),
    }
}

/// Whether anything of HTTP is stated of a request.
#[must_use]
pub fn states_http(request: &Request) -> bool {
    let stated = |fact: &Fact<String>| matches!(fact, Fact::Known(_));
    stated(&request.method)
        || stated(&request.path)
        || stated(&request.host)
        || !request.headers.is_empty()
        || matches!(request.token, Fact::Known(_))
}
