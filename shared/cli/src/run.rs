//! From the process' arguments to its exit code: what every plugin's `main` does.

use std::process::ExitCode;

use clap::error::Error;
use clap::{ArgMatches, ColorChoice, Parser};

use crate::failure::{Exit, Failure};
use crate::help::{COLOR, kubectl_style};
use crate::terminal::Ui;

/// Runs a plugin that people call as `name` (`kubectl mesh-authz`): reads its arguments, answers
/// `--help` and `--version`, gives the rest to `main`, and says why if that could not be done.
pub fn run<Arguments: Parser>(
    name: &'static str,
    main: impl FnOnce(&Ui, Arguments) -> Result<Exit, Failure>,
) -> ExitCode {
    let mut command = kubectl_style(Arguments::command(), name);
    let matches = match command.try_get_matches_from_mut(std::env::args_os()) {
        Ok(matches) => matches,
        Err(error) => return refuse(&error),
    };
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error.format(&mut command)),
    };
    let ui = Ui::new(matches.get_one::<ColorChoice>(COLOR).copied().unwrap_or_default());
    match main(&ui, arguments) {
        Ok(exit) => exit,
        Err(failure) => {
            ui.tell(&failure.lines(&called(name, &matches)));
            failure.exit()
        }
    }
    .into()
}

/// Prints clap's usage error, or the help or version that was asked for.
fn refuse(error: &Error) -> ExitCode {
    // A reader who has gone needs no help.
    let _ = error.print();
    if error.use_stderr() { Exit::CouldNot.into() } else { Exit::Yes.into() }
}

/// The command that was called, as typed: `kubectl mesh-authz who-can`.
fn called(name: &str, matches: &ArgMatches) -> String {
    match matches.subcommand() {
        Some((subcommand, matches)) => called(&format!("{name} {subcommand}"), matches),
        None => name.to_owned(),
    }
}
