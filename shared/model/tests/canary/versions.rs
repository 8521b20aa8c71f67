use mesh_model::canary::history::ANNOTATION;
use mesh_model::canary::version::{self, Choice, NoCanary};

use crate::carriers::SPLIT;
use crate::shop::ask;
use crate::support::{Mesh, SERVER, TO_V1};

/// A pod that was made at a second.
fn pod(mesh: Mesh, name: &str, version: &str, second: u32) -> Mesh {
    mesh.with(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, creationTimestamp: '2026-01-01T00:00:{second:02}Z', \
         labels: {{app: server, version: {version}}}}}, spec: {{containers: [{{name: main}}, {{name: istio-proxy}}]}}, \
         status: {{phase: Running, conditions: [{{type: Ready, status: 'True'}}]}}}}"
    ))
}

fn mesh(annotation: &str) -> Mesh {
    Mesh::new().subsets("shop/rule", 1, &["v1", "v2"], "").with(&format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: a, namespace: shop, annotations: {{{annotation}}}}}, \
         spec: {{hosts: [{SERVER}], http: [{{route: [{SPLIT}]}}]}}}}"
    ))
}

fn canary(mesh: &Mesh, named: Option<&str>) -> Result<(String, Choice), NoCanary> {
    ask(mesh, |shop| {
        version::canary(&shop.versions, &shop.carriers, named).map(|(one, choice)| (one.name.clone(), choice))
    })
}

fn recorded(name: &str) -> String {
    format!("{ANNOTATION}: '{{\"canary\":\"{name}\",\"steps\":[]}}'")
}

#[test]
fn a_version_has_the_pods_that_its_subset_selects() {
    ask(&pod(mesh(""), "v2-more", "v2", 1), |shop| {
        let ready: Vec<(&str, usize)> =
            shop.versions.iter().map(|one| (one.name.as_str(), one.ready())).collect();
        assert_eq!(ready, [("v1", 1), ("v2", 2)]);
    });
}

#[test]
fn the_canary_is_the_youngest() {
    let mesh = pod(pod(mesh(""), "one", "v1", 1), "two", "v2", 2);
    assert_eq!(canary(&mesh, None), Ok(("v2".to_owned(), Choice::Youngest)));
}

#[test]
fn nothing_is_guessed_where_no_version_is_the_youngest() {
    let versions = vec!["v1".to_owned(), "v2".to_owned()];
    assert_eq!(canary(&mesh(""), None), Err(NoCanary::Unclear { versions: versions.clone() }));
    let same_age = pod(pod(mesh(""), "one", "v1", 1), "two", "v2", 1);
    assert_eq!(canary(&same_age, None), Err(NoCanary::Unclear { versions }));
}

#[test]
fn the_user_says_which_unless_another_shift_is_under_way() {
    assert_eq!(canary(&mesh(""), Some("v1")), Ok(("v1".to_owned(), Choice::Named)));
    assert_eq!(canary(&mesh(&recorded("v2")), None), Ok(("v2".to_owned(), Choice::Recorded)));
    let other = NoCanary::Other { name: "v1".to_owned(), recorded: "v2".to_owned() };
    assert_eq!(canary(&mesh(&recorded("v2")), Some("v1")), Err(other));
    let unknown =
        NoCanary::Unknown { name: "v9".to_owned(), versions: vec!["v1".to_owned(), "v2".to_owned()] };
    assert_eq!(canary(&mesh(""), Some("v9")), Err(unknown));
}

#[test]
fn what_is_recorded_of_a_version_that_is_gone_does_not_count() {
    assert_eq!(canary(&mesh(&recorded("v9")), Some("v1")), Ok(("v1".to_owned(), Choice::Named)));
}

#[test]
fn an_annotation_that_cannot_be_read_is_none() {
    assert_eq!(
        canary(&mesh(&format!("{ANNOTATION}: '{{'")), Some("v1")),
        Ok(("v1".to_owned(), Choice::Named))
    );
}

#[test]
fn one_version_is_no_choice() {
    let mesh = Mesh::new().virtual_service("shop/a", &format!("{{route: [{TO_V1}]}}"));
    assert_eq!(canary(&mesh, None), Err(NoCanary::Single { versions: vec!["v1".to_owned()] }));
}
