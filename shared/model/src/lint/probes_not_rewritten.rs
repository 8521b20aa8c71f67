//! Probes that reach the sidecar as anybody's requests.

use super::context::{Context, plaintext};
use super::finding::{Lint, Severity};
use crate::authorization::compile::Protocol;
use crate::authorization::request::Fact;
use crate::inbound;
use crate::mesh_config::list;
use crate::service::port_number;

pub(super) const LINT: Lint = Lint {
    code: "probes-not-rewritten",
    severity: Severity::Error,
    summary: "probes are not rewritten, and the sidecar refuses the kubelet's plaintext requests",
    check,
};

/// By default probes go to the agent on 15020, around all policies; with the annotation "false" they
/// arrive from the node, without identity (`injection-template.yaml`).
fn check(context: &mut Context<'_>) {
    for (number, workload) in context.all_guarded() {
        let rewritten = workload.annotations.get("sidecar.istio.io/rewriteAppHTTPProbers");
        if rewritten.map(String::as_str) != Some("false") {
            continue;
        }
        let object = &workload.object;
        let template = ["/spec/template", "/spec/jobTemplate/spec/template", ""]
            .into_iter()
            .find(|at| object.get(&format!("{at}/spec/containers")).is_some())
            .unwrap_or_default();
        'found: for (index, container) in
            list(object.get(&format!("{template}/spec/containers"))).iter().enumerate()
        {
            for kind in ["readinessProbe", "livenessProbe", "startupProbe"] {
                for action in ["httpGet", "tcpSocket", "grpc"] {
                    let Some(probe) = container.pointer(&format!("/{kind}/{action}")) else { continue };
                    let port = match probe.get("port").and_then(|port| port.as_str()) {
                        Some(name) => {
                            workload.ports.iter().find(|port| port.name == name).map(|port| port.port)
                        }
                        None => port_number(probe.get("port")),
                    };
                    let Some(port) = port else { continue };
                    let port = inbound::port(context.world, workload, port);
                    let speaks = if action == "tcpSocket" { Protocol::Tcp } else { Protocol::Http };
                    let mut sender = plaintext();
                    "the kubelet, in plaintext".clone_into(&mut sender.name);
                    let mut trial = context.plain(number, &port, speaks, &sender);
                    if action == "httpGet" {
                        let path = probe.get("path").and_then(|path| path.as_str()).unwrap_or("/");
                        trial.request.path = Fact::Known(path.to_owned());
                        trial.request.host = Fact::Absent;
                    }
                    if action == "grpc" {
                        trial.request.method = Fact::Known("POST".to_owned());
                        trial.request.path = Fact::Known("/grpc.health.v1.Health/Check".to_owned());
                    }
                    if !context.is_refused(&trial) {
                        continue;
                    }
                    let example = context
                        .example(&trial, "let through: the pod is restarted or never ready without it");
                    let text = format!(
                        "sidecar.istio.io/rewriteAppHTTPProbers is \"false\", so the {kind} of {} comes as a plaintext request, which is refused",
                        workload.key()
                    );
                    let fix =
                        "Take the annotation out, or allow the probe's path on a port that takes plaintext.";
                    let pointer = format!("{template}/spec/containers/{index}/{kind}");
                    context.report(object, &pointer, text, Some(example), fix);
                    break 'found;
                }
            }
        }
    }
}
