//! One question and its answer.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::client::{Body, ClientBuilder};

use super::answer::Reply;
use super::{Address, Answer, Error, Options};
use crate::cluster;

/// More than the series of a service in a large mesh; what is larger is not read to its end.
const MOST_BYTES: usize = 64 << 20;

/// How much of an answer that is none is shown.
const SHOWN: usize = 120;

/// The metric that a Prometheus must have.
const PROBE: &str = "count(istio_requests_total)";

/// A way to a Prometheus.
#[derive(Clone)]
pub(crate) struct Link {
    client: kube::Client,
    /// Which one, for messages.
    pub(crate) name: String,
    /// The path of the API server's proxy to it, if it goes through that.
    proxy: Option<String>,
    /// Read for every request: tokens are replaced while a canary runs.
    token_file: Option<PathBuf>,
    deadline: Duration,
}

impl Link {
    /// To an address. Nothing is sent yet.
    pub(crate) fn to_address(address: &Address, options: &Options) -> Result<Self, Error> {
        let name = address.to_string();
        let unusable = |reason: String| Error::Configuration { name: name.clone(), reason };
        let mut configuration = kube::Config::new(address.url.clone());
        // kube's own retries go on for minutes, which looks like a hang.
        configuration.default_retry = false;
        configuration.connect_timeout = Some(options.deadline);
        if let Some((user, password)) = &address.login {
            configuration.auth_info.username = Some(user.clone());
            configuration.auth_info.password = Some(password.clone().into());
        }
        if options.token_file.is_some() && address.login.is_some() {
            return Err(unusable("there is both a password in it and a token file".into()));
        }
        cluster::correct_proxy(&mut configuration, None)?;
        let client =
            ClientBuilder::try_from(configuration).map_err(|error| unusable(error.to_string()))?.build();
        Ok(Self {
            client,
            name,
            proxy: None,
            token_file: options.token_file.clone(),
            deadline: options.deadline,
        })
    }

    /// To a port of a Service, through the API server. `port` is as the proxy wants it: `9090`, or
    /// with `https:` before the name.
    pub(crate) fn to_service(
        server: &cluster::Server,
        namespace: &str,
        name: &str,
        port: u16,
        is_https: bool,
        deadline: Duration,
    ) -> Self {
        let scheme = if is_https { "https:" } else { "" };
        Self {
            client: server.client.clone(),
            name: format!("service {namespace}/{name}:{port}"),
            proxy: Some(format!("/api/v1/namespaces/{namespace}/services/{scheme}{name}:{port}/proxy")),
            token_file: None,
            deadline,
        }
    }

    /// Whether this is a Prometheus that knows requests of proxies.
    pub(crate) async fn has_istio(&self) -> Result<bool, Error> {
        let answer = self.ask("query", &[("query", PROBE.into())]).await?;
        Ok(!answer.series.is_empty())
    }

    /// Asks one of the query endpoints.
    pub(crate) async fn ask(&self, what: &str, fields: &[(&str, String)]) -> Result<Answer, Error> {
        let late = |_| Err(Error::Timeout { name: self.name.clone(), after: self.deadline });
        tokio::time::timeout(self.deadline, self.exchange(what, fields)).await.unwrap_or_else(late)
    }

    async fn exchange(&self, what: &str, fields: &[(&str, String)]) -> Result<Answer, Error> {
        let response =
            self.client.send(self.request(what, fields)?).await.map_err(|error| self.unreachable(&error))?;
        let (parts, body) = response.into_parts();
        let read = Limited::new(body, MOST_BYTES).collect().await;
        let body = read.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Error::TooLarge { name: self.name.clone(), limit: MOST_BYTES }
            } else {
                self.cut(error.as_ref())
            }
        })?;
        let query = fields.iter().find(|(name, _)| *name == "query").map_or("", |(_, query)| query);
        self.understand(&Response::from_parts(parts, ()), &body.to_bytes(), query)
    }

    fn request(&self, what: &str, fields: &[(&str, String)]) -> Result<Request<Body>, Error> {
        let form: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let form = form.join("&");
        let request = match &self.proxy {
            Some(proxy) => Request::get(format!("{proxy}/api/v1/{what}?{form}")).body(Body::empty()),
            None => Request::post(format!("/api/v1/{what}"))
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Body::from(form.into_bytes())),
        };
        let unusable = |reason| Error::Configuration { name: self.name.clone(), reason };
        let mut request = request.map_err(|error| unusable(error.to_string()))?;
        if let Some(path) = &self.token_file {
            let unreadable = |source| Error::TokenFile { path: path.clone(), source };
            let token = fs::read_to_string(path).map_err(unreadable)?;
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
                .map_err(|_| unusable(format!("what {} holds is no token", path.display())))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    fn understand(&self, response: &Response<()>, body: &[u8], query: &str) -> Result<Answer, Error> {
        let name = self.name.clone();
        let code = response.status().as_u16();
        let strange = |reason: String| Error::NotPrometheus { name: self.name.clone(), reason };
        let reply = serde_json::from_slice::<Reply>(body);
        let by_api_server = reply.as_ref().is_ok_and(|reply| reply.kind == "Status");
        let said = match &reply {
            Ok(reply) if by_api_server => reply.message.clone(),
            Ok(reply) => reply.error.clone(),
            Err(_) => shown(body),
        };
        match (code, reply) {
            (401, _) => Err(Error::Unauthorized { name, message: said }),
            (403, _) => Err(Error::Forbidden { name, message: said, by_api_server }),
            // The API server's proxy: no such Service, no endpoints, no connection.
            (_, Ok(_)) if by_api_server => Err(Error::Unreachable { name, reason: said }),
            (_, Ok(reply)) if reply.status == "error" => Err(Error::Query {
                name,
                kind: reply.error_type,
                message: reply.error,
                query: query.to_owned(),
            }),
            (200..=299, Ok(reply)) if reply.status == "success" => reply.answer().map_err(strange),
            (300..=399, _) => {
                let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
                Err(strange(format!("it redirects to {}", location.unwrap_or("another place"))))
            }
            // A gateway, or the API server's proxy, which passes on that nobody listens.
            (502..=504, _) => Err(Error::Unreachable { name, reason: format!("status {code}: {said}") }),
            (_, Err(error)) if body.starts_with(b"{") => Err(strange(error.to_string())),
            _ => Err(strange(format!("status {code}: {said}"))),
        }
    }

    /// Why nothing came back.
    fn unreachable(&self, error: &kube::Error) -> Error {
        match error {
            kube::Error::Auth(error) => {
                Error::Configuration { name: self.name.clone(), reason: error.to_string() }
            }
            other => self.cut(other),
        }
    }

    /// What the transport says.
    fn cut(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        let host = self.name.as_str();
        let error = cluster::Error::from_transport(error, host);
        if self.proxy.is_some() {
            // Then it is the API server that is out of reach.
            return Error::Cluster(error);
        }
        let reason = match error {
            cluster::Error::Refused { .. } => "the connection was refused".to_owned(),
            cluster::Error::Unreachable { reason, .. } => reason
                .strip_prefix(host)
                .map_or(reason.as_str(), |rest| rest.trim_start_matches(": "))
                .to_owned(),
            other => other.to_string(),
        };
        Error::Unreachable { name: self.name.clone(), reason }
    }
}

/// The beginning of a body, on one line.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut words: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        return "an empty answer".into();
    }
    if let Some((end, _)) = words.char_indices().nth(SHOWN) {
        words.truncate(end);
        words.push_str("...");
    }
    words
}

/// Percent-encoding for a query and for a form.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_survive_the_way() {
        assert_eq!(encoded("a{b=\"c d+e\"}[1m]"), "a%7Bb%3D%22c%20d%2Be%22%7D%5B1m%5D");
    }

    #[test]
    fn long_pages_are_cut() {
        assert_eq!(shown(b"<html>\n  x"), "<html> x");
        assert_eq!(shown(b" \n"), "an empty answer");
        assert_eq!(shown("\u{e4}".repeat(500).as_bytes()).chars().count(), SHOWN + 3);
    }
}
