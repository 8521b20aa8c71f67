//! What a plan wants, as data: objects to create and delete, and fields to change.
//!
//! A plan is a list of [`Change`]s in the order in which they must be written. The same value is shown
//! as a diff, applied to a [`World`] to see its effect, written to a cluster or into files, and turned
//! round to take it back.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use crate::object::{Kind, Object};
use crate::world::World;

/// Which object a [`Change`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The group and version by which it is written, such as `networking.istio.io/v1`.
    pub api_version: String,
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Reference {
    /// The reference of an object.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        Self {
            api_version: text(&object.value, "/apiVersion").unwrap_or_default(),
            kind: object.kind,
            namespace: object.namespace.clone(),
            name: object.name.clone(),
        }
    }

    /// Whether it means this object, in whatever version that was read.
    #[must_use]
    pub fn means(&self, object: &Object) -> bool {
        self.identity() == (object.kind, object.namespace.as_str(), object.name.as_str())
    }

    fn identity(&self) -> (Kind, &str, &str) {
        (self.kind, &self.namespace, &self.name)
    }
}

/// `VirtualService shop/payment`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// What happens to the objects that a deleted one owns (`kubectl delete --cascade`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go first, then the object.
    Foreground,
    /// The object goes first, then they.
    Background,
    /// They stay, without owner.
    Orphan,
}

impl Propagation {
    /// The value of `propagationPolicy` in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreground => "Foreground",
            Self::Background => "Background",
            Self::Orphan => "Orphan",
        }
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An object that is not there yet.
    Create(Object),
    /// An object goes.
    Delete {
        /// The object as it was read. Only this one is deleted, not another that has its name meanwhile
        /// (uid) or that somebody has edited (resourceVersion), as far as it says so itself.
        object: Object,
        /// What happens to what it owns; `None` for the kind's default.
        propagation: Option<Propagation>,
    },
    /// Named fields of an object change, and nothing else.
    Patch(Patch),
}

/// Changes of named fields of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// The object.
    pub object: Reference,
    /// The state of the object that the plan was made on; `None` if it was not read from a cluster, or
    /// if any state will do whose old values fit.
    pub resource_version: Option<String>,
    /// The fields, in the order in which they change: each pointer holds after the changes before it.
    pub fields: Vec<FieldChange>,
}

/// One field's change.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// The field, as JSON pointer (RFC 6901). In a list, a new value without an old one is inserted at
    /// this index (the list's length appends), and an old one without a new one leaves the list.
    pub pointer: String,
    /// The value before; `None` if the field is added.
    pub old: Option<Value>,
    /// The value after; `None` if the field is removed.
    pub new: Option<Value>,
}

/// Why a [`Change`] does not fit an object: it is not in the state that the plan was made on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Mismatch {
    /// A field has another value than the plan was made on.
    #[error("{object}: {pointer} is {}, not {}", shown(found.as_deref()), shown(wanted.as_deref()))]
    Field {
        /// The object.
        object: Reference,
        /// The field, as JSON pointer.
        pointer: String,
        /// The value that the plan was made on; `None` for no such field.
        wanted: Option<Box<Value>>,
        /// The value that is there; `None` for no such field.
        found: Option<Box<Value>>,
    },
    /// A field is named for which there is no place: its parent is missing or has no such parts.
    #[error("{object}: there is no place for {pointer}")]
    NoPlace {
        /// The object.
        object: Reference,
        /// The field, as JSON pointer.
        pointer: String,
    },
    /// The object is to be created and is there.
    #[error("{0} exists already")]
    Exists(Reference),
    /// The object is to be changed or deleted and is not there.
    #[error("{0} does not exist")]
    Missing(Reference),
}

impl Change {
    /// The object that changes.
    #[must_use]
    pub fn object(&self) -> Reference {
        match self {
            Self::Create(object) | Self::Delete { object, .. } => Reference::of(object),
            Self::Patch(patch) => patch.object.clone(),
        }
    }

    /// What becomes of an object: `None` before it is created, and after it is deleted.
    ///
    /// # Errors
    /// A [`Mismatch`] if the object is not in the state that the change is for.
    pub fn apply_to(&self, object: Option<&Object>) -> Result<Option<Object>, Mismatch> {
        match (self, object) {
            (Self::Create(new), None) => Ok(Some(new.clone())),
            (Self::Create(new), Some(_)) => Err(Mismatch::Exists(Reference::of(new))),
            (_, None) => Err(Mismatch::Missing(self.object())),
            (Self::Patch(patch), Some(object)) => patch.apply_to(object).map(Some),
            (Self::Delete { object: planned, .. }, Some(object)) => {
                for pointer in ["/metadata/uid", RESOURCE_VERSION] {
                    same_where_known(planned.get(pointer), object, pointer)?;
                }
                Ok(None)
            }
        }
    }

    /// The change that takes this one back. What only the server writes (uid, resourceVersion, ...) is
    /// left out: an object that is created again is another one.
    #[must_use]
    pub fn inverse(&self) -> Self {
        match self {
            Self::Create(object) => Self::Delete { object: object.clone(), propagation: None },
            Self::Delete { object, .. } => Self::Create(without_server_fields(object)),
            Self::Patch(patch) => Self::Patch(patch.inverse()),
        }
    }
}

impl Patch {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The object after the change.
    ///
    /// # Errors
    /// A [`Mismatch`] if a field does not have its old value, or if both sides know their
    /// resourceVersion and it is another one.
    pub fn apply_to(&self, object: &Object) -> Result<Object, Mismatch> {
        if !self.object.means(object) {
            return Err(Mismatch::Missing(self.object.clone()));
        }
        let wanted = self.resource_version.as_deref().map(Value::from);
        same_where_known(wanted.as_ref(), object, RESOURCE_VERSION)?;
        let mut after = object.clone();
        for field in &self.fields {
            field.apply_to(&mut after.value).map_err(|refusal| refusal.of(&self.object, field))?;
        }
        Ok(after)
    }

    /// The patch that takes this one back: the old values in the opposite order. It holds for any
    /// resourceVersion, because the one after this change is not known here.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let back = |field: &FieldChange| FieldChange {
            pointer: field.pointer.clone(),
            old: field.new.clone(),
            new: field.old.clone(),
        };
        Self {
            object: self.object.clone(),
            resource_version: None,
            fields: self.fields.iter().rev().map(back).collect(),
        }
    }

    /// The same as JSON Patch (RFC 6902): a `test` of the resourceVersion and of every old value, so
    /// that the server refuses it as a whole if somebody was faster.
    ///
    /// JSON Patch has no test for a field that must be absent; there the resourceVersion alone guards.
    #[must_use]
    pub fn json_patch(&self) -> Value {
        let mut operations = Vec::new();
        if let Some(version) = &self.resource_version {
            operations.push(json!({"op": "test", "path": RESOURCE_VERSION, "value": version}));
        }
        for FieldChange { pointer, old, new } in &self.fields {
            if let Some(old) = old {
                operations.push(json!({"op": "test", "path": pointer, "value": old}));
            }
            match (old, new) {
                (Some(_), Some(new)) => {
                    operations.push(json!({"op": "replace", "path": pointer, "value": new}));
                }
                (None, Some(new)) => operations.push(json!({"op": "add", "path": pointer, "value": new})),
                (Some(_), None) => operations.push(json!({"op": "remove", "path": pointer})),
                (None, None) => {}
            }
        }
        Value::Array(operations)
    }
}

/// Makes a [`Patch`] field by field, and writes down the old values itself.
///
/// ```
/// # use mesh_model::{change::Edit, object::{Kind, Object, Origin}};
/// # use serde_json::json;
/// # let value = json!({"apiVersion": "networking.istio.io/v1", "spec": {"http": [{"route": [{"weight": 100}]}]}});
/// # let (namespace, name) = ("shop".into(), "payment".into());
/// # let object = Object { kind: Kind::VirtualService, namespace, name, value, origin: Origin::Cluster };
/// let patch = Edit::of(&object)
///     .set("/spec/http/0/route/0/weight", json!(90))?
///     .set("/metadata/annotations/kubectl-mesh.dev~1history", json!("100 -> 90"))?
///     .patch();
/// assert_eq!(patch.fields.len(), 2);
/// # Ok::<_, mesh_model::change::Mismatch>(())
/// ```
#[derive(Clone, Debug)]
pub struct Edit {
    patch: Patch,
    /// The object after the changes so far.
    now: Value,
}

impl Edit {
    /// Nothing yet, of an object as it was read.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        let patch = Patch {
            object: Reference::of(object),
            resource_version: text(&object.value, RESOURCE_VERSION),
            fields: Vec::new(),
        };
        Self { patch, now: object.value.clone() }
    }

    /// Gives a field a value: replaces it, or adds it, together with the maps above it that are missing
    /// (`metadata.annotations` often is). An index must be one of the list.
    ///
    /// # Errors
    /// [`Mismatch::NoPlace`].
    pub fn set(self, pointer: &str, value: Value) -> Result<Self, Mismatch> {
        if let Some(old) = self.now.pointer(pointer) {
            let changed = *old != value;
            let old = Some(old.clone());
            return if changed { self.push(pointer, old, Some(value)) } else { Ok(self) };
        }
        // The topmost part that is missing is added with all that is below it.
        let (mut pointer, mut value) = (pointer.to_owned(), value);
        while let Some((above, token)) = parent(&pointer) {
            match self.now.pointer(above) {
                Some(Value::Object(_)) => return self.push(&pointer, None, Some(value)),
                Some(Value::Null) | None => {
                    value = Value::Object(Map::from_iter([(token, value)]));
                    pointer = above.to_owned();
                    if self.now.pointer(&pointer).is_some() {
                        return self.push(&pointer, Some(Value::Null), Some(value));
                    }
                }
                Some(_) => break,
            }
        }
        Err(Refusal::NoPlace.of(&self.patch.object, &FieldChange { pointer, old: None, new: None }))
    }

    /// Removes a field or an element of a list; one that is not there is as good as removed.
    ///
    /// # Errors
    /// [`Mismatch::NoPlace`] for the object as a whole.
    pub fn remove(self, pointer: &str) -> Result<Self, Mismatch> {
        match self.now.pointer(pointer).cloned() {
            Some(old) => self.push(pointer, Some(old), None),
            None => Ok(self),
        }
    }

    /// Inserts an element into a list, before the one that has this index; the list's length appends.
    ///
    /// # Errors
    /// [`Mismatch::NoPlace`] if there is no list, or it is shorter.
    pub fn insert(self, pointer: &str, value: Value) -> Result<Self, Mismatch> {
        let in_list =
            parent(pointer).is_some_and(|(above, _)| self.now.pointer(above).is_some_and(Value::is_array));
        if in_list {
            self.push(pointer, None, Some(value))
        } else {
            let field = FieldChange { pointer: pointer.to_owned(), old: None, new: None };
            Err(Refusal::NoPlace.of(&self.patch.object, &field))
        }
    }

    /// The patch.
    #[must_use]
    pub fn patch(self) -> Patch {
        self.patch
    }

    fn push(mut self, pointer: &str, old: Option<Value>, new: Option<Value>) -> Result<Self, Mismatch> {
        let field = FieldChange { pointer: pointer.to_owned(), old, new };
        field.apply_to(&mut self.now).map_err(|refusal| refusal.of(&self.patch.object, &field))?;
        self.patch.fields.push(field);
        Ok(self)
    }
}

impl World {
    /// This World after a plan.
    ///
    /// # Errors
    /// The first [`Mismatch`] between a change and the World that the changes before it have left.
    pub fn after(&self, changes: &[Change]) -> Result<Self, Mismatch> {
        let mut changed: BTreeMap<(Kind, String, String), Option<Object>> = BTreeMap::new();
        for change in changes {
            let Reference { kind, namespace, name, .. } = change.object();
            let found = self
                .objects()
                .iter()
                .find(|object| (object.kind, &object.namespace, &object.name) == (kind, &namespace, &name));
            let key = (kind, namespace, name);
            let before = match changed.get(&key) {
                Some(object) => object.as_ref(),
                None => found.map(AsRef::as_ref),
            };
            let after = change.apply_to(before)?;
            changed.insert(key, after);
        }
        Ok(self.replacing(changed))
    }
}

/// Where an object says which of its states it is.
const RESOURCE_VERSION: &str = "/metadata/resourceVersion";

/// Why a field does not fit a value.
enum Refusal {
    NoPlace,
    Other { found: Option<Value> },
}

impl Refusal {
    fn of(self, object: &Reference, field: &FieldChange) -> Mismatch {
        let (object, pointer) = (object.clone(), field.pointer.clone());
        match self {
            Self::NoPlace => Mismatch::NoPlace { object, pointer },
            Self::Other { found } => {
                let wanted = field.old.clone().map(Box::new);
                Mismatch::Field { object, pointer, wanted, found: found.map(Box::new) }
            }
        }
    }
}

impl FieldChange {
    fn apply_to(&self, value: &mut Value) -> Result<(), Refusal> {
        let (above, token) = parent(&self.pointer).ok_or(Refusal::NoPlace)?;
        match value.pointer_mut(above).ok_or(Refusal::NoPlace)? {
            Value::Object(fields) => {
                let found = fields.get(&token);
                if found != self.old.as_ref() {
                    return Err(Refusal::Other { found: found.cloned() });
                }
                match &self.new {
                    Some(new) => fields.insert(token, new.clone()),
                    None => fields.remove(&token),
                };
            }
            Value::Array(elements) => {
                let index = index(&token).ok_or(Refusal::NoPlace)?;
                let found = elements.get(index);
                if self.old.is_some() && found != self.old.as_ref() {
                    return Err(Refusal::Other { found: found.cloned() });
                }
                match (&self.old, &self.new) {
                    (None, Some(_)) if index > elements.len() => return Err(Refusal::NoPlace),
                    (None, Some(new)) => elements.insert(index, new.clone()),
                    (Some(_), Some(new)) => {
                        if let Some(element) = elements.get_mut(index) {
                            element.clone_from(new);
                        }
                    }
                    (Some(_), None) => {
                        elements.remove(index);
                    }
                    (None, None) => {}
                }
            }
            _ => return Err(Refusal::NoPlace),
        }
        Ok(())
    }
}

/// The pointer without its last part, and that part; `None` for the whole object.
fn parent(pointer: &str) -> Option<(&str, String)> {
    let (above, token) = pointer.rsplit_once('/')?;
    Some((above, token.replace("~1", "/").replace("~0", "~")))
}

/// A list's index, as RFC 6901 writes it.
fn index(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with(['0', '+']);
    canonical.then(|| token.parse().ok()).flatten()
}

/// Compares a field that only one of both sides may know.
fn same_where_known(wanted: Option<&Value>, object: &Object, pointer: &str) -> Result<(), Mismatch> {
    match (wanted, object.get(pointer)) {
        (Some(wanted), Some(found)) if wanted != found => Err(Mismatch::Field {
            object: Reference::of(object),
            pointer: pointer.to_owned(),
            wanted: Some(Box::new(wanted.clone())),
            found: Some(Box::new(found.clone())),
        }),
        _ => Ok(()),
    }
}

/// The object without what only the server writes, so that it can be shown, compared, and created
/// again. kubectl's `last-applied-configuration` is somebody's and stays.
#[must_use]
pub fn without_server_fields(object: &Object) -> Object {
    const OF_METADATA: [&str; 8] = [
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    ];
    let mut object = object.clone();
    if let Some(fields) = object.value.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !OF_METADATA.contains(&name.as_str()));
    }
    object
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// A value in a message; long ones are cut.
fn shown(value: Option<&Value>) -> String {
    const LONGEST: usize = 100;
    let Some(value) = value else { return "absent".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Origin;
    use crate::world::Snapshot;

    fn object(value: Value) -> Object {
        let (namespace, name) = ("shop".to_owned(), "payment".to_owned());
        Object { kind: Kind::VirtualService, namespace, name, value, origin: Origin::Cluster }
    }

    fn payment() -> Object {
        object(json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "payment", "namespace": "shop", "resourceVersion": "7", "uid": "u"},
            "spec": {"http": [{"route": [{"weight": 100}, {"weight": 0}]}]},
        }))
    }

    #[test]
    fn a_patch_says_what_it_was_planned_on() {
        let patch = Edit::of(&payment())
            .set("/spec/http/0/route/0/weight", json!(90))
            .and_then(|edit| edit.set("/metadata/annotations/a~1b", json!("x")))
            .and_then(|edit| edit.set("/metadata/annotations/c", json!("y")))
            .and_then(|edit| edit.set("/spec/http/0/route/1/weight", json!(0)))
            .unwrap()
            .patch();
        assert_eq!(
            patch.json_patch(),
            json!([
                {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
                {"op": "test", "path": "/spec/http/0/route/0/weight", "value": 100},
                {"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 90},
                {"op": "add", "path": "/metadata/annotations", "value": {"a/b": "x"}},
                {"op": "add", "path": "/metadata/annotations/c", "value": "y"},
            ])
        );
        let after = patch.apply_to(&payment()).unwrap();
        assert_eq!(after.get("/spec/http/0/route/0/weight"), Some(&json!(90)));
        assert_eq!(patch.inverse().apply_to(&after).unwrap(), payment());
    }

    #[test]
    fn annotations_may_be_null() {
        let mut null = payment();
        null.value["metadata"]["annotations"] = Value::Null;
        let patch = Edit::of(&null).set("/metadata/annotations/a", json!("x")).unwrap().patch();
        assert_eq!(patch.fields[0].old, Some(Value::Null));
        assert_eq!(patch.inverse().apply_to(&patch.apply_to(&null).unwrap()).unwrap(), null);
    }

    #[test]
    fn lists_grow_and_shrink() {
        let edit = Edit::of(&payment()).insert("/spec/http/0/route/1", json!({"weight": 5})).unwrap();
        let patch = edit.remove("/spec/http/0/route/0").unwrap().patch();
        let after = patch.apply_to(&payment()).unwrap();
        assert_eq!(after.get("/spec/http/0/route"), Some(&json!([{"weight": 5}, {"weight": 0}])));
        assert_eq!(patch.inverse().apply_to(&after).unwrap(), payment());
    }

    #[test]
    fn what_has_no_place_is_refused() {
        for pointer in
            ["/spec/http/1", "/spec/http/-", "/spec/http/00", "/kind/x", "", "no", "/spec/http/x/y"]
        {
            let refused = Edit::of(&payment()).set(pointer, json!(1));
            assert!(matches!(refused, Err(Mismatch::NoPlace { .. })), "{pointer}");
        }
        assert!(Edit::of(&payment()).insert("/spec/http/2", json!(1)).is_err());
        assert!(Edit::of(&payment()).insert("/spec/new", json!(1)).is_err());
        assert!(Edit::of(&payment()).remove("").is_err());
    }

    #[test]
    fn a_mismatch_says_what_is_there() {
        let patch = Edit::of(&payment()).set("/spec/http/0/route/0/weight", json!(90)).unwrap().patch();
        let mut edited = payment();
        edited.value["spec"]["http"][0]["route"][0]["weight"] = json!(50);
        assert_eq!(
            patch.apply_to(&edited).unwrap_err().to_string(),
            "VirtualService shop/payment: /spec/http/0/route/0/weight is 50, not 100"
        );
        edited.value["metadata"]["resourceVersion"] = json!("8");
        assert_eq!(
            patch.apply_to(&edited).unwrap_err().to_string(),
            "VirtualService shop/payment: /metadata/resourceVersion is \"8\", not \"7\""
        );
        assert_eq!(
            Change::Create(payment()).apply_to(Some(&edited)),
            Err(Mismatch::Exists(Reference::of(&edited)))
        );
        let deletion = Change::Delete { object: payment(), propagation: None };
        assert!(matches!(deletion.apply_to(Some(&edited)), Err(Mismatch::Field { .. })));
        assert!(matches!(deletion.apply_to(None), Err(Mismatch::Missing(_))));
    }

    #[test]
    fn a_world_after_a_plan() {
        let world = World::new(Snapshot {
            objects: vec![payment()],
            istio_version: Some("1.22.3".to_owned()),
            ..Snapshot::default()
        });
        let mut rule = object(json!({"apiVersion": "networking.istio.io/v1", "spec": {"host": "payment"}}));
        rule.kind = Kind::DestinationRule;
        let plan = [
            Change::Create(rule),
            Change::Patch(
                Edit::of(&payment()).set("/spec/http/0/route/0/weight", json!(90)).unwrap().patch(),
            ),
        ];
        let after = world.after(&plan).unwrap();
        assert_eq!((after.objects().len(), after.destination_rules.len()), (2, 1));
        assert_eq!(after.version_source, world.version_source);
        let back: Vec<Change> = plan.iter().rev().map(Change::inverse).collect();
        assert_eq!(after.after(&back).unwrap().objects(), world.objects());
        assert!(matches!(after.after(&plan), Err(Mismatch::Exists(_))));
        let gone = world.after(&[Change::Delete { object: payment(), propagation: None }]).unwrap();
        assert!(gone.objects().is_empty());
        let again = Change::Delete { object: payment(), propagation: None }.inverse();
        let created = gone.after(&[again]).unwrap();
        assert_eq!(*created.objects()[0], without_server_fields(&payment()));
    }
}
