//! The logs of sidecars.

use std::time::Duration;

use kube::core::Request;
use kube::core::subresource::LogParams;
use tokio::runtime;

use super::request::{Failure, Server};
use super::{Connection, Error, client};

/// The container of a sidecar, and of a gateway's proxy.
const CONTAINER: &str = "istio-proxy";

/// Whose log, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// The pods' namespace.
    pub namespace: String,
    /// The pods, in the order in which they are read.
    pub pods: Vec<String>,
    /// Only what is younger.
    pub since: Option<Duration>,
    /// Only so many lines of each pod, the last ones.
    pub tail: Option<u64>,
}

/// A pod without a log that can be read.
#[derive(Debug)]
pub struct Unread {
    /// The pod.
    pub pod: String,
    /// Why.
    pub error: Error,
}

/// Reads the logs of the pods' sidecars, one pod after the other, and gives them to `take` piece by piece
/// as they come: with the pod's name, and at the end of each pod with an empty piece. Nothing is kept.
///
/// Returns the pods that could not be read, such as one that has gone meanwhile.
///
/// # Errors
/// No usable configuration, no connection, no login; and what the server says of the first pod if none
/// could be read.
pub fn read_logs(
    connection: &Connection,
    logs: &Logs,
    take: &mut dyn FnMut(&str, &[u8]),
) -> Result<Vec<Unread>, Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let unread = runtime.block_on(async {
        let (server, _) = client::connect(connection).await?;
        from_server(&server, logs, take).await
    });
    // A look-up of a host's name cannot be stopped, and need not be waited for.
    runtime.shutdown_background();
    unread
}

/// Reads from a server that is already chosen.
async fn from_server(
    server: &Server,
    logs: &Logs,
    take: &mut dyn FnMut(&str, &[u8]),
) -> Result<Vec<Unread>, Error> {
    let parameters = LogParams {
        container: Some(CONTAINER.to_owned()),
        since_seconds: logs.since.map(|since| i64::try_from(since.as_secs().max(1)).unwrap_or(i64::MAX)),
        tail_lines: logs.tail.map(|tail| i64::try_from(tail).unwrap_or(i64::MAX)),
        ..LogParams::default()
    };
    let pods = Request::new(format!("/api/v1/namespaces/{}/pods", logs.namespace));
    let mut unread = Vec::new();
    for pod in &logs.pods {
        let request = pods
            .logs(pod, &parameters)
            .map_err(|error| Error::Configuration { reason: error.to_string() })?;
        let sent = server.stream(request, &mut |piece| take(pod, piece)).await;
        take(pod, &[]);
        let error = match sent {
            Ok(()) => continue,
            Err(Failure::Forbidden(message)) => Error::Forbidden { message },
            Err(Failure::Absent) => {
                Error::Server { reason: "NotFound".into(), message: format!("pods \"{pod}\" not found") }
            }
            // The kubelet's words: the container has not started, or there is none of that name.
            Err(Failure::Fatal(error @ Error::Server { .. })) => error,
            Err(Failure::Fatal(error)) => return Err(error),
            Err(Failure::Expired) => Error::Server {
                reason: "Expired".into(),
                message: format!("the log of pods \"{pod}\" is gone"),
            },
        };
        unread.push(Unread { pod: pod.clone(), error });
    }
    if unread.len() == logs.pods.len() && !unread.is_empty() {
        return Err(unread.swap_remove(0).error);
    }
    Ok(unread)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::Response;
    use kube::client::Body;
    use tower::service_fn;

    use super::*;
    use crate::cluster::warnings::Warnings;

    /// A server on which pod `a` has a log, `b` no sidecar, `c` is not ours to read, and nothing else is.
    fn server() -> (Server, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let answer = move |request: http::Request<Body>| {
            let uri = request.uri().to_string();
            let status = |code: u16, reason: &str, message: &str| {
                (
                    code,
                    format!(r#"{{"kind":"Status","code":{code},"reason":"{reason}","message":"{message}"}}"#),
                )
            };
            let (code, body) = match uri.split('?').next().unwrap() {
                "/api/v1/namespaces/x/pods/a/log" => (200, "one\ntwo\n".to_owned()),
                "/api/v1/namespaces/x/pods/b/log" => {
                    status(400, "BadRequest", "container istio-proxy is not valid for pod b")
                }
                "/api/v1/namespaces/x/pods/c/log" => status(403, "Forbidden", "no"),
                _ => status(404, "NotFound", "no"),
            };
            log.lock().unwrap().push(uri);
            let response = Response::builder().status(code).body(Body::from(body.into_bytes())).unwrap();
            async move { Ok::<_, Infallible>(response) }
        };
        let client = kube::Client::new(service_fn(answer), "default");
        (Server { client, timeout: None, host: "h:1".into(), warnings: Warnings::default() }, asked)
    }

    async fn read(pods: &[&str]) -> (Result<Vec<String>, String>, String, Vec<String>) {
        let (server, asked) = server();
        let logs = Logs {
            namespace: "x".to_owned(),
            pods: pods.iter().map(ToString::to_string).collect(),
            since: Some(Duration::from_millis(10)),
            tail: Some(7),
        };
        let mut said = String::new();
        let mut take = |pod: &str, piece: &[u8]| {
            said.push_str(&format!("{pod}:{};", String::from_utf8_lossy(piece)));
        };
        let unread = from_server(&server, &logs, &mut take).await;
        let unread = unread
            .map(|unread| unread.iter().map(|unread| format!("{}: {}", unread.pod, unread.error)).collect())
            .map_err(|error| error.to_string());
        let asked = asked.lock().unwrap().clone();
        (unread, said, asked)
    }

    #[tokio::test]
    async fn pods_that_cannot_be_read_are_named() {
        let (unread, said, asked) = read(&["a", "b", "c", "d"]).await;
        assert_eq!(
            unread.unwrap(),
            [
                "b: Error from server (BadRequest): container istio-proxy is not valid for pod b",
                "c: Error from server (Forbidden): no",
                "d: Error from server (NotFound): pods \"d\" not found",
            ]
        );
        assert_eq!(said, "a:one\ntwo\n;a:;b:;c:;d:;");
        // Less than a second is a second: 0 would be everything.
        let query: Vec<&str> =
            asked[0].split_once('?').unwrap().1.split('&').filter(|part| !part.is_empty()).collect();
        assert_eq!(query, ["container=istio-proxy", "sinceSeconds=1", "tailLines=7"]);
    }

    #[tokio::test]
    async fn without_any_log_there_is_an_error() {
        let (unread, said, _) = read(&["c", "b"]).await;
        assert_eq!(unread.unwrap_err(), "Error from server (Forbidden): no");
        assert_eq!(said, "c:;b:;");
        assert!(read(&[]).await.0.unwrap().is_empty());
    }
}
