//! `--dry-run`, as kubectl has it.

use clap::{Args, ValueEnum};

/// How much of a write is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// All of it.
    #[default]
    None,
    /// Nothing is sent: only what would be is shown.
    Client,
    /// The server checks it and stores nothing.
    Server,
}

impl DryRun {
    /// What kubectl puts behind what it says that it has done: ` (dry run)`.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// `--dry-run`, for commands that write.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct DryRunArgs {
    /// Only show what would be written (client), or have the server check it without storing it (server).
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "none",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    pub dry_run: DryRun,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        target: Option<String>,
        #[command(flatten)]
        dry_run: DryRunArgs,
    }

    #[test]
    fn as_in_kubectl() {
        let read = |arguments: &[&str]| Arguments::try_parse_from([&["x"], arguments].concat());
        let mode = |arguments: &[&str]| read(arguments).unwrap().dry_run.dry_run;
        assert_eq!(mode(&[]), DryRun::None);
        assert_eq!(mode(&["--dry-run=none"]), DryRun::None);
        assert_eq!(mode(&["--dry-run=server"]), DryRun::Server);
        assert_eq!(mode(&["--dry-run"]), DryRun::Client);
        // The flag does not eat the argument after it.
        assert_eq!(read(&["--dry-run", "server"]).unwrap().target.as_deref(), Some("server"));
        assert!(read(&["--dry-run=maybe"]).is_err());
        assert_eq!(DryRun::Server.suffix(), " (server dry run)");
    }
}
