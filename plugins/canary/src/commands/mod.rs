//! The commands, one a file; without a word it is `status`, and with a weight `set`.

mod abort;
mod history;
mod init;
mod promote;
mod run;
mod set;
mod status;
mod undo;

use mesh_cli::{Exit, Failure, Ui};
pub(crate) use status::{clock, line_of_json};

/// Shift traffic of a service to a new version, and take it back.
#[derive(clap::Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    subcommand_precedence_over_arg = true,
    before_help = "
# How payment's traffic is split now, and whether that is so everywhere
kubectl mesh-canary payment

# Give the new version half of it
kubectl mesh-canary payment 50

# The same for a quarter of an hour: Kubernetes takes it back, whatever becomes of this machine
kubectl mesh-canary payment 50 --try 15m

# Step by step to the end, as long as errors and latency allow it
kubectl mesh-canary run payment --steps 10,25,50,100 --interval 2m --max-error-rate 1% --max-p99 300ms

# Take back the last step, or all
kubectl mesh-canary undo payment
kubectl mesh-canary abort payment

# Make what is missing: subsets and routes
kubectl mesh-canary init payment
"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The short forms: `SERVICE` and `SERVICE WEIGHT`.
    #[command(flatten)]
    short: set::Arguments,
}

#[derive(clap::Subcommand)]
enum Command {
    Status(status::Arguments),
    Set(set::Arguments),
    Init(init::Arguments),
    Run(Box<run::Arguments>),
    Promote(promote::Arguments),
    Abort(abort::Arguments),
    Undo(undo::Arguments),
    History(history::Arguments),
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        match &self.command {
            Some(Command::Status(arguments)) => arguments.run(ui),
            Some(Command::Set(arguments)) => arguments.run(ui),
            Some(Command::Init(arguments)) => arguments.run(ui),
            Some(Command::Run(arguments)) => arguments.run(ui),
            Some(Command::Promote(arguments)) => arguments.run(ui),
            Some(Command::Abort(arguments)) => arguments.run(ui),
            Some(Command::Undo(arguments)) => arguments.run(ui),
            Some(Command::History(arguments)) => arguments.run(ui),
            None => self.short.run_short(ui),
        }
    }
}
