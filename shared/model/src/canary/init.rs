//! Making what a canary needs: subsets of the versions that pods carry, and routes that split between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::canary::carrier::{Carrier, Layer};
use crate::change::{Change, Edit, Mismatch};
use crate::labels::Labels;
use crate::object::{Kind, Object, Origin};
use crate::routing::Routing;
use crate::routing::registry::{Host, Speaks};
use crate::service::Service;

/// Why nothing can be made.
#[derive(Clone, Debug, PartialEq)]
pub enum NoInit {
    /// The Service selects no pods.
    NoPods,
    /// Some pods do not carry the label.
    Unlabelled {
        /// The label.
        label: String,
        /// The workloads without it.
        workloads: Vec<String>,
    },
    /// All pods carry the same version.
    OneVersion {
        /// The label.
        label: String,
        /// Its only value.
        version: String,
    },
    /// An object is not as it was read.
    Mismatch(Mismatch),
}

/// What is made, in the order in which it must be written: the DestinationRule first, and when the proxies
/// have it, the VirtualServices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Init {
    /// The versions, the oldest first: the first is stable and keeps all requests.
    pub versions: Vec<String>,
    /// Subsets.
    pub first: Vec<Change>,
    /// Routes.
    pub then: Vec<Change>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// Plans what is missing for a service whose versions differ in a label. Every request goes where it went: the
/// canary gets nothing yet.
///
/// # Errors
/// See [`NoInit`].
pub fn init(
    routing: &Routing<'_>,
    service: &Service,
    host: &Host,
    carriers: &[Carrier<'_>],
    label: &str,
    canary: Option<&str>,
) -> Result<Init, NoInit> {
    let mut versions = versions(routing, service, label)?;
    if let Some(canary) = canary {
        versions.sort_by_key(|version| version == canary);
    }
    let [stable, rest @ ..] = versions.as_slice() else { return Err(NoInit::NoPods) };
    let mut plan = Init::default();
    subsets(routing, service, host, label, &versions, &mut plan).map_err(NoInit::Mismatch)?;
    let own: Vec<&Carrier<'_>> =
        carriers.iter().filter(|carrier| carrier.virtual_service.is_for_mesh()).collect();
    if own.is_empty() {
        let name = free(routing, Kind::VirtualService, service);
        plan.then.extend(virtual_service(service, host, stable, rest, name).map(Change::Create));
        let tls: Vec<String> = host
            .ports
            .iter()
            .filter(|port| port.speaks == Speaks::Tls)
            .map(|port| port.number.to_string())
            .collect();
        if !tls.is_empty() {
            plan.notes.push(format!(
                "port {} is TLS and is not split: a tls route takes the server names that it lists only, and \
                 callers with another one would be cut off",
                tls.join(", ")
            ));
        }
    }
    for (object, routes) in by_object(carriers) {
        let patch = split(&object, &routes, host, stable, rest).map_err(NoInit::Mismatch)?;
        if !patch.is_empty() {
            plan.then.push(Change::Patch(patch));
        }
    }
    plan.versions = versions;
    Ok(plan)
}

/// The values of the label, the version whose workload is oldest first.
fn versions(routing: &Routing<'_>, service: &Service, label: &str) -> Result<Vec<String>, NoInit> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut without = Vec::new();
    let mut any = false;
    for workload in routing.world().workloads_of(service) {
        any = true;
        let Some(version) = workload.labels.get(label) else {
            without.push(workload.reference());
            continue;
        };
        let created = workload.object.get("/metadata/creationTimestamp").and_then(Value::as_str);
        let created = created.unwrap_or_default().to_owned();
        let entry = found.entry(version.clone()).or_insert_with(|| created.clone());
        if created < *entry {
            *entry = created;
        }
    }
    if !any {
        return Err(NoInit::NoPods);
    }
    if !without.is_empty() {
        return Err(NoInit::Unlabelled { label: label.to_owned(), workloads: without });
    }
    let mut versions: Vec<(String, String)> =
        found.into_iter().map(|(version, created)| (created, version)).collect();
    versions.sort();
    let versions: Vec<String> = versions.into_iter().map(|(_, version)| version).collect();
    match versions.as_slice() {
        [only] => Err(NoInit::OneVersion { label: label.to_owned(), version: only.clone() }),
        _ => Ok(versions),
    }
}

/// Adds the subsets that are missing to the rule that the service's namespace goes by; else makes one, with
/// the traffic policy that was in force before, because a rule of one's own hides all others.
fn subsets(
    routing: &Routing<'_>,
    service: &Service,
    host: &Host,
    label: &str,
    versions: &[String],
    plan: &mut Init,
) -> Result<(), Mismatch> {
    let namespace = host.namespace();
    let rule = routing.rules.of(namespace, &Labels::new(), &host.name, namespace);
    let entry = |version: &String| json!({ "name": version, "labels": { label: version } });
    let own = rule.filter(|rule| rule.namespace() == namespace && rule.host == host.name);
    if let Some(object) = own.and_then(|rule| rule.from.first()) {
        let rule = own.filter(|rule| versions.iter().any(|version| rule.subset(version).is_none()));
        let Some(rule) = rule else { return Ok(()) };
        let missing: Vec<Value> =
            versions.iter().filter(|version| rule.subset(version).is_none()).map(entry).collect();
        let mut edit = Edit::of(object);
        match object.get("/spec/subsets").and_then(Value::as_array) {
            Some(subsets) => {
                for (at, subset) in missing.into_iter().enumerate() {
                    edit = edit.insert(&format!("/spec/subsets/{}", subsets.len() + at), subset)?;
                }
            }
            None => edit = edit.set("/spec/subsets", Value::Array(missing))?,
        }
        plan.first.push(Change::Patch(edit.patch()));
        return Ok(());
    }
    let mut spec = json!({ "host": host.name, "subsets": versions.iter().map(entry).collect::<Vec<_>>() });
    let policy = rule.and_then(|rule| rule.policy.as_ref());
    if let (Some(place), Some(rule), Some(spec)) = (policy, rule, spec.as_object_mut()) {
        if let Some(policy) = place.object.get(&place.pointer) {
            spec.insert("trafficPolicy".to_owned(), policy.clone());
        }
        plan.notes.push(format!(
            "the traffic policy of DestinationRule {} is copied: callers go by one rule only, from now on by \
             the new one",
            rule.key()
        ));
    }
    let name = free(routing, Kind::DestinationRule, service);
    plan.first.push(Change::Create(made(Kind::DestinationRule, service, name, spec)));
    Ok(())
}

fn by_object<'c, 'r>(carriers: &'c [Carrier<'r>]) -> Vec<(Arc<Object>, Vec<&'c Carrier<'r>>)> {
    let mut found: Vec<(Arc<Object>, Vec<&Carrier<'_>>)> = Vec::new();
    for carrier in carriers {
        let object = &carrier.place.object;
        match found.iter_mut().find(|(other, _)| other.key() == object.key()) {
            Some((_, routes)) => routes.push(carrier),
            None => found.push((Arc::clone(object), vec![carrier])),
        }
    }
    found
}

/// Makes every route with the service as its only destination split: it keeps all requests on stable, and the
/// others get weight 0. Routes that name a version other than stable alone are left as they are.
fn split(
    object: &Object,
    routes: &[&Carrier<'_>],
    host: &Host,
    stable: &str,
    rest: &[String],
) -> Result<crate::change::Patch, Mismatch> {
    let mut edit = Edit::of(object);
    for carrier in routes {
        let [only] = carrier.destinations else { continue };
        if only.host != host.name || (!only.subset.is_empty() && only.subset != stable) {
            continue;
        }
        let pointer = format!("{}/route", carrier.place.pointer);
        let Some(written) = object.get(&format!("{pointer}/0")) else { continue };
        edit = edit.set(&format!("{pointer}/0/destination/subset"), Value::from(stable))?;
        edit = edit.set(&format!("{pointer}/0/weight"), Value::from(100))?;
        for (at, version) in rest.iter().enumerate() {
            let mut entry = written.clone();
            if let Some(destination) = entry.pointer_mut("/destination").and_then(Value::as_object_mut) {
                destination.insert("subset".to_owned(), Value::from(version.as_str()));
            }
            if let Some(entry) = entry.as_object_mut() {
                entry.insert("weight".to_owned(), Value::from(0));
            }
            edit = edit.insert(&format!("{pointer}/{}", at + 1), entry)?;
        }
    }
    Ok(edit.patch())
}

/// The VirtualService of a service that has none; `None` where no port can be split.
fn virtual_service(
    service: &Service,
    host: &Host,
    stable: &str,
    rest: &[String],
    name: String,
) -> Option<Object> {
    let route = |port: Option<u16>| -> Vec<Value> {
        let entry = |version: &str, weight: u32| {
            let mut destination = json!({ "host": host.name, "subset": version });
            if let (Some(port), Some(destination)) = (port, destination.as_object_mut()) {
                destination.insert("port".to_owned(), json!({ "number": port }));
            }
            json!({ "destination": destination, "weight": weight })
        };
        std::iter::once(entry(stable, 100)).chain(rest.iter().map(|version| entry(version, 0))).collect()
    };
    let mut spec = serde_json::Map::new();
    spec.insert("hosts".to_owned(), json!([host.name]));
    if host.ports.iter().any(|port| port.speaks.may_be_http()) {
        spec.insert("http".to_owned(), json!([{ "route": route(None) }]));
    }
    let tcp: Vec<Value> = host
        .ports
        .iter()
        .filter(|port| port.speaks == Speaks::Tcp)
        .map(|port| json!({ "match": [{ "port": port.number }], "route": route(Some(port.number)) }))
        .collect();
    if !tcp.is_empty() {
        spec.insert("tcp".to_owned(), Value::Array(tcp));
    }
    let has_routes = spec.len() > 1;
    has_routes.then(|| made(Kind::VirtualService, service, name, Value::Object(spec)))
}

/// The Service's name, or where an object of the kind has it already, that with `-versions` behind it.
fn free(routing: &Routing<'_>, kind: Kind, service: &Service) -> String {
    let Object { namespace, name, .. } = service.object.as_ref();
    let objects = routing.world().objects();
    let is_taken = |name: &str| {
        objects.iter().any(|one| one.kind == kind && one.namespace == *namespace && one.name == name)
    };
    if is_taken(name) { format!("{name}-versions") } else { name.clone() }
}

/// An object of ours beside the Service.
fn made(kind: Kind, service: &Service, name: String, spec: Value) -> Object {
    let namespace = service.object.namespace.clone();
    let value = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": kind.name(),
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": { "app.kubernetes.io/managed-by": "kubectl-mesh" },
        },
        "spec": spec,
    });
    Object { kind, namespace, name, value, origin: Origin::Cluster }
}

impl Layer {
    /// The list of a VirtualService.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
        }
    }
}
