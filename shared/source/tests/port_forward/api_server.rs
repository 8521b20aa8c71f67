//! An API server of a test's own: lists of objects, and port-forwards to the admin interfaces of proxies, in
//! the WebSocket protocol of `pods/portforward`. Real servers have no node behind them here.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;

/// What a proxy's admin interface answers: of which pod, to which path; the status line and the body.
pub(crate) type Admin = dyn Fn(&str, &str) -> (&'static str, String) + Send + Sync;

/// Starts a server that knows these objects; returns its URL. It ends with the process.
///
/// Pods of some names cannot be forwarded to: `forbidden`, `absent`, `pending`, `bare` (nothing listens),
/// `cut`, `silent`.
pub(crate) fn start(objects: &[Value], admin: Box<Admin>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let documents = Arc::new(documents(objects));
    let admin: Arc<Admin> = admin.into();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&documents), Arc::clone(&admin)));
            }
        });
    });
    format!("http://{address}")
}

/// The lists and the discovery documents, by path.
fn documents(objects: &[Value]) -> BTreeMap<String, Value> {
    let mut documents: BTreeMap<String, Value> = BTreeMap::new();
    for object in objects {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("/apiVersion"), text("/kind").to_lowercase());
        let plural = match kind.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None => format!("{kind}s"),
        };
        let root = match version.split_once('/') {
            Some((group, number)) => {
                documents.insert(format!("/apis/{group}"), json!({ "versions": [{ "version": number }] }));
                let resources = documents.entry(format!("/apis/{version}"));
                let resources = resources.or_insert_with(|| json!({ "resources": [] }));
                resources["resources"].as_array_mut().unwrap().push(json!({ "name": plural }));
                "apis"
            }
            None => "api",
        };
        let mut paths = vec![format!("/{root}/{version}/{plural}")];
        if kind == "configmap" {
            paths.push(format!("/{root}/{version}/namespaces/{}/{plural}", text("/metadata/namespace")));
        }
        for path in paths {
            let list = documents.entry(path).or_insert_with(|| json!({ "metadata": {}, "items": [] }));
            list["items"].as_array_mut().unwrap().push(object.clone());
        }
    }
    documents
}

async fn serve(stream: TcpStream, documents: Arc<BTreeMap<String, Value>>, admin: Arc<Admin>) {
    let mut head = [0; 4096];
    let read = stream.peek(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
    if head.contains("upgrade: websocket") {
        return forward(stream, admin.as_ref()).await;
    }
    answer(stream, &documents).await;
}

async fn answer(mut stream: TcpStream, documents: &BTreeMap<String, Value>) {
    let mut bytes = vec![0; 16 << 10];
    let read = stream.read(&mut bytes).await.unwrap();
    let head = String::from_utf8_lossy(&bytes[..read]).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let (status, body) = match documents.get(path) {
        Some(document) => ("200 OK", document.clone()),
        None if path.starts_with("/api/") || path.matches('/').count() > 3 => {
            ("200 OK", json!({ "items": [] }))
        }
        None => ("404 Not Found", json!({ "kind": "Status", "code": 404 })),
    };
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // Whoever asked may have gone.
    let _ = stream.write_all(answer.as_bytes()).await;
}

#[expect(clippy::result_large_err, reason = "the handshake's own signature")]
async fn forward(stream: TcpStream, admin: &Admin) {
    let mut pod = String::new();
    let handshake = |request: &Request, mut response: Response| {
        let path = request.uri().path();
        pod = path.split('/').nth(6).unwrap_or_default().to_owned();
        assert!(path.ends_with(&format!("/pods/{pod}/portforward")), "{path}");
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
            return tokio::time::sleep(Duration::from_secs(5)).await;
        }
        "cut" => return,
        "silent" => return tokio::time::sleep(Duration::from_secs(30)).await,
        _ => {}
    }
    let mut received = String::new();
    while let Some(Ok(message)) = source.next().await {
        let Message::Binary(data) = message else { continue };
        received.push_str(&String::from_utf8_lossy(data.get(1..).unwrap_or_default()));
        while let Some((request, rest)) = received.split_once("\r\n\r\n") {
            let asked = request.split(' ').nth(1).unwrap_or_default();
            let (status, body) = admin(&pod, asked);
            // As Envoy does: the length is not said before.
            let answer = format!(
                "HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            );
            received = rest.to_owned();
            // In pieces, as they come from a node.
            for piece in answer.as_bytes().chunks(32 << 10) {
                if sink.send(Message::binary([&[0], piece].concat())).await.is_err() {
                    return;
                }
            }
        }
    }
}
