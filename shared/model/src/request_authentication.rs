//! RequestAuthentication: which tokens the proxy validates.

use std::sync::Arc;

use serde_json::Value;

use crate::labels::Selector;
use crate::mesh_config::{list, strings};
use crate::object::Object;
use crate::policy::{TargetRef, target_ref};

/// One of `jwtRules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRule {
    /// `issuer`: tokens of this `iss` only.
    pub issuer: String,
    /// `audiences`: the token must name one of these; any where empty.
    pub audiences: Vec<String>,
    /// Whether tokens are looked for in the `Authorization` header and `access_token` parameter,
    /// because the rule names no place of its own.
    pub default_location: bool,
    /// `forwardOriginalToken`: the token stays in the request after it was read.
    pub forwards: bool,
    /// Claims whose strings are split at spaces: `scope`, `permission`, and those of
    /// `spaceDelimitedClaims`.
    pub space_delimited: Vec<String>,
}

/// A RequestAuthentication.
#[derive(Clone, Debug)]
pub struct RequestAuthentication {
    /// The object it was read from.
    pub object: Arc<Object>,
    /// `selector`; all pods where empty.
    pub selector: Selector,
    /// `targetRef` and `targetRefs`: sidecars ignore it where there is any.
    pub target_refs: Vec<TargetRef>,
    /// `jwtRules`.
    pub rules: Vec<JwtRule>,
}

impl RequestAuthentication {
    /// Reads one.
    #[must_use]
    pub fn read(object: &Arc<Object>) -> Self {
        let spec = object.get("/spec").unwrap_or(&Value::Null);
        let rules = list(spec.get("jwtRules"))
            .iter()
            .map(|rule| JwtRule {
                issuer: rule.get("issuer").and_then(Value::as_str).unwrap_or_default().to_owned(),
                audiences: strings(rule.get("audiences")),
                space_delimited: ["scope", "permission"]
                    .into_iter()
                    .chain(list(rule.get("spaceDelimitedClaims")).iter().filter_map(Value::as_str))
                    .map(str::to_owned)
                    .collect(),
                default_location: ["fromHeaders", "fromParams", "fromCookies"]
                    .iter()
                    .all(|place| list(rule.get(*place)).is_empty()),
                forwards: rule.get("forwardOriginalToken").and_then(Value::as_bool) == Some(true),
            })
            .collect();
        Self {
            selector: Selector::match_labels(spec.pointer("/selector/matchLabels")),
            target_refs: spec
                .get("targetRef")
                .filter(|target| !target.is_null())
                .into_iter()
                .chain(list(spec.get("targetRefs")))
                .map(target_ref)
                .collect(),
            rules,
            object: Arc::clone(object),
        }
    }
}
