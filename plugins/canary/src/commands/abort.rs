//! `abort SERVICE`.

use mesh_cli::{Exit, Failure, Ui};

use crate::shift::{Goal, ShiftArgs};

/// Give the canary nothing any more; with an attempt under way, end it.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(before_help = "
# Take payment back to the old version
kubectl mesh-canary abort payment

# End an attempt (set --try) before its time
kubectl mesh-canary abort payment
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
        // Whoever takes back does not want to be asked which of the routes.
        let shift = ShiftArgs { all_routes: self.shift.route.is_empty(), ..self.shift.clone() };
        shift.shift(ui, "abort", &self.service, Goal::Percent(0))
    }
}
