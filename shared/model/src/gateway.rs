//! Gateway objects: what ingress and egress gateways listen on.

use std::sync::Arc;

use serde_json::Value;

use crate::labels::Selector;
use crate::mesh_config::list;
use crate::object::Object;
use crate::protocol::PortProtocol;
use crate::service::port_number;
use crate::workload::Workload;

/// One of `servers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `port.number`: a port of the gateway's Service.
    pub port: u16,
    /// How the gateway treats the connection behind TLS.
    pub protocol: PortProtocol,
    /// `port.protocol`, and `tls.mode` where set.
    pub reason: String,
    /// Whether clients show the mesh's certificate (`tls.mode: ISTIO_MUTUAL`).
    pub mesh_identity: bool,
    /// JSON pointer of the server.
    pub pointer: String,
}

/// A Gateway object.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The object it was read from.
    pub object: Arc<Object>,
    /// `selector`: the pods that serve it.
    pub selector: Selector,
    /// `servers`.
    pub servers: Vec<Server>,
}

impl Gateway {
    /// Whether a workload's pods serve it. One without a selector is served by all gateways, but
    /// makes nothing one.
    #[must_use]
    pub fn serves(&self, workload: &Workload) -> bool {
        !self.selector.is_empty() && self.selector.selects(&workload.labels)
    }

    /// Reads one.
    #[must_use]
    pub fn read(object: &Arc<Object>) -> Self {
        let spec = object.get("/spec").unwrap_or(&Value::Null);
        let servers = list(spec.get("servers"))
            .iter()
            .enumerate()
            .filter_map(|(index, server)| {
                let word = server.pointer("/port/protocol").and_then(Value::as_str).unwrap_or_default();
                let mode = server.pointer("/tls/mode").and_then(Value::as_str);
                // HTTPS is terminated here, and so is TLS unless it passes through.
                let protocol = match (word.to_ascii_uppercase().as_str(), mode) {
                    (_, Some("PASSTHROUGH" | "AUTO_PASSTHROUGH")) => PortProtocol::Tcp,
                    ("HTTPS", _) => PortProtocol::Http,
                    (other, _) => PortProtocol::parse(other).unwrap_or(PortProtocol::Tcp),
                };
                let reason = match mode {
                    Some(mode) => format!("protocol {word}, TLS {mode}"),
                    None => format!("protocol {word}"),
                };
                Some(Server {
                    port: port_number(server.pointer("/port/number"))?,
                    protocol,
                    reason,
                    mesh_identity: mode == Some("ISTIO_MUTUAL"),
                    pointer: format!("/spec/servers/{index}"),
                })
            })
            .collect();
        Self { selector: Selector::match_labels(spec.get("selector")), servers, object: Arc::clone(object) }
    }
}
