//! Policies that do not do what they seem to do.
//!
//! Each lint is a file of its own. Wherever a request can show what is wrong, it is tried with the
//! [evaluator](crate::authorization::evaluator) before anything is said, so that there are no false
//! alarms: no finding claims a verdict that `can` would not give.

mod allow_all;
mod allow_dropped_on_tcp;
mod allow_prefix_escape;
mod authorization_header;
mod bare_issuer;
mod bypassed_port;
mod caller_without_sidecar;
mod conflicting_port_protocols;
mod context;
mod custom_on_tcp;
mod custom_provider;
mod deny_exact_path;
mod deny_identity_evaded;
mod deny_path_spelling;
mod deny_widened_on_tcp;
mod destination_rule_tls;
mod disable_above_strict;
mod dry_run;
mod empty_allow;
mod finding;
mod foreign_trust_domain;
mod forgeable;
mod grpc_method;
mod host_spelling;
mod identity;
mod identity_under_disable;
mod impossible_method;
mod impossible_value;
mod ip_block;
mod middle_wildcard;
mod near;
mod negative_identity;
mod newer_than_mesh;
mod not_enforced;
mod path_trial;
mod port_level_mtls;
mod prefix_without_boundary;
mod preflight_denied;
mod principal_with_scheme;
mod probes_not_rewritten;
mod refused_by_envoy;
mod regex_metacharacters;
pub(crate) mod rejected_by_webhook;
mod remote_ip_at_sidecar;
mod repeated_header;
mod root_peer_selector;
mod root_policy_at_gateway;
mod rule_never_effective;
mod rule_never_matches;
mod service_account_namespace;
mod service_port;
mod several_custom_providers;
mod several_peer_authentications;
mod short_principal;
mod subsumed_rule;
mod target_refs_on_sidecar;
mod template_aborts_proxy;
mod token_never_read;
mod token_optional;
mod undeclared_protocol;
mod unknown_field;
mod unknown_issuer;
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
    rejected_by_webhook::LINT,
    newer_than_mesh::LINT,
    template_aborts_proxy::LINT,
    refused_by_envoy::LINT,
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
    regex_metacharacters::LINT,
    caller_without_sidecar::LINT,
    identity_under_disable::LINT,
    negative_identity::LINT,
    deny_identity_evaded::LINT,
    allow_dropped_on_tcp::LINT,
    deny_widened_on_tcp::LINT,
    undeclared_protocol::LINT,
    conflicting_port_protocols::LINT,
    custom_on_tcp::LINT,
    custom_provider::LINT,
    several_custom_providers::LINT,
    service_port::LINT,
    unopened_port::LINT,
    impossible_method::LINT,
    grpc_method::LINT,
    impossible_value::LINT,
    prefix_without_boundary::LINT,
    deny_exact_path::LINT,
    deny_path_spelling::LINT,
    allow_prefix_escape::LINT,
    host_spelling::EVADED,
    host_spelling::MISSED,
    forgeable::LINT,
    remote_ip_at_sidecar::LINT,
    ip_block::PUBLIC,
    ip_block::GATEWAY,
    repeated_header::LINT,
    token_never_read::LINT,
    bare_issuer::LINT,
    unknown_issuer::LINT,
    token_optional::LINT,
    preflight_denied::LINT,
    authorization_header::LINT,
    root_peer_selector::LINT,
    several_peer_authentications::LINT,
    port_level_mtls::LINT,
    disable_above_strict::LINT,
    destination_rule_tls::LINT,
    probes_not_rewritten::LINT,
    dry_run::LINT,
    root_policy_at_gateway::LINT,
    allow_all::LINT,
    empty_allow::LINT,
    rule_never_matches::LINT,
    rule_never_effective::LINT,
    subsumed_rule::LINT,
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
