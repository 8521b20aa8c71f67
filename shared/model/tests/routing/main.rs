//! The rules of routing in Istio, one by one, as a World answers them. All of them together are held
//! against a real istiod by `tests/envoy/check --routes`.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

mod assumptions;
mod attempts;
mod delegates;
mod destination_rules;
mod gateways;
mod matches;
mod names;
mod scope;
mod settings;
mod tcp_and_tls;
mod tiers;
mod weights;
mod what_if;
