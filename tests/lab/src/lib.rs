//! Real servers for the suite's own tests: what is tested against them was not tested against our own
//! idea of them.

pub mod control_plane;

pub use control_plane::ControlPlane;
