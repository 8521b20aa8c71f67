//! `kubectl mesh-authz`.
fn main() {}
