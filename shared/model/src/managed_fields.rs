//! Who wrote an object, by its `metadata.managedFields`.

use serde_json::Value;

use crate::mesh_config::list;
use crate::object::Object;

/// A writer of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// The field manager: a tool's name, such as `argocd-controller` or `kubectl-edit`.
    pub manager: String,
    /// When it last wrote, as RFC 3339.
    pub at: String,
}

/// Who last wrote the spec of an object, `ours` aside; `None` where the server does not tell.
///
/// A manager's entry has the time of its last change (`metadata.managedFields[].time`), and only the fields
/// that it still owns.
#[must_use]
pub fn last_other(object: &Object, ours: &str) -> Option<Wrote> {
    let text = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).map(str::to_owned);
    list(object.get("/metadata/managedFields"))
        .iter()
        .filter(|entry| entry.pointer("/fieldsV1/f:spec").is_some())
        .filter_map(|entry| Some(Wrote { manager: text(entry, "manager")?, at: text(entry, "time")? }))
        .filter(|wrote| wrote.manager != ours)
        .max_by(|one, other| one.at.cmp(&other.at))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::{Kind, Origin};

    #[test]
    fn the_last_other_writer_of_the_spec_is_named() {
        let entry = |manager: &str, at: &str, part: &str| json!({"manager": manager, "time": at, "fieldsV1": {part: {}}});
        let object = Object {
            kind: Kind::VirtualService,
            namespace: "shop".to_owned(),
            name: "payment".to_owned(),
            value: json!({"metadata": {"managedFields": [
                entry("argocd-controller", "2026-01-01T00:00:03Z", "f:spec"),
                entry("kubectl-edit", "2026-01-01T00:00:01Z", "f:spec"),
                entry("kubectl-mesh", "2026-01-01T00:00:04Z", "f:spec"),
                entry("kubectl-annotate", "2026-01-01T00:00:05Z", "f:metadata"),
            ]}}),
            origin: Origin::Cluster,
        };
        let wrote = last_other(&object, "kubectl-mesh");
        assert_eq!(wrote.map(|wrote| wrote.manager).as_deref(), Some("argocd-controller"));
        let nobody = Object { value: json!({"metadata": {}}), ..object };
        assert_eq!(last_other(&nobody, "kubectl-mesh"), None);
    }
}
