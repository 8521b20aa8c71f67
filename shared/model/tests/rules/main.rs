//! The rules of authorization in Istio, one by one, as a World answers them.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

mod fields;
mod identity;
mod jwt;
mod mtls;
mod normalization;
mod order;
mod ports;
mod rules;
mod selection;
mod tcp;
mod trust_domains;
mod versions;
