//! What only a whole process shows: exit codes, streams, colour. The plugin is `examples/plugin.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

/// What a run of the plugin said, and how it ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn plugin() -> Command {
    // Examples are built beside the directory of tests whenever a whole package is tested.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    let mut command = Command::new(path.join("plugin"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"));
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "KUBECONFIG"] {
        command.env_remove(variable);
    }
    command.env("HOME", "/nonexistent");
    command
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let output = plugin().args(arguments).envs(environment.iter().copied()).output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn the_answer_is_on_stdout_and_escaped() {
    let ended = run(&["list", "-f", "payment.yaml"], &[]);
    assert_eq!(
        ended.stdout,
        "\
KIND                  NAME                  WHERE
Service               default/payment       payment.yaml:1
AuthorizationPolicy   shop/allow\\u001b[2J   payment.yaml:14
"
    );
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_no_is_not_an_error() {
    let ended = run(&["list", "nothing", "-f", "payment.yaml"], &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(ended.stderr, "No resources found.\n");
}

#[test]
fn the_namespace_of_manifests_is_that_of_the_flag() {
    let ended = run(&["list", "payment", "-f", "payment.yaml", "-n", "orders", "-o", "yaml"], &[]);
    assert_eq!(ended.stdout, "apiVersion: kubectl-mesh.dev/v1\nkind: Listing\nobjects:\n- orders/payment\n");
}

/// An API server with the services `payment` and `ledger` in the namespace `default`, nothing else,
/// and an opinion; returns its address.
fn api_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let request: Vec<String> = BufReader::new(&connection)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let services = r#"{"metadata": {"name": "payment", "namespace": "default"}},
                {"metadata": {"name": "ledger", "namespace": "default"}}"#;
            let items = if request[0].contains("/services?") { services } else { "" };
            let body =
                format!(r#"{{"kind": "List", "apiVersion": "v1", "metadata": {{}}, "items": [{items}]}}"#);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nWarning: 299 - \"ponder\"\r\nConnection: close";
            write!(connection, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    address
}

#[test]
fn what_if_lays_manifests_over_the_cluster() {
    let server = api_server();
    let live = run(&["list", "--no-headers", "--server", &server], &[]);
    assert_eq!(
        live.stdout,
        "Service   default/ledger    default/ledger\nService   default/payment   default/payment\n"
    );
    assert!(live.stderr.starts_with("Warning: ponder\nthe cluster does not know "), "{}", live.stderr);
    let after = run(&["list", "--no-headers", "--server", &server, "--what-if", "-f", "payment.yaml"], &[]);
    assert_eq!(
        after.stdout,
        "\
Service               default/ledger        default/ledger
Service               default/payment       payment.yaml:1
AuthorizationPolicy   shop/allow\\u001b[2J   payment.yaml:14
"
    );
}

#[test]
fn what_could_not_run_ends_with_two() {
    for (arguments, message) in [
        (
            &["list", "-f", "missing.yaml"][..],
            "error: cannot read missing.yaml: no such file or directory\nhint: ",
        ),
        (&["list", "--what-if"], "error: --what-if needs manifests"),
        (&["list", "--frobnicate"], "error: unexpected argument '--frobnicate' found"),
        (&["list", "--istio-version", "1.2"], "error: invalid value '1.2' for '--istio-version <VERSION>'"),
        (&["list", "--kubeconfig", "missing"], "error: "),
    ] {
        let ended = run(arguments, &[]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.starts_with(message), "{}", ended.stderr);
    }
    let usage = run(&["list", "--what-if"], &[]).stderr;
    assert!(usage.ends_with("See 'kubectl mesh-example list --help' for usage.\n"), "{usage}");
}

#[test]
fn help_and_version_are_answers() {
    for arguments in [&["--help"][..], &["list", "-h"], &["--version"]] {
        let ended = run(arguments, &[]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(!ended.stdout.contains('\u{1b}'), "{}", ended.stdout);
    }
    let help = run(&["list", "--help"], &[]).stdout;
    let order = [
        "List the objects",
        "Examples:",
        "Usage:",
        "Flags:",
        "Source flags:",
        "Connection flags:",
        "General flags:",
    ];
    let places: Vec<usize> = order.iter().map(|heading| help.find(heading).unwrap()).collect();
    assert!(places.is_sorted(), "{help}");
}

#[test]
fn colour_obeys_the_flag_then_the_environment_then_the_stream() {
    let colored = |flags: &[&str], environment: &[(&str, &str)]| {
        let arguments = [&["list", "-f", "payment.yaml"], flags].concat();
        run(&arguments, environment).stdout.contains('\u{1b}')
    };
    assert!(!colored(&[], &[]));
    assert!(!colored(&["--color=auto"], &[]));
    assert!(colored(&["--color=always"], &[]));
    assert!(colored(&["--color", "always"], &[("NO_COLOR", "1"), ("TERM", "dumb")]));
    assert!(colored(&[], &[("CLICOLOR_FORCE", "1")]));
    assert!(!colored(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!colored(&["--color=never"], &[("CLICOLOR_FORCE", "1")]));
}

#[test]
fn a_reader_who_has_gone_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = plugin();
    command.args(["list", "-f", "payment.yaml"]).stdout(writer).stderr(Stdio::piped());
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &[][..]));
}
