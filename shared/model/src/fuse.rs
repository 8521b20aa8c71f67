//! A fuse: a Job that never runs a pod, and takes with it what it owns when its time is up.
//!
//! Kubernetes' own controllers do it: the job controller fails the Job at `activeDeadlineSeconds`, the
//! ttl-after-finished controller deletes it in the foreground, and the garbage collector deletes first what it
//! owns. Nothing of ours has to run. Sources: `syncJob` in `pkg/controller/job`, `processJob` in
//! `pkg/controller/ttlafterfinished`, `processDeletingDependentsItem` in `pkg/controller/garbagecollector`.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::mesh_config::list;
use crate::object::{Kind, Object, Origin};

/// The label that all our objects carry, and its value.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "kubectl-mesh");

/// The label that says what a fuse is for.
pub const PURPOSE: &str = "kubectl-mesh.dev/fuse";

/// The annotation that says what it is about: `shop/payment`.
pub const TARGET: &str = "kubectl-mesh.dev/target";

/// The annotation that says why.
pub const REASON: &str = "kubectl-mesh.dev/reason";

/// The image of the pod that never is. Policies want one that is pinned.
const IMAGE: &str = "registry.k8s.io/pause:3.10";

/// What a fuse is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Where it burns: what it takes with it must be in the same namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How long it burns.
    pub seconds: u64,
    /// What for: `canary`, `fault`, `test`.
    pub purpose: String,
    /// What it is about: `shop/payment`.
    pub target: String,
    /// Why; may be empty.
    pub reason: String,
}

/// The Job of a fuse.
///
/// Its pod would pass the "restricted" Pod Security Standard, because policies judge the template of a Job
/// whose pods are never made.
#[must_use]
pub fn job(order: &Order) -> Object {
    let labels = json!({MANAGED_BY.0: MANAGED_BY.1, PURPOSE: order.purpose});
    let mut annotations = json!({TARGET: order.target});
    if !order.reason.is_empty() {
        annotations[REASON] = Value::from(order.reason.as_str());
    }
    let nothing = json!({"cpu": "1m", "memory": "1Mi"});
    let value = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": order.name,
            "namespace": order.namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            "parallelism": 0,
            "backoffLimit": 0,
            "activeDeadlineSeconds": order.seconds,
            "ttlSecondsAfterFinished": 0,
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {"sidecar.istio.io/inject": "false"},
                },
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": 65535,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": "never-runs",
                        "image": IMAGE,
                        "resources": {"requests": nothing, "limits": nothing},
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }],
                },
            },
        },
    });
    Object {
        kind: Kind::Job,
        namespace: order.namespace.clone(),
        name: order.name.clone(),
        value,
        origin: Origin::Cluster,
    }
}

/// An object that burns with a Job, as the server has it: the same with the Job as its one owner. Without a
/// uid, as before the Job is made, the owner is named all the same, so that it can be shown.
#[must_use]
pub fn owned(mut object: Object, job: &Object) -> Object {
    let mut owner = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job.name,
        "blockOwnerDeletion": true,
    });
    if let Some(uid) = job.get("/metadata/uid") {
        owner["uid"] = uid.clone();
    }
    if let Some(metadata) = object.value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("ownerReferences".to_owned(), json!([owner]));
    }
    object
}

/// Whether an object is a fuse of ours.
#[must_use]
pub fn is_fuse(object: &Object) -> bool {
    object.kind == Kind::Job && object.get("/metadata/labels/kubectl-mesh.dev~1fuse").is_some()
}

/// Why a fuse does not do what it is for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The Job has no deadline.
    #[error("it has no activeDeadlineSeconds: it never burns")]
    NoDeadline,
    /// The Job is not deleted when it has failed.
    #[error("it has no ttlSecondsAfterFinished: it fails, and what it owns stays")]
    NoTtl,
    /// The Job is suspended.
    #[error("it is suspended: its time does not run")]
    Suspended,
    /// The Job is complete at once.
    #[error("it has completions 0: it is complete at once, and burns before its time")]
    NoCompletions,
    /// The Job may make pods.
    #[error("it has parallelism {0}: it makes pods")]
    RunsPods(i64),
    /// What it takes with it has another owner too.
    #[error("{object} has a second owner, {owner}: it stays as long as that one lives")]
    SecondOwner {
        /// The object.
        object: String,
        /// The other owner, `Kind name`.
        owner: String,
    },
    /// What it takes with it is not its own.
    #[error("{object} is not owned by it: it stays")]
    NotOwned {
        /// The object.
        object: String,
    },
    /// What it takes with it, or it itself, waits for somebody when it is deleted.
    #[error("{object} has the finalizer {finalizer}: it is gone only when that is taken away")]
    Finalizer {
        /// The object.
        object: String,
        /// The finalizer.
        finalizer: String,
    },
}

/// A fuse as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fuse {
    /// What it is about.
    pub target: String,
    /// What it is for.
    pub purpose: String,
    /// Why; may be empty.
    pub reason: String,
    /// When its time began; `None` until the job controller has seen it.
    pub started: Option<SystemTime>,
    /// How long it burns from then.
    pub burns: Option<Duration>,
    /// Whether it burns already: it is being deleted.
    pub is_burning: bool,
    /// What is wrong with it.
    pub flaws: Vec<Flaw>,
}

impl Fuse {
    /// Reads a Job; `None` for one that is no fuse of ours.
    #[must_use]
    pub fn read(job: &Object) -> Option<Self> {
        let text =
            |map: &str, name: &str| job.get("/metadata")?.get(map)?.get(name)?.as_str().map(str::to_owned);
        let purpose = text("labels", PURPOSE)?;
        let annotation = |name: &str| text("annotations", name).unwrap_or_default();
        let started = job.get("/status/startTime").and_then(Value::as_str);
        let burns = job.get("/spec/activeDeadlineSeconds").and_then(Value::as_u64);
        Some(Self {
            target: annotation(TARGET),
            purpose,
            reason: annotation(REASON),
            started: started.and_then(|text| humantime::parse_rfc3339(text).ok()),
            burns: burns.map(Duration::from_secs),
            is_burning: job.get("/metadata/deletionTimestamp").is_some(),
            flaws: flaws(job),
        })
    }

    /// When it burns; `None` where that is not yet known, or never.
    #[must_use]
    pub fn ends(&self) -> Option<SystemTime> {
        self.started?.checked_add(self.burns?)
    }
}

fn flaws(job: &Object) -> Vec<Flaw> {
    let number = |name: &str| job.get("/spec").and_then(|spec| spec.get(name)).and_then(Value::as_i64);
    let mut found = Vec::new();
    if number("activeDeadlineSeconds").is_none() {
        found.push(Flaw::NoDeadline);
    }
    if number("ttlSecondsAfterFinished").is_none() {
        found.push(Flaw::NoTtl);
    }
    if job.get("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        found.push(Flaw::Suspended);
    }
    if number("completions") == Some(0) {
        found.push(Flaw::NoCompletions);
    }
    // Absent means 1.
    let parallelism = number("parallelism").unwrap_or(1);
    if parallelism != 0 {
        found.push(Flaw::RunsPods(parallelism));
    }
    // While it burns, the garbage collector's own is there.
    found.extend(finalizers(job).filter(|name| *name != "foregroundDeletion").map(|finalizer| {
        Flaw::Finalizer { object: format!("{} {}", job.kind, job.key()), finalizer: finalizer.to_owned() }
    }));
    found
}

/// What is wrong with an object that shall burn with a Job.
#[must_use]
pub fn flaws_of(object: &Object, job: &Object) -> Vec<Flaw> {
    let name = || format!("{} {}", object.kind, object.key());
    let text =
        |owner: &Value, field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_fuse = |owner: &&Value| owner.get("uid") == job.get("/metadata/uid");
    let owners = list(object.get("/metadata/ownerReferences"));
    let mut found = Vec::new();
    if !owners.iter().any(|owner| is_fuse(&owner)) {
        found.push(Flaw::NotOwned { object: name() });
    }
    found.extend(owners.iter().filter(|owner| !is_fuse(owner)).map(|owner| Flaw::SecondOwner {
        object: name(),
        owner: format!("{} {}", text(owner, "kind"), text(owner, "name")),
    }));
    found.extend(
        finalizers(object)
            .map(|finalizer| Flaw::Finalizer { object: name(), finalizer: finalizer.to_owned() }),
    );
    found
}

fn finalizers(object: &Object) -> impl Iterator<Item = &str> {
    list(object.get("/metadata/finalizers")).iter().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Snapshot, World};

    fn order() -> Order {
        Order {
            namespace: "shop".to_owned(),
            name: "payment-try".to_owned(),
            seconds: 900,
            purpose: "canary".to_owned(),
            target: "shop/payment".to_owned(),
            reason: String::new(),
        }
    }

    fn lit() -> Object {
        let mut job = job(&order());
        job.value["metadata"]["uid"] = json!("u1");
        job.value["status"] = json!({"startTime": "2026-01-01T00:00:00Z"});
        job
    }

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_fuse_is_read_back_as_it_was_ordered() {
        let fuse = Fuse::read(&lit()).unwrap();
        assert_eq!((fuse.target.as_str(), fuse.purpose.as_str()), ("shop/payment", "canary"));
        assert_eq!(fuse.flaws, []);
        assert_eq!(fuse.ends(), Some(at("2026-01-01T00:15:00Z")));
        let unseen = Fuse::read(&job(&order())).unwrap();
        assert_eq!(unseen.ends(), None);
    }

    #[test]
    fn a_fuse_is_no_workload() {
        let workloads = |job: Object| {
            let snapshot = Snapshot { objects: vec![job], gaps: Vec::new(), istio_version: None };
            World::new(snapshot).workloads.len()
        };
        assert_eq!(workloads(lit()), 0);
        let mut other = lit();
        other.value["metadata"]["labels"] = json!({"app": "backup"});
        assert_eq!(workloads(other), 1);
    }

    #[test]
    fn other_jobs_are_no_fuses() {
        let mut other = lit();
        other.value["metadata"]["labels"] = json!({"app": "backup"});
        assert_eq!(Fuse::read(&other), None);
    }

    #[test]
    fn no_key_makes_istiod_push() {
        let text = job(&order()).value["metadata"].to_string();
        assert!(!text.contains("istio.io"), "{text}");
    }

    #[test]
    fn what_keeps_a_fuse_from_burning_is_named() {
        let cases: [(&str, Value, Flaw); 5] = [
            ("activeDeadlineSeconds", Value::Null, Flaw::NoDeadline),
            ("ttlSecondsAfterFinished", Value::Null, Flaw::NoTtl),
            ("suspend", json!(true), Flaw::Suspended),
            ("completions", json!(0), Flaw::NoCompletions),
            ("parallelism", Value::Null, Flaw::RunsPods(1)),
        ];
        for (field, value, flaw) in cases {
            let mut job = lit();
            job.value["spec"][field] = value;
            assert_eq!(Fuse::read(&job).unwrap().flaws, [flaw]);
        }
        let mut job = lit();
        job.value["metadata"]["finalizers"] = json!(["foregroundDeletion", "example.com/keep"]);
        let flaws = Fuse::read(&job).unwrap().flaws;
        assert_eq!(flaws.len(), 1);
        assert!(flaws[0].to_string().contains("example.com/keep"), "{}", flaws[0]);
    }

    #[test]
    fn what_keeps_an_object_from_burning_is_named() {
        let job = lit();
        let object = Object {
            kind: Kind::ConfigMap,
            namespace: "shop".to_owned(),
            name: "dependent".to_owned(),
            value: json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dependent"}}),
            origin: Origin::Cluster,
        };
        assert!(matches!(flaws_of(&object, &job)[..], [Flaw::NotOwned { .. }]));
        let mut object = owned(object, &job);
        assert_eq!(flaws_of(&object, &job), []);
        assert_eq!(object.get("/metadata/ownerReferences/0/blockOwnerDeletion"), Some(&json!(true)));
        let second = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "root", "uid": "u2"});
        if let Some(owners) = object.value["metadata"]["ownerReferences"].as_array_mut() {
            owners.push(second);
        }
        object.value["metadata"]["finalizers"] = json!(["example.com/keep"]);
        let said: Vec<String> = flaws_of(&object, &job).iter().map(ToString::to_string).collect();
        assert!(said[0].contains("ConfigMap root") && said[1].contains("example.com/keep"), "{said:?}");
    }
}
