//! Laws of changes, on random objects and random edits.

#![expect(clippy::unwrap_used, reason = "a test may fail wherever it is")]

use mesh_model::change::{Edit, Patch};
use mesh_model::object::{Kind, Object, Origin};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Values of few names, so that edits meet.
fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        "[a~/]{0,2}".prop_map(Value::from)
    ];
    scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab~/]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(Map::from_iter(map))),
        ]
    })
}

/// What is done at one of the pointers of the object as it is then, chosen by number.
#[derive(Clone, Debug)]
enum Step {
    Set(usize, Value),
    Add(usize, String, Value),
    Insert(usize, Value),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<usize>(), value()).prop_map(|(at, value)| Step::Set(at, value)),
        (any::<usize>(), "[ab~/]{1,2}", value()).prop_map(|(at, key, value)| Step::Add(at, key, value)),
        (any::<usize>(), value()).prop_map(|(at, value)| Step::Insert(at, value)),
        any::<usize>().prop_map(Step::Remove),
    ]
}

fn object(spec: Value) -> Object {
    let value = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "v", "namespace": "n", "resourceVersion": "1"}, "spec": spec});
    let (namespace, name) = ("n".to_owned(), "v".to_owned());
    Object { kind: Kind::VirtualService, namespace, name, value, origin: Origin::Cluster }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Every pointer below and at `at`.
fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| pointers(value, format!("{at}/{}", escaped(key)), all));
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

/// The patch of some steps; those that have no place are left out.
fn patch(object: &Object, steps: Vec<Step>) -> Patch {
    let mut edit = Edit::of(object);
    for step in steps {
        let now = edit.clone().patch().apply_to(object).unwrap();
        let mut all = Vec::new();
        pointers(now.get("/spec").unwrap(), "/spec".to_owned(), &mut all);
        let at = |number: usize| all[number % all.len()].clone();
        let tried = match step {
            Step::Set(number, value) => edit.clone().set(&at(number), value),
            Step::Add(number, key, value) => {
                edit.clone().set(&format!("{}/{}/deep", at(number), escaped(&key)), value)
            }
            Step::Insert(number, value) => {
                let list = at(number);
                let length = now.get(&list).and_then(Value::as_array).map_or(0, Vec::len);
                edit.clone().insert(&format!("{list}/{}", number % (length + 1)), value)
            }
            // The spec itself stays, or there would be nothing to edit.
            Step::Remove(number) if at(number) == "/spec" => continue,
            Step::Remove(number) => edit.clone().remove(&at(number)),
        };
        edit = tried.unwrap_or(edit);
    }
    edit.patch()
}

/// The value with everything that a pointer names taken out.
fn without(mut value: Value, pointers: &[&str]) -> Value {
    for pointer in pointers {
        let (above, _) = pointer.rsplit_once('/').unwrap();
        // An element's neighbours move with it: the list is the field.
        let whole = if value.pointer(above).is_some_and(Value::is_array) { above } else { pointer };
        let (above, key) = whole.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/").replace("~0", "~");
        match value.pointer_mut(above) {
            Some(Value::Object(fields)) => {
                fields.remove(&key);
            }
            Some(Value::Array(elements)) => {
                if let Some(element) = key.parse::<usize>().ok().and_then(|index| elements.get_mut(index)) {
                    *element = Value::Null;
                }
            }
            _ => {}
        }
    }
    value
}

proptest! {
    #[test]
    fn the_inverse_takes_it_back(spec in value(), steps in prop::collection::vec(step(), 1..6)) {
        let object = object(spec);
        let patch = patch(&object, steps);
        let after = patch.apply_to(&object).unwrap();
        prop_assert_eq!(patch.inverse().apply_to(&after).unwrap(), object);
    }

    #[test]
    fn the_json_patch_does_the_same(spec in value(), steps in prop::collection::vec(step(), 1..6)) {
        let object = object(spec);
        let patch = patch(&object, steps);
        let operations: json_patch::Patch = serde_json::from_value(patch.json_patch()).unwrap();
        let mut value = object.value.clone();
        json_patch::patch(&mut value, &operations).unwrap();
        prop_assert_eq!(value, patch.apply_to(&object).unwrap().value);
    }

    #[test]
    fn only_the_named_field_changes(spec in value(), step in step()) {
        let object = object(spec);
        let patch = patch(&object, vec![step]);
        let after = patch.apply_to(&object).unwrap();
        let named: Vec<&str> = patch.fields.iter().map(|field| field.pointer.as_str()).collect();
        prop_assert_eq!(without(after.value, &named), without(object.value, &named));
    }

    /// On any other object a patch is refused, or changes what it says; both ways say the same.
    #[test]
    fn a_failed_test_is_a_mismatch(spec in value(), other in value(), steps in prop::collection::vec(step(), 1..4)) {
        let patch = patch(&object(spec), steps);
        let other = object(other);
        let operations: json_patch::Patch = serde_json::from_value(patch.json_patch()).unwrap();
        let mut value = other.value.clone();
        match (patch.apply_to(&other), json_patch::patch(&mut value, &operations)) {
            (Ok(after), result) => {
                prop_assert!(result.is_ok());
                prop_assert_eq!(after.value, value);
            }
            // JSON Patch replaces what it was to add.
            (Err(_), Ok(())) => prop_assert!(patch.fields.iter().any(|field| field.old.is_none())),
            (Err(_), Err(_)) => {}
        }
    }
}
