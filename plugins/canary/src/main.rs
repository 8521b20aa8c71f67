//! `kubectl mesh-canary`: shift traffic to a new version, watch it, gate it, take it back.

mod apply;
mod commands;
mod live;
mod standing;
mod steps;
mod subject;
mod traffic;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_cli::run("kubectl mesh-canary", |ui, arguments: commands::Arguments| arguments.run(ui))
}
