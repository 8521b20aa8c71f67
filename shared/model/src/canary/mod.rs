//! A canary: which routes carry a service, what a shift of its weights changes, and what would break.
//!
//! [`carriers`](carrier::carriers) finds the routes, [`plan`] makes the changes, [`preflight`] looks at the
//! World after them with the resolver, [`history`] keeps the steps on the objects.

pub mod attempt;
pub mod carrier;
pub mod course;
pub mod history;
pub mod init;
pub mod owner;
pub mod plan;
pub mod preflight;
pub mod proof;
pub mod version;
pub mod weights;
