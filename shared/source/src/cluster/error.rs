//! What can go wrong between us and the API server, in kubectl's words.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a cluster could not be read. The text is what kubectl says in the same place, without the
/// leading `error: ` of those messages that have one: [`Error::line`] has the whole line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a kubeconfig nor a service account was found.
    #[error("no cluster is configured: {looked}")]
    NoCluster {
        /// Where a configuration was looked for.
        looked: String,
    },
    /// A kubeconfig that the user named could not be read.
    #[error("cannot read the kubeconfig {}: {source}", path.display())]
    ReadKubeconfig {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A kubeconfig is not what it should be.
    #[error("cannot understand the kubeconfig {}: {reason}", path.display())]
    ParseKubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// The kubeconfig has contexts, but none is current and none was named.
    #[error("no context is current in the kubeconfig")]
    NoCurrentContext {
        /// The contexts there are.
        contexts: Vec<String>,
    },
    /// The named (or current) context does not exist.
    #[error("context \"{name}\" does not exist")]
    UnknownContext {
        /// The context asked for.
        name: String,
        /// The contexts there are.
        contexts: Vec<String>,
    },
    /// The named cluster does not exist in the kubeconfig.
    #[error("cluster \"{name}\" does not exist")]
    UnknownCluster {
        /// The cluster asked for.
        name: String,
        /// The clusters there are.
        clusters: Vec<String>,
    },
    /// The named user does not exist in the kubeconfig.
    #[error("auth info \"{name}\" does not exist")]
    UnknownUser {
        /// The user asked for.
        name: String,
        /// The users there are.
        users: Vec<String>,
    },
    /// Flags or kubeconfig entries that cannot be used: an address that is none, a certificate that
    /// cannot be read, two flags that exclude each other.
    #[error("{reason}")]
    Configuration {
        /// What cannot be used, and why.
        reason: String,
    },
    /// The kubeconfig's credential plugin gave no credentials.
    #[error("Unable to connect to the server: getting credentials: {reason}")]
    Credentials {
        /// What happened to the plugin.
        reason: String,
        /// The kubeconfig's own advice on installing the plugin.
        install: Option<String>,
    },
    /// Nobody listens at the server's address.
    #[error("The connection to the server {host} was refused - did you specify the right host or port?")]
    Refused {
        /// Host and port.
        host: String,
    },
    /// The server could not be reached, or not trusted.
    #[error("Unable to connect to the server: {reason}")]
    Unreachable {
        /// What happened.
        reason: String,
        /// Of what sort it is.
        sort: Unreachable,
    },
    /// A request took longer than `--request-timeout`.
    #[error("Unable to connect to the server: no complete answer from {host} within {}", seconds(*after))]
    Timeout {
        /// Host and port.
        host: String,
        /// The time allowed.
        after: Duration,
    },
    /// The server does not know who we are.
    #[error("You must be logged in to the server ({message})")]
    Unauthorized {
        /// The server's words.
        message: String,
    },
    /// The server knows who we are and refuses everything that was asked.
    #[error("Error from server (Forbidden): {message}")]
    Forbidden {
        /// The server's words.
        message: String,
    },
    /// The server answered with another error.
    #[error("Error from server{}: {message}", parenthesised(reason))]
    Server {
        /// Kubernetes' reason, such as `InternalError`; may be empty.
        reason: String,
        /// The server's words.
        message: String,
    },
    /// The server's answer is not what the Kubernetes API answers.
    #[error("cannot understand the answer of the server to {path}: {reason}")]
    Answer {
        /// What was asked.
        path: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The operating system gave us no way to do I/O.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

/// In what way a server was out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The host's name has no address.
    Name,
    /// TLS failed: nearly always the certificate authority or the name in the certificate.
    Certificate,
    /// Everything else: no route, connection cut, a proxy that refuses.
    Network,
}

impl Error {
    /// The whole line as kubectl would print it.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Credentials { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Forbidden { .. }
            | Self::Server { .. } => self.to_string(),
            _ => format!("error: {self}"),
        }
    }

    /// What to do next, if there is something better than trying again.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCluster { .. } => Some(
                "name a kubeconfig with --kubeconfig or KUBECONFIG; without a cluster, read manifests with \
                 -f FILE"
                    .into(),
            ),
            Self::ReadKubeconfig { .. } => {
                Some("check the path; without a cluster, read manifests with -f FILE".into())
            }
            Self::NoCurrentContext { contexts } => Some(format!(
                "name one with --context ({}), or choose one with `kubectl config use-context`",
                known(contexts)
            )),
            Self::UnknownContext { contexts, .. } => Some(format!("there are: {}", known(contexts))),
            Self::UnknownCluster { clusters, .. } => Some(format!("there are: {}", known(clusters))),
            Self::UnknownUser { users, .. } => Some(format!("there are: {}", known(users))),
            Self::Credentials { install, .. } => Some(install.clone().unwrap_or_else(|| {
                "run the command of the kubeconfig's `users[].user.exec` by hand to see what it wants".into()
            })),
            Self::Refused { .. } => Some(
                "is the cluster running, and is this the right context? `kubectl config current-context` \
                 shows it"
                    .into(),
            ),
            Self::Unreachable { sort, .. } => Some(
                match sort {
                    Unreachable::Name => {
                        "does the host's name resolve here? Some clusters need a VPN or a proxy"
                    }
                    Unreachable::Certificate => {
                        "the kubeconfig's certificate authority does not vouch for this server: fetch a new \
                         kubeconfig, or name the right one with --certificate-authority; --tls-server-name \
                         if the certificate is for another name"
                    }
                    Unreachable::Network => "is the network up? Some clusters need a VPN or a proxy",
                }
                .into(),
            ),
            Self::Timeout { .. } => Some("allow more with --request-timeout, such as 30s".into()),
            Self::Unauthorized { .. } => {
                Some("the credentials are missing, wrong or expired: log in to the cluster again".into())
            }
            Self::Forbidden { .. } => Some(
                "`kubectl auth can-i --list` shows what you may do; reading takes the verb list on the \
                 kinds named"
                    .into(),
            ),
            Self::ParseKubeconfig { .. }
            | Self::Configuration { .. }
            | Self::Server { .. }
            | Self::Answer { .. }
            | Self::Start(_) => None,
        }
    }

    /// Sorts an error of the transport, which the client hands over as a chain of causes.
    pub(crate) fn from_transport(error: &(dyn StdError + 'static), host: &str) -> Self {
        let mut reason = error.to_string();
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(current) = cause {
            reason = current.to_string();
            let system = current.downcast_ref::<io::Error>();
            if system.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                return Self::Refused { host: host.to_owned() };
            }
            // An I/O error made from another error hides that error from `source`.
            cause = match system.and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => current.source(),
            };
        }
        let sort = if reason.contains("lookup address") || reason.contains("dns error") {
            Unreachable::Name
        } else if reason.contains("certificate") || reason.contains("tls") {
            Unreachable::Certificate
        } else {
            Unreachable::Network
        };
        Self::Unreachable { reason: format!("{host}: {reason}"), sort }
    }
}

/// The names, for a person to choose from.
fn known(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// ` (Reason)`, or nothing without a reason.
pub(super) fn parenthesised(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

/// A duration as the user would have typed it.
fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_client_side_messages_begin_with_error() {
        let refused = Error::Refused { host: "localhost:1".into() };
        assert_eq!(
            refused.line(),
            "The connection to the server localhost:1 was refused - did you specify the right host or port?"
        );
        let unknown = Error::UnknownContext { name: "x".into(), contexts: vec!["a".into(), "b".into()] };
        assert_eq!(unknown.line(), "error: context \"x\" does not exist");
        assert_eq!(unknown.hint().as_deref(), Some("there are: a, b"));
    }

    #[test]
    fn a_refused_connection_is_found_below_other_causes() {
        let inner = io::Error::from(io::ErrorKind::ConnectionRefused);
        let outer = io::Error::other(inner);
        assert!(matches!(Error::from_transport(&outer, "h:1"), Error::Refused { .. }));
    }
}
