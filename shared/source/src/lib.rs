//! Where a World comes from, and where a Change goes to.

pub mod cluster;
pub mod error;
pub mod manifests;
pub mod prometheus;
