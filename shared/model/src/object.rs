//! Objects as they were read, each with the place it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// The kinds that a World holds. Other kinds are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1/Namespace`: injection labels.
    Namespace,
    /// `v1/Service`: ports, selectors, exportTo.
    Service,
    /// `v1/Pod`: what really runs.
    Pod,
    /// `v1/ServiceAccount`: the identity behind a principal.
    ServiceAccount,
    /// `v1/ConfigMap`: only the mesh configuration (`istio`, `istio-REVISION`) in the root namespace.
    ConfigMap,
    /// `apps/v1/Deployment`.
    Deployment,
    /// `apps/v1/StatefulSet`.
    StatefulSet,
    /// `apps/v1/DaemonSet`.
    DaemonSet,
    /// `apps/v1/ReplicaSet`.
    ReplicaSet,
    /// `batch/v1/Job`.
    Job,
    /// `batch/v1/CronJob`.
    CronJob,
    /// `security.istio.io/AuthorizationPolicy`.
    AuthorizationPolicy,
    /// `security.istio.io/PeerAuthentication`.
    PeerAuthentication,
    /// `security.istio.io/RequestAuthentication`.
    RequestAuthentication,
    /// `networking.istio.io/DestinationRule`.
    DestinationRule,
    /// `networking.istio.io/VirtualService`.
    VirtualService,
    /// `networking.istio.io/Gateway`.
    Gateway,
    /// `networking.istio.io/Sidecar`.
    Sidecar,
    /// `networking.istio.io/ServiceEntry`.
    ServiceEntry,
    /// `networking.istio.io/EnvoyFilter`: only to say that it may change an answer.
    EnvoyFilter,
}

impl Kind {
    /// Every kind, in the order in which they are listed from a cluster.
    pub const ALL: [Self; 20] = [
        Self::Namespace,
        Self::Service,
        Self::Pod,
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::Job,
        Self::CronJob,
        Self::AuthorizationPolicy,
        Self::PeerAuthentication,
        Self::RequestAuthentication,
        Self::DestinationRule,
        Self::VirtualService,
        Self::Gateway,
        Self::Sidecar,
        Self::ServiceEntry,
        Self::EnvoyFilter,
    ];

    /// The API group, `""` for the core group.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Self::Namespace | Self::Service | Self::Pod | Self::ServiceAccount | Self::ConfigMap => "",
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::ReplicaSet => "apps",
            Self::Job | Self::CronJob => "batch",
            Self::AuthorizationPolicy | Self::PeerAuthentication | Self::RequestAuthentication => {
                "security.istio.io"
            }
            Self::DestinationRule
            | Self::VirtualService
            | Self::Gateway
            | Self::Sidecar
            | Self::ServiceEntry
            | Self::EnvoyFilter => "networking.istio.io",
        }
    }

    /// The kind as written in a manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::Pod => "Pod",
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::RequestAuthentication => "RequestAuthentication",
            Self::DestinationRule => "DestinationRule",
            Self::VirtualService => "VirtualService",
            Self::Gateway => "Gateway",
            Self::Sidecar => "Sidecar",
            Self::ServiceEntry => "ServiceEntry",
            Self::EnvoyFilter => "EnvoyFilter",
        }
    }

    /// The plural resource name of the API, as in `kubectl get authorizationpolicies`.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::Service => "services",
            Self::Pod => "pods",
            Self::ServiceAccount => "serviceaccounts",
            Self::ConfigMap => "configmaps",
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
            Self::ReplicaSet => "replicasets",
            Self::Job => "jobs",
            Self::CronJob => "cronjobs",
            Self::AuthorizationPolicy => "authorizationpolicies",
            Self::PeerAuthentication => "peerauthentications",
            Self::RequestAuthentication => "requestauthentications",
            Self::DestinationRule => "destinationrules",
            Self::VirtualService => "virtualservices",
            Self::Gateway => "gateways",
            Self::Sidecar => "sidecars",
            Self::ServiceEntry => "serviceentries",
            Self::EnvoyFilter => "envoyfilters",
        }
    }

    /// Whether objects of this kind live in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        self != Self::Namespace
    }

    /// Whether this is one of Istio's own kinds.
    #[must_use]
    pub fn is_istio(self) -> bool {
        self.group().ends_with(".istio.io")
    }

    /// The kind for an `apiVersion` and `kind`, whatever the version (Istio's v1, v1beta1 and
    /// v1alpha3 have the same meaning); `None` for kinds that a World does not hold.
    #[must_use]
    pub fn from_manifest(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Self::ALL.into_iter().find(|k| k.name() == kind && k.group() == group)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The line of each part of an object in its file, by JSON pointer (`/spec/rules/0/to/1`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(BTreeMap<Box<str>, u32>);

impl Lines {
    /// Records that the node at `pointer` starts on `line` (counted from 1).
    pub fn insert(&mut self, pointer: &str, line: u32) {
        self.0.insert(pointer.into(), line);
    }

    /// The line of the node at `pointer`, or of its nearest recorded ancestor.
    #[must_use]
    pub fn line_of(&self, pointer: &str) -> Option<u32> {
        let mut pointer = pointer;
        loop {
            if let Some(line) = self.0.get(pointer) {
                return Some(*line);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }
}

/// Where an object was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A live cluster.
    Cluster,
    /// A manifest.
    File {
        /// The path as the user gave it; `-` for standard input.
        path: Arc<str>,
        /// The line of the object's first key, counted from 1.
        line: u32,
        /// Lines of the parts (Istio's kinds only; others are shown by their first line).
        lines: Lines,
    },
}

/// An object of a known kind, with all its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for cluster-scoped kinds. Never empty for namespaced ones: whoever
    /// reads manifests fills in the default namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The whole object as read: `apiVersion`, `kind`, `metadata`, `spec`, ...
    pub value: Value,
    /// Where it was read.
    pub origin: Origin,
}

impl Object {
    /// Where the part at a JSON pointer stands: `file:line` for manifests, `namespace/name` for a
    /// cluster.
    #[must_use]
    pub fn at(&self, pointer: &str) -> String {
        match &self.origin {
            Origin::Cluster => self.key(),
            Origin::File { path, line, lines } => {
                format!("{path}:{}", lines.line_of(pointer).unwrap_or(*line))
            }
        }
    }

    /// `namespace/name`, or the name alone for cluster-scoped kinds.
    #[must_use]
    pub fn key(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }

    /// Label `istio.io/rev` of an object of Istio: only this revision of istiod reads it
    /// (`ObjectInRevision` in `pkg/config/model.go`).
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.get("/metadata/labels/istio.io~1rev").and_then(Value::as_str)
    }

    /// Whether istiod of a revision reads this object.
    #[must_use]
    pub fn is_for_revision(&self, revision: &str) -> bool {
        self.revision().is_none_or(|only| only == revision)
    }

    /// The value at a JSON pointer.
    #[must_use]
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }
}
