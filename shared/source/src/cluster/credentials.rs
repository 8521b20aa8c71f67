//! Credentials from the kubeconfig's plugin (`users[].user.exec`), as client-go gets them.
//!
//! kube runs the plugin up to three times while it sets up one client, and every run may ask the user
//! to log in: so it is run here, once, and kube gets what it printed. A token got so is not renewed;
//! who stays connected for hours connects again when the server says 401.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, stdin};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kube::config::{AuthInfo, Cluster, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;

use super::Error;

/// What a plugin prints: `ExecCredential` of `client.authentication.k8s.io`.
#[derive(Deserialize)]
struct Printed {
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Runs the user's plugin, if there is one and nothing that goes before it, and puts its credentials
/// in its place.
pub(crate) fn resolve(user: &mut AuthInfo, cluster: &Cluster) -> Result<(), Error> {
    let has_others = user.token.is_some()
        || user.token_file.is_some()
        || user.auth_provider.is_some()
        || (user.username.is_some() && user.password.is_some());
    let Some(plugin) = user.exec.take() else { return Ok(()) };
    if has_others {
        return Ok(());
    }
    let status = run(&plugin, cluster)
        .map_err(|reason| Error::Credentials { reason, install: plugin.install_hint.clone() })?;
    if let (Some(certificate), Some(key)) = (status.client_certificate_data, status.client_key_data) {
        user.client_certificate_data = Some(BASE64_STANDARD.encode(certificate));
        user.client_key_data = Some(BASE64_STANDARD.encode(key).into());
    }
    user.token = status.token.map(Into::into);
    Ok(())
}

/// Runs a plugin. It has our terminal: it may ask, and what it says on stderr is for the user.
fn run(plugin: &ExecConfig, cluster: &Cluster) -> Result<Status, String> {
    let name = plugin.command.as_deref().ok_or("exec: the plugin has no command")?;
    let interactive = is_interactive(plugin)?;
    let mut command = Command::new(name);
    command
        .args(plugin.args.iter().flatten())
        .env("KUBERNETES_EXEC_INFO", question(plugin, cluster, interactive)?)
        .stdin(if interactive { Stdio::inherit() } else { Stdio::null() })
        .stderr(Stdio::inherit());
    for variable in plugin.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("exec: executable {name} not found"),
        _ => format!("exec: {name}: {error}"),
    })?;
    // Neither the arguments nor the output are shown: both may hold secrets.
    if !output.status.success() {
        let mut reason = format!("exec: executable {name} failed");
        if let Some(code) = output.status.code() {
            let _ = write!(reason, " with exit code {code}");
        }
        return Err(reason);
    }
    let printed: Printed = serde_json::from_slice(&output.stdout).map_err(|error| {
        format!("exec: {name} printed no ExecCredential (line {}, column {})", error.line(), error.column())
    })?;
    let status =
        printed.status.ok_or_else(|| format!("exec: {name} printed an ExecCredential without status"))?;
    if status.token.is_none()
        && (status.client_certificate_data.is_none() || status.client_key_data.is_none())
    {
        return Err(format!("exec: {name} printed neither a token nor a certificate with its key"));
    }
    Ok(status)
}

/// Whether the plugin gets our standard input.
fn is_interactive(plugin: &ExecConfig) -> Result<bool, String> {
    match plugin.interactive_mode {
        Some(ExecInteractiveMode::Never) => Ok(false),
        Some(ExecInteractiveMode::Always) if !stdin().is_terminal() => {
            Err("exec plugin cannot support interactive mode: standard input is not a terminal".into())
        }
        _ => Ok(stdin().is_terminal()),
    }
}

/// What the plugin is told.
fn question(plugin: &ExecConfig, cluster: &Cluster, interactive: bool) -> Result<String, String> {
    let mut spec = json!({ "interactive": interactive });
    if plugin.provide_cluster_info {
        let cluster = ExecAuthCluster::try_from(cluster).map_err(|error| format!("exec: {error}"))?;
        spec["cluster"] = serde_json::to_value(cluster).map_err(|error| format!("exec: {error}"))?;
    }
    let question = json!({ "apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec });
    Ok(question.to_string())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn user(script: &str) -> AuthInfo {
        let exec = ExecConfig {
            api_version: Some("client.authentication.k8s.io/v1".into()),
            command: Some("sh".into()),
            args: Some(vec!["-c".into(), script.into()]),
            env: Some(vec![[("name".into(), "PASS".into()), ("value".into(), "sesame".into())].into()]),
            interactive_mode: Some(ExecInteractiveMode::Never),
            install_hint: Some("install it".into()),
            provide_cluster_info: true,
            ..ExecConfig::default()
        };
        AuthInfo { exec: Some(exec), ..AuthInfo::default() }
    }

    fn json_of(user: &AuthInfo) -> serde_json::Value {
        serde_json::to_value(user).unwrap()
    }

    #[test]
    fn a_token_takes_the_plugins_place() {
        let mut user = user(
            r#"echo "$KUBERNETES_EXEC_INFO" | grep -q '"server":"https://here"' || exit 9
               echo '{"kind":"ExecCredential","status":{"token":"'$PASS'","expirationTimestamp":"2100-01-01T00:00:00Z"}}'"#,
        );
        let cluster = Cluster { server: Some("https://here".into()), ..Cluster::default() };
        resolve(&mut user, &cluster).unwrap();
        assert!(user.exec.is_none());
        assert_eq!(json_of(&user)["token"], "sesame");
    }

    #[test]
    fn a_certificate_takes_the_plugins_place() {
        let mut user = user(r#"echo '{"status":{"clientCertificateData":"cert","clientKeyData":"key"}}'"#);
        resolve(&mut user, &Cluster::default()).unwrap();
        assert_eq!(json_of(&user)["client-certificate-data"], BASE64_STANDARD.encode("cert"));
    }

    #[test]
    fn a_failure_shows_no_secret() {
        for script in ["echo $PASS; exit 3", "echo $PASS", "echo '{}'", "echo '{\"status\":{}}'"] {
            let error = resolve(&mut user(script), &Cluster::default()).unwrap_err();
            assert!(error.line().starts_with("Unable to connect to the server: getting credentials: exec: "));
            assert!(!format!("{error:?}").contains("sesame"));
            assert_eq!(error.hint().as_deref(), Some("install it"));
        }
    }

    #[test]
    fn a_plugin_that_is_missing_is_named() {
        let mut user = user("");
        user.exec.as_mut().unwrap().command = Some("no-such-plugin".into());
        let error = resolve(&mut user, &Cluster::default()).unwrap_err();
        assert!(error.line().ends_with("exec: executable no-such-plugin not found"), "{}", error.line());
    }

    #[test]
    fn a_token_goes_before_the_plugin() {
        let mut user = AuthInfo { token: Some("own".to_owned().into()), ..user("exit 3") };
        resolve(&mut user, &Cluster::default()).unwrap();
        assert_eq!(json_of(&user)["token"], "own");
    }
}
