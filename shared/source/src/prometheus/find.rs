//! The Prometheus of a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;

use super::link::Link;
use super::{Error, Options};
use crate::cluster::{self, Connection, Failure, Server};

/// Labels by which the usual charts and operators mark the Service of a Prometheus.
const SELECTORS: [&str; 3] = [
    "app.kubernetes.io/name=prometheus",
    "app in (prometheus,kube-prometheus-stack-prometheus)",
    "operated-prometheus=true",
];

/// Where Istio's own sample puts it, for those who copied it without its labels.
const SAMPLE: (&str, &str, u16) = ("istio-system", "prometheus", 9090);

/// What the usual charts call it, for those who may not list Services.
const WELL_KNOWN: [(&str, &str, u16); 5] = [
    SAMPLE,
    ("monitoring", "prometheus-operated", 9090),
    ("monitoring", "prometheus-k8s", 9090),
    ("monitoring", "prometheus-server", 80),
    ("prometheus", "prometheus-server", 80),
];

/// The Service that the operator makes for every Prometheus, beside which there is often another one.
const OPERATED: &str = "prometheus-operated";

/// How long one candidate may take, at most: others are waiting.
const PROBE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct List {
    items: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    ports: Vec<Port>,
}

#[derive(Deserialize)]
struct Port {
    #[serde(default)]
    name: String,
    port: u16,
}

/// A port that may be Prometheus'.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    namespace: String,
    name: String,
    port: u16,
    is_https: bool,
}

/// Finds the one Prometheus of a cluster that has Istio's metrics, or that is the only one.
pub(crate) async fn in_cluster(connection: &Connection, options: &Options) -> Result<(Link, bool), Error> {
    let server = cluster::connect_for_proxy(connection).await?;
    let candidates = candidates(&server).await?;
    let deadline = options.deadline;
    let to = |candidate: &Candidate, deadline| {
        let Candidate { namespace, name, port, is_https } = candidate;
        Link::to_service(&server, namespace, name, *port, *is_https, deadline)
    };
    let probed = join_all(candidates.iter().map(|candidate| {
        let quick = to(candidate, deadline.min(PROBE));
        let link = to(candidate, deadline);
        async move { (candidate, link, quick.has_istio().await) }
    }))
    .await;
    choose(probed)
}

/// Chooses among those that were asked.
fn choose(probed: Vec<(&Candidate, Link, Result<bool, Error>)>) -> Result<(Link, bool), Error> {
    let mut answered = Vec::new();
    let mut tried = Vec::new();
    for (candidate, link, has_istio) in probed {
        match has_istio {
            Ok(has_istio) => answered.push((candidate, link, has_istio)),
            // The API server itself is out of reach: nobody else will be reached either.
            Err(error @ Error::Cluster(_)) => return Err(error),
            Err(error) => tried.push(error),
        }
    }
    if answered.iter().any(|(_, _, has_istio)| *has_istio) {
        answered.retain(|(_, _, has_istio)| *has_istio);
    }
    // The same Prometheus under two names.
    let others: Vec<String> = answered
        .iter()
        .filter(|(candidate, _, _)| candidate.name != OPERATED)
        .map(|(candidate, _, _)| candidate.namespace.clone())
        .collect();
    answered.retain(|(candidate, _, _)| candidate.name != OPERATED || !others.contains(&candidate.namespace));
    if answered.len() > 1 {
        return Err(Error::Several { names: answered.into_iter().map(|(_, link, _)| link.name).collect() });
    }
    match answered.pop() {
        Some((_, link, has_istio)) => Ok((link, has_istio)),
        None => Err(Error::NotFound { tried }),
    }
}

/// The ports to ask.
async fn candidates(server: &Server) -> Result<Vec<Candidate>, Error> {
    let mut found = BTreeMap::new();
    let lists = SELECTORS.map(|selector| {
        let selector = selector.replace(' ', "%20").replace('=', "%3D").replace(',', "%2C");
        async move { server.get(&format!("/api/v1/services?labelSelector={selector}")).await }
    });
    for answer in join_all(lists).await {
        let services = match answer {
            Ok(bytes) => read::<List>(&bytes, "/api/v1/services")?.items,
            Err(Failure::Forbidden(_)) => return Ok(well_known()),
            Err(Failure::Fatal(error)) => return Err(error.into()),
            Err(Failure::Absent | Failure::Expired) => Vec::new(),
        };
        for service in services {
            let Metadata { namespace, name } = service.metadata;
            if let Some((port, is_https)) = port(&service.spec.ports) {
                let candidate =
                    Candidate { namespace: namespace.clone(), name: name.clone(), port, is_https };
                found.insert((namespace, name), candidate);
            }
        }
    }
    let (namespace, name, _) = SAMPLE;
    let path = format!("/api/v1/namespaces/{namespace}/services/{name}");
    match server.get(&path).await {
        Ok(bytes) => {
            if let Some((port, is_https)) = port(&read::<Service>(&bytes, &path)?.spec.ports) {
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                let candidate =
                    Candidate { namespace: namespace.clone(), name: name.clone(), port, is_https };
                found.insert((namespace, name), candidate);
            }
        }
        Err(Failure::Fatal(error)) => return Err(error.into()),
        Err(_) => {}
    }
    Ok(found.into_values().collect())
}

fn well_known() -> Vec<Candidate> {
    let of = |&(namespace, name, port): &(&str, &str, u16)| Candidate {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        port,
        is_https: false,
    };
    WELL_KNOWN.iter().map(of).collect()
}

/// The port of the web interface, and whether it speaks TLS.
fn port(ports: &[Port]) -> Option<(u16, bool)> {
    const NAMES: [&str; 6] = ["http-web", "web", "http", "https-web", "https", "prometheus"];
    let named = NAMES.iter().find_map(|name| ports.iter().find(|port| port.name == *name));
    let only = if let [only] = ports { Some(only) } else { None };
    let chosen = named.or_else(|| ports.iter().find(|port| port.port == 9090)).or(only)?;
    Some((chosen.port, chosen.name.starts_with("https") || chosen.port == 443))
}

fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8], path: &str) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| cluster::Error::Answer { path: path.to_owned(), reason: error.to_string() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_web_interface() {
        let port = |ports: &[(&str, u16)]| {
            let ports: Vec<Port> =
                ports.iter().map(|&(name, port)| Port { name: name.into(), port }).collect();
            super::port(&ports)
        };
        assert_eq!(port(&[("reloader-web", 8080), ("http-web", 9090)]), Some((9090, false)));
        assert_eq!(port(&[("grpc", 10901), ("web", 80)]), Some((80, false)));
        assert_eq!(port(&[("grpc", 10901), ("", 9090)]), Some((9090, false)));
        assert_eq!(port(&[("anything", 1234)]), Some((1234, false)));
        assert_eq!(port(&[("https", 9091)]), Some((9091, true)));
        assert_eq!(port(&[("a", 1), ("b", 2)]), None);
        assert_eq!(port(&[]), None);
    }
}
