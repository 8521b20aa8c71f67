//! Sidecar objects: what a workload's proxy listens on and knows of.
//!
//! Rules: `doGetSidecarScope` in `pilot/pkg/model/push_context.go`, `pilot/pkg/model/sidecar.go`.

use std::sync::Arc;

use serde_json::Value;

use crate::host;
use crate::labels::Selector;
use crate::mesh_config::{Outbound, list, strings};
use crate::object::Object;
use crate::protocol::PortProtocol;
use crate::service::{created, port_number};

/// One of `ingress`: a port that replaces those of Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressListener {
    /// `port.number`.
    pub port: u16,
    /// What `port.protocol` says; sniffed where it says nothing known.
    pub protocol: PortProtocol,
    /// The word of `port.protocol`.
    pub word: String,
    /// JSON pointer of the listener.
    pub pointer: String,
}

/// One of `egress`: what callers behind the proxy can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressListener {
    /// `hosts` as they are written.
    pub hosts: Vec<String>,
    /// `port.number`; any where absent.
    pub port: Option<u16>,
    /// `port.protocol`.
    pub protocol: String,
    /// `bind`.
    pub bind: Option<String>,
    /// JSON pointer of the listener.
    pub pointer: String,
}

/// A Sidecar object.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// The object it was read from.
    pub object: Arc<Object>,
    /// `workloadSelector.labels`; `None` where absent: the whole namespace.
    pub selector: Option<Selector>,
    /// `ingress`.
    pub ingress: Vec<IngressListener>,
    /// `egress`; `None` where absent: all that is exported.
    pub egress: Option<Vec<EgressListener>>,
    /// `outboundTrafficPolicy`; `None` inherits the mesh's.
    pub outbound: Option<Outbound>,
    /// `creationTimestamp`.
    pub created: String,
}

impl Sidecar {
    /// Reads one.
    #[must_use]
    pub fn read(object: &Arc<Object>) -> Self {
        let spec = object.get("/spec").unwrap_or(&Value::Null);
        let ingress = list(spec.get("ingress"))
            .iter()
            .enumerate()
            .filter_map(|(index, listener)| {
                let word = listener.pointer("/port/protocol").and_then(Value::as_str).unwrap_or_default();
                Some(IngressListener {
                    port: port_number(listener.pointer("/port/number"))?,
                    protocol: PortProtocol::parse(word).unwrap_or(PortProtocol::Sniffed),
                    word: word.to_owned(),
                    pointer: format!("/spec/ingress/{index}"),
                })
            })
            .collect();
        let egress: Vec<_> = list(spec.get("egress"))
            .iter()
            .enumerate()
            .map(|(index, listener)| {
                let text = |pointer: &str| listener.pointer(pointer).and_then(Value::as_str);
                EgressListener {
                    hosts: strings(listener.get("hosts")),
                    port: port_number(listener.pointer("/port/number")).filter(|port| *port != 0),
                    protocol: text("/port/protocol").unwrap_or_default().to_owned(),
                    bind: text("/bind").filter(|bind| !bind.is_empty()).map(str::to_owned),
                    pointer: format!("/spec/egress/{index}"),
                }
            })
            .collect();
        Self {
            selector: spec
                .get("workloadSelector")
                .filter(|selector| !selector.is_null())
                .map(|selector| Selector::match_labels(selector.get("labels"))),
            ingress,
            egress: (!egress.is_empty()).then_some(egress),
            outbound: Outbound::read(spec.get("outboundTrafficPolicy")),
            created: created(object),
            object: Arc::clone(object),
        }
    }

    /// Whether clients in `namespace` under this Sidecar know a service by its namespace, host and port.
    #[must_use]
    pub fn imports(&self, namespace: &str, owner: &str, name: &str, port: u16) -> bool {
        let Some(egress) = &self.egress else { return true };
        egress.iter().filter(|listener| listener.port.is_none_or(|only| only == port)).any(|listener| {
            listener.hosts.iter().any(|entry| {
                let (from, pattern) = entry.split_once('/').unwrap_or(("*", entry));
                let from = match from {
                    "*" => true,
                    "." => owner == namespace,
                    "~" => false,
                    exact => exact == owner,
                };
                from && host::covers(pattern, name)
            })
        })
    }
}
