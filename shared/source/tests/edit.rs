//! Changes of manifests in place.

#![expect(clippy::unwrap_used, reason = "a test may fail wherever it is")]

use std::fs;
use std::path::Path;

use mesh_model::change::{Change, Edit, Mismatch};
use mesh_model::object::{Object, Origin};
use mesh_source::manifests::{self, EditError, FileEdit, Manifests};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

const SERVICE: &str = "\
# Payment's routes.   Kept by hand!
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name:   payment   # the name
  labels: {team: 'pay', \"on\": \"yes\"}
spec:
  hosts: [ payment ]

  http:
    # canaries
    - match:
      - headers: {x-canary: {exact: \"1\"}}
      route:
      - destination: {host: payment, subset: v2}   # all
    - route:
        - destination:
            host: payment
            subset: v1
          weight: 100 # percent
        # the new one
        - destination:
            host: payment
            subset: v2
          weight: 0
      timeout: 5s
---
# somebody else's
kind: Secret
apiVersion: v1
metadata: {name: other}
";

/// A directory with one file, and its objects.
struct Files {
    directory: TempDir,
    path: String,
    objects: Vec<Object>,
}

fn objects(path: &str) -> Vec<Object> {
    let manifests = Manifests {
        filenames: vec![path.to_owned()],
        default_namespace: "shop".to_owned(),
        ..Manifests::default()
    };
    manifests::read(&manifests).unwrap().objects
}

fn file(name: &str, text: &str) -> Files {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(&path, text).unwrap();
    let objects = objects(&path);
    Files { directory, path, objects }
}

impl Files {
    fn edit(&self, changes: &[Change]) -> Result<Vec<FileEdit>, EditError> {
        manifests::edit(&self.objects, changes, "shop", &self.path)
    }

    /// The text after an edit of the first object.
    fn after(&self, edit: impl FnOnce(Edit) -> Result<Edit, Mismatch>) -> Result<String, EditError> {
        let patch = edit(Edit::of(&self.objects[0])).unwrap().patch();
        let wanted = patch.apply_to(&self.objects[0]).unwrap();
        let mut edits = self.edit(&[Change::Patch(patch)])?;
        let after = edits.pop().unwrap().after.unwrap();
        let read = manifests::parse(&self.path, &after, "shop").unwrap();
        assert_eq!(read.objects[0].value, wanted.value);
        Ok(after)
    }
}

/// The text after an edit of the first object of another text.
fn after(text: &str, edit: impl FnOnce(Edit) -> Result<Edit, Mismatch>) -> String {
    file("a.yaml", text).after(edit).unwrap()
}

fn refused(text: &str, edit: impl FnOnce(Edit) -> Result<Edit, Mismatch>) -> String {
    let error = file("a.yaml", text).after(edit).unwrap_err();
    assert!(error.hint().is_some());
    error.to_string()
}

/// The lines that differ: those that went and those that came.
fn differing<'t>(before: &'t str, after: &'t str) -> (Vec<&'t str>, Vec<&'t str>) {
    let (mut old, mut new): (Vec<&str>, Vec<&str>) =
        (before.split('\n').collect(), after.split('\n').collect());
    while !old.is_empty() && old.first() == new.first() {
        old.remove(0);
        new.remove(0);
    }
    while !old.is_empty() && old.last() == new.last() {
        old.pop();
        new.pop();
    }
    (old, new)
}

fn weights(edit: Edit) -> Result<Edit, Mismatch> {
    edit.set("/spec/http/1/route/0/weight", json!(90))?.set("/spec/http/1/route/1/weight", json!(10))
}

#[test]
fn weights_change_and_every_other_byte_stays() {
    let wanted = SERVICE.replace("weight: 100 #", "weight: 90 #").replace("weight: 0\n", "weight: 10\n");
    assert_eq!(after(SERVICE, weights), wanted);
    let crlf = SERVICE.replace('\n', "\r\n");
    assert_eq!(after(&crlf, weights), wanted.replace('\n', "\r\n"));
}

#[test]
fn fields_are_added_with_their_indentation() {
    let edited = after(SERVICE, |edit| edit.set("/metadata/annotations/kubectl-mesh.dev~1on", json!("yes")));
    assert_eq!(
        differing(SERVICE, &edited),
        (vec![], vec!["  annotations:", "    kubectl-mesh.dev/on: \"yes\""])
    );
    let edited = after(SERVICE, |edit| edit.set("/spec/http/0/route/0/weight", json!(100)));
    assert_eq!(differing(SERVICE, &edited).1, ["        weight: 100"]);
    let edited = after(SERVICE, |edit| edit.set("/metadata/labels/new", json!("1")));
    assert!(edited.contains("  labels: {team: 'pay', \"on\": \"yes\", new: \"1\"}\n"), "{edited}");
    let empty = SERVICE.replace("labels: {team: 'pay', \"on\": \"yes\"}", "annotations: {} # none");
    let edited = after(&empty, |edit| edit.set("/metadata/annotations/a", json!("b")));
    assert!(edited.contains("\n  annotations: # none\n    a: b\nspec:"), "{edited}");
}

#[test]
fn quotes_stay_and_appear_where_they_must() {
    let edited = after(SERVICE, |edit| {
        edit.set("/metadata/labels/team", json!("it's"))?.set("/metadata/labels/on", json!("no"))
    });
    assert!(edited.contains("{team: 'it''s', \"on\": \"no\"}"), "{edited}");
    let edited = after(SERVICE, |edit| edit.set("/spec/http/1/timeout", json!("off")));
    assert!(edited.contains("timeout: \"off\"\n"), "{edited}");
}

#[test]
fn fields_and_elements_go() {
    let edited = after(SERVICE, |edit| edit.remove("/spec/http/1/timeout"));
    assert_eq!(differing(SERVICE, &edited), (vec!["      timeout: 5s"], vec![]));
    let edited = after(SERVICE, |edit| edit.remove("/spec/http/0/match"));
    assert!(edited.contains("    # canaries\n    - route:\n      - destination"), "{edited}");
    let edited = after(SERVICE, |edit| edit.remove("/spec/http/1/route/1"));
    assert!(edited.contains("        # the new one\n      timeout: 5s\n"), "{edited}");
    let edited = after(SERVICE, |edit| edit.remove("/metadata/labels/team"));
    assert!(edited.contains("labels: {\"on\": \"yes\"}"), "{edited}");
    let edited = after(SERVICE, |edit| edit.remove("/metadata/labels/on"));
    assert!(edited.contains("labels: {team: 'pay'}"), "{edited}");
    let edited = after(SERVICE, |edit| edit.remove("/spec/http/0/route/0"));
    assert!(edited.contains("      route: []"), "{edited}");
}

#[test]
fn comments_behind_a_key_stay_there() {
    let text = SERVICE.replace("  labels: {team: 'pay', \"on\": \"yes\"}", "  annotations: # ours\n    a: b");
    let edited = after(&text, |edit| edit.remove("/metadata/annotations/a"));
    assert!(edited.contains("\n  annotations: {} # ours\nspec:"), "{edited}");
    let edited = after(&text, |edit| edit.set("/metadata/annotations", json!({"c": "d"})));
    assert!(edited.contains("\n  annotations: # ours\n    c: d\nspec:"), "{edited}");
    let above = text.replace("    a: b", "    # about a\n    a: b");
    let said = refused(&above, |edit| edit.remove("/metadata/annotations/a"));
    assert!(said.contains("in place: a comment would be lost"), "{said}");
}

#[test]
fn elements_come() {
    let third = json!({"destination": {"host": "payment", "subset": "v3"}, "weight": 0});
    let edited = after(SERVICE, |edit| edit.insert("/spec/http/1/route/2", third.clone()));
    assert_eq!(
        differing(SERVICE, &edited).1,
        [
            "        - destination:",
            "            host: payment",
            "            subset: v3",
            "          weight: 0"
        ]
    );
    let edited = after(SERVICE, |edit| edit.insert("/spec/http/1/route/0", third.clone()));
    assert!(edited.contains(
        "    - route:\n        - destination:\n            host: payment\n            subset: v3\n"
    ));
    let edited = after(SERVICE, |edit| edit.insert("/spec/hosts/0", json!("*.shop")));
    assert!(edited.contains("hosts: [ \"*.shop\", payment ]"), "{edited}");
    let fault = json!({"delay": {"fixedDelay": "3s", "percentage": {"value": 50}}});
    let edited = after(SERVICE, |edit| edit.set("/spec/http/1/fault", fault));
    assert_eq!(differing(SERVICE, &edited).1[0], "      fault:");
}

#[test]
fn the_last_line_without_an_end() {
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: a\nspec:\n  hosts:\n  - a";
    let edited = after(text, |edit| edit.insert("/spec/hosts/1", json!("b")));
    assert_eq!(edited, format!("{text}\n  - b"));
    let edited = after(text, |edit| edit.set("/spec/gateways", json!(["g"])));
    assert_eq!(edited, format!("{text}\n  gateways:\n  - g"));
}

#[test]
fn json_stays_json() {
    let value = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a", "labels": {}},
        "spec": {"http": [{"route": [{"destination": {"host": "a"}, "weight": 100}]}]},
    });
    for text in [format!("{value:#}\n"), value.to_string()] {
        let files = file("a.json", &text);
        let edited = files
            .after(|edit| {
                edit.set("/spec/http/0/route/0/weight", json!(50))?
                    .insert("/spec/http/0/route/1", json!({"destination": {"host": "b"}, "weight": 50}))?
                    .set("/metadata/annotations/on", json!("yes"))?
                    .set("/metadata/labels/x", json!("y"))?
                    .remove("/metadata/labels/x")
            })
            .unwrap();
        serde_json::from_str::<Value>(&edited).unwrap();
        if text.contains('\n') {
            assert!(edited.contains("            \"weight\": 50\n          },\n          {\n"), "{edited}");
        }
        let stream = files.edit(&[Change::Create(named(&files.objects[0], "b"))]).unwrap();
        let read = manifests::parse("a.json", stream[0].after.as_ref().unwrap(), "shop").unwrap();
        assert_eq!(read.objects.len(), 2);
    }
}

#[test]
fn items_of_a_list() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.istio.io/v1\n  kind: Sidecar\n  metadata: {name: a}\n\
                - apiVersion: networking.istio.io/v1\n  kind: Sidecar\n  metadata: {name: b} # b\n  spec: {x: 1}\n";
    let files = file("a.yaml", text);
    let patch = Edit::of(&files.objects[1]).set("/spec/x", json!(2)).unwrap().patch();
    let edits = files.edit(&[Change::Patch(patch)]).unwrap();
    assert_eq!(edits[0].after.as_deref(), Some(text.replace("x: 1", "x: 2").as_str()));
    let edits = files.edit(&[delete(&files.objects[0])]).unwrap();
    let after = edits[0].after.clone().unwrap();
    assert!(
        after.starts_with("apiVersion: v1\nkind: List\nitems:\n- apiVersion") && !after.contains("name: a")
    );
}

fn named(object: &Object, name: &str) -> Object {
    let mut object = object.clone();
    object.name = name.to_owned();
    object.value["metadata"]["name"] = name.into();
    object
}

fn delete(object: &Object) -> Change {
    Change::Delete { object: object.clone(), propagation: None }
}

#[test]
fn documents_come_and_go() {
    let files = file("a.yaml", SERVICE);
    let new = named(&files.objects[0], "new");
    // What a plan has created it can change.
    let patch = Edit::of(&new).set("/spec/http/1/timeout", json!("1s")).unwrap().patch();
    let edits = files.edit(&[Change::Create(new.clone()), Change::Patch(patch)]).unwrap();
    let after = edits[0].after.clone().unwrap();
    assert!(
        after.starts_with(&format!(
            "{SERVICE}---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n"
        ))
    );
    assert!(after.ends_with("    timeout: 1s\n"), "{after}");

    let gone = files.edit(&[delete(&files.objects[0])]).unwrap();
    assert_eq!(gone[0].after.as_deref(), Some(&SERVICE[SERVICE.find("---").unwrap()..]));
    assert!(files.edit(&[Change::Create(files.objects[0].clone())]).is_err());
    // Nothing is left of a change that is taken back.
    assert!(files.edit(&[Change::Create(new.clone()), delete(&new)]).unwrap().is_empty());
}

#[test]
fn files_come_and_go() {
    let files =
        file("a.yaml", "# alone\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata:\n  name: a\n");
    let new = files.directory.path().join("b.yaml").to_str().unwrap().to_owned();
    let changes = [Change::Create(named(&files.objects[0], "b")), delete(&files.objects[0])];
    let edits = manifests::edit(&files.objects, &changes, "shop", &new).unwrap();
    assert!(!Path::new(&new).exists(), "nothing is written before it is asked for");
    manifests::write(&edits).unwrap();
    assert!(!Path::new(&files.path).exists());
    assert_eq!(
        fs::read_to_string(&new).unwrap(),
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata:\n  name: b\n"
    );
    // Somebody else's file of that name is not overwritten.
    assert!(matches!(manifests::write(&edits[..]), Err(EditError::Changed { .. } | EditError::Read(_))));
}

#[test]
fn what_others_share_is_refused() {
    let head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n";
    let set = |edit: Edit| edit.set("/spec/a/x", json!(2));
    for spec in [
        "spec:\n  a: &a {x: 1}\n  b: *a\n",
        "spec:\n  b: &a {x: 1}\n  a: *a\n",
        "spec:\n  b: &a {x: 1}\n  a:\n    <<: *a\n    y: 2\n",
        "spec:\n  b: &v 1\n  a: {x: *v}\n",
    ] {
        let said = refused(&format!("{head}{spec}"), set);
        assert!(
            said.contains("cannot change /spec/a/x of VirtualService shop/a in place: other places share"),
            "{said}"
        );
        assert!(said.contains("a.yaml:"), "{said}");
    }
    // An anchor that nobody uses, and one elsewhere, are no obstacle.
    let edited = after(&format!("{head}spec:\n  a: &a\n    x: 1\n  b: &b 1\n  c: *b\n"), set);
    assert!(edited.ends_with("  a: &a\n    x: 2\n  b: &b 1\n  c: *b\n"), "{edited}");
}

#[test]
fn what_is_no_file_or_no_manifest_is_refused() {
    let files = file("a.yaml", SERVICE);
    for (path, said) in
        [("-", "comes from -, which is no file"), ("-k x", "comes from -k x, which is no file")]
    {
        let read = manifests::parse(path, SERVICE, "shop").unwrap();
        let error = manifests::edit(&read.objects, &[delete(&files.objects[0])], "shop", "x").unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    fs::write(&files.path, SERVICE.replace("5s", "\"{{ .Values.timeout }}\"")).unwrap();
    let error = files.edit(&[delete(&files.objects[0])]).unwrap_err();
    assert!(matches!(error, EditError::Template { line: 26, .. }), "{error}");
    let stranger = named(&files.objects[0], "stranger");
    assert!(matches!(files.edit(&[delete(&stranger)]), Err(EditError::NotFound { .. })));
    fs::write(&files.path, format!("{SERVICE}---\n{SERVICE}")).unwrap();
    assert!(matches!(files.edit(&[delete(&files.objects[0])]), Err(EditError::Twice { .. })));
}

#[test]
fn a_file_that_somebody_changed_is_left_alone() {
    let files = file("a.yaml", SERVICE);
    let patch = weights(Edit::of(&files.objects[0])).unwrap().patch();
    let edits = files.edit(&[Change::Patch(patch.clone())]).unwrap();
    let theirs = SERVICE.replace("weight: 100", "weight: 60");
    fs::write(&files.path, &theirs).unwrap();
    assert!(matches!(manifests::write(&edits), Err(EditError::Changed { .. })));
    let error = files.edit(&[Change::Patch(patch)]).unwrap_err();
    assert!(error.to_string().ends_with("/spec/http/1/route/0/weight is 60, not 100"), "{error}");
    assert_eq!(fs::read_to_string(&files.path).unwrap(), theirs);
}

#[cfg(unix)]
#[test]
fn mode_and_links_stay_and_read_only_is_respected() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let files = file("a.yaml", SERVICE);
    let link = files.directory.path().join("link.yaml").to_str().unwrap().to_owned();
    symlink("a.yaml", &link).unwrap();
    fs::set_permissions(&files.path, fs::Permissions::from_mode(0o640)).unwrap();
    let by_link = objects(&link);
    let change = Change::Patch(weights(Edit::of(&by_link[0])).unwrap().patch());
    let edits = manifests::edit(&by_link, &[change], "shop", &link).unwrap();
    manifests::write(&edits).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&files.path).ok(), edits[0].after);
    assert_eq!(fs::metadata(&files.path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(files.directory.path()).unwrap().count(), 2, "nothing is left beside it");

    fs::set_permissions(&files.path, fs::Permissions::from_mode(0o440)).unwrap();
    let back =
        [FileEdit { before: edits[0].after.clone(), after: edits[0].before.clone(), ..edits[0].clone() }];
    assert!(matches!(manifests::write(&back), Err(EditError::ReadOnly { .. })));
}

#[test]
fn of_several_files_all_or_none() {
    let (one, two) = (file("a.yaml", SERVICE), file("b.yaml", &SERVICE.replace("payment   #", "other #")));
    let objects = [one.objects.clone(), two.objects.clone()].concat();
    let changes: Vec<Change> =
        objects.iter().map(|object| Change::Patch(weights(Edit::of(object)).unwrap().patch())).collect();
    let edits = manifests::edit(&objects, &changes, "shop", "none").unwrap();
    assert_eq!(edits.len(), 2);
    fs::write(&two.path, "changed").unwrap();
    assert!(manifests::write(&edits).is_err());
    assert_eq!(fs::read_to_string(&one.path).unwrap(), SERVICE);
}

/// Every object of the shop is changed and put back, each in its file as people wrote it.
#[test]
fn a_change_and_its_inverse_leave_a_file_as_it_was() {
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/orders");
    let manifests = Manifests {
        filenames: vec![shop.to_str().unwrap().to_owned()],
        recursive: true,
        default_namespace: "shop".to_owned(),
        ..Manifests::default()
    };
    let read = manifests::read(&manifests).unwrap().objects;
    assert!(read.len() > 10);
    for object in read {
        let Origin::File { path, .. } = &object.origin else { unreachable!() };
        let text = fs::read_to_string(&**path).unwrap();
        let files = file("a.yaml", &text);
        let object = files.objects.iter().find(|copy| (copy.kind, copy.key()) == (object.kind, object.key()));
        let edit =
            Edit::of(object.unwrap()).set("/metadata/annotations/kubectl-mesh.dev~1test", json!("yes"));
        let change =
            Change::Patch(edit.and_then(|edit| edit.set("/spec/added", json!([1]))).unwrap().patch());
        manifests::write(&files.edit(std::slice::from_ref(&change)).unwrap()).unwrap();
        assert_ne!(fs::read_to_string(&files.path).unwrap(), text);
        manifests::write(&files.edit(&[change.inverse()]).unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&files.path).unwrap(), text);
    }
}

/// A spec in random layout: block or flow, comments, quotes.
fn layout() -> impl Strategy<Value = String> {
    let comment = "( # c[a-z: ]{0,5})?";
    let scalar =
        "[a-z]{1,4}|[0-9]{1,3}|\"[a-z ]{0,4}\"|'[a-z#: ]{0,4}'|\\{\\}|\\[\\]|\\[a, b\\]|\\{a: 1, b: x\\}";
    let line = (0..4_usize, "[abc]", scalar, comment);
    prop::collection::vec((line, prop::collection::vec(("[abc]", scalar, comment), 0..3)), 1..6).prop_map(
        |entries| {
            let mut text = String::new();
            for (number, ((shape, key, scalar, comment), inner)) in entries.into_iter().enumerate() {
                match shape {
                    0 => text.push_str(&format!("  {key}{number}: {scalar}{comment}\n")),
                    1 => {
                        text.push_str(&format!(
                            "  # about {key}\n  {key}{number}:{comment}\n    first: {scalar}\n"
                        ));
                        for (inner_number, (key, scalar, comment)) in inner.into_iter().enumerate() {
                            text.push_str(&format!("    {key}{inner_number}: {scalar}{comment}\n"));
                        }
                    }
                    2 => {
                        text.push_str(&format!("  {key}{number}:\n  - {scalar}{comment}\n\n"));
                        for (key, scalar, comment) in inner {
                            text.push_str(&format!(
                                "  - {key}: {scalar}{comment}\n    z: |\n      text\n\n      # text\n"
                            ));
                        }
                    }
                    _ => text.push_str(&format!("  {key}{number}: [{scalar}, {{k: {scalar}}}]{comment}\n")),
                }
            }
            text
        },
    )
}

fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| pointers(value, format!("{at}/{key}"), all));
        }
        Value::Array(elements) => {
            elements
                .iter()
                .enumerate()
                .for_each(|(index, value)| pointers(value, format!("{at}/{index}"), all));
        }
        _ => {}
    }
    all.push(at);
}

fn replacement() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..100).prop_map(Value::from),
        "[a-z]{0,4}|yes|[:#{},\\[\\] ]{1,4}|a\nb\n".prop_map(Value::from),
        Just(json!({"new": {"x": [1, {"y": "on"}]}})),
        Just(json!([])),
        Just(json!(["q", {"r": null}])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// What is edited is read as wanted, comments stay, and what cannot be edited is refused with a
    /// place: in these layouts, little.
    #[test]
    fn edits_of_random_layouts(
        layout in layout(), crlf: bool, at: prop::sample::Index, action in 0..4, new in replacement(),
    ) {
        let text = format!("# head\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata:\n  name: a # n\nspec:\n{layout}---\n# tail\n");
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        let files = file("a.yaml", &text);
        let object = &files.objects[0];
        let mut all = Vec::new();
        pointers(object.get("/spec").unwrap(), "/spec".to_owned(), &mut all);
        let pointer = at.get(&all).clone();
        let edit = Edit::of(object);
        let edit = match action {
            0 => edit.set(&pointer, new),
            1 => edit.set(&format!("{pointer}/added"), new),
            2 => edit.insert(&format!("{pointer}/0"), new),
            _ => edit.remove(&pointer),
        };
        let Ok(edit) = edit else { return Ok(()) };
        let patch = edit.patch();
        if patch.is_empty() {
            return Ok(());
        }
        let wanted = patch.apply_to(object).unwrap();
        match files.edit(&[Change::Patch(patch)]) {
            Ok(edits) => {
                let after = edits[0].after.clone().unwrap();
                let read = manifests::parse("a.yaml", &after, "shop").unwrap();
                prop_assert_eq!(&read.objects[0].value, &wanted.value);
                prop_assert!(after.starts_with("# head") && after.contains("name: a # n") && after.contains("# tail"));
                prop_assert_eq!(after.matches("\r\n").count() > 0, crlf);
                prop_assert!(!crlf || !after.replace("\r\n", "").contains('\n'), "{after}");
                // A scalar in place of a scalar touches its line alone.
                if action == 0 && !object.get(&pointer).unwrap().to_string().contains(['{', '[', '\n'])
                    && !wanted.get(&pointer).unwrap().to_string().contains(['{', '[']) && !pointer.ends_with("/z") {
                    let (old, new) = differing(&text, &after);
                    prop_assert!(old.len() <= 1 && new.len() <= 1, "{text}\n{after}");
                }
            }
            Err(EditError::Obstacle { place, .. }) => prop_assert!(place.line >= 1),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    /// Nothing panics, whatever the text.
    #[test]
    fn broken_layouts_are_refused_or_edited(
        layout in layout(), cuts in prop::collection::vec((any::<prop::sample::Index>(), "[-:#{}\\[\\]&*!|>'\" \t\r\né<,?]{0,3}"), 0..4),
        at: prop::sample::Index, new in replacement(), remove: bool,
    ) {
        let mut text: Vec<char> = format!("apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: a}}\nspec:\n{layout}").chars().collect();
        for (at, by) in cuts {
            let at = at.index(text.len());
            text.splice(at..=at, by.chars());
        }
        let text: String = text.into_iter().collect();
        let Ok(read) = manifests::parse("a.yaml", &text, "shop") else { return Ok(()) };
        let Some(object) = read.objects.first() else { return Ok(()) };
        let files = file("a.yaml", &text);
        let mut all = Vec::new();
        pointers(&object.value, String::new(), &mut all);
        let pointer = at.get(&all);
        let edit = if remove { Edit::of(object).remove(pointer) } else { Edit::of(object).set(pointer, new) };
        let Ok(edit) = edit else { return Ok(()) };
        let _ = files.edit(&[Change::Patch(edit.patch())]);
    }
}
