//! Who else writes an object, and would undo a change of it.

use serde_json::Value;

use crate::mesh_config::list;
use crate::object::Object;

/// A tool that writes objects by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The tool.
    pub tool: &'static str,
    /// What of the object says so.
    pub evidence: String,
    /// What it does with our change.
    pub effect: &'static str,
}

/// Who owns an object, by the marks that tools leave on it.
///
/// Sources: Argo CD "Resource Tracking" (`argocd.argoproj.io/tracking-id`, `app.kubernetes.io/instance`), Flux
/// kustomize-controller and helm-controller (`*.toolkit.fluxcd.io/name`), Helm (`meta.helm.sh/release-name`),
/// Argo Rollouts (`argo-rollouts.argoproj.io/managed-by-rollouts`), Flagger (ownerReference of kind Canary).
#[must_use]
pub fn owners(object: &Object) -> Vec<Owner> {
    let mut found = Vec::new();
    let label = |name: &str| mark(object, "labels", name);
    let annotation = |name: &str| mark(object, "annotations", name);
    let mut tell = |tool, mark: Option<String>, effect| {
        found.extend(mark.map(|evidence| Owner { tool, evidence, effect }));
    };
    const HEALS: &str = "with self-heal on it puts the weights of git back within minutes";
    tell(
        "Argo CD",
        annotation("argocd.argoproj.io/tracking-id").or_else(|| label("argocd.argoproj.io/instance")),
        HEALS,
    );
    tell(
        "Flux",
        label("kustomize.toolkit.fluxcd.io/name"),
        "it puts the weights of git back at its next interval",
    );
    tell(
        "Flux (HelmRelease)",
        label("helm.toolkit.fluxcd.io/name"),
        "with drift detection on it puts the chart's weights back",
    );
    tell(
        "Helm",
        annotation("meta.helm.sh/release-name"),
        "the next `helm upgrade` puts the chart's weights back",
    );
    tell(
        "Argo Rollouts",
        annotation("argo-rollouts.argoproj.io/managed-by-rollouts"),
        "its controller sets the weights by its own steps",
    );
    let flagger = list(object.get("/metadata/ownerReferences")).iter().find(|owner| {
        owner.get("kind").and_then(Value::as_str) == Some("Canary")
            && owner.get("apiVersion").and_then(Value::as_str).is_some_and(|v| v.starts_with("flagger.app/"))
    });
    tell(
        "Flagger",
        flagger.map(|owner| {
            let name = owner.get("name").and_then(Value::as_str).unwrap_or_default();
            format!("ownerReference to Canary {name}")
        }),
        "its controller writes the whole VirtualService anew",
    );
    found
}

fn mark(object: &Object, map: &str, name: &str) -> Option<String> {
    let value = object.get("/metadata")?.get(map)?.get(name)?.as_str()?;
    let kind = map.strip_suffix('s').unwrap_or(map);
    Some(format!("{kind} {name}: {value}"))
}
