//! `set SERVICE WEIGHT`: the canary gets that many percent.

use mesh_cli::{Exit, Failure, Ui};

use crate::commands::status;
use crate::shift::{Goal, ShiftArgs};

/// Give the canary a share of a service's traffic, in percent.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(before_help = "
# Give the new version of payment half of the traffic
kubectl mesh-canary set payment 50

# Only see what would be written
kubectl mesh-canary set payment 50 --dry-run -o yaml

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
    #[command(flatten)]
    view: status::ViewArgs,
    #[command(flatten)]
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
        if self.weight.is_some() || self.resume {
            return self.run(ui);
        }
        let status = status::Arguments {
            service: self.service()?.to_owned(),
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

    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        if self.resume {
            return self.shift.shift(ui, "set", self.service()?, Goal::Rest);
        }
        let Some(percent) = self.weight else {
            return Err(Failure::usage("set needs a weight: the canary's share in percent"));
        };
        self.shift.shift(ui, "set", self.service()?, Goal::Percent(percent))
    }
}
