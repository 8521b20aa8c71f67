//! What running proxies say of themselves, by Envoy's admin interface.
//!
//! That listens on the pod's own loopback (`ProxyConfig.proxyAdminPort`, 15000), where only a port-forward
//! gets: the API server's pod proxy talks to the pod's address.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{self, Runtime};

use super::request::Server;
use super::{Connection, Error, client};

/// Where Envoy's admin interface listens.
const ADMIN_PORT: u16 = 15000;

/// Port-forwards under way at the same time. Each is a connection of its own to the node.
const SIDE_BY_SIDE: usize = 8;

/// How long one proxy may take, where `--request-timeout` does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than the inbound listener of any workload; what is larger is not read to its end.
const MOST_BYTES: usize = 64 << 20;

/// Whose proxy, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyOf {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The ports on which it may have inbound listeners of their own.
    pub ports: Vec<u16>,
}

/// Whose proxy, and which resources of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourcesOf {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// What `/config_dump` calls a kind of resource, and a regular expression for whole names.
    pub resources: Vec<(&'static str, String)>,
}

/// What a proxy said.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyDump {
    /// `/config_dump`, its inbound listeners.
    pub listeners: Value,
    /// `/server_info`.
    pub server: Value,
}

/// A connection through which proxies are read.
pub struct Proxies {
    /// An option only to be taken when it ends.
    runtime: Option<Runtime>,
    server: Server,
}

impl Proxies {
    /// Connects to a cluster. Nothing is sent yet, but a credential plugin runs here.
    ///
    /// # Errors
    /// No usable configuration.
    pub fn connect(connection: &Connection) -> Result<Self, Error> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
        let (server, _) = runtime.block_on(client::connect(connection))?;
        Ok(Self { runtime: Some(runtime), server })
    }

    /// Reads the proxies of pods, a few side by side; the answers are in the order of the pods. What goes
    /// wrong with one does not disturb the others.
    pub fn read(&self, pods: &[ProxyOf]) -> Vec<Result<ProxyDump, Error>> {
        let asked = pods.iter().map(|of| {
            let paths = vec!["/server_info".to_owned(), inbound_listeners(&of.ports)];
            (of.namespace.as_str(), of.pod.as_str(), paths)
        });
        let as_dump = |mut answers: Vec<Value>| {
            let listeners = answers.pop().unwrap_or_default();
            ProxyDump { listeners, server: answers.pop().unwrap_or_default() }
        };
        self.ask(asked.collect()).into_iter().map(|answers| answers.map(as_dump)).collect()
    }

    /// Reads resources of proxies, in the same way: one dump for each kind asked for.
    pub fn resources(&self, pods: &[ResourcesOf]) -> Vec<Result<Vec<Value>, Error>> {
        let asked = pods.iter().map(|of| {
            let paths = of.resources.iter().map(|(kind, names)| config_dump(kind, names)).collect();
            (of.namespace.as_str(), of.pod.as_str(), paths)
        });
        self.ask(asked.collect())
    }

    /// Asks the proxies of pods (by namespace and name) for some paths each.
    fn ask(&self, asked: Vec<(&str, &str, Vec<String>)>) -> Vec<Result<Vec<Value>, Error>> {
        let Some(runtime) = &self.runtime else { return Vec::new() };
        let reading = stream::iter(asked)
            .map(|(namespace, pod, paths)| read(&self.server, namespace, pod, paths))
            .buffered(SIDE_BY_SIDE);
        runtime.block_on(reading.collect())
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        // A look-up of a host's name cannot be stopped, and need not be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn read(server: &Server, namespace: &str, pod: &str, paths: Vec<String>) -> Result<Vec<Value>, Error> {
    let after = server.timeout.unwrap_or(PATIENCE);
    let reading = forwarded(server, namespace, pod, &paths);
    let timeout = |_| Err(Error::Timeout { host: server.host.clone(), after });
    tokio::time::timeout(after, reading).await.unwrap_or_else(timeout)
}

/// Reads through a port-forward.
async fn forwarded(
    server: &Server,
    namespace: &str,
    pod: &str,
    paths: &[String],
) -> Result<Vec<Value>, Error> {
    let pods: Api<Pod> = Api::namespaced(server.client.clone(), namespace);
    let mut forward = pods.portforward(pod, &[ADMIN_PORT]).await.map_err(|error| refusal(server, &error))?;
    let stream = forward.take_stream(ADMIN_PORT);
    let failure = forward.take_error(ADMIN_PORT);
    let (Some(stream), Some(failure)) = (stream, failure) else {
        return Err(Error::Server {
            reason: String::new(),
            message: "the port-forward has no stream".into(),
        });
    };
    // The node's words, where it cannot reach the port: they come beside the stream, which stays silent.
    let failure = async {
        match failure.await {
            Some(message) => message,
            None => std::future::pending().await,
        }
    };
    let read = tokio::select! {
        biased;
        message = failure => Err(Error::Server { reason: String::new(), message: message.trim().to_owned() }),
        read = fetch(stream, paths) => read,
    };
    forward.abort();
    read
}

/// Sorts what the API server says to a port-forward.
fn refusal(server: &Server, error: &kube::Error) -> Error {
    let kube::Error::Api(status) = error else { return server.unreachable(error) };
    let message =
        if status.message.is_empty() { format!("status {}", status.code) } else { status.message.clone() };
    match status.code {
        401 => Error::Unauthorized { message },
        403 => Error::Forbidden { message },
        _ => Error::Server { reason: status.reason.clone(), message },
    }
}

/// Asks the admin interface on the other end of a stream.
async fn fetch<S>(stream: S, paths: &[String]) -> Result<Vec<Value>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |path: &str, reason: String| Error::Answer { path: path.to_owned(), reason };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken("/", error.to_string()))?;
    let driver = tokio::spawn(connection);
    let mut ask = async |path: &str| {
        let request = Request::get(path)
            .header(header::HOST, "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(|error| broken(path, error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| broken(path, error.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_BYTES);
        let bytes = body.collect().await.map_err(|error| broken(path, error.to_string()))?.to_bytes();
        if status != StatusCode::OK {
            let text: String = String::from_utf8_lossy(&bytes).trim().chars().take(200).collect();
            return Err(broken(path, format!("{status}: {text}")));
        }
        serde_json::from_slice::<Value>(&bytes).map_err(|error| broken(path, error.to_string()))
    };
    let mut answers = Vec::new();
    for path in paths {
        match ask(path).await {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                driver.abort();
                return Err(error);
            }
        }
    }
    driver.abort();
    Ok(answers)
}

/// The inbound listeners alone: a dump of all that a proxy has can be many megabytes. A listener that a
/// Sidecar object binds to a port is called `ADDRESS_PORT`, as outbound ones are.
fn inbound_listeners(ports: &[u16]) -> String {
    let mut names = vec!["virtualInbound".to_owned()];
    names.extend(ports.iter().map(|port| format!(".*_{port}")));
    config_dump("dynamic_listeners", &names.join("|"))
}

/// Envoy matches whole names, and wants what stands in a query percent-encoded.
fn config_dump(kind: &str, names: &str) -> String {
    let names = utf8_percent_encode(names, NON_ALPHANUMERIC);
    format!("/config_dump?resource={kind}&name_regex={names}")
}
