//! kubectl's connection flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use mesh_source::cluster::Connection;

/// The flags that say which cluster, and as whom; the same as kubectl's, with the same meaning.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Connection flags")]
pub struct ConnectArgs {
    /// Path to the kubeconfig file to use for CLI requests.
    #[arg(long, value_name = "FILE", value_parser = path())]
    kubeconfig: Option<PathBuf>,
    /// The name of the kubeconfig context to use.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The name of the kubeconfig cluster to use.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The name of the kubeconfig user to use.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The address and port of the Kubernetes API server.
    #[arg(short, long, value_name = "URL")]
    server: Option<String>,
    /// Bearer token for authentication to the API server.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Path to a cert file for the certificate authority.
    #[arg(long, value_name = "FILE", value_parser = path())]
    certificate_authority: Option<PathBuf>,
    /// Path to a client certificate file for TLS.
    #[arg(long, value_name = "FILE", value_parser = path())]
    client_certificate: Option<PathBuf>,
    /// Path to a client key file for TLS.
    #[arg(long, value_name = "FILE", value_parser = path())]
    client_key: Option<PathBuf>,
    /// Do not check the server's certificate for validity. This makes your HTTPS connections insecure.
    #[arg(long)]
    insecure_skip_tls_verify: bool,
    /// Server name to use for server certificate validation; the host of the server if not given.
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Username to impersonate: a regular user, or a service account in a namespace.
    #[arg(long = "as", value_name = "USER")]
    impersonate: Option<String>,
    /// Group to impersonate; can be repeated.
    #[arg(long = "as-group", value_name = "GROUP")]
    impersonate_groups: Vec<String>,
    /// UID to impersonate.
    #[arg(long = "as-uid", value_name = "UID")]
    impersonate_uid: Option<String>,
    /// User extra to impersonate; can be repeated, also for the same key.
    #[arg(long = "as-user-extra", value_name = "KEY=VALUE", value_parser = extra)]
    impersonate_extra: Vec<(String, String)>,
    /// How long to wait for a single server request, such as 5s or 2m; 0 means no timeout.
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    request_timeout: Option<Timeout>,
}

/// A timeout that may be none, which clap would otherwise take for a flag that was not given.
#[derive(Clone, Copy)]
struct Timeout(Option<Duration>);

impl std::fmt::Debug for ConnectArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.connection().fmt(f)
    }
}

impl ConnectArgs {
    /// The flags as plain data. An empty value is as good as none, as in kubectl.
    #[must_use]
    pub fn connection(&self) -> Connection {
        let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let path = |value: &Option<PathBuf>| value.clone().filter(|value| !value.as_os_str().is_empty());
        Connection {
            kubeconfig: path(&self.kubeconfig),
            context: text(&self.context),
            cluster: text(&self.cluster),
            user: text(&self.user),
            server: text(&self.server),
            token: text(&self.token),
            certificate_authority: path(&self.certificate_authority),
            client_certificate: path(&self.client_certificate),
            client_key: path(&self.client_key),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            tls_server_name: text(&self.tls_server_name),
            impersonate: text(&self.impersonate),
            impersonate_groups: self.impersonate_groups.clone(),
            impersonate_uid: text(&self.impersonate_uid),
            impersonate_extra: self.impersonate_extra.clone(),
            request_timeout: self.request_timeout.and_then(|timeout| timeout.0),
        }
    }
}

/// Reads a path, which may be empty: scripts write `--kubeconfig "$MAYBE"`, and clap's own parser
/// refuses that.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Reads `--request-timeout`: a number of seconds, or a duration with units; zero is none.
fn timeout(text: &str) -> Result<Timeout, String> {
    let duration = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "write it as 5s, 2m or 1h; 0 means no timeout".to_owned())?,
    };
    Ok(Timeout(Some(duration).filter(|duration| !duration.is_zero())))
}

/// Reads `--as-user-extra`.
fn extra(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Plugin {
        #[command(flatten)]
        connect: ConnectArgs,
    }

    fn parse(arguments: &[&str]) -> Result<Connection, clap::Error> {
        let arguments = ["plugin"].iter().chain(arguments);
        Plugin::try_parse_from(arguments).map(|plugin| plugin.connect.connection())
    }

    #[test]
    fn without_flags_it_is_the_default() {
        assert_eq!(parse(&[]).unwrap(), Connection::default());
        assert_eq!(parse(&["--context=", "--kubeconfig="]).unwrap(), Connection::default());
    }

    #[test]
    fn every_flag_arrives() {
        let connection = parse(&[
            "--kubeconfig=k",
            "--context=c",
            "--cluster=cl",
            "--user=u",
            "-s",
            "https://s",
            "--token=t",
            "--certificate-authority=ca",
            "--client-certificate=cc",
            "--client-key=ck",
            "--tls-server-name=n",
            "--as=a",
            "--as-group=g",
            "--as-group=h",
            "--as-uid=i",
            "--as-user-extra=k=v=w",
            "--as-user-extra=k=x",
            "--request-timeout=1m30s",
        ])
        .unwrap();
        let expected = Connection {
            kubeconfig: Some("k".into()),
            context: Some("c".into()),
            cluster: Some("cl".into()),
            user: Some("u".into()),
            server: Some("https://s".into()),
            token: Some("t".into()),
            certificate_authority: Some("ca".into()),
            client_certificate: Some("cc".into()),
            client_key: Some("ck".into()),
            insecure_skip_tls_verify: false,
            tls_server_name: Some("n".into()),
            impersonate: Some("a".into()),
            impersonate_groups: vec!["g".into(), "h".into()],
            impersonate_uid: Some("i".into()),
            impersonate_extra: vec![("k".into(), "v=w".into()), ("k".into(), "x".into())],
            request_timeout: Some(Duration::from_secs(90)),
        };
        assert_eq!(connection, expected);
        assert!(parse(&["--insecure-skip-tls-verify"]).unwrap().insecure_skip_tls_verify);
    }

    #[test]
    fn timeouts_are_seconds_or_have_units() {
        let timeout = |text: &str| parse(&["--request-timeout", text]).map(|c| c.request_timeout);
        assert_eq!(timeout("0").unwrap(), None);
        assert_eq!(timeout("0s").unwrap(), None);
        assert_eq!(timeout("5").unwrap(), Some(Duration::from_secs(5)));
        assert_eq!(timeout("500ms").unwrap(), Some(Duration::from_millis(500)));
        assert!(timeout("soon").is_err());
        assert!(timeout("-5s").is_err());
    }

    #[test]
    fn extras_are_pairs() {
        assert!(parse(&["--as-user-extra=k"]).is_err());
    }

    #[test]
    fn the_token_is_not_shown() {
        let plugin = Plugin::try_parse_from(["plugin", "--token=sesame"]).unwrap();
        assert!(!format!("{:?}", plugin.connect).contains("sesame"));
    }
}
