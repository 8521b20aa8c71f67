//! What the page says is what the program takes.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use mesh_cli::help::{command_lines, kubectl_style};

use crate::commands::Command as Doctor;

const NAME: &str = "kubectl mesh-doctor";

const PAGES: [&str; 2] = ["docs/doctor.md", "README.md"];

fn page(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(path).unwrap()
}

fn program() -> Command {
    kubectl_style(Doctor::command(), NAME)
}

/// A program's commands with itself.
fn all(program: &Command) -> impl Iterator<Item = &Command> {
    std::iter::once(program).chain(program.get_subcommands())
}

#[test]
fn command_lines_are_taken() {
    let helps: Vec<String> =
        all(&program()).filter_map(|it| Some(it.get_before_help()?.to_string())).collect();
    let pages =
        PAGES.iter().map(|path| (*path, page(path))).chain(helps.into_iter().map(|help| ("--help", help)));
    let mut count = 0;
    for (path, text) in pages {
        for line in command_lines(&text, NAME) {
            let parsed = program().try_get_matches_from(std::iter::once(NAME.to_owned()).chain(line.clone()));
            assert!(parsed.is_ok(), "{path}: {line:?}: {}", parsed.unwrap_err());
            count += 1;
        }
    }
    assert!(count > 4, "{count}");
}
