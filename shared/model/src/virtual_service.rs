//! VirtualService: how callers' requests for a host are routed.
//!
//! Read as istiod does before it makes routes of it: short names made full, gateways with their
//! namespace (`ResolveVirtualServiceShortnames` in `pilot/pkg/model/virtualservice.go`). Delegation is
//! in `routing/delegate.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::host;
use crate::labels::{Labels, labels};
use crate::mesh_config::{list, strings};
use crate::object::Object;
use crate::service::{created, port_number};

/// The gateway that stands for all sidecars.
pub const MESH: &str = "mesh";

/// A part of an object: what a route or destination was read from, and what a change would name.
#[derive(Clone, Debug)]
pub struct Place {
    /// The object.
    pub object: Arc<Object>,
    /// The JSON pointer within it.
    pub pointer: String,
}

impl Place {
    /// A part below this one.
    #[must_use]
    pub fn below(&self, part: impl std::fmt::Display) -> Self {
        Self { object: Arc::clone(&self.object), pointer: format!("{}/{part}", self.pointer) }
    }

    /// What tells places apart: the object, as `NAMESPACE/NAME`, and the pointer.
    #[must_use]
    pub fn key(&self) -> (String, String) {
        (self.object.key(), self.pointer.clone())
    }

    /// Where a person finds it: `file:line`, or `namespace/name`.
    #[must_use]
    pub fn at(&self) -> String {
        self.object.at(&self.pointer)
    }
}

/// A `StringMatch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatch {
    /// `exact`.
    Exact(String),
    /// `prefix`.
    Prefix(String),
    /// `regex`: RE2, of the whole text.
    Regex(String),
    /// None of them, or the regex `*`: that it is there at all (`canBeConvertedToPresentMatch`).
    Present,
}

impl StringMatch {
    fn read(value: &Value) -> Self {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(exact) = text("exact") {
            Self::Exact(exact)
        } else if let Some(prefix) = text("prefix") {
            Self::Prefix(prefix)
        } else {
            match text("regex") {
                Some(regex) if regex != "*" => Self::Regex(regex),
                _ => Self::Present,
            }
        }
    }

    fn read_map(value: Option<&Value>) -> BTreeMap<String, Self> {
        let entries = value.and_then(Value::as_object).into_iter().flatten();
        entries.map(|(name, value)| (name.clone(), Self::read(value))).collect()
    }
}

/// What a match asks of the caller: decided when the configuration is made, not by the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerMatch {
    /// `gateways`, full names; where it is not empty, the other two are not looked at
    /// (`sourceMatchHTTP`). Only of http: tls and tcp look at all.
    pub gateways: Vec<String>,
    /// `sourceLabels`.
    pub labels: Labels,
    /// `sourceNamespace`; empty for any.
    pub namespace: String,
    /// `port`: the port that the caller asks for.
    pub port: Option<u16>,
}

impl CallerMatch {
    fn read(value: &Value, owner: &str) -> Self {
        Self {
            gateways: gateways(value.get("gateways"), owner),
            labels: labels(value.get("sourceLabels")),
            namespace: value.get("sourceNamespace").and_then(Value::as_str).unwrap_or_default().to_owned(),
            port: port_number(value.get("port")).filter(|port| *port != 0),
        }
    }
}

/// One of `http[].match`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpMatch {
    /// `name`.
    pub name: String,
    /// What it asks of the caller.
    pub caller: CallerMatch,
    /// `uri`.
    pub uri: Option<StringMatch>,
    /// `scheme`.
    pub scheme: Option<StringMatch>,
    /// `method`.
    pub method: Option<StringMatch>,
    /// `authority`.
    pub authority: Option<StringMatch>,
    /// `headers`.
    pub headers: BTreeMap<String, StringMatch>,
    /// `withoutHeaders`.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// `queryParams`.
    pub query: BTreeMap<String, StringMatch>,
    /// `ignoreUriCase`.
    pub ignore_case: bool,
}

impl HttpMatch {
    fn read(value: &Value, owner: &str) -> Self {
        let part = |name: &str| value.get(name).filter(|part| !part.is_null()).map(StringMatch::read);
        Self {
            name: value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            caller: CallerMatch::read(value, owner),
            uri: part("uri"),
            scheme: part("scheme"),
            method: part("method"),
            authority: part("authority"),
            headers: StringMatch::read_map(value.get("headers")),
            without_headers: StringMatch::read_map(value.get("withoutHeaders")),
            query: StringMatch::read_map(value.get("queryParams")),
            ignore_case: value.get("ignoreUriCase").and_then(Value::as_bool) == Some(true),
        }
    }
}

/// One of a route's destinations.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `host`, a full name.
    pub host: String,
    /// `subset`; empty where absent.
    pub subset: String,
    /// `port.number`.
    pub port: Option<u16>,
    /// `weight`; 0 where absent. A single destination gets everything whatever it says.
    pub weight: u32,
    /// Where it stands: of the entry with `destination` and `weight`.
    pub place: Place,
}

/// The settings of an http route, each with the object that says so: a delegate's or its root's.
pub type Settings = BTreeMap<&'static str, Setting>;

/// A field of a route as it is written.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
}

/// The settings of a route that delegates inherit from their root (`mergeHTTPRoute`).
pub(crate) const INHERITED: [&str; 12] = [
    "rewrite",
    "directResponse",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirrorPercent",
    "mirrorPercentage",
    "mirror_percent",
    "corsPolicy",
    "mirrors",
    "headers",
];

/// One of `http`.
#[derive(Clone, Debug)]
pub struct HttpRoute {
    /// `name`; of a delegated one `root-delegate`.
    pub name: String,
    /// `match`; everything where empty.
    pub matches: Vec<HttpMatch>,
    /// `route`.
    pub destinations: Vec<Destination>,
    /// `delegate`: namespace and name.
    pub delegate: Option<(String, String)>,
    /// `redirect`, `timeout`, `retries`, `fault` and the like, where set.
    pub settings: Settings,
    /// Where it stands; of a delegated one in the delegate.
    pub place: Place,
}

impl HttpRoute {
    fn read(object: &Arc<Object>, index: usize, value: &Value) -> Self {
        let place = Place { object: Arc::clone(object), pointer: format!("/spec/http/{index}") };
        let settings = INHERITED
            .into_iter()
            .chain(["redirect"])
            .filter_map(|name| {
                let value = value.get(name).filter(|value| !value.is_null())?.clone();
                Some((name, Setting { value, place: place.below(name) }))
            })
            .collect();
        let matches = list(value.get("match")).iter().map(|m| HttpMatch::read(m, &object.namespace));
        let delegate = value.get("delegate").filter(|delegate| !delegate.is_null()).map(|delegate| {
            let text = |name: &str| delegate.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
            (
                text("namespace").unwrap_or(&object.namespace).to_owned(),
                text("name").unwrap_or_default().to_owned(),
            )
        });
        Self {
            name: value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            matches: matches.collect(),
            destinations: destinations(value, &place),
            delegate,
            settings,
            place,
        }
    }

    /// A setting as it is written.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&Value> {
        self.settings.get(name).map(|setting| &setting.value)
    }
}

/// One of `tls[].match` or `tcp[].match`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionMatch {
    /// What it asks of the caller.
    pub caller: CallerMatch,
    /// `sniHosts`; of tls.
    pub sni_hosts: Vec<String>,
    /// `destinationSubnets`.
    pub destination_subnets: Vec<String>,
}

/// One of `tls` or `tcp`.
#[derive(Clone, Debug)]
pub struct ConnectionRoute {
    /// `match`.
    pub matches: Vec<ConnectionMatch>,
    /// `route`.
    pub destinations: Vec<Destination>,
    /// Where it stands.
    pub place: Place,
}

impl ConnectionRoute {
    fn read(object: &Arc<Object>, list_name: &str, index: usize, value: &Value) -> Self {
        let place = Place { object: Arc::clone(object), pointer: format!("/spec/{list_name}/{index}") };
        let matches = list(value.get("match"))
            .iter()
            .map(|m| ConnectionMatch {
                caller: CallerMatch::read(m, &object.namespace),
                sni_hosts: strings(m.get("sniHosts")),
                destination_subnets: strings(m.get("destinationSubnets")),
            })
            .collect();
        Self { matches, destinations: destinations(value, &place), place }
    }
}

fn destinations(route: &Value, place: &Place) -> Vec<Destination> {
    let entries = list(route.get("route")).iter().enumerate();
    entries
        .map(|(index, entry)| {
            let destination = entry.get("destination").unwrap_or(&Value::Null);
            let text = |name: &str| destination.get(name).and_then(Value::as_str).unwrap_or_default();
            Destination {
                host: host::resolve(text("host"), &place.object.namespace),
                subset: text("subset").to_owned(),
                port: port_number(destination.pointer("/port/number")).filter(|port| *port != 0),
                weight: entry
                    .get("weight")
                    .and_then(Value::as_u64)
                    .and_then(|w| w.try_into().ok())
                    .unwrap_or(0),
                place: place.below(format_args!("route/{index}")),
            }
        })
        .collect()
}

/// A VirtualService.
#[derive(Clone, Debug)]
pub struct VirtualService {
    /// The object it was read from.
    pub object: Arc<Object>,
    /// `hosts`, full names, perhaps with a leading wildcard; none makes it a delegate.
    pub hosts: Vec<String>,
    /// `gateways` as `NAMESPACE/NAME`, or [`MESH`]; only that where absent.
    pub gateways: Vec<String>,
    /// `exportTo`; `None` where absent.
    pub export_to: Option<Vec<String>>,
    /// `http`.
    pub http: Vec<HttpRoute>,
    /// `tls`.
    pub tls: Vec<ConnectionRoute>,
    /// `tcp`.
    pub tcp: Vec<ConnectionRoute>,
    /// `creationTimestamp`; empty in manifests.
    pub created: String,
}

impl VirtualService {
    /// Reads one.
    #[must_use]
    pub fn read(object: &Arc<Object>) -> Self {
        let spec = object.get("/spec").unwrap_or(&Value::Null);
        let bound = gateways(spec.get("gateways"), &object.namespace);
        let routes = |name: &str| {
            let routes = list(spec.get(name)).iter().enumerate();
            routes.map(|(index, route)| ConnectionRoute::read(object, name, index, route)).collect()
        };
        let http = list(spec.get("http")).iter().enumerate();
        Self {
            hosts: strings(spec.get("hosts"))
                .iter()
                .map(|name| host::resolve(name, &object.namespace))
                .collect(),
            gateways: if bound.is_empty() { vec![MESH.to_owned()] } else { bound },
            export_to: Some(strings(spec.get("exportTo"))).filter(|export_to| !export_to.is_empty()),
            http: http.map(|(index, route)| HttpRoute::read(object, index, route)).collect(),
            tls: routes("tls"),
            tcp: routes("tcp"),
            created: created(object),
            object: Arc::clone(object),
        }
    }

    /// Whether it is for sidecars.
    #[must_use]
    pub fn is_for_mesh(&self) -> bool {
        self.gateways.iter().any(|gateway| gateway == MESH)
    }

    /// The order in which they are tried: the oldest first, then by name and namespace
    /// (`configCompareByCreationTime`).
    pub(crate) fn order(a: &Self, b: &Self) -> std::cmp::Ordering {
        (&a.created, &a.object.name, &a.object.namespace).cmp(&(
            &b.created,
            &b.object.name,
            &b.object.namespace,
        ))
    }
}

/// Gateways with their namespaces (`resolveGatewayName`): `name` is of the object's own, `./name` too,
/// `name.namespace.svc...` is an old form.
fn gateways(value: Option<&Value>, owner: &str) -> Vec<String> {
    let full = |name: String| {
        if name == MESH {
            return name;
        }
        match name.split_once('/') {
            Some((".", name)) => format!("{owner}/{name}"),
            Some(_) => name,
            None => match name.split_once('.') {
                None => format!("{owner}/{name}"),
                Some((name, rest)) => format!("{}/{name}", rest.split('.').next().unwrap_or_default()),
            },
        }
    };
    strings(value).into_iter().map(full).collect()
}
