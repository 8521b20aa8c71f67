//! Fields that nobody reads.

use super::context::Context;
use super::finding::{Lint, Severity};
use super::near::nearest;
use crate::mesh_config::list;

pub(super) const LINT: Lint = Lint {
    code: "unknown-field",
    severity: Severity::Error,
    summary: "a field that the API does not have is dropped, and its condition with it",
    check,
};

/// The fields of `spec` (`security/v1beta1/authorization_policy.proto`).
const SPEC: [&str; 6] = ["selector", "targetRef", "targetRefs", "rules", "action", "provider"];
const SOURCE: [&str; 14] = [
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
    "namespaces",
    "notNamespaces",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
    "serviceAccounts",
    "notServiceAccounts",
    "trustDomains",
    "notTrustDomains",
];
const OPERATION: [&str; 8] =
    ["hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"];

fn check(context: &mut Context<'_>) {
    for policy in &context.world.policies {
        let object = &policy.object;
        let mut unknown = Vec::new();
        fields(object.get("/spec"), "/spec", &SPEC, &mut unknown);
        fields(object.get("/spec/selector"), "/spec/selector", &["matchLabels"], &mut unknown);
        for (index, rule) in list(object.get("/spec/rules")).iter().enumerate() {
            let rule_at = format!("/spec/rules/{index}");
            fields(Some(rule), &rule_at, &["from", "to", "when"], &mut unknown);
            for (part, inner, known) in [("from", "source", &SOURCE[..]), ("to", "operation", &OPERATION)] {
                for (number, item) in list(rule.get(part)).iter().enumerate() {
                    let at = format!("{rule_at}/{part}/{number}");
                    fields(Some(item), &at, &[inner], &mut unknown);
                    fields(item.get(inner), &format!("{at}/{inner}"), known, &mut unknown);
                }
            }
            for (number, item) in list(rule.get("when")).iter().enumerate() {
                let at = format!("{rule_at}/when/{number}");
                fields(Some(item), &at, &["key", "values", "notValues"], &mut unknown);
            }
        }
        for (pointer, name, known) in unknown {
            let fix = match nearest(&name, known.iter().copied()) {
                Some(meant) => format!("Write `{meant}`."),
                None => format!("Known here are {}.", known.join(", ")),
            };
            let text =
                format!("field `{name}` does not exist: the API server drops it, as if it were not written");
            context.report(object, &pointer, text, None, fix);
        }
    }
}

type Unknown = (String, String, Vec<&'static str>);

fn fields(value: Option<&serde_json::Value>, at: &str, known: &[&'static str], unknown: &mut Vec<Unknown>) {
    for name in value.and_then(|value| value.as_object()).into_iter().flat_map(|map| map.keys()) {
        if !known.contains(&name.as_str()) {
            unknown.push((format!("{at}/{name}"), name.clone(), known.to_vec()));
        }
    }
}
