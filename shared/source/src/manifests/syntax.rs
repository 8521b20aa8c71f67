//! What is wrong with broken YAML, in plain words, and what to do about it.

use std::borrow::Cow;

use granit_parser::ErrorKind;

/// The cause of a syntax error and the advice that goes with it. Kinds that people hardly meet
/// keep the parser's words.
pub(super) fn explain(kind: &ErrorKind) -> (Cow<'static, str>, &'static str) {
    const INDENT: &str = "indent the line with the same spaces as its neighbours in the same mapping or list";
    const QUOTE: &str = "put the value in quotes";
    let (cause, advice) = match kind {
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => (
            "a second `: ` stands where only a value may stand",
            "put the value in quotes if the colon belongs to it; else check the indentation of this line, and \
             for a bracket that is left open above it",
        ),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => {
            ("a tab stands where YAML allows only spaces", "replace tabs by spaces")
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => {
            ("a quoted string has no end", "add the missing quote")
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => (
            "text follows directly after a quoted string",
            "put the whole value in one pair of quotes; inside single quotes write ' as ''",
        ),
        ErrorKind::UnknownQuotedScalarEscape | ErrorKind::InvalidQuotedScalarHexEscape => (
            "a double-quoted string holds a `\\` with a meaning that YAML does not know",
            "use single quotes, in which `\\` has no meaning, or write it as `\\\\`",
        ),
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping => (
            "a `[` or `{` is never closed",
            "add the missing `]` or `}`; put the value in quotes if the bracket belongs to text",
        ),
        ErrorKind::ExpectedFlowMappingSeparator => ("a `,` or `}` is missing", QUOTE),
        ErrorKind::ExpectedFlowSequenceSeparator => ("a `,` or `]` is missing", QUOTE),
        ErrorKind::MisplacedFlowCollectionEnd | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            ("a closing bracket has no opening one of its kind", QUOTE)
        }
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            ("a key followed by `:` is expected here", INDENT)
        }
        ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation
        | ErrorKind::InvalidBlockScalarIndent
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::InvalidFlowScalarIndent
        | ErrorKind::MappingKeyNotAllowed
        | ErrorKind::BlockSequenceEntryNotAllowed => ("the indentation does not fit the lines above", INDENT),
        ErrorKind::UnexpectedCharacter { .. } | ErrorKind::ExpectedNodeContent => {
            ("this character cannot start a value", QUOTE)
        }
        ErrorKind::UnknownAnchor => (
            "an alias `*name` has no anchor `&name` before it in the same document",
            "define the anchor first, or put the value in quotes if it is text that starts with `*`",
        ),
        ErrorKind::MissingAnchorOrAliasName => {
            ("a `*` or `&` stands alone", "put the value in quotes if it is text, like \"*\"")
        }
        ErrorKind::ExpectedDocumentStart | ErrorKind::InvalidDocumentEnd => (
            "text follows after the end of the document",
            "check the indentation of this line, or separate documents with a line `---`",
        ),
        other => return (other.to_string().into(), "correct the YAML at this place"),
    };
    (cause.into(), advice)
}
