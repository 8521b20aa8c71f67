//! Policies that do not do what they seem to do.
//!
//! Each lint is a file of its own. Wherever a request can show what is wrong, it is tried with the
//! [evaluator](crate::authorization::evaluator) before anything is said, so that there are no false
//! alarms: no finding claims a verdict that `can` would not give.

mod context;
mod finding;
mod identity;
mod near;
mod path_trial;

mod allow_dropped_on_tcp;
mod allow_prefix_escape;
mod bypassed_port;
mod caller_without_sidecar;
mod custom_on_tcp;
mod custom_provider;
mod deny_exact_path;
mod deny_identity_evaded;
mod deny_path_spelling;
mod deny_widened_on_tcp;
mod foreign_trust_domain;
mod identity_under_disable;
mod middle_wildcard;
mod negative_identity;
mod not_enforced;
mod prefix_without_boundary;
mod principal_with_scheme;
mod service_account_namespace;
mod service_port;
mod several_custom_providers;
mod short_principal;
mod target_refs_on_sidecar;
mod undeclared_protocol;
mod unknown_field;
mod unknown_principal;
mod unopened_port;
mod unreadable;
mod unused_selector;

pub use finding::{Example, Finding, Lint, Severity};

use crate::world::World;
use context::Context;

/// All lints, in the order in which they are tried: those that explain most come first, because the
/// last ones are silent about rules that have an error already.
pub static LINTS: &[Lint] = &[
    unreadable::LINT,
    unknown_field::LINT,
    unused_selector::LINT,
    target_refs_on_sidecar::LINT,
    not_enforced::LINT,
    bypassed_port::LINT,
    principal_with_scheme::LINT,
    short_principal::LINT,
    foreign_trust_domain::LINT,
    unknown_principal::LINT,
    service_account_namespace::LINT,
    middle_wildcard::LINT,
    caller_without_sidecar::LINT,
    identity_under_disable::LINT,
    negative_identity::LINT,
    deny_identity_evaded::LINT,
    allow_dropped_on_tcp::LINT,
    deny_widened_on_tcp::LINT,
    undeclared_protocol::LINT,
    custom_on_tcp::LINT,
    custom_provider::LINT,
    several_custom_providers::LINT,
    service_port::LINT,
    unopened_port::LINT,
    prefix_without_boundary::LINT,
    deny_exact_path::LINT,
    deny_path_spelling::LINT,
    allow_prefix_escape::LINT,
];

/// What the lints find in a World: errors first, then by object, rule and code.
#[must_use]
pub fn lint(world: &World) -> Vec<Finding> {
    let Some(first) = LINTS.first() else { return Vec::new() };
    let mut context = Context::new(world, first);
    for lint in LINTS {
        context.lint = lint;
        (lint.check)(&mut context);
    }
    let mut findings = context.into_findings();
    findings.sort_by(|a, b| {
        (b.severity, a.kind, &a.object, a.rule, a.code).cmp(&(a.severity, b.kind, &b.object, b.rule, b.code))
    });
    findings
}
