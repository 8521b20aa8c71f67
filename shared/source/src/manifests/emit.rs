//! Values as YAML that kubectl reads as the same values.
//!
//! Libraries write `yes` and `0o7` without quotes, because YAML 1.2 reads them as text; kubectl does
//! not. Here text is quoted unless our own reader, which has kubectl's rules, takes it for text.

use serde_json::Value;

use super::scalar::{self, Scalar};

/// A value as a YAML document in block style, maps sorted as serde_json has them, lists not indented,
/// as `kubectl get -o yaml` has it.
#[must_use]
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => block(value, 0, "\n", &mut text),
        Value::Array(elements) if !elements.is_empty() => block(value, 0, "\n", &mut text),
        _ => text = flow(value) + "\n",
    }
    text
}

/// A collection that is not empty, every line with its indentation and end; anything else gives
/// nothing.
pub(super) fn block(value: &Value, indent: usize, end: &str, text: &mut String) {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                text.push_str(&margin);
                text.push_str(&string(name));
                text.push(':');
                // Lists stand below their key.
                after(value, indent, if value.is_array() { indent } else { indent + 2 }, end, text);
            }
        }
        Value::Array(elements) => {
            for value in elements {
                text.push_str(&margin);
                text.push('-');
                if is_filled(value) {
                    // The first line of what is inside stands behind the dash.
                    let start = text.len();
                    block(value, indent + 2, end, text);
                    text.replace_range(start..start + indent + 2, " ");
                } else {
                    after(value, indent, indent + 2, end, text);
                }
            }
        }
        _ => {}
    }
}

/// What follows a key or a dash.
fn after(value: &Value, indent: usize, inner: usize, end: &str, text: &mut String) {
    if is_filled(value) {
        text.push_str(end);
        block(value, inner, end, text);
    } else if let Some((header, lines)) = value.as_str().and_then(literal) {
        text.push_str(header);
        text.push_str(end);
        for line in lines.lines() {
            if !line.is_empty() {
                text.push_str(&" ".repeat(indent + 2));
                text.push_str(line);
            }
            text.push_str(end);
        }
    } else {
        text.push(' ');
        text.push_str(&flow(value));
        text.push_str(end);
    }
}

/// Whether a value takes lines of its own.
pub(super) fn is_filled(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        _ => false,
    }
}

/// A text of several plain lines as literal block: its header and its lines.
fn literal(text: &str) -> Option<(&'static str, &str)> {
    let body = text.strip_suffix('\n');
    let lines = body.unwrap_or(text);
    let plain = lines.contains('\n')
        && !lines.starts_with([' ', '\n'])
        && !lines.ends_with('\n')
        && lines.lines().all(|line| !line.ends_with(' '))
        && lines.chars().all(|character| character == '\n' || is_printable(character));
    plain.then_some((if body.is_some() { " |" } else { " |-" }, lines))
}

/// A value on one line, as it may stand in block and in flow style.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{}: {}", string(name), flow(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        _ => value.to_string(),
    }
}

/// Text, quoted where it must be.
pub(super) fn string(text: &str) -> String {
    let starts =
        text.chars().next().is_some_and(|first| first.is_ascii_alphanumeric() || "/._".contains(first));
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-@+=~^$()".contains(character);
    let inner = text.strip_suffix(|last: char| plain(last));
    let harmless = starts
        && inner.is_some_and(|inner| inner.chars().all(|character| plain(character) || character == ' '))
        && !text.starts_with("...");
    if harmless && scalar::resolve(text) == Scalar::Text {
        return text.to_owned();
    }
    quoted(text)
}

/// Text in double quotes, as JSON and YAML both read it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            _ if is_printable(character) => quoted.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    quoted.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a character may stand in YAML by itself and be seen.
fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;
    use crate::manifests::documents;

    #[test]
    fn looks_as_kubectl_writes_it() {
        let value = json!({
            "spec": {"hosts": ["payment", "*.shop", "yes", "1.5"], "http": [{"route": [{"weight": 90}], "match": []}], "tls": {}},
            "empty": "", "nested": [[1, 2], []], "code": "a\n\n  b\n", "cut": "a\nb", "at": "5s",
        });
        assert_eq!(
            to_yaml(&value),
            "at: 5s\ncode: |\n  a\n\n    b\ncut: |-\n  a\n  b\nempty: \"\"\nnested:\n- - 1\n  - 2\n- []\n\
             spec:\n  hosts:\n  - payment\n  - \"*.shop\"\n  - \"yes\"\n  - \"1.5\"\n  http:\n  - match: []\n    \
             route:\n    - weight: 90\n  tls: {}\n"
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "\\PC{0,6}",
            "[ -~\n\t]{0,8}",
            "[-:#.,&*!|>'\"%@` a0\n]{0,6}",
            "yes|no|on|off|y|n|true|null|~|0x1f|012|1_0|1e3|\\.5|\\.inf|2026-01-01|<<|=|---|\\.\\.\\."
        ];
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e6..1e6_f64).prop_map(Value::from),
            text.clone().prop_map(Value::from)
        ];
        scalar.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(Map::from_iter(map))),
            ]
        })
    }

    proptest! {
        #[test]
        fn is_read_as_the_same_value(value in value()) {
            for text in [to_yaml(&value), flow(&value)] {
                let read = documents("x", &text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
                let read = read.into_iter().next().map_or(Value::Null, |document| document.value);
                prop_assert_eq!(&read, &value, "{}", text);
            }
        }
    }
}
