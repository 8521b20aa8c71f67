//! What Istio's objects mean. Pure: no I/O, no clock, no cluster client.
//!
//! A [`World`](world::World) is a snapshot of objects, each with its origin. Everything else in this
//! crate reads a World and answers a question about it.

pub mod object;
pub mod world;
