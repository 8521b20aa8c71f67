//! The questions that people ask, and their answers as values.

pub mod access;
pub mod can;
pub mod explain;
pub mod matrix;
pub mod reason;
pub mod requests;
pub mod target;
pub mod trace;
pub mod what_can;
pub mod who_can;
