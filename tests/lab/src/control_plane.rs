//! A real etcd and a real kube-apiserver on loopback, up in a few seconds.
//!
//! The binary is built once from the Go module in `kubernetes/`, and kept outside of the tree.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// The bearer token of a cluster administrator.
pub const ADMINISTRATOR: &str = "administrator-token";

/// The bearer token of `limited`, a user who may do nothing until a test grants something.
pub const LIMITED: &str = "limited-token";

/// The exit code of `kubernetes/build` where Go is missing.
const NO_GO: i32 = 3;

/// How long the servers may take to come up, on a machine that compiles at the same time.
const PATIENCE: Duration = Duration::from_secs(90);

/// Objects created at the same time.
const SIDE_BY_SIDE: usize = 16;

const JSON: &str = "application/json";

/// Why the control plane did not come up, or did not take an object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Go is missing, so there is nothing to start.
    #[error("building the control plane needs Go, which is missing")]
    NoGo,
    /// The build failed; its own output says why.
    #[error("building the control plane failed")]
    Build,
    /// Files and processes.
    #[error("{0}")]
    System(#[from] io::Error),
    /// A server ended, or was not ready in time.
    #[error("{part} did not come up: {log}")]
    Start {
        /// Which one.
        part: &'static str,
        /// The end of its log.
        log: String,
    },
    /// The API server refused a request.
    #[error("{0}")]
    Request(#[from] kube::Error),
    /// The address or the certificates do not make a client.
    #[error("{0}")]
    Configuration(#[from] kube::config::KubeconfigError),
    /// The definitions of Istio's kinds cannot be read.
    #[error("Istio's definitions: {0}")]
    Definitions(#[from] serde_yaml::Error),
}

/// A running control plane; ends when dropped, and when the process that started it ends, however
/// that comes about.
pub struct ControlPlane {
    directory: PathBuf,
    port: u16,
    runtime: Runtime,
    client: kube::Client,
    definitions: PathBuf,
    // The last one started ends first.
    _apiserver: Part,
    _etcd: Part,
}

/// A part of the control plane. It ends when its standard input is closed.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and the closed standard input ends it anyway.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl ControlPlane {
    /// The control plane that all tests of a process share, with Istio's kinds installed.
    ///
    /// `None` where Go is missing: the test that asked is skipped, with a word on stderr. With
    /// `CI=true` nothing is skipped.
    ///
    /// # Panics
    /// If it does not come up.
    #[expect(clippy::panic, reason = "a test without its server has failed")]
    #[expect(clippy::print_stderr, reason = "the test harness has no other way to say so")]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<ControlPlane>> = OnceLock::new();
        let start = || match Self::start().and_then(|started| started.install_istio().map(|()| started)) {
            Ok(started) => Some(started),
            Err(Error::NoGo) if std::env::var("CI").as_deref() != Ok("true") => None,
            Err(error) => panic!("the control plane: {error}"),
        };
        let shared = SHARED.get_or_init(start).as_ref();
        if shared.is_none() {
            eprintln!("skipped: {}", Error::NoGo);
        }
        shared
    }

    /// Builds what is not built, starts etcd and kube-apiserver, and waits until they are ready.
    ///
    /// # Errors
    /// If Go is missing, the build fails, or a server does not come up.
    pub fn start() -> Result<Self, Error> {
        let built = build()?;
        let binary = built.join("kubernetes");
        let directory = new_directory()?;
        let key = directory.join("service-account.key");
        if !Command::new(&binary).arg("service-account-key").arg(&key).status()?.success() {
            return Err(Error::Build);
        }
        fs::write(
            directory.join("tokens.csv"),
            format!("{ADMINISTRATOR},admin,1,\"system:masters\"\n{LIMITED},limited,2\n"),
        )?;
        let [client_port, peer_port, port] = free_ports()?;
        let etcd = launch(&binary, &directory, "etcd", &etcd_flags(&directory, client_port, peer_port))?;
        let apiserver = launch(
            &binary,
            &directory,
            "kube-apiserver",
            &apiserver_flags(&directory, &key, client_port, port),
        )?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut apiserver = apiserver;
        let client = wait(&runtime, &directory, port, &mut apiserver)?;
        let definitions = built.join("istio-crds.yaml");
        Ok(Self { directory, port, runtime, client, definitions, _apiserver: apiserver, _etcd: etcd })
    }

    /// The API server's address.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The PEM file of the authority that vouches for the API server.
    #[must_use]
    pub fn certificate_authority(&self) -> PathBuf {
        certificate_authority(&self.directory)
    }

    /// A directory of this control plane, gone with it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a kubeconfig with one context, `lab`, for the owner of a token.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn kubeconfig(&self, name: &str, token: &str, namespace: &str) -> Result<PathBuf, Error> {
        let path = self.directory.join(name);
        fs::write(&path, kubeconfig(&self.directory, self.port, token, namespace).to_string())?;
        Ok(path)
    }

    /// Installs the definitions of Istio's kinds, and waits until they are served.
    ///
    /// # Errors
    /// If the API server refuses one.
    pub fn install_istio(&self) -> Result<(), Error> {
        let text = fs::read_to_string(&self.definitions)?;
        let mut definitions = Vec::new();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let definition = Value::deserialize(document)?;
            if definition.is_object() {
                definitions
                    .push(("/apis/apiextensions.k8s.io/v1/customresourcedefinitions".into(), definition));
            }
        }
        self.create(definitions)?;
        let until = Instant::now() + PATIENCE;
        let lists = [
            "/apis/networking.istio.io/v1/virtualservices",
            "/apis/security.istio.io/v1/authorizationpolicies",
        ];
        while !lists.iter().all(|list| self.get(list).is_ok()) {
            if Instant::now() > until {
                return Err(Error::Start { part: "Istio's definitions", log: String::new() });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Creates objects, each given with the path of its collection. Those that are there already
    /// stay as they are.
    ///
    /// # Errors
    /// The API server's first refusal.
    pub fn create(&self, objects: Vec<(String, Value)>) -> Result<(), Error> {
        let create = |(path, object): (String, Value)| async move {
            match self.client.request_text(request(Method::POST, &path, JSON, &object)?).await {
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                Err(error) => Err(Error::from(error)),
                Ok(_) => Ok(()),
            }
        };
        self.runtime.block_on(stream::iter(objects).map(create).buffer_unordered(SIDE_BY_SIDE).try_collect())
    }

    /// Changes an object by a JSON merge patch.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn merge(&self, path: &str, patch: &Value) -> Result<(), Error> {
        let request = request(Method::PATCH, path, "application/merge-patch+json", patch)?;
        self.runtime.block_on(self.client.request_text(request))?;
        Ok(())
    }

    /// Reads what is at a path, as administrator.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn get(&self, path: &str) -> Result<String, Error> {
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
        Ok(self.runtime.block_on(self.client.request_text(request))?)
    }
}

fn request(method: Method, path: &str, media: &str, body: &Value) -> Result<Request<Vec<u8>>, kube::Error> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, media)
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)
}

/// Builds the binary, or finds it built; returns its directory.
fn build() -> Result<PathBuf, Error> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes").join("build");
    // The script's stderr is ours: building takes minutes, and says so.
    let output = Command::new(script).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    match output.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).trim().into()),
        Some(NO_GO) => Err(Error::NoGo),
        _ => Err(Error::Build),
    }
}

/// A directory of its own for each control plane of each process.
fn new_directory() -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("mesh-lab-{}-{count}", std::process::id()));
    fs::create_dir(&directory)?;
    Ok(directory)
}

/// Ports that nobody listens on now; they are freed together, so that they differ.
fn free_ports<const COUNT: usize>() -> io::Result<[u16; COUNT]> {
    let mut ports = [0; COUNT];
    let mut listeners = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

fn etcd_flags(directory: &Path, client_port: u16, peer_port: u16) -> Vec<String> {
    let client = format!("http://127.0.0.1:{client_port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    vec![
        format!("--data-dir={}", directory.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // Nothing here outlives the test.
        "--unsafe-no-fsync=true".into(),
    ]
}

fn apiserver_flags(directory: &Path, key: &Path, etcd_port: u16, port: u16) -> Vec<String> {
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".into(),
        "--advertise-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", directory.display()),
        format!("--service-account-key-file={}", key.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        format!("--token-auth-file={}", directory.join("tokens.csv").display()),
        "--authorization-mode=RBAC".into(),
        "--endpoint-reconciler-type=none".into(),
    ]
}

fn launch(binary: &Path, directory: &Path, part: &str, flags: &[String]) -> io::Result<Part> {
    let log = File::create(log(directory, part))?;
    let child = Command::new(binary)
        .arg(format!("--until-stdin-closes={}", directory.display()))
        .arg(part)
        .args(flags)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(Part(child))
}

fn log(directory: &Path, part: &str) -> PathBuf {
    directory.join(format!("{part}.log"))
}

fn certificate_authority(directory: &Path) -> PathBuf {
    directory.join("apiserver.crt")
}

fn kubeconfig(directory: &Path, port: u16, token: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": certificate_authority(directory),
        }}],
        "users": [{"name": "lab", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": namespace}}],
        "current-context": "lab",
    })
}

/// Waits until the API server is ready, and returns an administrator's client.
fn wait(runtime: &Runtime, directory: &Path, port: u16, apiserver: &mut Part) -> Result<kube::Client, Error> {
    let until = Instant::now() + PATIENCE;
    // The API server writes its own certificate.
    while !certificate_authority(directory).exists() {
        still_starting(directory, apiserver, until)?;
    }
    let text = kubeconfig(directory, port, ADMINISTRATOR, "default").to_string();
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::from_yaml(&text)?;
        let options = KubeConfigOptions::default();
        let mut configuration = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        // Not ready is an answer here.
        configuration.default_retry = false;
        let client = kube::Client::try_from(configuration)?;
        loop {
            let ready = Request::get("/readyz").body(Vec::new()).map_err(kube::Error::HttpError)?;
            if client.request_text(ready).await.is_ok() {
                return Ok(client);
            }
            still_starting(directory, apiserver, until)?;
        }
    })
}

/// Waits a moment; an error if the API server has ended, or has had its time.
fn still_starting(directory: &Path, apiserver: &mut Part, until: Instant) -> Result<(), Error> {
    if apiserver.0.try_wait()?.is_some() || Instant::now() > until {
        let log = fs::read_to_string(log(directory, "kube-apiserver")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        return Err(Error::Start { part: "kube-apiserver", log: tail });
    }
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
}
