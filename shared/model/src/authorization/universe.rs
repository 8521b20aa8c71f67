//! What an attribute can be at all when a rule reads it: as a test for one value, and as a regular
//! language.
//!
//! Measured on a real Envoy where it is not plain (tests/envoy/MEASURED.md).

use aws_smt_strings::character_sets::CharSet;
use aws_smt_strings::regular_expressions::{ReManager, RegLan};

use super::attribute::Attribute;
use super::request::{ALWAYS_PRESENT, CERTIFICATE};
use crate::path::Normalization;
use crate::pattern::one_of;

/// Whether a value can arrive at all.
pub(super) fn contains(attribute: &Attribute, text: &str, normalization: Normalization) -> bool {
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

/// All values that an attribute can have, or only those that are easy on the eye.
pub(super) fn language(
    languages: &mut ReManager,
    attribute: &Attribute,
    normalization: Normalization,
    readable: bool,
) -> RegLan {
    match attribute {
        Attribute::Path => path_language(languages, normalization, readable),
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
                Attribute::Header(_) => return header_language(languages),
                _ => return languages.full(),
            };
            let class = one_of(languages, &characters);
            if *attribute == Attribute::Method { languages.plus(class) } else { languages.star(class) }
        }
    }
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
fn header_language(languages: &mut ReManager) -> RegLan {
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
pub(super) fn can_be_absent(attribute: &Attribute) -> bool {
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

/// Characters that can stand in a path that was normalized; all others arrive percent-encoded
/// (tests/envoy/MEASURED.md).
const PATH: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/!$%&'()*+,-.:;=@[]_~";

/// Paths as they can arrive at a policy, with an optional query.
fn path_language(languages: &mut ReManager, normalization: Normalization, readable: bool) -> RegLan {
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
        let mut languages = ReManager::new();
        let universe = language(&mut languages, attribute, mode, readable);
        languages.str_in_re(&SmtString::from(text), universe)
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
                    let can_arrive = contains(&attribute, &text, mode);
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
}
