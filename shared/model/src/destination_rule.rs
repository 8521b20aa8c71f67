//! DestinationRule: how clients connect. Here only what decides about TLS.
//!
//! Rules: `destinationRule` in `pilot/pkg/model/push_context.go` (which one applies) and
//! `trafficPolicyTLSModeForPort` in `pilot/pkg/xds/endpoints/mtls_checker.go`.

use std::sync::Arc;

use serde_json::Value;

use crate::host;
use crate::labels::Selector;
use crate::mesh_config::{list, strings};
use crate::object::Object;
use crate::service::{created, port_number};

/// `tls.mode` of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTls {
    /// Plaintext.
    Disable,
    /// The mesh's mutual TLS.
    IstioMutual,
    /// `SIMPLE` or `MUTUAL`: TLS without the mesh's identity.
    Foreign,
}

/// A DestinationRule.
#[derive(Clone, Debug)]
pub struct DestinationRule {
    /// The object it was read from.
    pub object: Arc<Object>,
    /// The host as a full name, perhaps with a leading wildcard.
    pub host: String,
    /// `exportTo`; `None` where absent.
    pub export_to: Option<Vec<String>>,
    /// `workloadSelector`: the clients it is for.
    pub workload_selector: Selector,
    /// `creationTimestamp`.
    pub created: String,
}

impl DestinationRule {
    /// Reads one.
    #[must_use]
    pub fn read(object: &Arc<Object>) -> Self {
        let spec = object.get("/spec").unwrap_or(&Value::Null);
        let name = spec.get("host").and_then(Value::as_str).unwrap_or_default();
        Self {
            host: host::resolve(name, &object.namespace),
            export_to: spec.get("exportTo").is_some().then(|| strings(spec.get("exportTo"))),
            workload_selector: Selector::match_labels(spec.pointer("/workloadSelector/matchLabels")),
            created: created(object),
            object: Arc::clone(object),
        }
    }

    /// The TLS mode for a service port, with the JSON pointer that sets it: a port's before the
    /// whole host's.
    #[must_use]
    pub fn tls(&self, port: u16) -> Option<(ClientTls, String)> {
        self.tls_under("/spec/trafficPolicy", port)
    }

    /// TLS modes of subsets that say something of their own.
    #[must_use]
    pub fn subset_tls(&self, port: u16) -> Vec<(String, ClientTls, String)> {
        list(self.object.get("/spec/subsets"))
            .iter()
            .enumerate()
            .filter_map(|(index, subset)| {
                let (tls, pointer) = self.tls_under(&format!("/spec/subsets/{index}/trafficPolicy"), port)?;
                Some((subset.get("name")?.as_str()?.to_owned(), tls, pointer))
            })
            .collect()
    }

    fn tls_under(&self, policy: &str, port: u16) -> Option<(ClientTls, String)> {
        let levels = list(self.object.get(&format!("{policy}/portLevelSettings")));
        for (index, level) in levels.iter().enumerate() {
            if port_number(level.pointer("/port/number")) == Some(port)
                && let Some(tls) = mode(level.get("tls"))
            {
                return Some((tls, format!("{policy}/portLevelSettings/{index}/tls")));
            }
        }
        let pointer = format!("{policy}/tls");
        mode(self.object.get(&pointer)).map(|tls| (tls, pointer))
    }

    /// Whether clients go to the addresses that they asked for (`loadBalancer.simple: PASSTHROUGH`).
    #[must_use]
    pub fn is_passthrough(&self) -> bool {
        self.object.get("/spec/trafficPolicy/loadBalancer/simple").and_then(Value::as_str)
            == Some("PASSTHROUGH")
    }
}

/// `tls` that is there without a mode is DISABLE, the default of the enum.
fn mode(tls: Option<&Value>) -> Option<ClientTls> {
    let tls = tls.filter(|tls| !tls.is_null())?;
    Some(match tls.get("mode").and_then(Value::as_str) {
        Some("ISTIO_MUTUAL") => ClientTls::IstioMutual,
        Some("SIMPLE" | "MUTUAL") => ClientTls::Foreign,
        _ => ClientTls::Disable,
    })
}
