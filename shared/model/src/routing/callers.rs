//! Callers that are alike for routing, so that each kind is asked once.

use std::collections::{BTreeMap, BTreeSet};

use crate::labels::Labels;
use crate::routing::{Proxy, Routing};
use crate::workload::Workload;

/// Workloads whose proxies get the same routes.
#[derive(Clone, Debug)]
pub struct Callers<'w> {
    /// One of them.
    pub workload: &'w Workload,
    /// The names of all, in order.
    pub names: Vec<&'w str>,
    /// How many proxies run.
    pub proxies: usize,
}

impl<'w> Routing<'w> {
    /// All callers with a proxy, those together whom no rule tells apart: by namespace, by the Sidecar object
    /// that they go by, and by the labels that any rule asks callers for. Gateways stand alone.
    #[must_use]
    pub fn callers(&self) -> Vec<Callers<'w>> {
        let asked = self.labels_of_callers();
        let mut groups: BTreeMap<(&str, Option<String>, String, Labels), Callers<'w>> = BTreeMap::new();
        for workload in &self.world().workloads {
            if !workload.injection.injected && !workload.is_gateway {
                continue;
            }
            let sidecar = self.world().sidecar_of(workload).map(|sidecar| sidecar.object.key());
            let gateway = if workload.is_gateway { workload.name.clone() } else { String::new() };
            let labels = workload.labels.iter().filter(|(name, _)| asked.contains(name.as_str()));
            let labels = labels.map(|(name, value)| (name.clone(), value.clone())).collect();
            let key = (workload.namespace.as_str(), sidecar, gateway, labels);
            let group =
                groups.entry(key).or_insert_with(|| Callers { workload, names: Vec::new(), proxies: 0 });
            group.names.push(&workload.name);
            group.proxies += workload.pods.len();
        }
        groups.into_values().collect()
    }

    /// The proxy that stands for callers which are alike.
    #[must_use]
    pub fn proxy_of(&self, callers: &Callers<'w>) -> Proxy<'_, 'w> {
        self.proxy(callers.workload)
    }

    /// The labels by which VirtualServices and DestinationRules tell callers apart.
    fn labels_of_callers(&self) -> BTreeSet<&str> {
        let mut asked: BTreeSet<&str> = BTreeSet::new();
        for one in self.virtual_services.all() {
            let http = one.http.iter().flat_map(|route| &route.matches).map(|matches| &matches.caller);
            let other = one
                .tls
                .iter()
                .chain(&one.tcp)
                .flat_map(|route| &route.matches)
                .map(|matches| &matches.caller);
            asked.extend(http.chain(other).flat_map(|caller| caller.labels.keys()).map(String::as_str));
        }
        let rules = self.world().destination_rules.iter();
        asked.extend(rules.flat_map(|rule| rule.workload_selector.labels().keys()).map(String::as_str));
        asked
    }
}
