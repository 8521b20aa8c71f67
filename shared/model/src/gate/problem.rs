//! What keeps numbers from proving anything.

use std::fmt;

use serde::Serialize;

use super::sample::Fault;
use super::{Reporter, Role};

/// Something wrong with what Prometheus has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Whose numbers it concerns; `None` means all numbers of the service.
    pub of: Option<(Reporter, Role)>,
    /// What is wrong.
    pub trouble: Trouble,
}

/// In what way it is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", tag = "code")]
pub enum Trouble {
    /// A sample is NaN.
    NotANumber,
    /// A sample is infinite, or too large to be a count.
    Infinite,
    /// A counter is below zero.
    Negative,
    /// A counter is not a whole number: a recording rule under the counter's name.
    Fraction,
    /// A label is not what Istio writes.
    Label {
        /// Its name.
        name: String,
        /// What it is.
        value: String,
    },
    /// Buckets that do not add up.
    Buckets {
        /// What is wrong with them.
        reason: String,
    },
    /// Prometheus said that the answer is not all there is (Thanos: a store did not answer).
    Partial {
        /// Its words.
        warning: String,
    },
    /// Counters went down: a proxy was restarted, and what it counted since the scrape before is lost.
    Reset {
        /// How many times.
        times: u32,
    },
    /// Nothing has been scraped lately.
    Stale {
        /// Whole seconds since the newest sample.
        seconds: u64,
    },
}

impl Trouble {
    /// A stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotANumber => "not-a-number",
            Self::Infinite => "infinite",
            Self::Negative => "negative",
            Self::Fraction => "fraction",
            Self::Label { .. } => "label",
            Self::Buckets { .. } => "buckets",
            Self::Partial { .. } => "partial",
            Self::Reset { .. } => "reset",
            Self::Stale { .. } => "stale",
        }
    }

    /// Whether the counts can prove nothing at all. Otherwise they are true, but not everything: enough to
    /// fail a version, never to pass it.
    #[must_use]
    pub fn spoils(&self) -> bool {
        !matches!(self, Self::Reset { .. } | Self::Stale { .. })
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotANumber => Self::NotANumber,
            Fault::Infinite => Self::Infinite,
            Fault::Negative => Self::Negative,
            Fault::Fraction => Self::Fraction,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber => f.write_str("a counter is NaN"),
            Self::Infinite => f.write_str("a counter is infinite"),
            Self::Negative => f.write_str("a counter is below zero"),
            Self::Fraction => f.write_str("a counter is not a whole number, so it is none of Istio's"),
            Self::Label { name, value } => {
                write!(f, "the label {name} is {value:?}, which Istio never writes")
            }
            Self::Buckets { reason } => write!(f, "the latency buckets do not add up: {reason}"),
            Self::Partial { warning } => write!(f, "Prometheus did not answer in full: {warning}"),
            Self::Reset { times: 1 } => f.write_str(
                "a counter went down: a proxy was restarted, and the requests before are not known",
            ),
            Self::Reset { times } => {
                write!(
                    f,
                    "{times} counters went down: proxies were restarted, and the requests before are not known"
                )
            }
            Self::Stale { seconds } => write!(f, "nothing has been scraped for {seconds} s"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Some((reporter, role)) => write!(f, "{role}, counted by {reporter}: {}", self.trouble),
            None => self.trouble.fmt(f),
        }
    }
}
