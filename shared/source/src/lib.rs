//! Where a World comes from.

pub mod cluster;
