//! A canary that ends by itself, whatever becomes of who began it.
//!
//! One mesh of its own, because parts of it are stopped, with requests all the while: none of them may fail.

use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mesh_lab::Mesh;

use crate::canary::{payment, shares};
use crate::clients::{client, grant};

const NAMESPACE: &str = "attempt";
const CALLER: &str = "attempt/client";

/// The part of Kubernetes that ends attempts.
const CONTROLLERS: &str = "kube-controller-manager";

/// What is there of attempts: Jobs and VirtualServices but the original.
fn left(mesh: &Mesh) -> Vec<String> {
    let names = mesh.kubectl(&["get", "jobs,virtualservices", "-n", NAMESPACE, "-o", "name"]).unwrap();
    let original = "virtualservice.networking.istio.io/payment";
    names.lines().filter(|name| *name != original).map(str::to_owned).collect()
}

/// Waits for something that is expected soon.
fn wait(what: &str, seconds: u64, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(seconds);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn original(mesh: &Mesh) -> String {
    let path = "jsonpath={.metadata.generation} {.spec.http[0].route[*].weight}";
    mesh.kubectl(&["get", "virtualservice", "payment", "-n", NAMESPACE, "-o", path]).unwrap()
}

/// Somebody else edits the original.
fn set_timeout(mesh: &Mesh, value: &str) {
    let patch =
        format!("[{{\"op\": \"replace\", \"path\": \"/spec/http/0/timeout\", \"value\": \"{value}\"}}]");
    mesh.kubectl(&["patch", "virtualservice", "payment", "-n", NAMESPACE, "--type=json", "-p", &patch])
        .unwrap();
}

/// Runs the plugin as the user who has the rights of docs/rbac and no others.
fn run(mesh: &Mesh, arguments: &[&str]) -> (Option<i32>, String) {
    let words: Vec<&str> = arguments.iter().copied().chain(["-n", NAMESPACE]).collect();
    let output = mesh.plugin("canary", &mesh.limited(), &words).unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    (output.status.code(), said.concat())
}

fn done(mesh: &Mesh, arguments: &[&str]) -> String {
    let (code, said) = run(mesh, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {said}");
    said
}

/// Starts the plugin, and kills it (SIGKILL) as soon as something is so.
fn killed(mesh: &Mesh, arguments: &[&str], when: impl Fn(Duration) -> bool) {
    let words: Vec<&str> = arguments.iter().copied().chain(["-n", NAMESPACE]).collect();
    let mut command = mesh.plugin_command("canary", &mesh.limited(), &words).unwrap();
    let mut running =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    wait("the moment to kill it", 30, || when(started.elapsed()));
    running.kill().unwrap();
    running.wait().unwrap();
}

/// Ends what runs beside a test, also when that fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How many of 100 requests go to v2, once all proxies have what was written.
fn second(mesh: &Mesh) -> usize {
    mesh.settle().unwrap();
    shares(mesh, CALLER, 100).1
}

#[test]
fn an_attempt_ends_by_itself_whatever_happens() {
    let Some(mesh) = Mesh::started() else { return };
    client(&mesh, NAMESPACE, true).unwrap();
    mesh.apply(&payment(NAMESPACE)).unwrap();
    mesh.ready(NAMESPACE).unwrap();
    mesh.settle().unwrap();

    rights(&mesh);
    let ended = AtomicBool::new(false);
    // How many of each 20 requests went to v2.
    let counts: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let _ends = Ends(&ended);
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let (_, second) = shares(&mesh, CALLER, 20);
                counts.lock().unwrap().push(second);
            }
        });
        ends_in_time(&mesh);
        ends_when_it_was_killed(&mesh);
        is_changed_and_dropped(&mesh);
        leaves_proxies_without_istiod(&mesh);
        is_kept(&mesh, &counts);
        ends_without_its_controllers(&mesh);
    });
    is_refused(&mesh);
}

/// Without the rights nothing is begun, and with those of the role everything works.
fn rights(mesh: &Mesh) {
    grant(mesh, "canary", "mesh-canary");
    let (code, said) = run(mesh, &["payment", "50", "--canary", "v2", "--try", "60s"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("you may not create jobs.batch in namespace attempt"), "{said}");
    assert_eq!(left(mesh), Vec::<String>::new());
    mesh.apply("docs/rbac/canary-try.yaml").unwrap();
    bind(mesh, "mesh-canary-try");
    for dry_run in ["--dry-run=client", "--dry-run=server"] {
        let said = done(mesh, &["payment", "50", "--canary", "v2", "--try", "60s", dry_run, "-o", "yaml"]);
        assert!(said.contains("kind: Job") && said.contains("activeDeadlineSeconds: 60"), "{said}");
        assert!(said.contains("kind: VirtualService") && said.contains("blockOwnerDeletion: true"), "{said}");
    }
    assert_eq!(left(mesh), Vec::<String>::new());
}

/// Gives the user a role in the namespace.
fn bind(mesh: &Mesh, role: &str) {
    let role_of = format!("--clusterrole={role}");
    mesh.kubectl(&["create", "rolebinding", role, &role_of, "--user=limited", "-n", NAMESPACE]).unwrap();
}

/// Real requests move, nobody who writes the original again changes anything, and the time runs out.
fn ends_in_time(mesh: &Mesh) {
    let before = original(mesh);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ends = Ends(&ended);
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                mesh.apply(&payment(NAMESPACE)).unwrap();
                thread::sleep(Duration::from_secs(3));
            }
        });
        let started = Instant::now();
        let said = done(mesh, &["payment", "50", "--canary", "v2", "--try", "20s", "--no-wait"]);
        assert!(said.contains("100/0 -> 50/50") && said.contains("Kubernetes takes it back"), "{said}");
        assert_eq!(left(mesh).len(), 2, "a Job and a copy");
        // To change what is there takes more.
        let (code, said) = run(mesh, &["payment", "70", "--try", "90s"]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("you may not patch virtualservices.networking.istio.io"), "{said}");
        bind(mesh, "mesh-canary-shift");
        let half = second(mesh);
        assert!((25..=75).contains(&half), "{half} of 100 requests");
        wait("the end of the attempt", 40, || left(mesh).is_empty());
        // Job.status.startTime has whole seconds.
        assert!(started.elapsed() >= Duration::from_secs(19), "{:?}", started.elapsed());
    });
    assert_eq!(second(mesh), 0);
    assert_eq!(original(mesh), before, "the original was written");
}

/// Wherever it is killed, all ends well.
fn ends_when_it_was_killed(mesh: &Mesh) {
    let arguments = |time| ["payment", "50", "--canary", "v2", "--try", time];
    killed(mesh, &arguments("12s"), |_| left(mesh).len() == 2);
    let half = second(mesh);
    assert!((25..=75).contains(&half), "{half} of 100 requests");
    wait("the end of what was killed behind the copy", 30, || left(mesh).is_empty());
    for moment in [100, 200, 300, 400, 500] {
        killed(mesh, &arguments("4s"), |elapsed| elapsed >= Duration::from_millis(moment));
    }
    // One that is over before it has begun, or nearly so.
    let (code, said) = run(mesh, &["payment", "50", "--canary", "v2", "--try", "1s", "--no-wait"]);
    assert!(code == Some(0) || code == Some(2) && said.contains("was up before"), "{code:?} {said}");
    wait("the end of what was killed at any moment", 30, || left(mesh).is_empty());
    assert_eq!(second(mesh), 0);
}

/// A second attempt takes the place of the first; nothing else does; `abort` ends it.
fn is_changed_and_dropped(mesh: &Mesh) {
    // The administrator may ask the proxies too.
    let words = ["payment", "50", "--canary", "v2", "--try", "90s", "-n", NAMESPACE];
    let output = mesh.plugin("canary", mesh.kubeconfig(), &words).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("on 3 of 3 proxies"), "{said}");
    let first = left(mesh);
    let (code, said) = run(mesh, &["payment", "30", "--canary", "v2"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("v2 gets 50 % of attempt/payment by VirtualService attempt/payment-try"), "{said}");
    let said = done(mesh, &["payment", "70", "--try", "90s", "--no-wait"]);
    assert!(said.contains("v2 is the canary: that of the attempt under way"), "{said}");
    let words = ["payment", "100", "--try", "90s", "--no-wait", "-o", "json", "-n", NAMESPACE];
    let output = mesh.plugin("canary", &mesh.limited(), &words).unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["kind"], "CanaryAttempt", "{answer}");
    assert_eq!(answer["virtualServices"], serde_json::json!(["attempt/payment-try"]));
    assert_eq!(answer["routes"][0]["to"], serde_json::json!([0, 100]));
    let then = left(mesh);
    let job = answer["job"].as_str().unwrap_or_default().replace("attempt/", "job.batch/");
    assert!(answer["until"].is_string() && then.contains(&job), "{answer} {then:?}");
    assert_eq!(then.len(), 2, "{then:?}");
    assert_ne!(first, then, "another Job");
    assert_eq!(second(mesh), 100);
    done(mesh, &["abort", "payment", "--dry-run=server"]);
    assert_eq!(left(mesh), then);
    done(mesh, &["abort", "payment"]);
    assert_eq!(left(mesh), Vec::<String>::new());
    assert_eq!(second(mesh), 0);
}

/// The objects are gone, but without istiod the proxies keep what they have: that is said.
fn leaves_proxies_without_istiod(mesh: &Mesh) {
    done(mesh, &["payment", "50", "--canary", "v2", "--try", "90s", "--no-wait"]);
    mesh.settle().unwrap();
    let (code, said) = run(mesh, &["payment"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("an attempt gives v2 50 % by VirtualService attempt/payment-try"), "{said}");
    mesh.stop_istiod().unwrap();
    // The administrator may ask the proxies too.
    let words = ["abort", "payment", "--propagation-timeout", "2s", "-n", NAMESPACE];
    let output = mesh.plugin("canary", mesh.kubeconfig(), &words).unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("not in force: only on 0 of 3 proxies"), "{said}");
    assert_eq!(left(mesh), Vec::<String>::new());
    mesh.start_istiod().unwrap();
    assert_eq!(second(mesh), 0);
}

/// `promote` writes the weights into the original, and no request goes back in between.
fn is_kept(mesh: &Mesh, counts: &Mutex<Vec<usize>>) {
    done(mesh, &["payment", "50", "--canary", "v2", "--try", "90s", "--no-wait"]);
    second(mesh);
    // What was tried must be what is kept.
    let patch = "[{\"op\": \"replace\", \"path\": \"/spec/http/0/timeout\", \"value\": \"6s\"}]";
    mesh.kubectl(&["patch", "virtualservice", "payment", "-n", NAMESPACE, "--type=json", "-p", patch])
        .unwrap();
    let (code, said) = run(mesh, &["promote", "payment", "--try"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("its copy attempt/payment-try differs at /spec/http/0/timeout"), "{said}");
    done(mesh, &["payment", "50", "--try", "90s", "--no-wait"]);
    counts.lock().unwrap().clear();
    // Killed with the weights written, and perhaps the Job deleted.
    killed(mesh, &["promote", "payment", "--try", "--no-wait"], |_| original(mesh).ends_with("50 50"));
    let (code, said) = run(mesh, &["promote", "payment", "--try", "--no-wait"]);
    assert!(matches!(code, Some(0 | 1)), "{said}");
    wait("the end of the attempt", 30, || left(mesh).is_empty());
    let (code, said) = run(mesh, &["promote", "payment", "--try"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no attempt of attempt/payment is under way"), "{said}");
    assert_eq!(left(mesh), Vec::<String>::new());
    assert!(original(mesh).ends_with("50 50"));
    let half = second(mesh);
    assert!((25..=75).contains(&half), "{half} of 100 requests");
    // Of 20 at 50 % none is one case in a million.
    let counts = counts.lock().unwrap().clone();
    assert!(counts.len() > 1 && !counts.contains(&0), "{counts:?}");
    done(mesh, &["abort", "payment", "--no-wait"]);
    assert_eq!(second(mesh), 0);
}

/// While its controllers are away an attempt goes on, and ends when they are back; none is begun meanwhile.
fn ends_without_its_controllers(mesh: &Mesh) {
    done(mesh, &["payment", "50", "--canary", "v2", "--try", "8s", "--no-wait"]);
    mesh.stop(CONTROLLERS).unwrap();
    let under_way = left(mesh);
    assert_eq!(under_way.len(), 2, "{under_way:?}");
    // A change of it would need another Job to run.
    let (code, said) = run(mesh, &["payment", "60", "--try", "60s"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the job controller has not started Job"), "{said}");
    // Its time is up by now.
    assert_eq!(left(mesh), under_way);
    let half = second(mesh);
    assert!((25..=75).contains(&half), "{half} of 100 requests");
    // Killed between the Job and the copy.
    killed(mesh, &["payment", "60", "--try", "60s"], |_| left(mesh).len() == 3);
    mesh.restart(CONTROLLERS).unwrap();
    wait("the end of the attempt", 30, || left(mesh).len() == 1);
    assert_eq!(second(mesh), 0);
    // What is left is a Job that owns nothing, and has its minute.
    let job = left(mesh).remove(0);
    mesh.kubectl(&["patch", &job, "-n", NAMESPACE, "-p", "{\"spec\": {\"activeDeadlineSeconds\": 1}}"])
        .unwrap();
    wait("the end of its Job", 30, || left(mesh).is_empty());

    // The original is edited between reading it and making the copy, which waits for the Job to start.
    mesh.stop(CONTROLLERS).unwrap();
    thread::scope(|scope| {
        let tried =
            scope.spawn(|| run(mesh, &["payment", "50", "--canary", "v2", "--try", "60s", "--no-wait"]));
        wait("a Job", 30, || left(mesh).len() == 1);
        set_timeout(mesh, "7s");
        mesh.restart(CONTROLLERS).unwrap();
        let (code, said) = tried.join().unwrap();
        assert_eq!(code, Some(4), "{said}");
        assert!(
            said.contains("VirtualService attempt/payment was changed by somebody else meanwhile"),
            "{said}"
        );
        assert!(said.contains("nothing is left of the attempt"), "{said}");
    });
    wait("the end of its Job", 30, || left(mesh).is_empty());
}

/// What has nothing before it is refused, with the reason.
fn is_refused(mesh: &Mesh) {
    let private = payment(NAMESPACE).replace("hosts: [payment]\n", "hosts: [payment]\n  exportTo: [\".\"]\n");
    mesh.apply(&private).unwrap();
    let (code, said) = run(mesh, &["payment", "50", "--canary", "v2", "--try", "60s"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nothing can come before VirtualService attempt/payment for client"), "{said}");
    assert_eq!(left(mesh), Vec::<String>::new());
}
