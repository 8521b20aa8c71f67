//! The plan of a run, kept on the routes' objects while it lasts: what `run --resume` goes on with, also after
//! the tool was killed.
//!
//! Which step it is at is told by the object's [`History`], and not repeated here. The
//! weights from before are: a failed gate puts them back, also after more steps than the history keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::canary::carrier::Carrier;
use crate::canary::history::History;
use crate::canary::plan::Moving;
use crate::canary::version::Version;
use crate::object::Object;

/// The annotation.
pub const ANNOTATION: &str = "kubectl-mesh.dev/canary-run";

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// When it began, as RFC 3339 in UTC; tells runs apart.
    pub id: String,
    /// The service, as `NAMESPACE/NAME`.
    pub service: String,
    /// The canary.
    pub canary: String,
    /// Its shares in percent.
    pub steps: Vec<u32>,
    /// The weights before the run, by object (`NAMESPACE/NAME`) and pointer of the route.
    pub before: BTreeMap<String, BTreeMap<String, Vec<u32>>>,
    /// The limits and times, as they were typed; opaque here.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub limits: serde_json::Value,
}

impl Run {
    /// The run that an object tells of.
    #[must_use]
    pub fn of(object: &Object) -> Option<Self> {
        let text = object.get(&Self::pointer()).and_then(serde_json::Value::as_str)?;
        serde_json::from_str(text).ok()
    }

    /// The run that the routes of a service tell of: the youngest.
    #[must_use]
    pub fn of_all(carriers: &[Carrier<'_>]) -> Option<Self> {
        let runs = carriers.iter().filter_map(|carrier| Self::of(&carrier.place.object));
        runs.max_by(|one, other| one.id.cmp(&other.id))
    }

    /// The JSON pointer of the annotation.
    #[must_use]
    pub fn pointer() -> String {
        format!("/metadata/annotations/{}", ANNOTATION.replace('/', "~1"))
    }

    /// The weights of the routes that a run moves.
    #[must_use]
    pub fn weights(
        carriers: &[Carrier<'_>],
        moving: &[Moving],
    ) -> BTreeMap<String, BTreeMap<String, Vec<u32>>> {
        let mut before: BTreeMap<String, BTreeMap<String, Vec<u32>>> = BTreeMap::new();
        for one in moving {
            let Some(carrier) = carriers.get(one.carrier) else { continue };
            let routes = before.entry(carrier.place.object.key()).or_default();
            routes.insert(carrier.place.pointer.clone(), carrier.weights());
        }
        before
    }

    /// The routes that go back to the weights before the run.
    #[must_use]
    pub fn back(&self, carriers: &[Carrier<'_>], canary: &Version<'_>) -> Vec<Moving> {
        let routes = carriers.iter().enumerate().filter_map(|(number, carrier)| {
            let to = self.before.get(&carrier.place.object.key())?.get(&carrier.place.pointer)?;
            let from = carrier.weights();
            let is_canary = carrier.destinations.iter().map(|destination| canary.is(destination)).collect();
            (from.len() == to.len()).then(|| Moving { carrier: number, from, to: to.clone(), is_canary })
        });
        routes.collect()
    }

    /// The routes whose weights are not what the last step left: somebody else changed them, or they are gone.
    #[must_use]
    pub fn changed(&self, carriers: &[Carrier<'_>]) -> Vec<String> {
        let mut found = Vec::new();
        for (object, routes) in &self.before {
            for (pointer, before) in routes {
                let carrier = carriers.iter().find(|carrier| {
                    carrier.place.object.key() == *object && carrier.place.pointer == *pointer
                });
                let Some(carrier) = carrier else {
                    found.push(format!("{object} {pointer}: gone"));
                    continue;
                };
                let history = History::of(&carrier.place.object);
                let left = history.steps.iter().rev().find_map(|step| step.routes.get(pointer));
                let left = left.map_or(before, |one| &one.to);
                let now = carrier.weights();
                if now != *left {
                    let list =
                        |weights: &[u32]| weights.iter().map(u32::to_string).collect::<Vec<_>>().join("/");
                    found.push(format!("{object} {pointer}: {}, and not {}", list(&now), list(left)));
                }
            }
        }
        found
    }

    /// The steps that are done or under way, by the objects' histories: the position of the one it is at;
    /// `None` before the first.
    #[must_use]
    pub fn at(&self, carriers: &[Carrier<'_>]) -> Option<usize> {
        let last = crate::canary::plan::last_step(carriers)?;
        let is_own = last.command == "run" && last.at >= self.id && last.canary == self.canary;
        is_own.then(|| self.steps.iter().position(|step| *step == last.percent)).flatten()
    }

    /// Another command since the run began, which ended it.
    #[must_use]
    pub fn ended_by(&self, carriers: &[Carrier<'_>]) -> Option<(String, String)> {
        let last = crate::canary::plan::last_step(carriers)?;
        (last.command != "run" && last.at >= self.id).then_some((last.command, last.at))
    }
}
