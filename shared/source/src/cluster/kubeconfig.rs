//! From flags and kubeconfig files to one cluster and one user, as kubectl goes.
//!
//! The rules are client-go's `clientcmd`: `--kubeconfig` is the only file and must exist; else the
//! files of `KUBECONFIG` are merged, the first to set a value wins and missing files are skipped; else
//! `~/.kube/config`; else the service account of the pod we run in. Flags win over all of them.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::config::{NamedAuthInfo, NamedCluster, NamedContext};

use super::{Connection, Error};

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The one entry of a [`Kubeconfig`] made by [`select`].
const SELECTED: &str = "selected";

/// The context's namespace, or `default`.
///
/// # Errors
/// All that [`read`](super::read) can return before it connects.
pub fn default_namespace(connection: &Connection) -> Result<String, Error> {
    Ok(select(connection, &Surroundings::real())?.namespace)
}

/// The names of all contexts, for messages and completion.
///
/// # Errors
/// A kubeconfig that cannot be read or understood.
pub fn contexts(connection: &Connection) -> Result<Vec<String>, Error> {
    Ok(context_names(&merged(connection, &Surroundings::real())?))
}

/// Looks an environment variable up.
type Variable = Box<dyn Fn(&str) -> Option<OsString>>;

/// The process' surroundings, so that tests can have their own.
pub(crate) struct Surroundings {
    /// An environment variable.
    variable: Variable,
    /// The user's home directory.
    home: Option<PathBuf>,
    /// Where a pod's service account is mounted.
    service_account: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn real() -> Self {
        Self {
            variable: Box::new(|name| env::var_os(name)),
            home: env::home_dir(),
            service_account: SERVICE_ACCOUNT.into(),
        }
    }

    /// An environment variable that is set to something.
    fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name)?.into_string().ok().filter(|value| !value.is_empty())
    }
}

/// One cluster and one user, with every flag applied.
pub(crate) struct Selected {
    /// The cluster's entry.
    pub(crate) cluster: Cluster,
    /// The user's entry.
    pub(crate) user: AuthInfo,
    /// The context's namespace, or `default`.
    pub(crate) namespace: String,
}

impl Selected {
    /// The client's configuration.
    pub(crate) async fn configuration(self) -> Result<kube::Config, Error> {
        let kubeconfig = Kubeconfig {
            clusters: vec![NamedCluster {
                name: SELECTED.into(),
                cluster: Some(self.cluster),
                ..Default::default()
            }],
            auth_infos: vec![NamedAuthInfo {
                name: SELECTED.into(),
                auth_info: Some(self.user),
                ..Default::default()
            }],
            contexts: vec![NamedContext {
                name: SELECTED.into(),
                context: Some(Context {
                    cluster: SELECTED.into(),
                    user: Some(SELECTED.into()),
                    namespace: Some(self.namespace),
                    ..Default::default()
                }),
                ..Default::default()
            }],
            current_context: Some(SELECTED.into()),
            ..Default::default()
        };
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|error| Error::Configuration { reason: error.to_string() })
    }
}

/// Chooses the cluster and the user, and applies the flags.
pub(crate) fn select(connection: &Connection, surroundings: &Surroundings) -> Result<Selected, Error> {
    let kubeconfig = merged(connection, surroundings)?;
    let mut selected = match named(&kubeconfig, connection)? {
        Some(selected) => selected,
        None => in_cluster(surroundings)
            .or_else(|| server_alone(connection))
            .ok_or_else(|| Error::NoCluster { looked: looked(connection, surroundings) })?,
    };
    override_cluster(&mut selected.cluster, connection)?;
    override_user(&mut selected.user, connection)?;
    Ok(selected)
}

/// Reads and merges all kubeconfig files that count.
fn merged(connection: &Connection, surroundings: &Surroundings) -> Result<Kubeconfig, Error> {
    if let Some(path) = named_file(connection) {
        return read_file(path)?.ok_or_else(|| Error::ReadKubeconfig {
            path: path.to_owned(),
            source: io::Error::from(io::ErrorKind::NotFound),
        });
    }
    let mut merged = Kubeconfig::default();
    for path in default_files(surroundings) {
        if let Some(next) = read_file(&path)? {
            merged = merged
                .merge(next)
                .map_err(|error| Error::ParseKubeconfig { path, reason: error.to_string() })?;
        }
    }
    Ok(merged)
}

/// The file of `--kubeconfig`.
fn named_file(connection: &Connection) -> Option<&Path> {
    connection.kubeconfig.as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// The files that count without `--kubeconfig`.
fn default_files(surroundings: &Surroundings) -> Vec<PathBuf> {
    let listed: Vec<PathBuf> = (surroundings.variable)("KUBECONFIG")
        .map(|value| env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    if listed.is_empty() {
        surroundings.home.iter().map(|home| home.join(".kube").join("config")).collect()
    } else {
        listed
    }
}

/// Reads one file; `None` if there is none.
fn read_file(path: &Path) -> Result<Option<Kubeconfig>, Error> {
    let mut kubeconfig = match Kubeconfig::read_from(path) {
        Ok(kubeconfig) => kubeconfig,
        Err(KubeconfigError::ReadConfig(source, _)) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(KubeconfigError::ReadConfig(source, path)) => return Err(Error::ReadKubeconfig { path, source }),
        Err(error) => {
            return Err(Error::ParseKubeconfig { path: path.to_owned(), reason: error.to_string() });
        }
    };
    // kubectl writes `current-context: ""` for none, which must not win over a later file's.
    kubeconfig.current_context = kubeconfig.current_context.filter(|name| !name.is_empty());
    Ok(Some(kubeconfig))
}

/// The cluster and user that the kubeconfig and the flags name; `None` if they name nothing at all.
fn named(kubeconfig: &Kubeconfig, connection: &Connection) -> Result<Option<Selected>, Error> {
    let context_name = connection.context.as_ref().or(kubeconfig.current_context.as_ref());
    let context = match context_name {
        Some(name) => Some(
            kubeconfig
                .contexts
                .iter()
                .find(|context| &context.name == name)
                .and_then(|context| context.context.clone())
                .ok_or_else(|| Error::UnknownContext {
                    name: name.clone(),
                    contexts: context_names(kubeconfig),
                })?,
        ),
        None => None,
    };
    let cluster_name = connection.cluster.as_ref().or(context.as_ref().map(|context| &context.cluster));
    let Some(cluster_name) = cluster_name else {
        if connection.server.is_none() && !kubeconfig.contexts.is_empty() {
            return Err(Error::NoCurrentContext { contexts: context_names(kubeconfig) });
        }
        return Ok(None);
    };
    let cluster = kubeconfig
        .clusters
        .iter()
        .find(|cluster| &cluster.name == cluster_name)
        .and_then(|cluster| cluster.cluster.clone())
        .ok_or_else(|| Error::UnknownCluster {
            name: cluster_name.clone(),
            clusters: kubeconfig.clusters.iter().map(|cluster| cluster.name.clone()).collect(),
        })?;
    let user_name = connection.user.as_ref().or(context.as_ref().and_then(|context| context.user.as_ref()));
    let user = match user_name.filter(|name| !name.is_empty()) {
        Some(name) => kubeconfig
            .auth_infos
            .iter()
            .find(|user| &user.name == name)
            .map(|user| user.auth_info.clone().unwrap_or_default())
            .ok_or_else(|| Error::UnknownUser {
                name: name.clone(),
                users: kubeconfig.auth_infos.iter().map(|user| user.name.clone()).collect(),
            })?,
        None => AuthInfo::default(),
    };
    let namespace = context
        .and_then(|context| context.namespace)
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or_else(|| "default".into());
    Ok(Some(Selected { cluster, user, namespace }))
}

/// The service account of the pod we run in, written as kubeconfig entries so that flags apply to
/// it in the same way.
fn in_cluster(surroundings: &Surroundings) -> Option<Selected> {
    let host = surroundings.text("KUBERNETES_SERVICE_HOST")?;
    let port = surroundings.text("KUBERNETES_SERVICE_PORT")?;
    let directory = &surroundings.service_account;
    let token = directory.join("token");
    if !token.exists() {
        return None;
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let namespace = surroundings
        .text("POD_NAMESPACE")
        .or_else(|| std::fs::read_to_string(directory.join("namespace")).ok())
        .map(|namespace| namespace.trim().to_owned())
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or_else(|| "default".into());
    Some(Selected {
        cluster: Cluster {
            server: Some(format!("https://{host}:{port}")),
            certificate_authority: Some(directory.join("ca.crt").to_string_lossy().into_owned()),
            ..Default::default()
        },
        user: AuthInfo { token_file: Some(token.to_string_lossy().into_owned()), ..Default::default() },
        namespace,
    })
}

/// `--server` needs no kubeconfig.
fn server_alone(connection: &Connection) -> Option<Selected> {
    connection.server.as_ref()?;
    Some(Selected { cluster: Cluster::default(), user: AuthInfo::default(), namespace: "default".into() })
}

/// Applies the flags that are about the server.
fn override_cluster(cluster: &mut Cluster, connection: &Connection) -> Result<(), Error> {
    if let Some(server) = &connection.server {
        // As kubectl does: a bare host means plain HTTP.
        cluster.server =
            Some(if server.contains("://") { server.clone() } else { format!("http://{server}") });
    }
    if let Some(path) = &connection.certificate_authority {
        if connection.insecure_skip_tls_verify {
            return Err(Error::Configuration {
                reason: "specifying a root certificates file with the insecure flag is not allowed".into(),
            });
        }
        cluster.certificate_authority = Some(absolute(path)?);
        cluster.certificate_authority_data = None;
        cluster.insecure_skip_tls_verify = None;
    }
    if connection.insecure_skip_tls_verify {
        cluster.insecure_skip_tls_verify = Some(true);
        cluster.certificate_authority = None;
        cluster.certificate_authority_data = None;
    }
    if let Some(name) = &connection.tls_server_name {
        cluster.tls_server_name = Some(name.clone());
    }
    Ok(())
}

/// Applies the flags that are about who we are.
fn override_user(user: &mut AuthInfo, connection: &Connection) -> Result<(), Error> {
    if let Some(token) = &connection.token {
        // A token on the command line is meant to be used, whatever else the kubeconfig offers.
        user.token = Some(token.clone().into());
        user.token_file = None;
        user.exec = None;
        user.auth_provider = None;
        user.username = None;
        user.password = None;
    }
    if let Some(path) = &connection.client_certificate {
        user.client_certificate = Some(absolute(path)?);
        user.client_certificate_data = None;
    }
    if let Some(path) = &connection.client_key {
        user.client_key = Some(absolute(path)?);
        user.client_key_data = None;
    }
    override_impersonation(user, connection)
}

/// Applies `--as` and its companions.
fn override_impersonation(user: &mut AuthInfo, connection: &Connection) -> Result<(), Error> {
    if let Some(name) = &connection.impersonate {
        user.impersonate = Some(name.clone());
    }
    if let Some(uid) = &connection.impersonate_uid {
        user.impersonate_uid = Some(uid.clone());
    }
    if !connection.impersonate_groups.is_empty() {
        user.impersonate_groups = Some(connection.impersonate_groups.clone());
    }
    if !connection.impersonate_extra.is_empty() {
        let mut extra: HashMap<String, Vec<String>> = HashMap::new();
        for (key, value) in &connection.impersonate_extra {
            extra.entry(key.clone()).or_default().push(value.clone());
        }
        user.impersonate_user_extra = Some(extra);
    }
    let companions = user.impersonate_uid.is_some()
        || user.impersonate_groups.as_ref().is_some_and(|groups| !groups.is_empty())
        || user.impersonate_user_extra.as_ref().is_some_and(|extra| !extra.is_empty());
    if companions && user.impersonate.as_ref().is_none_or(String::is_empty) {
        return Err(Error::Configuration {
            reason: "requesting uid, groups or user-extra without impersonating a user: add --as".into(),
        });
    }
    Ok(())
}

/// A path on the command line counts from the working directory, not from the kubeconfig's.
fn absolute(path: &Path) -> Result<String, Error> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Error::Configuration { reason: format!("{}: {error}", path.display()) })?;
    Ok(absolute.to_string_lossy().into_owned())
}

fn context_names(kubeconfig: &Kubeconfig) -> Vec<String> {
    kubeconfig.contexts.iter().map(|context| context.name.clone()).collect()
}

/// Where a configuration was looked for, for the error.
fn looked(connection: &Connection, surroundings: &Surroundings) -> String {
    let files = match named_file(connection) {
        Some(path) => vec![path.to_owned()],
        None => default_files(surroundings),
    };
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    match files.as_slice() {
        [] => "there is no kubeconfig, and this is no pod of a cluster".into(),
        files => format!("there is no context in {}, and this is no pod of a cluster", files.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    /// A directory of its own, gone at the end of the test.
    struct Directory(PathBuf);

    impl Directory {
        fn new(test: &str) -> Self {
            let path = env::temp_dir().join(format!("mesh-kubeconfig-{}-{test}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn surroundings(directory: &Directory, variables: &[(&str, &str)]) -> Surroundings {
        let variables: HashMap<String, OsString> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        Surroundings {
            variable: Box::new(move |name| variables.get(name).cloned()),
            home: Some(directory.0.join("home")),
            service_account: directory.0.join("serviceaccount"),
        }
    }

    fn two_contexts() -> Value {
        json!({
            "clusters": [{"name": "c", "cluster": {"server": "https://c", "certificate-authority-data": "YQ=="}},
                         {"name": "d", "cluster": {"server": "https://d"}}],
            "users": [{"name": "u", "user": {"token": "t", "username": "n", "password": "p"}}],
            "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u", "namespace": "n"}},
                         {"name": "b", "context": {"cluster": "d", "user": ""}}],
            "current-context": "a",
        })
    }

    fn line(result: Result<Selected, Error>) -> String {
        result.err().unwrap().line()
    }

    #[test]
    fn the_home_directorys_file_is_the_default() {
        let directory = Directory::new("home");
        directory.write("home/.kube/config", &two_contexts().to_string());
        let selected =
            select(&Connection::default(), &surroundings(&directory, &[("KUBECONFIG", "")])).unwrap();
        assert_eq!(
            (selected.namespace.as_str(), selected.cluster.server.as_deref()),
            ("n", Some("https://c"))
        );
    }

    #[test]
    fn flags_choose_other_entries() {
        let directory = Directory::new("choose");
        let path = directory.write("k", &two_contexts().to_string());
        let surroundings = surroundings(&directory, &[]);
        let file = Connection { kubeconfig: Some(path), ..Connection::default() };
        let b = select(&Connection { context: Some("b".into()), ..file.clone() }, &surroundings).unwrap();
        assert_eq!((b.namespace.as_str(), b.cluster.server.as_deref()), ("default", Some("https://d")));
        let d = select(&Connection { cluster: Some("d".into()), ..file.clone() }, &surroundings).unwrap();
        assert_eq!((d.namespace.as_str(), d.cluster.server.as_deref()), ("n", Some("https://d")));

        let unknown = select(&Connection { context: Some("x".into()), ..file.clone() }, &surroundings);
        let error = unknown.err().unwrap();
        assert_eq!(error.line(), "error: context \"x\" does not exist");
        assert_eq!(error.hint().as_deref(), Some("there are: a, b"));
        let unknown = select(&Connection { cluster: Some("x".into()), ..file.clone() }, &surroundings);
        assert_eq!(line(unknown), "error: cluster \"x\" does not exist");
        let unknown = select(&Connection { user: Some("x".into()), ..file }, &surroundings);
        assert_eq!(line(unknown), "error: auth info \"x\" does not exist");
    }

    #[test]
    fn flags_win_over_the_files() {
        let directory = Directory::new("win");
        let path = directory.write("k", &two_contexts().to_string());
        let connection = Connection {
            kubeconfig: Some(path),
            server: Some("elsewhere:80".into()),
            token: Some("flag".into()),
            insecure_skip_tls_verify: true,
            client_certificate: Some("/cert".into()),
            ..Connection::default()
        };
        let selected = select(&connection, &surroundings(&directory, &[])).unwrap();
        assert_eq!(selected.cluster.server.as_deref(), Some("http://elsewhere:80"));
        assert_eq!(selected.cluster.certificate_authority_data, None);
        assert_eq!(selected.user.username, None);
        assert_eq!(selected.user.client_certificate.as_deref(), Some("/cert"));
        assert_eq!(serde_json::to_value(&selected.user).unwrap()["token"], "flag");
        let both = Connection { certificate_authority: Some("/ca".into()), ..connection };
        let error = line(select(&both, &surroundings(&directory, &[])));
        assert_eq!(error, "error: specifying a root certificates file with the insecure flag is not allowed");
    }

    #[test]
    fn without_anything_it_says_what_to_do() {
        let directory = Directory::new("nothing");
        let error = select(&Connection::default(), &surroundings(&directory, &[])).err().unwrap();
        let config = directory.0.join("home/.kube/config");
        assert_eq!(
            error.line(),
            format!(
                "error: no cluster is configured: there is no context in {}, and this is no pod of a cluster",
                config.display()
            )
        );
        assert!(error.hint().unwrap().contains("-f FILE"));

        let missing = Connection { kubeconfig: Some("/no/such/file".into()), ..Connection::default() };
        let error = line(select(&missing, &surroundings(&directory, &[])));
        assert!(error.starts_with("error: cannot read the kubeconfig /no/such/file: "), "{error}");
        let path = directory.write("broken", "contexts: [");
        let broken = Connection { kubeconfig: Some(path.clone()), ..Connection::default() };
        let error = line(select(&broken, &surroundings(&directory, &[])));
        assert!(error.starts_with(&format!("error: cannot understand the kubeconfig {}: ", path.display())));
    }

    #[test]
    fn a_kubeconfig_without_current_context_lists_its_contexts() {
        let directory = Directory::new("current");
        let mut value = two_contexts();
        value["current-context"] = "".into();
        let path = directory.write("k", &value.to_string());
        let connection = Connection { kubeconfig: Some(path), ..Connection::default() };
        let error = select(&connection, &surroundings(&directory, &[])).err().unwrap();
        assert!(error.hint().unwrap().contains("a, b"));
    }

    #[test]
    fn in_a_pod_the_service_account_counts_and_flags_apply() {
        let directory = Directory::new("pod");
        directory.write("serviceaccount/token", "t");
        directory.write("serviceaccount/namespace", "home\n");
        let variables = [("KUBERNETES_SERVICE_HOST", "fd00::1"), ("KUBERNETES_SERVICE_PORT", "443")];
        let connection = Connection { impersonate: Some("jane".into()), ..Connection::default() };
        let selected = select(&connection, &surroundings(&directory, &variables)).unwrap();
        assert_eq!(selected.cluster.server.as_deref(), Some("https://[fd00::1]:443"));
        assert_eq!(selected.namespace, "home");
        assert_eq!(selected.user.impersonate.as_deref(), Some("jane"));
        assert!(selected.user.token_file.unwrap().ends_with("token"));
    }
}
