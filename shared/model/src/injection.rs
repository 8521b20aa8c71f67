//! Whether a pod has a sidecar: what the injection webhook would do, or what is seen to be there.
//!
//! Rules: the webhooks' selectors in `istio-discovery/templates/mutatingwebhook.yaml`, then
//! `injectRequired` in `pkg/kube/inject/inject.go`.

use serde_json::Value;

use crate::labels::Labels;
use crate::mesh_config::list;

/// Whether a pod has a sidecar, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Injection {
    /// Whether it has one.
    pub injected: bool,
    /// Why, as the end of a sentence (`namespace orders has istio-injection=enabled`).
    pub reason: String,
    /// Whether that was assumed because the Namespace is not in the input.
    pub assumed: bool,
    /// The revision of istiod that serves it, as far as labels say.
    pub revision: String,
}

/// The revision of an istiod that was installed without one.
pub const DEFAULT_REVISION: &str = "default";

/// The name of the sidecar's container.
const PROXY: &str = "istio-proxy";

/// Namespaces that the webhook never touches (`IgnoredNamespaces`).
const IGNORED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// What is known of a pod, or of the template of one.
#[derive(Clone, Copy, Debug)]
pub struct PodFacts<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The labels of its Namespace, if that is in the input.
    pub namespace_labels: Option<&'a Labels>,
    /// Its labels.
    pub labels: &'a Labels,
    /// Its annotations.
    pub annotations: &'a Labels,
    /// Its spec.
    pub spec: &'a Value,
    /// Whether it is a pod that runs, and not what a manifest asks for.
    pub observed: bool,
    /// The mesh's root namespace.
    pub root_namespace: &'a str,
}

impl Injection {
    /// Decides for a pod.
    #[must_use]
    pub fn decide(pod: PodFacts<'_>) -> Self {
        let revision = pod
            .labels
            .get("istio.io/rev")
            .or_else(|| pod.namespace_labels.and_then(|labels| labels.get("istio.io/rev")))
            .map_or(DEFAULT_REVISION, String::as_str)
            .to_owned();
        let answer =
            |injected, reason: String| Self { injected, reason, assumed: false, revision: revision.clone() };
        if has_proxy(pod.spec) {
            return answer(true, format!("it has a container {PROXY}"));
        }
        if pod.observed {
            return answer(false, format!("the pod has no container {PROXY}"));
        }
        let webhook = Webhook::selects(pod);
        if !webhook.injected {
            return Self { revision, ..webhook };
        }
        if pod.spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
            return answer(false, "hostNetwork pods are never injected".to_owned());
        }
        if IGNORED.contains(&pod.namespace) {
            return answer(false, format!("namespace {} is never injected", pod.namespace));
        }
        let wish = pod.labels.get(INJECT).or_else(|| pod.annotations.get(INJECT));
        if wish.is_some_and(|wish| wish == "false") {
            return answer(false, format!("{INJECT} is \"false\" on the pod"));
        }
        Self { revision, ..webhook }
    }
}

const INJECT: &str = "sidecar.istio.io/inject";

/// The selectors of the four webhooks that a revision installs.
struct Webhook;

impl Webhook {
    fn selects(pod: PodFacts<'_>) -> Injection {
        let answer = |injected, reason: String| Injection {
            injected,
            reason,
            assumed: false,
            revision: String::new(),
        };
        let namespace = pod.namespace;
        let pod_wish = pod.labels.get(INJECT).map(String::as_str);
        if pod_wish == Some("false") {
            return answer(false, format!("label {INJECT}=false on the pod"));
        }
        let Some(labels) = pod.namespace_labels else {
            if namespace == pod.root_namespace && pod_wish != Some("true") {
                return answer(false, format!("the root namespace {namespace} is not injected by default"));
            }
            let reason = format!("namespace {namespace} is not in the input and taken to be injected");
            return Injection { assumed: pod_wish != Some("true"), ..answer(true, reason) };
        };
        match (labels.get("istio-injection").map(String::as_str), labels.get("istio.io/rev")) {
            (Some("enabled"), _) => {
                answer(true, format!("namespace {namespace} has istio-injection=enabled"))
            }
            (Some(other), _) => answer(false, format!("namespace {namespace} has istio-injection={other}")),
            (None, Some(rev)) => answer(true, format!("namespace {namespace} has istio.io/rev={rev}")),
            (None, None) => match (pod.labels.get("istio.io/rev"), pod_wish) {
                (Some(rev), _) => answer(true, format!("the pod has istio.io/rev={rev}")),
                (None, Some("true")) => answer(true, format!("the pod has {INJECT}=true")),
                (None, _) => answer(
                    false,
                    format!("namespace {namespace} has neither istio-injection=enabled nor istio.io/rev"),
                ),
            },
        }
    }
}

fn has_proxy(spec: &Value) -> bool {
    let named = |container: &Value| container.get("name").and_then(Value::as_str) == Some(PROXY);
    // A native sidecar is an init container that stays.
    let stays = |container: &Value| container.get("restartPolicy").and_then(Value::as_str) == Some("Always");
    list(spec.get("containers")).iter().any(named)
        || list(spec.get("initContainers")).iter().any(|container| named(container) && stays(container))
}

/// The labels that the webhook adds, which policies can select by (`injection-template.yaml`).
pub(crate) fn add_labels(labels: &mut Labels, workload: &str, injection: &Injection) {
    let first = |names: [&str; 2], labels: &Labels| {
        names.iter().find_map(|name| labels.get(*name)).filter(|value| !value.is_empty()).cloned()
    };
    let name = first(["app.kubernetes.io/name", "app"], labels).unwrap_or_else(|| workload.to_owned());
    let revision = first(["app.kubernetes.io/version", "version"], labels);
    let revision = revision.unwrap_or_else(|| "latest".to_owned());
    for (label, value) in [
        ("security.istio.io/tlsMode", "istio".to_owned()),
        ("service.istio.io/canonical-name", name),
        ("service.istio.io/canonical-revision", revision),
        ("istio.io/rev", injection.revision.clone()),
    ] {
        labels.entry(label.to_owned()).or_insert(value);
    }
}
