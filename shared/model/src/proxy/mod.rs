//! What a running proxy really has, read from Envoy's admin interface, and whether it is what the policies
//! say.
//!
//! `/config_dump?resource=dynamic_listeners` (`envoy.admin.v3.ListenersConfigDump`) has the inbound
//! listener with its filter chains, and the update that Envoy refused, if it did; `/server_info` the node.
//! The filters become a [`Chain`](crate::authorization::chain::Chain) as the policies do, so that the same
//! judge decides by both. What cannot be read is never guessed.

mod compare;
mod expression;
mod filters;
mod listener;
mod rbac;
pub mod routes;
mod text;
mod verify;

pub use compare::Difference;
pub use filters::Filters;
pub use verify::{Agreement, Asked, Decided, Scope, Verification, verify};

use serde::Serialize;
use serde_json::Value;

use crate::authorization::compile::Protocol;
use crate::authorization::connection::Presents;
use crate::injection::DEFAULT_REVISION;
use crate::mesh_config::list;
use crate::version::Profile;

/// One of each group, then a second of each, and so on: whoever asks only the first few asks some of all.
#[must_use]
pub fn in_turn<T>(groups: Vec<Vec<T>>) -> Vec<T> {
    let mut rounds: Vec<_> = groups.into_iter().map(Vec::into_iter).collect();
    let mut spread = Vec::new();
    loop {
        let before = spread.len();
        spread.extend(rounds.iter_mut().filter_map(Iterator::next));
        if spread.len() == before {
            return spread;
        }
    }
}

/// The listener that all redirected connections come to (`VirtualInboundListenerName`).
pub const INBOUND_LISTENER: &str = "virtualInbound";

/// An update of a listener that Envoy refused: it keeps what it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedUpdate {
    /// The listener.
    pub listener: String,
    /// Envoy's words. They come from the pod.
    pub details: String,
    /// When it was refused, as Envoy writes it.
    pub at: Option<String>,
}

impl RefusedUpdate {
    /// What is wrong, without the configuration that Envoy repeats before it.
    #[must_use]
    pub fn reason(&self) -> &str {
        let last = self.details.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        last.trim_start_matches([':', ' '])
    }
}

/// A proxy, as far as its inbound side goes.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Its version of Istio.
    pub version: Option<String>,
    /// The revision of the istiod that it asks, told from the name of that.
    pub revision: Option<String>,
    /// Updates of inbound listeners that it refused.
    pub refused: Vec<RefusedUpdate>,
    /// The inbound listeners in force.
    listeners: Vec<Value>,
}

/// Where a connection comes to.
#[derive(Clone, Debug)]
pub enum Door {
    /// No filter chain takes it, or its handshake fails.
    Closed,
    /// A filter chain takes it.
    Open {
        /// What that does with requests.
        filters: Box<Filters>,
        /// Whether it sees the identity that the connection shows.
        shows_identity: bool,
    },
}

impl Proxy {
    /// Reads the listeners of a configuration dump, and the server's information.
    ///
    /// # Errors
    /// Why these are not those of a sidecar.
    pub fn read(listeners: &Value, server: &Value) -> Result<Self, String> {
        let mut refused = Vec::new();
        let mut in_force = Vec::new();
        for dynamic in list(listeners.get("configs")) {
            let text = |pointer: &str| dynamic.pointer(pointer).and_then(Value::as_str);
            // A refusal stands there once more, without the listener's own name.
            let name = text("/name").or_else(|| text("/error_state/failed_configuration/name"));
            let name = name.unwrap_or_default();
            if let Some(listener) = dynamic.pointer("/active_state/listener")
                && is_inbound(listener, name)
            {
                in_force.push(listener.clone());
            }
            let failed = dynamic.pointer("/error_state/failed_configuration").unwrap_or(&Value::Null);
            let is_new = refused.iter().all(|known: &RefusedUpdate| known.listener != name);
            if dynamic.get("error_state").is_some() && is_inbound(failed, name) && is_new {
                refused.push(RefusedUpdate {
                    listener: name.to_owned(),
                    details: text("/error_state/details").unwrap_or_default().to_owned(),
                    at: text("/error_state/last_update_attempt").map(str::to_owned),
                });
            }
        }
        if in_force.is_empty() && refused.is_empty() {
            return Err("its Envoy has no inbound listener: it never got a configuration, or is no sidecar"
                .to_owned());
        }
        let node =
            |pointer: &str| server.pointer(&format!("/node/metadata/{pointer}")).and_then(Value::as_str);
        Ok(Self {
            version: node("ISTIO_VERSION").map(str::to_owned),
            revision: node("PROXY_CONFIG/discoveryAddress").and_then(revision),
            refused,
            listeners: in_force,
        })
    }

    /// Where a connection to a port comes to.
    ///
    /// # Errors
    /// What cannot be read of how the proxy tells connections apart.
    pub fn door(
        &self,
        port: u16,
        presents: &Presents,
        speaks: Protocol,
        profile: &Profile,
    ) -> Result<Door, String> {
        let Some(connection) = listener::Connection::new(port, presents, speaks) else {
            return Ok(Door::Closed);
        };
        // A Sidecar object can have the proxy listen on the port itself (`inboundCustomListener`).
        let own = |listener: &&Value| address_port(listener) == Some(u64::from(port));
        let virtual_one =
            |listener: &&Value| listener.get("name").and_then(Value::as_str) == Some(INBOUND_LISTENER);
        let listeners = || self.listeners.iter();
        let Some(found) = listeners().find(own).or_else(|| listeners().find(virtual_one)) else {
            return Ok(Door::Closed);
        };
        let Some(chain) = listener::chain(found, connection)? else { return Ok(Door::Closed) };
        let tls = chain.pointer("/transport_socket/typed_config");
        let asks_for_identity = tls
            .and_then(|tls| tls.get("require_client_certificate"))
            .and_then(Value::as_bool)
            .unwrap_or_default();
        if asks_for_identity && !matches!(presents, Presents::Identity(_)) {
            return Ok(Door::Closed);
        }
        let filters = Box::new(Filters::read(chain, profile));
        // Where HTTP is expected, there is nothing for other protocols, nor for TLS that nobody ends.
        let unended = connection.tls && tls.is_none();
        if filters.chain.protocol == Protocol::Http && (speaks == Protocol::Tcp || unended) {
            return Ok(Door::Closed);
        }
        Ok(Door::Open { filters, shows_identity: asks_for_identity })
    }
}

/// Whether a listener is for what comes to the workload.
fn is_inbound(listener: &Value, name: &str) -> bool {
    name == INBOUND_LISTENER || listener.get("traffic_direction").and_then(Value::as_str) == Some("INBOUND")
}

fn address_port(listener: &Value) -> Option<u64> {
    listener.pointer("/address/socket_address/port_value").and_then(Value::as_u64)
}

/// The revision of an istiod by its address: `istiod.NAMESPACE.svc:15012`, `istiod-REVISION.NAMESPACE...`;
/// `None` for any other, as of an istiod outside the cluster.
fn revision(address: &str) -> Option<String> {
    let host = address.split(['.', ':']).next()?;
    match host.strip_prefix("istiod")? {
        "" => Some(DEFAULT_REVISION.to_owned()),
        rest => rest.strip_prefix('-').map(str::to_owned),
    }
}
