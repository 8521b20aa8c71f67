//! docs/doctor.md and docs/rbac name all that there is.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mesh_model::object::Kind;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The codes of reasons and assumptions: what stands first in `reason("...", ...)`, `add("...", ...)`, and
/// `code: "..."`.
fn codes() -> BTreeSet<String> {
    let files = [
        "shared/model/src/routing/assumption.rs",
        "plugins/doctor/src/why.rs",
        "plugins/doctor/src/answer.rs",
    ];
    let mut codes = BTreeSet::new();
    for file in files {
        let source: String = page(file).split_whitespace().collect();
        for before in ["code:\"", "add(\"", "reason(\"", "=>\""] {
            let found = source.split(before).skip(1).filter_map(|rest| rest.split('"').next());
            codes.extend(found.filter(|code| code.contains('-')).map(str::to_owned));
        }
    }
    codes
}

#[test]
fn each_code_is_explained() {
    let codes = codes();
    assert!(codes.contains("subset-hidden") && codes.contains("forbidden-list"), "{codes:?}");
    assert!(codes.contains("less-specific") && codes.contains("http-proxy-listener"), "{codes:?}");
    let page = page("docs/doctor.md");
    let missing: Vec<&String> = codes.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "docs/doctor.md does not explain {missing:?}");
}

#[test]
fn the_rights_are_those_of_the_kinds_that_are_read() {
    let mut granted: BTreeSet<(String, String)> = BTreeSet::new();
    for document in page("docs/rbac/doctor.yaml").split("\n---\n") {
        let role: serde_json::Value = serde_yaml::from_str(document).unwrap();
        assert_eq!(role["metadata"]["name"], "mesh-doctor");
        for rule in role["rules"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                assert!(["get", "list"].contains(&verb.as_str().unwrap()), "{verb}");
            }
            let group = rule["apiGroups"][0].as_str().unwrap();
            for resource in rule["resources"].as_array().unwrap() {
                let resource = resource.as_str().unwrap();
                assert!(granted.insert((group.to_owned(), resource.to_owned())), "{resource} twice");
            }
        }
    }
    let read = Kind::ALL.iter().map(|kind| (kind.group().to_owned(), kind.plural().to_owned())).collect();
    assert_eq!(granted, read);
}
