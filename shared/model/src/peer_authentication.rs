//! PeerAuthentication: which connections a workload's sidecar takes.
//!
//! Rules: `ComposePeerAuthentication` in `pilot/pkg/security/authn/policy_applier.go` and
//! `pilot/pkg/model/authentication.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::injection::DEFAULT_REVISION;
use crate::labels::{Labels, Selector};
use crate::object::Object;
use crate::policy::Problem;
use crate::service::created;

/// `mtls.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Plaintext only.
    Disable,
    /// Mutual TLS and plaintext.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

impl Mode {
    /// The word in the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disable => "DISABLE",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
        }
    }

    /// Reads `mtls`; `None` for UNSET, absent and unknown words, which inherit.
    fn read(value: Option<&Value>) -> Option<Self> {
        match value?.get("mode")?.as_str()? {
            "STRICT" => Some(Self::Strict),
            "PERMISSIVE" => Some(Self::Permissive),
            "DISABLE" => Some(Self::Disable),
            _ => None,
        }
    }
}

/// A PeerAuthentication.
#[derive(Clone, Debug)]
pub struct PeerAuthentication {
    /// The object it was read from.
    pub object: Arc<Object>,
    /// `selector`; empty: the whole namespace, or the mesh in the root namespace.
    pub selector: Selector,
    /// `mtls.mode`; `None` inherits.
    pub mode: Option<Mode>,
    /// `portLevelMtls` by workload port; `None` inherits from the workload's mode.
    pub ports: BTreeMap<u16, Option<Mode>>,
    /// What the webhook would refuse.
    pub problems: Vec<Problem>,
    created: String,
}

impl PeerAuthentication {
    /// By namespace, then the oldest first, then by name: of several on one level the first wins.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let key = |policy: &Self| {
            (policy.object.namespace.clone(), policy.created.clone(), policy.object.name.clone())
        };
        key(self).cmp(&key(other))
    }

    /// Reads one.
    #[must_use]
    pub fn read(object: &Arc<Object>) -> Self {
        let spec = object.get("/spec").unwrap_or(&Value::Null);
        let mut problems = Vec::new();
        let mut ports = BTreeMap::new();
        check_mode(spec.get("mtls"), "/spec/mtls", &mut problems);
        for (port, mtls) in spec.get("portLevelMtls").and_then(Value::as_object).into_iter().flatten() {
            let pointer = format!("/spec/portLevelMtls/{port}");
            check_mode(Some(mtls), &pointer, &mut problems);
            match port.parse() {
                Ok(number) => drop(ports.insert(number, Mode::read(Some(mtls)))),
                Err(_) => {
                    let text = format!("`{port}` is not a port");
                    problems.push(Problem { pointer, text, unreadable: true });
                }
            }
        }
        Self {
            selector: Selector::match_labels(spec.pointer("/selector/matchLabels")),
            mode: Mode::read(spec.get("mtls")),
            ports,
            problems,
            created: created(object),
            object: Arc::clone(object),
        }
    }
}

fn check_mode(mtls: Option<&Value>, pointer: &str, problems: &mut Vec<Problem>) {
    let Some(mode) = mtls.and_then(|mtls| mtls.get("mode")) else { return };
    let known = ["STRICT", "PERMISSIVE", "DISABLE", "UNSET"];
    if !mode.as_str().is_some_and(|mode| known.contains(&mode)) {
        let text = format!("unknown mode {mode}; known are {}", known.join(", "));
        problems.push(Problem { pointer: format!("{pointer}/mode"), text, unreadable: true });
    }
}

/// The mode that is in force, and what set it.
#[derive(Clone, Debug)]
pub struct InForce<'a> {
    /// The mode.
    pub mode: Mode,
    /// What set it; `None` where it is Istio's default.
    pub by: Option<(&'a PeerAuthentication, String)>,
}

/// All PeerAuthentications of a World.
#[derive(Clone, Copy, Debug)]
pub struct PeerAuthentications<'a> {
    /// All of them: by namespace, the oldest first.
    pub all: &'a [PeerAuthentication],
    /// The mesh's root namespace.
    pub root_namespace: &'a str,
}

impl<'a> PeerAuthentications<'a> {
    /// The mode of a workload's port.
    #[must_use]
    pub fn of_port(&self, namespace: &str, labels: &Labels, port: u16) -> InForce<'a> {
        let revision = labels.get("istio.io/rev").map_or(DEFAULT_REVISION, String::as_str);
        let mut in_force = self.of_namespace(namespace, revision);
        // A selector in the root namespace is ignored, even for that namespace's own pods.
        let workload = self.first(namespace, revision, |policy| {
            namespace != self.root_namespace && !policy.selector.is_empty() && policy.selector.selects(labels)
        });
        let Some(workload) = workload else { return in_force };
        if let Some(mode) = workload.mode {
            in_force = InForce { mode, by: Some((workload, "/spec/mtls".to_owned())) };
        }
        match workload.ports.get(&port) {
            Some(Some(mode)) => {
                InForce { mode: *mode, by: Some((workload, format!("/spec/portLevelMtls/{port}"))) }
            }
            Some(None) | None => in_force,
        }
    }

    /// The mode of a namespace by a revision of istiod: what its clients go by.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str, revision: &str) -> InForce<'a> {
        let of = |namespace: &str| self.first(namespace, revision, |policy| policy.selector.is_empty());
        let own = if namespace == self.root_namespace { None } else { of(namespace) };
        for policy in [own, of(self.root_namespace)].into_iter().flatten() {
            if let Some(mode) = policy.mode {
                return InForce { mode, by: Some((policy, "/spec/mtls".to_owned())) };
            }
        }
        InForce { mode: Mode::Permissive, by: None }
    }

    /// Of several on one level the oldest wins, then the first by name; one that istiod cannot read
    /// is not there.
    fn first(
        &self,
        namespace: &str,
        revision: &str,
        wanted: impl Fn(&PeerAuthentication) -> bool,
    ) -> Option<&'a PeerAuthentication> {
        let start = self.all.partition_point(|policy| policy.object.namespace.as_str() < namespace);
        let rest = self.all.get(start..).unwrap_or_default();
        rest.iter()
            .take_while(|policy| policy.object.namespace == namespace)
            .filter(|policy| policy.problems.iter().all(|problem| !problem.unreadable))
            .filter(|policy| policy.object.is_for_revision(revision))
            .find(|policy| wanted(policy))
    }
}
