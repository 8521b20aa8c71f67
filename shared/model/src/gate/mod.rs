//! The gate of a canary step: is the new version good enough to go on?
//!
//! The way from Prometheus to a verdict has four parts, all pure. Times are arguments, in seconds since 1970
//! by Prometheus' own clock.
//!
//! 1. [`query`] writes the PromQL: raw samples of `istio_requests_total`, and latency as bucket counts.
//! 2. [`Tally`] turns raw samples into counts per version and reporter over one window, and names whatever
//!    is wrong with them. [`outcome`] says which request failed.
//! 3. [`proportion`] says what counts prove about a rate.
//! 4. [`judge`] compares with the [`Limits`], and gives a verdict with reasons made of counts.
//!
//! # Why counts of raw samples
//!
//! `rate` and `increase` take no notice of a series' first sample (prometheus/prometheus#1673, #3886). A
//! canary's first errors *are* a new series, which often appears at 3 and stays there: an increase of 0, and
//! a bad canary passes. They also extrapolate, so that 3 requests become 3.53, which no exact test can use.
//! Here a series that was absent when the window began counts from 0, and numbers stay whole.
//!
//! # Why three verdicts
//!
//! No error in 20 requests is what a version with 10 % errors shows one time in eight. [`Verdict::Pass`] and
//! [`Verdict::Fail`] are both proven, at a level of error that is fixed beforehand ([`Alpha`]); everything else
//! is [`Verdict::Inconclusive`]. No traffic, stale samples, resets, NaN and partial answers never pass.
//!
//! # Two reporters
//!
//! Istio counts each request twice, at the client's proxy (`reporter="source"`) and at the server's
//! (`reporter="destination"`). The two are never added. Each is judged by itself, and the worse verdict
//! counts: only the client sees what never arrived, and only the server sees clients without a sidecar.

mod alpha;
mod judge;
mod latency;
pub mod outcome;
mod own;
mod problem;
pub mod proportion;
pub mod query;
mod rates;
mod sample;
mod tally;
mod versions;
mod words;

pub use alpha::Alpha;
pub use judge::{Check, Finding, Judgement, LatencyLimit, Limits, Verdict, judge};
pub use latency::{Between, Histogram};
pub use own::{OwnLimit, OwnQuery, UnknownPlaceholder, judge_own};
pub use problem::{Problem, Trouble};
pub use rates::Rates;
pub use sample::{Labels, Sample, Series};
pub use tally::{Pair, Seen, Tally, Unattributed, Window};
pub use versions::{Identity, Indistinct, Reporter, Role, Versions};

#[cfg(test)]
mod laws;
