//! What can go wrong while manifests are read.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use thiserror::Error as ThisError;

use crate::manifests::Place;

/// Why manifests could not be read. Nothing is read by halves: one unreadable file fails the whole
/// read, since an answer about some of the policies would look like an answer about all.
///
/// Messages are lower-case fragments; what to do next is in [`Error::hint`]. Text from files is
/// shown with control characters escaped.
#[derive(Debug, ThisError)]
pub enum Error {
    /// Neither a file nor a directory was named.
    #[error("no manifests were named")]
    NothingNamed,
    /// A path does not exist.
    #[error("cannot read {path}: no such file or directory")]
    Missing {
        /// The path as the user gave it.
        path: String,
    },
    /// A file or directory could not be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The path as the user gave it.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A URL was given where a file is expected.
    #[error("cannot read {url}: manifests are read from files, not from the network")]
    Url {
        /// The URL.
        url: String,
    },
    /// Standard input was named twice.
    #[error("standard input (-) is named twice, and can be read only once")]
    StandardInputTwice,
    /// A directory holds no manifests.
    #[error("no manifests found in {path}: no file there ends in .yaml, .yml or .json")]
    Empty {
        /// The directory as the user gave it.
        path: String,
        /// Whether directories below it hold some.
        below: bool,
    },
    /// A directory is a Helm chart.
    #[error("{path} is a Helm chart (it has a Chart.yaml): its files are templates, not manifests")]
    Chart {
        /// The directory.
        path: String,
    },
    /// A file that does not parse is a template of Helm or of a tool like it.
    #[error("{path}:{line} is a Helm template (it has `{{{{`), not a manifest: {cause}")]
    Template {
        /// The path as the user gave it.
        path: String,
        /// The first line with `{{`.
        line: u32,
        /// What made it unreadable.
        cause: Box<Error>,
    },
    /// A file is larger than any manifest.
    #[error("{path} is larger than {} MiB, too large for a manifest", limit >> 20)]
    TooLarge {
        /// The path as the user gave it.
        path: String,
        /// How much is read, in bytes.
        limit: usize,
    },
    /// A file is not text.
    #[error("{path} is no manifest: {what} at byte {offset}")]
    NotText {
        /// The path as the user gave it.
        path: String,
        /// What was found: a NUL byte, UTF-16, or bytes that are not UTF-8.
        what: &'static str,
        /// How to get text.
        advice: &'static str,
        /// Where, counted from 0.
        offset: usize,
    },
    /// YAML or JSON that does not parse, or that Kubernetes could not hold.
    #[error("{place}: {cause}{}", place.excerpt())]
    Syntax {
        /// Where.
        place: Box<Place>,
        /// What is wrong, in plain words.
        cause: Cow<'static, str>,
        /// What to do.
        advice: &'static str,
    },
    /// A mapping has a key twice. YAML forbids it; kubectl takes the last and drops the others.
    #[error("{place}: the key \"{key}\" already stands on line {first}{}", place.excerpt())]
    DuplicateKey {
        /// Where it stands again.
        place: Box<Place>,
        /// The key, control characters escaped.
        key: String,
        /// The line on which it stood first.
        first: u32,
    },
    /// Aliases expand to more than any manifest holds.
    #[error("{place}: the aliases up to here expand to too much (an alias bomb){}", place.excerpt())]
    AliasBomb {
        /// The alias that exceeded the budget.
        place: Box<Place>,
    },
    /// Collections nest deeper than in any manifest.
    #[error("{place}: nested deeper than {limit} levels{}", place.excerpt())]
    TooDeep {
        /// The first that is too deep.
        place: Box<Place>,
        /// How deep collections may nest.
        limit: usize,
    },
    /// A file holds more parts than any manifest.
    #[error("{place}: more than can be read from one file")]
    TooMuch {
        /// Where the budget was exceeded.
        place: Box<Place>,
    },
    /// A file named by the user holds a document that is no Kubernetes object.
    #[error("{place}: not a Kubernetes object: {lacks}{}", place.excerpt())]
    NotAnObject {
        /// The first line of the document.
        place: Box<Place>,
        /// What it lacks.
        lacks: &'static str,
    },
    /// A field that identifies an object has another type than string.
    #[error("{place}: {field} of this {kind} must be a string{}", place.excerpt())]
    NotAString {
        /// Where the field stands.
        place: Box<Place>,
        /// The kind of the object.
        kind: &'static str,
        /// The field: `metadata.name`, ...
        field: &'static str,
    },
    /// An object has no name.
    #[error("{place}: this {kind} has no metadata.name{}", place.excerpt())]
    Unnamed {
        /// The first line of the object.
        place: Box<Place>,
        /// The kind of the object.
        kind: &'static str,
    },
    /// A kustomization was named as if it were a manifest.
    #[error("{path}:{line} is a kustomization, which only names manifests")]
    Kustomization {
        /// The path as the user gave it.
        path: String,
        /// The first line of the document.
        line: u32,
    },
    /// kubectl, which builds kustomizations, could not be started.
    #[error("cannot build {directory}: cannot run {}: {source}", program.display())]
    KubectlNotRun {
        /// The kustomization's directory.
        directory: String,
        /// The program that was tried.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// kubectl could not build a kustomization.
    #[error("cannot build {directory}: kubectl kustomize failed ({status}): {said}")]
    KustomizeFailed {
        /// The kustomization's directory.
        directory: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said on standard error, control characters escaped.
        said: String,
    },
}

impl Error {
    /// What to do next, as a sentence without a full stop; `None` where the message says it all.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NothingNamed => "name a file or directory with -f, or a kustomization with -k",
            Self::Missing { path } if path.contains(['*', '?', '[']) => {
                "patterns are the shell's work: write the pattern without quotes, one -f per file, or name the \
                 directory"
            }
            Self::Missing { .. } => "check the path; it is relative to the current directory",
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "check that you may read it"
            }
            Self::Unreadable { .. } => return None,
            Self::Url { url } => return Some(format!("fetch it first: curl -fsSL {url} | ... -f -")),
            Self::StandardInputTwice => "name - once",
            Self::Empty { below: true, .. } => "directories below it hold some: add -R to read them too",
            Self::Empty { below: false, .. } => "check the path",
            Self::Chart { path } => return Some(template_hint(path)),
            Self::Template { path, .. } => return Some(template_hint(path)),
            Self::TooLarge { .. } | Self::TooMuch { .. } => {
                "read only what the mesh is made of, for example: kubectl get \
                 services,deployments,virtualservices,authorizationpolicies -A -o yaml"
            }
            Self::NotText { advice, .. } | Self::Syntax { advice, .. } => advice,
            Self::DuplicateKey { .. } => "remove one of the two, or merge them",
            Self::AliasBomb { .. } => "write the parts out instead of nesting aliases",
            Self::TooDeep { .. } => "no Kubernetes object nests that deep: check for stray brackets",
            Self::NotAnObject { .. } => {
                "name only manifests with -f; in a directory such documents are skipped"
            }
            Self::NotAString { .. } => "put the value in quotes",
            Self::Unnamed { .. } => "give it a metadata.name",
            Self::Kustomization { .. } => "build it: -k DIR instead of -f",
            Self::KubectlNotRun { .. } => {
                "kustomizations are built by `kubectl kustomize`: install kubectl, or set KUBECTL_PATH to it"
            }
            Self::KustomizeFailed { directory, .. } => {
                return Some(format!("see for yourself: kubectl kustomize {directory}"));
            }
        };
        Some(hint.to_owned())
    }
}

fn template_hint(path: &str) -> String {
    // The chart of `web/templates/policy.yaml` is `web`.
    let chart = path.split("/templates/").next().unwrap_or(path);
    format!("render it first, and read the result: helm template {chart} | ... -f -")
}
