//! Gateway objects: what ingress and egress gateways listen on.

use std::sync::Arc;

use serde_json::Value;

use crate::labels::Selector;
use crate::mesh_config::{list, strings};
use crate::object::Object;
use crate::protocol::PortProtocol;
use crate::service::{created, port_number};
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
    /// `port.protocol` as it is written.
    pub word: String,
    /// `port.name`.
    pub port_name: String,
    /// `hosts`, each perhaps with `NAMESPACE/` of the VirtualServices that it is for.
    pub hosts: Vec<String>,
    /// `tls.mode`, where there is `tls`; SIMPLE... as written.
    pub tls: Option<String>,
    /// `tls.httpsRedirect`.
    pub https_redirect: bool,
    /// `bind`.
    pub bind: String,
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
    /// `creationTimestamp`; empty in manifests.
    pub created: String,
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
                    port_name: text(server, "/port/name"),
                    hosts: hosts(server, &object.namespace),
                    tls: server
                        .get("tls")
                        .filter(|tls| !tls.is_null())
                        .map(|_| mode.unwrap_or("PASSTHROUGH").to_owned()),
                    https_redirect: server.pointer("/tls/httpsRedirect").and_then(Value::as_bool)
                        == Some(true),
                    bind: text(server, "/bind"),
                    word: word.to_owned(),
                    pointer: format!("/spec/servers/{index}"),
                })
            })
            .collect();
        Self {
            selector: Selector::match_labels(spec.get("selector")),
            servers,
            created: created(object),
            object: Arc::clone(object),
        }
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// `./host` is for VirtualServices of the Gateway's namespace, `*/host` and `host` for all
/// (`sanitizeServerHostNamespace`).
fn hosts(server: &Value, namespace: &str) -> Vec<String> {
    let full = |host: String| match host.split_once('/') {
        Some((".", name)) => format!("{namespace}/{name}"),
        Some(("*", name)) => name.to_owned(),
        _ => host,
    };
    strings(server.get("hosts")).into_iter().map(full).collect()
}
