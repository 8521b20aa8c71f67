//! Seen after a write: whether the callers' proxies have it, and whether it still stands.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use mesh_cli::interrupt::Interrupts;
use mesh_cli::layout;
use mesh_cli::text::{Styled, bad, dim, good, plain, warn};
use mesh_cli::{Exit, Failure, Ui};
use mesh_model::canary::proof::Due;
use mesh_model::proxy::routes::Ways;
use mesh_source::cluster::{Connection, Error, Proxies, ResourcesOf};
use serde::Serialize;

/// The most proxies that are asked, spread over the callers' workloads: each takes a port-forward.
const MOST_PROXIES: usize = 100;

/// How many proxies are named where several would be.
const MOST_NAMES: usize = 5;

/// The time between two looks at the proxies that lag.
const PAUSE: Duration = Duration::from_millis(300);

/// How a write is proven.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ProofArgs {
    /// Do not ask the callers' proxies whether they have the new weights.
    #[arg(long)]
    no_wait: bool,
    /// How long the callers' proxies may take to have them.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    propagation_timeout: Duration,
}

/// What the proxies say.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Proof {
    /// How many have it.
    pub(crate) have: usize,
    /// How many were asked.
    pub(crate) asked: usize,
    /// How many run.
    pub(crate) of: usize,
    /// The last that had it, as `NAMESPACE/POD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slowest: Option<String>,
    /// How long that one took, in seconds.
    pub(crate) seconds: f64,
    /// Those that do not have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lag: Vec<String>,
    /// Those that could not be asked, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unreadable: Vec<Unreadable>,
    /// Whether somebody did not want to wait any longer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) interrupted: bool,
    /// Whether none could be asked for want of rights.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) forbidden: bool,
    /// What somebody else has changed back meanwhile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) reverted: Vec<Reverted>,
}

/// A proxy that could not be asked.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Unreadable {
    pub(crate) pod: String,
    pub(crate) reason: String,
}

/// An object that is no longer as it was written.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reverted {
    /// The object, as `NAMESPACE/NAME`.
    pub(crate) object: String,
    /// What there is now.
    pub(crate) found: String,
    /// Who wrote it, by managedFields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
}

impl ProofArgs {
    /// Whether nobody is to be asked.
    pub(crate) fn is_skipped(self) -> bool {
        self.no_wait
    }

    /// Asks proxies until all have what is due, or the time is up.
    pub(crate) fn prove(
        self,
        ui: &Ui,
        connection: &Connection,
        due: Vec<Due>,
        interrupts: &RefCell<Interrupts>,
    ) -> Result<Proof, Failure> {
        let started = Instant::now();
        let of = due.len();
        let mut proof = Proof { of, asked: of.min(MOST_PROXIES), ..Proof::default() };
        let mut waiting: Vec<Due> = due.into_iter().take(MOST_PROXIES).collect();
        if waiting.is_empty() {
            return Ok(proof);
        }
        let proxies = Proxies::connect(connection)?;
        let progress = ui.progress();
        loop {
            progress.show(format!("proxies that have it: {} of {}…", proof.have, proof.asked));
            let asked: Vec<ResourcesOf> = waiting.iter().map(resources).collect();
            let answers = proxies.resources(&asked);
            let seconds = started.elapsed().as_secs_f64();
            let mut lag = Vec::new();
            proof.unreadable.clear();
            for (due, answer) in waiting.into_iter().zip(answers) {
                match answer {
                    Ok(dumps) if due.wanted.is_met(&Ways::read(&dumps)) => {
                        proof.have += 1;
                        proof.slowest = Some(name(&due));
                        proof.seconds = seconds;
                    }
                    Ok(_) => lag.push(due),
                    // It has gone meanwhile, and asks for nothing any more.
                    Err(Error::Server { reason, .. }) if reason == "NotFound" => proof.asked -= 1,
                    Err(error) => {
                        proof.forbidden |= matches!(error, Error::Forbidden { .. });
                        proof.unreadable.push(Unreadable { pod: name(&due), reason: error.to_string() });
                        lag.push(due);
                    }
                }
            }
            waiting = lag;
            let is_over = started.elapsed() >= self.propagation_timeout;
            // Rights do not come back by waiting.
            let is_forbidden = proof.forbidden && proof.unreadable.len() == waiting.len();
            if waiting.is_empty() || is_over || is_forbidden {
                break;
            }
            if interrupts.borrow_mut().sleep(PAUSE) {
                proof.interrupted = true;
                break;
            }
        }
        proof.forbidden &= proof.have == 0 && !proof.unreadable.is_empty();
        let unreadable: Vec<&String> = proof.unreadable.iter().map(|one| &one.pod).collect();
        proof.lag = waiting.iter().map(name).filter(|pod| !unreadable.contains(&pod)).collect();
        Ok(proof)
    }
}

fn resources(due: &Due) -> ResourcesOf {
    ResourcesOf { namespace: due.namespace.clone(), pod: due.pod.clone(), resources: due.wanted.resources() }
}

fn name(due: &Due) -> String {
    format!("{}/{}", due.namespace, due.pod)
}

impl Proof {
    /// The exit code of a write with this proof.
    pub(crate) fn exit(&self) -> Exit {
        if !self.reverted.is_empty() {
            Exit::Conflict
        } else if self.have == self.asked || self.forbidden {
            Exit::Yes
        } else {
            Exit::Unknown
        }
    }

    /// Says it, the most important line last.
    pub(crate) fn show(&self, ui: &Ui, what: &str) -> Result<(), Failure> {
        for one in self.unreadable.iter().take(MOST_NAMES) {
            ui.note(dim(format!("pod {} was not asked: {}", one.pod, one.reason)));
        }
        for one in &self.reverted {
            let by = one.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
            let text = format!("VirtualService {} has {} again{by}", one.object, one.found);
            layout::say(ui, 0, 2, vec![bad("reverted: "), plain(text)])?;
        }
        layout::say(ui, 0, 2, self.line(what))
    }

    fn line(&self, what: &str) -> Vec<Styled> {
        let of =
            if self.of > self.asked { format!(" asked (of {} that run)", self.of) } else { String::new() };
        if self.of == 0 {
            return vec![dim("no caller's proxy runs that would have it")];
        }
        if self.forbidden {
            let text = ": port-forwards to the callers' pods are not allowed (docs/rbac/canary-proof.yaml)";
            return vec![warn("not proven"), plain(text)];
        }
        let count = format!("{} of {} proxies{of}", self.have, self.asked);
        if self.interrupted {
            return vec![warn("interrupted"), plain(format!(": it is written, and on {count} so far"))];
        }
        if self.have == self.asked {
            let slowest = self.slowest.as_ref().map_or(String::new(), |pod| format!("; the last was {pod}"));
            return vec![good(what), plain(format!(": on {count}, after {:.1} s{slowest}", self.seconds))];
        }
        let mut names: Vec<&String> =
            self.lag.iter().chain(self.unreadable.iter().map(|one| &one.pod)).collect();
        let more = names.len().saturating_sub(MOST_NAMES);
        names.truncate(MOST_NAMES);
        let names = names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        vec![warn(format!("not {what}")), plain(format!(": only on {count}; not on {names}{more}"))]
    }
}
