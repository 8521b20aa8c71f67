//! A whole mesh on this machine: Kubernetes and Istio as processes, every pod a network namespace.
//!
//! A test applies manifests, waits until the proxies have them, sends requests from pods, and says what
//! must hold:
//!
//! ```no_run
//! use mesh_lab::{Mesh, Request};
//! # fn main() -> Result<(), mesh_lab::mesh::Error> {
//! let Some(mesh) = Mesh::shared() else { return Ok(()) };
//! mesh.apply("examples/orders")?;
//! mesh.settle()?;
//! let answer = mesh.call("orders/order-service", &Request::get("http://payment-service:8080/"))?;
//! assert_eq!(answer.status, Some(403));
//! # Ok(())
//! # }
//! ```

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::call::{Answer, Request};

/// The exit code of `build` where something is missing that only the machine's owner can install.
const MISSING: i32 = 3;

/// How long pods may take to be ready and proxies to get their configuration, on a machine that
/// compiles at the same time.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long to wait between two looks.
const MOMENT: Duration = Duration::from_millis(200);

/// The environment variable that names the kubeconfig of a cluster to test against instead.
const EXISTING: &str = "KUBECTL_MESH_TEST_KUBECONFIG";

/// Why the mesh did not come up, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There can be no mesh on this machine; the reason.
    #[error("{0}")]
    Impossible(String),
    /// Something did not start; the end of its log.
    #[error("the mesh did not come up: {0}")]
    Start(String),
    /// A command failed: its words, and what it said.
    #[error("{0} failed: {1}")]
    Command(String, String),
    /// Something did not happen in time.
    #[error("{0}")]
    Late(String),
    /// An answer of the lab's own programs cannot be read.
    #[error("{0}")]
    Answer(#[from] serde_json::Error),
    /// Files and processes.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// A running mesh; ends when dropped, and when the process that started it ends, however that comes
/// about.
pub struct Mesh {
    directory: PathBuf,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    /// The lab's own machine; none where the cluster was there before.
    machine: Option<Machine>,
}

/// The process that is the machine. It ends when its standard input is closed.
struct Machine {
    process: Child,
    alive: Option<ChildStdin>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.alive.take());
        // It ends by itself then; nothing can be done about a failure.
        let _ = self.process.wait();
    }
}

impl Mesh {
    /// The mesh that all tests of a process share: the lab's own, or the cluster of
    /// `KUBECTL_MESH_TEST_KUBECONFIG`.
    ///
    /// `None` where there can be none: the test that asked is skipped, with a word on stderr. With
    /// `CI=true` nothing is skipped.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Mesh>> = OnceLock::new();
        let start = || match std::env::var_os(EXISTING) {
            Some(kubeconfig) => Some(Self::existing(Path::new(&kubeconfig))),
            None => Self::started(),
        };
        SHARED.get_or_init(start).as_ref()
    }

    /// A mesh of its own, for a test that breaks it; `None` as in [`Self::shared`].
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    #[expect(clippy::panic, reason = "a test without its mesh has failed")]
    #[expect(clippy::print_stderr, reason = "the test harness has no other way to say so")]
    pub fn started() -> Option<Self> {
        match Self::start() {
            Ok(started) => Some(started),
            Err(Error::Impossible(reason)) if std::env::var("CI").as_deref() != Ok("true") => {
                eprintln!("skipped: {reason}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A cluster that is there already, with Istio in it. It has no machine to break.
    #[must_use]
    pub fn existing(kubeconfig: &Path) -> Self {
        Self {
            directory: std::env::temp_dir(),
            kubeconfig: kubeconfig.to_owned(),
            kubectl: "kubectl".into(),
            machine: None,
        }
    }

    /// Builds what is not built, starts a mesh, and waits until istiod is ready.
    ///
    /// # Errors
    /// [`Error::Impossible`] where this machine cannot; else if something does not come up.
    pub fn start() -> Result<Self, Error> {
        if fs::metadata("/proc/self")?.uid() != 0 {
            return Err(Error::Impossible("making network namespaces needs root".to_owned()));
        }
        let programs = build()?;
        let directory = new_directory()?;
        let log = directory.join("machine.log");
        let mut process = Command::new(programs.join("machine"))
            .arg(&programs)
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()?;
        let alive = process.stdin.take();
        let mut said = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut said)?;
        }
        let machine = Machine { process, alive };
        if said.trim() != "ready" {
            drop(machine);
            // The first thing that fails, where it is not permitted, is making the namespaces.
            let log = fs::read_to_string(&log).unwrap_or_default();
            if log.contains("namespaces: ") {
                fs::remove_dir_all(&directory)?;
                return Err(Error::Impossible(log));
            }
            return Err(Error::Start(format!("{log}{} has more", directory.join("logs").display())));
        }
        Ok(Self {
            kubeconfig: directory.join("kubeconfig"),
            kubectl: programs.join("kubectl"),
            directory,
            machine: Some(machine),
        })
    }

    /// Whether the mesh is the lab's own, so that it has the lab's images, users and parts. Where it is
    /// not, a word on stderr says that the test is skipped.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "the test harness has no other way to say so")]
    pub fn is_ours(&self) -> bool {
        if self.machine.is_none() {
            eprintln!("skipped: needs the lab's own mesh");
        }
        self.machine.is_some()
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A directory for the test's files, gone with the mesh.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The kubeconfig of `limited`, a user who may do nothing until a test grants something.
    #[must_use]
    pub fn limited(&self) -> PathBuf {
        self.directory.join("limited")
    }

    /// Runs kubectl as administrator; what it writes to stdout.
    ///
    /// # Errors
    /// If it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.kubectl_with(arguments, b"")
    }

    /// Runs istioctl; what it writes to stdout.
    ///
    /// # Errors
    /// If it fails.
    pub fn istioctl(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Command::new(self.kubectl.with_file_name("istioctl"));
        let output = run(command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments), b"")?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = format!("istioctl {}", arguments.join(" "));
        Err(Error::Command(words, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    fn kubectl_with(&self, arguments: &[&str], input: &[u8]) -> Result<String, Error> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        let output = run(&mut command, input)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = format!("kubectl {}", arguments.join(" "));
        Err(Error::Command(words, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Runs one of the suite's plugins, as kubectl would. It must have been built.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn plugin(&self, name: &str, kubeconfig: &Path, arguments: &[&str]) -> Result<Output, Error> {
        run(&mut self.plugin_command(name, kubeconfig, arguments)?, b"")
    }

    /// The command that [`Self::plugin`] runs, for a test that kills it.
    ///
    /// # Errors
    /// If it is not known where the plugins are.
    pub fn plugin_command(
        &self,
        name: &str,
        kubeconfig: &Path,
        arguments: &[&str],
    ) -> Result<Command, Error> {
        let mut directory = std::env::current_exe()?;
        // A test program is in target/PROFILE/deps.
        directory.pop();
        directory.pop();
        let mut command = Command::new(directory.join(format!("kubectl-mesh_{name}")));
        command.env("KUBECONFIG", kubeconfig).env("NO_COLOR", "1").args(arguments);
        Ok(command)
    }

    /// Applies manifests: a text, a file, or a directory of the repository.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn apply(&self, manifests: &str) -> Result<(), Error> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(manifests);
        if manifests.contains('\n') {
            self.kubectl_with(
                &["apply", "--server-side", "--force-conflicts", "-f", "-"],
                manifests.as_bytes(),
            )?;
        } else {
            let option = if path.join("kustomization.yaml").exists() { "-k" } else { "-f" };
            self.kubectl(&["apply", option, &path.to_string_lossy()])?;
        }
        Ok(())
    }

    /// Deletes what [`Self::apply`] applied, and waits until it is gone.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn delete(&self, manifests: &str) -> Result<(), Error> {
        self.kubectl_with(&["delete", "--ignore-not-found", "-f", "-"], manifests.as_bytes()).map(drop)
    }

    /// Waits until all workloads of a namespace are ready.
    ///
    /// # Errors
    /// If one is not in time.
    pub fn ready(&self, namespace: &str) -> Result<(), Error> {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        self.kubectl(&["rollout", "status", "deployment", "--namespace", namespace, &timeout]).map(drop)
    }

    /// Waits until every proxy has what has been applied so far.
    ///
    /// A ServiceEntry with a port of its own is applied after it. A sidecar that has the routes of that
    /// port has all that istiod pushed before, because it pushes whole states of the mesh, routes last.
    /// A gateway has no such routes: of it, the cluster of that port is awaited, and then a moment for
    /// the rest of that push.
    ///
    /// # Errors
    /// If a proxy has not got it in time, or refused it; the error names the proxy.
    pub fn settle(&self) -> Result<(), Error> {
        static PORT: AtomicU16 = AtomicU16::new(20000);
        let port = PORT.fetch_add(1, Ordering::Relaxed).to_string();
        // istiod watches each kind by itself; what was applied before may reach it after this one.
        // It waits that long for more before it pushes (PILOT_DEBOUNCE_AFTER, 100 ms).
        thread::sleep(Duration::from_millis(50));
        self.apply(&marker(&port))?;
        let pods = self.proxies()?;
        let until = Instant::now() + PATIENCE;
        thread::scope(|scope| {
            let waiting: Vec<_> =
                pods.iter().map(|pod| scope.spawn(|| self.has_marker(pod, &port, until))).collect();
            waiting.into_iter().try_for_each(|proxy| match proxy.join() {
                Ok(result) => result,
                Err(_) => Err(Error::Late("a thread ended".to_owned())),
            })
        })
    }

    /// The pods that run a proxy and are not about to end.
    fn proxies(&self) -> Result<Vec<Value>, Error> {
        let mut list: Value =
            serde_json::from_str(&self.kubectl(&["get", "pods", "--all-namespaces", "--output=json"])?)?;
        let runs_proxy = |pod: &Value| {
            let containers = ["/status/initContainerStatuses", "/status/containerStatuses"];
            containers.iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten().any(|container| {
                container["name"] == "istio-proxy" && container.pointer("/state/running").is_some()
            }) && pod.pointer("/metadata/deletionTimestamp").is_none()
        };
        let mut pods = match list["items"].take() {
            Value::Array(pods) => pods,
            _ => Vec::new(),
        };
        pods.retain(runs_proxy);
        Ok(pods)
    }

    fn has_marker(&self, pod: &Value, port: &str, until: Instant) -> Result<(), Error> {
        let text = |pointer| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let gateway =
            pod.pointer("/metadata/annotations/inject.istio.io~1templates").is_some_and(|it| it == "gateway");
        let (path, sign) = if gateway {
            (format!("config_dump?resource=dynamic_active_clusters&name_regex=.*{port}.*"), "marker.lab")
        } else {
            (format!("config_dump?resource=dynamic_route_configs&name_regex={port}"), "\"route_config\"")
        };
        loop {
            let dump = self.admin(namespace, name, &path);
            if dump.as_ref().is_ok_and(|dump| dump.contains(sign)) {
                if gateway {
                    thread::sleep(MOMENT);
                }
                return Ok(());
            }
            if Instant::now() > until {
                let why = dump.unwrap_or_else(|error| error.to_string());
                return Err(Error::Late(format!("{namespace}/{name} did not get its configuration: {why}")));
            }
            thread::sleep(MOMENT);
        }
    }

    /// Asks the proxy of a pod: a path of Envoy's admin interface.
    ///
    /// # Errors
    /// If the pod or its proxy does not answer.
    pub fn admin(&self, namespace: &str, pod: &str, path: &str) -> Result<String, Error> {
        self.kubectl(&[
            "exec",
            "--namespace",
            namespace,
            pod,
            "--container=istio-proxy",
            "--",
            "pilot-agent",
            "request",
            "GET",
            path,
        ])
    }

    /// Sends a request from a workload, `namespace/deployment`, through its proxy.
    ///
    /// # Errors
    /// If it could not be sent. An answer that is not wanted is an answer.
    pub fn call(&self, caller: &str, request: &Request) -> Result<Answer, Error> {
        let mut answers = self.call_all(caller, std::slice::from_ref(request))?;
        answers.pop().ok_or_else(|| Error::Late(format!("{caller} gave no answer")))
    }

    /// Sends requests from a workload side by side; the answers are in the same order.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_all(&self, caller: &str, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        let (namespace, name) = caller.split_once('/').unwrap_or(("default", caller));
        let mut input = Vec::new();
        for request in requests {
            serde_json::to_writer(&mut input, request)?;
            input.push(b'\n');
        }
        let workload = format!("deployment/{name}");
        let words = ["exec", "--stdin", "--namespace", namespace, &workload, "--", "application", "call"];
        let output = self.kubectl_with(&words, &input)?;
        let answers = output.lines().map(serde_json::from_str).collect::<Result<Vec<Answer>, _>>()?;
        if answers.len() == requests.len() {
            return Ok(answers);
        }
        Err(Error::Late(format!("{} requests, {} answers", requests.len(), answers.len())))
    }

    /// What the proxies of a workload logged of the requests with an `x-request-id`: a line for each
    /// request that a caller's proxy took, and at the server's one for each try that arrived.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn logged(&self, workload: &str, request_id: &str) -> Result<Vec<Value>, Error> {
        // Envoy writes its log every second.
        thread::sleep(Duration::from_millis(1500));
        let (namespace, name) = workload.split_once('/').unwrap_or(("default", workload));
        let workload = format!("deployment/{name}");
        let words =
            ["logs", "--namespace", namespace, &workload, "--container=istio-proxy", "--all-pods=true"];
        let log = self.kubectl(&words)?;
        let line = |text: &str| serde_json::from_str(text.get(text.find('{')?..)?).ok();
        let of_request = |line: &Value| line["request_id"] == request_id;
        Ok(log.lines().filter_map(line).filter(of_request).collect())
    }

    /// Whether this machine lacks a program that an image of the lab is made of; then a word on stderr
    /// says that the test is skipped. With `CI=true` nothing is skipped.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "the test harness has no other way to say so")]
    pub fn lacks(&self, program: &str) -> bool {
        let there = Path::new("/usr/bin").join(program).exists();
        let lacks = self.machine.is_some() && !there && std::env::var("CI").as_deref() != Ok("true");
        if lacks {
            eprintln!("skipped: {program} is not installed");
        }
        lacks
    }

    /// Asks the Prometheus of `tests/lab/prometheus.yaml` for one number; `None` where it knows none.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn metric(&self, query: &str) -> Result<Option<f64>, Error> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let service = "/api/v1/namespaces/istio-system/services/prometheus:9090/proxy";
        let path = format!("{service}/api/v1/query?query={escaped}");
        let answer: Value = serde_json::from_str(&self.kubectl(&["get", "--raw", &path])?)?;
        let number = answer.pointer("/data/result/0/value/1").and_then(Value::as_str);
        Ok(number.and_then(|number| number.parse().ok()))
    }

    /// Kills a part of Kubernetes: `kube-controller-manager`, `kube-scheduler`, `kubelet`, ...
    ///
    /// # Errors
    /// If it does not run, or the cluster is not ours.
    pub fn stop(&self, part: &str) -> Result<(), Error> {
        self.control("POST", &format!("/stop/{part}")).map(drop)
    }

    /// Starts a part of Kubernetes again.
    ///
    /// # Errors
    /// If it cannot, or the cluster is not ours.
    pub fn restart(&self, part: &str) -> Result<(), Error> {
        self.control("POST", &format!("/start/{part}")).map(drop)
    }

    /// Takes istiod away, until [`Self::start_istiod`].
    ///
    /// # Errors
    /// The API server's refusal, or if it has not ended in time.
    pub fn stop_istiod(&self) -> Result<(), Error> {
        self.scale_istiod("0")?;
        self.kubectl(&["wait", "pod", "--namespace=istio-system", "--selector=app=istiod", "--for=delete"])
            .map(drop)
    }

    /// Brings istiod back.
    ///
    /// # Errors
    /// If it is not ready in time.
    pub fn start_istiod(&self) -> Result<(), Error> {
        self.scale_istiod("1")?;
        self.ready("istio-system")
    }

    fn scale_istiod(&self, replicas: &str) -> Result<(), Error> {
        let replicas = format!("--replicas={replicas}");
        self.kubectl(&["scale", "deployment/istiod", "--namespace=istio-system", &replicas]).map(drop)
    }

    /// Breaks the connection of one request to the API server, the next being number 1: before the
    /// API server has it, or, if `served`, after it has done what it was asked.
    ///
    /// # Errors
    /// If the cluster is not ours.
    pub fn cut(&self, number: usize, served: bool) -> Result<(), Error> {
        let served = if served { "?served" } else { "" };
        self.control("POST", &format!("/cut/{number}{served}")).map(drop)
    }

    /// The requests to the API server since this was last asked: method and path.
    ///
    /// # Errors
    /// If the cluster is not ours.
    pub fn requests(&self) -> Result<Vec<String>, Error> {
        Ok(self.control("GET", "/requests")?.lines().map(str::to_owned).collect())
    }

    /// Kills the machine, as if somebody had pulled the plug, and waits until the kernel has cleaned up.
    ///
    /// # Errors
    /// If the cluster is not ours.
    pub fn crash(mut self) -> Result<(), Error> {
        let mut machine =
            self.machine.take().ok_or_else(|| Error::Impossible("not our machine".to_owned()))?;
        machine.process.kill()?;
        machine.process.wait()?;
        thread::sleep(Duration::from_secs(1));
        fs::remove_dir_all(&self.directory)?;
        Ok(())
    }

    fn control(&self, method: &str, path: &str) -> Result<String, Error> {
        if self.machine.is_none() {
            return Err(Error::Impossible("the cluster of others is not broken".to_owned()));
        }
        let mut socket = UnixStream::connect(self.directory.join("control"))?;
        write!(socket, "{method} {path} HTTP/1.0\r\n\r\n")?;
        socket.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.split(' ').nth(1) == Some("200") {
            return Ok(body.to_owned());
        }
        Err(Error::Command(path.to_owned(), body.to_owned()))
    }
}

/// What [`Mesh::settle`] looks for: routes of a port that nothing else has.
fn marker(port: &str) -> String {
    let object = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "lab-marker", "namespace": "istio-system"},
        "spec": {
            "hosts": ["marker.lab"],
            "addresses": ["240.240.240.240"],
            "ports": [{"number": port.parse::<u16>().unwrap_or_default(), "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "endpoints": [{"address": "240.240.240.241"}],
        },
    });
    // A text with a line's end is manifests.
    format!("{object}\n")
}

/// Runs a command to its end, with an input.
fn run(command: &mut Command, input: &[u8]) -> Result<Output, Error> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end before it has read everything, and its exit code says more.
        let _ = stdin.write_all(input);
    }
    Ok(child.wait_with_output()?)
}

/// Builds the programs, or finds them built; returns their directory.
fn build() -> Result<PathBuf, Error> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build");
    // The script's stderr is ours: building takes minutes, and says so.
    let output = Command::new(script).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    match output.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).trim().into()),
        Some(MISSING) => Err(Error::Impossible("the machine lacks what the lab needs; see above".to_owned())),
        _ => Err(Error::Start("it could not be built; see above".to_owned())),
    }
}

/// A directory of its own for each mesh of each process. Not below /var: the machine has its own.
fn new_directory() -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = PathBuf::from(format!("/tmp/mesh-{}-{count}", std::process::id()));
    fs::create_dir(&directory)?;
    Ok(directory)
}
