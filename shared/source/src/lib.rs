//! Where a World comes from.
