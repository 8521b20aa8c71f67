//! A canary, rule by rule: which routes carry a service, what a shift of them changes and what it would break.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../routing/support.rs"]
#[expect(dead_code, reason = "shared with the tests of routing, which ask other things")]
mod support;

mod carriers;
mod init;
mod owners;
mod preflight;
mod shifts;
mod shop;
mod versions;
