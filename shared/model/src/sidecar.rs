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

/// A Sidecar object.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// The object it was read from.
    pub object: Arc<Object>,
    /// `workloadSelector.labels`; `None` where absent: the whole namespace.
    pub selector: Option<Selector>,
    /// `ingress`.
    pub ingress: Vec<IngressListener>,
    /// `egress`, each with its hosts and its port; `None` where absent: all that is exported.
    pub egress: Option<Vec<(Vec<String>, Option<u16>)>>,
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
            .map(|listener| (strings(listener.get("hosts")), port_number(listener.pointer("/port/number"))))
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
        egress.iter().filter(|(_, only)| only.is_none_or(|only| only == port)).any(|(hosts, _)| {
            hosts.iter().any(|entry| {
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
