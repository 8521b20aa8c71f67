//! Worlds of any size, and measurements of what the suite does with them.
//!
//! The same numbers always give the same World, so that figures of different versions can be compared.
//! Measurements print nothing: `examples/measure.rs` does.

pub mod access_log;
pub mod decide;
pub mod process;
pub mod random;
pub mod shape;
pub mod shift;
