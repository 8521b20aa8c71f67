//! The filters of a filter chain as the model's chain, so that the same judge decides.
//!
//! Order and kinds: `buildHTTPConnectionManager` in `listener_builder.go`, `networkfilter.go`.

use serde_json::Value;

use super::rbac::Reader;
use crate::authorization::chain::{Chain, Provider};
use crate::authorization::compile::{CompiledRule, Protocol};
use crate::mesh_config::{list, strings};
use crate::path::Normalization;
use crate::request_authentication::JwtRule;
use crate::version::Profile;

/// Filters that Istio puts into every inbound chain and that never decide about a request, by the type of
/// their configuration; names are free.
const HARMLESS: [&str; 10] = [
    "io.istio.http.peer_metadata.Config",
    "envoy.tcp.metadataexchange.config.MetadataExchange",
    "stats.PluginConfig",
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
    "envoy.extensions.filters.http.cors.v3.Cors",
    "envoy.extensions.filters.http.set_filter_state.v3.Config",
    "envoy.extensions.filters.network.set_filter_state.v3.Config",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
    "istio.envoy.config.filter.http.authn.v2alpha1.FilterConfig",
];

const CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// What one filter chain does with requests.
#[derive(Clone, Debug)]
pub struct Filters {
    /// Its rules. `RuleRef::policy` counts the rules in the order of the filters; `RuleRef::rule` is 0.
    pub chain: Chain,
    /// How paths are normalized before rules see them; `None` on a TCP chain.
    pub normalization: Option<Normalization>,
    /// Filters and settings that decide about requests here and cannot be read.
    pub unreadable: Vec<String>,
    /// Parts of rules that cannot be read. Whether they hold is unknown to the judge, who decides all that
    /// does not depend on them.
    pub unreadable_rules: Vec<String>,
}

impl Filters {
    /// Reads a filter chain.
    #[must_use]
    pub(super) fn read(filter_chain: &Value, profile: &Profile) -> Self {
        let network = list(filter_chain.get("filters"));
        let manager = network.iter().find(|filter| kind(filter) == CONNECTION_MANAGER);
        let protocol = if manager.is_some() { Protocol::Http } else { Protocol::Tcp };
        let mut chain = Chain::empty(protocol);
        chain.joins_headers = !profile.separate_header_values;
        let mut reading = Reading {
            profile,
            filters: Self {
                chain,
                normalization: None,
                unreadable: Vec::new(),
                unreadable_rules: Vec::new(),
            },
            count: 0,
        };
        match manager.and_then(|manager| manager.get("typed_config")) {
            None => reading.read(before_last(network)),
            Some(manager) => {
                for filter in before_last(network).iter().filter(|filter| !is_harmless(filter)) {
                    reading.filters.unreadable.push(format!("the network filter {}", name(filter)));
                }
                reading.filters.normalization = normalization(manager);
                if reading.filters.normalization.is_none() {
                    reading.filters.unreadable.push("how it normalizes paths".to_owned());
                }
                reading.read(before_last(list(manager.get("http_filters"))));
            }
        }
        let chain = &mut reading.filters.chain;
        for rules in [&mut chain.custom, &mut chain.deny].into_iter().chain(chain.allow.as_mut()) {
            // Rules are tried in the order of their ids.
            rules.sort_by(|a, b| a.id.cmp(&b.id));
        }
        reading.filters
    }
}

/// All but the last, which takes the request where it shall go.
fn before_last(filters: &[Value]) -> &[Value] {
    filters.split_last().map_or(&[], |(_, before)| before)
}

struct Reading<'a> {
    profile: &'a Profile,
    filters: Filters,
    /// How many rules were read so far.
    count: usize,
}

impl Reading<'_> {
    fn read(&mut self, filters: &[Value]) {
        let is_token_filter =
            |filter: &Value| kind(filter) == "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
        for (position, filter) in filters.iter().enumerate() {
            if filter.get("disabled").and_then(Value::as_bool) == Some(true) || is_harmless(filter) {
                continue;
            }
            let configuration = filter.get("typed_config").unwrap_or(&Value::Null);
            match kind(filter) {
                "envoy.extensions.filters.http.rbac.v3.RBAC"
                | "envoy.extensions.filters.network.rbac.v3.RBAC" => {
                    let before_tokens = filters.iter().skip(position).any(is_token_filter);
                    self.rbac(configuration, before_tokens);
                }
                _ if is_token_filter(filter) => {
                    let providers = configuration.get("providers").and_then(Value::as_object);
                    self.filters
                        .chain
                        .tokens
                        .extend(providers.into_iter().flatten().map(|(_, provider)| token(provider)));
                }
                // Istio's own asks only where a CUSTOM rule before it matches.
                "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
                | "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz"
                    if configuration.get("filter_enabled_metadata").is_some() => {}
                _ => self.filters.unreadable.push(format!("the filter {}", name(filter))),
            }
        }
    }

    fn rbac(&mut self, configuration: &Value, before_tokens: bool) {
        if configuration.get("matcher").is_some() {
            self.filters.unreadable.push("an RBAC filter with `matcher`".to_owned());
        }
        if let Some(rules) = configuration.get("rules") {
            let found = self.rules(rules, before_tokens);
            let chain = &mut self.filters.chain;
            // The default of an enum is not printed.
            match rules.get("action").and_then(Value::as_str).unwrap_or("ALLOW") {
                "DENY" => {
                    let (custom, deny): (Vec<_>, Vec<_>) =
                        found.into_iter().partition(|rule| rule.provider.is_some());
                    let refused = custom.iter().filter_map(|rule| rule.provider.clone());
                    chain.providers.extend(refused.map(|provider| (provider, Provider::Refuses)));
                    chain.custom.extend(custom);
                    chain.deny.extend(deny);
                }
                "LOG" => chain.silent.extend(found),
                "ALLOW" if chain.allow.is_none() => chain.allow = Some(found),
                _ => self.filters.unreadable.push("a second RBAC filter that allows".to_owned()),
            }
        }
        if let Some(rules) = configuration.get("shadow_rules") {
            let prefix = configuration.get("shadow_rules_stat_prefix").and_then(Value::as_str);
            let asks = prefix == Some("istio_ext_authz_");
            let mut found = self.rules(rules, before_tokens);
            let chain = &mut self.filters.chain;
            if asks {
                for rule in &mut found {
                    let provider = rule.provider.get_or_insert_default();
                    chain.providers.insert(provider.clone(), Provider::Asked);
                }
                chain.custom.extend(found);
            } else {
                chain.silent.extend(found);
            }
        }
    }

    fn rules(&mut self, rules: &Value, before_tokens: bool) -> Vec<CompiledRule> {
        let reader = Reader { protocol: self.filters.chain.protocol, profile: self.profile, before_tokens };
        let read = reader.rules(rules, self.count);
        self.count += read.rules.len();
        self.filters.unreadable_rules.extend(read.unreadable);
        read.rules
    }
}

/// The type of a filter's configuration, without what all types begin with. A `TypedStruct` names the type
/// that it stands for.
fn kind(filter: &Value) -> &str {
    let text = |pointer: &str| filter.pointer(pointer).and_then(Value::as_str);
    let url = text("/typed_config/type_url").or_else(|| text("/typed_config/@type")).unwrap_or_default();
    url.rsplit('/').next().unwrap_or_default()
}

fn name(filter: &Value) -> &str {
    filter.get("name").and_then(Value::as_str).unwrap_or("without a name")
}

fn is_harmless(filter: &Value) -> bool {
    match kind(filter) {
        // Istio's is empty: routes fill it in.
        "envoy.extensions.filters.http.fault.v3.HTTPFault" => filter.pointer("/typed_config/abort").is_none(),
        kind => HARMLESS.contains(&kind),
    }
}

/// The mesh's setting as the connection manager has it; `None` where it is none of them.
fn normalization(manager: &Value) -> Option<Normalization> {
    let is = |field: &str| manager.get(field).and_then(Value::as_bool) == Some(true);
    let slashes = manager.get("path_with_escaped_slashes_action").and_then(Value::as_str);
    match (is("normalize_path"), is("merge_slashes"), slashes.unwrap_or("KEEP_UNCHANGED")) {
        (false, false, "KEEP_UNCHANGED") => Some(Normalization::None),
        (true, false, "KEEP_UNCHANGED") => Some(Normalization::Base),
        (true, true, "KEEP_UNCHANGED") => Some(Normalization::MergeSlashes),
        (true, true, "UNESCAPE_AND_FORWARD") => Some(Normalization::DecodeAndMergeSlashes),
        _ => None,
    }
}

/// A provider of `envoy.extensions.filters.http.jwt_authn.v3` (`convertToEnvoyJwtConfig` in
/// `policy_applier.go`).
fn token(provider: &Value) -> JwtRule {
    let places = ["from_headers", "from_params", "from_cookies"];
    JwtRule {
        issuer: provider.get("issuer").and_then(Value::as_str).unwrap_or_default().to_owned(),
        audiences: strings(provider.get("audiences")),
        default_location: places.iter().all(|place| list(provider.get(*place)).is_empty()),
        forwards: provider.get("forward").and_then(Value::as_bool) == Some(true),
        space_delimited: strings(provider.pointer("/normalize_payload_in_metadata/space_delimited_claims")),
    }
}
