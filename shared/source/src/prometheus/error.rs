//! What can go wrong between us and a Prometheus.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error as ThisError;

use crate::cluster;

/// Why Prometheus gave no numbers. The text says what was being done, where, and what went wrong;
/// [`Error::hint`] says what to do next.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The cluster in which one was looked for.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The file with the token cannot be read.
    #[error("cannot read the token for Prometheus in {}: {source}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The address, or what belongs to it, cannot be used.
    #[error("cannot ask Prometheus {name}: {reason}")]
    Configuration {
        /// The address.
        name: String,
        /// Why not.
        reason: String,
    },
    /// It cannot be reached.
    #[error("cannot reach Prometheus at {name}: {reason}")]
    Unreachable {
        /// Which one.
        name: String,
        /// What happened.
        reason: String,
    },
    /// It did not answer in time.
    #[error("Prometheus at {name} gave no complete answer within {} s", after.as_secs_f64())]
    Timeout {
        /// Which one.
        name: String,
        /// The time allowed.
        after: Duration,
    },
    /// It does not know who we are (401).
    #[error("Prometheus at {name} asks for a login: {message}")]
    Unauthorized {
        /// Which one.
        name: String,
        /// The server's words.
        message: String,
    },
    /// It, or the API server before it, refuses (403).
    #[error("{} refuses access to Prometheus at {name}: {message}", if *by_api_server { "the API server" } else { "the server" })]
    Forbidden {
        /// Which one.
        name: String,
        /// The server's words.
        message: String,
        /// Whether it was the API server's proxy.
        by_api_server: bool,
    },
    /// What answered is no Prometheus.
    #[error("{name} does not answer as Prometheus does: {reason}")]
    NotPrometheus {
        /// What was asked.
        name: String,
        /// What it answered.
        reason: String,
    },
    /// Prometheus could not evaluate the query.
    #[error("Prometheus at {name} could not evaluate the query ({kind}): {message}\n{query}")]
    Query {
        /// Which one.
        name: String,
        /// Its `errorType`, such as `bad_data`.
        kind: String,
        /// Its words.
        message: String,
        /// The query.
        query: String,
    },
    /// The answer is larger than anything that was expected.
    #[error("the answer of Prometheus at {name} is larger than {} MiB", limit >> 20)]
    TooLarge {
        /// Which one.
        name: String,
        /// How many bytes are read.
        limit: usize,
    },
    /// No Prometheus in the cluster answers.
    #[error("found no Prometheus in the cluster{}", tried.iter().map(|error| format!("\n{error}")).collect::<String>())]
    NotFound {
        /// Those that were tried, and what became of it.
        tried: Vec<Error>,
    },
    /// Several fit.
    #[error("several Prometheus have Istio's metrics: {}", names.join(", "))]
    Several {
        /// Which.
        names: Vec<String>,
    },
}

impl Error {
    /// The whole line as kubectl would print it.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Cluster(error) => error.line(),
            other => format!("error: {other}"),
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Cluster(error) => return error.hint(),
            Self::TokenFile { .. } | Self::Configuration { .. } => return None,
            Self::Unreachable { .. } => {
                "is it running, and is this its address? `--prometheus-url` names another one"
            }
            Self::Timeout { .. } => "it may be overloaded: try again, or ask another with `--prometheus-url`",
            Self::Unauthorized { .. } => {
                "give a token with `--prometheus-token-file`, or USER:PASSWORD@ in `--prometheus-url`"
            }
            Self::Forbidden { by_api_server: true, .. } => {
                "it takes the right to get services/proxy there (docs/rbac/canary-metrics.yaml), or \
                 `--prometheus-url`"
            }
            Self::Forbidden { .. } => "the token or the user may not query this Prometheus",
            Self::NotPrometheus { .. } => {
                "`--prometheus-url` wants the address below which /api/v1/query is; a login page in front of \
                 it needs `--prometheus-token-file`"
            }
            Self::Query { kind, .. } if kind == "bad_data" => "try the query in Prometheus' own interface",
            Self::Query { .. } | Self::TooLarge { .. } => {
                "ask for less: a shorter interval has fewer samples"
            }
            Self::NotFound { .. } => "name one with `--prometheus-url`",
            Self::Several { .. } => {
                "choose one with `--prometheus-url`, for instance through `kubectl port-forward`"
            }
        };
        Some(hint.to_owned())
    }

    /// Whether the same question may be answered when it is asked again: everything that comes and goes.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Query { kind, .. } => {
                matches!(kind.as_str(), "timeout" | "unavailable" | "internal" | "canceled")
            }
            Self::Cluster(error) => matches!(
                error,
                cluster::Error::Refused { .. }
                    | cluster::Error::Unreachable { .. }
                    | cluster::Error::Timeout { .. }
                    | cluster::Error::Server { .. }
            ),
            _ => false,
        }
    }
}
