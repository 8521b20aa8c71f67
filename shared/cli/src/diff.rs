//! What a change does to a file or an object, as a unified diff.

use mesh_model::change::without_server_fields;
use mesh_model::object::Object;
use mesh_source::manifests::to_yaml;
use similar::{ChangeTag, TextDiff};

use crate::text::{Line, bad, dim, good, plain, strong};

/// How many unchanged lines stand around a change.
const CONTEXT: usize = 3;

/// The diff of a text, under a name: a file's path. `None` for a text that is not there before or
/// after. Nothing if both are the same.
///
/// Meant for people: line ends that are the same are not shown, and tabs are spaces.
#[must_use]
pub fn unified(name: &str, before: Option<&str>, after: Option<&str>) -> Vec<Line> {
    let header = |text: Option<&str>| if text.is_some() { name.to_owned() } else { "/dev/null".to_owned() };
    let headers = [header(before), header(after)];
    let (mut before, mut after) =
        (before.unwrap_or_default().to_owned(), after.unwrap_or_default().to_owned());
    let (short_before, short_after) = (before.replace("\r\n", "\n"), after.replace("\r\n", "\n"));
    // Unless it is the line ends that differ.
    if short_before != short_after {
        (before, after) = (short_before, short_after);
    }
    let diff = TextDiff::from_lines(&before, &after);
    let mut lines = Vec::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        if lines.is_empty() {
            lines.push(strong(format!("--- {}", headers[0])).into());
            lines.push(strong(format!("+++ {}", headers[1])).into());
        }
        lines.push(dim(hunk.header().to_string()).into());
        for change in hunk.iter_changes() {
            let text = change.value().strip_suffix('\n').unwrap_or(change.value()).replace('\t', "    ");
            lines.push(match change.tag() {
                ChangeTag::Equal => plain(format!(" {text}")).into(),
                ChangeTag::Delete => bad(format!("-{text}")).into(),
                ChangeTag::Insert => good(format!("+{text}")).into(),
            });
            if change.missing_newline() {
                lines.push(dim("\\ No newline at end of file").into());
            }
        }
    }
    lines
}

/// The diff of an object, as YAML, without what only the server writes (managedFields,
/// resourceVersion, status, ...). `None` for an object that is not there before or after.
#[must_use]
pub fn of_object(before: Option<&Object>, after: Option<&Object>) -> Vec<Line> {
    let Some(some) = before.or(after) else { return Vec::new() };
    let name = format!("{} {}", some.kind, some.key());
    let yaml = |object: Option<&Object>| object.map(|object| to_yaml(&without_server_fields(object).value));
    unified(&name, yaml(before).as_deref(), yaml(after).as_deref())
}

#[cfg(test)]
mod tests {
    use mesh_model::object::{Kind, Origin};
    use serde_json::json;

    use super::*;

    fn text(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.render(false)).collect()
    }

    #[test]
    fn three_lines_stand_around_a_change() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let diff = unified("a.yaml", Some(before), Some(&before.replace('5', "five\u{1b}[2J")));
        assert_eq!(
            text(&diff),
            [
                "--- a.yaml",
                "+++ a.yaml",
                "@@ -2,7 +2,7 @@",
                " 2",
                " 3",
                " 4",
                "-5",
                "+five\\u001b[2J",
                " 6",
                " 7",
                " 8"
            ]
        );
        assert_eq!(diff[6].render(true), "\u{1b}[31m-5\u{1b}[0m");
    }

    #[test]
    fn what_is_the_same_has_no_diff() {
        assert!(unified("a", Some("x\n"), Some("x\n")).is_empty());
        assert!(of_object(None, None).is_empty());
    }

    #[test]
    fn line_ends_show_only_where_they_differ() {
        let diff = unified("a", Some("x\r\ny\r\n"), Some("x\r\nz\r\n"));
        assert_eq!(text(&diff)[3..], [" x", "-y", "+z"]);
        let diff = unified("a", Some("x\r\n"), Some("x\n"));
        assert_eq!(text(&diff)[3..], ["-x\\r", "+x"]);
    }

    #[test]
    fn new_and_gone_files() {
        assert_eq!(text(&unified("a", None, Some("x\n")))[..2], ["--- /dev/null", "+++ a"]);
        assert_eq!(text(&unified("a", Some("x\n"), None))[..2], ["--- a", "+++ /dev/null"]);
    }

    #[test]
    fn objects_without_the_servers_noise() {
        let object = |version: &str, weight: u8| Object {
            kind: Kind::VirtualService,
            namespace: "shop".to_owned(),
            name: "payment".to_owned(),
            value: json!({
                "metadata": {"name": "payment", "resourceVersion": version, "managedFields": [{"manager": version}]},
                "spec": {"weight": weight},
            }),
            origin: Origin::Cluster,
        };
        let diff = of_object(Some(&object("1", 0)), Some(&object("2", 10)));
        assert_eq!(
            text(&diff),
            [
                "--- VirtualService shop/payment",
                "+++ VirtualService shop/payment",
                "@@ -1,4 +1,4 @@",
                " metadata:",
                "   name: payment",
                " spec:",
                "-  weight: 0",
                "+  weight: 10",
            ]
        );
    }
}
