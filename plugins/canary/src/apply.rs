//! From a plan to what is written: shown, checked, asked for, sent in order.

use mesh_cli::diff;
use mesh_cli::dry_run::DryRun;
use mesh_cli::output::Output;
use mesh_cli::{Failure, Loaded, SourceArgs, Ui, plan};
use mesh_model::change::Change;
use mesh_model::object::Object;
use mesh_source::cluster::Writer;
use mesh_source::manifests;

/// Where changes go.
#[expect(clippy::large_enum_variant, reason = "there is one")]
pub(crate) enum Sink {
    /// The cluster that was read.
    Cluster {
        /// Opened once for the whole command.
        writer: Writer,
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
            Some(connection) => Ok(Self::Cluster { writer: Writer::connect(&connection)? }),
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

/// Writes changes one after the other; stops at the first that is refused, and says what is done already.
///
/// Returns the objects as they are now.
pub(crate) fn write(
    ui: &Ui,
    sink: &Sink,
    loaded: &Loaded,
    changes: &[Change],
    how: How,
) -> Result<Vec<Object>, Failure> {
    match sink {
        Sink::Cluster { writer } => to_cluster(ui, writer, loaded, changes, how),
        Sink::Files => to_files(ui, loaded, changes, how),
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

fn to_cluster(
    ui: &Ui,
    writer: &Writer,
    loaded: &Loaded,
    changes: &[Change],
    how: How,
) -> Result<Vec<Object>, Failure> {
    let mut written = Vec::new();
    for (number, change) in changes.iter().enumerate() {
        let object = if how.dry_run == DryRun::Client {
            outcomes(loaded, changes)?.into_iter().nth(number).and_then(|(_, after)| after)
        } else {
            writer.write(change, how.dry_run == DryRun::Server).map_err(|error| {
                let failure = Failure::from(error);
                match number {
                    0 => failure,
                    _ => failure.hint(format!(
                        "already done: {}; finish with --resume, or take it back with undo",
                        changes
                            .iter()
                            .take(number)
                            .map(|done| done.object().to_string())
                            .collect::<Vec<_>>()
                            .join(", ")
                    )),
                }
            })?
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
    Ok(written)
}

fn to_files(ui: &Ui, loaded: &Loaded, changes: &[Change], how: How) -> Result<Vec<Object>, Failure> {
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
    plan::objects(ui, how.output, &after)?;
    Ok(after)
}
