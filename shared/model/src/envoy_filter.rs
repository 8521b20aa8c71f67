//! EnvoyFilter: only whether one may change what a workload lets in, or where its requests go.

use serde_json::Value;

use crate::labels::Selector;
use crate::mesh_config::list;
use crate::object::Object;
use crate::workload::Workload;

/// Breaks requests on their way out, and has no part in what comes in.
const FAULT: &str = "envoy.filters.http.fault";

/// Parts of a proxy's configuration by which requests are let through or routed.
const DECISIVE: [&str; 8] = [
    "HTTP_FILTER",
    "NETWORK_FILTER",
    "FILTER_CHAIN",
    "LISTENER",
    "LISTENER_FILTER",
    "VIRTUAL_HOST",
    "HTTP_ROUTE",
    "ROUTE_CONFIGURATION",
];

/// Filters that never decide whether a request is let through.
const HARMLESS: [&str; 6] = [
    "istio.stats",
    "istio.alpn",
    "istio.metadata_exchange",
    "envoy.filters.http.grpc_stats",
    FAULT,
    "envoy.filters.http.cors",
];

/// Whether an EnvoyFilter applies to a workload and patches what decides which way its requests take.
/// Filters that only watch do not count.
#[must_use]
pub fn changes_outbound(object: &Object, workload: &Workload, root_namespace: &str) -> bool {
    applies(object, workload, root_namespace)
        && list(object.get("/spec/configPatches")).iter().any(|patch| {
            let text = |pointer: &str| patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let own = if workload.is_gateway { "GATEWAY" } else { "SIDECAR_OUTBOUND" };
            let outbound = ["", "ANY", own].contains(&text("/match/context"));
            let routes = text("/applyTo") == "CLUSTER" || DECISIVE.contains(&text("/applyTo"));
            let watches = HARMLESS.contains(&name_of_filter(patch)) && name_of_filter(patch) != FAULT;
            outbound && routes && !watches
        })
}

/// Whether an EnvoyFilter applies to a workload and patches its inbound side with something that
/// could decide about requests. Patches of clusters and bootstrap, outbound patches and filters
/// that only watch do not count.
#[must_use]
pub fn changes_inbound(object: &Object, workload: &Workload, root_namespace: &str) -> bool {
    applies(object, workload, root_namespace)
        && list(object.get("/spec/configPatches")).iter().any(is_decisive)
}

fn applies(object: &Object, workload: &Workload, root_namespace: &str) -> bool {
    let here = object.namespace == workload.namespace || object.namespace == root_namespace;
    here && Selector::match_labels(object.get("/spec/workloadSelector/labels")).selects(&workload.labels)
}

/// The name of the filter that a patch adds, else of the one that it changes.
fn name_of_filter(patch: &Value) -> &str {
    let text = |pointer: &str| patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match text("/patch/value/name") {
        "" => text("/match/listener/filterChain/filter/subFilter/name"),
        name => name,
    }
}

fn is_decisive(patch: &Value) -> bool {
    let text = |pointer: &str| patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let inbound = matches!(text("/match/context"), "" | "ANY" | "SIDECAR_INBOUND" | "GATEWAY");
    let decides = DECISIVE.contains(&text("/applyTo"));
    inbound && decides && !HARMLESS.contains(&name_of_filter(patch))
}
