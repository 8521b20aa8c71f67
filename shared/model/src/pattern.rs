//! Patterns over strings as Istio writes them, and the sets of strings that they stand for.
//!
//! Every pattern can do two things that must always agree: match one string, and be turned into a
//! regular language for the [solver](crate::authorization::solver).

use std::fmt;

use aws_smt_strings::character_sets::CharSet;
use aws_smt_strings::regular_expressions::{ReManager, RegLan};
use aws_smt_strings::smt_strings::{MAX_CHAR, SmtString};

use crate::version::Profile;

/// A set of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Every character.
    Any,
    /// Every character but `/`.
    NotSlash,
    /// This character.
    Only(char),
    /// What Envoy's URI template operators `*` and `**` accept between slashes. Older Envoys leave
    /// out `=` and `*` (measured: tests/envoy/MEASURED.md).
    Template {
        /// Whether `/` belongs to it (`**`).
        slash: bool,
        /// Whether the two characters above belong to it.
        wide: bool,
    },
}

impl Class {
    const TEMPLATE: &'static str =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()+,;:@";
    const WIDE: &'static str = "=*";

    fn contains(self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::NotSlash => c != '/',
            Self::Only(only) => c == only,
            Self::Template { slash, wide } => {
                Self::TEMPLATE.contains(c) || (slash && c == '/') || (wide && Self::WIDE.contains(c))
            }
        }
    }

    fn language(self, languages: &mut ReManager) -> RegLan {
        match self {
            Self::Any => languages.all_chars(),
            Self::NotSlash => {
                let (all, slash) = (languages.all_chars(), languages.char('/'.into()));
                let not_slash = languages.complement(slash);
                languages.inter(all, not_slash)
            }
            Self::Only(c) => one_of(languages, c.encode_utf8(&mut [0; 4])),
            Self::Template { slash, wide } => {
                let mut characters = Self::TEMPLATE.to_owned();
                if slash {
                    characters.push('/');
                }
                if wide {
                    characters.push_str(Self::WIDE);
                }
                one_of(languages, &characters)
            }
        }
    }
}

/// A text for the automata. Characters beyond theirs, of planes that nobody writes names in, become
/// the replacement character.
fn characters(text: &str) -> SmtString {
    text.chars().map(u32::from).collect::<Vec<u32>>().into()
}

/// The language of the single characters in `characters`.
pub(crate) fn one_of(languages: &mut ReManager, characters: &str) -> RegLan {
    let sets: Vec<RegLan> = characters
        .chars()
        .map(|c| languages.char_set(CharSet::singleton(u32::from(c).min(MAX_CHAR))))
        .collect();
    languages.union_list(sets)
}

/// A part of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Piece {
    /// These characters.
    Literal(Box<str>),
    /// One character of a class.
    One(Class),
    /// Any number of characters of a class.
    Star(Class),
    /// One or more characters of a class.
    Plus(Class),
}

/// A set of strings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// Every string, also the empty one: what a present header has.
    Present,
    /// Every string but the empty one.
    NonEmpty,
    /// This string.
    Exact(Box<str>),
    /// Strings that start so.
    Prefix(Box<str>),
    /// Strings that end so.
    Suffix(Box<str>),
    /// [`Self::Exact`], [`Self::Prefix`] and [`Self::Suffix`] without regard to ASCII case.
    IgnoreCase(Box<Pattern>),
    /// One piece after the other, from the first character to the last.
    Sequence(Box<[Piece]>),
}

impl Pattern {
    /// Istio's string syntax: `*` is any non-empty string, a leading `*` a suffix, else a trailing
    /// `*` a prefix, else exact; the first test wins, so `*a*` is the literal suffix `a*`
    /// (`pilot/pkg/security/authz/matcher/string.go`).
    #[must_use]
    pub fn text(value: &str) -> Self {
        match value {
            "*" => Self::NonEmpty,
            _ => Self::affix(value),
        }
    }

    /// The same syntax for headers and hosts, where `*` is presence, even of an empty value
    /// (`matcher/header.go`; measured on Envoy 1.38).
    #[must_use]
    pub fn header(value: &str) -> Self {
        match value {
            "*" => Self::Present,
            _ => Self::affix(value),
        }
    }

    /// [`Self::header`] without regard to ASCII case (`HostMatcher` in `matcher/header.go`).
    #[must_use]
    pub fn host(value: &str) -> Self {
        match Self::header(value) {
            Self::Present => Self::Present,
            pattern => Self::IgnoreCase(Box::new(pattern)),
        }
    }

    fn affix(value: &str) -> Self {
        if let Some(suffix) = value.strip_prefix('*') {
            Self::Suffix(suffix.into())
        } else if let Some(prefix) = value.strip_suffix('*') {
            Self::Prefix(prefix.into())
        } else {
            Self::Exact(value.into())
        }
    }

    /// A `paths` value: a template if it holds `{*}` or `{**}`, else Istio's string syntax
    /// (`pathGenerator` in `authz/model/generator.go`).
    #[must_use]
    pub fn path(value: &str, profile: &Profile) -> Self {
        if !profile.path_templates || !is_template(value) {
            return Self::text(value);
        }
        let wide = profile.wide_templates;
        let mut pieces = Vec::new();
        let mut rest = value;
        while let Some(at) = rest.find("{*") {
            let (operator, length) = if rest[at..].starts_with("{*}") {
                (Piece::Plus(Class::Template { slash: false, wide }), 3)
            } else if rest[at..].starts_with("{**}") {
                (Piece::Star(Class::Template { slash: true, wide }), 4)
            } else {
                push_literal(&mut pieces, &rest[..at + 2]);
                rest = &rest[at + 2..];
                continue;
            };
            push_literal(&mut pieces, &rest[..at]);
            pieces.push(operator);
            rest = &rest[at + length..];
        }
        push_literal(&mut pieces, rest);
        Self::Sequence(pieces.into())
    }

    /// A `principals` value, matched against the identity without `spiffe://`.
    /// A suffix was an unquoted regular expression before `quoted_principals` (release note 59992).
    #[must_use]
    pub fn principal(value: &str, profile: &Profile) -> Self {
        match value.strip_prefix('*') {
            Some(suffix)
                if !suffix.is_empty() && !profile.quoted_principals && suffix.contains(['.', '*', '+']) =>
            {
                let mut pieces = vec![Piece::Star(Class::Any)];
                unquoted(&mut pieces, suffix);
                Self::Sequence(pieces.into())
            }
            _ => Self::text(value),
        }
    }

    /// A `namespaces` value: the regular expression `.*/ns/VALUE/.*` over the whole identity, each
    /// `*` in the value being `.*` (`srcNamespaceGenerator`).
    #[must_use]
    pub fn namespace(value: &str, profile: &Profile) -> Self {
        let mut pieces = vec![Piece::Star(Class::Any)];
        push_literal(&mut pieces, "/ns/");
        for (index, literal) in value.split('*').enumerate() {
            if index > 0 {
                pieces.push(Piece::Star(Class::Any));
            }
            if profile.quoted_principals {
                push_literal(&mut pieces, literal);
            } else {
                unquoted(&mut pieces, literal);
            }
        }
        push_literal(&mut pieces, "/");
        pieces.push(Piece::Star(Class::Any));
        Self::Sequence(pieces.into())
    }

    /// A `serviceAccounts` value: `namespace/name`, or `name` in the namespace of the policy; the
    /// regular expression `spiffe://.+/ns/NS/(.+/|)sa/NAME(/.+)?` (`serviceAccountRegex`), as its
    /// four alternatives.
    #[must_use]
    pub fn service_account(value: &str, policy_namespace: &str, profile: &Profile) -> Vec<Self> {
        let (namespace, name) = value.split_once('/').unwrap_or((policy_namespace, value));
        let mut alternatives = Vec::new();
        for between in [false, true] {
            for after in [false, true] {
                let mut pieces = vec![Piece::Plus(Class::Any)];
                push_literal(&mut pieces, &format!("/ns/{namespace}/"));
                if between {
                    pieces.push(Piece::Plus(Class::Any));
                    push_literal(&mut pieces, "/");
                }
                push_literal(&mut pieces, "sa/");
                if profile.quoted_service_accounts {
                    push_literal(&mut pieces, name);
                } else {
                    unquoted(&mut pieces, name);
                }
                if after {
                    push_literal(&mut pieces, "/");
                    pieces.push(Piece::Plus(Class::Any));
                }
                alternatives.push(Self::Sequence(pieces.into()));
            }
        }
        alternatives
    }

    /// A `trustDomains` value (`srcTrustDomainGenerator`): any, exact, or with one `*` that does not
    /// reach over a slash.
    #[must_use]
    pub fn trust_domain(value: &str) -> Self {
        if value == "*" {
            return Self::Present;
        }
        let Some((before, after)) = value.split_once('*') else {
            return Self::Prefix(format!("{value}/").into());
        };
        let mut pieces = Vec::new();
        push_literal(&mut pieces, before);
        pieces.push(Piece::Star(Class::NotSlash));
        push_literal(&mut pieces, &format!("{after}/"));
        pieces.push(Piece::Star(Class::Any));
        Self::Sequence(pieces.into())
    }

    /// Whether `text` is in the set.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Present => true,
            Self::NonEmpty => !text.is_empty(),
            Self::Exact(value) => text == &**value,
            Self::Prefix(value) => text.starts_with(&**value),
            Self::Suffix(value) => text.ends_with(&**value),
            Self::IgnoreCase(pattern) => pattern.matches_ignoring_case(text),
            Self::Sequence(pieces) => sequence_matches(pieces, text),
        }
    }

    fn matches_ignoring_case(&self, text: &str) -> bool {
        let (text, all) = (text.as_bytes(), text.len());
        match self {
            Self::Exact(value) => text.eq_ignore_ascii_case(value.as_bytes()),
            Self::Prefix(value) => {
                text.get(..value.len()).is_some_and(|start| start.eq_ignore_ascii_case(value.as_bytes()))
            }
            Self::Suffix(value) => all
                .checked_sub(value.len())
                .and_then(|from| text.get(from..))
                .is_some_and(|end| end.eq_ignore_ascii_case(value.as_bytes())),
            Self::Present => true,
            Self::NonEmpty => all > 0,
            Self::IgnoreCase(pattern) => {
                pattern.matches_ignoring_case(std::str::from_utf8(text).unwrap_or(""))
            }
            Self::Sequence(pieces) => sequence_matches(pieces, std::str::from_utf8(text).unwrap_or("")),
        }
    }

    /// The set as a regular language.
    pub(crate) fn language(&self, languages: &mut ReManager) -> RegLan {
        match self {
            Self::Present => languages.full(),
            Self::NonEmpty => languages.sigma_plus(),
            Self::IgnoreCase(pattern) => pattern.affix_language(languages, true),
            Self::Exact(_) | Self::Prefix(_) | Self::Suffix(_) => self.affix_language(languages, false),
            Self::Sequence(pieces) => {
                let parts: Vec<RegLan> = pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Literal(value) => languages.str(&characters(value)),
                        Piece::One(class) => class.language(languages),
                        Piece::Star(class) => {
                            let class = class.language(languages);
                            languages.star(class)
                        }
                        Piece::Plus(class) => {
                            let class = class.language(languages);
                            languages.plus(class)
                        }
                    })
                    .collect();
                languages.concat_list(parts)
            }
        }
    }

    fn affix_language(&self, languages: &mut ReManager, ignore_case: bool) -> RegLan {
        let literal = |languages: &mut ReManager, value: &str| {
            if !ignore_case {
                return languages.str(&characters(value));
            }
            let characters: Vec<RegLan> = value
                .chars()
                .map(|c| {
                    let both = [c.to_ascii_lowercase(), c.to_ascii_uppercase()];
                    one_of(languages, &String::from_iter(both))
                })
                .collect();
            languages.concat_list(characters)
        };
        let full = languages.full();
        match self {
            Self::Exact(value) => literal(languages, value),
            Self::Prefix(value) => {
                let value = literal(languages, value);
                languages.concat(value, full)
            }
            Self::Suffix(value) => {
                let value = literal(languages, value);
                languages.concat(full, value)
            }
            other => other.language(languages),
        }
    }

    /// The only string of the set, if the pattern says so on its face.
    #[must_use]
    pub fn as_exact(&self) -> Option<&str> {
        match self {
            Self::Exact(value) => Some(value),
            _ => None,
        }
    }
}

/// Whether a `paths` value is a template (`ContainsPathTemplate` in `pkg/config/security`).
#[must_use]
pub fn is_template(value: &str) -> bool {
    value.contains("{*}") || value.contains("{**}")
}

fn push_literal(pieces: &mut Vec<Piece>, literal: &str) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
}

/// A literal that Istio put into a regular expression without quoting: `.` is any character, and `*`
/// and `+` repeat what is before them. Other metacharacters are in nobody's name.
fn unquoted(pieces: &mut Vec<Piece>, literal: &str) {
    let mut characters = literal.chars().peekable();
    let mut plain = String::new();
    while let Some(character) = characters.next() {
        let class = if character == '.' { Class::Any } else { Class::Only(character) };
        let piece: fn(Class) -> Piece = match characters.next_if(|next| matches!(next, '*' | '+')) {
            Some('*') => Piece::Star,
            Some(_) => Piece::Plus,
            None if class == Class::Any => Piece::One,
            None => {
                plain.push(character);
                continue;
            }
        };
        push_literal(pieces, &std::mem::take(&mut plain));
        pieces.push(piece(class));
    }
    push_literal(pieces, &plain);
}

/// Matches by following all ways at once, so that no input takes more than pieces x characters.
fn sequence_matches(pieces: &[Piece], text: &str) -> bool {
    // `reached[i]`: the first i pieces match the text so far; a Literal in progress is checked whole
    // at its start, so `due[i]` holds the byte positions at which piece i may begin.
    let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for piece in pieces {
        let mut next = vec![false; text.len() + 1];
        match piece {
            Piece::Literal(value) => {
                for &at in boundaries.iter().filter(|at| reached[**at]) {
                    if text[at..].starts_with(&**value) {
                        next[at + value.len()] = true;
                    }
                }
            }
            Piece::One(class) | Piece::Star(class) | Piece::Plus(class) => {
                let repeats = !matches!(piece, Piece::One(_));
                if matches!(piece, Piece::Star(_)) {
                    next.clone_from(&reached);
                }
                for pair in boundaries.windows(2) {
                    let &[at, after] = pair else { continue };
                    let from = reached[at] || (repeats && next[at]);
                    if from && text[at..after].chars().all(|c| class.contains(c)) {
                        next[after] = true;
                    }
                }
            }
        }
        reached = next;
    }
    reached[text.len()]
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present | Self::NonEmpty => f.write_str("*"),
            Self::Exact(value) => f.write_str(value),
            Self::Prefix(value) => write!(f, "{value}*"),
            Self::Suffix(value) => write!(f, "*{value}"),
            Self::IgnoreCase(pattern) => pattern.fmt(f),
            Self::Sequence(pieces) => pieces.iter().try_for_each(|piece| match piece {
                Piece::Literal(value) => f.write_str(value),
                Piece::One(_) => f.write_str("?"),
                Piece::Star(Class::Only(c)) => write!(f, "{c}*"),
                Piece::Plus(Class::Only(c)) => write!(f, "{c}+"),
                Piece::Star(Class::Template { .. }) => f.write_str("{**}"),
                Piece::Plus(Class::Template { .. }) => f.write_str("{*}"),
                Piece::Star(_) | Piece::Plus(_) => f.write_str("*"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::version::Version;

    fn patterns(value: &str) -> Vec<Pattern> {
        let mut patterns = vec![
            Pattern::text(value),
            Pattern::header(value),
            Pattern::host(value),
            Pattern::trust_domain(value),
        ];
        for version in [Version::new(1, 21, 0), Version::new(1, 27, 0), Version::NEWEST] {
            let profile = Profile::new(version);
            patterns.push(Pattern::path(value, &profile));
            patterns.push(Pattern::principal(value, &profile));
            patterns.push(Pattern::namespace(value, &profile));
            patterns.extend(Pattern::service_account(value, "n", &profile));
        }
        patterns
    }

    /// A few cases where nobody asks for more.
    fn few(cases: u32) -> ProptestConfig {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases, ..config } }
    }

    proptest! {
        #![proptest_config(few(64))]

        /// Matching and the language for the solver are two ways to say the same.
        #[test]
        fn matching_agrees_with_the_language(
            value in r"(a|b|A|/|\*|\.|\+|\{\*\}|\{\*\*\}|/ns/|sa/|é|%|=|\[){0,6}",
            texts in proptest::collection::vec(r"(a|b|A|B|/|\*|\.|\+|n|/ns/|sa/|é|%|=|\[|\{){0,8}", 1..8),
        ) {
            let mut languages = ReManager::new();
            // Texts near the value match more often.
            let near = [value.clone(), value.replace('*', "a"), value.replace("{**}", "a/b"), value.to_uppercase()];
            for pattern in patterns(&value) {
                let language = pattern.language(&mut languages);
                for text in texts.iter().chain(&near) {
                    let said = languages.str_in_re(&SmtString::from(text.as_str()), language);
                    prop_assert_eq!(pattern.matches(text), said, "{:?} {}", pattern, text);
                }
            }
        }
    }
}
