//! What a whole log says: each denial once, with how often it happened, however many lines there are.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use serde::Serialize;

use crate::authorization::request::Fact;

use super::cause::Cause;
use super::explain::{By, Explainer, Explanation};
use super::{Entry, Field, Line, Reader};

/// Different denials that are kept; more of them nobody reads, and whoever writes requests can make many.
const MOST: usize = 1000;

/// Lines whose explanation is remembered.
const REMEMBERED: usize = 10_000;

/// A denial that happened, once or many times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// How many lines.
    pub count: u64,
    /// When it happened first, as the log has it.
    pub first: Option<String>,
    /// When last.
    pub last: Option<String>,
    /// Why.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The first such line.
    pub example: Example,
}

/// One line of a denial.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The number of the line, from 1.
    pub line: u64,
    /// The pod that wrote it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path, with its query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The client's address, as the log has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The server name of the handshake.
    #[serde(rename = "serverName", skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// What the proxy wrote as the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

/// A line that nobody understands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Its number, from 1.
    pub line: u64,
    /// Its beginning.
    pub text: String,
}

/// The lines of a log, counted by what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub read: u64,
    /// Denials: by the mesh or by an application.
    pub denied: u64,
    /// Requests that a dry run would have denied.
    #[serde(rename = "dryRun")]
    pub dry_run: u64,
    /// Lines of the access log that are no denial.
    pub passed: u64,
    /// Lines that a proxy or its agent wrote about itself.
    pub own: u64,
    /// Lines that could not be read.
    pub unreadable: u64,
    /// The first of these.
    #[serde(rename = "firstUnreadable")]
    pub first_unreadable: Option<Unreadable>,
    /// Denials that are not listed, because there are too many different ones.
    #[serde(rename = "notListed")]
    pub not_listed: u64,
}

/// A whole log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What the lines are.
    pub counts: Counts,
    /// The denials, in the order in which they happened first.
    pub denials: Vec<Denial>,
}

impl Summary {
    /// Whether anything was denied that no application denied by itself.
    #[must_use]
    pub fn has_denials(&self) -> bool {
        let counts = |denial: &&Denial| matches!(denial.explanation.by, By::Mesh | By::Unknown);
        self.denials.iter().find(counts).is_some() || self.counts.not_listed > 0
    }
}

/// The agent's messages of several lines: its configuration when it starts, and an application's probe that
/// failed (pilot/cmd/pilot-agent/status/server.go).
const SEVERAL_LINES: [&str; 2] = ["\tEffective config: ", "\tRequest to probe app failed: "];

/// Reads a log line by line. What it holds does not grow with the log.
#[derive(Debug)]
pub struct Summarizer<'w> {
    reader: Reader,
    explainer: Explainer<'w>,
    summary: Summary,
    /// Whether the lines may be the rest of one of the agent's messages of several lines.
    in_message: bool,
    /// The denial of lines that are the same but for time and port of the client.
    remembered: HashMap<String, Option<usize>>,
}

impl<'w> Summarizer<'w> {
    /// Nothing read yet.
    #[must_use]
    pub fn new(explainer: Explainer<'w>) -> Self {
        Self {
            reader: Reader::new(&explainer.world().mesh),
            explainer,
            summary: Summary::default(),
            in_message: false,
            remembered: HashMap::new(),
        }
    }

    /// Takes a line; `pod` wrote it, where that is known otherwise than from the line.
    pub fn line(&mut self, line: &str, pod: Option<&str>) {
        self.summary.counts.read += 1;
        let (named, read) = self.reader.read(line);
        let pod = named.or(pod);
        let continues = self.in_message && read == Line::Unreadable;
        self.in_message = continues || SEVERAL_LINES.iter().any(|begin| line.contains(begin));
        match read {
            Line::Access(entry) => match Cause::of(&entry) {
                Some(cause) => {
                    let key = key(&cause, &entry, pod);
                    self.deny(key, &entry, pod, |explainer| explainer.explain(&cause, &entry, pod));
                }
                None => self.summary.counts.passed += 1,
            },
            Line::Decision { shadow, matched } => {
                let key = format!("{shadow} {matched} {}", pod.unwrap_or_default());
                let entry = Entry::default();
                self.deny(key, &entry, pod, |explainer| explainer.decision(shadow, &matched, pod));
            }
            Line::Own => self.summary.counts.own += 1,
            Line::Unreadable if continues => self.summary.counts.own += 1,
            Line::Unreadable => {
                let counts = &mut self.summary.counts;
                counts.unreadable += 1;
                let number = counts.read;
                counts.first_unreadable.get_or_insert_with(|| Unreadable {
                    line: number,
                    text: line.chars().take(200).collect(),
                });
            }
        }
    }

    /// What was read so far.
    #[must_use]
    pub fn finish(self) -> Summary {
        self.summary
    }

    fn deny(
        &mut self,
        key: String,
        entry: &Entry<'_>,
        pod: Option<&str>,
        explain: impl FnOnce(&mut Explainer<'w>) -> Explanation,
    ) {
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        let Summary { counts, denials } = &mut self.summary;
        let number = match self.remembered.entry(key) {
            Slot::Occupied(slot) => *slot.get(),
            Slot::Vacant(slot) => {
                let explanation = explain(&mut self.explainer);
                let known = denials.iter().position(|denial| denial.explanation == explanation);
                let number = known.or_else(|| {
                    (denials.len() < MOST).then(|| {
                        let example = Example::of(entry, pod, counts.read);
                        denials.push(Denial { count: 0, first: None, last: None, explanation, example });
                        denials.len() - 1
                    })
                });
                *slot.insert(number)
            }
        };
        match number.and_then(|number| denials.get_mut(number)) {
            Some(denial) => {
                match denial.explanation.by {
                    By::Nobody => counts.dry_run += 1,
                    By::Mesh | By::Application | By::Unknown => counts.denied += 1,
                }
                denial.happened(entry.text(Field::Time));
            }
            None => {
                counts.denied += 1;
                counts.not_listed += 1;
            }
        }
    }
}

impl Denial {
    /// Counts it once more. Logs of several pods come one after the other, so that the last line is not
    /// always the latest; times that are written alike compare as text.
    fn happened(&mut self, time: Option<&str>) {
        self.count += 1;
        let Some(time) = time else { return };
        if self.first.as_deref().is_none_or(|first| time.len() == first.len() && time < first) {
            self.first = Some(time.to_owned());
        }
        if self.last.as_deref().is_none_or(|last| time.len() != last.len() || time > last) {
            self.last = Some(time.to_owned());
        }
    }
}

impl Example {
    fn of(entry: &Entry<'_>, pod: Option<&str>, line: u64) -> Self {
        let text = |field| entry.text(field).map(str::to_owned);
        Self {
            line,
            pod: pod.map(str::to_owned),
            method: text(Field::Method),
            path: text(Field::Path),
            host: text(Field::Host),
            client: text(Field::DirectRemote).or_else(|| text(Field::Remote)),
            server_name: text(Field::ServerName),
            details: text(Field::Details)
                .filter(|details| details != "via_upstream")
                .or_else(|| text(Field::Termination)),
        }
    }
}

/// All that an explanation depends on.
fn key(cause: &Cause, entry: &Entry<'_>, pod: Option<&str>) -> String {
    let mut key = format!("{cause:?}\0{}", pod.unwrap_or_default());
    for field in [
        Field::Code,
        Field::Method,
        Field::Path,
        Field::Host,
        Field::Cluster,
        Field::ServerName,
        Field::Peer,
        Field::Certificate,
        Field::UpstreamHost,
        Field::Local,
    ] {
        key.push('\0');
        match entry.get(field) {
            Fact::Known(value) => key.push_str(value),
            Fact::Absent => key.push('-'),
            Fact::Unknown => {}
        }
    }
    let without_port = |field| entry.address(field).map(|address| address.ip());
    for address in [without_port(Field::Remote), without_port(Field::UpstreamLocal), entry.peer_address()] {
        key.push('\0');
        key.push_str(&address.map_or_else(String::new, |address| address.to_string()));
    }
    key
}
