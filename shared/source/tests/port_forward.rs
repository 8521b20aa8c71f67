//! Reading a proxy through a port-forward: an API server of the test's own, which speaks the WebSocket
//! protocol of `pods/portforward`, before an admin interface of the test's own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use mesh_source::cluster::{Connection, Error, Proxies, ProxyDump, ProxyOf};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;

/// An admin interface that answers with what it was asked, in the order of the requests.
fn admin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(first)) = lines.next() {
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let asked = first.split(' ').nth(1).unwrap_or_default();
                let (status, body) = match asked.split('?').next() {
                    Some("/server_info") => ("200 OK", json!({ "node": { "id": "x" } }).to_string()),
                    Some("/config_dump") if asked.ends_with("_666") => ("400 Bad Request", "no\n".to_owned()),
                    Some("/config_dump") => ("200 OK", json!({ "asked": asked }).to_string()),
                    _ => ("404 Not Found", String::new()),
                };
                // As Envoy does: the length is not said before.
                write!(stream, "HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
                write!(stream, "{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).unwrap();
            }
        }
    });
    address
}

/// What becomes of a port-forward, by the pod's name.
#[expect(clippy::result_large_err, reason = "the handshake's own signature")]
async fn forward(stream: TcpStream, admin: SocketAddr) {
    let mut pod = String::new();
    let handshake = |request: &Request, mut response: Response| {
        let path = request.uri().path();
        pod = path.split('/').nth(6).unwrap_or_default().to_owned();
        assert_eq!(path, format!("/api/v1/namespaces/shop/pods/{pod}/portforward"));
        let refusal = |code: StatusCode, reason: &str, message: &str| -> ErrorResponse {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": reason, "message": message, "code": code.as_u16(),
            });
            Response::builder().status(code).body(Some(status.to_string())).unwrap()
        };
        match pod.as_str() {
            "forbidden" => {
                Err(refusal(StatusCode::FORBIDDEN, "Forbidden", "pods \"forbidden\" is forbidden: no"))
            }
            "absent" => Err(refusal(StatusCode::NOT_FOUND, "NotFound", "pods \"absent\" not found")),
            "pending" => Err(refusal(StatusCode::BAD_REQUEST, "BadRequest", "pod pending is not running")),
            _ => {
                let protocol = "v5.channel.k8s.io".parse().unwrap();
                response.headers_mut().insert("sec-websocket-protocol", protocol);
                Ok(response)
            }
        }
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, handshake).await else { return };
    let (mut sink, mut source) = socket.split();
    // Each of the two channels, data and errors, begins with the port.
    for channel in [0, 1] {
        let [low, high] = 15000_u16.to_le_bytes();
        sink.send(Message::binary(vec![channel, low, high])).await.unwrap();
    }
    match pod.as_str() {
        "bare" => {
            let words = b"\x01failed to connect to localhost:15000 inside namespace: connection refused\n";
            sink.send(Message::binary(words.to_vec())).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        "cut" => {}
        "silent" => tokio::time::sleep(Duration::from_secs(30)).await,
        _ => {
            let (mut from_admin, mut to_admin) = TcpStream::connect(admin).await.unwrap().into_split();
            let mut bytes = [0; 4096];
            loop {
                tokio::select! {
                    message = source.next() => match message {
                        Some(Ok(Message::Binary(data))) if data.len() > 1 => {
                            to_admin.write_all(&data[1..]).await.unwrap();
                        }
                        Some(Ok(_)) => {}
                        _ => return,
                    },
                    read = from_admin.read(&mut bytes) => {
                        let read = read.unwrap();
                        let message = [&[0], &bytes[..read]].concat();
                        if read == 0 || sink.send(Message::binary(message)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }
}

/// The API server's address.
fn server(admin: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(forward(stream, admin));
            }
        });
    });
    format!("http://{address}")
}

fn read(pods: &[&str], ports: &[u16], timeout: Duration) -> Vec<Result<ProxyDump, Error>> {
    let kubeconfig = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("port-forward.kubeconfig");
    std::fs::write(&kubeconfig, "{apiVersion: v1, kind: Config}").unwrap();
    let proxies = Proxies::connect(&Connection {
        kubeconfig: Some(kubeconfig),
        server: Some(server(admin())),
        request_timeout: Some(timeout),
        ..Connection::default()
    });
    let of = |pod: &&str| ProxyOf { namespace: "shop".into(), pod: (*pod).into(), ports: ports.to_vec() };
    proxies.unwrap().read(&pods.iter().map(of).collect::<Vec<_>>())
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn the_admin_interface_is_asked_for_no_more_than_is_needed() {
    let read = read(&["a"], &[8080, 9090], LONG).remove(0).unwrap();
    assert_eq!(read.server["node"]["id"], "x");
    assert_eq!(
        read.listeners["asked"],
        "/config_dump?resource=dynamic_listeners&name_regex=virtualInbound%7C.*_8080%7C.*_9090"
    );
}

#[test]
fn many_pods_are_read_in_their_order() {
    let names: Vec<String> = (0..9).map(|number| format!("pod-{number}")).collect();
    let pods: Vec<&str> = names.iter().map(String::as_str).collect();
    let read = read(&pods, &[], LONG);
    assert_eq!(read.len(), 9);
    assert!(read.iter().all(Result::is_ok), "{read:?}");
}

#[test]
fn one_pod_that_cannot_be_read_does_not_disturb_the_others() {
    let start = Instant::now();
    let pods = ["a", "forbidden", "absent", "pending", "bare", "cut", "b"];
    let read = read(&pods, &[], LONG);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    let said: Vec<String> = read
        .iter()
        .map(|read| read.as_ref().map_or_else(ToString::to_string, |_| "read".to_owned()))
        .collect();
    assert_eq!(said[0], "read");
    assert_eq!(said[1], "Error from server (Forbidden): pods \"forbidden\" is forbidden: no");
    assert!(matches!(read[1], Err(Error::Forbidden { .. })));
    assert_eq!(said[2], "Error from server (NotFound): pods \"absent\" not found");
    assert_eq!(said[3], "Error from server (BadRequest): pod pending is not running");
    assert_eq!(
        said[4],
        "Error from server: failed to connect to localhost:15000 inside namespace: connection refused"
    );
    assert!(said[5].starts_with("cannot understand the answer of the server to /server_info"), "{}", said[5]);
    assert_eq!(said[6], "read");
}

#[test]
fn a_proxy_that_does_not_answer_is_not_waited_for() {
    let start = Instant::now();
    let read = read(&["silent"], &[], Duration::from_millis(300)).remove(0);
    assert!(matches!(read, Err(Error::Timeout { .. })), "{read:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_envoy_refuses_is_said() {
    let error = read(&["a"], &[666], LONG).remove(0).unwrap_err();
    assert!(error.to_string().ends_with("400 Bad Request: no"), "{error}");
}
