//! Which cluster to read, and as whom.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// kubectl's connection flags as plain data. The default is what kubectl does without any flag:
/// the current context of the kubeconfig, or the pod's own service account inside a cluster.
///
/// Every field set here wins over the kubeconfig, as in kubectl.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// `--kubeconfig`: the only file to read; without it `KUBECONFIG` (a list), then `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// `--cluster`: the kubeconfig's entry, instead of the context's.
    pub cluster: Option<String>,
    /// `--user`: the kubeconfig's entry, instead of the context's.
    pub user: Option<String>,
    /// `--server`: the address of the API server.
    pub server: Option<String>,
    /// `--token`: a bearer token.
    pub token: Option<String>,
    /// `--certificate-authority`: a PEM file.
    pub certificate_authority: Option<PathBuf>,
    /// `--client-certificate`: a PEM file.
    pub client_certificate: Option<PathBuf>,
    /// `--client-key`: a PEM file.
    pub client_key: Option<PathBuf>,
    /// `--insecure-skip-tls-verify`.
    pub insecure_skip_tls_verify: bool,
    /// `--tls-server-name`: the name that the server's certificate must carry.
    pub tls_server_name: Option<String>,
    /// `--as`: the user to impersonate.
    pub impersonate: Option<String>,
    /// `--as-group`, in the order given.
    pub impersonate_groups: Vec<String>,
    /// `--as-uid`.
    pub impersonate_uid: Option<String>,
    /// `--as-user-extra`: pairs of key and value; a key may repeat.
    pub impersonate_extra: Vec<(String, String)>,
    /// `--request-timeout`: how long one request may take; `None` means for ever, as in kubectl.
    pub request_timeout: Option<Duration>,
}

/// Shows everything but the token, which must not reach a log.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("kubeconfig", &self.kubeconfig)
            .field("context", &self.context)
            .field("cluster", &self.cluster)
            .field("user", &self.user)
            .field("server", &self.server)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("certificate_authority", &self.certificate_authority)
            .field("client_certificate", &self.client_certificate)
            .field("client_key", &self.client_key)
            .field("insecure_skip_tls_verify", &self.insecure_skip_tls_verify)
            .field("tls_server_name", &self.tls_server_name)
            .field("impersonate", &self.impersonate)
            .field("impersonate_groups", &self.impersonate_groups)
            .field("impersonate_uid", &self.impersonate_uid)
            .field("impersonate_extra", &self.impersonate_extra)
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_not_shown() {
        let connection = Connection { token: Some("sesame".into()), ..Connection::default() };
        assert!(!format!("{connection:?}").contains("sesame"));
    }
}
