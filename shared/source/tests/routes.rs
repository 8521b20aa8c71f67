//! Proxies get the routes that the model says, and requests take them.
//!
//! `routes/` has random meshes with what Istio's own code makes of them for several proxies, and what that
//! does with requests: files of `tests/envoy/routes`. `tests/envoy/check --routes` puts many more of them
//! here, by naming a directory in `MESH_ROUTES`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much was compared is of use")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_model::duration;
use mesh_model::routing::action::{Abort, Action, Fault, Mirror, Retries, Rewrite, Weighted};
use mesh_model::routing::request::{Protocol, Request};
use mesh_model::routing::resolve::Outcome;
use mesh_model::routing::table::{Route, Table};
use mesh_model::routing::{Proxy, Routing};
use mesh_model::virtual_service::{HttpMatch, StringMatch};
use mesh_model::workload::Workload;
use mesh_model::world::{Snapshot, World};
use mesh_source::manifests::{self, Manifests};
use serde_json::{Value, json};

fn meshes(below: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path());
    let mut meshes: Vec<PathBuf> = entries.filter(|path| path.join("routes.json").exists()).collect();
    meshes.sort();
    meshes
}

fn world(mesh: &Path) -> World {
    let manifests = Manifests {
        filenames: vec![mesh.join("manifests.yaml").to_str().unwrap().to_owned()],
        default_namespace: "default".to_owned(),
        ..Manifests::default()
    };
    let objects = manifests::read(&manifests).unwrap().objects;
    World::new(Snapshot { objects, ..Snapshot::default() })
}

#[test]
fn requests_take_the_routes_that_istio_gives_their_callers() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/routes");
    let more = std::env::var_os("MESH_ROUTES").map(PathBuf::from);
    let all: Vec<PathBuf> = [Some(recorded), more].iter().flatten().flat_map(|path| meshes(path)).collect();
    assert!(!all.is_empty());
    let mut tally = Tally::default();
    for mesh in &all {
        let world = world(mesh);
        let routing = Routing::new(&world);
        tally.chance = left_to_chance(&routing);
        tally.aliased = aliased(&routing);
        let routes: Value =
            serde_json::from_str(&fs::read_to_string(mesh.join("routes.json")).unwrap()).unwrap();
        for recorded in items(&routes["proxies"]) {
            let name = text(&recorded["name"]);
            let workload = of_pod(&world, text(&recorded["namespace"]), name);
            let proxy = routing.proxy(workload);
            let at = format!("{} {}/{name}", mesh.display(), workload.namespace);
            tally.clusters(&at, &proxy, recorded);
            tally.tables(&at, &proxy, recorded);
            for asked in items(&recorded["requests"]) {
                tally.request(&at, &proxy, asked);
            }
        }
    }
    println!(
        "{} meshes: {} clusters, {} virtual hosts, {} requests compared",
        all.len(),
        tally.clusters,
        tally.hosts,
        tally.requests
    );
    let count = tally.differing.len();
    // A few of each mesh: one cause often shows in many requests.
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    tally.differing.retain(|one| {
        let mesh = one.split(' ').next().unwrap_or_default().to_owned();
        let count = shown.entry(mesh).or_default();
        *count += 1;
        *count <= 4
    });
    tally.differing.truncate(200);
    assert!(count == 0, "{count} differ:\n{}", tally.differing.join("\n"));
}

/// The hosts of which istiod may take one ServiceEntry or another, run by run: those of one namespace that were
/// made in the same second. `SortServicesByCreationTime` compares time, host and namespace, and what it gets is
/// in the order of a Go map.
fn left_to_chance(routing: &Routing<'_>) -> BTreeSet<String> {
    let mut seen: BTreeMap<(String, String, String), String> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for host in routing.registry.hosts().iter().filter(|host| !host.is_service()) {
        let created = host.object.get("/metadata/creationTimestamp").map(ToString::to_string);
        let key = (host.name.clone(), host.namespace().to_owned(), created.unwrap_or_default());
        let one = seen.entry(key).or_insert_with(|| host.object.name.clone());
        if *one != host.object.name {
            found.insert(host.name.clone());
        }
    }
    // Of a Service that is exported to nobody istiod has the endpoints only if it met a pod after it
    // (`recomputeServiceForPod`, `serviceNeedsPush`): a ServiceEntry of its name, which others may know, has them too.
    let entries: BTreeSet<(&str, &str)> = routing
        .registry
        .hosts()
        .iter()
        .filter(|host| !host.is_service())
        .map(|host| (host.name.as_str(), host.namespace()))
        .collect();
    let hidden = routing.registry.hosts().iter().filter(|host| {
        host.is_service()
            && host.export_to.iter().any(|to| to == "~")
            && entries.contains(&(host.name.as_str(), host.namespace()))
    });
    found.extend(hidden.map(|host| host.name.clone()));
    found
}

/// The hosts that are other names of others, or have them. Where a wildcard is for both, istiod goes through a map
/// (`separateVSHostsAndServices`), and the one that it meets first gets the names of the other.
fn aliased(routing: &Routing<'_>) -> BTreeSet<String> {
    let hosts = routing.registry.hosts().iter();
    let concerned = hosts.filter(|host| host.alias_of.is_some() || !host.aliases.is_empty());
    concerned.map(|host| host.name.to_ascii_lowercase()).collect()
}

#[derive(Default)]
struct Tally {
    chance: BTreeSet<String>,
    aliased: BTreeSet<String>,
    clusters: usize,
    hosts: usize,
    requests: usize,
    differing: Vec<String>,
}

impl Tally {
    fn compare(&mut self, at: &str, istio: &Value, ours: &Value) {
        if istio != ours {
            self.differing.push(format!("{at}\n  istio {istio}\n  ours  {ours}"));
        }
    }

    fn clusters(&mut self, at: &str, proxy: &Proxy<'_, '_>, recorded: &Value) {
        for cluster in items(&recorded["view"]["clusters"]) {
            let Some(named) = mesh_model::routing::action::Cluster::parse(text(&cluster["name"])) else {
                continue;
            };
            if self.chance.contains(&named.host) {
                continue;
            }
            self.clusters += 1;
            let landing = proxy.landing(&named);
            // Of a Service that is exported to nobody istiod has the endpoints only if it met them after it.
            let is_hidden = proxy
                .scope
                .host(&named.host)
                .is_some_and(|known| known.host.export_to.iter().any(|to| to == "~"));
            let known = !cluster["endpoints"].is_null() && !is_hidden;
            let ours = json!({
                "exists": landing.exists,
                "destinationRule": landing.rule.map(|rule| rule.key()),
                "endpoints": known.then(|| ready(&landing)),
            });
            let istio = json!({
                "exists": true,
                "destinationRule": cluster["destinationRule"],
                "endpoints": Some(&cluster["endpoints"]).filter(|_| known),
            });
            self.compare(&format!("{at} cluster {}", named.name()), &istio, &ours);
        }
    }

    fn tables(&mut self, at: &str, proxy: &Proxy<'_, '_>, recorded: &Value) {
        if recorded["gateway"] == true {
            return;
        }
        for table in items(&recorded["view"]["routeConfigurations"]) {
            let name = text(&table["name"]);
            let (host, port) = match name.rsplit_once(':') {
                Some((host, port)) => (Some(host), port),
                None => (None, name),
            };
            let ours = proxy.table(port.parse().unwrap(), host).unwrap();
            self.table(at, proxy, &ours, table);
        }
    }

    fn table(&mut self, at: &str, proxy: &Proxy<'_, '_>, ours: &Table, istio: &Value) {
        // Which of several hosts gets an address that they share is left to chance by istiod.
        let mut seen = BTreeSet::new();
        let shared: BTreeSet<String> = proxy
            .routing()
            .registry
            .hosts()
            .iter()
            .filter_map(|host| host.address.map(|one| one.to_string()).or_else(|| host.block.clone()))
            .filter(|address| !seen.insert(address.clone()))
            .collect();
        let named = |host: &Value| !["allow_any", "block_all"].contains(&text(&host["name"]));
        let istio: BTreeMap<String, Value> = items(&istio["virtualHosts"])
            .iter()
            .filter(|host| named(host))
            .map(|host| {
                let routes: Vec<Value> = items(&host["routes"]).iter().map(of_istio).collect();
                let domains: BTreeSet<&str> = items(&host["domains"])
                    .iter()
                    .map(text)
                    .filter(|domain| !shared.contains(*domain))
                    .collect();
                (text(&host["name"]).to_owned(), json!({ "domains": domains, "routes": routes }))
            })
            .collect();
        let ours: BTreeMap<String, Value> = ours
            .hosts
            .iter()
            .map(|host| {
                let routes: Vec<Value> = host.routes.iter().map(|route| of_route(proxy, route)).collect();
                let domains: BTreeSet<&String> =
                    host.domains.iter().filter(|domain| !shared.contains(*domain)).collect();
                (host.name.clone(), json!({ "domains": domains, "routes": routes }))
            })
            .collect();
        let by_domain = |hosts: &BTreeMap<String, Value>| -> BTreeMap<String, Value> {
            let aliased = hosts.iter().filter(|(name, _)| self.aliased.contains(host_of(name)));
            aliased
                .flat_map(|(_, host)| {
                    items(&host["domains"])
                        .iter()
                        .map(|domain| (text(domain).to_owned(), host["routes"].clone()))
                })
                .collect()
        };
        let (istio_aliased, our_aliased) = (json!(by_domain(&istio)), json!(by_domain(&ours)));
        self.compare(&format!("{at} virtual hosts with aliases"), &istio_aliased, &our_aliased);
        let names: BTreeSet<&String> = istio.keys().chain(ours.keys()).collect();
        for name in names {
            let host = host_of(name);
            if self.chance.contains(host) || self.aliased.contains(host) {
                continue;
            }
            self.hosts += 1;
            let of = |hosts: &BTreeMap<String, Value>| hosts.get(name).cloned().unwrap_or(Value::Null);
            self.compare(&format!("{at} virtual host {name}"), &of(&istio), &of(&ours));
        }
    }

    fn request(&mut self, at: &str, proxy: &Proxy<'_, '_>, asked: &Value) {
        let written = &asked["request"];
        let istio = &asked["result"];
        let leads_to_chance = items(&istio["clusters"]).iter().any(|cluster| {
            let cluster = mesh_model::routing::action::Cluster::parse(text(&cluster["name"]));
            cluster.is_some_and(|cluster| self.chance.contains(&cluster.host))
        });
        if leads_to_chance || self.chance.contains(text(&written["host"])) {
            return;
        }
        self.requests += 1;
        let headers = written["headers"].as_object().into_iter().flatten();
        let mut headers: Vec<(String, String)> =
            headers.map(|(name, value)| (name.clone(), text(value).to_owned())).collect();
        if !headers.iter().any(|(name, _)| name == "host") {
            headers.push(("host".to_owned(), text(&written["host"]).to_owned()));
        }
        let request = Request {
            speaks: match text(&written["protocol"]) {
                "http" => Protocol::Http,
                "tls" => Protocol::Tls,
                _ => Protocol::Tcp,
            },
            host: text(&written["host"]).to_owned(),
            port: written["port"].as_u64().unwrap().try_into().unwrap(),
            method: text(&written["method"]).to_owned(),
            path: text(&written["path"]).to_owned(),
            headers,
            server_name: written["sni"].as_str().map(str::to_owned),
            address: written["address"].as_str().and_then(|address| address.parse().ok()),
        };
        let answer = proxy.resolve(&request);
        let outcome = match answer.outcome {
            Outcome::Routed => "routed",
            Outcome::NotFound => "404",
            Outcome::NoCluster => "503",
            Outcome::Passthrough => "passthrough",
            Outcome::Blocked => "blocked",
            Outcome::Reset => "reset",
            Outcome::Refused => "refused",
            Outcome::Redirect => "redirect",
            Outcome::Direct => "direct",
        };
        let is_aliased = self.aliased.contains(host_of(text(&istio["vhost"])));
        let sent_on = ["routed", "503", "404", "redirect", "direct"].contains(&outcome);
        let http = answer.route.is_some();
        let ours = json!({
            "outcome": outcome,
            "vhost": answer.virtual_host.as_ref().filter(|_| sent_on && !is_aliased).cloned().unwrap_or_default(),
            // A tcp route with subnets, and those of gateways, do not say whose they are.
            "virtualService": answer.virtual_service.filter(|_| http).map(|one| one.object.key()),
            "route": answer.route.as_ref().map(|route| route.name.clone()).unwrap_or_default(),
            "clusters": answer.destinations.iter().map(|(weighted, landing)| {
                json!({
                    "name": weighted.cluster.name(),
                    "weight": weighted.weight,
                    "exists": landing.exists,
                    "destinationRule": landing.rule.filter(|_| landing.exists).map(|rule| rule.key()),
                })
            }).collect::<Vec<_>>(),
        });
        let is_sent_on = ["routed", "503", "404", "redirect", "direct"].contains(&text(&istio["outcome"]));
        let clusters: Vec<Value> = items(&istio["clusters"])
            .iter()
            .filter(|_| ["routed", "503"].contains(&text(&istio["outcome"])))
            .map(|cluster| {
                json!({
                    "name": cluster["name"],
                    "weight": cluster["weight"],
                    "exists": cluster["exists"],
                    "destinationRule": cluster["destinationRule"],
                })
            })
            .collect();
        let of_route = ["routed", "503", "redirect", "direct"].contains(&text(&istio["outcome"]));
        let istio = json!({
            "outcome": istio["outcome"],
            // Where a gateway has no routes at all, a virtual host of that name answers.
            "vhost": if is_aliased { "" } else if is_sent_on { text(&istio["vhost"]).strip_prefix("blackhole:").map_or(text(&istio["vhost"]), |_| "") } else { "" },
            "virtualService": if http { istio["virtualService"].clone() } else { Value::Null },
            "route": if of_route { text(&istio["route"]) } else { "" },
            "clusters": clusters,
        });
        self.compare(&format!("{at} request {written}"), &istio, &ours);
    }
}

/// The host in the name of a virtual host.
fn host_of(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(host, _)| host)
}

fn ready(landing: &mesh_model::routing::Landing<'_>) -> usize {
    landing.endpoints.iter().filter(|endpoint| endpoint.ready).count()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn of_pod<'w>(world: &'w World, namespace: &str, pod: &str) -> &'w Workload {
    let mut workloads = world.workloads_in(namespace);
    workloads.find(|workload| workload.pods.iter().any(|name| name == pod)).unwrap()
}

/// A route as istiod made it, without what is of no account.
fn of_istio(route: &Value) -> Value {
    let mut matches = route["match"].clone();
    if let Some(matches) = matches.as_object_mut() {
        matches
            .remove("caseSensitive")
            .filter(|sensitive| sensitive == false)
            .map(|_| matches.insert("ignoreCase".to_owned(), json!(true)));
        for list in ["headers", "queryParameters"] {
            if let Some(list) = matches.get_mut(list).and_then(Value::as_array_mut) {
                list.sort_by_key(ToString::to_string);
            }
        }
    }
    let clusters: Vec<Value> = items(&route["clusters"])
        .iter()
        .map(|cluster| json!({ "name": cluster["name"], "weight": cluster["weight"] }))
        .collect();
    let name = |name: &Value| (name.as_str() != Some("")).then(|| name.clone());
    json!({
        "match": matches, "route": name(&route["route"]), "virtualService": route["virtualService"],
        "clusters": clusters, "timeout": route["timeout"], "retries": route["retries"],
        "fault": route["fault"], "rewrite": route["rewrite"], "mirrors": route["mirrors"],
        "redirect": !route["redirect"].is_null(), "direct": !route["directResponse"].is_null(),
    })
}

fn of_route(proxy: &Proxy<'_, '_>, route: &Route) -> Value {
    let mut value = json!({
        "match": of_match(route.matches.as_ref()),
        "route": Some(&route.name).filter(|name| !name.is_empty()),
        "virtualService": route.virtual_service.and_then(|number| Some(proxy.routing().virtual_services.get(number)?.object.key())),
        "clusters": [], "timeout": null, "retries": null, "rewrite": null, "mirrors": [],
        "fault": route.fault.as_ref().map(of_fault),
        "redirect": matches!(route.action, Action::Redirect(_)),
        "direct": matches!(route.action, Action::Direct(_)),
    });
    if let Action::Forward { clusters, timeout, retries, rewrite, mirrors } = &route.action {
        value["clusters"] = clusters.iter().map(of_weighted).collect();
        value["timeout"] = json!(duration::text(*timeout));
        value["retries"] = retries.as_ref().map_or(Value::Null, of_retries);
        value["rewrite"] = rewrite.as_ref().map_or(Value::Null, of_rewrite);
        value["mirrors"] = mirrors.iter().map(of_mirror).collect();
    }
    value
}

fn of_weighted(weighted: &Weighted) -> Value {
    json!({ "name": weighted.cluster.name(), "weight": weighted.weight })
}

fn of_retries(retries: &Retries) -> Value {
    json!({
        "numRetries": retries.attempts, "retryOn": retries.on,
        "perTryTimeout": retries.per_try_timeout.map(duration::text),
        "retriableStatusCodes": retries.codes,
    })
}

fn of_rewrite(rewrite: &Rewrite) -> Value {
    json!({
        "uri": rewrite.uri,
        "regex": rewrite.regex.as_ref().map(|(regex, _)| regex),
        "substitution": rewrite.regex.as_ref().map(|(_, substitution)| substitution),
        "authority": rewrite.authority,
    })
}

fn number(number: f64) -> Value {
    if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
}

fn of_mirror(mirror: &Mirror) -> Value {
    json!({ "cluster": mirror.cluster.name(), "percent": number(mirror.percent) })
}

fn of_fault(fault: &Fault) -> Value {
    let delay = |(how_long, percent): &(Duration, f64)| json!({ "fixedDelay": duration::text(*how_long), "percent": number(*percent) });
    let abort = |(what, percent): &(Abort, f64)| {
        let (http, grpc) = match what {
            Abort::Http(status) => (Some(*status), None),
            Abort::Grpc(name) => (None, Some(grpc_status(name))),
        };
        json!({ "httpStatus": http, "grpcStatus": grpc, "percent": number(*percent) })
    };
    json!({ "delay": fault.delay.as_ref().map(delay), "abort": fault.abort.as_ref().map(abort) })
}

fn grpc_status(name: &str) -> u8 {
    match name {
        "UNAVAILABLE" => 14,
        "INTERNAL" => 13,
        other => panic!("which status is {other}?"),
    }
}

fn of_match(matches: Option<&HttpMatch>) -> Value {
    let Some(matches) = matches else { return json!({ "prefix": "/" }) };
    let mut value = match &matches.uri {
        None | Some(StringMatch::Present) => json!({ "prefix": "/" }),
        Some(StringMatch::Exact(exact)) => json!({ "path": exact }),
        Some(StringMatch::Prefix(prefix)) => json!({ "prefix": prefix }),
        Some(StringMatch::Regex(regex)) => json!({ "safeRegex": { "regex": regex } }),
    };
    if matches.ignore_case {
        value["ignoreCase"] = json!(true);
    }
    let one = |name: &str, wanted: &StringMatch| match wanted {
        StringMatch::Exact(exact) => json!({ "name": name, "stringMatch": { "exact": exact } }),
        StringMatch::Prefix(prefix) => json!({ "name": name, "stringMatch": { "prefix": prefix } }),
        StringMatch::Regex(regex) => {
            json!({ "name": name, "stringMatch": { "safeRegex": { "regex": regex } } })
        }
        StringMatch::Present => json!({ "name": name, "presentMatch": true }),
    };
    let without = |name: &str, unwanted: &StringMatch| {
        let mut value = one(name, unwanted);
        value["invertMatch"] = json!(true);
        if *unwanted != StringMatch::Present {
            value["treatMissingHeaderAsEmpty"] = json!(true);
        }
        value
    };
    let pseudo =
        [(":method", &matches.method), (":authority", &matches.authority), (":scheme", &matches.scheme)];
    let mut headers: Vec<Value> = matches
        .headers
        .iter()
        .map(|(name, wanted)| one(name, wanted))
        .chain(matches.without_headers.iter().map(|(name, unwanted)| without(name, unwanted)))
        .chain(pseudo.iter().filter_map(|(name, wanted)| Some(one(name, wanted.as_ref()?))))
        .collect();
    headers.sort_by_key(ToString::to_string);
    if !headers.is_empty() {
        value["headers"] = json!(headers);
    }
    let mut query: Vec<Value> = matches.query.iter().map(|(name, wanted)| one(name, wanted)).collect();
    query.sort_by_key(ToString::to_string);
    if !query.is_empty() {
        value["queryParameters"] = json!(query);
    }
    value
}
