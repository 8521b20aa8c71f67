//! What pods send, and what comes back (`application call`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request that a pod sends.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Request {
    method: String,
    url: String,
    host: String,
    headers: BTreeMap<String, String>,
    tcp: String,
    http2: bool,
    timeout: f64,
}

impl Request {
    /// A request with a method.
    #[must_use]
    pub fn new(method: &str, url: &str) -> Self {
        Self { method: method.to_owned(), url: url.to_owned(), ..Self::default() }
    }

    /// GET.
    #[must_use]
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// POST, without a body.
    #[must_use]
    pub fn post(url: &str) -> Self {
        Self::new("POST", url)
    }

    /// A TCP connection, `host:port`, on which a line is sent and one awaited.
    #[must_use]
    pub fn tcp(address: &str) -> Self {
        Self { tcp: address.to_owned(), ..Self::default() }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With another host than that of the URL.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// In HTTP/2 without TLS.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Given up after so many seconds; 30 where nothing is said.
    #[must_use]
    pub fn timeout(mut self, seconds: f64) -> Self {
        self.timeout = seconds;
        self
    }
}

/// What came back.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The HTTP status; none where there was no answer, and for TCP.
    pub status: Option<u16>,
    /// The headers, by their canonical names.
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<String>>,
    /// The body; for TCP, the first line.
    #[serde(default)]
    pub body: String,
    /// What became of the connection: `reset`, `closed`, `refused`, `timeout`, or an error's text.
    pub error: Option<String>,
    /// Seconds until the last byte.
    pub seconds: f64,
}

impl Answer {
    /// The status, or else what became of the connection; `open` for TCP that was answered.
    #[must_use]
    pub fn outcome(&self) -> String {
        match (self.status, &self.error) {
            (_, Some(error)) => error.clone(),
            (Some(status), None) => status.to_string(),
            (None, None) => "open".to_owned(),
        }
    }

    /// What the test application says in its body: `name`, `version`, `headers`, ...
    ///
    /// # Errors
    /// If the body is not its.
    pub fn application(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_str(&self.body)
    }
}
