//! `kubectl mesh-doctor`: what becomes of a request in the mesh, and why.

mod answer;
mod commands;
#[cfg(test)]
mod documentation;
mod url;
mod why;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_cli::run("kubectl mesh-doctor", |ui, command: commands::Command| command.run(ui))
}
