//! The line of a manifest that a reason rests on.

use std::fs::File;
use std::io::{BufRead as _, BufReader};

use mesh_model::object::{Object, Origin};

use crate::text::{Line, dim, plain};

/// How much of a long line is shown, in characters.
const SHOWN: usize = 100;

/// Shows where the part of an object at a JSON pointer stands, and the line itself if it can be
/// read again:
///
/// ```text
///    --> deploy/payment.yaml:12
/// 12 |   - methods: ["GET"]
/// ```
///
/// Objects of a cluster, of standard input and of a kustomization have no line to show.
#[must_use]
pub fn snippet(object: &Object, pointer: &str) -> Vec<Line> {
    let Origin::File { path, line, lines } = &object.origin else {
        return vec![dim("--> ") + format!("{} {}", object.kind, object.key())];
    };
    let number = lines.line_of(pointer).unwrap_or(*line);
    let digits = number.to_string().len();
    let mut shown = vec![dim(format!("{:digits$} --> ", "")) + object.at(pointer)];
    if let Some(text) = read_line(path, number) {
        let text: String = text.chars().take(SHOWN).collect();
        shown.push(dim(format!("{number} |")) + plain(format!(" {text}").trim_end()));
    }
    shown
}

/// A line of a file, counted from 1.
fn read_line(path: &str, number: u32) -> Option<String> {
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    BufReader::new(File::open(path).ok()?).lines().nth(index)?.ok()
}

#[cfg(test)]
mod tests {
    use mesh_model::object::{Kind, Lines};

    use super::*;

    fn object(origin: Origin) -> Object {
        Object {
            kind: Kind::AuthorizationPolicy,
            namespace: "payment".into(),
            name: "allow-orders".into(),
            value: serde_json::Value::Null,
            origin,
        }
    }

    fn shown(origin: Origin, pointer: &str) -> Vec<String> {
        snippet(&object(origin), pointer).iter().map(|line| line.render(false)).collect()
    }

    #[test]
    fn a_file_shows_its_line() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let mut lines = Lines::default();
        lines.insert("/spec/rules", 2);
        let origin = Origin::File { path: path.into(), line: 1, lines };
        assert_eq!(
            shown(origin.clone(), "/spec/rules/0/from"),
            [format!("  --> {path}:2"), "2 | name = \"mesh-cli\"".to_owned()]
        );
        assert_eq!(shown(origin, "/metadata"), [format!("  --> {path}:1"), "1 | [package]".to_owned()]);
    }

    #[test]
    fn what_cannot_be_read_again_shows_its_place() {
        let stdin = Origin::File { path: "-".into(), line: 12, lines: Lines::default() };
        assert_eq!(shown(stdin, "/spec"), ["   --> -:12"]);
        assert_eq!(shown(Origin::Cluster, "/spec"), ["--> AuthorizationPolicy payment/allow-orders"]);
    }
}
