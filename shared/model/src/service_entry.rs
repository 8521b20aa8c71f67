//! ServiceEntry: hosts that the mesh is told of, in and outside of the cluster.
//!
//! Rules: `convertServices` in `pilot/pkg/serviceregistry/serviceentry/conversion.go`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;

use crate::labels::{Labels, Selector, labels};
use crate::mesh_config::{list, strings};
use crate::object::Object;
use crate::service::{created, port_number};

/// `resolution`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// `NONE`: the address that the caller asked for.
    None,
    /// `STATIC`: the addresses of `endpoints`.
    Static,
    /// `DNS`, `DNS_ROUND_ROBIN`: the proxy asks.
    Dns,
    /// `DYNAMIC_DNS`: the proxy asks for the host of each request.
    DynamicDns,
}

/// One of `ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPort {
    /// `number`.
    pub number: u16,
    /// `name`.
    pub name: String,
    /// `protocol` as it is written.
    pub protocol: String,
}

/// One of `endpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryEndpoint {
    /// `labels`.
    pub labels: Labels,
    /// `address`.
    pub address: String,
}

/// A ServiceEntry.
#[derive(Clone, Debug)]
pub struct ServiceEntry {
    /// The object it was read from.
    pub object: Arc<Object>,
    /// `hosts`.
    pub hosts: Vec<String>,
    /// `addresses`: each an address (`/32` too) or a block.
    pub addresses: Vec<(Option<IpAddr>, Option<String>)>,
    /// `ports`.
    pub ports: Vec<EntryPort>,
    /// `resolution`.
    pub resolution: Resolution,
    /// `endpoints`.
    pub endpoints: Vec<EntryEndpoint>,
    /// `workloadSelector`.
    pub workload_selector: Option<Selector>,
    /// `exportTo`; `None` where absent.
    pub export_to: Option<Vec<String>>,
    /// `creationTimestamp`; empty in manifests.
    pub created: String,
}

impl ServiceEntry {
    /// Reads one.
    #[must_use]
    pub fn read(object: &Arc<Object>) -> Self {
        let spec = object.get("/spec").unwrap_or(&Value::Null);
        let text = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let address = |text: String| {
            let single = match text.split_once('/') {
                None => text.as_str(),
                Some((single, "32" | "128")) => single,
                Some(_) => return text.parse::<IpNet>().is_ok().then_some((None, Some(text))),
            };
            single.parse().ok().map(|address| (Some(address), None))
        };
        Self {
            hosts: strings(spec.get("hosts")),
            addresses: strings(spec.get("addresses")).into_iter().filter_map(address).collect(),
            ports: list(spec.get("ports"))
                .iter()
                .filter_map(|port| {
                    Some(EntryPort {
                        number: port_number(port.get("number"))?,
                        name: text(port, "name"),
                        protocol: text(port, "protocol"),
                    })
                })
                .collect(),
            resolution: match spec.get("resolution").and_then(Value::as_str) {
                Some("STATIC") => Resolution::Static,
                Some("DNS" | "DNS_ROUND_ROBIN") => Resolution::Dns,
                Some("DYNAMIC_DNS") => Resolution::DynamicDns,
                _ => Resolution::None,
            },
            endpoints: list(spec.get("endpoints"))
                .iter()
                .map(|endpoint| EntryEndpoint {
                    labels: labels(endpoint.get("labels")),
                    address: text(endpoint, "address"),
                })
                .collect(),
            workload_selector: spec
                .get("workloadSelector")
                .filter(|selector| !selector.is_null())
                .map(|selector| Selector::match_labels(selector.get("labels"))),
            export_to: Some(strings(spec.get("exportTo"))).filter(|export_to| !export_to.is_empty()),
            created: created(object),
            object: Arc::clone(object),
        }
    }
}
