//! Test results as JUnit XML, which CI systems show.

use std::fmt::Write;

use crate::commands::test::Outcome;

/// Writes one suite for each file of cases.
pub(crate) fn report(outcomes: &[Outcome]) -> String {
    let failures = outcomes.iter().filter(|outcome| !outcome.passed).count();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites tests=\"{}\" failures=\"{failures}\">", outcomes.len());
    let mut files: Vec<&str> = outcomes.iter().map(|outcome| outcome.file.as_str()).collect();
    files.dedup();
    for file in files {
        let of_file: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.file == file).collect();
        let failures = of_file.iter().filter(|outcome| !outcome.passed).count();
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\">",
            escape(file),
            of_file.len()
        );
        for outcome in of_file {
            let name = escape(&outcome.name);
            if outcome.passed {
                let _ = writeln!(xml, "    <testcase classname=\"{}\" name=\"{name}\"/>", escape(file));
            } else {
                let _ = writeln!(
                    xml,
                    "    <testcase classname=\"{}\" name=\"{name}\">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
                    escape(file),
                    escape(&outcome.message()),
                    escape(&format!("{}: {}", outcome.at, outcome.message()))
                );
            }
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Text inside XML; characters that XML has no way to write are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => {}
            c => escaped.push(c),
        }
    }
    escaped
}
