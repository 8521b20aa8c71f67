//! Finding what a person means by a name.

use std::fmt;

use crate::labels::{Labels, Selector};
use crate::object::Kind;
use crate::service::Service;
use crate::world::World;

/// What a name stands for.
#[derive(Clone, Debug)]
pub struct Target<'w> {
    /// The namespace.
    pub namespace: String,
    /// The name of the Service or workload.
    pub name: String,
    /// The Service, if the name is one's.
    pub service: Option<&'w Service>,
    /// The numbers of the workloads.
    pub workloads: Vec<usize>,
    /// How the name was understood, where that is not plain from it.
    pub note: Option<String>,
}

/// Who calls.
#[derive(Clone, Debug)]
pub enum Caller<'w> {
    /// Workloads, each as it would connect.
    Workloads(Target<'w>),
    /// An identity, over mutual TLS.
    Principal(String),
    /// Nobody that shows an identity: plaintext.
    Anonymous,
}

/// Why a name stands for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// Nothing has that name; these are near.
    Unknown {
        /// The name as typed.
        name: String,
        /// Where was looked.
        namespace: String,
        /// Names that are near, or all if few.
        near: Vec<String>,
    },
    /// Several have it.
    Ambiguous {
        /// The name as typed.
        name: String,
        /// What it could be, as one can type it.
        candidates: Vec<String>,
    },
    /// The Service is there and selects no workload.
    Empty {
        /// `namespace/name`.
        service: String,
    },
    /// The word before the slash is no kind that can be asked for.
    Kind {
        /// The word.
        word: String,
    },
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, namespace, .. } if namespace.is_empty() => {
                write!(f, "no Service or workload `{name}` in any namespace that was read")
            }
            Self::Unknown { name, namespace, .. } => {
                write!(f, "no Service or workload `{name}` in namespace {namespace}")
            }
            Self::Ambiguous { name, .. } => write!(f, "`{name}` could be several things"),
            Self::Empty { service } => write!(f, "Service {service} selects no workload that was read"),
            Self::Kind { word } => write!(f, "`{word}` is no kind of Service or workload"),
        }
    }
}

impl std::error::Error for NotFound {}

impl NotFound {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { near, .. } if near.is_empty() => {
                "nothing that was read has a name like it; check -n, -f and -R".to_owned()
            }
            Self::Unknown { near, .. } => format!("there is {}", near.join(", ")),
            Self::Ambiguous { candidates, .. } => format!("say which: {}", candidates.join(", ")),
            Self::Empty { .. } => {
                "compare its selector with the pods' labels, or name the workload itself".to_owned()
            }
            Self::Kind { .. } => "known are svc, deploy, sts, ds, rs, job, cronjob and pod".to_owned(),
        }
    }
}

/// Where names that come without a namespace are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Here first.
    pub namespace: &'a str,
    /// And then in any other, where only one has the name.
    pub anywhere: bool,
}

/// A caller: `anonymous`, a principal, `sa/NAME[.NAMESPACE]`, or whatever [`find`] finds.
///
/// # Errors
/// See [`NotFound`].
pub fn caller<'w>(world: &'w World, text: &str, scope: Scope<'_>) -> Result<Caller<'w>, NotFound> {
    if text == "anonymous" {
        return Ok(Caller::Anonymous);
    }
    // A certificate can name anything behind its trust domain; `kind/name` has one slash, and no kind
    // has a dot.
    let is_principal = text.split_once('/').is_some_and(|(domain, rest)| {
        rest.contains('/') || domain.contains('.') || world.mesh.accepts_trust_domain(domain)
    });
    if let Some(principal) = text.strip_prefix("spiffe://").or(is_principal.then_some(text)) {
        return Ok(Caller::Principal(principal.to_owned()));
    }
    if let Some(account) =
        ["sa/", "serviceaccount/", "serviceaccounts/"].iter().find_map(|kind| text.strip_prefix(kind))
    {
        let (name, namespace) = account_name(world, account, scope);
        let workloads: Vec<usize> =
            numbers(world, |workload| workload.namespace == namespace && workload.service_account == name);
        if workloads.is_empty() {
            return Ok(Caller::Principal(world.principal(namespace, name)));
        }
        return Ok(Caller::Workloads(Target {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            service: None,
            workloads,
            note: None,
        }));
    }
    find(world, text, scope).map(Caller::Workloads)
}

/// A service account's name and namespace: its names hold dots, so only a known namespace is one.
fn account_name<'a>(world: &'a World, account: &'a str, scope: Scope<'a>) -> (&'a str, &'a str) {
    let runs = |name: &str, namespace: &str| {
        world.workloads_in(namespace).any(|workload| workload.service_account == name)
    };
    if !runs(account, scope.namespace) {
        if let Some((name, namespace)) = account.rsplit_once('.') {
            return (name, namespace);
        }
        let mut others =
            world.workloads.iter().filter(|w| w.service_account == account).map(|w| w.namespace.as_str());
        if let (true, Some(other)) = (scope.anywhere, others.next())
            && others.all(|namespace| namespace == other)
        {
            return (account, other);
        }
    }
    (account, scope.namespace)
}

/// A Service or workload: `payment`, `svc/payment`, `deploy/payment`, `pod/x`, each also with
/// `.NAMESPACE`. A bare name is a Service, then a workload, then the only Service whose `app` label it
/// is, or that is called NAME-service or NAME-svc.
///
/// # Errors
/// See [`NotFound`].
pub fn find<'w>(world: &'w World, text: &str, scope: Scope<'_>) -> Result<Target<'w>, NotFound> {
    let here = find_in(world, text, scope.namespace);
    if !scope.anywhere || !matches!(here, Err(NotFound::Unknown { .. })) {
        return here.map_err(|error| match error {
            NotFound::Unknown { name, namespace, near } if near.is_empty() => {
                let near = few(world, Some(&namespace));
                NotFound::Unknown { name, namespace, near }
            }
            other => other,
        });
    }
    let mut namespaces: Vec<&str> =
        world.workloads.iter().map(|workload| workload.namespace.as_str()).collect();
    namespaces.extend(world.services.iter().map(|service| service.object.namespace.as_str()));
    namespaces.sort_unstable();
    namespaces.dedup();
    let mut found: Vec<Target<'w>> = Vec::new();
    let mut all_near: Vec<String> = Vec::new();
    for namespace in namespaces {
        match find_in(world, text, namespace) {
            Ok(target) => found.push(target),
            Err(NotFound::Unknown { near, .. }) => {
                let full =
                    |name: String| if name.contains('.') { name } else { format!("{name}.{namespace}") };
                all_near.extend(near.into_iter().map(full));
            }
            Err(other) => return Err(other),
        }
    }
    all_near.sort();
    all_near.dedup();
    all_near.truncate(MANY);
    if all_near.is_empty() {
        all_near = few(world, None);
    }
    match found.len() {
        0 => Err(NotFound::Unknown { name: text.to_owned(), namespace: String::new(), near: all_near }),
        1 => Ok(found.remove(0)),
        _ => Err(NotFound::Ambiguous {
            name: text.to_owned(),
            candidates: found.iter().map(|target| format!("{text}.{}", target.namespace)).collect(),
        }),
    }
}

fn find_in<'w>(world: &'w World, text: &str, namespace: &str) -> Result<Target<'w>, NotFound> {
    let (kinds, name) = match text.split_once('/') {
        None => (None, text),
        Some((word, name)) => (Some(kinds(word)?), name),
    };
    for (name, namespace) in splits(world, name, namespace) {
        if let Some(target) = exact(world, kinds, name, namespace)? {
            return Ok(target);
        }
    }
    if kinds.is_none() {
        for (name, namespace) in splits(world, name, namespace) {
            if let Some(target) = by_custom(world, name, namespace)? {
                return Ok(target);
            }
        }
    }
    let last = splits(world, name, namespace).pop();
    let (name_only, place) = last.unwrap_or((name, namespace));
    Err(NotFound::Unknown {
        name: text.to_owned(),
        namespace: place.to_owned(),
        near: near(world, name_only, place),
    })
}

/// The workloads with these labels in a namespace.
///
/// # Errors
/// [`NotFound::Unknown`] if none has them.
pub fn by_labels<'w>(world: &'w World, wanted: &Labels, namespace: &str) -> Result<Target<'w>, NotFound> {
    let selector = Selector::from(wanted.clone());
    let workloads =
        numbers(world, |workload| workload.namespace == namespace && selector.selects(&workload.labels));
    let text = wanted.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
    if workloads.is_empty() {
        return Err(NotFound::Unknown { name: text, namespace: namespace.to_owned(), near: Vec::new() });
    }
    Ok(Target { namespace: namespace.to_owned(), name: text, service: None, workloads, note: None })
}

/// The ways in which a name can hold its namespace: not at all, or behind one of its dots.
fn splits<'a>(world: &World, name: &'a str, namespace: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut splits = vec![(name, namespace)];
    let short = name.strip_suffix(".svc.cluster.local").or_else(|| name.strip_suffix(".svc")).unwrap_or(name);
    for (at, _) in short.match_indices('.') {
        if let (Some(name), Some(namespace)) = (short.get(..at), short.get(at + 1..))
            && is_namespace(world, namespace)
        {
            splits.push((name, namespace));
        }
    }
    splits
}

fn is_namespace(world: &World, name: &str) -> bool {
    world.namespaces.contains_key(name)
        || world.services_in(name).next().is_some()
        || world.workloads_in(name).next().is_some()
}

#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Service,
    Workload(Kind),
}

fn kinds(word: &str) -> Result<Wanted, NotFound> {
    Ok(match word.to_ascii_lowercase().as_str() {
        "svc" | "service" | "services" => Wanted::Service,
        "deploy" | "deployment" | "deployments" | "deployment.apps" => Wanted::Workload(Kind::Deployment),
        "sts" | "statefulset" | "statefulsets" => Wanted::Workload(Kind::StatefulSet),
        "ds" | "daemonset" | "daemonsets" => Wanted::Workload(Kind::DaemonSet),
        "rs" | "replicaset" | "replicasets" => Wanted::Workload(Kind::ReplicaSet),
        "job" | "jobs" => Wanted::Workload(Kind::Job),
        "cj" | "cronjob" | "cronjobs" => Wanted::Workload(Kind::CronJob),
        "po" | "pod" | "pods" => Wanted::Workload(Kind::Pod),
        _ => return Err(NotFound::Kind { word: word.to_owned() }),
    })
}

fn numbers(world: &World, wanted: impl Fn(&crate::workload::Workload) -> bool) -> Vec<usize> {
    (0..).zip(&world.workloads).filter(|(_, workload)| wanted(workload)).map(|(number, _)| number).collect()
}

fn exact<'w>(
    world: &'w World,
    wanted: Option<Wanted>,
    name: &str,
    namespace: &str,
) -> Result<Option<Target<'w>>, NotFound> {
    if matches!(wanted, None | Some(Wanted::Service))
        && let Some(service) = world.services_in(namespace).find(|service| service.object.name == name)
    {
        return match of_service(world, service, None) {
            // A workload of that name may still be meant.
            Err(empty) if wanted.is_none() => Ok(Some(workload(world, None, name, namespace)?.ok_or(empty)?)),
            other => other.map(Some),
        };
    }
    match wanted {
        Some(Wanted::Service) => Ok(None),
        Some(Wanted::Workload(kind)) => workload(world, Some(kind), name, namespace),
        None => workload(world, None, name, namespace),
    }
}

fn workload<'w>(
    world: &'w World,
    kind: Option<Kind>,
    name: &str,
    namespace: &str,
) -> Result<Option<Target<'w>>, NotFound> {
    let workloads = numbers(world, |workload| {
        workload.namespace == namespace
            && match kind {
                Some(Kind::Pod) => workload.pods.iter().any(|pod| pod == name),
                Some(kind) => workload.kind == kind && workload.name == name,
                None => workload.name == name,
            }
    });
    let mut kinds: Vec<String> = workloads
        .iter()
        .filter_map(|number| world.workloads.get(*number))
        .map(|workload| workload.reference())
        .collect();
    kinds.dedup();
    match (workloads.len(), kinds.len()) {
        (0, _) => Ok(None),
        (_, 2..) if kind.is_none() => Err(NotFound::Ambiguous { name: name.to_owned(), candidates: kinds }),
        _ => Ok(Some(Target {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            service: None,
            workloads,
            note: None,
        })),
    }
}

fn of_service<'w>(
    world: &'w World,
    service: &'w Service,
    note: Option<String>,
) -> Result<Target<'w>, NotFound> {
    let namespace = &service.object.namespace;
    let workloads = numbers(world, |workload| {
        workload.namespace == *namespace
            && service.selector.as_ref().is_some_and(|selector| selector.selects(&workload.labels))
    });
    if workloads.is_empty() {
        return Err(NotFound::Empty { service: service.object.key() });
    }
    Ok(Target {
        namespace: namespace.clone(),
        name: service.object.name.clone(),
        service: Some(service),
        workloads,
        note,
    })
}

/// The only Service whose `app` label is the name, or that is called NAME-service or NAME-svc.
fn by_custom<'w>(world: &'w World, name: &str, namespace: &str) -> Result<Option<Target<'w>>, NotFound> {
    let is_meant = |service: &&Service| {
        let label = |label: &str| {
            let labels = service.object.get("/metadata/labels");
            labels.and_then(|labels| labels.get(label)).and_then(serde_json::Value::as_str)
        };
        let selected = |label: &str| {
            service.selector.as_ref().and_then(|selector| selector.labels().get(label)).map(String::as_str)
        };
        service.object.name == format!("{name}-service")
            || service.object.name == format!("{name}-svc")
            || ["app", "app.kubernetes.io/name"]
                .iter()
                .any(|key| label(key) == Some(name) || selected(key) == Some(name))
    };
    let meant: Vec<&Service> = world.services_in(namespace).filter(is_meant).collect();
    match meant.as_slice() {
        [] => Ok(None),
        [service] => {
            let note = format!("{name} is taken for Service {}", service.object.key());
            of_service(world, service, Some(note)).map(Some)
        }
        several => Err(NotFound::Ambiguous {
            name: name.to_owned(),
            candidates: several.iter().map(|service| format!("svc/{}", service.object.name)).collect(),
        }),
    }
}

/// More names than this are not a hint any more.
const MANY: usize = 5;

/// Names like this one here, and the same name elsewhere.
fn near(world: &World, name: &str, namespace: &str) -> Vec<String> {
    let here = world
        .services_in(namespace)
        .map(|service| service.object.name.clone())
        .chain(world.workloads_in(namespace).map(|workload| workload.name.clone()));
    let elsewhere = world
        .services
        .iter()
        .filter(|service| service.object.name == name)
        .map(|service| format!("{name}.{}", service.object.namespace));
    let mut near: Vec<(usize, String)> = here
        .map(|known| (distance(name, &known), known))
        .filter(|(distance, known)| {
            *distance <= 2 + name.len() / 4 || known.contains(name) || name.contains(known.as_str())
        })
        .chain(elsewhere.map(|known| (0, known)))
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().map(|(_, name)| name).take(MANY).collect()
}

/// The names of all Services, of one namespace or of all, where there are few.
fn few(world: &World, within: Option<&str>) -> Vec<String> {
    let services = world.services.iter().map(|service| &service.object);
    let mut names: Vec<String> = services
        .filter(|service| within.is_none_or(|namespace| service.namespace == namespace))
        .map(|service| match within {
            Some(_) => service.name.clone(),
            None => format!("{}.{}", service.name, service.namespace),
        })
        .collect();
    names.sort_unstable();
    if names.len() > MANY { Vec::new() } else { names }
}

/// The number of characters to add, drop or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let change = row.get(j).copied().unwrap_or(0) + usize::from(from != *to);
            let add = next.last().copied().unwrap_or(0) + 1;
            let drop = row.get(j + 1).copied().unwrap_or(0) + 1;
            next.push(change.min(add).min(drop));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
