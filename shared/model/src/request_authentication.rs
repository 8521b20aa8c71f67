//! RequestAuthentication: which tokens the proxy validates.

use std::sync::Arc;

use serde_json::Value;

use crate::labels::Selector;
use crate::object::Object;

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
}

/// A RequestAuthentication.
#[derive(Clone, Debug)]
pub struct RequestAuthentication {
    /// The object it was read from.
    pub object: Arc<Object>,
    /// `selector`; all pods where empty.
    pub selector: Selector,
    /// Whether it names `targetRefs`: sidecars then ignore it.
    pub has_target_refs: bool,
    /// `jwtRules`.
    pub rules: Vec<JwtRule>,
}

impl RequestAuthentication {
    /// Reads one.
    #[must_use]
    pub fn read(object: &Arc<Object>) -> Self {
        let spec = object.get("/spec").unwrap_or(&Value::Null);
        let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        let rules = list(spec.get("jwtRules"))
            .iter()
            .map(|rule| JwtRule {
                issuer: rule.get("issuer").and_then(Value::as_str).unwrap_or_default().to_owned(),
                audiences: list(rule.get("audiences"))
                    .iter()
                    .filter_map(|audience| audience.as_str().map(str::to_owned))
                    .collect(),
                default_location: ["fromHeaders", "fromParams", "fromCookies"]
                    .iter()
                    .all(|place| list(rule.get(*place)).is_empty()),
            })
            .collect();
        Self {
            selector: Selector::match_labels(spec.pointer("/selector/matchLabels")),
            has_target_refs: spec.get("targetRef").is_some_and(|v| !v.is_null())
                || !list(spec.get("targetRefs")).is_empty(),
            rules,
            object: Arc::clone(object),
        }
    }
}
