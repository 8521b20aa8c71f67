use mesh_model::canary::owner::owners;

use crate::support::objects;

fn tools(metadata: &str) -> Vec<&'static str> {
    let text = format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: a, namespace: shop, {metadata}}}, spec: {{}}}}"
    );
    objects(&text).iter().flat_map(owners).map(|owner| owner.tool).collect()
}

#[test]
fn each_tool_is_known_by_its_mark() {
    for (metadata, tool) in [
        (
            "annotations: {argocd.argoproj.io/tracking-id: 'shop:networking.istio.io/VirtualService:shop/a'}",
            "Argo CD",
        ),
        ("labels: {argocd.argoproj.io/instance: shop}", "Argo CD"),
        ("labels: {kustomize.toolkit.fluxcd.io/name: shop}", "Flux"),
        ("labels: {helm.toolkit.fluxcd.io/name: shop}", "Flux (HelmRelease)"),
        ("annotations: {meta.helm.sh/release-name: shop}", "Helm"),
        ("annotations: {argo-rollouts.argoproj.io/managed-by-rollouts: server}", "Argo Rollouts"),
        (
            "ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: server, uid: x}]",
            "Flagger",
        ),
    ] {
        assert_eq!(tools(metadata), [tool], "{metadata}");
    }
}

#[test]
fn nobody_owns_what_has_no_mark() {
    assert_eq!(tools("labels: {app: server}"), [""; 0]);
    // A Canary of somebody else.
    assert_eq!(
        tools("ownerReferences: [{apiVersion: example.com/v1, kind: Canary, name: server, uid: x}]"),
        [""; 0]
    );
}
