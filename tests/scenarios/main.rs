//! Scenarios: manifests, what is done, and what must hold. They run on a real mesh (`tests/lab`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clients;
mod lab;
mod orders;
