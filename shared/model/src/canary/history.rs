//! What was done to an object, kept on it: one annotation with the last steps.
//!
//! `undo` goes by it, `history` shows it, `--resume` finishes what it says was begun. What is in force is never
//! read from here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::object::Object;

/// The annotation. Its key has no `istio.io` in it: such keys make istiod push to all proxies
/// (`NeedsPush` in `pilot/pkg/model/config_compare.go`).
pub const ANNOTATION: &str = "kubectl-mesh.dev/canary";

/// How many steps are kept.
const KEPT: usize = 10;

/// What one step did to one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The weights before, in the order of the destinations.
    pub from: Vec<u32>,
    /// The weights after.
    pub to: Vec<u32>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The same for all objects that moved together.
    pub id: String,
    /// What was asked: `set`, `promote`, `abort`, `undo`, `run`.
    pub command: String,
    /// When, as RFC 3339 in UTC.
    pub at: String,
    /// Who, as the API server knows them; empty where it was not asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The canary.
    pub canary: String,
    /// The share that the canary got, in percent.
    pub percent: u32,
    /// The routes of this object, by JSON pointer.
    pub routes: BTreeMap<String, Move>,
    /// All objects of the step (`NAMESPACE/NAME`), where there is more than this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<String>,
    /// Why, in the user's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The steps of an object, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The canary of the shift that is under way; none between shifts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// The last steps.
    #[serde(default)]
    pub steps: Vec<Step>,
}

impl History {
    /// Of an object; empty where it has none, or one that cannot be read.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        let pointer = format!("/metadata/annotations/{}", ANNOTATION.replace('/', "~1"));
        let text = object.get(&pointer).and_then(serde_json::Value::as_str);
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// The JSON pointer of the annotation.
    #[must_use]
    pub fn pointer() -> String {
        format!("/metadata/annotations/{}", ANNOTATION.replace('/', "~1"))
    }

    /// With one more step; the oldest fall off. A shift ends with 0 or 100 percent.
    #[must_use]
    pub fn with(mut self, step: Step) -> Self {
        self.canary = (step.percent > 0 && step.percent < 100).then(|| step.canary.clone());
        self.steps.push(step);
        let surplus = self.steps.len().saturating_sub(KEPT);
        self.steps.drain(..surplus);
        self
    }

    /// The last step.
    #[must_use]
    pub fn last(&self) -> Option<&Step> {
        self.steps.last()
    }

    /// The weights that a route last had when all of its destinations but the canary had any: by their ratio
    /// the others share again.
    #[must_use]
    pub fn ratio_of(&self, pointer: &str, is_canary: &[bool]) -> Option<Vec<u32>> {
        self.steps.iter().rev().filter_map(|step| step.routes.get(pointer)).find_map(|one| {
            let has_others =
                one.from.iter().zip(is_canary).any(|(weight, is_canary)| !is_canary && *weight > 0);
            (has_others && one.from.len() == is_canary.len()).then(|| one.from.clone())
        })
    }

    /// As the annotation's value.
    ///
    /// # Errors
    /// None that happen: it is plain data.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}
