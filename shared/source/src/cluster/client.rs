//! The HTTP client for one [`Connection`].

use std::time::Duration;

use http::{Method, Request, Response};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder};
use tower::BoxError;
use tower::buffer::BufferLayer;
use tower::retry::{Policy, RetryLayer};
use tower::util::MapResponseLayer;

use super::kubeconfig::{Selected, Surroundings, select};
use super::request::Server;
use super::warnings::Warnings;
use super::{Connection, Error, credentials, proxy};

/// Requests that may wait for the connection's turn; far more than are ever under way.
const WAITING: usize = 64;

/// How often a request is sent again that the server was too busy for.
const RETRIES: u32 = 5;

/// Opens a connection. Nothing is sent yet, but a credential plugin of the kubeconfig runs here, and
/// may ask the user something: nothing of ours must be on the terminal.
///
/// Returns the server and its context's namespace.
pub(crate) async fn connect(connection: &Connection) -> Result<(Server, String), Error> {
    connect_with(connection, RETRIES).await
}

/// As [`connect`], for requests that go through the server to somebody else: 503 is then that other's answer,
/// to be shown and not to be waited out.
pub(crate) async fn connect_for_proxy(connection: &Connection) -> Result<Server, Error> {
    connect_with(connection, 0).await.map(|(server, _)| server)
}

async fn connect_with(connection: &Connection, retries: u32) -> Result<(Server, String), Error> {
    let selected = select(connection, &Surroundings::real())?;
    let namespace = selected.namespace.clone();
    let server = open(selected, connection.request_timeout, retries).await?;
    Ok((server, namespace))
}

async fn open(mut selected: Selected, timeout: Option<Duration>, retries: u32) -> Result<Server, Error> {
    credentials::resolve(&mut selected.user, &selected.cluster)?;
    let proxy = selected.cluster.proxy_url.clone().filter(|url| !url.is_empty());
    let mut configuration = selected.configuration().await?;
    proxy::correct(&mut configuration, proxy.as_deref())?;
    // kube's own retries go on for minutes, which looks like a hang.
    configuration.default_retry = false;
    let host = host(&configuration.cluster_url);
    let warnings = Warnings::default();
    let listener = warnings.clone();
    let unusable = |reason: String| Error::Configuration { reason };
    let retry = RetryPolicy::new(Duration::from_millis(100), Duration::from_secs(2), retries, true)
        .map_err(|error| unusable(error.to_string()))?;
    let client = ClientBuilder::try_from(configuration)
        .map_err(|error| unusable(error.to_string()))?
        .with_layer(&MapResponseLayer::new(move |response: Response<_>| {
            listener.collect(response.headers());
            response
        }))
        .with_layer(&BufferLayer::new(WAITING))
        .with_layer(&RetryLayer::new(ReadsOnly(retry)))
        .build();
    Ok(Server { client, timeout, host, warnings })
}

/// Sends reads again that a busy server turned away. A write is sent once: a gateway that answers 503 or
/// 504 does not know what became of it.
#[derive(Clone)]
struct ReadsOnly(RetryPolicy);

impl<Res> Policy<Request<Body>, Response<Res>, BoxError> for ReadsOnly {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<Res>, BoxError>,
    ) -> Option<Self::Future> {
        self.0.retry(request, result)
    }

    /// What has no copy is not sent again.
    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        if request.method() != Method::GET {
            return None;
        }
        Policy::<_, Response<Res>, _>::clone_request(&mut self.0, request)
    }
}

/// Host and port, as kubectl names a server.
fn host(url: &http::Uri) -> String {
    let standard = if url.scheme_str() == Some("http") { 80 } else { 443 };
    format!("{}:{}", url.host().unwrap_or_default(), url.port_u16().unwrap_or(standard))
}
