//! The versions that a service's routes tell apart, and which of them is the canary.

use std::collections::BTreeMap;

use crate::canary::carrier::Carrier;
use crate::canary::history::History;
use crate::labels::Labels;
use crate::object::Kind;
use crate::routing::Routing;
use crate::routing::registry::{Endpoint, Host};
use crate::virtual_service::Destination;
use crate::workload::Workload;

/// One version: a destination that routes name.
#[derive(Clone, Debug)]
pub struct Version<'w> {
    /// What people call it: the subset, else the first label of the host.
    pub name: String,
    /// The host.
    pub host: String,
    /// The subset; empty for a host of its own.
    pub subset: String,
    /// The labels of its pods, by the service's own DestinationRule.
    pub labels: Option<Labels>,
    /// What takes its requests.
    pub endpoints: Vec<Endpoint>,
    /// The workloads of its pods.
    pub workloads: Vec<&'w Workload>,
    /// When the youngest of its workloads was made; empty where nothing says it.
    pub created: String,
}

impl Version<'_> {
    /// Whether a destination is this version.
    #[must_use]
    pub fn is(&self, destination: &Destination) -> bool {
        self.host == destination.host && self.subset == destination.subset
    }

    /// How many of its endpoints take requests.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.ready).count()
    }
}

/// The versions of a service, in the order in which its routes name them.
#[must_use]
pub fn versions<'w>(routing: &Routing<'w>, host: &Host, carriers: &[Carrier<'_>]) -> Vec<Version<'w>> {
    let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut versions: Vec<Version<'w>> = Vec::new();
    for destination in carriers.iter().flat_map(|carrier| carrier.destinations) {
        let key = (destination.host.clone(), destination.subset.clone());
        if found.contains_key(&key) {
            continue;
        }
        found.insert(key, versions.len());
        versions.push(version(routing, host, destination));
    }
    versions
}

fn version<'w>(routing: &Routing<'w>, service: &Host, destination: &Destination) -> Version<'w> {
    let world = routing.world();
    let registered = routing
        .registry
        .of(&destination.host, service.namespace())
        .or_else(|| routing.registry.named(&destination.host).next());
    // As the service's own namespace sees it.
    let labels = registered.and_then(|host| {
        let rule = routing.rules.of(host.namespace(), &Labels::new(), &host.name, host.namespace())?;
        rule.subset(&destination.subset).map(|subset| subset.labels.clone())
    });
    let has =
        |labels: &Labels, wanted: &Labels| wanted.iter().all(|(name, value)| labels.get(name) == Some(value));
    let wanted = match (&labels, destination.subset.is_empty()) {
        (Some(labels), _) => Some(labels.clone()),
        (None, true) => Some(Labels::new()),
        (None, false) => None,
    };
    let port = destination.port.or_else(|| registered.and_then(|host| Some(host.ports.first()?.number)));
    let endpoints = match (registered, &wanted, port) {
        (Some(host), Some(wanted), Some(port)) => {
            let all = routing.registry.endpoints(host, port).into_iter();
            all.filter(|endpoint| has(&endpoint.labels, wanted)).collect()
        }
        _ => Vec::new(),
    };
    let kubernetes = registered.filter(|host| host.is_service()).and_then(|host| {
        world.services_in(host.namespace()).find(|service| service.object.name == host.object.name)
    });
    let workloads: Vec<&Workload> = match (kubernetes, &wanted) {
        (Some(service), Some(wanted)) => {
            world.workloads_of(service).filter(|workload| has(&workload.labels, wanted)).collect()
        }
        _ => Vec::new(),
    };
    let created = workloads.iter().map(|workload| made(routing, workload)).max().unwrap_or_default();
    let first = destination.host.split('.').next().unwrap_or_default();
    Version {
        name: if destination.subset.is_empty() { first.to_owned() } else { destination.subset.clone() },
        host: destination.host.clone(),
        subset: destination.subset.clone(),
        labels,
        endpoints,
        workloads,
        created,
    }
}

/// When a workload was made: its maker, which is not always what it was read from.
fn made(routing: &Routing<'_>, workload: &Workload) -> String {
    let objects = routing.world().objects().iter();
    let maker = objects
        .filter(|object| object.kind == workload.kind && object.kind != Kind::Pod)
        .find(|object| object.namespace == workload.namespace && object.name == workload.name);
    let object = maker.unwrap_or(&workload.object);
    object
        .get("/metadata/creationTimestamp")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Which version is the canary, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A shift is under way, and its steps say so.
    Recorded,
    /// The user says so.
    Named,
    /// Its workload is the youngest.
    Youngest,
}

/// Why no version can be the canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCanary {
    /// No route names that version.
    Unknown {
        /// What the user said.
        name: String,
        /// What routes name.
        versions: Vec<String>,
    },
    /// The user names one, and the shift that is under way another.
    Other {
        /// What the user said.
        name: String,
        /// What the shift under way says.
        recorded: String,
    },
    /// Nothing tells which is the youngest.
    Unclear {
        /// What routes name.
        versions: Vec<String>,
    },
    /// There is one version, or none.
    Single {
        /// What routes name.
        versions: Vec<String>,
    },
}

/// The canary among some versions: what steps on the routes' objects say, else what the user names, else the
/// version whose workload is youngest.
///
/// # Errors
/// See [`NoCanary`].
pub fn canary<'v, 'w>(
    versions: &'v [Version<'w>],
    carriers: &[Carrier<'_>],
    named: Option<&str>,
) -> Result<(&'v Version<'w>, Choice), NoCanary> {
    let names = || versions.iter().map(|version| version.name.clone()).collect::<Vec<_>>();
    let find = |name: &str| versions.iter().find(|version| version.name == name || version.host == name);
    let recorded = carriers.iter().find_map(|carrier| History::of(&carrier.place.object).canary);
    if let Some(name) = named {
        let found =
            find(name).ok_or_else(|| NoCanary::Unknown { name: name.to_owned(), versions: names() })?;
        return match recorded {
            Some(recorded) => match find(&recorded) {
                Some(other) if !std::ptr::eq(other, found) => {
                    Err(NoCanary::Other { name: found.name.clone(), recorded })
                }
                Some(_) => Ok((found, Choice::Recorded)),
                // Of a version that no route names any more, no shift is under way.
                None => Ok((found, Choice::Named)),
            },
            None => Ok((found, Choice::Named)),
        };
    }
    if let Some(found) = recorded.as_deref().and_then(find) {
        return Ok((found, Choice::Recorded));
    }
    if versions.len() < 2 {
        return Err(NoCanary::Single { versions: names() });
    }
    let youngest = versions.iter().map(|version| version.created.as_str()).max().unwrap_or_default();
    let mut young = versions.iter().filter(|version| version.created == youngest);
    match (young.next(), young.next()) {
        (Some(found), None) if !youngest.is_empty() => Ok((found, Choice::Youngest)),
        _ => Err(NoCanary::Unclear { versions: names() }),
    }
}
