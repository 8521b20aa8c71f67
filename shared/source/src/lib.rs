//! Where a World comes from.

pub mod cluster;
pub mod error;
pub mod manifests;
pub mod prometheus;
