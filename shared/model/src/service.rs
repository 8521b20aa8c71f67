//! Services and the ports that they open on workloads.

use std::sync::Arc;

use serde_json::Value;

use crate::labels::Selector;
use crate::mesh_config::list;
use crate::object::Object;
use crate::protocol::PortProtocol;

/// `targetPort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A number.
    Number(u16),
    /// The name of a container port.
    Name(String),
}

/// One of a Service's ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `port`: what clients use.
    pub port: u16,
    /// `name`.
    pub name: String,
    /// `targetPort`, `port` where absent.
    pub target: TargetPort,
    /// The protocol.
    pub protocol: PortProtocol,
    /// Where the protocol comes from.
    pub reason: String,
    /// Whether it is declared to be TLS, of which callers' proxies read the server name.
    pub is_tls: bool,
}

/// A Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// The object it was read from.
    pub object: Arc<Object>,
    /// `selector`; `None` where absent or empty: it selects nothing.
    pub selector: Option<Selector>,
    /// The ports.
    pub ports: Vec<ServicePort>,
    /// `clusterIP: None`.
    pub headless: bool,
    /// Annotation `networking.istio.io/exportTo`; `None` where absent.
    pub export_to: Option<Vec<String>>,
    /// `creationTimestamp`; empty in manifests. RFC 3339 in UTC, so it sorts as text.
    pub created: String,
}

impl Service {
    /// Reads one.
    #[must_use]
    pub fn read(object: &Arc<Object>) -> Self {
        let spec = object.get("/spec").unwrap_or(&Value::Null);
        let external = spec.get("type").and_then(Value::as_str) == Some("ExternalName");
        let selector = Selector::match_labels(spec.get("selector"));
        let ports = list(spec.get("ports")).iter().filter_map(read_port).collect();
        Self {
            selector: (!selector.is_empty() && !external).then_some(selector),
            ports,
            headless: spec.get("clusterIP").and_then(Value::as_str) == Some("None"),
            export_to: crate::policy::annotation(object, "networking.istio.io/exportTo")
                .map(|list| list.split(',').map(|name| name.trim().to_owned()).collect()),
            created: created(object),
            object: Arc::clone(object),
        }
    }

    /// The name that clients know it by in the whole cluster.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.object.name, self.object.namespace)
    }
}

pub(crate) fn created(object: &Object) -> String {
    object.get("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A number of JSON that is a port.
pub(crate) fn port_number(value: Option<&Value>) -> Option<u16> {
    value?.as_u64()?.try_into().ok()
}

fn read_port(value: &Value) -> Option<ServicePort> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let port = port_number(value.get("port"))?;
    let target = match value.get("targetPort") {
        Some(Value::String(name)) => match name.parse() {
            Ok(number) => TargetPort::Number(number),
            Err(_) => TargetPort::Name(name.clone()),
        },
        other => TargetPort::Number(port_number(other).filter(|number| *number != 0).unwrap_or(port)),
    };
    let name = text("name").unwrap_or_default();
    let (protocol, reason) =
        PortProtocol::of_service_port(port, name, text("protocol").unwrap_or("TCP"), text("appProtocol"));
    let word = text("appProtocol").unwrap_or(name);
    let is_tls = matches!(
        word.split_once('-').map_or(word, |(word, _)| word).to_ascii_lowercase().as_str(),
        "tls" | "https"
    );
    Some(ServicePort { port, name: name.to_owned(), target, protocol, reason, is_tls })
}
