//! Writing to a cluster, against a real API server.

#![expect(clippy::unwrap_used, reason = "a test may fail wherever it is")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mesh_lab::ControlPlane;
use mesh_lab::control_plane::{ADMINISTRATOR, LIMITED};
use mesh_model::change::{Change, Edit, Patch, Propagation, Reference, without_server_fields};
use mesh_model::object::{Kind, Object, Origin};
use mesh_source::cluster::{Connection, Error, WriteError, Writer};
use serde_json::{Value, json};

/// The control plane that all tests share, or the end of a test that is skipped.
macro_rules! control_plane {
    () => {
        match ControlPlane::shared() {
            Some(shared) => shared,
            None => return,
        }
    };
}

fn connection(control_plane: &ControlPlane, name: &str, token: &str) -> Connection {
    let kubeconfig = control_plane.kubeconfig(&format!("write-{name}"), token, "default").unwrap();
    Connection { kubeconfig: Some(kubeconfig), ..Connection::default() }
}

fn administrator(control_plane: &ControlPlane, test: &str) -> Writer {
    Writer::connect(&connection(control_plane, test, ADMINISTRATOR)).unwrap()
}

fn object(kind: Kind, api_version: &str, namespace: &str, name: &str, mut value: Value) -> Object {
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.name().into();
    value["metadata"]["name"] = name.into();
    let namespace = if kind.is_namespaced() { namespace } else { "" }.to_owned();
    Object { kind, namespace, name: name.to_owned(), value, origin: Origin::Cluster }
}

fn virtual_service(namespace: &str) -> Object {
    let route = json!([
        {"destination": {"host": "payment", "subset": "v1"}, "weight": 100},
        {"destination": {"host": "payment", "subset": "v2"}, "weight": 0},
    ]);
    let spec = json!({"spec": {"hosts": ["payment"], "http": [{"route": route}]}});
    object(Kind::VirtualService, "networking.istio.io/v1", namespace, "payment", spec)
}

/// Creates a namespace with a VirtualService, and gives that as the server has it.
fn shop(writer: &Writer, namespace: &str) -> Object {
    let new = object(Kind::Namespace, "v1", "", namespace, json!({}));
    writer.write(&Change::Create(new), false).unwrap();
    writer.write(&Change::Create(virtual_service(namespace)), false).unwrap().unwrap()
}

fn to(weight: u8, of: &Object) -> Patch {
    Edit::of(of)
        .set("/spec/http/0/route/0/weight", json!(100 - weight))
        .and_then(|edit| edit.set("/spec/http/0/route/1/weight", json!(weight)))
        .and_then(|edit| edit.set("/metadata/annotations/kubectl-mesh.dev~1reason", json!("a test")))
        .unwrap()
        .patch()
}

fn weight(object: &Object) -> &Value {
    object.get("/spec/http/0/route/1/weight").unwrap()
}

#[test]
fn a_patch_changes_its_fields_and_can_be_taken_back() {
    let writer = administrator(control_plane!(), "patch");
    let before = shop(&writer, "write-patch");
    let change = Change::Patch(to(10, &before));
    let after = writer.write(&change, false).unwrap().unwrap();
    let planned = change.apply_to(Some(&before)).unwrap().unwrap();
    assert_eq!(without_server_fields(&after), without_server_fields(&planned));
    let managers = after.get("/metadata/managedFields").unwrap().to_string();
    assert!(managers.contains("\"manager\":\"kubectl-mesh\""), "{managers}");
    assert_eq!(writer.get(&Reference::of(&after)).unwrap().unwrap(), after);
    let back = writer.write(&change.inverse(), false).unwrap().unwrap();
    assert_eq!(without_server_fields(&back), without_server_fields(&before));
}

#[test]
fn who_was_slower_writes_nothing() {
    let writer = administrator(control_plane!(), "conflict");
    let before = shop(&writer, "write-conflict");
    let (mine, theirs) = (to(10, &before), to(50, &before));
    let now = writer.write(&Change::Patch(theirs), false).unwrap().unwrap();
    let refused = writer.write(&Change::Patch(mine.clone()), false).unwrap_err();
    assert!(matches!(refused, WriteError::Conflict { .. }), "{refused}");
    // The old values guard where no resourceVersion does.
    let of_any_version = Patch { resource_version: None, ..mine };
    let refused = writer.write(&Change::Patch(of_any_version), false).unwrap_err();
    assert!(matches!(refused, WriteError::Conflict { .. }), "{refused}");
    assert!(refused.to_string().starts_with(
        "Error from server (Conflict): VirtualService write-conflict/payment was changed by somebody else meanwhile: "
    ));
    assert_eq!(writer.get(&Reference::of(&now)).unwrap().unwrap(), now);
    let refused = writer.write(&Change::Delete { object: before, propagation: None }, false).unwrap_err();
    assert!(matches!(refused, WriteError::Conflict { .. }), "{refused}");
}

#[test]
fn of_many_writers_at_once_one_wins() {
    let control_plane = control_plane!();
    let before = shop(&administrator(control_plane, "race"), "write-race");
    let writers: Vec<Writer> =
        (0..4).map(|number| administrator(control_plane, &format!("race-{number}"))).collect();
    let outcomes: Vec<Result<Option<Object>, WriteError>> = thread::scope(|scope| {
        let running: Vec<_> = (1..)
            .zip(&writers)
            .map(|(weight, writer)| {
                let change = Change::Patch(to(weight, &before));
                scope.spawn(move || writer.write(&change, false))
            })
            .collect();
        running.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for outcome in lost {
        assert!(matches!(outcome, Err(WriteError::Conflict { .. })), "{outcome:?}");
    }
    let winner = won.into_iter().next().unwrap().unwrap().unwrap();
    assert_eq!(writers[0].get(&Reference::of(&before)).unwrap().unwrap(), winner);
}

#[test]
fn a_dry_run_answers_and_stores_nothing() {
    let writer = administrator(control_plane!(), "dry-run");
    let before = shop(&writer, "write-dry-run");
    let shown = writer.write(&Change::Patch(to(10, &before)), true).unwrap().unwrap();
    assert_eq!(weight(&shown), 10);
    let deletion = Change::Delete { object: before.clone(), propagation: Some(Propagation::Foreground) };
    writer.write(&deletion, true).unwrap();
    let mut other = virtual_service("write-dry-run");
    other.name = "other".to_owned();
    other.value["metadata"]["name"] = "other".into();
    assert!(writer.write(&Change::Create(other.clone()), true).unwrap().is_some());
    assert_eq!(writer.get(&Reference::of(&other)).unwrap(), None);
    assert_eq!(writer.get(&Reference::of(&before)).unwrap().unwrap(), before);
}

#[test]
fn what_is_there_or_not() {
    let writer = administrator(control_plane!(), "there");
    let before = shop(&writer, "write-there");
    let again = writer.write(&Change::Create(before.clone()), false).unwrap_err();
    assert!(matches!(again, WriteError::AlreadyExists { .. }), "{again}");
    let gone = writer.write(&Change::Delete { object: before.clone(), propagation: None }, false).unwrap();
    assert_eq!(gone, None);
    let late = writer.write(&Change::Patch(to(10, &before)), false).unwrap_err();
    assert!(matches!(late, WriteError::NotFound { .. }), "{late}");
    let late = writer.write(&Change::Delete { object: before, propagation: None }, false).unwrap_err();
    assert!(matches!(late, WriteError::NotFound { .. }), "{late}");
    let nowhere = writer.write(&Change::Create(virtual_service("write-nowhere")), false).unwrap_err();
    assert!(matches!(nowhere, WriteError::NotFound { .. }), "{nowhere}");
}

#[test]
fn an_empty_patch_is_not_sent() {
    let writer = administrator(control_plane!(), "empty");
    let before = shop(&writer, "write-empty");
    assert_eq!(writer.write(&Change::Patch(Edit::of(&before).patch()), false).unwrap(), Some(before));
}

#[test]
fn a_job_and_what_it_owns() {
    let writer = administrator(control_plane!(), "job");
    let owned = shop(&writer, "write-job");
    let template =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "none", "image": "none"}]}});
    let spec = json!({"spec": {"parallelism": 0, "activeDeadlineSeconds": 60, "template": template}});
    let job = object(Kind::Job, "batch/v1", "write-job", "fuse", spec);
    let job = writer.write(&Change::Create(job), false).unwrap().unwrap();
    let owner =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "fuse", "uid": job.get("/metadata/uid")}]);
    let edit = Edit::of(&owned).set("/metadata/ownerReferences", owner).unwrap();
    writer.write(&Change::Patch(edit.patch()), false).unwrap();
    // Another one of the same name is not deleted.
    let mut other = job.clone();
    other.value["metadata"] = json!({"name": "fuse", "uid": "another"});
    let foreground = |job| Change::Delete { object: job, propagation: Some(Propagation::Foreground) };
    let refused = writer.write(&foreground(other), false).unwrap_err();
    assert!(matches!(refused, WriteError::Conflict { .. }), "{refused}");
    let foreground = foreground(job);
    // Without the garbage collector it stays, on its way out.
    let going = writer.write(&foreground, false).unwrap().unwrap();
    assert!(going.get("/metadata/deletionTimestamp").is_some());
}

#[test]
fn the_server_says_who_may() {
    let control_plane = control_plane!();
    let before = shop(&administrator(control_plane, "rights"), "write-rights");
    let limited = Writer::connect(&connection(control_plane, "limited", LIMITED)).unwrap();
    let refused = limited.write(&Change::Patch(to(10, &before)), false).unwrap_err();
    assert!(matches!(refused, WriteError::Forbidden { .. }), "{refused}");
    assert!(refused.to_string().contains("cannot patch resource \"virtualservices\""), "{refused}");
    let may = |writer: &Writer| writer.may("patch", Kind::VirtualService, Some("write-rights")).unwrap();
    assert!(!may(&limited));
    assert!(may(&administrator(control_plane, "rights")));
    assert!(matches!(limited.get(&Reference::of(&before)), Err(Error::Forbidden { .. })));
    let nobody = Writer::connect(&connection(control_plane, "nobody", "wrong")).unwrap();
    let refused = nobody.write(&Change::Patch(to(10, &before)), false).unwrap_err();
    assert!(matches!(refused, WriteError::NotSent(Error::Unauthorized { .. })), "{refused}");
}

#[test]
fn what_the_definition_or_admission_refuses() {
    let control_plane = control_plane!();
    let writer = administrator(control_plane, "refused");
    let before = shop(&writer, "write-refused");
    let invalid = Edit::of(&before).set("/spec/http/0/route/0/weight", json!("much")).unwrap().patch();
    let refused = writer.write(&Change::Patch(invalid), false).unwrap_err();
    assert!(matches!(&refused, WriteError::Refused { reason, .. } if reason == "Invalid"), "{refused}");

    let rules = json!([{"apiGroups": ["networking.istio.io"], "apiVersions": ["*"],
        "operations": ["UPDATE"], "resources": ["virtualservices"]}]);
    let ours = json!({"matchLabels": {"kubernetes.io/metadata.name": "write-refused"}});
    let collection = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({
        "metadata": {"name": "frozen"},
        "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules, "namespaceSelector": ours},
            "validations": [{"expression": "false", "message": "routes are frozen"}]},
    });
    let binding = json!({
        "metadata": {"name": "frozen"}, "spec": {"policyName": "frozen", "validationActions": ["Deny"]},
    });
    control_plane
        .create(vec![
            (format!("{collection}/validatingadmissionpolicies"), policy),
            (format!("{collection}/validatingadmissionpolicybindings"), binding),
        ])
        .unwrap();
    let refused = until_refused(&writer, &before);
    assert!(matches!(refused, WriteError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("routes are frozen"), "{refused}");
}

#[test]
fn a_webhook_that_cannot_be_asked_refuses() {
    let control_plane = control_plane!();
    let writer = administrator(control_plane, "webhook");
    let before = shop(&writer, "write-webhook");
    let webhook = json!({
        "metadata": {"name": "nobody-there"},
        "webhooks": [{
            "name": "nobody.there.example", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail", "clientConfig": {"url": "https://127.0.0.1:1/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "write-webhook"}},
            "rules": [{"apiGroups": ["networking.istio.io"], "apiVersions": ["*"],
                "operations": ["UPDATE"], "resources": ["virtualservices"]}],
        }],
    });
    let collection = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    control_plane.create(vec![(collection.to_owned(), webhook)]).unwrap();
    let refused = until_refused(&writer, &before);
    assert!(matches!(refused, WriteError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("failed calling webhook \"nobody.there.example\""), "{refused}");
}

/// The server takes a moment until it asks new admission.
fn until_refused(writer: &Writer, before: &Object) -> WriteError {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match writer.write(&Change::Patch(to(10, before)), true) {
            Err(refused) => return refused,
            Ok(_) => assert!(Instant::now() < until, "it is never asked"),
        }
        thread::sleep(Duration::from_millis(200));
    }
}

const PASS: u8 = 0;
const CUT_REQUESTS: u8 = 1;
const CUT_ANSWERS: u8 = 2;

/// A way to the API server that can be cut. Returns its address.
fn cuttable(control_plane: &ControlPlane) -> (String, Arc<AtomicU8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let server = control_plane.server().trim_start_matches("https://").to_owned();
    let mode = Arc::new(AtomicU8::new(PASS));
    let shared = Arc::clone(&mode);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&server) else { return };
            let (other_client, other_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (requests, answers) = (Arc::clone(&shared), Arc::clone(&shared));
            thread::spawn(move || pass(client, server, &requests, CUT_REQUESTS));
            thread::spawn(move || pass(other_server, other_client, &answers, CUT_ANSWERS));
        }
    });
    (address, mode)
}

fn pass(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU8, cut: u8) {
    let mut piece = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if mode.load(Ordering::SeqCst) == cut || to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_connection_that_is_cut_leaves_it_open_what_was_written() {
    let control_plane = control_plane!();
    for (cut, namespace, written) in
        [(CUT_REQUESTS, "write-cut-before", false), (CUT_ANSWERS, "write-cut-after", true)]
    {
        let direct = administrator(control_plane, namespace);
        let before = shop(&direct, namespace);
        let (address, mode) = cuttable(control_plane);
        let mut through = connection(control_plane, namespace, ADMINISTRATOR);
        through.server = Some(address);
        let writer = Writer::connect(&through).unwrap();
        // The connection stands, so that it is the request that is cut.
        assert_eq!(writer.get(&Reference::of(&before)).unwrap().unwrap(), before);
        mode.store(cut, Ordering::SeqCst);
        let error = writer.write(&Change::Patch(to(10, &before)), false).unwrap_err();
        assert!(matches!(error, WriteError::Uncertain { .. }), "{error:?}");
        let words = format!("it is not known whether VirtualService {namespace}/payment was written");
        assert!(error.to_string().ends_with(&words), "{error}");
        mode.store(PASS, Ordering::SeqCst);
        let now = writer.get(&Reference::of(&before)).unwrap().unwrap();
        let generation =
            |object: &Object| object.get("/metadata/generation").and_then(Value::as_i64).unwrap();
        let writes = generation(&now) - generation(&before);
        assert_eq!((weight(&now) == 10, writes), (written, i64::from(written)), "{namespace}");
    }
}

#[test]
fn without_a_connection_nothing_was_written() {
    let control_plane = control_plane!();
    let before = shop(&administrator(control_plane, "down"), "write-down");
    let mut nowhere = connection(control_plane, "nowhere", ADMINISTRATOR);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    nowhere.server = Some(format!("https://{free}"));
    let change = Change::Patch(to(10, &before));
    let error = Writer::connect(&nowhere).unwrap().write(&change, false).unwrap_err();
    assert!(matches!(error, WriteError::NotSent(Error::Refused { .. })), "{error:?}");
    // Something that accepts, and hangs up in the handshake.
    let (address, mode) = cuttable(control_plane);
    mode.store(CUT_ANSWERS, Ordering::SeqCst);
    nowhere.server = Some(address);
    let error = Writer::connect(&nowhere).unwrap().write(&change, false).unwrap_err();
    assert!(matches!(error, WriteError::NotSent(Error::Unreachable { .. })), "{error:?}");
}

#[test]
fn a_server_that_is_too_slow_leaves_it_open() {
    let control_plane = control_plane!();
    let before = shop(&administrator(control_plane, "slow"), "write-slow");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut slow = connection(control_plane, "slow", ADMINISTRATOR);
    slow.server = Some(format!("http://{}", silent.local_addr().unwrap()));
    slow.request_timeout = Some(Duration::from_millis(200));
    let error = Writer::connect(&slow).unwrap().write(&Change::Patch(to(10, &before)), false).unwrap_err();
    let WriteError::Uncertain { cause, .. } = error else { unreachable!("{error:?}") };
    assert!(matches!(*cause, Error::Timeout { .. }), "{cause:?}");
}

#[test]
fn a_gateway_that_does_not_know_is_asked_once() {
    let control_plane = control_plane!();
    let before = shop(&administrator(control_plane, "gateway"), "write-gateway");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut way = connection(control_plane, "gateway", ADMINISTRATOR);
    way.server = Some(format!("http://{}", listener.local_addr().unwrap()));
    let gateway = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        assert!(client.read(&mut [0; 16 << 10]).unwrap() > 0);
        client
            .write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .unwrap();
        listener.set_nonblocking(true).unwrap();
        thread::sleep(Duration::from_secs(1));
        listener.accept().is_ok()
    });
    let error = Writer::connect(&way).unwrap().write(&Change::Patch(to(10, &before)), false).unwrap_err();
    assert!(matches!(error, WriteError::Uncertain { .. }), "{error:?}");
    assert!(!gateway.join().unwrap(), "the write was sent again");
}
