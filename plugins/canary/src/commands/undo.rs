//! `undo SERVICE`.

use mesh_cli::{Exit, Failure, Ui};

use crate::shift::{Goal, ShiftArgs};

/// Take back the last step: the weights that were before it.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(before_help = "
# Take back the last step of payment
kubectl mesh-canary undo payment
")]
pub(crate) struct Arguments {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: String,
    #[command(flatten)]
    shift: ShiftArgs,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        self.shift.shift(ui, "undo", &self.service, Goal::Back)
    }
}
