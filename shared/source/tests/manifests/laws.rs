//! What holds for every manifest.

use mesh_source::manifests::{documents, parse};
use proptest::prelude::*;
use serde_json::{Map, Number, Value};

/// Words that YAML reads as something else when they are not quoted, and awkward text.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            "~",
            "null",
            "true",
            "yes",
            "012",
            "1e3",
            "0x1F",
            ".inf",
            "-",
            "<<",
            "=",
            "*",
            "&a",
            "!t",
            "{{ x }}",
            "a: b",
            "a #b",
            "#",
            "---",
            "- x",
            "8080",
            "1_000",
            " x ",
            "a\nb\n",
            "\ttab",
            "'",
            "\"",
            "a/b~c",
            "%",
            "\u{1b}[31m",
            "\u{2028}",
            "é",
            "😀",
            "2001-01-01",
            "0b1",
            "1.",
            "@x",
            "`x`",
            "\r\n",
            "\u{85}",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9./_-]{1,20}",
        "\\PC{0,30}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1.0e15..1.0e15_f64).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Integral floats become integers, as on their way through kubectl.
fn as_read(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) if float.fract() == 0.0 =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "below 10^15")]
                Value::Number(Number::from(float as i64))
            }
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(as_read).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), as_read(value))).collect())
        }
        _ => value.clone(),
    }
}

/// Whether a value holds text that YAML 1.2 leaves unquoted and kubectl takes for a boolean or a
/// number: `yes`, `1_000`, `012`; or a line break of YAML 1.1 only, which the writer folds.
fn has_disputed(value: &Value) -> bool {
    let disputed = |text: &str| {
        let word = text.to_ascii_lowercase();
        ["y", "n", "yes", "no", "on", "off", "<<"].contains(&&*word)
            || text.contains(['\u{85}', '\u{2028}', '\u{2029}'])
            || text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
    };
    match value {
        Value::String(text) => disputed(text),
        Value::Array(items) => items.iter().any(has_disputed),
        Value::Object(fields) => fields.iter().any(|(key, value)| disputed(key) || has_disputed(value)),
        _ => false,
    }
}

fn read(text: &str) -> Value {
    documents("a", text).unwrap().pop().map_or(Value::Null, |document| document.value)
}

/// Every pointer into a value, with the key or index that it ends in.
fn pointers(value: &Value, at: &str, all: &mut Vec<(String, Option<String>)>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                all.push((format!("{at}/{index}"), None));
                pointers(item, &format!("{at}/{index}"), all);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                all.push((pointer.clone(), Some(key.clone())));
                pointers(field, &pointer, all);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn json_is_read_as_json(value in value()) {
        prop_assert_eq!(read(&serde_json::to_string(&value).unwrap()), as_read(&value));
        prop_assert_eq!(read(&serde_json::to_string_pretty(&value).unwrap()), as_read(&value));
    }

    /// Except where the writer follows YAML 1.2 and kubectl does not.
    #[test]
    fn yaml_is_read_as_it_was_written(value in value()) {
        if has_disputed(&value) {
            return Ok(());
        }
        let text = serde_yaml::to_string(&value).unwrap();
        prop_assert_eq!(read(&text), as_read(&value), "{}", text);
    }

    /// In pretty JSON each key and each element has its own line, which must be the one recorded.
    #[test]
    fn lines_hold_their_keys(value in value()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let Some(document) = documents("a", &text).unwrap().pop() else { return Ok(()) };
        let lines: Vec<&str> = text.split('\n').collect();
        let mut all = Vec::new();
        pointers(&document.value, "", &mut all);
        let mut places = Vec::new();
        for (pointer, key) in all {
            let line = document.lines.line_of(&pointer).unwrap();
            let shown = lines[line as usize - 1].trim_start();
            if let Some(key) = key {
                let key = serde_json::to_string(&key).unwrap();
                prop_assert!(shown.starts_with(&format!("{key}: ")), "{pointer} is not at {line}: {shown}");
            }
            places.push(line);
        }
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        prop_assert_eq!(places.len(), count, "two parts share a line");
    }

    #[test]
    fn no_text_panics(text in "[\\[\\]{}:,&*!|>'\"%@`#?\\-<~ \n\ta1.=]{0,60}") {
        let _ = parse("a", &text, "x");
        let _ = documents("a", &text);
    }
}
