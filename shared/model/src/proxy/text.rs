//! Envoy's string matchers as patterns.
//!
//! `envoy.type.matcher.v3.StringMatcher`. Of regular expressions, only what Istio writes is read
//! (`pilot/pkg/security/authz/model/generator.go`, `matcher/string.go`): literals, `.`, `[^/]`, `*`, `+` and
//! groups of alternatives. Another is not guessed.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

use crate::pattern::{Class, Pattern, Piece};

/// What stands before every identity in a certificate.
const SCHEME: &str = "spiffe://";

/// More alternatives than Istio ever writes into one expression.
const MOST_ALTERNATIVES: usize = 16;

/// The patterns of which one must match; `None` where the matcher cannot be read.
pub(super) fn patterns(matcher: &Value) -> Option<Vec<Pattern>> {
    let text = |field: &str| matcher.get(field).and_then(Value::as_str);
    let found = if let Some(exact) = text("exact") {
        vec![Pattern::Exact(exact.into())]
    } else if let Some(prefix) = text("prefix") {
        vec![Pattern::Prefix(prefix.into())]
    } else if let Some(suffix) = text("suffix") {
        vec![Pattern::Suffix(suffix.into())]
    } else if let Some(inside) = text("contains") {
        let any = Piece::Star(Class::Any);
        vec![Pattern::Sequence([any.clone(), Piece::Literal(inside.into()), any].into())]
    } else {
        let expression = matcher.pointer("/safe_regex/regex")?.as_str()?;
        alternatives(expression)?.into_iter().map(|pieces| Pattern::Sequence(pieces.into())).collect()
    };
    let found = found.iter().map(canonical);
    if matcher.get("ignore_case").and_then(Value::as_bool) != Some(true) {
        return Some(found.collect());
    }
    // Pieces are compared as they are; Istio asks for both together nowhere.
    found
        .map(|pattern| match pattern {
            Pattern::Sequence(_) => None,
            Pattern::Present | Pattern::NonEmpty => Some(pattern),
            pattern => Some(Pattern::IgnoreCase(Box::new(pattern))),
        })
        .collect()
}

/// The same for identities, which the model has without `spiffe://`.
pub(super) fn principals(matcher: &Value) -> Option<Vec<Pattern>> {
    patterns(matcher)?.iter().map(without_scheme).collect()
}

fn without_scheme(pattern: &Pattern) -> Option<Pattern> {
    let rest = |text: &str| text.strip_prefix(SCHEME).map(Box::from);
    let stripped = match pattern {
        // `.+`: whoever has an identity. Istio's own suffixes begin with a slash.
        Pattern::Present | Pattern::NonEmpty => pattern.clone(),
        Pattern::Exact(text) => Pattern::Exact(rest(text)?),
        Pattern::Prefix(text) => Pattern::Prefix(rest(text)?),
        Pattern::Sequence(pieces) => match pieces.split_first()? {
            (Piece::Literal(text), others) => {
                let literal = Piece::Literal(rest(text)?);
                Pattern::Sequence(std::iter::once(literal).chain(others.iter().cloned()).collect())
            }
            // `.*/ns/...`: what comes before takes the scheme with it.
            (Piece::Star(Class::Any), _) => pattern.clone(),
            _ => return None,
        },
        Pattern::Suffix(_) | Pattern::IgnoreCase(_) => return None,
    };
    Some(canonical(&stripped))
}

/// One way to write a set of strings of which there are several, so that they can be compared.
#[must_use]
pub(super) fn canonical(pattern: &Pattern) -> Pattern {
    match pattern {
        Pattern::Prefix(text) | Pattern::Suffix(text) if text.is_empty() => Pattern::Present,
        Pattern::IgnoreCase(inner) => match canonical(inner) {
            Pattern::Present => Pattern::Present,
            inner => Pattern::IgnoreCase(Box::new(inner)),
        },
        Pattern::Sequence(pieces) => {
            let mut joined: Vec<Piece> = Vec::new();
            for piece in pieces {
                match (joined.last_mut(), piece) {
                    (_, Piece::Literal(text)) if text.is_empty() => {}
                    (Some(Piece::Literal(before)), Piece::Literal(text)) => {
                        *before = format!("{before}{text}").into();
                    }
                    _ => joined.push(piece.clone()),
                }
            }
            match joined.as_slice() {
                [] => Pattern::Exact("".into()),
                [Piece::Literal(text)] => Pattern::Exact(text.clone()),
                [Piece::Star(Class::Any)] => Pattern::Present,
                [Piece::Plus(Class::Any)] => Pattern::NonEmpty,
                [Piece::Literal(text), Piece::Star(Class::Any)] => Pattern::Prefix(text.clone()),
                [Piece::Star(Class::Any), Piece::Literal(text)] => Pattern::Suffix(text.clone()),
                _ => Pattern::Sequence(joined.into()),
            }
        }
        other => other.clone(),
    }
}

type Sequence = Vec<Piece>;

/// A regular expression as alternatives without groups.
fn alternatives(expression: &str) -> Option<Vec<Sequence>> {
    let mut characters = expression.chars().peekable();
    let found = union(&mut characters)?;
    // A bracket that nothing opened.
    if characters.next().is_some() { None } else { Some(found) }
}

/// Alternatives up to the end or a closing bracket, which stays.
fn union(characters: &mut Peekable<Chars<'_>>) -> Option<Vec<Sequence>> {
    let mut done = Vec::new();
    let mut current: Vec<Sequence> = vec![Vec::new()];
    while let Some(character) = characters.next_if(|next| *next != ')') {
        let appended = match character {
            '|' => {
                done.append(&mut current);
                current = vec![Vec::new()];
                continue;
            }
            '(' => {
                let mut inner = union(characters)?;
                characters.next_if_eq(&')')?;
                if characters.next_if_eq(&'?').is_some() {
                    inner.push(Vec::new());
                }
                inner
            }
            '.' => vec![vec![repeated(Class::Any, characters)]],
            '[' => {
                let rest: String = characters.by_ref().take(3).collect();
                if rest != "^/]" {
                    return None;
                }
                vec![vec![repeated(Class::NotSlash, characters)]]
            }
            // Go quotes punctuation only (`regexp.QuoteMeta`); behind a letter or digit is a class.
            '\\' => {
                let quoted = characters.next().filter(char::is_ascii_punctuation)?;
                vec![vec![repeated(Class::Only(quoted), characters)]]
            }
            '*' | '+' | '?' | '{' | '}' | ']' | '^' | '$' => return None,
            literal => vec![vec![repeated(Class::Only(literal), characters)]],
        };
        if characters.peek().is_some_and(|next| matches!(next, '*' | '+' | '?' | '{')) {
            return None;
        }
        current = current
            .iter()
            .flat_map(|before| appended.iter().map(|after| [before.as_slice(), after].concat()))
            .collect();
        if done.len() + current.len() > MOST_ALTERNATIVES {
            return None;
        }
    }
    done.append(&mut current);
    Some(done)
}

fn repeated(class: Class, characters: &mut Peekable<Chars<'_>>) -> Piece {
    match (characters.next_if(|next| matches!(next, '*' | '+')), class) {
        (Some('*'), class) => Piece::Star(class),
        (Some(_), class) => Piece::Plus(class),
        (None, Class::Only(only)) => Piece::Literal(only.to_string().into()),
        (None, class) => Piece::One(class),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::version::{Profile, Version};

    fn of(regex: &str) -> Option<Vec<Pattern>> {
        principals(&json!({ "safe_regex": { "regex": regex } }))
    }

    /// Expressions as Istio makes them give the patterns that the model makes of the same values.
    #[test]
    fn expressions_of_istio_are_the_models_patterns() {
        let profile = Profile::default();
        let old = Profile::new(Version::new(1, 21, 0));
        let account = |value| Pattern::service_account(value, "n", &profile);
        for (regex, expected) in [
            (".+", vec![Pattern::principal("*", &profile)]),
            (r"spiffe://.*/sa/a\.b", vec![Pattern::principal("*/sa/a.b", &profile)]),
            ("spiffe://.*/sa/a.b", vec![Pattern::principal("*/sa/a.b", &old)]),
            (r".*/ns/a\.b-.*/.*", vec![Pattern::namespace("a.b-*", &profile)]),
            (".*/ns/a.b+/.*", vec![Pattern::namespace("a.b+", &old)]),
            (r"spiffe://.+/ns/n/(.+/|)sa/x\.y(/.+)?", account("x.y")),
            ("spiffe://td-[^/]*/.*", vec![Pattern::trust_domain("td-*")]),
        ] {
            let mut found = of(regex).unwrap();
            let mut expected: Vec<Pattern> = expected.iter().map(canonical).collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{regex}");
        }
        let prefix = principals(&json!({ "prefix": "spiffe://td/" })).unwrap();
        assert_eq!(prefix, [Pattern::trust_domain("td")]);
        let any = principals(&json!({ "prefix": "spiffe://" })).unwrap();
        assert_eq!(any, [Pattern::trust_domain("*")]);
    }

    #[test]
    fn other_expressions_are_not_guessed() {
        for regex in
            ["^a$", "a{2}", "[ab]", r"\d", r"a\", "(a", "a)", "a**", "(a)*", "a?", "[^/", "dns.name", "(?i)a"]
        {
            assert_eq!(of(regex), None, "{regex}");
        }
        let many = "(a|b)".repeat(5);
        assert_eq!(alternatives(&many), None);
        assert_eq!(patterns(&json!({ "custom": {} })), None);
        assert_eq!(principals(&json!({ "exact": "CN=x" })), None, "a certificate's subject");
    }
}
