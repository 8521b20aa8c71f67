//! Ctrl-C as an event, for commands that must not be torn apart by it.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How a shell says that a process was ended by Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// Takes Ctrl-C, SIGTERM and SIGHUP from now on: the first is told, the second ends the process at once.
#[derive(Debug)]
pub struct Interrupts {
    told: Receiver<()>,
    was: bool,
}

impl Interrupts {
    /// Begins to take them. Where that is not possible they end the process, as they always do.
    #[must_use]
    pub fn take() -> Self {
        let (sender, told) = mpsc::channel();
        let listen = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                if wait().await.is_err() || sender.send(()).is_err() {
                    return;
                }
                if wait().await.is_ok() {
                    // What the terminal looked like before, whatever was being drawn.
                    crate::live::show_cursor();
                    std::process::exit(i32::from(INTERRUPTED));
                }
            });
        };
        // Without a thread signals keep their usual effect.
        let _ = thread::Builder::new().spawn(listen);
        Self { told, was: false }
    }

    /// Waits so long, and less if it is interrupted: whether it was, now or before.
    pub fn sleep(&mut self, time: Duration) -> bool {
        if self.was {
            return true;
        }
        match self.told.recv_timeout(time) {
            Ok(()) => self.was = true,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(time),
        }
        self.was
    }

    /// Whether it was interrupted.
    pub fn was(&mut self) -> bool {
        self.was = self.was || self.told.try_recv().is_ok();
        self.was
    }
}

#[cfg(unix)]
async fn wait() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn wait() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
