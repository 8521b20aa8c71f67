//! Questions to a person; each can be answered by a flag too.
//!
//! A question is only asked where somebody can see and answer it: when stdin and stderr are terminals.
//! Elsewhere the caller gets `None`, and says which flag answers it.

use std::io::{self, IsTerminal as _};

use clap::Args;
use dialoguer::console::Term;
use dialoguer::{Confirm, Error, Select};

use crate::failure::Failure;
use crate::text::escape;

/// `--yes`, for commands that ask before they write.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct YesArgs {
    /// Do it without asking.
    #[arg(short, long)]
    pub yes: bool,
}

impl YesArgs {
    /// Asks whether to go on, unless `--yes` has said so; `None` where nobody can be asked. Nothing is
    /// assumed from Enter alone, and Escape means no.
    ///
    /// # Errors
    /// When the terminal fails.
    pub fn confirm(self, question: &str) -> Result<Option<bool>, Failure> {
        if self.yes {
            return Ok(Some(true));
        }
        if !can_ask() {
            return Ok(None);
        }
        let prompt = Confirm::new().with_prompt(escape(question)).wait_for_newline(true);
        let answer = prompt.interact_on_opt(&Term::stderr()).map_err(failure)?;
        Ok(Some(answer.unwrap_or(false)))
    }

    /// As [`confirm`](Self::confirm), for commands that must not go on without an answer.
    ///
    /// # Errors
    /// A usage error that names `--yes` where nobody can be asked.
    pub fn require(self, question: &str) -> Result<bool, Failure> {
        self.confirm(question)?.ok_or_else(|| {
            Failure::usage(format!("{question} Nobody can be asked here: stdin or stderr is not a terminal"))
                .hint("answer with --yes, or look first with --dry-run")
        })
    }
}

/// Lets a person choose one of several; gives its index, and `None` where nobody can be asked.
///
/// # Errors
/// When nothing was chosen (Escape), or the terminal fails.
pub fn select(question: &str, choices: &[String]) -> Result<Option<usize>, Failure> {
    if !can_ask() || choices.is_empty() {
        return Ok(None);
    }
    let prompt =
        Select::new().with_prompt(escape(question)).items(choices.iter().map(|choice| escape(choice)));
    match prompt.default(0).interact_on_opt(&Term::stderr()).map_err(failure)? {
        Some(index) => Ok(Some(index)),
        None => Err(Failure::error("nothing was chosen")),
    }
}

/// Whether a person sees the question and can answer it.
#[must_use]
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn failure(error: Error) -> Failure {
    let Error::IO(error) = error;
    // A prompt hides the cursor, also when it is interrupted. Without a terminal there is none to show.
    let _ = Term::stderr().show_cursor();
    match error.kind() {
        io::ErrorKind::Interrupted => Failure::error("interrupted: nothing was done"),
        _ => Failure::error(format!("could not ask: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn the_flag_answers() {
        assert_eq!(YesArgs { yes: true }.confirm("Go on?"), Ok(Some(true)));
    }

    #[test]
    fn nobody_is_asked_in_a_pipe() {
        // Run by hand, the tests may have a terminal.
        if can_ask() {
            return;
        }
        assert_eq!(YesArgs::default().confirm("Go on?"), Ok(None));
        assert_eq!(select("Which?", &["a".to_owned()]), Ok(None));
        assert_eq!(YesArgs::default().require("Go on?").unwrap_err().exit(), Exit::CouldNot);
    }
}
