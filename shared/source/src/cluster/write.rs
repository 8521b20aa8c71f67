//! Writing to a cluster: one [`Change`] at a time, sent once.
//!
//! A write is never sent again by itself: whether the first one arrived, only reading back can tell.

use std::error::Error as StdError;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::Status;
use mesh_model::change::{Change, Reference, without_server_fields};
use mesh_model::object::{Kind, Object, Origin};
use serde_json::{Value, json};
use tokio::runtime::{self, Runtime};

use super::error::parenthesised;
use super::list::collection;
use super::page::Items;
use super::request::{Failure, Server};
use super::{Connection, Error, client};

/// Who we are in `managedFields`.
pub const FIELD_MANAGER: &str = "kubectl-mesh";

const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";

/// Why a change was not written, or may not have been.
///
/// Messages have kubectl's shape and are whole lines, as those of [`Error::line`].
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody else changed the object first. Nothing was written: read it, and plan again.
    #[error("Error from server (Conflict): {object} was changed by somebody else meanwhile: {message}")]
    Conflict {
        /// The object.
        object: Box<Reference>,
        /// The server's words.
        message: String,
    },
    /// There is no such object, or nothing in which it could be created. Nothing was written.
    #[error("Error from server (NotFound): {message}")]
    NotFound {
        /// The object.
        object: Box<Reference>,
        /// The server's words.
        message: String,
    },
    /// The object to create is there already. Nothing was written.
    #[error("Error from server (AlreadyExists): {message}")]
    AlreadyExists {
        /// The object.
        object: Box<Reference>,
        /// The server's words.
        message: String,
    },
    /// We may not. Nothing was written.
    #[error("Error from server (Forbidden): {message}")]
    Forbidden {
        /// The object.
        object: Box<Reference>,
        /// The server's words.
        message: String,
    },
    /// The object would not be valid, or admission (a webhook, a policy) refuses it or could not be
    /// asked. Nothing was written.
    #[error("Error from server{}: {message}", parenthesised(reason))]
    Refused {
        /// The object.
        object: Box<Reference>,
        /// Kubernetes' reason, such as `Invalid`; may be empty.
        reason: String,
        /// The server's words, in them those of the webhook.
        message: String,
    },
    /// The request was not sent, or not let in: no connection, no login, too many requests. Nothing was
    /// written.
    #[error("{}", .0.line())]
    NotSent(Error),
    /// The connection broke, the time was up, or something on the way failed after the request had been
    /// sent: it may have been written or not. Read it back ([`Writer::get`]) before anything else.
    #[error("{}\nit is not known whether {object} was written", cause.line())]
    Uncertain {
        /// The object.
        object: Box<Reference>,
        /// What happened.
        cause: Box<Error>,
    },
}

impl WriteError {
    /// What to do next, if there is something better than trying again.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Conflict { .. } => Some("look at it as it is now, and run the command again".to_owned()),
            Self::Forbidden { object, .. } => Some(format!(
                "`kubectl auth can-i --list` shows what you may do; this takes a right to write {}",
                object.kind.plural()
            )),
            Self::Uncertain { object, .. } => Some(format!("look: kubectl get {} -o yaml", named(object))),
            Self::NotSent(error) => error.hint(),
            Self::NotFound { .. } | Self::AlreadyExists { .. } | Self::Refused { .. } => None,
        }
    }
}

/// A connection that writes. One for all changes of a command: opening it may run a credential plugin.
pub struct Writer {
    runtime: Runtime,
    server: Server,
    default_namespace: String,
}

impl Writer {
    /// Opens a connection. Nothing is sent yet, but a credential plugin of the kubeconfig runs here, and
    /// may ask the user something: nothing of ours must be on the terminal.
    ///
    /// # Errors
    /// No usable configuration, or no credentials.
    pub fn connect(connection: &Connection) -> Result<Self, Error> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
        let (server, default_namespace) = runtime.block_on(client::connect(connection))?;
        Ok(Self { runtime, server, default_namespace })
    }

    /// The context's namespace, or `default`.
    #[must_use]
    pub fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    /// Writes one change; with `dry_run` the server does everything but store it (`dryRun=All`).
    ///
    /// Returns the object as the server has it now, whole; `None` if it is gone. An object that is
    /// deleted may still be there, with a `deletionTimestamp`. A patch without fields is not sent.
    ///
    /// # Errors
    /// See [`WriteError`]; in every case but `Uncertain` the cluster is as it was.
    pub fn write(&self, change: &Change, dry_run: bool) -> Result<Option<Object>, WriteError> {
        let object = change.object();
        if matches!(change, Change::Patch(patch) if patch.is_empty()) {
            return self.get(&object).map_err(WriteError::NotSent);
        }
        let request = request(change, &object, dry_run).map_err(WriteError::NotSent)?;
        let answer =
            self.runtime.block_on(exchange(&self.server, request)).map_err(|broken| match broken {
                Broken::BeforeSending(cause) => WriteError::NotSent(cause),
                Broken::AfterSending(cause) => uncertain(object.clone(), cause),
            })?;
        if !answer.code.is_success() {
            return Err(refusal(&answer, change, object, &self.server.host));
        }
        let value = match read(&answer.body, &path(&object)) {
            Ok(value) => value,
            Err(cause) => return Err(uncertain(object, cause)),
        };
        let gone =
            matches!(change, Change::Delete { .. }) && value.pointer("/metadata/deletionTimestamp").is_none();
        Ok((!gone).then(|| as_object(&object, value)))
    }

    /// Reads one object, whole, as the server has it now; `None` if there is none.
    ///
    /// # Errors
    /// As [`read`](super::read()); and [`Error::Forbidden`].
    pub fn get(&self, object: &Reference) -> Result<Option<Object>, Error> {
        let path = path(object);
        match self.runtime.block_on(self.server.get(&path)) {
            Ok(bytes) => Ok(Some(as_object(object, read(&bytes, &path)?))),
            Err(Failure::Absent) => Ok(None),
            Err(failure) => Err(error(failure, &path)),
        }
    }

    /// Whether we may do `verb` (`patch`, `create`, ...) to objects of a kind, in a namespace or, with
    /// `None`, in all of them (SelfSubjectAccessReview). Every user may ask that.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn may(&self, verb: &str, kind: Kind, namespace: Option<&str>) -> Result<bool, Error> {
        const PATH: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "verb": verb, "group": kind.group(), "resource": kind.plural(),
                "namespace": namespace.unwrap_or_default(),
            }},
        });
        let request = http_request(Method::POST, PATH, JSON, &review)?;
        let bytes =
            self.runtime.block_on(self.server.send(request)).map_err(|failure| error(failure, PATH))?;
        let answer = read(&bytes, PATH)?;
        Ok(answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or_default())
    }

    /// Who we are to the server (SelfSubjectReview); `None` where it does not tell, as before Kubernetes 1.28.
    /// Every user may ask that.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn who(&self) -> Result<Option<String>, Error> {
        const PATH: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let request = http_request(Method::POST, PATH, JSON, &review)?;
        let bytes = match self.runtime.block_on(self.server.send(request)) {
            Ok(bytes) => bytes,
            Err(Failure::Absent | Failure::Forbidden(_)) => return Ok(None),
            Err(failure) => return Err(error(failure, PATH)),
        };
        let answer = read(&bytes, PATH)?;
        Ok(answer.pointer("/status/userInfo/username").and_then(Value::as_str).map(str::to_owned))
    }

    /// What the server warned of so far, each warning once. Text of the server: not yet safe for a
    /// terminal.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.server.warnings.all()
    }
}

/// An answer of the server, whatever it says.
struct Answer {
    code: StatusCode,
    body: Vec<u8>,
}

/// Why there is no answer.
enum Broken {
    /// The request has certainly not been sent.
    BeforeSending(Error),
    /// It may have been.
    AfterSending(Error),
}

/// Sends a request and reads the answer.
async fn exchange(server: &Server, request: Request<Vec<u8>>) -> Result<Answer, Broken> {
    let exchange = async {
        let response = server.client.send(request.map(Body::from)).await.map_err(|error| {
            let cause = server.unreachable(&error);
            if was_not_sent(&error) { Broken::BeforeSending(cause) } else { Broken::AfterSending(cause) }
        })?;
        let code = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| Broken::AfterSending(server.unreachable(&error)))?;
        Ok(Answer { code, body: body.to_bytes().to_vec() })
    };
    match server.timeout {
        None => exchange.await,
        Some(after) => tokio::time::timeout(after, exchange).await.unwrap_or_else(|_| {
            Err(Broken::AfterSending(Error::Timeout { host: server.host.clone(), after }))
        }),
    }
}

/// Whether an error came before the request went out: no credentials, or no connection.
fn was_not_sent(error: &kube::Error) -> bool {
    if matches!(error, kube::Error::Auth(_)) {
        return true;
    }
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(error) = current.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = current.source();
    }
    false
}

fn uncertain(object: Reference, cause: Error) -> WriteError {
    WriteError::Uncertain { object: Box::new(object), cause: Box::new(cause) }
}

/// Sorts an answer that is not a success.
fn refusal(answer: &Answer, change: &Change, object: Reference, host: &str) -> WriteError {
    let code = answer.code.as_u16();
    let Ok(status) = serde_json::from_slice::<Status>(&answer.body) else {
        // Not the API server: something on the way to it.
        let text = String::from_utf8_lossy(&answer.body);
        let message = format!("{host}: status {code}: {}", text.trim());
        let cause = Error::Server { reason: String::new(), message };
        return match code {
            400..500 => WriteError::NotSent(cause),
            _ => uncertain(object, cause),
        };
    };
    let object = Box::new(object);
    let message = if status.message.is_empty() { format!("status {code}") } else { status.message.clone() };
    let reason = status.reason.clone();
    // Admission comes before storing. Its words can come with any code.
    let of_admission = ["admission webhook \"", "failed calling webhook", "ValidatingAdmissionPolicy"];
    if of_admission.iter().any(|words| message.contains(words)) {
        return WriteError::Refused { object, reason, message };
    }
    // A `test` that fails, or a path that is gone, is invalid like any other patch; but what is wrong
    // with an object is always said with the object's name or the causes.
    let blames_the_object =
        status.details.as_ref().is_some_and(|details| !details.name.is_empty() || !details.causes.is_empty());
    match code {
        401 => WriteError::NotSent(Error::Unauthorized { message }),
        403 => WriteError::Forbidden { object, message },
        404 => WriteError::NotFound { object, message },
        409 if reason == "AlreadyExists" => WriteError::AlreadyExists { object, message },
        409 => WriteError::Conflict { object, message },
        422 if matches!(change, Change::Patch(_)) && !blames_the_object => {
            WriteError::Conflict { object, message }
        }
        429 => WriteError::NotSent(Error::Server { reason, message }),
        400..500 => WriteError::Refused { object, reason, message },
        _ => uncertain(*object, Error::Server { reason, message }),
    }
}

/// The request that writes a change.
fn request(change: &Change, object: &Reference, dry_run: bool) -> Result<Request<Vec<u8>>, Error> {
    let all = if dry_run { "&dryRun=All" } else { "" };
    let query = format!("?fieldManager={FIELD_MANAGER}{all}");
    match change {
        Change::Create(new) => {
            let body = without_server_fields(new).value;
            http_request(Method::POST, &format!("{}{query}", directory(object)), JSON, &body)
        }
        Change::Patch(patch) => {
            http_request(Method::PATCH, &format!("{}{query}", path(object)), JSON_PATCH, &patch.json_patch())
        }
        Change::Delete { object: planned, propagation } => {
            let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
            for (name, pointer) in
                [("uid", "/metadata/uid"), ("resourceVersion", "/metadata/resourceVersion")]
            {
                if let Some(value) = planned.get(pointer) {
                    options["preconditions"][name] = value.clone();
                }
            }
            if let Some(propagation) = propagation {
                options["propagationPolicy"] = propagation.name().into();
            }
            if dry_run {
                options["dryRun"] = json!(["All"]);
            }
            http_request(Method::DELETE, &path(object), JSON, &options)
        }
    }
}

fn http_request(method: Method, path: &str, media: &str, body: &Value) -> Result<Request<Vec<u8>>, Error> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(ACCEPT, JSON)
        .header(CONTENT_TYPE, media)
        .body(body.to_string().into_bytes())
        .map_err(|error| Error::Configuration { reason: format!("{path}: {error}") })
}

/// The path of the collection that an object is in.
fn directory(object: &Reference) -> String {
    let items = Items { kind: object.kind, api_version: &object.api_version };
    collection(items, object.kind.is_namespaced().then_some(object.namespace.as_str()))
}

fn path(object: &Reference) -> String {
    format!("{}/{}", directory(object), object.name)
}

/// `virtualservice payment -n shop`.
fn named(object: &Reference) -> String {
    let kind = object.kind.name().to_ascii_lowercase();
    if object.namespace.is_empty() {
        format!("{kind} {}", object.name)
    } else {
        format!("{kind} {} -n {}", object.name, object.namespace)
    }
}

fn read(bytes: &[u8], path: &str) -> Result<Value, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Answer { path: path.to_owned(), reason: error.to_string() })
}

fn as_object(reference: &Reference, value: Value) -> Object {
    let Reference { kind, namespace, name, .. } = reference.clone();
    Object { kind, namespace, name, value, origin: Origin::Cluster }
}

/// The error behind a failure to read.
fn error(failure: Failure, path: &str) -> Error {
    match failure {
        Failure::Fatal(error) => error,
        Failure::Forbidden(message) => Error::Forbidden { message },
        Failure::Absent | Failure::Expired => Error::Server {
            reason: "NotFound".to_owned(),
            message: format!("the server could not find {path}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use mesh_model::change::Edit;

    use super::*;

    /// What an answer to a patch means.
    fn sorted(code: u16, body: &str) -> WriteError {
        let reference = Reference {
            api_version: "networking.istio.io/v1".to_owned(),
            kind: Kind::VirtualService,
            namespace: "shop".to_owned(),
            name: "payment".to_owned(),
        };
        let change = Change::Patch(Edit::of(&as_object(&reference, json!({}))).patch());
        let answer = Answer { code: StatusCode::from_u16(code).unwrap(), body: body.as_bytes().to_vec() };
        refusal(&answer, &change, reference, "h:1")
    }

    fn status(code: u16, reason: &str, message: &str) -> WriteError {
        sorted(
            code,
            &json!({"kind": "Status", "code": code, "reason": reason, "message": message}).to_string(),
        )
    }

    #[test]
    fn a_webhooks_refusal_is_one_whatever_its_code() {
        let words = "admission webhook \"validation.istio.io\" denied the request: total weight 110";
        for code in [400, 403, 409, 422, 500] {
            let refused = status(code, "", words);
            assert!(matches!(refused, WriteError::Refused { .. }), "{refused:?}");
            assert_eq!(refused.to_string(), format!("Error from server: {words}"));
        }
    }

    #[test]
    fn who_does_not_know_whether_it_was_written_says_so() {
        for uncertain in [
            status(504, "Timeout", "m"),
            status(500, "InternalError", "etcd"),
            sorted(502, "<html>Bad Gateway"),
        ] {
            assert!(matches!(uncertain, WriteError::Uncertain { .. }), "{uncertain:?}");
            assert_eq!(
                uncertain.hint().as_deref(),
                Some("look: kubectl get virtualservice payment -n shop -o yaml")
            );
        }
    }

    #[test]
    fn what_was_not_let_in_was_not_written() {
        for code in [401, 429] {
            assert!(matches!(status(code, "", "m"), WriteError::NotSent(_)), "{code}");
        }
        assert!(matches!(sorted(407, "proxy wants a password"), WriteError::NotSent(_)));
    }
}
