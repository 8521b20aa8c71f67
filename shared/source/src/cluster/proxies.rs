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
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{self, Runtime};

use super::request::Server;
use super::{Connection, Error, client};

/// Where Envoy's admin interface listens.
const ADMIN_PORT: u16 = 15000;

/// Port-forwards under way at the same time. Each is a connection of its own to the node.
const SIDE_BY_SIDE: usize = 4;

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
        let Some(runtime) = &self.runtime else { return Vec::new() };
        let reading = stream::iter(pods).map(|of| read(&self.server, of)).buffered(SIDE_BY_SIDE);
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

async fn read(server: &Server, of: &ProxyOf) -> Result<ProxyDump, Error> {
    let after = server.timeout.unwrap_or(PATIENCE);
    let reading = forwarded(server, of);
    let timeout = |_| Err(Error::Timeout { host: server.host.clone(), after });
    tokio::time::timeout(after, reading).await.unwrap_or_else(timeout)
}

/// Reads through a port-forward.
async fn forwarded(server: &Server, of: &ProxyOf) -> Result<ProxyDump, Error> {
    let pods: Api<Pod> = Api::namespaced(server.client.clone(), &of.namespace);
    let mut forward =
        pods.portforward(&of.pod, &[ADMIN_PORT]).await.map_err(|error| refusal(server, &error))?;
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
        read = fetch(stream, &of.ports) => read,
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
async fn fetch<S>(stream: S, ports: &[u16]) -> Result<ProxyDump, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |path: &str, reason: String| Error::Answer { path: path.to_owned(), reason };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken("/server_info", error.to_string()))?;
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
    let server = ask("/server_info").await;
    let read = match server {
        Ok(server) => ask(&inbound_listeners(ports)).await.map(|listeners| ProxyDump { listeners, server }),
        Err(error) => Err(error),
    };
    driver.abort();
    read
}

/// The inbound listeners alone: a dump of all that a proxy has can be many megabytes. A listener that a
/// Sidecar object binds to a port is called `ADDRESS_PORT`, as outbound ones are.
fn inbound_listeners(ports: &[u16]) -> String {
    let mut names = vec!["virtualInbound".to_owned()];
    names.extend(ports.iter().map(|port| format!(".*_{port}")));
    // Envoy matches whole names, and wants what stands in a query percent-encoded.
    let names = names.join("%7C");
    format!("/config_dump?resource=dynamic_listeners&name_regex={names}")
}
