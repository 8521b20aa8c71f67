//! Workloads: pods that are alike for every question, under the name of what made them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use crate::fuse;
use crate::injection::{self, Injection, PodFacts};
use crate::labels::{Labels, labels};
use crate::mesh_config::list;
use crate::object::{Kind, Object};
use crate::service::port_number;

/// A port that a container names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerPort {
    /// `name`; empty where absent.
    pub name: String,
    /// `containerPort`.
    pub port: u16,
}

/// Pods with the same maker, labels, service account and sidecar.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The object it was read from: the maker's, or a pod's.
    pub object: Arc<Object>,
    /// The kind of the maker.
    pub kind: Kind,
    /// The name of the maker.
    pub name: String,
    /// The pods' namespace.
    pub namespace: String,
    /// The pods' labels, with those that injection adds.
    pub labels: Labels,
    /// The pods' annotations.
    pub annotations: Labels,
    /// The service account; `default` where none is named.
    pub service_account: String,
    /// Whether the pods use the node's network.
    pub host_network: bool,
    /// Ports that containers name, without the sidecar's.
    pub ports: Vec<ContainerPort>,
    /// Whether there is a sidecar.
    pub injection: Injection,
    /// Whether it is a gateway: a Gateway object selects it, or the Gateway API made it.
    pub is_gateway: bool,
    /// Names of the pods, where pods are in the input.
    pub pods: Vec<String>,
    /// Addresses of the pods that run.
    pub pod_ips: Vec<IpAddr>,
}

impl Workload {
    /// `namespace/name`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// `kind/name` in kubectl's words (`deployment/payment-v1`).
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}/{}", self.kind.name().to_ascii_lowercase(), self.name)
    }

    /// The name of the Gateway API gateway that these pods serve, if they do.
    #[must_use]
    pub fn gateway_api_name(&self) -> Option<&str> {
        self.labels.get("gateway.networking.k8s.io/gateway-name").map(String::as_str)
    }
}

/// Labels that differ from pod to pod of the same maker.
const OF_ONE_POD: [&str; 9] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
];

/// What workloads are read with.
pub(crate) struct Context<'a> {
    pub namespaces: &'a BTreeMap<String, Labels>,
    pub root_namespace: &'a str,
    /// Labels that selectors ask for: these are never left out.
    pub selected_by: &'a BTreeSet<String>,
}

/// All workloads of a set of objects: running pods by their makers, and the templates of makers
/// that have no pod.
pub(crate) fn read(objects: &[Arc<Object>], context: &Context<'_>) -> Vec<Workload> {
    let owners = Owners::of(objects);
    let mut groups: BTreeMap<(String, Kind, String, Labels, String, Injection), Workload> = BTreeMap::new();
    let mut with_pods: BTreeSet<(String, Kind, String)> = BTreeSet::new();
    for object in objects.iter().filter(|object| object.kind == Kind::Pod) {
        if matches!(object.get("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed")) {
            continue;
        }
        let (kind, name) = owners.maker(object);
        let Some(mut workload) = from_template(object, "", kind, &name, context) else { continue };
        workload
            .labels
            .retain(|label, _| !OF_ONE_POD.contains(&label.as_str()) || context.selected_by.contains(label));
        with_pods.insert((object.namespace.clone(), kind, name.clone()));
        let key = (
            object.namespace.clone(),
            kind,
            name,
            workload.labels.clone(),
            workload.service_account.clone(),
            workload.injection.clone(),
        );
        let ips = std::mem::take(&mut workload.pod_ips);
        let group = groups.entry(key).or_insert(workload);
        group.pods.push(object.name.clone());
        group.pod_ips.extend(ips);
    }
    let mut workloads: Vec<Workload> = groups.into_values().collect();
    // A fuse makes no pods.
    for object in objects.iter().filter(|object| !fuse::is_fuse(object)) {
        let template = match object.kind {
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::ReplicaSet | Kind::Job => {
                "/spec/template"
            }
            Kind::CronJob => "/spec/jobTemplate/spec/template",
            _ => continue,
        };
        // What another object made is that object's, whether or not it is in the input.
        let made = list(object.get("/metadata/ownerReferences"))
            .iter()
            .any(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true));
        let key = (object.namespace.clone(), object.kind, object.name.clone());
        if !made && !with_pods.contains(&key) {
            workloads.extend(from_template(object, template, object.kind, &object.name, context));
        }
    }
    workloads.sort_by(|a, b| (&a.namespace, &a.name, a.kind).cmp(&(&b.namespace, &b.name, b.kind)));
    workloads
}

fn from_template(
    object: &Arc<Object>,
    template: &str,
    kind: Kind,
    name: &str,
    context: &Context<'_>,
) -> Option<Workload> {
    let part = |pointer: &str| object.get(&format!("{template}{pointer}"));
    let spec = part("/spec")?;
    let mut pod_labels = labels(part("/metadata/labels"));
    let annotations = labels(part("/metadata/annotations"));
    let observed = object.kind == Kind::Pod
        && (object.get("/spec/nodeName").is_some() || object.get("/status/podIP").is_some());
    let injection = Injection::decide(PodFacts {
        namespace: &object.namespace,
        namespace_labels: context.namespaces.get(&object.namespace),
        labels: &pod_labels,
        annotations: &annotations,
        spec,
        observed,
        root_namespace: context.root_namespace,
    });
    if injection.injected && !observed {
        injection::add_labels(&mut pod_labels, name, &injection);
    }
    let text = |name: &str| spec.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let ports = list(spec.get("containers"))
        .iter()
        .filter(|container| container.get("name").and_then(Value::as_str) != Some("istio-proxy"))
        .flat_map(|container| list(container.get("ports")))
        .filter(|port| port.get("protocol").and_then(Value::as_str).unwrap_or("TCP") == "TCP")
        .filter_map(|port| {
            let name = port.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            Some(ContainerPort { name, port: port_number(port.get("containerPort"))? })
        })
        .collect();
    let pod_ips = object.get("/status/podIP").and_then(Value::as_str).and_then(|ip| ip.parse().ok());
    Some(Workload {
        object: Arc::clone(object),
        kind,
        name: name.to_owned(),
        namespace: object.namespace.clone(),
        labels: pod_labels,
        annotations,
        service_account: text("serviceAccountName")
            .or_else(|| text("serviceAccount"))
            .unwrap_or("default")
            .to_owned(),
        host_network: spec.get("hostNetwork").and_then(Value::as_bool) == Some(true),
        ports,
        injection,
        is_gateway: false,
        pods: Vec::new(),
        pod_ips: pod_ips.into_iter().collect(),
    })
}

/// Who made what: pods are made by ReplicaSets and Jobs, and these by Deployments and CronJobs.
struct Owners<'a> {
    makers: BTreeMap<(&'a str, Kind, &'a str), (Kind, &'a str)>,
}

impl<'a> Owners<'a> {
    fn of(objects: &'a [Arc<Object>]) -> Self {
        let makers = objects
            .iter()
            .filter(|object| matches!(object.kind, Kind::ReplicaSet | Kind::Job))
            .filter_map(|object| {
                let key = (object.namespace.as_str(), object.kind, object.name.as_str());
                Some((key, controller(object)?))
            })
            .collect();
        Self { makers }
    }

    fn maker(&self, pod: &Object) -> (Kind, String) {
        let Some((kind, name)) = controller(pod) else { return (Kind::Pod, pod.name.clone()) };
        if let Some((kind, name)) = self.makers.get(&(pod.namespace.as_str(), kind, name)) {
            return (*kind, (*name).to_owned());
        }
        // Without the ReplicaSet in the input, its name still tells the Deployment's.
        let hash = pod.get("/metadata/labels/pod-template-hash").and_then(Value::as_str);
        match hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-')) {
            Some(deployment) if kind == Kind::ReplicaSet => (Kind::Deployment, deployment.to_owned()),
            _ => (kind, name.to_owned()),
        }
    }
}

fn controller(object: &Object) -> Option<(Kind, &str)> {
    list(object.get("/metadata/ownerReferences")).iter().find_map(|owner| {
        if owner.get("controller").and_then(Value::as_bool) != Some(true) {
            return None;
        }
        let version = owner.get("apiVersion")?.as_str()?;
        let kind = Kind::from_manifest(version, owner.get("kind")?.as_str()?)?;
        Some((kind, owner.get("name")?.as_str()?))
    })
}
