//! Which DestinationRule a caller's proxy goes by for a host, and what it is merged of.
//!
//! Rules: `setDestinationRules` and `destinationRule` in `pilot/pkg/model/push_context.go`,
//! `mergeDestinationRule` in `pilot/pkg/model/destination_rule.go`, `SidecarScope.DestinationRule`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::host;
use crate::labels::{Labels, Selector, labels};
use crate::mesh_config::list;
use crate::object::Object;
use crate::virtual_service::Place;
use crate::world::World;

/// A subset, as the rule that a caller goes by defines it.
#[derive(Clone, Debug)]
pub struct Subset {
    /// `name`.
    pub name: String,
    /// `labels`: those of the pods.
    pub labels: Labels,
    /// Where it stands.
    pub place: Place,
}

/// DestinationRules of one namespace for one host, merged.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The host, perhaps with a leading wildcard.
    pub host: String,
    /// What it is merged of; the first names it in the proxy.
    pub from: Vec<Arc<Object>>,
    /// The subsets of all of them; of several with one name, the oldest rule's.
    pub subsets: Vec<Subset>,
    /// The `trafficPolicy` of the oldest rule that has one.
    pub policy: Option<Place>,
    selector: Option<Selector>,
    export_to: BTreeSet<String>,
}

impl Rule {
    /// `namespace/name` of the rule that gives it its name.
    #[must_use]
    pub fn key(&self) -> String {
        self.from.first().map(|object| object.key()).unwrap_or_default()
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.from.first().map_or("", |object| object.namespace.as_str())
    }

    /// The subset of a name.
    #[must_use]
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| subset.name == name)
    }

    /// A setting of the traffic policy for a port: a port's settings replace the host's
    /// (`GetPortLevelTrafficPolicy`).
    #[must_use]
    pub fn setting(&self, port: u16, name: &str) -> Option<&Value> {
        let place = self.policy.as_ref()?;
        setting(place.object.get(&place.pointer)?, port, name)
    }
}

/// A setting of a `trafficPolicy` for a port.
pub(crate) fn setting<'v>(policy: &'v Value, port: u16, name: &str) -> Option<&'v Value> {
    let of_port = list(policy.get("portLevelSettings"))
        .iter()
        .find(|level| level.pointer("/port/number").and_then(Value::as_u64) == Some(u64::from(port)));
    of_port.unwrap_or(policy).get(name).filter(|value| !value.is_null())
}

/// By host.
type Merged = BTreeMap<String, Vec<Rule>>;

/// All DestinationRules, as istiod looks them up.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    root_namespace: String,
    local: BTreeMap<String, Merged>,
    exported: BTreeMap<String, Merged>,
    root_local: Merged,
}

impl Rules {
    /// The rules of a World.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let mut rules = Self { root_namespace: world.mesh.root_namespace.clone(), ..Self::default() };
        let default_is_private =
            world.mesh.default_destination_rule_export_to.iter().any(|export_to| export_to == ".");
        let has_selector = |object: &Object| {
            object.get("/spec/workloadSelector").is_some_and(|selector| !selector.is_null())
        };
        let mut all: Vec<_> = world.destination_rules.iter().collect();
        // Those for a selection of callers come first; the World has sorted them by age.
        all.sort_by_key(|rule| !has_selector(&rule.object));
        for rule in all {
            let namespace = &rule.object.namespace;
            let selector = has_selector(&rule.object).then(|| rule.workload_selector.clone());
            let export_to: BTreeSet<String> = match &selector {
                Some(_) => BTreeSet::from([".".to_owned()]),
                None => rule.export_to.iter().flatten().cloned().collect(),
            };
            let has = |name: &str| export_to.contains(name);
            let one = Rule {
                host: rule.host.clone(),
                from: vec![Arc::clone(&rule.object)],
                subsets: subsets(&rule.object),
                policy: rule.object.get("/spec/trafficPolicy").filter(|policy| !policy.is_null()).map(|_| {
                    Place { object: Arc::clone(&rule.object), pointer: "/spec/trafficPolicy".to_owned() }
                }),
                selector,
                export_to: export_to.clone(),
            };
            if export_to.is_empty() || has("*") || has(".") || has(namespace) {
                merge(rules.local.entry(namespace.clone()).or_default(), one.clone());
            }
            let is_private = (export_to.is_empty() && default_is_private)
                || (export_to.len() == 1 && (has(".") || has(namespace)));
            if !is_private {
                merge(rules.exported.entry(namespace.clone()).or_default(), one);
            } else if *namespace == rules.root_namespace {
                merge(&mut rules.root_local, one);
            }
        }
        rules
    }

    /// The rule of a caller for a host of a namespace: of the caller's namespace, then the host's, then
    /// the root namespace; in each the most specific host.
    #[must_use]
    pub fn of(&self, caller: &str, labels: &Labels, name: &str, owner: &str) -> Option<&Rule> {
        let candidates = self.candidates(caller, name, owner);
        let mut for_all = None;
        for rule in candidates {
            match &rule.selector {
                None => for_all = Some(rule),
                Some(selector) if rule.namespace() == caller && selector.selects(labels) => {
                    return Some(rule);
                }
                Some(_) => {}
            }
        }
        for_all
    }

    /// The rules that hide others from a caller although they lack what those define: of the tiers behind
    /// the one that is taken.
    #[must_use]
    pub fn hidden(&self, caller: &str, labels: &Labels, name: &str, owner: &str) -> Vec<&Rule> {
        let taken: Vec<String> = self
            .of(caller, labels, name, owner)
            .iter()
            .flat_map(|rule| rule.from.iter())
            .map(|o| o.key())
            .collect();
        let tiers =
            [self.local.get(caller), self.exported.get(owner), self.exported.get(&self.root_namespace)];
        let all = tiers.into_iter().flatten().flat_map(|merged| {
            merged.iter().filter(|(rule, _)| host::is_within(name, rule)).flat_map(|(_, rules)| rules)
        });
        let mut seen = BTreeSet::new();
        all.filter(|rule| !taken.contains(&rule.key()) && seen.insert(rule.key())).collect()
    }

    fn candidates(&self, caller: &str, name: &str, owner: &str) -> Vec<&Rule> {
        let local =
            if caller == self.root_namespace { Some(&self.root_local) } else { self.local.get(caller) };
        if let Some(rules) = local.and_then(|merged| find(merged, name)) {
            return rules.iter().collect();
        }
        for tier in [owner, &self.root_namespace] {
            let Some(rules) = self.exported.get(tier).and_then(|merged| find(merged, name)) else { continue };
            let visible: Vec<&Rule> = rules
                .iter()
                .filter(|rule| {
                    rule.export_to.is_empty()
                        || rule.export_to.contains("*")
                        || rule.export_to.contains(caller)
                })
                .collect();
            if !visible.is_empty() {
                return visible;
            }
        }
        Vec::new()
    }
}

fn find<'m>(merged: &'m Merged, name: &str) -> Option<&'m Vec<Rule>> {
    let host = host::most_specific(name, merged.keys().map(String::as_str))?;
    merged.get(host)
}

fn subsets(object: &Arc<Object>) -> Vec<Subset> {
    let entries = list(object.get("/spec/subsets")).iter().enumerate();
    entries
        .map(|(index, subset)| Subset {
            name: subset.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            labels: labels(subset.get("labels")),
            place: Place { object: Arc::clone(object), pointer: format!("/spec/subsets/{index}") },
        })
        .collect()
}

/// Adds a rule to those of its host: into each that is for the same callers and namespaces, and by itself
/// where there is none.
fn merge(merged: &mut Merged, new: Rule) {
    let rules = merged.entry(new.host.clone()).or_default();
    let mut separate = true;
    for old in rules.iter_mut() {
        if new.export_to == old.export_to {
            separate = false;
        } else if !old.export_to.is_empty() && new.export_to.is_superset(&old.export_to) {
            separate = true;
        } else {
            separate = true;
            continue;
        }
        match (&old.selector, &new.selector) {
            (Some(old), Some(new)) if old != new => {
                separate = true;
                continue;
            }
            (Some(_), Some(_)) | (None, None) => separate = false,
            _ => {}
        }
        old.from.extend(new.from.iter().cloned());
        for subset in &new.subsets {
            if old.subset(&subset.name).is_none() {
                old.subsets.push(subset.clone());
            }
        }
        if old.policy.is_none() {
            old.policy.clone_from(&new.policy);
        }
    }
    if separate {
        rules.push(new);
    }
}
