//! What every plugin says in the same way: how a name was understood, and what was assumed.

use mesh_model::question::target::{self, NotFound, Scope, Target};
use mesh_model::world::Assumption;

use crate::failure::Failure;
use crate::layout;
use crate::source::Loaded;
use crate::terminal::Ui;
use crate::text::{dim, strong};

/// Says what was assumed, under its codes.
pub fn assumptions(ui: &Ui, assumptions: &[Assumption]) {
    for assumption in assumptions {
        let text = format!(": {}", assumption.text);
        layout::note(ui, 2, [dim("assumed "), strong(assumption.code), dim(text)]);
    }
}

/// Finds a target, saying how its name was understood.
///
/// # Errors
/// When the name stands for nothing, or for several things.
pub fn find<'w>(ui: &Ui, loaded: &'w Loaded, text: &str) -> Result<Target<'w>, Failure> {
    let target = target::find(&loaded.world, text, scope(loaded)).map_err(|error| not_found(&error))?;
    if let Some(note) = &target.note {
        ui.note(dim(note.clone()));
    }
    Ok(target)
}

/// Where names are looked for.
#[must_use]
pub fn scope(loaded: &Loaded) -> Scope<'_> {
    Scope { namespace: &loaded.default_namespace, anywhere: loaded.anywhere }
}

/// A name that stands for nothing, with what is near.
#[must_use]
pub fn not_found(error: &NotFound) -> Failure {
    Failure::error(error.to_string()).hint(error.hint())
}
