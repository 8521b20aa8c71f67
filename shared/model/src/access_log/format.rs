//! Formats of access logs: which value of a line is what.
//!
//! Istio's own are `EnvoyTextLogFormat` and `EnvoyJSONLogFormatIstio` of
//! `pilot/pkg/model/telemetry_logging.go`; a mesh can have others in its configuration.

use serde_json::Value;

use super::json::Keys;
use super::text::Template;
use super::{Entry, Field};

/// The format of a mesh that sets none, with `accessLogEncoding: TEXT`.
const ISTIO_TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% \
    %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% \
    %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
    \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% \
    %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
    \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" \
    %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% \
    %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// A format.
#[derive(Clone, Debug)]
pub enum Format {
    /// Values between fixed text.
    Text(Template),
    /// An object.
    Json(Keys),
}

impl Format {
    /// Istio's text.
    #[must_use]
    pub fn istio_text() -> Self {
        Self::Text(Template::parse(ISTIO_TEXT))
    }

    /// Istio's JSON.
    #[must_use]
    pub fn istio_json() -> Self {
        Self::Json(Keys::default())
    }

    /// A format of the mesh configuration: a string, which is text or, with `accessLogEncoding: JSON`, an
    /// object written out; or an object itself, of an extension provider. `None` if it has nothing by
    /// which a denial could be known.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => match serde_json::from_str::<Value>(text) {
                Ok(object @ Value::Object(_)) => Self::read(&object),
                _ => Some(Template::parse(text)).filter(Template::tells_denials).map(Self::Text),
            },
            Value::Object(fields) => {
                let keys = fields.iter().filter_map(|(key, value)| {
                    let operator = value.as_str()?.strip_prefix('%')?.strip_suffix('%')?;
                    Some((key.clone(), field(operator)?))
                });
                Some(Self::Json(Keys::new(keys)))
            }
            _ => None,
        }
    }

    /// Reads a line; `None` if it is not of this format.
    #[must_use]
    pub fn entry<'a>(&self, line: &'a str) -> Option<Entry<'a>> {
        match self {
            Self::Text(template) => template.entry(line),
            Self::Json(keys) => keys.entry(line),
        }
    }
}

/// What an operator of Envoy's writes, without its `%` (Envoy, access log format strings).
pub(super) fn field(operator: &str) -> Option<Field> {
    let (name, argument) = match operator.split_once('(') {
        Some((name, rest)) => (name, rest.split(')').next().unwrap_or_default()),
        None => (operator.split(':').next().unwrap_or_default(), ""),
    };
    Some(match name {
        "START_TIME" => Field::Time,
        "PROTOCOL" => Field::Protocol,
        "RESPONSE_CODE" => Field::Code,
        "RESPONSE_FLAGS" => Field::Flags,
        "RESPONSE_CODE_DETAILS" => Field::Details,
        "CONNECTION_TERMINATION_DETAILS" => Field::Termination,
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Field::Failure,
        "UPSTREAM_HOST" => Field::UpstreamHost,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Field::Cluster,
        "UPSTREAM_LOCAL_ADDRESS" => Field::UpstreamLocal,
        "DOWNSTREAM_LOCAL_ADDRESS" => Field::Local,
        "DOWNSTREAM_REMOTE_ADDRESS" => Field::Remote,
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Field::DirectRemote,
        "REQUESTED_SERVER_NAME" => Field::ServerName,
        "DOWNSTREAM_PEER_URI_SAN" => Field::Peer,
        "REQ" | "REQ_WITHOUT_QUERY" => match argument.to_ascii_uppercase().as_str() {
            ":METHOD" => Field::Method,
            ":PATH" | "X-ENVOY-ORIGINAL-PATH?:PATH" => Field::Path,
            ":AUTHORITY" | "HOST" => Field::Host,
            "X-FORWARDED-FOR" => Field::ForwardedFor,
            "X-FORWARDED-CLIENT-CERT" => Field::Certificate,
            _ => return None,
        },
        _ => return None,
    })
}

/// What Istio's JSON has under a key; and, under the names that Envoy's own documentation uses, what a
/// mesh adds most often.
pub(super) fn field_of_key(key: &str) -> Option<Field> {
    Some(match key {
        "start_time" => Field::Time,
        "method" => Field::Method,
        "path" => Field::Path,
        "protocol" => Field::Protocol,
        "response_code" => Field::Code,
        "response_flags" => Field::Flags,
        "response_code_details" => Field::Details,
        "connection_termination_details" => Field::Termination,
        "upstream_transport_failure_reason" => Field::Failure,
        "authority" => Field::Host,
        "x_forwarded_for" => Field::ForwardedFor,
        "upstream_host" => Field::UpstreamHost,
        "upstream_cluster" => Field::Cluster,
        "upstream_local_address" => Field::UpstreamLocal,
        "downstream_local_address" => Field::Local,
        "downstream_remote_address" => Field::Remote,
        "downstream_direct_remote_address" => Field::DirectRemote,
        "requested_server_name" => Field::ServerName,
        "downstream_peer_uri_san" => Field::Peer,
        "x_forwarded_client_cert" => Field::Certificate,
        _ => return None,
    })
}
