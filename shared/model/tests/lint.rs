//! Every lint finds what it is for and is silent about the same thing done right.
//!
//! `lint/CODE.bad.yaml` holds what a lint must find, `lint/CODE.good.yaml` what it must not; both
//! stand in the mesh of `lint/base.yaml`. A first line `# istio: VERSION` states the version.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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
    let mut wrong = Vec::new();
    for known in LINTS {
        let found = findings(known.code, "bad");
        match found.iter().find(|finding| finding.code == known.code) {
            None => wrong.push(format!("{}: not found; found {:?}", known.code, codes(&found))),
            Some(finding) => {
                assert_eq!(finding.severity, known.severity);
                assert!(!finding.text.is_empty() && !finding.fix.is_empty());
                if std::env::var("SHOW_FINDINGS").is_ok() {
                    println!("{}: {}", finding.code, finding.text);
                    if let Some(request) = &finding.request {
                        println!("    {request}: {}; expected: {}", request.happens, request.expected);
                    }
                    println!("    {}\n    all: {:?}", finding.fix, codes(&found));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_lint_is_silent_about_what_is_right() {
    let mut wrong = Vec::new();
    for known in LINTS {
        let found = findings(known.code, "good");
        wrong.extend(
            found
                .iter()
                .filter(|finding| finding.code == known.code)
                .map(|finding| format!("{}: {}", known.code, finding.text)),
        );
        if std::env::var("SHOW_FINDINGS").is_ok() && !found.is_empty() {
            println!("{} good: {:?}", known.code, codes(&found));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_belongs_to_a_lint_and_codes_are_unique() {
    let known: BTreeSet<&str> = LINTS.iter().map(|lint| lint.code).collect();
    assert_eq!(known.len(), LINTS.len());
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let code = name.split('.').next().unwrap();
        assert!(code == "base" || known.contains(code), "{name}");
    }
}
