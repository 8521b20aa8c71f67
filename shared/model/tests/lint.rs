//! Every lint finds what it is for and is silent about the same thing done right.
//!
//! `lint/CODE.bad.yaml` holds what a lint must find, `lint/CODE.good.yaml` what it must not; both
//! stand in the mesh of `lint/base.yaml`. A first line `# istio: VERSION` states the version.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mesh_model::authorization::judge::Verdict;
use mesh_model::lint::{Finding, LINTS, lint};
use mesh_model::object::{Kind, Object, Origin};
use mesh_model::world::{Snapshot, World};
use serde_json::Value;

fn objects(text: &str) -> Vec<Object> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents
        .into_iter()
        .filter(|value| !value.is_null())
        .map(|value| {
            let text = |at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
            let kind = Kind::from_manifest(&text("/apiVersion"), &text("/kind"));
            Object {
                kind: kind.unwrap_or_else(|| panic!("{} {}", text("/apiVersion"), text("/kind"))),
                namespace: text("/metadata/namespace"),
                name: text("/metadata/name"),
                value,
                origin: Origin::Cluster,
            }
        })
        .collect()
}

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint")
}

fn world(text: &str) -> World {
    let base = fs::read_to_string(directory().join("base.yaml")).unwrap();
    let istio_version =
        text.strip_prefix("# istio: ").and_then(|text| text.lines().next()).map(str::to_owned);
    World::new(Snapshot { objects: objects(&base), gaps: Vec::new(), istio_version }).with(objects(text))
}

fn findings(code: &str, which: &str) -> Vec<Finding> {
    let path = directory().join(format!("{code}.{which}.yaml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    lint(&world(&text))
}

fn codes(findings: &[Finding]) -> BTreeSet<&str> {
    findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn the_mesh_of_the_cases_is_clean() {
    let text = fs::read_to_string(directory().join("base.yaml")).unwrap();
    assert_eq!(lint(&world(&text)), []);
}

#[test]
fn every_lint_finds_what_it_is_for() {
    for known in LINTS {
        let found = findings(known.code, "bad");
        let finding = found.iter().find(|finding| finding.code == known.code);
        let finding = finding.unwrap_or_else(|| panic!("{}: found {:?}", known.code, codes(&found)));
        assert_eq!(finding.severity, known.severity);
    }
}

#[test]
fn every_lint_is_silent_about_what_is_right() {
    for known in LINTS {
        let found = findings(known.code, "good");
        let finding = found.iter().find(|finding| finding.code == known.code);
        assert_eq!(finding, None, "{}", known.code);
    }
}

/// What all lints say about all that is wrong; `UPDATE_FINDINGS=1` writes it anew.
#[test]
fn what_is_said_stays() {
    let mut said = String::new();
    for known in LINTS {
        said.push_str(&format!("# {}: {}\n", known.code, known.summary));
        for finding in findings(known.code, "bad") {
            let rule = finding.rule.map_or(String::new(), |rule| format!(" rule {rule}"));
            said.push_str(&format!(
                "{} {}: {} {}{rule}\n  {}\n",
                finding.severity.name(),
                finding.code,
                finding.kind,
                finding.object,
                finding.text
            ));
            if let Some(request) = &finding.request {
                let words = [request.to_string(), request.happens.clone(), request.expected.clone()];
                said.push_str(&format!("  {}\n", words.join("\n  ")));
            }
            said.push_str(&format!("  {}\n\n", finding.fix));
        }
    }
    let path = directory().join("findings.txt");
    if std::env::var_os("UPDATE_FINDINGS").is_some() {
        fs::write(&path, &said).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == said,
        "run with UPDATE_FINDINGS=1 and look at the difference"
    );
}

/// Requests of findings are facts: what is said of them is what `can` says.
#[test]
fn every_example_is_a_definite_verdict() {
    for known in LINTS {
        for finding in findings(known.code, "bad") {
            let Some(request) = finding.request else { continue };
            assert!(matches!(request.verdict, Verdict::Allow | Verdict::Deny), "{}: {request}", known.code);
            assert_ne!(request.happens, request.expected);
        }
    }
}

#[test]
fn every_case_belongs_to_a_lint_and_codes_are_unique() {
    let known: BTreeSet<&str> = LINTS.iter().map(|lint| lint.code).collect();
    assert_eq!(known.len(), LINTS.len());
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let code = name.split('.').next().unwrap();
        assert!(["base", "findings"].contains(&code) || known.contains(code), "{name}");
    }
}

/// `docs/lints.md` has a section for each lint, and no other; its example is the lint's case.
#[test]
fn every_lint_is_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lints.md");
    let text = fs::read_to_string(path).unwrap();
    let mut sections = text.split("\n## ");
    assert!(sections.next().unwrap().starts_with("# Lints"));
    let explained: BTreeMap<&str, &str> = sections.filter_map(|section| section.split_once('\n')).collect();
    assert!(explained.keys().eq(LINTS.iter().map(|lint| lint.code).collect::<BTreeSet<_>>().iter()));
    for (code, section) in explained {
        let case = fs::read_to_string(directory().join(format!("{code}.bad.yaml"))).unwrap();
        assert!(section.contains(&format!("```yaml\n{case}```\n")), "{code}: the example is not its case");
        assert!(section.contains("To fix it: "), "{code}");
    }
}
