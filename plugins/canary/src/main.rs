//! `kubectl mesh-canary`: shift traffic to a new version, and take it back.

mod apply;
mod attempt;
mod commands;
#[cfg(test)]
mod documentation;
mod gate;
mod live;
mod preflight;
mod proof;
mod shift;
mod standing;
mod steps;
mod subject;
mod telling;
mod traffic;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_cli::run("kubectl mesh-canary", |ui, arguments: commands::Arguments| arguments.run(ui))
}
