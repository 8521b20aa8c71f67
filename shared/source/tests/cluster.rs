//! The live cluster as a source, against a real API server.

#![expect(clippy::unwrap_used, reason = "a test may fail wherever it is")]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use mesh_lab::ControlPlane;
use mesh_lab::control_plane::{ADMINISTRATOR, LIMITED};
use mesh_model::object::{Kind, Object, Origin};
use mesh_source::cluster::{self, Connection, Error, Progress, Read, Unreachable};
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
    let kubeconfig = control_plane.kubeconfig(name, token, "context-namespace").unwrap();
    Connection { kubeconfig: Some(kubeconfig), ..Connection::default() }
}

fn administrator(control_plane: &ControlPlane, test: &str) -> Connection {
    connection(control_plane, &format!("{test}.kubeconfig"), ADMINISTRATOR)
}

fn read(connection: &Connection, want: &[Kind], namespaces: &[&str]) -> Result<Read, Error> {
    let namespaces: Vec<String> = namespaces.iter().map(|&name| name.to_owned()).collect();
    cluster::read(connection, want, &namespaces, &mut |_| {})
}

/// What was read of a namespace; other tests have theirs.
fn in_namespace<'r>(read: &'r Read, namespace: &str) -> Vec<&'r Object> {
    read.objects.iter().filter(|object| object.namespace == namespace).collect()
}

fn namespace(name: &str) -> (String, Value) {
    (
        "/api/v1/namespaces".into(),
        json!({"metadata": {"name": name, "labels": {"istio-injection": "enabled"}}}),
    )
}

/// An object with the path of its collection.
fn object(api_version: &str, plural: &str, namespace: &str, name: &str, rest: Value) -> (String, Value) {
    let root = if api_version.contains('/') { "apis" } else { "api" };
    let mut object = rest;
    object["metadata"]["name"] = name.into();
    (format!("/{root}/{api_version}/namespaces/{namespace}/{plural}"), object)
}

/// An object of one of Istio's kinds, whose collections take no object without kind and version.
fn istio(api_version: &str, kind: Kind, namespace: &str, name: &str, spec: &Value) -> (String, Value) {
    let rest = json!({"apiVersion": api_version, "kind": kind.name(), "spec": spec});
    object(api_version, kind.plural(), namespace, name, rest)
}

fn pod_spec() -> Value {
    json!({
        "serviceAccountName": "payment",
        "automountServiceAccountToken": false,
        "containers": [{
            "name": "app", "image": "payment:1",
            "ports": [{"name": "http", "containerPort": 8080}],
            "env": [{"name": "UNREAD", "value": "UNREAD"}],
        }],
    })
}

fn template() -> Value {
    let mut spec = pod_spec();
    spec["restartPolicy"] = "Always".into();
    json!({"metadata": {"labels": {"app": "payment"}}, "spec": spec})
}

fn workload(extra: &Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": "payment"}}, "template": template()});
    for (name, value) in extra.as_object().unwrap() {
        spec[name] = value.clone();
    }
    json!({"spec": spec})
}

/// One object of every kind.
fn one_of_each(shop: &str) -> Vec<(String, Value)> {
    let mut once = template();
    once["spec"]["restartPolicy"] = "Never".into();
    let rule = json!({"selector": {"matchLabels": {"app": "payment"}}});
    vec![
        object(
            "v1",
            "services",
            shop,
            "payment",
            json!({
                "metadata": {"annotations": {"networking.istio.io/exportTo": "."}},
                "spec": {"selector": {"app": "payment"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
            }),
        ),
        object(
            "v1",
            "pods",
            shop,
            "payment-1",
            json!({
                "metadata": {"labels": {"app": "payment"}, "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "UNREAD",
                }},
                "spec": pod_spec(),
            }),
        ),
        object("apps/v1", "deployments", shop, "payment", workload(&json!({"replicas": 2}))),
        object("apps/v1", "statefulsets", shop, "payment", workload(&json!({"serviceName": "payment"}))),
        object("apps/v1", "daemonsets", shop, "payment", workload(&json!({}))),
        object("apps/v1", "replicasets", shop, "payment", workload(&json!({"replicas": 1}))),
        object("batch/v1", "jobs", shop, "payment", json!({"spec": {"template": once}})),
        object(
            "batch/v1",
            "cronjobs",
            shop,
            "payment",
            json!({
                "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": once}}},
            }),
        ),
        istio("security.istio.io/v1", Kind::AuthorizationPolicy, shop, "payment", &json!({"rules": [{}]})),
        istio("security.istio.io/v1beta1", Kind::PeerAuthentication, shop, "payment", &json!({"mtls": {}})),
        istio("security.istio.io/v1beta1", Kind::RequestAuthentication, shop, "payment", &rule),
        istio(
            "networking.istio.io/v1alpha3",
            Kind::DestinationRule,
            shop,
            "payment",
            &json!({"host": "payment"}),
        ),
        istio(
            "networking.istio.io/v1beta1",
            Kind::VirtualService,
            shop,
            "payment",
            &json!({
                "hosts": ["payment"],
                "http": [{"route": [{"destination": {"host": "payment"}, "weight": 100}], "timeout": "5s"}],
            }),
        ),
        istio(
            "networking.istio.io/v1",
            Kind::Gateway,
            shop,
            "payment",
            &json!({
                "selector": {"istio": "ingressgateway"},
                "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
            }),
        ),
        istio(
            "networking.istio.io/v1",
            Kind::Sidecar,
            shop,
            "payment",
            &json!({"egress": [{"hosts": ["./*"]}]}),
        ),
        istio(
            "networking.istio.io/v1",
            Kind::ServiceEntry,
            shop,
            "payment",
            &json!({
                "hosts": ["example.com"], "resolution": "DNS",
                "ports": [{"number": 443, "name": "https", "protocol": "HTTPS"}],
            }),
        ),
        istio(
            "networking.istio.io/v1alpha3",
            Kind::EnvoyFilter,
            shop,
            "payment",
            &json!({"configPatches": []}),
        ),
    ]
}

/// A namespace with a service account, without which the API server takes no pods.
fn prepare(control_plane: &ControlPlane, shop: &str) {
    control_plane.create(vec![namespace(shop)]).unwrap();
    control_plane.create(vec![object("v1", "serviceaccounts", shop, "payment", json!({}))]).unwrap();
}

#[test]
fn every_kind_is_read_and_nothing_but_what_counts() {
    let control_plane = control_plane!();
    prepare(control_plane, "every-kind");
    control_plane.create(one_of_each("every-kind")).unwrap();
    control_plane.create(vec![namespace("istio-system"), namespace("mesh-home")]).unwrap();
    let mesh = |name: &str, namespace: &str| {
        object(
            "v1",
            "configmaps",
            namespace,
            name,
            json!({"data": {"mesh": "trustDomain: td", "meshNetworks": "UNREAD"}}),
        )
    };
    control_plane
        .create(vec![
            mesh("istio", "istio-system"),
            mesh("istio-1-27", "mesh-home"),
            mesh("istio", "every-kind"),
            object(
                "v1",
                "configmaps",
                "istio-system",
                "istio-sidecar-injector",
                json!({"data": {"values": "UNREAD"}}),
            ),
            object(
                "v1",
                "services",
                "mesh-home",
                "istiod",
                json!({
                    "metadata": {"labels": {"app": "istiod"}}, "spec": {"ports": [{"port": 15012}]},
                }),
            ),
        ])
        .unwrap();

    let read = read(&administrator(control_plane, "every-kind"), &Kind::ALL, &[]).unwrap();

    assert_eq!((read.gaps.as_slice(), read.absent.as_slice()), (&[][..], &[][..]));
    assert_eq!(read.default_namespace, "context-namespace");
    let ours = in_namespace(&read, "every-kind");
    let kinds: BTreeSet<Kind> = ours.iter().map(|object| object.kind).collect();
    let expected: BTreeSet<Kind> =
        Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Namespace | Kind::ConfigMap)).collect();
    assert_eq!(kinds, expected);
    assert_eq!(ours.len(), expected.len(), "each once");
    for object in &ours {
        assert_eq!(object.origin, Origin::Cluster);
        assert_eq!(object.value["kind"], object.kind.name());
        let api_version = object.value["apiVersion"].as_str().unwrap();
        assert_eq!(Kind::from_manifest(api_version, object.kind.name()), Some(object.kind));
        assert!(object.get("/metadata/managedFields").is_none(), "{}", object.kind);
    }
    let text =
        serde_json::to_string(&read.objects.iter().map(|object| &object.value).collect::<Vec<_>>()).unwrap();
    assert!(!text.contains("UNREAD"));

    let get = |kind: Kind, pointer: &str| {
        ours.iter().find(|object| object.kind == kind).unwrap().get(pointer).cloned().unwrap_or_default()
    };
    assert_eq!(get(Kind::Pod, "/spec/containers/0/ports/0/name"), "http");
    assert_eq!(get(Kind::Deployment, "/spec/template/spec/serviceAccountName"), "payment");
    assert_eq!(get(Kind::CronJob, "/spec/jobTemplate/spec/template/metadata/labels/app"), "payment");
    assert_eq!(get(Kind::Service, "/spec/ports/0/targetPort"), "http");
    // Absent, empty and full are three things.
    assert_eq!(get(Kind::AuthorizationPolicy, "/spec/rules"), json!([{}]));
    assert_eq!(get(Kind::PeerAuthentication, "/spec/mtls"), json!({}));
    // Whatever version it was written in, it is read in the best one.
    assert_eq!(get(Kind::VirtualService, "/apiVersion"), "networking.istio.io/v1");
    assert_eq!(get(Kind::EnvoyFilter, "/apiVersion"), "networking.istio.io/v1alpha3");

    let meshes: Vec<String> =
        read.objects.iter().filter(|object| object.kind == Kind::ConfigMap).map(Object::key).collect();
    assert_eq!(meshes, ["istio-system/istio", "mesh-home/istio-1-27"]);
    let namespace =
        read.objects.iter().find(|object| object.kind == Kind::Namespace && object.name == "every-kind");
    assert_eq!(namespace.unwrap().get("/metadata/labels/istio-injection").unwrap(), "enabled");
}

#[test]
fn long_lists_come_in_pages() {
    let control_plane = control_plane!();
    control_plane.create(vec![namespace("pages")]).unwrap();
    let accounts = (0..1100)
        .map(|i| object("v1", "serviceaccounts", "pages", &format!("account-{i}"), json!({})))
        .collect();
    control_plane.create(accounts).unwrap();
    let mut seen: Vec<Progress> = Vec::new();

    let read = cluster::read(
        &administrator(control_plane, "pages"),
        &[Kind::ServiceAccount],
        &[],
        &mut |progress| seen.push(progress),
    )
    .unwrap();

    assert_eq!(in_namespace(&read, "pages").len(), 1100);
    let names: BTreeSet<&String> = in_namespace(&read, "pages").iter().map(|object| &object.name).collect();
    assert_eq!(names.len(), 1100, "none twice");
    assert_eq!(seen[0].objects, 500);
    assert!(!seen[0].finished);
    assert!(seen.len() >= 4, "three pages and the end");
    let end = Progress { kind: Kind::ServiceAccount, objects: read.objects.len(), finished: true };
    assert_eq!(seen.last(), Some(&end));
}

/// Lets `limited` list pods, and Istio's policies, in one namespace.
fn allow_pods_in(control_plane: &ControlPlane, shop: &str, user: &str) {
    let rbac = "rbac.authorization.k8s.io/v1";
    control_plane
        .create(vec![
            object(
                rbac,
                "roles",
                shop,
                "reader",
                json!({"rules": [
                    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
                    {"apiGroups": ["security.istio.io"], "resources": ["*"], "verbs": ["list"]},
                ]}),
            ),
            object(
                rbac,
                "rolebindings",
                shop,
                user,
                json!({
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
                    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
                }),
            ),
        ])
        .unwrap();
}

/// What a user sees who may list pods and policies in `shop` alone.
fn assert_limited(read: &Read, shop: &str) {
    let kinds: Vec<Kind> = read.objects.iter().map(|object| object.kind).collect();
    assert_eq!(kinds, [Kind::Pod, Kind::AuthorizationPolicy]);
    let gaps: Vec<(Kind, &[String])> =
        read.gaps.iter().map(|gap| (gap.kind, gap.readable.as_slice())).collect();
    let readable = [shop.to_owned()];
    assert_eq!(
        gaps,
        [
            (Kind::Namespace, &[][..]),
            (Kind::Service, &[][..]),
            (Kind::Pod, &readable[..]),
            (Kind::ConfigMap, &[][..]),
            (Kind::AuthorizationPolicy, &readable[..]),
        ]
    );
    assert!(read.gaps[2].reason.contains("cannot list resource \"pods\""), "{}", read.gaps[2].reason);
}

const LIMITED_KINDS: [Kind; 5] =
    [Kind::Namespace, Kind::Service, Kind::Pod, Kind::ConfigMap, Kind::AuthorizationPolicy];

#[test]
fn what_may_not_be_listed_is_a_gap_and_namespaces_are_tried() {
    let control_plane = control_plane!();
    prepare(control_plane, "limited");
    control_plane.create(one_of_each("limited")).unwrap();
    allow_pods_in(control_plane, "limited", "limited");
    let connection = connection(control_plane, "limited.kubeconfig", LIMITED);

    let read = read(&connection, &LIMITED_KINDS, &["limited", "istio-system"]).unwrap();

    assert_limited(&read, "limited");
}

#[test]
fn impersonation_reads_as_somebody_else() {
    let control_plane = control_plane!();
    prepare(control_plane, "impersonation");
    control_plane.create(one_of_each("impersonation")).unwrap();
    allow_pods_in(control_plane, "impersonation", "jane");
    let administrator = administrator(control_plane, "impersonation");
    let jane = Connection { impersonate: Some("jane".into()), ..administrator.clone() };

    assert_limited(&read(&jane, &LIMITED_KINDS, &["impersonation"]).unwrap(), "impersonation");

    let master = Connection { impersonate_groups: vec!["system:masters".into()], ..jane.clone() };
    assert!(read(&master, &LIMITED_KINDS, &[]).unwrap().gaps.is_empty());
    let groups_alone = Connection { impersonate: None, ..master };
    let error = read(&groups_alone, &LIMITED_KINDS, &[]).unwrap_err();
    assert!(error.line().contains("without impersonating a user"), "{}", error.line());
    // The server hears of uid and extras too: to impersonate them takes a permission of its own.
    let extra = Connection {
        impersonate_uid: Some("7".into()),
        impersonate_extra: vec![("reason".into(), "debug".into())],
        token: Some(LIMITED.into()),
        ..jane
    };
    let error = read(&extra, &[Kind::Pod], &["impersonation"]).unwrap_err();
    assert!(error.line().contains("cannot impersonate"), "{}", error.line());
}

#[test]
fn who_may_read_nothing_is_told_so() {
    let control_plane = control_plane!();
    let nobody = Connection { impersonate: Some("nobody".into()), ..administrator(control_plane, "nothing") };
    let error = read(&nobody, &Kind::ALL, &[]).unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
    assert_eq!(
        error.line(),
        "Error from server (Forbidden): namespaces is forbidden: User \"nobody\" cannot list resource \
         \"namespaces\" in API group \"\" at the cluster scope"
    );
    assert!(error.hint().is_some());
}

#[test]
fn a_wrong_token_is_a_login_problem() {
    let control_plane = control_plane!();
    let wrong = connection(control_plane, "wrong-token.kubeconfig", "guess");
    let error = read(&wrong, &Kind::ALL, &[]).unwrap_err();
    assert_eq!(error.line(), "error: You must be logged in to the server (Unauthorized)");
    // A token on the command line wins.
    let right = Connection { token: Some(ADMINISTRATOR.into()), ..wrong };
    assert!(read(&right, &[Kind::Namespace], &[]).is_ok());
}

#[test]
fn a_server_that_is_not_there_refuses() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gone = Connection { server: Some(format!("https://127.0.0.1:{port}")), ..Connection::default() };
    let error = read(&gone, &Kind::ALL, &[]).unwrap_err();
    assert_eq!(
        error.line(),
        format!(
            "The connection to the server 127.0.0.1:{port} was refused - did you specify the right host or port?"
        )
    );
}

#[test]
fn a_host_without_an_address_is_named() {
    let nowhere = Connection { server: Some("https://nowhere.invalid".into()), ..Connection::default() };
    let error = read(&nowhere, &[Kind::Pod], &[]).unwrap_err();
    assert!(matches!(error, Error::Unreachable { sort: Unreachable::Name, .. }), "{error:?}");
    assert!(
        error.line().starts_with("Unable to connect to the server: nowhere.invalid:443: "),
        "{}",
        error.line()
    );
}

#[test]
fn only_a_server_that_the_authority_vouches_for_is_trusted() {
    let control_plane = control_plane!();
    let right = administrator(control_plane, "authority");
    let other = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/other-authority.pem");
    let wrong = Connection { certificate_authority: Some(other), ..right.clone() };
    let error = read(&wrong, &[Kind::Namespace], &[]).unwrap_err();
    assert!(matches!(error, Error::Unreachable { sort: Unreachable::Certificate, .. }), "{error:?}");
    assert!(error.line().starts_with("Unable to connect to the server: "), "{}", error.line());

    let other_name = Connection { tls_server_name: Some("other.example".into()), ..right.clone() };
    assert!(read(&other_name, &[Kind::Namespace], &[]).is_err());
    let known_name = Connection { tls_server_name: Some("kubernetes.default.svc".into()), ..right.clone() };
    assert!(read(&known_name, &[Kind::Namespace], &[]).is_ok());
    let careless = Connection {
        tls_server_name: Some("other.example".into()),
        insecure_skip_tls_verify: true,
        ..right.clone()
    };
    assert!(read(&careless, &[Kind::Namespace], &[]).is_ok());

    let by_flags = Connection {
        server: Some(control_plane.server()),
        token: Some(ADMINISTRATOR.into()),
        certificate_authority: Some(control_plane.certificate_authority()),
        ..Connection::default()
    };
    assert!(read(&by_flags, &[Kind::Namespace], &[]).is_ok());
}

#[test]
fn a_silent_server_is_not_waited_for_longer_than_asked() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for scheme in ["http", "https"] {
        let connection = Connection {
            server: Some(format!("{scheme}://127.0.0.1:{port}")),
            request_timeout: Some(Duration::from_millis(300)),
            ..Connection::default()
        };
        let start = Instant::now();
        let error = read(&connection, &Kind::ALL, &[]).unwrap_err();
        assert_eq!(
            error.line(),
            format!("Unable to connect to the server: no complete answer from 127.0.0.1:{port} within 0.3s")
        );
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn what_is_not_kubernetes_is_said_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let page = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<html></html>";
            let _ = stream.write_all(page.as_bytes());
        }
    });
    let connection = Connection { server: Some(format!("127.0.0.1:{port}")), ..Connection::default() };
    let error = read(&connection, &[Kind::Pod], &[]).unwrap_err();
    assert!(
        error.line().starts_with("error: cannot understand the answer of the server to /api/v1/pods: "),
        "{}",
        error.line()
    );
}

#[test]
fn several_kubeconfig_files_are_merged() {
    let control_plane = control_plane!();
    let directory = control_plane.directory();
    let write = |name: &str, text: Value| {
        let path = directory.join(name);
        std::fs::write(&path, text.to_string()).unwrap();
        path
    };
    let context = write(
        "context.kubeconfig",
        json!({
            "current-context": "merged",
            "contexts": [{"name": "merged", "context": {"cluster": "here", "user": "me", "namespace": "from-context"}}],
        }),
    );
    // Empty, as kubectl writes it: the first file's context stands.
    let cluster = write(
        "cluster.kubeconfig",
        json!({
            "current-context": "",
            "clusters": [{"name": "here", "cluster": {
                "server": control_plane.server(), "certificate-authority": "apiserver.crt",
            }}],
        }),
    );
    let user = write("user.kubeconfig", json!({"users": [{"name": "me", "user": {"token": ADMINISTRATOR}}]}));
    let list = std::env::join_paths([cluster, directory.join("missing"), context, user]).unwrap();

    // The environment of a process is its own: read in another one.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reads_by_environment", "--ignored", "--nocapture"])
        .env("KUBECONFIG", list)
        .output()
        .unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "run by several_kubeconfig_files_are_merged, with KUBECONFIG set"]
fn reads_by_environment() {
    let read = read(&Connection::default(), &[Kind::Namespace], &[]).unwrap();
    assert_eq!(read.default_namespace, "from-context");
    assert!(!read.objects.is_empty());
    assert_eq!(cluster::contexts(&Connection::default()).unwrap(), ["merged"]);
}

#[test]
fn the_servers_warnings_are_collected_once() {
    let control_plane = control_plane!();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/envoyfilters.networking.istio.io";
    let definition: Value = serde_json::from_str(&control_plane.get(path).unwrap()).unwrap();
    let mut versions = definition["spec"]["versions"].clone();
    versions[0]["deprecated"] = true.into();
    versions[0]["deprecationWarning"] = "EnvoyFilter says \"beware\"".into();
    control_plane.merge(path, &json!({"spec": {"versions": versions}})).unwrap();
    let connection = administrator(control_plane, "warnings");
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let read = read(&connection, &[Kind::EnvoyFilter], &[]).unwrap();
        if read.warnings == ["EnvoyFilter says \"beware\""] {
            return;
        }
        assert!(read.warnings.is_empty() && Instant::now() < until, "{:?}", read.warnings);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn without_istio_there_is_a_note_and_no_gap() {
    if ControlPlane::shared().is_none() {
        return;
    }
    let bare = ControlPlane::start().unwrap();
    let connection = administrator(&bare, "bare");
    let all = read(&connection, &Kind::ALL, &[]).unwrap();
    let expected: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.is_istio()).collect();
    assert_eq!(all.absent, expected);
    assert!(all.gaps.is_empty());
    assert!(all.note().unwrap().contains("AuthorizationPolicy"));

    // An old Istio: one kind, in one old version.
    bare.create(vec![(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".into(),
        json!({
            "metadata": {"name": "sidecars.networking.istio.io"},
            "spec": {
                "group": "networking.istio.io", "scope": "Namespaced",
                "names": {"kind": "Sidecar", "plural": "sidecars"},
                "versions": [{"name": "v1alpha3", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }}}],
            },
        }),
    )])
    .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while bare.get("/apis/networking.istio.io/v1alpha3/sidecars").is_err() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(100));
    }
    bare.create(vec![namespace("old")]).unwrap();
    bare.create(vec![istio("networking.istio.io/v1alpha3", Kind::Sidecar, "old", "s", &json!({}))]).unwrap();
    let old = read(&connection, &[Kind::Sidecar, Kind::Gateway], &[]).unwrap();
    assert_eq!(old.absent, [Kind::Gateway]);
    assert_eq!(in_namespace(&old, "old").len(), 1);
}
