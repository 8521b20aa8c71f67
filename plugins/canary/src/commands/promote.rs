//! `promote SERVICE`.

use mesh_cli::{Exit, Failure, Ui};

use crate::shift::{Goal, ShiftArgs};

/// Give all of a service's traffic to the canary; with an attempt under way, keep its weights.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(before_help = "
# The new version of payment takes over
kubectl mesh-canary promote payment

# Keep the weights of an attempt (set --try): they go into the VirtualService
kubectl mesh-canary promote payment
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
        self.shift.shift(ui, "promote", &self.service, Goal::Percent(100))
    }
}
