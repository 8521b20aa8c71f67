//! `promote SERVICE`.

use mesh_cli::{Exit, Failure, Ui};

use crate::attempt;
use crate::shift::{Goal, ShiftArgs};

/// Give all of a service's traffic to the canary; with an attempt under way, keep its weights.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(before_help = "
# The new version of payment takes over
kubectl mesh-canary promote payment

# Keep the weights of an attempt (set --try), if its time is not up yet: they go into the VirtualService
kubectl mesh-canary promote payment --try
")]
pub(crate) struct Arguments {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Only keep the weights of an attempt: without one that is under way, do nothing.
    #[arg(long = "try")]
    attempt: bool,
    #[command(flatten)]
    shift: ShiftArgs,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        if self.attempt {
            return attempt::keep(ui, &self.shift, &self.service);
        }
        self.shift.shift(ui, "promote", &self.service, Goal::Percent(100))
    }
}
