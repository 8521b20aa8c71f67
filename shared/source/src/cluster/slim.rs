//! What is kept of each kind, and why.
//!
//! A pod is ten kilobytes, of which the model reads one. [`Keep`] is a mask over JSON that works
//! while reading: what it does not name never becomes a value.

use std::fmt;

use mesh_model::object::Kind;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Which parts of a JSON value are kept. An array is masked element by element.
#[derive(Clone, Copy)]
pub(crate) enum Keep {
    /// All of it.
    All,
    /// Of an object only these fields.
    Only(&'static [(&'static str, Keep)]),
    /// Of an object everything but these fields.
    Except(&'static [(&'static str, Keep)]),
    /// Nothing; as a field of [`Keep::Except`].
    Nothing,
    /// Of an array only the objects whose field `type` is this, and of those only type and status:
    /// one condition.
    Condition(&'static str),
}

use Keep::{All, Condition, Except, Nothing, Only};

/// Labels select, annotations hold Istio's per-object settings (`sidecar.istio.io/...`,
/// `networking.istio.io/exportTo`, `traffic.sidecar.istio.io/...`) and tell of Helm and Argo CD.
/// kubectl's copy of the whole manifest would double every object.
const ANNOTATIONS: Keep = Except(&[("kubectl.kubernetes.io/last-applied-configuration", Nothing)]);

/// The owner chain from a pod to its workload.
const OWNERS: Keep =
    Only(&[("apiVersion", All), ("kind", All), ("name", All), ("uid", All), ("controller", All)]);

/// Who an object is, and whose. `managedFields` is often half of an object.
const METADATA: Keep = Only(&[
    ("name", All),
    ("namespace", All),
    ("uid", All),
    ("labels", All),
    ("annotations", ANNOTATIONS),
    ("ownerReferences", OWNERS),
    // The oldest VirtualService for a host wins.
    ("creationTimestamp", All),
    // What is being deleted takes no new traffic.
    ("deletionTimestamp", All),
]);

/// Names tell the sidecar, ports resolve a Service's named target, images show versions, and an
/// init container that restarts always is a native sidecar.
const CONTAINERS: Keep = Only(&[
    ("name", All),
    ("image", All),
    ("restartPolicy", All),
    ("ports", Only(&[("name", All), ("containerPort", All), ("protocol", All)])),
]);

/// The identity, and what takes part in the mesh: nothing on the host's network does.
const POD_SPEC: Keep = Only(&[
    ("serviceAccountName", All),
    ("hostNetwork", All),
    ("nodeName", All),
    ("containers", CONTAINERS),
    ("initContainers", CONTAINERS),
]);

/// Addresses for `ipBlocks`, readiness for who gets traffic.
const POD_STATUS: Keep =
    Only(&[("phase", All), ("podIP", All), ("podIPs", All), ("conditions", Condition("Ready"))]);

/// The pods that a workload would make.
const POD_TEMPLATE: Keep =
    Only(&[("metadata", Only(&[("labels", All), ("annotations", ANNOTATIONS)])), ("spec", POD_SPEC)]);

/// A workload without pods (scaled to zero, or not yet started) is judged by its template.
const WORKLOAD: Keep = Only(&[
    ("metadata", METADATA),
    ("spec", Only(&[("replicas", All), ("selector", All), ("template", POD_TEMPLATE)])),
]);

/// A CronJob's pods are two templates down.
const CRON_JOB: Keep = Only(&[
    ("metadata", METADATA),
    (
        "spec",
        Only(&[("suspend", All), ("jobTemplate", Only(&[("spec", Only(&[("template", POD_TEMPLATE)]))]))]),
    ),
]);

const POD: Keep = Only(&[("metadata", METADATA), ("spec", POD_SPEC), ("status", POD_STATUS)]);

/// Ports, selectors, headless or not: the whole spec counts.
const SERVICE: Keep = Only(&[("metadata", METADATA), ("spec", All)]);

/// A Namespace's labels inject; a ServiceAccount is a name.
const NAME_ONLY: Keep = Only(&[("metadata", METADATA)]);

/// `istio-sidecar-injector` and others are large and not asked for.
const MESH_CONFIGURATION: Keep = Only(&[("metadata", METADATA), ("data", Only(&[("mesh", All)]))]);

/// Istio's objects are what answers are about: everything but the field owners. The status is
/// written by istiod alone and takes no part in what the object does.
const ISTIO: Keep = Except(&[("metadata", Except(&[("managedFields", Nothing)])), ("status", Nothing)]);

/// The mask of a kind.
pub(crate) fn kept(kind: Kind) -> Keep {
    match kind {
        Kind::Namespace | Kind::ServiceAccount => NAME_ONLY,
        Kind::Service => SERVICE,
        Kind::Pod => POD,
        Kind::ConfigMap => MESH_CONFIGURATION,
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::ReplicaSet | Kind::Job => WORKLOAD,
        Kind::CronJob => CRON_JOB,
        Kind::AuthorizationPolicy
        | Kind::PeerAuthentication
        | Kind::RequestAuthentication
        | Kind::DestinationRule
        | Kind::VirtualService
        | Kind::Gateway
        | Kind::Sidecar
        | Kind::ServiceEntry
        | Kind::EnvoyFilter => ISTIO,
    }
}

/// Whether a slim object is of any use.
pub(crate) fn is_needed(kind: Kind, value: &Value) -> bool {
    match kind {
        // A Deployment keeps ten old ReplicaSets, which run nothing and own nothing.
        Kind::ReplicaSet => {
            value.pointer("/spec/replicas").and_then(Value::as_u64) != Some(0)
                || value.pointer("/metadata/ownerReferences").is_none()
        }
        Kind::ConfigMap => {
            let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let is_mesh = name == "istio" || name.starts_with("istio-");
            is_mesh && value.pointer("/data/mesh").is_some()
        }
        _ => true,
    }
}

impl Keep {
    /// The mask of a field; `None` to skip it.
    fn field(self, name: &str) -> Option<Self> {
        let find =
            |fields: &[(&str, Self)]| fields.iter().find(|(field, _)| *field == name).map(|(_, keep)| *keep);
        match self {
            All => Some(All),
            Only(fields) => find(fields),
            Except(fields) => match find(fields) {
                Some(Nothing) => None,
                Some(keep) => Some(keep),
                None => Some(All),
            },
            Condition(_) => matches!(name, "type" | "status").then_some(All),
            Nothing => None,
        }
    }

    /// Whether an element of an array stays in it.
    fn keeps_element(self, element: &Value) -> bool {
        match self {
            Condition(wanted) => element.get("type").and_then(Value::as_str) == Some(wanted),
            _ => true,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Keep {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self {
            All => Value::deserialize(deserializer),
            Nothing => IgnoredAny::deserialize(deserializer).map(|_| Value::Null),
            Only(_) | Except(_) | Condition(_) => deserializer.deserialize_any(self),
        }
    }
}

/// A mask meets what it was made for: an object, or an array of objects. Anything else is malformed,
/// and kept as it is for the model to judge.
impl<'de> Visitor<'de> for Keep {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Value, M::Error> {
        let mut fields = Map::new();
        while let Some(field) = map.next_key_seed(Field(self))? {
            match field {
                Some((name, keep)) => {
                    fields.insert(name, map.next_value_seed(keep)?);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(fields))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut sequence: S) -> Result<Value, S::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element_seed(self)? {
            if self.keeps_element(&element) {
                elements.push(element);
            }
        }
        Ok(Value::Array(elements))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
}

/// The name of a field under a mask; yields the name and its own mask, or `None` to skip it. Most are
/// skipped, and cost no memory.
struct Field(Keep);

impl<'de> DeserializeSeed<'de> for Field {
    type Value = Option<(String, Keep)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Field {
    type Value = Option<(String, Keep)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(name).map(|keep| (name.to_owned(), keep)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slim(kind: Kind, value: &Value) -> Value {
        kept(kind).deserialize(value.clone()).unwrap()
    }

    #[test]
    fn a_pod_keeps_identity_ports_addresses_and_readiness() {
        let pod = json!({
            "metadata": {
                "name": "a", "namespace": "x", "resourceVersion": "1", "generateName": "a-",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "sidecar.istio.io/inject": "true"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "r", "blockOwnerDeletion": true}],
            },
            "spec": {
                "serviceAccountName": "s",
                "containers": [{"name": "c", "image": "i", "env": [{"name": "PASSWORD", "value": "p"}],
                                "ports": [{"containerPort": 80, "name": "http", "hostPort": 1}]}],
                "initContainers": [{"name": "istio-proxy", "restartPolicy": "Always", "args": ["proxy"]}],
            },
            "status": {
                "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "phase": "Running", "hostIP": "h",
                "conditions": [{"type": "Initialized", "status": "True"},
                               {"type": "Ready", "status": "True", "lastTransitionTime": "t"}],
            },
        });
        assert_eq!(
            slim(Kind::Pod, &pod),
            json!({
                "metadata": {
                    "name": "a", "namespace": "x",
                    "annotations": {"sidecar.istio.io/inject": "true"},
                    "ownerReferences": [{"kind": "ReplicaSet", "name": "r"}],
                },
                "spec": {
                    "serviceAccountName": "s",
                    "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "name": "http"}]}],
                    "initContainers": [{"name": "istio-proxy", "restartPolicy": "Always"}],
                },
                "status": {
                    "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            })
        );
    }

    #[test]
    fn istio_objects_lose_only_field_owners_and_status() {
        let policy = json!({
            "metadata": {"name": "a", "generation": 3, "managedFields": [{}]},
            "spec": {"rules": [{}], "unknown": {"kept": [1, 1.5, null, true]}},
            "status": {"conditions": []},
        });
        assert_eq!(
            slim(Kind::AuthorizationPolicy, &policy),
            json!({
                "metadata": {"name": "a", "generation": 3},
                "spec": {"rules": [{}], "unknown": {"kept": [1, 1.5, null, true]}},
            })
        );
    }

    #[test]
    fn malformed_parts_are_kept_as_they_are() {
        assert_eq!(
            slim(Kind::Pod, &json!({"metadata": null, "spec": "text"})),
            json!({"metadata": null, "spec": "text"})
        );
    }

    #[test]
    fn old_replica_sets_are_of_no_use() {
        let old = json!({"metadata": {"ownerReferences": [{}]}, "spec": {"replicas": 0}});
        let bare = json!({"metadata": {}, "spec": {"replicas": 0}});
        let live = json!({"metadata": {"ownerReferences": [{}]}, "spec": {"replicas": 1}});
        assert!(!is_needed(Kind::ReplicaSet, &old));
        assert!(is_needed(Kind::ReplicaSet, &bare));
        assert!(is_needed(Kind::ReplicaSet, &live));
    }

    #[test]
    fn of_config_maps_only_the_mesh_configuration_counts() {
        let config_map = |name: &str, key: &str| json!({"metadata": {"name": name}, "data": {key: ""}});
        assert!(is_needed(Kind::ConfigMap, &config_map("istio", "mesh")));
        assert!(is_needed(Kind::ConfigMap, &config_map("istio-1-27", "mesh")));
        assert!(!is_needed(Kind::ConfigMap, &config_map("istio-sidecar-injector", "values")));
        assert!(!is_needed(Kind::ConfigMap, &config_map("other", "mesh")));
    }
}
