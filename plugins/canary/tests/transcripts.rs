//! What people type and what they get, in files that read as documentation: `transcripts/*.md`.
//! Written anew, where an answer changed on purpose, by
//! `TRYCMD=overwrite cargo test -p kubectl-mesh-canary --test transcripts`; read the diff.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::path::Path;

/// Runs transcripts in a directory; stdout and stderr as they come, as in a pipe.
fn run(directory: &Path, transcripts: &[&Path]) {
    // What trycmd starts, and the paths in the answers, are relative to it.
    env::set_current_dir(directory).unwrap();
    let cases = trycmd::TestCases::new();
    let kubectl = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubectl");
    cases
        .register_bin("kubectl", trycmd::schema::Bin::Path(kubectl))
        .env("MESH_CANARY", env!("CARGO_BIN_EXE_kubectl-mesh_canary"))
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .env("HOME", "/nonexistent")
        .env("NO_COLOR", "1");
    for transcript in transcripts {
        cases.case(transcript);
    }
    cases.run();
}

/// One test, because there is one current directory.
#[test]
fn transcripts() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().nth(2).unwrap();
    let transcripts = package.join("tests/transcripts");
    run(root, &[&transcripts.join("orders/*.md")]);
    run(&package.join("tests/fixtures"), &[&transcripts.join("*.md")]);
}
