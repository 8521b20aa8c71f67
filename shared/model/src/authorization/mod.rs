//! The decision: is a request let through, by which rule, and why not by the others.

pub mod attribute;
pub mod chain;
pub mod compile;
pub mod condition;
pub mod connection;
pub mod evaluator;
pub mod formula;
pub mod judge;
pub mod request;
pub mod selection;
pub mod solver;
mod universe;
pub mod update;
