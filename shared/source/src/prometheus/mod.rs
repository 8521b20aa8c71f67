//! Prometheus as a source of counts.
//!
//! [`Prometheus::find`] looks for one in the cluster and asks it through the API server's service proxy, with
//! the user's own kubeconfig: no port-forward, no address that only resolves inside. Or the user names one
//! with `--prometheus-url`.
//!
//! Both ways go through kube's client, which brings what a plain URL needs too: TLS with the system's roots,
//! proxies of the environment, decompression, credentials. Another HTTP client would be a second stack of all
//! of these in each plugin.
//!
//! Through the API server queries are sent by GET, because that takes the right `get services/proxy` alone; a
//! POST would take `create`, which a read-only role should not have. To a URL they are sent by POST, as a
//! form, as Prometheus recommends for long ones.
//!
//! Nothing is guessed from an answer: numbers are strings in it, and what is not exactly as the HTTP API
//! documents is an error (<https://prometheus.io/docs/prometheus/latest/querying/api/>). NaN and infinities are
//! values; whoever asked decides. An answer without series is no error either.

mod address;
mod answer;
mod error;
mod find;
mod link;

use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::{self, Runtime};

pub use address::Address;
pub use answer::Answer;
pub use error::Error;

use crate::cluster::Connection;
use link::Link;

/// Which Prometheus, and how patient to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--prometheus-url`; without it one is looked for in the cluster.
    pub address: Option<Address>,
    /// `--prometheus-token-file`: a bearer token, only for an address. It is read for every request.
    pub token_file: Option<PathBuf>,
    /// How long one answer may take.
    pub deadline: Duration,
}

impl Default for Options {
    /// In the cluster; 10 seconds.
    fn default() -> Self {
        Self { address: None, token_file: None, deadline: Duration::from_secs(10) }
    }
}

/// A Prometheus that can be asked.
pub struct Prometheus {
    /// An option only to be taken when it ends.
    runtime: Option<Runtime>,
    link: Link,
    has_istio: bool,
}

impl Prometheus {
    /// Connects to the address in `options`, or finds the Prometheus of a cluster.
    ///
    /// In a cluster these are asked side by side whether they have `istio_requests_total`: Services
    /// labelled `app.kubernetes.io/name=prometheus`, `app=prometheus`, `app=kube-prometheus-stack-prometheus` or
    /// `operated-prometheus=true`, and `istio-system/prometheus`. Where Services may not be listed, the
    /// names that the usual charts give are tried.
    ///
    /// # Errors
    /// No usable configuration; an address that does not answer as Prometheus does; in a cluster none that
    /// answers, or several that have the metric, which are then named.
    pub fn find(connection: &Connection, options: &Options) -> Result<Self, Error> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(crate::cluster::Error::Start)?;
        let found = runtime.block_on(async {
            match &options.address {
                Some(address) => {
                    let link = Link::to_address(address, options)?;
                    let has_istio = link.has_istio().await?;
                    Ok((link, has_istio))
                }
                None if options.token_file.is_some() => Err(Error::Configuration {
                    name: "in the cluster".into(),
                    reason: "the API server would not pass a token on; a token file needs --prometheus-url"
                        .into(),
                }),
                None => find::in_cluster(connection, options).await,
            }
        });
        match found {
            Ok((link, has_istio)) => Ok(Self { runtime: Some(runtime), link, has_istio }),
            Err(error) => {
                // A look-up of a host's name cannot be stopped, and need not be waited for.
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Which one it is, for people: a Service with its namespace, or an address without its password.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.link.name
    }

    /// Whether it had `istio_requests_total` of anything when it was found.
    #[must_use]
    pub fn has_istio(&self) -> bool {
        self.has_istio
    }

    /// What time it is for this Prometheus, in seconds since 1970. Windows are in its time: the clock of the
    /// machine that asks may be off by more than a window.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub fn now(&self) -> Result<f64, Error> {
        let answer = self.ask("query", &[("query", "time()".into())])?;
        let sample = answer.series.first().and_then(|series| series.samples.last());
        sample.map(|sample| sample.value).filter(|now| now.is_finite()).ok_or_else(|| Error::NotPrometheus {
            name: self.link.name.clone(),
            reason: "it does not know what time it is".into(),
        })
    }

    /// Evaluates a query at an instant, in seconds since 1970.
    ///
    /// The samples of an instant vector have the time of the query; those of a range selector
    /// (`metric[60s]`) have the times at which they were scraped.
    ///
    /// # Errors
    /// No answer in time, none that Prometheus gives, or one that says what is wrong with the query.
    pub fn query(&self, query: &str, at: f64) -> Result<Answer, Error> {
        self.ask("query", &[("query", query.into()), ("time", time(at))])
    }

    /// Evaluates a query again and again, every `step` seconds from `start` to `end`.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub fn range(&self, query: &str, start: f64, end: f64, step: f64) -> Result<Answer, Error> {
        let fields =
            [("query", query.into()), ("start", time(start)), ("end", time(end)), ("step", time(step))];
        self.ask("query_range", &fields)
    }

    fn ask(&self, what: &str, fields: &[(&str, String)]) -> Result<Answer, Error> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(self.link.ask(what, fields)),
            None => Ok(Answer::default()),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Seconds with milliseconds, which is as exact as Prometheus' own times are.
fn time(seconds: f64) -> String {
    format!("{seconds:.3}")
}
