//! One request to the API server, and what can come back.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::core::Status;

use super::Error;
use super::warnings::Warnings;

/// An API server, ready for requests.
pub(crate) struct Server {
    /// The client.
    pub(crate) client: Client,
    /// How long one request may take.
    pub(crate) timeout: Option<Duration>,
    /// Host and port, for messages.
    pub(crate) host: String,
    /// The warnings in all answers so far.
    pub(crate) warnings: Warnings,
}

/// Why a request brought nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 403: the server's words.
    Forbidden(String),
    /// 404: no such object or no such kind.
    Absent,
    /// 410: the rest of a list is gone, because it was read too slowly.
    Expired,
    /// Everything that ends the reading.
    Fatal(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl Server {
    /// Sends one request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Vec<u8>>) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.stream(request, &mut |piece| bytes.extend_from_slice(piece)).await?;
        Ok(bytes)
    }

    /// Sends one request and gives the answer away piece by piece.
    pub(crate) async fn stream(
        &self,
        request: Request<Vec<u8>>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failure> {
        let exchange = self.exchange(request, take);
        match self.timeout {
            None => exchange.await,
            Some(after) => tokio::time::timeout(after, exchange)
                .await
                .unwrap_or_else(|_| Err(Error::Timeout { host: self.host.clone(), after }.into())),
        }
    }

    /// Reads the document at a path.
    pub(crate) async fn get(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let request = Request::get(path)
            .body(Vec::new())
            .map_err(|error| Error::Configuration { reason: format!("{path}: {error}") })?;
        self.send(request).await
    }

    async fn exchange(&self, request: Request<Vec<u8>>, take: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
        let response =
            self.client.send(request.map(Body::from)).await.map_err(|error| self.unreachable(&error))?;
        let code = response.status();
        let mut body = response.into_body();
        let mut refused = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.unreachable(&error))?;
            match frame.data_ref() {
                Some(data) if code.is_success() => take(data),
                Some(data) => refused.extend_from_slice(data),
                None => {}
            }
        }
        if code.is_success() { Ok(()) } else { Err(refusal(code.as_u16(), &refused)) }
    }

    /// The error behind what the client could not do.
    pub(crate) fn unreachable(&self, error: &kube::Error) -> Error {
        match error {
            kube::Error::Auth(error) => Error::Credentials { reason: error.to_string(), install: None },
            other => Error::from_transport(other, &self.host),
        }
    }
}

/// Sorts an answer that is not a success. It is a `Status`, or, from a proxy on the way, any text.
fn refusal(code: u16, body: &[u8]) -> Failure {
    let status: Status = serde_json::from_slice(body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(body);
        Status { message: text.trim().to_owned(), ..Status::default() }
    });
    let message = if status.message.is_empty() { format!("status {code}") } else { status.message };
    match code {
        401 => Error::Unauthorized { message }.into(),
        403 => Failure::Forbidden(message),
        404 => Failure::Absent,
        410 => Failure::Expired,
        _ => Error::Server { reason: status.reason, message }.into(),
    }
}
