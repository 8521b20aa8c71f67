//! What Istio's validating webhook refuses.
//!
//! A re-statement of `ValidateAuthorizationPolicy`, `ValidatePeerAuthentication` and
//! `ValidateRequestAuthentication` in `pkg/config/validation/validation.go`, with `pkg/config/security`.
//! What must be known besides is what happens when such an object gets in all the same: with the webhook
//! down (it fails open on some installations), or written before it was there.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::context::Context;
use super::finding::{Lint, Severity};
use super::near::nearest;
use crate::mesh_config::list;
use crate::object::{Kind, Object};
use crate::pattern::is_template;

pub(super) const LINT: Lint = Lint {
    code: "rejected-by-webhook",
    severity: Severity::Error,
    summary: "Istio's webhook refuses the object, so that the cluster keeps what it had before",
    check,
};

fn check(context: &mut Context<'_>) {
    let world = context.world;
    for object in world.objects() {
        let mut webhook = Webhook { refusals: Vec::new() };
        match object.kind {
            Kind::AuthorizationPolicy => webhook.authorization_policy(object),
            Kind::PeerAuthentication => webhook.peer_authentication(object),
            Kind::RequestAuthentication => webhook.request_authentication(object),
            _ => continue,
        }
        for Refusal { pointer, text, fix } in webhook.refusals {
            let text = format!("Istio's webhook refuses this: {text}");
            context.report(object, &pointer, text, None, fix);
        }
    }
}

/// What the webhook says first about an AuthorizationPolicy, and the JSON pointer to it.
pub(crate) fn refusal(policy: &Object) -> Option<(String, String)> {
    let mut webhook = Webhook { refusals: Vec::new() };
    webhook.authorization_policy(policy);
    webhook.refusals.into_iter().next().map(|refusal| (refusal.pointer, refusal.text))
}

struct Refusal {
    pointer: String,
    text: String,
    fix: String,
}

struct Webhook {
    refusals: Vec<Refusal>,
}

/// Fields of a source with what their values must be.
const SOURCE: [(&str, &str, Shape); 7] = [
    ("principals", "notPrincipals", Shape::NotEmpty),
    ("requestPrincipals", "notRequestPrincipals", Shape::NotEmpty),
    ("namespaces", "notNamespaces", Shape::NotEmpty),
    ("ipBlocks", "notIpBlocks", Shape::Address),
    ("remoteIpBlocks", "notRemoteIpBlocks", Shape::Address),
    ("serviceAccounts", "notServiceAccounts", Shape::ServiceAccount),
    ("trustDomains", "notTrustDomains", Shape::TrustDomain),
];

/// Fields of an operation with what their values must be.
const OPERATION: [(&str, &str, Shape); 4] = [
    ("hosts", "notHosts", Shape::NotEmpty),
    ("methods", "notMethods", Shape::NotEmpty),
    ("paths", "notPaths", Shape::Path),
    ("ports", "notPorts", Shape::Port),
];

/// `when` keys without brackets, and what their values must be (`ValidateAttribute`).
const KEYS: [(&str, Shape); 13] = [
    ("source.ip", Shape::Address),
    ("remote.ip", Shape::Address),
    ("source.namespace", Shape::NotEmpty),
    ("source.serviceAccount", Shape::ServiceAccount),
    ("source.principal", Shape::NotEmpty),
    ("source.trustDomain", Shape::Wildcard),
    ("request.auth.principal", Shape::NotEmpty),
    ("request.auth.audiences", Shape::NotEmpty),
    ("request.auth.presenter", Shape::NotEmpty),
    ("destination.ip", Shape::Address),
    ("destination.port", Shape::Port),
    ("connection.sni", Shape::NotEmpty),
    ("request.headers[NAME]", Shape::NotEmpty),
];

/// What a value must be.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    NotEmpty,
    Address,
    Port,
    Path,
    ServiceAccount,
    Wildcard,
    TrustDomain,
}

impl Webhook {
    fn refuse(&mut self, pointer: impl Into<String>, text: impl Into<String>, fix: impl Into<String>) {
        self.refusals.push(Refusal { pointer: pointer.into(), text: text.into(), fix: fix.into() });
    }

    fn authorization_policy(&mut self, object: &Object) {
        let action = object.get("/spec/action").and_then(Value::as_str).unwrap_or("ALLOW");
        self.dry_run(object, action);
        self.attachment(object);
        let rules = list(object.get("/spec/rules"));
        let provider = object.get("/spec/provider").filter(|provider| !provider.is_null());
        if rules.is_empty() && matches!(action, "DENY" | "CUSTOM") {
            self.refuse(
                "/spec",
                format!("{action} without rules matches nothing"),
                "Write `rules: [{}]` to match every request, or delete the policy.",
            );
        } else if action == "CUSTOM"
            && provider.and_then(|p| p.get("name")).and_then(Value::as_str).unwrap_or_default().is_empty()
        {
            self.refuse("/spec/provider", "CUSTOM needs provider.name", "Name one of extensionProviders.");
        }
        if provider.is_some() && action != "CUSTOM" {
            let text = format!("`provider` is for CUSTOM, and this is {action}");
            self.refuse("/spec/provider", text, "Write `action: CUSTOM`, or take the provider out.");
        }
        self.most(rules.len(), 512, "/spec/rules");
        for (index, rule) in rules.iter().enumerate() {
            let at = format!("/spec/rules/{index}");
            if rule.is_null() {
                self.refuse(
                    &at,
                    "a rule must not be null; the proxy skips it",
                    "Write `{}` to match everything.",
                );
                continue;
            }
            self.parts(rule, &at, "from", "source", &SOURCE, action);
            self.parts(rule, &at, "to", "operation", &OPERATION, action);
            for (number, condition) in list(rule.get("when")).iter().enumerate() {
                self.condition(condition, &format!("{at}/when/{number}"), action);
            }
        }
    }

    fn dry_run(&mut self, object: &Object, action: &str) {
        let Some(value) = crate::policy::annotation(object, "istio.io/dry-run") else { return };
        let at = "/metadata/annotations/istio.io~1dry-run";
        let words = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
        if !matches!(action, "ALLOW" | "DENY") {
            self.refuse(at, format!("istio.io/dry-run is for ALLOW and DENY, not {action}"), "Take it out.");
        } else if !words.contains(&value) {
            let text =
                format!("istio.io/dry-run is \"{value}\", which is no boolean, so the policy is enforced");
            self.refuse(at, text, "Write \"true\" or \"false\".");
        }
    }

    /// `validateOneOfSelectorType`, `validateWorkloadSelector`, `validatePolicyTargetReference`.
    fn attachment(&mut self, object: &Object) {
        let there = |at: &str| object.get(at).is_some_and(|value| !value.is_null());
        let references = list(object.get("/spec/targetRefs"));
        let several = [there("/spec/selector"), there("/spec/targetRef"), !references.is_empty()];
        if several.into_iter().filter(|there| *there).count() > 1 {
            let text =
                "only one of selector, targetRef and targetRefs may be there; sidecars ignore the policy";
            self.refuse("/spec/selector", text, "Keep the selector: sidecars go by nothing else.");
        }
        self.selector(object);
        self.most(references.len(), 16, "/spec/targetRefs");
        if let Some(reference) = object.get("/spec/targetRef").filter(|reference| !reference.is_null()) {
            self.target(reference, "/spec/targetRef");
        }
        for (index, reference) in references.iter().enumerate() {
            self.target(reference, &format!("/spec/targetRefs/{index}"));
        }
    }

    fn selector(&mut self, object: &Object) {
        let labels = object.get("/spec/selector/matchLabels").and_then(Value::as_object);
        for (name, value) in labels.into_iter().flatten() {
            let at = format!("/spec/selector/matchLabels/{}", name.replace('~', "~0").replace('/', "~1"));
            if name.is_empty() {
                self.refuse(at, "a label without a name", "Name the label.");
            } else if name.contains('*') || value.as_str().is_some_and(|value| value.contains('*')) {
                let text = format!("selectors have no wildcards: {name}: {value} selects nothing");
                self.refuse(at, text, "Write the label as the pods have it.");
            }
        }
    }

    fn target(&mut self, reference: &Value, at: &str) {
        let text = |name: &str| reference.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("name").is_empty() {
            self.refuse(at, "a targetRef needs a name", "Name the object.");
        }
        if !text("namespace").is_empty() {
            self.refuse(at, "a targetRef is of the policy's own namespace", "Take `namespace` out.");
        }
        let known = matches!(
            (text("group"), text("kind")),
            ("" | "core", "Service")
                | ("networking.istio.io", "ServiceEntry")
                | ("gateway.networking.k8s.io", "Gateway" | "GatewayClass")
        );
        if !known {
            let text = format!("no targetRef can be to {}/{}", text("group"), text("kind"));
            self.refuse(
                at,
                text,
                "Known are Service, ServiceEntry, Gateway and GatewayClass, each with its group.",
            );
        }
    }

    fn parts(
        &mut self,
        rule: &Value,
        rule_at: &str,
        part: &str,
        inner: &str,
        fields: &[(&str, &str, Shape)],
        action: &str,
    ) {
        let at = format!("{rule_at}/{part}");
        let items = list(rule.get(part));
        if items.is_empty() && rule.get(part).is_some_and(|value| !value.is_null()) {
            self.refuse(
                &at,
                format!("`{part}` is empty; it is as if it were not there: anything"),
                "Take it out.",
            );
        }
        self.most(items.len(), 512, &at);
        for (index, item) in items.iter().enumerate() {
            let at = format!("{at}/{index}/{inner}");
            let Some(value) = item.get(inner).filter(|value| !value.is_null()) else {
                let text =
                    format!("`{part}[{index}].{inner}` is missing, which the proxy takes for anything");
                self.refuse(&at, text, format!("Write what the {inner} must be, or take the item out."));
                continue;
            };
            let has = |name: &str| !list(value.get(name)).is_empty();
            if !fields.iter().any(|(name, not, _)| has(name) || has(not)) {
                let text = format!("`{inner}` is empty, which the proxy takes for anything");
                self.refuse(&at, text, format!("Write what the {inner} must be, or take the item out."));
            }
            let of_identity = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
            if (has("serviceAccounts") || has("notServiceAccounts"))
                && of_identity.iter().any(|name| has(name))
            {
                let text = "serviceAccounts do not go together with principals or namespaces";
                self.refuse(&at, text, "Keep one of them.");
            }
            for (name, not, shape) in fields {
                for name in [name, not] {
                    let at = format!("{at}/{name}");
                    let values = list(value.get(*name));
                    if action == "CUSTOM" && !values.is_empty() && part == "from" && is_identity(name) {
                        let text =
                            format!("CUSTOM has no `{name}`: it is asked before identities are known to it");
                        self.refuse(
                            &at,
                            text,
                            "Select by ipBlocks, hosts, paths or headers, or let the authorizer look.",
                        );
                    }
                    self.values(values, &at, name, *shape, action);
                }
            }
        }
    }

    fn condition(&mut self, condition: &Value, at: &str, action: &str) {
        let key = condition.get("key").and_then(Value::as_str).unwrap_or_default();
        if key.is_empty() {
            return self.refuse(at, "a condition needs a key", "Write `key`.");
        }
        let of_caller =
            ["source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal"];
        if action == "CUSTOM" && (of_caller.contains(&key) || key.starts_with("request.auth.")) {
            let text = format!("CUSTOM has no `{key}`: it is asked before identities are known to it");
            self.refuse(at, text, "Let the authorizer look at it.");
        }
        let shape = if ["request.headers", "request.auth.claims", "experimental.envoy.filters."]
            .iter()
            .any(|known| key.starts_with(known))
        {
            // `validateMapKey`.
            if !(key.ends_with(']') && key.find('[').is_some_and(|open| open > 0 && open + 2 < key.len())) {
                let text = format!("`{key}` is not of the form a[b]");
                let fix = "Write the name in brackets, as in `request.headers[x-name]`.";
                return self.refuse(format!("{at}/key"), text, fix);
            }
            Shape::NotEmpty
        } else if let Some((_, shape)) = KEYS.iter().find(|(known, _)| *known == key) {
            *shape
        } else {
            // Names in brackets are anything: the word before them is what was mistyped.
            let word = |key: &str| key.split('[').next().unwrap_or_default().to_owned();
            let known: Vec<(String, &str)> = KEYS
                .iter()
                .map(|(known, _)| *known)
                .chain(["request.auth.claims[NAME]"])
                .map(|known| (word(known), known))
                .collect();
            let meant = nearest(&word(key), known.iter().map(|(word, _)| word.as_str()));
            let meant = meant.and_then(|meant| known.iter().find(|(word, _)| word == meant));
            let fix = match meant {
                Some((_, meant)) => format!("Write `{meant}`."),
                None => "See Istio's reference of authorization policy conditions for the keys.".to_owned(),
            };
            let text = format!(
                "the key `{key}` is not known; the proxy would skip the whole rule, also one that denies"
            );
            return self.refuse(format!("{at}/key"), text, fix);
        };
        let (values, not_values) = (list(condition.get("values")), list(condition.get("notValues")));
        if values.is_empty() && not_values.is_empty() {
            let text =
                format!("`{key}` has neither values nor notValues, which the proxy takes for anything");
            return self.refuse(at, text, "Write `values`, or take the condition out.");
        }
        self.values(values, &format!("{at}/values"), key, shape, action);
        self.values(not_values, &format!("{at}/notValues"), key, shape, action);
    }

    fn values(&mut self, values: &[Value], at: &str, name: &str, shape: Shape, action: &str) {
        if shape == Shape::ServiceAccount && values.len() > 16 {
            self.refuse(at, format!("`{name}` has more than 16 values"), "Split the source into several.");
        }
        for (index, value) in values.iter().enumerate() {
            let Some(value) = value.as_str() else { continue };
            let Err(text) = shape.check(name, value) else { continue };
            let effect = match (shape, action) {
                (Shape::Address | Shape::Port, "ALLOW") => "; the proxy would drop the whole rule",
                (Shape::Address | Shape::Port, _) => "; the proxy would drop the value, and match more",
                _ => "",
            };
            let fix = shape.fix();
            self.refuse(format!("{at}/{index}"), format!("{text}{effect}"), fix);
        }
    }

    /// Limits of the CustomResourceDefinition.
    fn most(&mut self, count: usize, most: usize, at: &str) {
        if count > most {
            self.refuse(at, format!("there are {count} items, and {most} are the most"), "Split the policy.");
        }
    }

    fn peer_authentication(&mut self, object: &Object) {
        self.selector(object);
        let ports = object.get("/spec/portLevelMtls").and_then(Value::as_object);
        let no_selector = object
            .get("/spec/selector/matchLabels")
            .and_then(Value::as_object)
            .is_none_or(|map| map.is_empty());
        if let Some(ports) = ports {
            if no_selector && !ports.is_empty() {
                let text = "portLevelMtls needs a selector; without one it is ignored";
                self.refuse("/spec/portLevelMtls", text, "Add `selector.matchLabels` of the workload.");
            }
            if ports.is_empty() {
                self.refuse("/spec/portLevelMtls", "portLevelMtls must not be empty", "Take it out.");
            }
            for port in ports.keys().filter(|port| port.parse() == Ok(0_u16)) {
                let at = format!("/spec/portLevelMtls/{port}");
                self.refuse(at, "a port is from 1 to 65535", "Write the workload's port.");
            }
        }
    }

    fn request_authentication(&mut self, object: &Object) {
        self.attachment(object);
        for (index, rule) in list(object.get("/spec/jwtRules")).iter().enumerate() {
            let at = format!("/spec/jwtRules/{index}");
            let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
            let keys = text("jwksUri");
            if text("issuer").is_empty() && keys.is_empty() {
                self.refuse(&at, "neither issuer nor jwksUri is there", "Write `issuer`.");
            }
            if !keys.is_empty() && !keys.starts_with("http://") && !keys.starts_with("https://") {
                self.refuse(
                    format!("{at}/jwksUri"),
                    format!("`{keys}` is no http or https address"),
                    "Write a URL.",
                );
            }
            for (field, name) in
                [("audiences", ""), ("fromHeaders", "/name"), ("fromParams", ""), ("fromCookies", "")]
            {
                for (number, item) in list(rule.get(field)).iter().enumerate() {
                    if item.pointer(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                        let at = format!("{at}/{field}/{number}");
                        self.refuse(
                            at,
                            format!("an item of {field} is empty"),
                            "Fill it in, or take it out.",
                        );
                    }
                }
            }
            for (number, item) in list(rule.get("outputClaimToHeaders")).iter().enumerate() {
                let empty =
                    |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().is_empty();
                if empty("header") || empty("claim") {
                    let at = format!("{at}/outputClaimToHeaders/{number}");
                    self.refuse(at, "outputClaimToHeaders needs header and claim", "Write both.");
                }
            }
        }
    }
}

fn is_identity(name: &str) -> bool {
    !matches!(name, "ipBlocks" | "notIpBlocks" | "remoteIpBlocks" | "notRemoteIpBlocks")
}

impl Shape {
    fn fix(self) -> &'static str {
        match self {
            Self::NotEmpty => "Write a value; `*` stands for any.",
            Self::Address => "Write an address such as 10.1.2.3, or a block such as 10.1.0.0/16.",
            Self::Port => "Write one decimal port for each value.",
            Self::Path => "Write {*} for one segment and {**} for the rest, each as a whole segment.",
            Self::ServiceAccount => "Write `name` or `namespace/name`, without wildcards.",
            Self::Wildcard | Self::TrustDomain => "Write at most one `*`, at the start or at the end.",
        }
    }

    fn check(self, name: &str, value: &str) -> Result<(), String> {
        let wrong = |text: &str| Err(format!("`{value}` in {name} {text}"));
        if value.is_empty() {
            return Err(format!("an empty value in {name}"));
        }
        match self {
            Self::NotEmpty => Ok(()),
            Self::Address => {
                let good = if value.contains('/') {
                    value.parse::<IpNet>().is_ok()
                } else {
                    value.split_once('%').map_or(value, |(address, _)| address).parse::<IpAddr>().is_ok()
                };
                if good { Ok(()) } else { wrong("is neither an address nor a block of addresses") }
            }
            Self::Port => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let number = value.trim_start_matches('0');
                let good = digits && (number.is_empty() || number.parse::<u16>().is_ok());
                if good { Ok(()) } else { wrong("is no port") }
            }
            Self::Path => template(value).or_else(|text| wrong(&text)),
            Self::ServiceAccount => match value.split('/').collect::<Vec<_>>().as_slice() {
                _ if value.contains('*') => wrong("has a wildcard"),
                _ if value.len() > 320 => wrong("is longer than 320 characters"),
                [_] => Ok(()),
                [namespace, account] if !namespace.is_empty() && !account.is_empty() => Ok(()),
                _ => wrong("is neither `name` nor `namespace/name`"),
            },
            Self::TrustDomain if value.contains('/') => wrong("is no trust domain: it has a slash"),
            Self::Wildcard | Self::TrustDomain => {
                let stars = value.matches('*').count();
                if stars > 1 || (stars == 1 && !value.starts_with('*') && !value.ends_with('*')) {
                    return wrong("may have one `*`, at its start or at its end");
                }
                Ok(())
            }
        }
    }
}

/// `CheckValidPathTemplate`: it trims slashes first, so that it lets pass what no proxy takes (see
/// `template-aborts-proxy`).
fn template(path: &str) -> Result<(), String> {
    let contains = is_template(path);
    let mut seen_rest = false;
    for glob in path.trim_matches('/').split('/') {
        match glob {
            "{*}" | "{**}" if seen_rest => {
                return Err("has an operator behind {**}, which must be the last".to_owned());
            }
            "{*}" => {}
            "{**}" => seen_rest = true,
            _ if glob.contains(['{', '}']) => {
                return Err("has a brace that is not {*} or {**} as a whole segment".to_owned());
            }
            _ if contains && !is_literal(glob) => {
                return Err(format!(
                    "is a template with the segment `{glob}`, which has other characters than a URL's"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `validLiteral` in `pkg/config/security/security.go`.
fn is_literal(glob: &str) -> bool {
    !glob.is_empty() && glob.chars().all(|c| c.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@=".contains(c))
}
