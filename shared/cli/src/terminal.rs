//! The two streams: the answer on stdout, everything else on stderr. Nothing reaches them unescaped.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write};
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anstream::AutoStream;
use clap::ColorChoice;

use crate::failure::Failure;
use crate::layout;
use crate::table::Table;
use crate::text::{Line, escape, escape_lines, plain, warn};

/// How long something may take before the reader is told about it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns to the start of the line and empties it.
const CLEAR_LINE: &str = "\r\u{1b}[2K";

/// Where a command speaks.
pub struct Ui {
    stdout: Stream,
    stderr: Stream,
    warned: RefCell<BTreeSet<String>>,
    /// How often something was told on the terminal behind stderr.
    told: Cell<usize>,
    /// Whether a line of progress stands on stderr; held while stderr is written.
    progress_shown: Arc<Mutex<bool>>,
}

/// One output stream and what it can show.
struct Stream {
    to: RefCell<Box<dyn Write>>,
    color: bool,
    /// The width of the terminal; `None` when it is not a terminal.
    width: Option<u16>,
}

impl Ui {
    /// The process' own streams. `Auto` colours a terminal, unless `NO_COLOR`, `CLICOLOR=0` or
    /// `TERM=dumb` say otherwise; `CLICOLOR_FORCE` colours a pipe.
    #[must_use]
    pub fn new(color: ColorChoice) -> Self {
        let colored = |auto: anstream::ColorChoice| match color {
            ColorChoice::Auto => auto != anstream::ColorChoice::Never,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        let (stdout, stderr) = (io::stdout(), io::stderr());
        Self::with(
            Stream {
                color: colored(AutoStream::choice(&stdout)),
                width: stdout.is_terminal().then(|| width_of(terminal_size::terminal_size_of(&stdout))),
                to: RefCell::new(Box::new(stdout)),
            },
            Stream {
                color: colored(AutoStream::choice(&stderr)),
                width: stderr.is_terminal().then(|| width_of(terminal_size::terminal_size_of(&stderr))),
                to: RefCell::new(Box::new(stderr)),
            },
        )
    }

    /// A Ui that keeps what it is told, for tests: as on a terminal of `width` columns, or as in a
    /// pipe if `None`; without colour.
    #[must_use]
    pub fn recording(width: Option<u16>) -> (Self, Recording) {
        let recording = Recording::default();
        let stream = |to: &Tape| Stream { to: RefCell::new(Box::new(to.clone())), color: false, width };
        (Self::with(stream(&recording.stdout), stream(&recording.stderr)), recording)
    }

    fn with(stdout: Stream, stderr: Stream) -> Self {
        let (warned, told) = (RefCell::default(), Cell::new(0));
        Self { stdout, stderr, warned, told, progress_shown: Arc::default() }
    }

    /// How many columns the terminal behind stdout has; `None` where there is no terminal.
    #[must_use]
    pub fn width(&self) -> Option<u16> {
        self.stdout.width
    }

    /// Says one line of the answer, on stdout.
    ///
    /// # Errors
    /// When stdout is closed or cannot be written; pass it on with `?`.
    pub fn answer(&self, line: impl Into<Line>) -> Result<(), Failure> {
        self.write_answer(&(line.into().render(self.stdout.color) + "\n"))
    }

    /// Says a table, on stdout.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn table(&self, table: &Table) -> Result<(), Failure> {
        self.write_answer(&table.render(self.stdout.width, self.stdout.color))
    }

    /// Says text for a program (JSON, YAML), on stdout: byte for byte into a pipe or a file, escaped
    /// on a terminal.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn document(&self, text: &str) -> Result<(), Failure> {
        match self.stdout.width {
            Some(_) => self.write_answer(&escape_lines(text)),
            None => self.write_answer(text),
        }
    }

    /// Says something about the answer that is not the answer, on stderr. On a terminal it breaks between words.
    pub fn note(&self, line: impl Into<Line>) {
        self.tell(&layout::lines(self.stderr.width.map(usize::from), 0, 2, line.into().parts()));
    }

    /// Warns, on stderr; the same warning only once. Lines after the first are indented.
    pub fn warning(&self, message: &str) {
        if self.warned.borrow_mut().insert(message.to_owned()) {
            let mut message = message.lines();
            let first = [warn("Warning:"), plain(format!(" {}", message.next().unwrap_or_default()))];
            let mut lines = layout::lines(self.stderr.width.map(usize::from), 0, 2, first);
            lines.extend(message.map(|line| plain("  ") + line));
            self.tell(&lines);
        }
    }

    /// Starts to show progress, on stderr: only on a terminal, only after a second, and gone when
    /// the returned value is dropped.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match self.stderr.width {
            Some(width) if !dumb => Progress::start(Arc::clone(&self.progress_shown), width),
            _ => Progress(None),
        }
    }

    /// Writes lines to stderr. A stderr that cannot be written is no reason to stop.
    pub(crate) fn tell(&self, lines: &[Line]) {
        let mut text: String = lines.iter().map(|line| line.render(self.stderr.color) + "\n").collect();
        let mut progress_shown = lock(&self.progress_shown);
        if std::mem::take(&mut *progress_shown) {
            text.insert_str(0, CLEAR_LINE);
        }
        let _ = self.stderr.to.borrow_mut().write_all(text.as_bytes());
        self.told.set(self.told.get() + usize::from(self.stderr.width.is_some()));
    }

    /// How often something was told where it moves what stdout has drawn.
    pub(crate) fn told(&self) -> usize {
        self.told.get()
    }

    /// A line as stdout shows it.
    pub(crate) fn rendered(&self, line: &Line) -> String {
        line.render(self.stdout.color)
    }

    /// Text that is escaped already, with what moves the cursor.
    pub(crate) fn write_raw(&self, text: &str) -> Result<(), Failure> {
        self.write_answer(text)
    }

    fn write_answer(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = self.stdout.to.borrow_mut();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::closed_output(),
            _ => Failure::error(format!("could not write the answer: {error}")),
        })
    }
}

/// The columns of a terminal; 80 if it does not know.
fn width_of(size: Option<(terminal_size::Width, terminal_size::Height)>) -> u16 {
    size.map_or(80, |(width, _)| width.0).max(1)
}

/// A lock whose holders cannot leave anything half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is being done at the moment, on the last line of stderr while it is being done.
#[derive(Debug)]
pub struct Progress(Option<(Sender<String>, JoinHandle<()>)>);

impl Progress {
    fn start(shown: Arc<Mutex<bool>>, width: u16) -> Self {
        let (sender, updates) = mpsc::channel();
        let painter = move || paint(&updates, &shown, usize::from(width), Instant::now() + PATIENCE);
        // Without a thread there is no progress to see, and nothing else is lost.
        Self(thread::Builder::new().spawn(painter).ok().map(|painter| (sender, painter)))
    }

    /// Says what is being done now, as in `listing pods… 3/20`.
    pub fn show(&self, what: impl Into<String>) {
        if let Some((sender, _)) = &self.0 {
            let _ = sender.send(what.into());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, painter)) = self.0.take() {
            drop(sender);
            let _ = painter.join();
        }
    }
}

/// Shows the latest update until there are no more, from `start` on.
fn paint(updates: &Receiver<String>, shown: &Mutex<bool>, width: usize, start: Instant) {
    let mut latest = None;
    while let Some(wait) = start.checked_duration_since(Instant::now()) {
        match updates.recv_timeout(wait) {
            Ok(update) => latest = Some(update),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
    while let Some(update) = latest.or_else(|| updates.recv().ok()) {
        // One column less than the terminal has: a full line would wrap and could not be cleared.
        let line: String = escape(&update).chars().take(width - 1).collect();
        let mut shown = lock(shown);
        let _ = write!(io::stderr(), "{CLEAR_LINE}{line}");
        *shown = true;
        drop(shown);
        latest = None;
    }
    if std::mem::take(&mut *lock(shown)) {
        let _ = write!(io::stderr(), "{CLEAR_LINE}");
    }
}

/// What a [`Ui::recording`] was told.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    stdout: Tape,
    stderr: Tape,
}

impl Recording {
    /// All that went to stdout.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// All that went to stderr.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }
}

/// A stream in memory.
#[derive(Clone, Debug, Default)]
struct Tape(Rc<RefCell<Vec<u8>>>);

impl Tape {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;
    use crate::text::good;

    /// A stream that fails in one way.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn broken(kind: io::ErrorKind) -> Ui {
        let stream = || Stream { to: RefCell::new(Box::new(Broken(kind))), color: false, width: None };
        Ui::with(stream(), stream())
    }

    #[test]
    fn the_answer_and_the_talk_go_apart() {
        let (ui, said) = Ui::recording(None);
        ui.answer(good("yes") + " for a\nb").unwrap();
        ui.note("resolved payment\u{1b}[2J");
        ui.warning("v1alpha3 is deprecated\nnext");
        ui.warning("v1alpha3 is deprecated\nnext");
        assert_eq!(said.stdout(), "yes for a\\nb\n");
        assert_eq!(said.stderr(), "resolved payment\\u001b[2J\nWarning: v1alpha3 is deprecated\n  next\n");
    }

    #[test]
    fn documents_are_exact_in_pipes_and_escaped_on_terminals() {
        let (pipe, said) = Ui::recording(None);
        pipe.document("a: \u{202e}b\n").unwrap();
        assert_eq!(said.stdout(), "a: \u{202e}b\n");
        let (terminal, said) = Ui::recording(Some(80));
        terminal.document("a: \u{202e}b\n").unwrap();
        assert_eq!(said.stdout(), "a: \\u202eb\n");
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_end_and_a_full_disk_is_not() {
        let closed = broken(io::ErrorKind::BrokenPipe).answer("x").unwrap_err();
        assert_eq!((closed.exit(), closed.lines("").len()), (Exit::Yes, 0));
        let full = broken(io::ErrorKind::StorageFull).answer("x").unwrap_err();
        assert_eq!((full.exit(), full.lines("").len()), (Exit::CouldNot, 1));
        broken(io::ErrorKind::BrokenPipe).note("nobody hears this");
    }

    #[test]
    fn no_progress_in_a_pipe() {
        let (ui, said) = Ui::recording(None);
        ui.progress().show("listing pods");
        assert!(ui.progress().0.is_none());
        assert_eq!(said.stderr(), "");
    }
}
