//! Where the World of a command comes from: the cluster, manifests, or both.

use clap::Args;
use mesh_model::object::Kind;
use mesh_model::version::Version;
use mesh_model::world::{Snapshot, World};
use mesh_source::cluster::{self, Connection};
use mesh_source::error::Error as ManifestError;
use mesh_source::manifests::{self, Manifests};

use crate::connection::ConnectArgs;
use crate::failure::Failure;
use crate::terminal::Ui;

/// The oldest and the newest minor version of Istio that we know the rules of.
const MINORS: std::ops::RangeInclusive<u32> = 21..=31;

/// The namespace in which mesh-wide configuration lives.
const ROOT_NAMESPACE: &str = "istio-system";

/// The flags that say what to read; flattened into the arguments of every command that reads.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Source flags")]
pub struct SourceArgs {
    /// The namespace to look in; the context's, or default, if not given.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Read these manifests instead of the cluster: files, directories, or - for standard input.
    #[arg(short, long, value_name = "FILE", value_delimiter = ',')]
    filename: Vec<String>,
    /// Also read the directories below those of -f.
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Read this kustomization instead of the cluster.
    #[arg(short, long, value_name = "DIRECTORY")]
    kustomize: Option<String>,
    /// Read the cluster as if the manifests of -f or -k had been applied to it.
    #[arg(long)]
    what_if: bool,
    /// The version of Istio whose rules hold, such as 1.27 or 1.27.3; the cluster's if not given.
    #[arg(long, value_name = "VERSION", value_parser = istio_version)]
    istio_version: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// `-A`, for commands that can answer for all namespaces; it wins over `-n`, as in kubectl.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct AllNamespacesArgs {
    /// Look in all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// What a command works on.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The World.
    pub world: World,
    /// The namespace of names that come without one: that of `-n`, of the context, or `default`.
    pub default_namespace: String,
    /// Whether a name that is not in that namespace may be of any other: manifests have no context, so
    /// without `-n` nobody said where to look.
    pub anywhere: bool,
}

/// What the flags ask for, once they are known to make sense together.
#[derive(Debug, PartialEq)]
enum Request {
    Cluster(Connection),
    Manifests(Manifests),
    WhatIf(Connection, Manifests),
}

impl SourceArgs {
    /// Reads the World. Progress, notes and the server's warnings go to stderr.
    ///
    /// # Errors
    /// When the flags make no sense together, or when anything named cannot be read.
    pub fn load(&self, ui: &Ui) -> Result<Loaded, Failure> {
        self.load_only(ui, &Kind::ALL)
    }

    /// Reads a World that has only some kinds of a cluster: those that the question is about.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_only(&self, ui: &Ui, kinds: &[Kind]) -> Result<Loaded, Failure> {
        match self.request()? {
            Request::Cluster(connection) => {
                let (snapshot, default_namespace) = self.read_cluster(ui, &connection, kinds)?;
                Ok(Loaded { world: World::new(snapshot), default_namespace, anywhere: false })
            }
            Request::Manifests(manifests) => {
                let snapshot = Snapshot {
                    objects: read_manifests(ui, &manifests)?.objects,
                    gaps: Vec::new(),
                    istio_version: self.istio_version.clone(),
                };
                Ok(Loaded {
                    world: World::new(snapshot),
                    default_namespace: manifests.default_namespace,
                    anywhere: self.namespace().is_none(),
                })
            }
            Request::WhatIf(connection, mut manifests) => {
                // The manifests first: they are read in no time, and are what is mistyped.
                if self.namespace().is_none() {
                    manifests.default_namespace = cluster::default_namespace(&connection)?;
                }
                let overlay = read_manifests(ui, &manifests)?.objects;
                let (snapshot, default_namespace) = self.read_cluster(ui, &connection, kinds)?;
                let world = World::new(snapshot).with(overlay);
                Ok(Loaded { world, default_namespace, anywhere: false })
            }
        }
    }

    /// The cluster that is read, if one is: what else of it a command may need.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        let reads_manifests = !self.filename.is_empty() || self.kustomize.is_some();
        (self.what_if || !reads_manifests).then(|| self.connect.connection())
    }

    /// Whether the World is the cluster as it would be, and not as it is.
    #[must_use]
    pub fn is_what_if(&self) -> bool {
        self.what_if
    }

    /// Whether standard input is one of the manifests.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.filename.iter().any(|name| name == "-")
    }

    /// What the flags ask for.
    fn request(&self) -> Result<Request, Failure> {
        let connection = self.connect.connection();
        let reads_files = !self.filename.is_empty();
        if reads_files && self.kustomize.is_some() {
            return Err(Failure::usage("only one of -f and -k can be given"));
        }
        if self.recursive && !reads_files {
            return Err(Failure::usage("-R reads the directories below those of -f, and there is no -f"));
        }
        if !reads_files && self.kustomize.is_none() {
            return if self.what_if {
                Err(Failure::usage("--what-if needs manifests to apply in thought: name them with -f or -k"))
            } else {
                Ok(Request::Cluster(connection))
            };
        }
        let manifests = Manifests {
            filenames: self.filename.clone(),
            recursive: self.recursive,
            kustomize: self.kustomize.clone(),
            default_namespace: self.namespace().unwrap_or("default").to_owned(),
        };
        if self.what_if {
            Ok(Request::WhatIf(connection, manifests))
        } else if connection == Connection::default() {
            Ok(Request::Manifests(manifests))
        } else {
            Err(Failure::usage("-f and -k read manifests alone, and no cluster to which a flag could apply")
                .hint("add --what-if to read the cluster as if the manifests had been applied"))
        }
    }

    /// The namespace of `-n`; an empty one is none, as in kubectl.
    fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }

    fn read_cluster(
        &self,
        ui: &Ui,
        connection: &Connection,
        kinds: &[Kind],
    ) -> Result<(Snapshot, String), Failure> {
        // Where the whole cluster may not be listed, these namespaces are tried one by one.
        let namespaces: Vec<String> = match self.namespace() {
            Some(namespace) => vec![namespace.to_owned(), ROOT_NAMESPACE.to_owned()],
            None => Vec::new(),
        };
        let progress = ui.progress();
        let mut finished = 0;
        let read = cluster::read(connection, kinds, &namespaces, &mut |step| {
            finished += usize::from(step.finished);
            progress.show(format!("listing {}… {finished}/{}", step.kind.plural(), kinds.len()));
        });
        drop(progress);
        let read = read?;
        for warning in &read.warnings {
            ui.warning(warning);
        }
        if let Some(note) = read.note() {
            ui.note(note);
        }
        let default_namespace = self.namespace().map_or(read.default_namespace, str::to_owned);
        let istio_version = self.istio_version.clone();
        Ok((Snapshot { objects: read.objects, gaps: read.gaps, istio_version }, default_namespace))
    }
}

fn read_manifests(ui: &Ui, manifests: &Manifests) -> Result<manifests::Read, Failure> {
    let read = manifests::read(manifests)?;
    for note in &read.notes {
        ui.note(note);
    }
    Ok(read)
}

/// Reads `--istio-version`: `1.27`, `1.27.3` or `v1.27.3`, and no other.
fn istio_version(text: &str) -> Result<String, String> {
    let plain = text.strip_prefix('v').unwrap_or(text);
    match Version::parse(plain).filter(|version| version.to_string() == plain) {
        Some(version) if version.major == 1 && MINORS.contains(&version.minor) => Ok(plain.to_owned()),
        Some(_) => Err(format!("known are 1.{} to 1.{}", MINORS.start(), MINORS.end())),
        None => Err("write it as 1.27 or 1.27.3".to_owned()),
    }
}

impl From<cluster::Error> for Failure {
    fn from(error: cluster::Error) -> Self {
        let line = error.line();
        let failure = match line.strip_prefix("error: ") {
            Some(message) => Self::error(message),
            None => Self::server(line),
        };
        failure.hints(error.hint())
    }
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        Self::error(error.to_string()).hints(error.hint())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        scope: AllNamespacesArgs,
    }

    fn request(arguments: &[&str]) -> Result<Request, Failure> {
        Command::try_parse_from([&["x"], arguments].concat()).unwrap().source.request()
    }

    fn manifests(filenames: &[&str]) -> Manifests {
        Manifests {
            filenames: filenames.iter().map(ToString::to_string).collect(),
            default_namespace: "default".to_owned(),
            ..Manifests::default()
        }
    }

    #[test]
    fn without_manifests_the_cluster_is_read() {
        assert_eq!(request(&[]), Ok(Request::Cluster(Connection::default())));
        assert_eq!(request(&["-n", "orders", "-A"]), Ok(Request::Cluster(Connection::default())));
        let there = Connection { context: Some("there".to_owned()), ..Connection::default() };
        assert_eq!(request(&["--context", "there"]), Ok(Request::Cluster(there)));
    }

    #[test]
    fn manifests_are_named_as_for_kubectl() {
        assert_eq!(
            request(&["-f", "a.yaml,b.yaml", "--filename=-"]),
            Ok(Request::Manifests(manifests(&["a.yaml", "b.yaml", "-"])))
        );
        assert_eq!(
            request(&["-Rf", "deploy", "-n", "orders"]),
            Ok(Request::Manifests(Manifests {
                recursive: true,
                default_namespace: "orders".to_owned(),
                ..manifests(&["deploy"])
            }))
        );
        assert_eq!(
            request(&["-k", "overlay", "-n", ""]),
            Ok(Request::Manifests(Manifests { kustomize: Some("overlay".to_owned()), ..manifests(&[]) }))
        );
    }

    #[test]
    fn what_if_reads_both() {
        let there = Connection { context: Some("there".to_owned()), ..Connection::default() };
        assert_eq!(
            request(&["--what-if", "-f", "a.yaml", "--context=there"]),
            Ok(Request::WhatIf(there, manifests(&["a.yaml"])))
        );
    }

    #[test]
    fn flags_that_make_no_sense_together() {
        for (arguments, message) in [
            (&["--what-if"][..], "--what-if needs manifests"),
            (&["-R"], "-R reads the directories below those of -f"),
            (&["-R", "-k", "overlay"], "-R reads the directories below those of -f"),
            (&["-f", "a.yaml", "-k", "overlay"], "only one of -f and -k"),
            (&["-f", "a.yaml", "--context", "there"], "-f and -k read manifests alone"),
            (&["-k", "overlay", "--as", "alice"], "-f and -k read manifests alone"),
        ] {
            let failure = request(arguments).unwrap_err();
            let lines: Vec<String> = failure.lines("x").iter().map(|line| line.render(false)).collect();
            assert!(lines[0].starts_with(&format!("error: {message}")), "{lines:?}");
            assert_eq!(lines.last().unwrap(), "See 'x --help' for usage.");
            assert_eq!(failure.exit(), crate::Exit::CouldNot);
        }
    }

    #[test]
    fn versions_of_istio() {
        for (text, version) in
            [("1.27", "1.27"), ("1.27.3", "1.27.3"), ("v1.27.3", "1.27.3"), ("1.21", "1.21")]
        {
            assert_eq!(istio_version(text).as_deref(), Ok(version));
        }
        for text in ["1.20", "1.32.0", "2.27", "0.27"] {
            assert_eq!(istio_version(text).unwrap_err(), "known are 1.21 to 1.31");
        }
        for text in
            ["", "v", "1", "1.", "1.27.", "1.27.x", "1.27.3.4", "01.27", "vv1.27", "latest", "1.27-dev"]
        {
            assert_eq!(istio_version(text).unwrap_err(), "write it as 1.27 or 1.27.3", "{text}");
        }
        let refused = Command::try_parse_from(["x", "--istio-version", "1.19"]).unwrap_err().to_string();
        assert!(refused.contains("'--istio-version <VERSION>': known are 1.21 to 1.31"), "{refused}");
    }

    #[test]
    fn errors_of_the_sources_keep_kubectls_words() {
        let said =
            |failure: Failure| failure.lines("x").iter().map(|line| line.render(false)).collect::<Vec<_>>();
        let refused = cluster::Error::Refused { host: "h:1".to_owned() };
        assert_eq!(
            said(refused.into())[0],
            "The connection to the server h:1 was refused - did you specify the right host or port?"
        );
        let unknown = cluster::Error::UnknownContext { name: "x".to_owned(), contexts: vec!["a".to_owned()] };
        assert_eq!(said(unknown.into()), ["error: context \"x\" does not exist", "hint: there are: a"]);
        assert!(said(ManifestError::NothingNamed.into())[1].starts_with("hint: "));
    }
}
