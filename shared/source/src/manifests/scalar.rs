//! What a plain scalar means.
//!
//! kubectl turns YAML into JSON with `sigs.k8s.io/yaml`, which resolves scalars as go-yaml 2 does:
//! mostly YAML 1.1 (`yes`, `on` and `y` are true, `012` is ten), with a few habits of Go's number
//! parser. The rules are those of `goyaml.v2/resolve.go` in kubernetes-sigs/yaml; the tests hold
//! what `kubectl label --local` answered.

use std::borrow::Cow;

use serde_json::Number;

/// A resolved plain scalar.
#[derive(Debug, PartialEq)]
pub(super) enum Scalar {
    /// `~`, `null`, or nothing at all.
    Null,
    /// `true`, `yes`, `on`, `y` and their opposites.
    Boolean(bool),
    /// An integer or a finite float.
    Number(Number),
    /// `.inf` and `.nan`, which JSON cannot hold and kubectl refuses.
    NotFinite,
    /// Anything else. Timestamps are text, since JSON has no type for them.
    Text,
}

/// Resolves an untagged plain scalar.
pub(super) fn resolve(text: &str) -> Scalar {
    let Some(first) = text.bytes().next() else { return Scalar::Null };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(text),
        b'.' => match text {
            ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" => Scalar::NotFinite,
            _ => float(text),
        },
        b'+' | b'-' => match text.get(1..) {
            Some(".inf" | ".Inf" | ".INF") => Scalar::NotFinite,
            _ => number(text),
        },
        b'0'..=b'9' => number(text),
        _ => Scalar::Text,
    }
}

fn word(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Boolean(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Boolean(false)
        }
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        _ => Scalar::Text,
    }
}

fn number(text: &str) -> Scalar {
    // Underscores may stand anywhere after the first character: `1__0` is ten.
    let plain: Cow<'_, str> = if text.contains('_') { text.replace('_', "").into() } else { text.into() };
    let (negative, unsigned) = match plain.as_bytes().first() {
        Some(b'-') => (true, plain.get(1..).unwrap_or_default()),
        Some(b'+') => (false, plain.get(1..).unwrap_or_default()),
        _ => (false, &*plain),
    };
    let (radix, digits, prefixed) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, unsigned.get(2..).unwrap_or_default(), true),
        [b'0', b'b' | b'B', ..] => (2, unsigned.get(2..).unwrap_or_default(), true),
        [b'0', b'o' | b'O', ..] => (8, unsigned.get(2..).unwrap_or_default(), true),
        [b'0', _, ..] => (8, unsigned.get(1..).unwrap_or_default(), false),
        _ => (10, unsigned, false),
    };
    if !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix)) {
        if let Some(integer) = integer(negative, radix, digits) {
            return Scalar::Number(integer);
        }
        if prefixed {
            // Go reads it as a big integer, JSON as the nearest double.
            let magnitude = digits
                .chars()
                .filter_map(|digit| digit.to_digit(radix))
                .fold(0.0_f64, |magnitude, digit| magnitude.mul_add(f64::from(radix), f64::from(digit)));
            return finite(if negative { -magnitude } else { magnitude });
        }
    }
    float(&plain)
}

fn integer(negative: bool, radix: u32, digits: &str) -> Option<Number> {
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        0_i64.checked_sub_unsigned(magnitude).map(Number::from)
    } else {
        Some(Number::from(magnitude))
    }
}

fn float(text: &str) -> Scalar {
    // Rust also reads `inf`, `nan` and `infinity`, which are text here.
    if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        return Scalar::Text;
    }
    match text.parse::<f64>() {
        Ok(float) => finite(float),
        Err(_) => Scalar::Text,
    }
}

/// A float as it arrives at the API server: Go writes `1.0` into JSON as `1`, and Kubernetes reads
/// that as an integer. Floats out of range stay text, as in go-yaml.
fn finite(float: f64) -> Scalar {
    // 2^53: up to here every integral float is the integer that was written.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if float.fract() == 0.0 && float.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "integral and within 53 bits")]
        return Scalar::Number(Number::from(float as i64));
    }
    Number::from_f64(float).map_or(Scalar::Text, Scalar::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value(text: &str) -> Value {
        match resolve(text) {
            Scalar::Null => Value::Null,
            Scalar::Boolean(boolean) => boolean.into(),
            Scalar::Number(number) => number.into(),
            Scalar::NotFinite => json!("not finite"),
            Scalar::Text => text.into(),
        }
    }

    /// Every pair was produced by kubectl 1.32.
    #[test]
    fn as_kubectl_reads() {
        let read = [
            "yes",
            "y",
            "n",
            "N",
            "on",
            "Off",
            "~",
            "null",
            "Null",
            "012",
            "0o12",
            "0x1F",
            "0b11",
            "1_000",
            "1e3",
            "1.",
            ".5",
            "2024-01-01",
            "0x",
            "+1",
            "18446744073709551615",
            "1:30",
            "1.0",
            "08",
            "-012",
            "2024-01-01T00:00:00Z",
            "1__0",
            "_1",
            "0_7",
            "0x_1f",
            "0X1f",
            "1e400",
            "-0.0",
            "-0",
            "1.50",
            "yEs",
            "nO",
            "1.2.3",
            "10.0.0.0/8",
            "3s",
            "-",
            "+",
            ".",
            "0",
            "-9223372036854775808",
        ];
        let meant = json!([
            true,
            true,
            false,
            false,
            true,
            false,
            null,
            null,
            null,
            10,
            10,
            31,
            3,
            1000,
            1000,
            1,
            0.5,
            "2024-01-01",
            "0x",
            1,
            18446744073709551615_u64,
            "1:30",
            1,
            8,
            -10,
            "2024-01-01T00:00:00Z",
            10,
            "_1",
            7,
            31,
            31,
            "1e400",
            0,
            0,
            1.5,
            "yEs",
            "nO",
            "1.2.3",
            "10.0.0.0/8",
            "3s",
            "-",
            "+",
            ".",
            0,
            -9223372036854775808_i64,
        ]);
        let got: Vec<Value> = read.into_iter().map(value).collect();
        assert_eq!(Value::from(got), meant);
    }

    #[test]
    fn beyond_sixty_four_bits() {
        assert_eq!(value("99999999999999999999"), json!(1e20));
        assert_eq!(value("0x10000000000000000"), json!(18446744073709551616.0));
        assert_eq!(value("-9223372036854775809"), json!(-9223372036854775809.0));
        assert_eq!(value("1e21"), json!(1e21));
    }

    #[test]
    fn not_finite() {
        for text in [".inf", "-.inf", "+.INF", ".nan"] {
            assert_eq!(resolve(text), Scalar::NotFinite, "{text}");
        }
    }
}
