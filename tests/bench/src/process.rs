//! Running a program and seeing what it costs.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a run of a program costs.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From start to end, the median of all runs.
    pub wall: Duration,
    /// What the processors worked for it, in the fastest run; 0 where the system does not say. Unlike
    /// `wall`, it is nearly the same on a busy machine.
    pub work: Duration,
    /// The most memory that it held, in bytes, in a run of its own; 0 where the system does not say.
    pub memory: u64,
}

/// Runs a program `runs` times for its time, and once more for its memory. Its output is thrown away.
///
/// # Errors
/// Fails if it cannot be started, or ends with anything but 0 or 1 (the answer is no).
pub fn cost(program: &str, arguments: &[&str], runs: usize) -> io::Result<Cost> {
    let mut walls = Vec::new();
    let mut work = Duration::MAX;
    for _ in 0..runs.max(1) {
        let before = work_of_children();
        walls.push(once(program, arguments)?);
        work = work.min(work_of_children().saturating_sub(before));
    }
    walls.sort();
    let wall = walls.get(walls.len() / 2).copied().unwrap_or_default();
    Ok(Cost { wall, work, memory: memory(program, arguments)? })
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn once(program: &str, arguments: &[&str]) -> io::Result<Duration> {
    let started = Instant::now();
    let status = command(program, arguments).status()?;
    let wall = started.elapsed();
    match status.code() {
        Some(0 | 1) => Ok(wall),
        _ => Err(io::Error::other(format!("{program} {} ended with {status}", arguments.join(" ")))),
    }
}

/// What the processors worked for all processes that this one has started and seen end, to the
/// hundredth of a second that Linux counts in (`cutime` and `cstime` in proc(5)).
fn work_of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    let hundredths: u64 = fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * hundredths)
}

/// The peak that Linux keeps for a process, as last seen before it ended.
fn memory(program: &str, arguments: &[&str]) -> io::Result<u64> {
    let mut child = command(program, arguments).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        if let Ok(text) = fs::read_to_string(&status) {
            peak = peak_of(&text).unwrap_or(peak);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(peak)
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}
