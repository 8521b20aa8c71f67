//! Which versions of Istio's kinds the server serves.
//!
//! Istio 1.22 brought v1; EnvoyFilter is still v1alpha3 alone. A version means nothing to us (all
//! have the same fields), but the path of a list needs one that is served.

use std::collections::BTreeMap;

use mesh_model::object::Kind;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;
use super::request::{Failure, Server};

/// Best first.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha3"];

/// For the kinds of one API group that are installed, the version to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Served(BTreeMap<String, &'static str>);

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
}

impl Served {
    /// Asks the server about an API group; a group that is not installed serves nothing.
    pub(crate) async fn discover(server: &Server, group: &str) -> Result<Self, Failure> {
        let mut served = BTreeMap::new();
        let versions: Group = match document(server, &format!("/apis/{group}")).await {
            Ok(group) => group,
            Err(Failure::Absent) => return Ok(Self(served)),
            Err(Failure::Forbidden(_)) => return Ok(Self::assumed()),
            Err(failure) => return Err(failure),
        };
        for version in VERSIONS {
            if !versions.versions.iter().any(|served| served.version == version) {
                continue;
            }
            let resources: Resources = match document(server, &format!("/apis/{group}/{version}")).await {
                Ok(resources) => resources,
                // Removed in this very moment.
                Err(Failure::Absent) => continue,
                Err(Failure::Forbidden(_)) => return Ok(Self::assumed()),
                Err(failure) => return Err(failure),
            };
            for resource in resources.resources {
                served.entry(resource.name).or_insert(version);
            }
        }
        Ok(Self(served))
    }

    /// The version to read; `None` if the kind is not installed.
    pub(crate) fn version(&self, kind: Kind) -> Option<&'static str> {
        self.0.get(kind.plural()).copied()
    }

    /// What every Istio since 1.22 serves, for a server that does not let us ask.
    fn assumed() -> Self {
        let version = |kind: Kind| if kind == Kind::EnvoyFilter { "v1alpha3" } else { "v1" };
        Self(
            Kind::ALL
                .into_iter()
                .filter(|kind| kind.is_istio())
                .map(|kind| (kind.plural().to_owned(), version(kind)))
                .collect(),
        )
    }
}

/// Reads a discovery document.
async fn document<T: DeserializeOwned>(server: &Server, path: &str) -> Result<T, Failure> {
    let bytes = server.get(path).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::Answer { path: path.to_owned(), reason: error.to_string() }.into())
}
