//! `kubectl mesh-authz`: who can call a service, with which requests, and why.

mod cases;
mod commands;
mod junit;
mod verify;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_cli::run("kubectl mesh-authz", |ui, command: commands::Command| command.run(ui))
}
