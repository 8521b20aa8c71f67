//! Building a kustomization with `kubectl kustomize`, the one that users run themselves.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use super::place::printable;
use super::text;
use crate::error::Error;

/// How much of kubectl's complaint is kept.
const COMPLAINT: u64 = 16 << 10;

/// The program: `KUBECTL_PATH` where it is set, else `kubectl` of `PATH`.
pub(super) fn kubectl() -> OsString {
    std::env::var_os("KUBECTL_PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| "kubectl".into())
}

/// The manifests of a kustomization, as text. `origin` is how messages call that text.
pub(super) fn build(kubectl: &OsStr, directory: &str, origin: &str) -> Result<String, Error> {
    if !directory.contains("://") && !Path::new(directory).exists() {
        return Err(Error::Missing { path: printable(directory) });
    }
    let not_run = |source| Error::KubectlNotRun {
        directory: printable(directory),
        program: Path::new(kubectl).to_owned(),
        source,
    };
    let mut child = Command::new(kubectl)
        .args(["kustomize", "--", directory])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_run)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (built, complaint) = std::thread::scope(|scope| {
        // Both pipes are drained at once: kubectl must not wait for a reader that waits for it.
        let complaint = scope.spawn(|| {
            let mut said = Vec::new();
            if let Some(mut stderr) = stderr {
                // What is lost here is only part of an explanation.
                let _ = stderr.by_ref().take(COMPLAINT).read_to_end(&mut said);
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            }
            String::from_utf8_lossy(&said).into_owned()
        });
        let built = stdout.map(|stdout| text::read(origin, stdout)).unwrap_or_else(|| Ok(String::new()));
        (built, complaint.join().unwrap_or_default())
    });
    let status = child.wait().map_err(not_run)?;
    match built {
        // Reading stopped before kubectl did, which then failed to write; the first is the cause.
        Err(error @ (Error::TooLarge { .. } | Error::NotText { .. })) => Err(error),
        built if status.success() => built,
        _ => Err(Error::KustomizeFailed {
            directory: printable(directory),
            status,
            said: complaint.trim().lines().map(printable).collect::<Vec<_>>().join("\n"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kubectl: &str) -> String {
        build(OsStr::new(kubectl), env!("CARGO_MANIFEST_DIR"), "-k .").unwrap_err().to_string()
    }

    #[test]
    fn missing_kubectl() {
        let said = message("/nonexistent/kubectl");
        assert!(said.contains("cannot run /nonexistent/kubectl: No such file"), "{said}");
    }

    #[test]
    fn failing_kubectl() {
        let said = message("false");
        assert!(said.contains("kubectl kustomize failed (exit status: 1)"), "{said}");
    }

    #[test]
    fn missing_directory() {
        let error = build(OsStr::new("true"), "no/such", "-k no/such").unwrap_err();
        assert_eq!(error.to_string(), "cannot read no/such: no such file or directory");
    }

    #[test]
    fn output_is_what_is_read() {
        // `echo` stands for kubectl: it writes its arguments.
        let built = build(OsStr::new("echo"), ".", "-k .").unwrap();
        assert_eq!(built, "kustomize -- .\n");
    }
}
