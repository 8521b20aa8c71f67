//! From a plan to what is written: one change after the other, each known to be in or out before the next.

use std::thread;
use std::time::{Duration, Instant};

use mesh_cli::diff;
use mesh_cli::dry_run::DryRun;
use mesh_cli::output::Output;
use mesh_cli::{Failure, Loaded, SourceArgs, Ui, plan};
use mesh_model::change::Change;
use mesh_model::managed_fields::last_other;
use mesh_model::object::Object;
use mesh_source::cluster::{Connection, FIELD_MANAGER, WriteError, Writer};
use mesh_source::manifests;

/// How long a server that is away is waited for once something is written: half a shift is worse than a slow
/// one.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Where changes go.
#[expect(clippy::large_enum_variant, reason = "there is one")]
pub(crate) enum Sink {
    /// The cluster that was read.
    Cluster {
        /// Opened once for the whole command.
        writer: Writer,
        /// For what else is asked of it.
        connection: Connection,
    },
    /// The manifests that were read.
    Files,
}

impl Sink {
    /// Where the changes of a command go, by where its World came from.
    pub(crate) fn open(source: &SourceArgs) -> Result<Self, Failure> {
        if source.is_what_if() {
            return Err(Failure::usage("--what-if only answers questions: nothing can be written to it"));
        }
        match source.connection() {
            Some(connection) => Ok(Self::Cluster { writer: Writer::connect(&connection)?, connection }),
            None => Ok(Self::Files),
        }
    }
}

/// How a plan is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// How much of it.
    pub(crate) dry_run: DryRun,
    /// As what it is shown.
    pub(crate) output: Output,
    /// Whether nothing is said of it: the command says it for programs.
    pub(crate) quiet: bool,
}

/// What became of a plan.
pub(crate) enum Written {
    /// All of it is written.
    All,
    /// Somebody else changed an object first: so many changes are written, and the next is not.
    Conflict {
        /// How many are written.
        done: usize,
        /// What the server said, and who wrote the object.
        failure: Failure,
    },
}

/// Writes changes one after the other, and stops at the first that is refused.
///
/// # Errors
/// What is not a conflict; the failure says what is written already.
pub(crate) fn write(
    ui: &Ui,
    sink: &Sink,
    loaded: &Loaded,
    changes: &[Change],
    how: How,
) -> Result<Written, Failure> {
    match sink {
        Sink::Cluster { .. } if how.dry_run == DryRun::Client => {
            let written: Vec<Object> =
                outcomes(loaded, changes)?.into_iter().filter_map(|(_, after)| after).collect();
            if !how.quiet {
                changes.iter().for_each(|change| ui.note(plan::receipt(change, how.dry_run)));
            }
            plan::objects(ui, how.output, &written)?;
            Ok(Written::All)
        }
        Sink::Cluster { writer, .. } => to_cluster(ui, writer, changes, how),
        Sink::Files => to_files(ui, loaded, changes, how).map(|()| Written::All),
    }
}

/// An object before and after a change.
type Outcome = (Option<Object>, Option<Object>);

/// The objects of a plan before and after it, by the World that it was made on.
pub(crate) fn outcomes(loaded: &Loaded, changes: &[Change]) -> Result<Vec<Outcome>, Failure> {
    let mut found = Vec::new();
    for change in changes {
        let reference = change.object();
        let before = loaded.world.objects().iter().find(|object| reference.means(object));
        let before = before.map(|object| object.as_ref().clone());
        let after = change
            .apply_to(before.as_ref())
            .map_err(|mismatch| Failure::conflict(format!("error: {mismatch}")))?;
        found.push((before, after));
    }
    Ok(found)
}

fn to_cluster(ui: &Ui, writer: &Writer, changes: &[Change], how: How) -> Result<Written, Failure> {
    let mut written = Vec::new();
    for (done, change) in changes.iter().enumerate() {
        let object = match send(ui, writer, change, how.dry_run == DryRun::Server, done > 0) {
            Ok(object) => object,
            Err(error @ (WriteError::Conflict { .. } | WriteError::AlreadyExists { .. })) => {
                return Ok(Written::Conflict { done, failure: conflict(writer, change, error) });
            }
            Err(error) => return Err(interrupted(Failure::from(error), changes, done)),
        };
        for warning in writer.warnings() {
            ui.warning(&warning);
        }
        if !how.quiet {
            ui.note(plan::receipt(change, how.dry_run));
        }
        written.extend(object);
    }
    plan::objects(ui, how.output, &written)?;
    Ok(Written::All)
}

/// Sends one change, and finds out what became of it where the answer was lost. `must` waits for a server that
/// is away.
pub(crate) fn send(
    ui: &Ui,
    writer: &Writer,
    change: &Change,
    dry_run: bool,
    must: bool,
) -> Result<Option<Object>, WriteError> {
    let started = Instant::now();
    let progress = ui.progress();
    loop {
        let error = match writer.write(change, dry_run) {
            Err(error @ WriteError::Uncertain { .. }) => match became(writer, change) {
                Some(Became::In(object)) => return Ok(object),
                // What did not arrive can be sent again.
                Some(Became::Out) => error,
                None => return Err(error),
            },
            Err(error @ WriteError::NotSent(_)) if must => error,
            other => return other,
        };
        if started.elapsed() >= PATIENCE {
            return Err(error);
        }
        progress.show(format!("{} is not written yet, trying again…", change.object()));
        thread::sleep(PAUSE);
    }
}

/// What became of a change whose answer was lost.
enum Became {
    /// It is written; the object as it is now.
    In(Option<Object>),
    /// It is not.
    Out,
}

/// Reads back, for as long as the server may need to come back; `None` where it cannot be known: the server
/// stays away, or the object is neither as it was nor as it should be.
fn became(writer: &Writer, change: &Change) -> Option<Became> {
    let started = Instant::now();
    let found = loop {
        match writer.get(&change.object()) {
            Ok(found) => break found,
            Err(_) if started.elapsed() < PATIENCE => thread::sleep(PAUSE),
            Err(_) => return None,
        }
    };
    match (change, &found) {
        (Change::Create(_), None) | (Change::Delete { .. }, Some(_)) => Some(Became::Out),
        (Change::Create(_), Some(_)) | (Change::Delete { .. }, None) => Some(Became::In(found)),
        // What can be taken back is in, and what can still be done is not.
        (Change::Patch(patch), Some(object)) if patch.inverse().apply_to(object).is_ok() => {
            Some(Became::In(found))
        }
        (Change::Patch(patch), Some(object)) => patch.apply_to(object).is_ok().then_some(Became::Out),
        (Change::Patch(_), None) => None,
    }
}

/// A conflict, with who wrote the object.
fn conflict(writer: &Writer, change: &Change, error: WriteError) -> Failure {
    let wrote =
        writer.get(&change.object()).ok().flatten().and_then(|object| last_other(&object, FIELD_MANAGER));
    let failure = Failure::from(error);
    match wrote {
        Some(wrote) => failure.hint(format!("it was last written by {} at {}", wrote.manager, wrote.at)),
        None => failure,
    }
}

/// A failure in the middle of several writes: which are done, and how to go on or back.
pub(crate) fn interrupted(failure: Failure, changes: &[Change], done: usize) -> Failure {
    if done == 0 {
        return failure;
    }
    let names = |changes: &[Change]| {
        changes.iter().map(|change| change.object().to_string()).collect::<Vec<_>>().join(", ")
    };
    let (written, missing) = changes.split_at(done.min(changes.len()));
    failure
        .hint(format!("done: {}; not done: {}", names(written), names(missing)))
        .hint("finish it with `kubectl mesh-canary set SERVICE --resume`, or take it back with `undo`")
}

fn to_files(ui: &Ui, loaded: &Loaded, changes: &[Change], how: How) -> Result<(), Failure> {
    let objects: Vec<Object> = loaded.world.objects().iter().map(|object| object.as_ref().clone()).collect();
    let edits = manifests::edit(&objects, changes, &loaded.default_namespace, "canary.yaml")?;
    let after: Vec<Object> = outcomes(loaded, changes)?.into_iter().filter_map(|(_, after)| after).collect();
    if !how.quiet {
        for edit in &edits {
            for line in diff::unified(&edit.path, edit.before.as_deref(), edit.after.as_deref()) {
                ui.answer(line)?;
            }
        }
    }
    if how.dry_run == DryRun::None {
        manifests::write(&edits)?;
        for edit in &edits {
            ui.note(format!("{} written", edit.path));
        }
    }
    plan::objects(ui, how.output, &after)
}
