//! The two versions, and how metrics tell them apart.

use std::fmt;

use serde::Serialize;

use super::Labels;

/// Which of the two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// The version that was there.
    Stable,
    /// The version under trial.
    Canary,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stable => "stable",
            Self::Canary => "the canary",
        })
    }
}

/// Which proxy counted a request: Istio's label `reporter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reporter {
    /// The client's.
    Source,
    /// The server's.
    Destination,
}

impl Reporter {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Source, Self::Destination];

    /// The reporter that counted a series; a waypoint's belong to ambient and are none of ours.
    #[must_use]
    pub fn of(labels: &Labels) -> Option<Self> {
        match label(labels, "reporter") {
            "source" => Some(Self::Source),
            "destination" => Some(Self::Destination),
            _ => None,
        }
    }
}

impl fmt::Display for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "the clients' proxies",
            Self::Destination => "the servers' proxies",
        })
    }
}

/// What the pods of a version are called in metrics.
///
/// A subset of a DestinationRule selects pods by any labels, which metrics do not have. They have the
/// workload that the pods belong to, and the pods' label `version` (Istio's standard metrics). Workloads are
/// preferred: `version` is often missing, then Istio says `unknown`, and it may be the same in two
/// Deployments that another label tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// `destination_workload` and `destination_workload_namespace`.
    Workload {
        /// The workload's namespace.
        namespace: String,
        /// The Deployment's (or other owner's) name.
        name: String,
    },
    /// `destination_version`.
    Version(String),
}

impl Identity {
    fn is_of(&self, labels: &Labels) -> bool {
        match self {
            Self::Workload { namespace, name } => {
                label(labels, "destination_workload") == name
                    && label(labels, "destination_workload_namespace") == namespace
            }
            Self::Version(version) => label(labels, "destination_version") == version,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload { namespace, name } => write!(f, "workload {namespace}/{name}"),
            Self::Version(version) => write!(f, "version {version}"),
        }
    }
}

/// The two versions cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indistinct {
    /// What both have, or nothing, where one version has no name at all.
    pub shared: Option<Identity>,
}

impl fmt::Display for Indistinct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shared {
            Some(shared) => write!(
                f,
                "metrics cannot tell the canary from stable: {shared} is in both. Give each version a \
                 Deployment of its own"
            ),
            None => f.write_str("metrics cannot tell the canary from stable: one of them has no workload"),
        }
    }
}

impl std::error::Error for Indistinct {}

/// The stable version and the canary, told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    stable: Vec<Identity>,
    canary: Vec<Identity>,
}

impl Versions {
    /// Takes what the pods of each are called.
    ///
    /// # Errors
    /// If they cannot be told apart: one name in both, or none in one.
    pub fn new(stable: Vec<Identity>, canary: Vec<Identity>) -> Result<Self, Indistinct> {
        if let Some(shared) = canary.iter().find(|identity| stable.contains(identity)) {
            return Err(Indistinct { shared: Some(shared.clone()) });
        }
        if stable.is_empty() || canary.is_empty() {
            return Err(Indistinct { shared: None });
        }
        Ok(Self { stable, canary })
    }

    /// What the pods of a version are called.
    #[must_use]
    pub fn of(&self, role: Role) -> &[Identity] {
        match role {
            Role::Stable => &self.stable,
            Role::Canary => &self.canary,
        }
    }

    /// The version that a series counts requests to.
    #[must_use]
    pub fn role(&self, labels: &Labels) -> Option<Role> {
        [Role::Canary, Role::Stable]
            .into_iter()
            .find(|&role| self.of(role).iter().any(|identity| identity.is_of(labels)))
    }
}

/// A label, which Prometheus holds for the same as empty when it is missing.
pub(crate) fn label<'a>(labels: &'a Labels, name: &str) -> &'a str {
    labels.get(name).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(name: &str) -> Identity {
        Identity::Workload { namespace: "shop".into(), name: name.into() }
    }

    #[test]
    fn versions_are_told_apart_by_namespace_and_name() {
        let versions = Versions::new(vec![workload("v1")], vec![workload("v2")]).unwrap();
        let role = |namespace: &str, name: &str| {
            versions.role(&Labels::from([
                ("destination_workload".to_owned(), name.to_owned()),
                ("destination_workload_namespace".to_owned(), namespace.to_owned()),
            ]))
        };
        assert_eq!(role("shop", "v1"), Some(Role::Stable));
        assert_eq!(role("shop", "v2"), Some(Role::Canary));
        assert_eq!(role("other", "v2"), None);
        assert_eq!(versions.role(&Labels::new()), None);
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        let shared = Versions::new(vec![workload("v1")], vec![workload("v2"), workload("v1")]).unwrap_err();
        assert_eq!(
            shared.to_string(),
            "metrics cannot tell the canary from stable: workload shop/v1 is in both. Give each version a \
             Deployment of its own"
        );
        assert_eq!(Versions::new(vec![], vec![workload("v2")]).unwrap_err().shared, None);
    }
}
