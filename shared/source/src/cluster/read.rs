//! All wanted kinds, side by side.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use mesh_model::object::{Kind, Object};
use mesh_model::world::Gap;
use tokio::runtime;
use tokio::sync::OnceCell;

use super::discovery::Served;
use super::list::{List, read_one};
use super::mesh_configuration::{self, ROOT_NAMESPACE};
use super::page::Items;
use super::request::{Failure, Server};
use super::{Connection, Error, client};

/// Lists under way at the same time. Each holds a page, and a connection of its own.
const SIDE_BY_SIDE: usize = 8;

/// How far the reading of one kind has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The kind.
    pub kind: Kind,
    /// How many of its objects have been read.
    pub objects: usize,
    /// Whether these are all.
    pub finished: bool,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// All objects, by kind, namespace and name. Of each only what [the module](super) says is kept.
    pub objects: Vec<Object>,
    /// The lists that the server refused.
    pub gaps: Vec<Gap>,
    /// Istio's kinds that the server does not know.
    pub absent: Vec<Kind>,
    /// The context's namespace, or `default`.
    pub default_namespace: String,
    /// What the server warned of, each warning once. Text of the server: not yet safe for a
    /// terminal.
    pub warnings: Vec<String>,
}

impl Read {
    /// A sentence for the user if Istio, or a part of it, is not installed.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        if self.absent.is_empty() {
            return None;
        }
        let names: Vec<&str> = self.absent.iter().map(|kind| kind.name()).collect();
        Some(format!(
            "the cluster does not know {}: Istio, or this part of it, may not be installed",
            names.join(", ")
        ))
    }
}

/// Reads the objects of the wanted kinds from a cluster.
///
/// Kinds that may not be listed in the whole cluster are listed in `namespaces` (the namespace asked
/// about and the root namespace; if empty, the context's and `istio-system`), and reported as a
/// [`Gap`].
///
/// `progress` is called after each page. It is never called before the first answer, so whatever it
/// draws cannot disturb a credential plugin that asks the user something.
///
/// # Errors
/// No usable configuration, no connection, no login, an answer that makes no sense; and
/// [`Error::Forbidden`] if nothing at all may be read.
pub fn read(
    connection: &Connection,
    want: &[Kind],
    namespaces: &[String],
    progress: &mut dyn FnMut(Progress),
) -> Result<Read, Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let read = runtime.block_on(async {
        let (server, default_namespace) = client::connect(connection).await?;
        from_server(&server, default_namespace, want, namespaces, progress).await
    });
    // A look-up of a host's name cannot be stopped, and need not be waited for.
    runtime.shutdown_background();
    read
}

/// Reads from a server that is already chosen.
pub(crate) async fn from_server(
    server: &Server,
    default_namespace: String,
    want: &[Kind],
    namespaces: &[String],
    progress: &mut dyn FnMut(Progress),
) -> Result<Read, Error> {
    let root = [default_namespace.clone(), ROOT_NAMESPACE.to_owned()];
    let reading = Reading {
        server,
        namespaces: if namespaces.is_empty() { &root } else { namespaces },
        served: want.iter().map(|kind| (kind.group(), OnceCell::new())).collect(),
        progress: RefCell::new(progress),
    };
    let kinds: BTreeSet<Kind> = want.iter().copied().collect();
    let mut outcomes: Vec<Outcome> = stream::iter(kinds)
        .map(|kind| reading.kind(kind))
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    // The order in which lists end is chance; the answer's is not.
    outcomes.sort_by_key(|outcome| outcome.kind);
    if let Some(message) = forbidden_altogether(&outcomes) {
        return Err(Error::Forbidden { message });
    }
    let mut read = Read { default_namespace, warnings: server.warnings.all(), ..Read::default() };
    for outcome in outcomes {
        read.objects.extend(outcome.objects);
        read.gaps.extend(outcome.gap);
        if outcome.absent {
            read.absent.push(outcome.kind);
        }
    }
    Ok(read)
}

/// What became of one kind.
struct Outcome {
    kind: Kind,
    objects: Vec<Object>,
    gap: Option<Gap>,
    absent: bool,
}

/// The server's words, if it let us read nothing whatever.
fn forbidden_altogether(outcomes: &[Outcome]) -> Option<String> {
    let refused = |outcome: &Outcome| {
        outcome.gap.as_ref().filter(|gap| gap.readable.is_empty()).map(|gap| gap.reason.clone())
    };
    let mut asked = outcomes.iter().filter(|outcome| !outcome.absent).peekable();
    let first = refused(asked.peek()?)?;
    asked.all(|outcome| refused(outcome).is_some()).then_some(first)
}

/// Everything that the lists share.
struct Reading<'a> {
    server: &'a Server,
    namespaces: &'a [String],
    served: BTreeMap<&'static str, OnceCell<Served>>,
    progress: RefCell<&'a mut dyn FnMut(Progress)>,
}

impl Reading<'_> {
    /// Reads one kind, in as much of the cluster as we may.
    async fn kind(&self, kind: Kind) -> Result<Outcome, Error> {
        let mut outcome = Outcome { kind, objects: Vec::new(), gap: None, absent: false };
        let Some(api_version) = self.api_version(kind).await? else {
            outcome.absent = true;
            return Ok(outcome);
        };
        let items = Items { kind, api_version: &api_version };
        let whole = if kind == Kind::ConfigMap {
            mesh_configuration::read(self.server).await
        } else {
            let list = List { items, namespace: None };
            list.read(self.server, &mut |objects| self.report(kind, objects, false)).await
        };
        match whole {
            Ok(objects) => outcome.objects = objects,
            Err(Failure::Forbidden(reason)) => {
                let (readable, objects) = self.by_namespace(items).await?;
                outcome.objects = objects;
                outcome.gap = Some(Gap { kind, readable, reason });
            }
            // A definition that was removed between discovery and list.
            Err(Failure::Absent) => outcome.absent = true,
            Err(failure) => return Err(fatal(failure, kind)),
        }
        outcome.objects.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        self.report(kind, outcome.objects.len(), true);
        Ok(outcome)
    }

    /// Reads one kind in single namespaces; returns those in which that was allowed.
    async fn by_namespace(&self, items: Items<'_>) -> Result<(Vec<String>, Vec<Object>), Error> {
        let mut readable = Vec::new();
        let mut objects = Vec::new();
        // Mesh configuration has been looked for in its own namespaces already.
        if items.kind == Kind::ConfigMap {
            return Ok((readable, objects));
        }
        for namespace in self.namespaces {
            if readable.contains(namespace) {
                continue;
            }
            let found = if items.kind.is_namespaced() {
                let list = List { items, namespace: Some(namespace) };
                list.read(self.server, &mut |_| {}).await
            } else {
                read_one(self.server, items, None, namespace).await.map(|object| object.into_iter().collect())
            };
            match found {
                Ok(found) => {
                    objects.extend(found);
                    readable.push(namespace.clone());
                }
                Err(Failure::Forbidden(_) | Failure::Absent) => {}
                Err(failure) => return Err(fatal(failure, items.kind)),
            }
        }
        Ok((readable, objects))
    }

    /// The group and version to read a kind by; `None` if the server does not know the kind.
    async fn api_version(&self, kind: Kind) -> Result<Option<String>, Error> {
        let group = kind.group();
        let version = if kind.is_istio() {
            let Some(served) = self.served.get(group) else { return Ok(None) };
            let discover = || Served::discover(self.server, group);
            let served = served.get_or_try_init(discover).await.map_err(|failure| fatal(failure, kind))?;
            match served.version(kind) {
                Some(version) => version,
                None => return Ok(None),
            }
        } else {
            "v1"
        };
        Ok(Some(if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }))
    }

    fn report(&self, kind: Kind, objects: usize, finished: bool) {
        (self.progress.borrow_mut())(Progress { kind, objects, finished });
    }
}

/// The error behind a failure that has no better meaning where it was met.
fn fatal(failure: Failure, kind: Kind) -> Error {
    match failure {
        Failure::Fatal(error) => error,
        Failure::Forbidden(message) => Error::Forbidden { message },
        Failure::Absent | Failure::Expired => Error::Server {
            reason: "NotFound".into(),
            message: format!("the server could not find {}", kind.plural()),
        },
    }
}
