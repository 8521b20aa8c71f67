//! docs/authz.md and docs/rbac name all that there is.
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

/// All Rust files below a directory, but not those of lints and routes, which have pages of their own.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("lint") && !path.ends_with("routing") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The codes of assumptions: `code: "..."` and the first argument of `add("...", ...)`.
fn codes() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join("shared/model/src"), &mut files);
    let mut codes = BTreeSet::new();
    for file in files {
        let source: String = fs::read_to_string(file).unwrap().split_whitespace().collect();
        for before in ["code:\"", "add(\""] {
            codes.extend(
                source.split(before).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned),
            );
        }
    }
    codes
}

#[test]
fn each_assumption_is_explained() {
    let codes = codes();
    assert!(codes.contains("mesh-config-default") && codes.contains("external-authorizer"), "{codes:?}");
    let page = page("docs/authz.md");
    let missing: Vec<&String> =
        codes.iter().filter(|code| !page.contains(&format!("| `{code}` |"))).collect();
    assert!(missing.is_empty(), "docs/authz.md does not explain {missing:?}");
}

#[test]
fn logs_need_one_right_of_their_own() {
    let role: serde_json::Value = serde_yaml::from_str(&page("docs/rbac/authz-logs.yaml")).unwrap();
    let rule = serde_json::json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]});
    assert_eq!(role["rules"], serde_json::json!([rule]));
}

#[test]
fn verifying_needs_one_right_of_its_own() {
    let role: serde_json::Value = serde_yaml::from_str(&page("docs/rbac/authz-verify.yaml")).unwrap();
    let rule =
        serde_json::json!({"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]});
    assert_eq!(role["rules"], serde_json::json!([rule]));
}

#[test]
fn each_outcome_of_verifying_is_explained() {
    let source = page("shared/model/src/proxy/verify.rs");
    let (_, of_code) = source.split_once("pub fn code(").unwrap();
    let codes: Vec<&str> = of_code.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(codes.len() == 6 && codes.contains(&"agrees"), "{codes:?}");
    let page = page("docs/authz.md");
    let missing: Vec<&&str> = codes.iter().filter(|code| !page.contains(&format!("| `{code}` |"))).collect();
    assert!(missing.is_empty(), "docs/authz.md does not explain {missing:?}");
}

#[test]
fn each_cause_of_a_denial_is_explained() {
    let source = page("shared/model/src/access_log/cause.rs");
    let (_, of_code) = source.split_once("pub fn code(").unwrap();
    let codes: Vec<&str> = of_code.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(codes.contains(&"no-rule") && codes.contains(&"dry-run"), "{codes:?}");
    let page = page("docs/authz.md");
    let missing: Vec<&&str> = codes.iter().filter(|code| !page.contains(&format!("| `{code}` |"))).collect();
    assert!(missing.is_empty(), "docs/authz.md does not explain {missing:?}");
}

#[test]
fn the_rights_are_those_of_the_kinds_that_are_read() {
    let mut granted: BTreeSet<(String, String)> = BTreeSet::new();
    for document in page("docs/rbac/authz.yaml").split("\n---\n") {
        let role: serde_json::Value = serde_yaml::from_str(document).unwrap();
        for rule in role["rules"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                assert!(["get", "list"].contains(&verb.as_str().unwrap()), "{verb}");
            }
            let group = rule["apiGroups"][0].as_str().unwrap();
            for resource in rule["resources"].as_array().unwrap() {
                let resource = resource.as_str().unwrap();
                assert_eq!(rule.get("resourceNames").is_some(), resource == "configmaps", "{resource}");
                assert!(granted.insert((group.to_owned(), resource.to_owned())), "{resource} twice");
            }
        }
    }
    let read = Kind::ALL.iter().map(|kind| (kind.group().to_owned(), kind.plural().to_owned())).collect();
    assert_eq!(granted, read);
}
