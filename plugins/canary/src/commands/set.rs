//! `set SERVICE WEIGHT`: the canary gets that many percent.

use mesh_cli::dry_run::DryRun;
use mesh_cli::{Exit, Failure, Ui};

use crate::attempt;
use crate::commands::status;
use crate::shift::{Goal, ShiftArgs};

/// Give the canary a share of a service's traffic, in percent.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(before_help = "
# Give the new version of payment half of the traffic
kubectl mesh-canary set payment 50

# For a quarter of an hour only: Kubernetes takes it back, whatever becomes of this machine
kubectl mesh-canary set payment 10 --try 15m

# Only see what would be written
kubectl mesh-canary set payment 50 --dry-run -o yaml

# See how it spreads
kubectl mesh-canary set payment 50 -w

# In manifests, in place
kubectl mesh-canary set payment 50 -f deploy/
")]
pub(crate) struct Arguments {
    /// The service.
    #[arg(value_name = "SERVICE", required = true)]
    service: Option<String>,
    /// The canary's share in percent.
    #[arg(value_name = "WEIGHT", value_parser = percent)]
    weight: Option<u32>,
    /// Finish a shift of several VirtualServices that was interrupted.
    #[arg(long, conflicts_with = "weight")]
    resume: bool,
    /// For this long only: by a copy in front of the VirtualService, which Kubernetes removes when the time is up.
    #[arg(long = "try", value_name = "DURATION", value_parser = attempt::seconds, conflicts_with = "resume")]
    attempt: Option<u64>,
    #[command(flatten)]
    view: status::ViewArgs,
    #[command(flatten, next_help_heading = "Flags")]
    shift: ShiftArgs,
}

/// Reads a share: `50` or `50%`.
fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.parse::<u32>() {
        Ok(percent) if percent <= 100 => Ok(percent),
        Ok(_) => Err("a share is at most 100 percent".to_owned()),
        Err(_) => Err("write a whole number of percent, 0 to 100".to_owned()),
    }
}

impl Arguments {
    /// `SERVICE` alone asks for the status.
    pub(crate) fn run_short(&self, ui: &Ui) -> Result<Exit, Failure> {
        if self.weight.is_some() || self.resume || self.attempt.is_some() {
            return self.run(ui);
        }
        self.status(ui)
    }

    fn status(&self, ui: &Ui) -> Result<Exit, Failure> {
        let status = status::Arguments {
            service: self.service()?.to_owned(),
            canary: self.shift.canary.clone(),
            view: self.view.clone(),
            output: self.shift.output,
            source: self.shift.source.clone(),
        };
        status.run(ui)
    }

    /// The service; clap asks for it unless a command is named.
    fn service(&self) -> Result<&str, Failure> {
        self.service.as_deref().ok_or_else(|| Failure::usage("no service is named"))
    }

    /// Shifts, and watches what becomes of it where that is wanted.
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let is_written =
            self.shift.dry_run.dry_run == DryRun::None && self.shift.source.connection().is_some();
        if self.view.watch && !is_written {
            return Err(Failure::usage(
                "--watch watches what becomes of a shift: leave out -f, -k and --dry-run",
            ));
        }
        match self.make(ui)? {
            Exit::Yes if self.view.watch => self.status(ui),
            exit => Ok(exit),
        }
    }

    fn make(&self, ui: &Ui) -> Result<Exit, Failure> {
        if self.resume {
            return self.shift.shift(ui, "set", self.service()?, Goal::Rest);
        }
        let Some(percent) = self.weight else {
            return Err(Failure::usage("set needs a weight: the canary's share in percent"));
        };
        if let Some(seconds) = self.attempt {
            return attempt::set(ui, &self.shift, self.service()?, percent, seconds);
        }
        self.shift.shift(ui, "set", self.service()?, Goal::Percent(percent))
    }
}
