//! Every command does its work with the rights that docs/rbac grants, and nothing else.

use mesh_lab::Mesh;

use crate::clients::{client, grant, workload};

#[test]
fn mesh_authz_needs_no_more_than_its_role() {
    let Some(mesh) = Mesh::shared() else { return };
    if !mesh.is_ours() {
        return;
    }
    let limited = mesh.limited();
    client(mesh, "rights", true).unwrap();
    mesh.apply(&workload("rights", "server")).unwrap();
    mesh.ready("rights").unwrap();
    let run = |arguments: &[&str]| {
        let words: Vec<&str> = arguments.iter().copied().chain(["-n", "rights"]).collect();
        let output = mesh.plugin("authz", &limited, &words).unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
    };
    let commands: [&[&str]; 7] = [
        &["who-can", "server"],
        &["what-can", "client"],
        &["can", "client", "server", "GET", "/a"],
        &["matrix"],
        &["explain", "server"],
        &["lint"],
        &["record"],
    ];
    let (code, said, _) = run(commands[0]);
    assert_eq!(code, Some(2), "{said}");

    grant(mesh, "authz", "mesh-authz");
    for command in commands {
        let (code, said, answer) = run(command);
        assert!(matches!(code, Some(0 | 1)), "{command:?}: {code:?} {said}");
        assert!(!said.contains("forbidden"), "{command:?}: {said}");
        if command == ["record"] {
            let cases = mesh.directory().join("rights.yaml");
            std::fs::write(&cases, answer).unwrap();
            let (code, said, _) = run(&["test", &cases.to_string_lossy()]);
            assert_eq!(code, Some(0), "{said}");
        }
    }

    let (code, said, _) = run(&["explain-log", "server"]);
    assert_eq!(code, Some(2), "{said}");
    grant(mesh, "authz-logs", "mesh-authz-logs");
    let (code, said, _) = run(&["explain-log", "server"]);
    assert_eq!(code, Some(0), "{said}");
}
