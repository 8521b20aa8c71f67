//! A canary that ends by itself: a copy of the VirtualService in force, with the new weights, in front of it.
//!
//! A VirtualService that is exported to some namespaces by name comes before older ones that are public
//! (`SelectVirtualServices` in `pilot/pkg/model/virtualservice.go`), so the original is never touched. It is
//! not enough to know the rule: every caller is asked, in the World with the copy, whether it takes exactly
//! what it would take if the original had the new weights.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::canary::carrier::Carrier;
use crate::canary::plan::Moving;
use crate::change::{Change, Mismatch};
use crate::fuse::{MANAGED_BY, TARGET};
use crate::host;
use crate::object::{Kind, Object, Origin};
use crate::routing::action::{Action, Weighted};
use crate::routing::listener::Chain;
use crate::routing::table::{Route, Table};
use crate::routing::{Callers, Proxy, Routing};
use crate::virtual_service::{
    CallerMatch, ConnectionRoute, HttpMatch, HttpRoute, MESH, StringMatch, VirtualService,
};
use crate::world::World;

/// The annotation of a copy that names its original: `shop/payment`.
pub const ORIGINAL: &str = "kubectl-mesh.dev/attempt-of";

/// The annotation of a copy that names the canary.
pub const CANARY: &str = "kubectl-mesh.dev/attempt-canary";

/// The annotation of a copy that says the canary's share in percent.
pub const PERCENT: &str = "kubectl-mesh.dev/attempt-percent";

/// Why a copy cannot stand in for the original.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoAttempt {
    /// Nothing moves.
    #[error("the weights are as wanted already")]
    Nothing,
    /// The original is not public: of those that are exported by name the oldest is taken.
    #[error(
        "nothing can come before VirtualService {virtual_service} for {callers}: it is itself {tier}, and of such the oldest is taken"
    )]
    NotPublic {
        /// The original.
        virtual_service: String,
        /// `private to its namespace`, `exported to ...`.
        tier: String,
        /// For whom.
        callers: String,
    },
    /// A caller would take something else than the same with the new weights.
    #[error("{callers} would not take the same routes with the new weights: {what}")]
    Differs {
        /// For whom.
        callers: String,
        /// What is different.
        what: String,
    },
    /// An object is not as it was read.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// What a copy is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purpose {
    /// The service, as `NAMESPACE/NAME`: copies stand in its namespace, beside the Job that they burn with.
    pub namespace: String,
    /// The name of the service.
    pub service: String,
    /// The canary.
    pub canary: String,
    /// Its share.
    pub percent: u32,
}

/// The name of the Job of a service: the same each time, so that two people cannot light two.
#[must_use]
pub fn job_name(service: &str) -> String {
    // A Job's name is a label of its pods, of up to 63 characters; a Service's has as many.
    const LONGEST: usize = 59;
    let short: String = service.chars().take(LONGEST).collect();
    format!("{short}-try")
}

/// The copies that give the canary its new weights; `shift` are the patches that would do it in place. The
/// copies have no owner yet.
///
/// # Errors
/// See [`NoAttempt`].
pub fn copies(
    routing: &Routing<'_>,
    carriers: &[Carrier<'_>],
    moving: &[Moving],
    shift: &[Change],
    purpose: &Purpose,
) -> Result<Vec<Object>, NoAttempt> {
    let wanted = routing.world().after(shift)?;
    let originals = originals(routing, carriers, moving);
    if originals.is_empty() {
        return Err(NoAttempt::Nothing);
    }
    let mut refused = None;
    // At gateways the routes of all join: where others of the same host stand before the original, a copy
    // of the whole of it would come before them.
    for only_moving in [false, true] {
        let copies: Vec<Object> = originals
            .iter()
            .map(|(number, namespaces)| {
                let one = &routing.virtual_services.all()[*number];
                let has_mesh = one.gateways.iter().any(|gateway| gateway == MESH);
                copy(one, namespaces, carriers, moving, purpose, only_moving && !has_mesh)
            })
            .collect();
        let changes: Vec<Change> = copies.iter().map(|copy| Change::Create(youngest(copy))).collect();
        let found = routing.world().after(&changes)?;
        match differences(&wanted, &found, &originals_of(routing, &originals), purpose) {
            None => return Ok(copies),
            Some(difference) => refused = refused.or(Some(difference)),
        }
    }
    Err(refused.unwrap_or(NoAttempt::Nothing))
}

fn originals_of<'r>(
    routing: &'r Routing<'_>,
    originals: &BTreeMap<usize, BTreeSet<String>>,
) -> Vec<&'r VirtualService> {
    originals.keys().filter_map(|number| routing.virtual_services.get(*number)).collect()
}

/// The VirtualServices (of delegated routes the roots) by which a moving route is in force, with the
/// namespaces of the callers.
fn originals(
    routing: &Routing<'_>,
    carriers: &[Carrier<'_>],
    moving: &[Moving],
) -> BTreeMap<usize, BTreeSet<String>> {
    let mut found: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for one in moving.iter().filter(|one| one.from != one.to) {
        let Some(carrier) = carriers.get(one.carrier) else { continue };
        // Several roots may lead to a delegate.
        let has = |root: &VirtualService| {
            let same = |place: &crate::virtual_service::Place| {
                place.object.key() == carrier.place.object.key() && place.pointer == carrier.place.pointer
            };
            root.http.iter().any(|route| same(&route.place))
                || root.tls.iter().chain(&root.tcp).any(|route| same(&route.place))
        };
        let namespaces = carrier.in_force.iter().map(|client| client.namespace.clone());
        let namespaces: BTreeSet<String> = namespaces.collect();
        if namespaces.is_empty() {
            continue;
        }
        for (number, root) in routing.virtual_services.all().iter().enumerate() {
            if has(root) {
                found.entry(number).or_default().extend(namespaces.iter().cloned());
            }
        }
    }
    found
}

/// The object as the server would make it now, for a World: it sorts after all others.
fn youngest(copy: &Object) -> Object {
    let mut copy = copy.clone();
    if let Some(metadata) = copy.value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("creationTimestamp".to_owned(), Value::from("9999-12-31T23:59:59Z"));
    }
    copy
}

fn copy(
    one: &VirtualService,
    namespaces: &BTreeSet<String>,
    carriers: &[Carrier<'_>],
    moving: &[Moving],
    purpose: &Purpose,
    only_moving: bool,
) -> Object {
    let new_weights = |place: &crate::virtual_service::Place| {
        moving.iter().find_map(|one| {
            let carrier = carriers.get(one.carrier)?;
            let same =
                carrier.place.object.key() == place.object.key() && carrier.place.pointer == place.pointer;
            same.then_some(one.to.as_slice())
        })
    };
    let mut spec = one.object.get("/spec").cloned().unwrap_or_else(|| json!({}));
    spec["hosts"] = json!(one.hosts);
    spec["gateways"] = json!(one.gateways);
    let export_to: Vec<&str> = namespaces
        .iter()
        .map(|namespace| if *namespace == purpose.namespace { "." } else { namespace })
        .collect();
    spec["exportTo"] = json!(export_to);
    let http = one.http.iter().filter(|route| !only_moving || new_weights(&route.place).is_some());
    let http: Vec<Value> = http.map(|route| http_route(one, route, new_weights(&route.place))).collect();
    let connection = |routes: &[ConnectionRoute]| -> Vec<Value> {
        let routes = routes.iter().filter(|route| !only_moving || new_weights(&route.place).is_some());
        routes.map(|route| connection_route(route, new_weights(&route.place))).collect()
    };
    for (list, routes) in [("http", http), ("tls", connection(&one.tls)), ("tcp", connection(&one.tcp))] {
        match routes.is_empty() {
            true => spec.as_object_mut().and_then(|spec| spec.remove(list)).map_or((), drop),
            false => spec[list] = Value::from(routes),
        }
    }
    let name = if one.object.namespace == purpose.namespace {
        format!("{}-try", one.object.name)
    } else {
        format!("{}-{}-try", one.object.name, one.object.namespace)
    };
    let mut labels = json!({MANAGED_BY.0: MANAGED_BY.1});
    if let Some(revision) = one.object.revision() {
        labels["istio.io/rev"] = Value::from(revision);
    }
    let value = json!({
        "apiVersion": one.object.get("/apiVersion").cloned().unwrap_or_else(|| json!("networking.istio.io/v1")),
        "kind": "VirtualService",
        "metadata": {
            "name": name,
            "namespace": purpose.namespace,
            "labels": labels,
            "annotations": {
                TARGET: format!("{}/{}", purpose.namespace, purpose.service),
                ORIGINAL: one.object.key(),
                CANARY: purpose.canary,
                PERCENT: purpose.percent.to_string(),
            },
        },
        "spec": spec,
    });
    let namespace = purpose.namespace.clone();
    Object { kind: Kind::VirtualService, namespace, name, value, origin: Origin::Cluster }
}

/// A route as it is written, but for what means something else in another namespace.
fn http_route(root: &VirtualService, route: &HttpRoute, weights: Option<&[u32]>) -> Value {
    let object = &route.place.object;
    let mut value = object.get(&route.place.pointer).cloned().unwrap_or_else(|| json!({}));
    if !route.name.is_empty() {
        value["name"] = Value::from(route.name.as_str());
    }
    for (name, setting) in &route.settings {
        let mut written = setting.value.clone();
        let namespace = &setting.place.object.namespace;
        match *name {
            "mirror" => full_host(&mut written, namespace),
            "mirrors" => {
                for mirror in written.as_array_mut().into_iter().flatten() {
                    if let Some(destination) = mirror.get_mut("destination") {
                        full_host(destination, namespace);
                    }
                }
            }
            _ => {}
        }
        value[*name] = written;
    }
    let is_delegated = object.key() != root.object.key();
    if is_delegated && !route.matches.is_empty() {
        value["match"] = route.matches.iter().map(http_match).collect();
    } else {
        let callers = route.matches.iter().map(|matches| &matches.caller);
        full_gateways(&mut value, callers);
    }
    full_destinations(&mut value, &object.namespace, weights);
    value
}

fn connection_route(route: &ConnectionRoute, weights: Option<&[u32]>) -> Value {
    let object = &route.place.object;
    let mut value = object.get(&route.place.pointer).cloned().unwrap_or_else(|| json!({}));
    full_gateways(&mut value, route.matches.iter().map(|matches| &matches.caller));
    full_destinations(&mut value, &object.namespace, weights);
    value
}

fn full_gateways<'a>(route: &mut Value, callers: impl Iterator<Item = &'a CallerMatch>) {
    let matches = route.get_mut("match").and_then(Value::as_array_mut).into_iter().flatten();
    for (written, caller) in matches.zip(callers) {
        if !caller.gateways.is_empty() {
            written["gateways"] = json!(caller.gateways);
        }
    }
}

fn full_destinations(route: &mut Value, namespace: &str, weights: Option<&[u32]>) {
    let entries = route.get_mut("route").and_then(Value::as_array_mut).into_iter().flatten();
    for (at, entry) in entries.enumerate() {
        if let Some(destination) = entry.get_mut("destination") {
            full_host(destination, namespace);
        }
        if let Some(weight) = weights.and_then(|weights| weights.get(at)) {
            entry["weight"] = Value::from(*weight);
        }
    }
}

fn full_host(destination: &mut Value, namespace: &str) {
    let written = destination.get("host").and_then(Value::as_str).map(str::to_owned);
    if let Some(written) = written {
        destination["host"] = Value::from(host::resolve(&written, namespace));
    }
}

/// A match as it would be written: of a delegated route it stands in two objects.
fn http_match(matches: &HttpMatch) -> Value {
    let text = |text: &StringMatch| match text {
        StringMatch::Exact(text) => json!({"exact": text}),
        StringMatch::Prefix(text) => json!({"prefix": text}),
        StringMatch::Regex(text) => json!({"regex": text}),
        StringMatch::Present => json!({}),
    };
    let mut value = Map::new();
    if !matches.name.is_empty() {
        value.insert("name".to_owned(), json!(matches.name));
    }
    for (name, part) in [
        ("uri", &matches.uri),
        ("scheme", &matches.scheme),
        ("method", &matches.method),
        ("authority", &matches.authority),
    ] {
        if let Some(part) = part {
            value.insert(name.to_owned(), text(part));
        }
    }
    for (name, part) in [
        ("headers", &matches.headers),
        ("withoutHeaders", &matches.without_headers),
        ("queryParams", &matches.query),
    ] {
        if !part.is_empty() {
            let entries = part.iter().map(|(name, part)| (name.clone(), text(part))).collect();
            value.insert(name.to_owned(), Value::Object(entries));
        }
    }
    if matches.ignore_case {
        value.insert("ignoreUriCase".to_owned(), json!(true));
    }
    let CallerMatch { gateways, labels, namespace, port } = &matches.caller;
    if !gateways.is_empty() {
        value.insert("gateways".to_owned(), json!(gateways));
    }
    if !labels.is_empty() {
        value.insert("sourceLabels".to_owned(), json!(labels));
    }
    if !namespace.is_empty() {
        value.insert("sourceNamespace".to_owned(), json!(namespace));
    }
    if let Some(port) = port {
        value.insert("port".to_owned(), json!(port));
    }
    Value::Object(value)
}

/// The first caller for whom two Worlds are not the same.
fn differences(
    wanted: &World,
    found: &World,
    originals: &[&VirtualService],
    purpose: &Purpose,
) -> Option<NoAttempt> {
    let (wanted, found) = (Routing::new(wanted), Routing::new(found));
    let hosts = hosts(&wanted, originals);
    let mut callers_found: BTreeMap<(String, String), Callers<'_>> = BTreeMap::new();
    for callers in found.callers() {
        let workload = callers.workload;
        callers_found.insert((workload.namespace.clone(), workload.name.clone()), callers);
    }
    for callers in wanted.callers() {
        let workload = callers.workload;
        let name = if workload.is_gateway {
            format!("gateway {} in {}", workload.name, workload.namespace)
        } else {
            format!("{} of namespace {}", callers.names.join(", "), workload.namespace)
        };
        let key = (workload.namespace.clone(), workload.name.clone());
        let after = callers_found.get(&key).map(|callers| ways(&found, callers, &hosts)).unwrap_or_default();
        let before = ways(&wanted, &callers, &hosts);
        if before == after {
            continue;
        }
        let tier = |one: &&&VirtualService| {
            let export_to = one.export_to.as_deref().unwrap_or(&wanted.world().mesh.default_virtual_service_export_to);
            let owner = &one.object.namespace;
            let is_public = export_to.is_empty() || export_to.iter().any(|to| to == "*");
            !is_public && host::exported(export_to, owner, &workload.namespace)
                // Its own private ones come before what others export to it.
                && !(workload.namespace == purpose.namespace && *owner != workload.namespace)
        };
        if let Some(one) = originals.iter().find(tier) {
            let tier = if one.object.namespace == workload.namespace {
                "private to the namespace".to_owned()
            } else {
                format!("exported to {} by name", workload.namespace)
            };
            return Some(NoAttempt::NotPublic { virtual_service: one.object.key(), tier, callers: name });
        }
        return Some(NoAttempt::Differs { callers: name, what: first_difference(&before, &after) });
    }
    None
}

fn first_difference(before: &Ways, after: &Ways) -> String {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (before, after) = (before.get(name), after.get(name));
        let none = Vec::new();
        let (before, after) = (before.unwrap_or(&none), after.unwrap_or(&none));
        if before != after {
            let at = before.iter().zip(after).position(|(a, b)| a != b).unwrap_or(before.len().min(after.len()));
            let say = |routes: &[String]| routes.get(at).cloned().unwrap_or_else(|| "no route".to_owned());
            return format!("{name} has {}, wanted is {}", say(after), say(before));
        }
    }
    String::new()
}

/// All hosts whose routes a copy may claim.
fn hosts(routing: &Routing<'_>, originals: &[&VirtualService]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for name in originals.iter().flat_map(|one| &one.hosts) {
        if name.starts_with('*') {
            let known = routing.registry.hosts().iter().map(|host| &host.name);
            names.extend(known.filter(|known| host::overlap(name, known)).cloned());
        }
        names.insert(name.clone());
    }
    names
}

/// A proxy's ways, each virtual host or listener with its routes in order, in words that can be compared.
type Ways = BTreeMap<String, Vec<String>>;

fn ways(routing: &Routing<'_>, callers: &Callers<'_>, hosts: &BTreeSet<String>) -> Ways {
    // The callers are of this World: their workload is looked for by name.
    let workloads = routing.world().workloads.iter();
    let mut same = workloads.filter(|workload| {
        workload.name == callers.workload.name && workload.namespace == callers.workload.namespace
    });
    let Some(workload) = same.next() else { return Ways::new() };
    let proxy = routing.proxy(workload);
    let mut found = Ways::new();
    if workload.is_gateway {
        for table in proxy.gateway_tables() {
            add_table(&mut found, routing, &table);
        }
        let chains = proxy.gateway_chains();
        found.insert("tcp".to_owned(), chains.iter().map(chain).collect());
        return found;
    }
    let known: Vec<_> = hosts.iter().filter_map(|name| proxy.scope.host(name)).collect();
    let ports: BTreeSet<u16> =
        known.iter().flat_map(|known| &known.ports).map(|port| port.number).chain([80]).collect();
    for port in &ports {
        if let Some(table) = proxy.table_of(*port, None, Some(hosts)) {
            add_table(&mut found, routing, &table);
        }
    }
    for known in known {
        for port in &known.ports {
            let name = format!("{}:{} tcp", known.host.name, port.number);
            found.insert(name, chains(&proxy, &known.host.name, port.number));
        }
    }
    found
}

fn chains(proxy: &Proxy<'_, '_>, host: &str, port: u16) -> Vec<String> {
    let listener = proxy.listener(proxy.address(host), port);
    let mut all: Vec<String> = listener.iter().map(|listener| format!("{:?}", listener.http)).collect();
    all.extend(listener.iter().flat_map(|listener| &listener.chains).map(chain));
    all
}

fn add_table(found: &mut Ways, routing: &Routing<'_>, table: &Table) {
    for host in &table.hosts {
        let mut domains = host.domains.clone();
        domains.sort_unstable();
        let mut seen: Vec<Option<HttpMatch>> = Vec::new();
        let mut routes = vec![format!("domains {}", domains.join(","))];
        for route in &host.routes {
            let plain = route.matches.as_ref().map(|matches| HttpMatch {
                caller: CallerMatch::default(),
                name: String::new(),
                ..matches.clone()
            });
            // What an earlier route takes in whole never comes to this one.
            if seen.contains(&plain) {
                continue;
            }
            routes.push(in_words(routing, route, plain.as_ref()));
            seen.push(plain);
            if route.is_catch_all() {
                break;
            }
        }
        found.insert(format!("{} {}", table.name, host.name), routes);
    }
}

fn in_words(routing: &Routing<'_>, route: &Route, matches: Option<&HttpMatch>) -> String {
    let action = match &route.action {
        Action::Forward { clusters, timeout, retries, rewrite, mirrors } => {
            format!("{} timeout {timeout:?} retries {retries:?} rewrite {rewrite:?} mirrors {mirrors:?}", weighted(clusters))
        }
        Action::Redirect(value) => format!("redirect {value}"),
        Action::Direct(value) => format!("answer {value}"),
    };
    // What the resolver does not look at is compared as it is written.
    let written = route.virtual_service.and_then(|number| routing.virtual_services.get(number));
    let written = written.and_then(|one| {
        let place = route.place.as_ref()?;
        let same = |other: &&HttpRoute| {
            other.place.pointer == place.pointer && other.place.object.key() == place.object.key()
        };
        one.http.iter().find(same)
    });
    let rest: Vec<String> = ["headers", "corsPolicy"]
        .iter()
        .filter_map(|name| Some(format!("{name} {}", written?.setting(name)?)))
        .collect();
    format!("{} {matches:?} {action} fault {:?} {}", route.name, route.fault, rest.join(" "))
}

fn weighted(clusters: &[Weighted]) -> String {
    let one = |one: &Weighted| format!("{}={}", one.cluster.name(), one.weight);
    clusters.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn chain(chain: &Chain) -> String {
    format!("names {:?} subnets {:?} {}", chain.server_names, chain.subnets, weighted(&chain.clusters))
}

/// An attempt that is under way, as the objects of the World show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// The copies.
    pub copies: Vec<Object>,
    /// The VirtualServices that they stand before, as `NAMESPACE/NAME`.
    pub originals: Vec<String>,
    /// The Job's name, by their ownerReferences; `None` where they have none and stay for ever.
    pub job: Option<String>,
    /// The canary.
    pub canary: String,
    /// Its share in percent.
    pub percent: Option<u32>,
}

/// The attempt of a service, if one is under way.
#[must_use]
pub fn running(world: &World, namespace: &str, service: &str) -> Option<Running> {
    let target = format!("{namespace}/{service}");
    let text = |object: &Object, name: &str| {
        let annotations = object.get("/metadata/annotations")?;
        Some(annotations.get(name)?.as_str()?.to_owned())
    };
    let copies: Vec<Object> = world
        .objects()
        .iter()
        .filter(|object| object.kind == Kind::VirtualService)
        .filter(|object| text(object, ORIGINAL).is_some() && text(object, TARGET).as_deref() == Some(&target))
        .map(|object| object.as_ref().clone())
        .collect();
    let first = copies.first()?;
    Some(Running {
        originals: copies.iter().filter_map(|copy| text(copy, ORIGINAL)).collect(),
        job: first.get("/metadata/ownerReferences/0/name").and_then(Value::as_str).map(str::to_owned),
        canary: text(first, CANARY).unwrap_or_default(),
        percent: text(first, PERCENT).and_then(|percent| percent.parse().ok()),
        copies,
    })
}

/// The World as it is when the attempt has ended.
///
/// # Errors
/// [`Mismatch`] if the copies are not of this World.
pub fn without(world: &World, running: &Running) -> Result<World, Mismatch> {
    let gone = running.copies.iter().map(|copy| Change::Delete { object: copy.clone(), propagation: None });
    world.after(&gone.collect::<Vec<_>>())
}
