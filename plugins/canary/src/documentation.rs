//! What the pages say is what the program takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use mesh_cli::help::{command_lines, kubectl_style};

use crate::commands::Arguments;
use crate::steps::Plan;

const NAME: &str = "kubectl mesh-canary";

const PAGES: [&str; 4] = ["docs/canary.md", "docs/canary-gate.md", "docs/canary-try.md", "README.md"];

fn page(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(path).unwrap()
}

fn program() -> Command {
    kubectl_style(Arguments::command(), NAME)
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
    assert!(count > 30, "{count}");
}

#[test]
fn flags_exist() {
    let program = program();
    let known: BTreeSet<String> = all(&program)
        .flat_map(Command::get_arguments)
        .filter_map(|it| it.get_long().map(|long| format!("--{long}")))
        .collect();
    for path in PAGES.iter().filter(|path| path.starts_with("docs/")) {
        let text = page(path);
        let code = text.split('`').skip(1).step_by(2).filter(|code| !code.starts_with("kubectl auth"));
        let flags = code.flat_map(str::split_whitespace).filter(|word| word.starts_with("--"));
        for flag in flags {
            let flag = flag.split('=').next().unwrap_or(flag).trim_end_matches([',', ';', '.']);
            assert!(known.contains(flag), "{path}: {flag}");
        }
    }
}

/// What shared/model checks of docs/canary-gate.md is for so many looks.
#[test]
fn a_step_has_as_many_looks_as_the_page_says() {
    let plan =
        Plan { steps: vec![10, 25, 50, 100], interval: 120.0, max_wait: 360.0, settle: 30.0, every: 15.0 };
    assert_eq!(plan.looks(), 15);
    assert!(page("docs/canary-gate.md").contains("a step has up to 15 looks"));
}
