//! Counts of one window, per version and reporter.

use std::collections::BTreeMap;

use serde::Serialize;

use super::outcome::{Outcome, has_no_destination, is_nowhere, outcome};
use super::sample::Counter;
use super::versions::label;
use super::{Histogram, Labels, Problem, Reporter, Role, Series, Trouble, Versions};

/// The largest number of kinds of trouble that are kept; more tell nobody more.
const MOST_PROBLEMS: usize = 20;

/// Follows the counters of a service from the start of a window on.
///
/// It may be fed again and again, with overlapping answers: every sample counts once. So a reset between two
/// looks is seen, however far the counter has come since.
#[derive(Clone, Debug)]
pub struct Tally {
    versions: Versions,
    start: f64,
    end: f64,
    counters: BTreeMap<Labels, Counter>,
    latency: BTreeMap<(Reporter, Role), Histogram>,
    problems: Vec<Problem>,
}

/// What was counted in one window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// Where it begins, in seconds since 1970 by Prometheus' clock.
    pub start: f64,
    /// Up to when it was read.
    pub end: f64,
    /// By the clients' proxies.
    pub source: Pair,
    /// By the servers' proxies.
    pub destination: Pair,
    /// Failures at clients that no version can be blamed for.
    pub unattributed: Unattributed,
    /// Requests to neither version, by reporter and workload: a third version, or a wrong idea of what the
    /// versions are.
    pub others: BTreeMap<(Reporter, String), u64>,
    /// What is wrong with the numbers.
    pub problems: Vec<Problem>,
}

/// The same of both versions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pair {
    /// Of stable.
    pub stable: Seen,
    /// Of the canary.
    pub canary: Seen,
}

/// What one reporter saw of one version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Requests in the window.
    pub requests: u64,
    /// Those that failed ([`outcome`]).
    pub failures: u64,
    /// Failures by kind, such as `503 UF`.
    pub kinds: BTreeMap<String, u64>,
    /// How many series there are, also those that did not move.
    pub series: usize,
    /// The newest sample.
    pub newest: Option<f64>,
    /// How long the requests took, where that was read.
    pub latency: Option<Histogram>,
}

/// Failures at clients with no destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unattributed {
    /// Requests that found no route, cluster or endpoint (flags NR, NC, UH).
    pub nowhere: u64,
    /// Of the same sort, before the window began.
    pub nowhere_before: u64,
    /// How long before the window was looked at, in whole seconds.
    pub seconds_before: u64,
    /// All others: connections that failed before anybody is known to have answered.
    pub other: u64,
    /// All in the window, by kind, such as `503 NC`.
    pub kinds: BTreeMap<String, u64>,
}

impl Window {
    /// What one reporter saw.
    #[must_use]
    pub fn by(&self, reporter: Reporter) -> &Pair {
        match reporter {
            Reporter::Source => &self.source,
            Reporter::Destination => &self.destination,
        }
    }

    /// Seconds from start to end.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.end - self.start).max(0.0)
    }

    fn by_mut(&mut self, reporter: Reporter) -> &mut Pair {
        match reporter {
            Reporter::Source => &mut self.source,
            Reporter::Destination => &mut self.destination,
        }
    }
}

impl Pair {
    /// What was seen of one version.
    #[must_use]
    pub fn of(&self, role: Role) -> &Seen {
        match role {
            Role::Stable => &self.stable,
            Role::Canary => &self.canary,
        }
    }

    fn of_mut(&mut self, role: Role) -> &mut Seen {
        match role {
            Role::Stable => &mut self.stable,
            Role::Canary => &mut self.canary,
        }
    }

    /// Whether this reporter knows the service at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stable.series == 0 && self.canary.series == 0
    }
}

impl Tally {
    /// Begins a window at `start`, in seconds since 1970 by Prometheus' clock.
    ///
    /// What is scraped after `start` counts. Proxies are scraped one after the other, so a window should begin
    /// two scrapes after a change of weights has arrived at them.
    #[must_use]
    pub fn new(versions: Versions, start: f64) -> Self {
        Self {
            versions,
            start,
            end: start,
            counters: BTreeMap::new(),
            latency: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Where the window begins.
    #[must_use]
    pub fn start(&self) -> f64 {
        self.start
    }

    /// Up to when samples were taken; where the next answer may begin.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.end
    }

    /// Takes the answer to [`super::query::requests`] at the instant `end`: raw samples up to `end`, from
    /// [`super::query::LOOKBACK`] before the start on, or, after the first look, from the look before on.
    ///
    /// A series without a sample up to the start is new and counts from 0. One that was not scraped for longer
    /// than the look-back, and comes back within the window, would count from 0 as well: Prometheus itself
    /// takes such a series for gone.
    pub fn take(&mut self, series: &[Series], end: f64) {
        for series in series {
            let counter = self.counters.entry(series.labels.clone()).or_default();
            counter.follow(&series.samples, self.start, end);
        }
        self.end = self.end.max(end);
    }

    /// Takes the answer to [`super::query::latency`] over the whole window so far, instead of the one before.
    pub fn take_latency(&mut self, series: &[Series]) {
        self.latency.clear();
        self.problems.retain(|problem| !matches!(problem.trouble, Trouble::Buckets { .. }));
        // A version may be several workloads, each with a histogram.
        let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for one in series {
            let mut labels = one.labels.clone();
            let bound = labels.remove("le").unwrap_or_default();
            let value = one.samples.last().map_or(f64::NAN, |sample| sample.value);
            // Go writes +Inf, which Rust reads.
            buckets.entry(labels).or_default().push((bound.parse().unwrap_or(f64::NAN), value));
        }
        for (labels, buckets) in buckets {
            let (Some(reporter), Some(role)) = (Reporter::of(&labels), self.versions.role(&labels)) else {
                continue;
            };
            let key = (reporter, role);
            let joined = Histogram::new(buckets).and_then(|one| match self.latency.get(&key) {
                Some(other) => other.plus(&one),
                None => Ok(one),
            });
            match joined {
                Ok(histogram) => {
                    self.latency.insert(key, histogram);
                }
                Err(trouble) => {
                    let reason = match trouble {
                        Trouble::Buckets { reason } => reason,
                        other => other.to_string(),
                    };
                    self.note(Some(key), Trouble::Buckets { reason });
                }
            }
        }
    }

    /// Notes that an answer was not all there is, in Prometheus' own words.
    pub fn incomplete(&mut self, warning: &str) {
        self.note(None, Trouble::Partial { warning: warning.to_owned() });
    }

    fn note(&mut self, of: Option<(Reporter, Role)>, trouble: Trouble) {
        add(&mut self.problems, Problem { of, trouble });
    }

    /// What has been counted so far. Where the newest sample is older than `max_age` seconds at its end, the
    /// numbers are stale; a few scrape intervals are a good age.
    #[must_use]
    pub fn window(&self, max_age: f64) -> Window {
        let mut window =
            Window { start: self.start, end: self.end, problems: self.problems.clone(), ..Window::default() };
        let mut resets: BTreeMap<(Reporter, Role), u32> = BTreeMap::new();
        let mut oldest = self.start;
        for (labels, counter) in &self.counters {
            let Some(reporter) = Reporter::of(labels) else { continue };
            if let Some(at) = counter.first {
                oldest = oldest.min(at);
            }
            let role = self.versions.role(labels);
            let of = role.map(|role| (reporter, role));
            // What is wrong with a third workload's series is no concern of the two.
            let concerns = role.is_some() || has_no_destination(labels);
            if let Some(fault) = counter.fault.filter(|_| concerns) {
                add(&mut window.problems, Problem { of, trouble: fault.into() });
            }
            let outcome = match outcome(labels) {
                Ok(outcome) => outcome,
                Err((name, value)) if concerns => {
                    let trouble = Trouble::Label { name: name.to_owned(), value };
                    add(&mut window.problems, Problem { of, trouble });
                    continue;
                }
                Err(_) => continue,
            };
            match role {
                Some(role) => {
                    *resets.entry((reporter, role)).or_default() += counter.resets;
                    window.by_mut(reporter).of_mut(role).add(counter, outcome);
                }
                None => window.add_other(reporter, labels, counter, outcome),
            }
        }
        window.unattributed.seconds_before = whole(self.start - oldest);
        for (key, histogram) in &self.latency {
            window.by_mut(key.0).of_mut(key.1).latency = Some(histogram.clone());
        }
        for (key, times) in resets.into_iter().filter(|&(_, times)| times > 0) {
            add(&mut window.problems, Problem { of: Some(key), trouble: Trouble::Reset { times } });
        }
        for reporter in Reporter::ALL {
            for role in [Role::Stable, Role::Canary] {
                let newest = window.by(reporter).of(role).newest;
                let age = newest.map_or(0.0, |newest| self.end - newest);
                if age > max_age {
                    let trouble = Trouble::Stale { seconds: whole(age) };
                    add(&mut window.problems, Problem { of: Some((reporter, role)), trouble });
                }
            }
        }
        window.problems.sort();
        window
    }
}

impl Seen {
    fn add(&mut self, counter: &Counter, outcome: Outcome) {
        self.series += 1;
        self.requests += counter.within;
        if let Outcome::Failed { kind } = outcome
            && counter.within > 0
        {
            self.failures += counter.within;
            *self.kinds.entry(kind).or_default() += counter.within;
        }
        self.newest = self.newest.into_iter().chain(counter.newest()).reduce(f64::max);
    }
}

impl Window {
    fn add_other(&mut self, reporter: Reporter, labels: &Labels, counter: &Counter, outcome: Outcome) {
        match outcome {
            Outcome::Failed { kind } if reporter == Reporter::Source && has_no_destination(labels) => {
                let failures = &mut self.unattributed;
                if is_nowhere(labels) {
                    failures.nowhere += counter.within;
                    failures.nowhere_before += counter.before;
                } else {
                    failures.other += counter.within;
                }
                if counter.within > 0 {
                    *failures.kinds.entry(kind).or_default() += counter.within;
                }
            }
            _ if counter.within > 0 => {
                let workload = match label(labels, "destination_workload") {
                    "" => "unknown",
                    workload => workload,
                };
                *self.others.entry((reporter, workload.to_owned())).or_default() += counter.within;
            }
            _ => {}
        }
    }
}

/// Adds a problem once, and not too many.
fn add(problems: &mut Vec<Problem>, problem: Problem) {
    if problems.len() < MOST_PROBLEMS && !problems.contains(&problem) {
        problems.push(problem);
    }
}

/// Whole seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is only said")]
fn whole(seconds: f64) -> u64 {
    seconds.max(0.0) as u64
}
