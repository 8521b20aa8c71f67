//! The rules of authorization in Istio, one by one, as a World answers them.

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
