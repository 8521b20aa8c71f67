//! Scenarios: manifests, what is done, and what must hold. They run on a real mesh (`tests/lab`).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a seed is of use when the test fails")]

mod attempt;
mod authorization;
mod canary;
mod clients;
mod explain_log;
mod lab;
mod metrics;
mod orders;
mod rights;
mod rollout;
mod shift;
mod strict;
mod token;
mod verify;
