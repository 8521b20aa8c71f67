//! What Istio's objects mean. Pure: no I/O, no clock, no cluster client.
//!
//! A [`World`](world::World) is a snapshot of objects, each with its origin. Everything else in this
//! crate reads a World and answers a question about it.

pub mod access_log;
pub mod authorization;
pub mod canary;
pub mod change;
pub mod destination_rule;
pub mod duration;
pub mod envoy_filter;
pub mod fuse;
pub mod gate;
pub mod gateway;
pub mod host;
pub mod inbound;
pub mod injection;
pub mod labels;
pub mod lint;
pub mod managed_fields;
pub mod mesh_config;
pub mod object;
pub mod path;
pub mod pattern;
pub mod peer_authentication;
pub mod policy;
pub mod protocol;
pub mod proxy;
pub mod question;
pub mod request_authentication;
pub mod routing;
pub mod service;
pub mod service_entry;
pub mod sidecar;
pub mod trust_domain;
pub mod version;
pub mod virtual_service;
pub mod workload;
pub mod world;
