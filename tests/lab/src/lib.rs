//! Real servers for the suite's own tests: what is tested against them was not tested against our own
//! idea of them.

pub mod call;
pub mod control_plane;
pub mod mesh;

pub use call::{Answer, Request};
pub use control_plane::ControlPlane;
pub use mesh::Mesh;
