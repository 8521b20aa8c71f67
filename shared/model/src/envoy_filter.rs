//! EnvoyFilter: only whether one may change what a workload lets in.

use serde_json::Value;

use crate::labels::Selector;
use crate::mesh_config::list;
use crate::object::Object;
use crate::workload::Workload;

/// Filters that never decide whether a request is let through.
const HARMLESS: [&str; 6] = [
    "istio.stats",
    "istio.alpn",
    "istio.metadata_exchange",
    "envoy.filters.http.grpc_stats",
    "envoy.filters.http.fault",
    "envoy.filters.http.cors",
];

/// Whether an EnvoyFilter applies to a workload and patches its inbound side with something that
/// could decide about requests. Patches of clusters and bootstrap, outbound patches and filters
/// that only watch do not count.
#[must_use]
pub fn changes_inbound(object: &Object, workload: &Workload, root_namespace: &str) -> bool {
    let spec = object.get("/spec").unwrap_or(&Value::Null);
    let here = object.namespace == workload.namespace || object.namespace == root_namespace;
    here && Selector::match_labels(spec.pointer("/workloadSelector/labels")).selects(&workload.labels)
        && list(spec.get("configPatches")).iter().any(is_decisive)
}

fn is_decisive(patch: &Value) -> bool {
    let text = |pointer: &str| patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let inbound = matches!(text("/match/context"), "" | "ANY" | "SIDECAR_INBOUND" | "GATEWAY");
    let decides = matches!(
        text("/applyTo"),
        "HTTP_FILTER"
            | "NETWORK_FILTER"
            | "FILTER_CHAIN"
            | "LISTENER"
            | "LISTENER_FILTER"
            | "VIRTUAL_HOST"
            | "HTTP_ROUTE"
            | "ROUTE_CONFIGURATION"
    );
    let filter = text("/patch/value/name");
    let changed = text("/match/listener/filterChain/filter/subFilter/name");
    let harmless = if filter.is_empty() { changed } else { filter };
    inbound && decides && !HARMLESS.contains(&harmless)
}
