//! AuthorizationPolicy as written.
//!
//! Reading never fails: what the webhook would refuse is kept as a [`Problem`] and otherwise taken as
//! istiod and the proxy would take it.

use std::sync::Arc;

use serde_json::Value;

use crate::labels::Selector;
use crate::object::Object;

/// What a policy does to a request that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lets it through; and refuses what no ALLOW policy matches.
    Allow,
    /// Refuses it.
    Deny,
    /// Logs it.
    Audit,
    /// Asks an external authorizer.
    Custom {
        /// `provider.name`; empty where missing.
        provider: String,
    },
}

impl Action {
    /// The word in the manifest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
            Self::Audit => "AUDIT",
            Self::Custom { .. } => "CUSTOM",
        }
    }
}

/// `targetRef` or one of `targetRefs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRef {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
}

/// A field with its values and its `not` values; none of either is a field that is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// The name of the field as in the manifest (`principals`), or the `when` key.
    pub field: String,
    /// Any of these.
    pub values: Vec<String>,
    /// And none of these.
    pub not_values: Vec<String>,
    /// JSON pointer of `values` in the policy.
    pub pointer: String,
    /// JSON pointer of `not_values` in the policy.
    pub not_pointer: String,
}

/// One rule: any of `from` (or none there) and any of `to` (or none there) and all of `when`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Each source: the fields that are there.
    pub from: Vec<Vec<Values>>,
    /// Each operation: the fields that are there.
    pub to: Vec<Vec<Values>>,
    /// Each condition, by its key.
    pub when: Vec<Values>,
}

/// Something in an object that Istio's webhook would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer of the part.
    pub pointer: String,
    /// What is wrong with it.
    pub text: String,
    /// Whether istiod could not even read the object, so that no proxy ever gets it.
    pub unreadable: bool,
}

/// An AuthorizationPolicy.
#[derive(Clone, Debug)]
pub struct AuthorizationPolicy {
    /// The object it was read from.
    pub object: Arc<Object>,
    /// What it does.
    pub action: Action,
    /// Annotation `istio.io/dry-run`: it has no effect.
    pub dry_run: bool,
    /// `selector`; all pods where empty.
    pub selector: Selector,
    /// `targetRef` and `targetRefs`.
    pub target_refs: Vec<TargetRef>,
    /// The rules by index; `None` for `null`. Empty where absent: it matches nothing.
    pub rules: Vec<Option<Rule>>,
    /// What the webhook would refuse.
    pub problems: Vec<Problem>,
}

impl AuthorizationPolicy {
    /// Reads a policy.
    #[must_use]
    pub fn read(object: &Arc<Object>) -> Self {
        let mut reader = Reader::default();
        let spec = object.get("/spec").unwrap_or(&Value::Null);
        let action = reader.action(spec);
        let rules = reader
            .list(spec.get("rules"), "/spec/rules")
            .iter()
            .enumerate()
            .map(|(index, rule)| reader.rule(rule, &format!("/spec/rules/{index}")))
            .collect();
        let mut target_refs = Vec::new();
        if let Some(single) = spec.get("targetRef").filter(|v| !v.is_null()) {
            target_refs.push(target_ref(single));
        }
        target_refs.extend(reader.list(spec.get("targetRefs"), "/spec/targetRefs").iter().map(target_ref));
        Self {
            action,
            dry_run: annotation(object, "istio.io/dry-run").is_some_and(is_go_true),
            selector: Selector::match_labels(spec.pointer("/selector/matchLabels")),
            target_refs,
            rules,
            problems: reader.problems,
            object: Arc::clone(object),
        }
    }

    /// Whether istiod can read it at all. One that it cannot is not there for any proxy.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.problems.iter().all(|problem| !problem.unreadable)
    }

    /// The id of a rule in the proxy: `ns[NS]-policy[NAME]-rule[I]`. Envoy reports the first match in
    /// the order of these strings.
    #[must_use]
    pub fn rule_id(&self, index: usize) -> String {
        format!("ns[{}]-policy[{}]-rule[{index}]", self.object.namespace, self.object.name)
    }
}

pub(crate) fn annotation<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    object.get("/metadata/annotations")?.get(name)?.as_str()
}

/// Go's `strconv.ParseBool`.
fn is_go_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

pub(crate) fn target_ref(value: &Value) -> TargetRef {
    let field = |name| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    TargetRef { group: field("group"), kind: field("kind"), name: field("name") }
}

const SOURCE: [(&str, &str); 7] = [
    ("principals", "notPrincipals"),
    ("requestPrincipals", "notRequestPrincipals"),
    ("serviceAccounts", "notServiceAccounts"),
    ("trustDomains", "notTrustDomains"),
    ("namespaces", "notNamespaces"),
    ("remoteIpBlocks", "notRemoteIpBlocks"),
    ("ipBlocks", "notIpBlocks"),
];
const OPERATION: [(&str, &str); 4] =
    [("hosts", "notHosts"), ("methods", "notMethods"), ("paths", "notPaths"), ("ports", "notPorts")];

/// Reads JSON as istiod does: absent, null and empty are the same; a wrong type makes the whole
/// object unreadable; unknown fields are dropped.
#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn unreadable(&mut self, pointer: &str, text: impl Into<String>) {
        self.problems.push(Problem { pointer: pointer.to_owned(), text: text.into(), unreadable: true });
    }

    fn refused(&mut self, pointer: &str, text: impl Into<String>) {
        self.problems.push(Problem { pointer: pointer.to_owned(), text: text.into(), unreadable: false });
    }

    fn action(&mut self, spec: &Value) -> Action {
        let provider = spec.pointer("/provider/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        match spec.get("action") {
            None | Some(Value::Null) => Action::Allow,
            Some(Value::String(word)) if word == "ALLOW" => Action::Allow,
            Some(Value::String(word)) if word == "DENY" => Action::Deny,
            Some(Value::String(word)) if word == "AUDIT" => Action::Audit,
            Some(Value::String(word)) if word == "CUSTOM" => Action::Custom { provider },
            Some(other) => {
                let text = format!("unknown action {other}; known are ALLOW, DENY, AUDIT and CUSTOM");
                self.unreadable("/spec/action", text);
                Action::Allow
            }
        }
    }

    fn list<'a>(&mut self, value: Option<&'a Value>, pointer: &str) -> &'a [Value] {
        match value {
            None | Some(Value::Null) => &[],
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.unreadable(pointer, "must be a list");
                &[]
            }
        }
    }

    fn strings(&mut self, value: Option<&Value>, pointer: &str) -> Vec<String> {
        let mut strings = Vec::new();
        for (index, item) in self.list(value, pointer).iter().enumerate() {
            match item {
                Value::String(text) => strings.push(text.clone()),
                _ => {
                    let text = format!("must be a string, is {item}; quote it");
                    self.unreadable(&format!("{pointer}/{index}"), text);
                }
            }
        }
        strings
    }

    fn unknown_fields(&mut self, value: &Value, pointer: &str, known: &[&str]) {
        for name in value.as_object().into_iter().flat_map(|map| map.keys()) {
            if !known.contains(&name.as_str()) {
                self.refused(
                    &format!("{pointer}/{name}"),
                    format!("unknown field `{name}`; it is dropped, as if it were not written"),
                );
            }
        }
    }

    fn rule(&mut self, value: &Value, pointer: &str) -> Option<Rule> {
        if value.is_null() {
            self.refused(pointer, "a rule must not be null; it is skipped");
            return None;
        }
        if !value.is_object() {
            self.unreadable(pointer, "a rule must be a mapping");
            return None;
        }
        self.unknown_fields(value, pointer, &["from", "to", "when"]);
        let from = self.parts(value, pointer, "from", "source", &SOURCE);
        let to = self.parts(value, pointer, "to", "operation", &OPERATION);
        let mut when = Vec::new();
        let conditions = format!("{pointer}/when");
        for (index, condition) in self.list(value.get("when"), &conditions).iter().enumerate() {
            let at = format!("{conditions}/{index}");
            let key = condition.get("key").and_then(Value::as_str).unwrap_or_default();
            self.unknown_fields(condition, &at, &["key", "values", "notValues"]);
            let values = self.values(condition, &at, key, ("values", "notValues"));
            if values.values.is_empty() && values.not_values.is_empty() {
                self.refused(&at, "at least one of `values` and `notValues` must be set");
            }
            // Kept even when empty: an unknown key drops the whole rule.
            when.push(values);
        }
        Some(Rule { from, to, when })
    }

    fn parts(
        &mut self,
        rule: &Value,
        pointer: &str,
        list: &str,
        inner: &str,
        fields: &[(&str, &str)],
    ) -> Vec<Vec<Values>> {
        let pointer = format!("{pointer}/{list}");
        let known: Vec<&str> = fields.iter().flat_map(|(name, not)| [*name, *not]).collect();
        let items = self.list(rule.get(list), &pointer);
        if items.is_empty() && rule.get(list).is_some_and(|v| !v.is_null()) {
            self.refused(&pointer, format!("`{list}` must not be empty; it is as if it were not written"));
        }
        let mut parts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let at = format!("{pointer}/{index}/{inner}");
            self.unknown_fields(item, &format!("{pointer}/{index}"), &[inner]);
            let part = item.get(inner).unwrap_or(&Value::Null);
            if !part.is_null() && !part.is_object() {
                self.unreadable(&at, format!("`{inner}` must be a mapping"));
            }
            self.unknown_fields(part, &at, &known);
            let values: Vec<Values> = fields
                .iter()
                .map(|names| self.values(part, &at, names.0, *names))
                .filter(|values| !values.values.is_empty() || !values.not_values.is_empty())
                .collect();
            if values.is_empty() {
                self.refused(&at, format!("`{inner}` must not be empty; it matches everything"));
            }
            parts.push(values);
        }
        parts
    }

    fn values(&mut self, value: &Value, pointer: &str, field: &str, names: (&str, &str)) -> Values {
        let (at, not_at) = (format!("{pointer}/{}", names.0), format!("{pointer}/{}", names.1));
        Values {
            field: field.to_owned(),
            values: self.strings(value.get(names.0), &at),
            not_values: self.strings(value.get(names.1), &not_at),
            pointer: at,
            not_pointer: not_at,
        }
    }
}
