//! A VirtualService written again, for another namespace and with other weights.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{ANNOTATION, Attempt};
use crate::fuse::MANAGED_BY;
use crate::host;
use crate::object::{Kind, Object, Origin};
use crate::virtual_service::{
    CallerMatch, ConnectionRoute, HttpMatch, HttpRoute, MESH, Place, StringMatch, VirtualService,
};

/// A copy in `namespace`, in force for callers of some namespaces: delegates in their places, names made full.
/// `only_moving` leaves out the routes that do not move, of what is for gateways alone.
pub(super) fn of(
    one: &VirtualService,
    callers: &BTreeSet<String>,
    attempt: &Attempt,
    namespace: &str,
    only_moving: bool,
) -> Object {
    let weights = |place: &Place| {
        let moved = attempt.routes.get(&place.object.key())?.get(&place.pointer)?;
        Some(moved.to.as_slice())
    };
    let only_moving = only_moving && !one.gateways.iter().any(|gateway| gateway == MESH);
    let stays = |place: &Place| !only_moving || weights(place).is_some();
    let mut spec = one.object.get("/spec").cloned().unwrap_or_else(|| json!({}));
    spec["hosts"] = json!(one.hosts);
    spec["gateways"] = json!(one.gateways);
    let export_to = callers.iter().map(|caller| if caller == namespace { "." } else { caller });
    spec["exportTo"] = export_to.collect();
    let http = one.http.iter().filter(|route| stays(&route.place));
    let http: Vec<Value> = http.map(|route| http_route(one, route, weights(&route.place))).collect();
    let connections = |routes: &[ConnectionRoute]| -> Vec<Value> {
        let routes = routes.iter().filter(|route| stays(&route.place));
        routes.map(|route| connection_route(route, weights(&route.place))).collect()
    };
    for (list, routes) in [("http", http), ("tls", connections(&one.tls)), ("tcp", connections(&one.tcp))] {
        if !routes.is_empty() {
            spec[list] = Value::from(routes);
        } else if let Some(spec) = spec.as_object_mut() {
            spec.remove(list);
        }
    }
    let name = if one.object.namespace == namespace {
        format!("{}-try", one.object.name)
    } else {
        format!("{}-{}-try", one.object.name, one.object.namespace)
    };
    let mut labels = json!({MANAGED_BY.0: MANAGED_BY.1});
    if let Some(revision) = one.object.revision() {
        labels["istio.io/rev"] = Value::from(revision);
    }
    // Plain data always has a text.
    let text = serde_json::to_string(attempt).unwrap_or_default();
    let value = json!({
        "apiVersion": one.object.get("/apiVersion").cloned().unwrap_or_else(|| json!("networking.istio.io/v1")),
        "kind": Kind::VirtualService.name(),
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {ANNOTATION: text},
        },
        "spec": spec,
    });
    let namespace = namespace.to_owned();
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
