//! What a shift changes: the weights of the routes that split between the canary and others, and the
//! annotation that tells of it. Nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::canary::carrier::Carrier;
use crate::canary::history::{History, Move, Step};
use crate::canary::version::Version;
use crate::canary::weights::{self, Refused};
use crate::change::{Change, Edit, Mismatch};
use crate::object::Object;

/// A route that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// Its position among the carriers.
    pub carrier: usize,
    /// The weights before.
    pub from: Vec<u32>,
    /// The weights after.
    pub to: Vec<u32>,
    /// Which of its destinations are the canary.
    pub is_canary: Vec<bool>,
}

/// Why a shift cannot be planned.
#[derive(Clone, Debug, PartialEq)]
pub enum NoPlan {
    /// No route splits between the canary and another version.
    NoSplit {
        /// The canary.
        canary: String,
        /// Routes that carry the service without a split, as `NS/NAME http[0]`.
        routes: Vec<String>,
    },
    /// No route has the name that the user said.
    NoSuchRoute {
        /// What the user said.
        name: String,
        /// What there is.
        routes: Vec<String>,
    },
    /// The routes give the canary different shares now, and nobody said which one to move.
    Ambiguous {
        /// The routes, with the canary's share in percent.
        routes: Vec<(String, Option<f64>)>,
    },
    /// The weights of a route cannot be worked out.
    Weights {
        /// The route.
        route: String,
        /// Why.
        why: Refused,
    },
    /// An object is not as it was read.
    Mismatch(Mismatch),
}

/// What a person calls a route: `NS/NAME http[0]`.
#[must_use]
pub fn label(carrier: &Carrier<'_>) -> String {
    format!("{} {}", carrier.place.object.key(), carrier.name)
}

/// Which routes move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// All that split, as long as they give the canary the same share now.
    #[default]
    Same,
    /// All that split, whatever they give it now.
    All,
    /// Those of these names: a route's name, `http[0]`, `NS/NAME`, or both with a space.
    Named(Vec<String>),
}

/// The routes that a shift to `percent` moves, and their new weights.
///
/// # Errors
/// See [`NoPlan`].
pub fn moving(
    carriers: &[Carrier<'_>],
    canary: &Version<'_>,
    percent: u32,
    wanted: &Wanted,
) -> Result<Vec<Moving>, NoPlan> {
    let is_canary = |carrier: &Carrier<'_>| -> Vec<bool> {
        carrier.destinations.iter().map(|destination| canary.is(destination)).collect()
    };
    let splits: Vec<(usize, &Carrier<'_>, Vec<bool>)> = carriers
        .iter()
        .enumerate()
        .map(|(number, carrier)| (number, carrier, is_canary(carrier)))
        .filter(|(_, _, is_canary)| is_canary.contains(&true) && is_canary.contains(&false))
        .collect();
    if splits.is_empty() {
        let routes = carriers.iter().map(label).collect();
        return Err(NoPlan::NoSplit { canary: canary.name.clone(), routes });
    }
    let chosen: Vec<&(usize, &Carrier<'_>, Vec<bool>)> = match wanted {
        Wanted::All => splits.iter().collect(),
        Wanted::Named(names) => {
            let means = |name: &String, carrier: &Carrier<'_>| {
                [
                    carrier.name.clone(),
                    carrier.place.object.key(),
                    carrier.place.object.name.clone(),
                    label(carrier),
                ]
                .contains(name)
            };
            let missing =
                names.iter().find(|name| !splits.iter().any(|(_, carrier, _)| means(name, carrier)));
            if let Some(name) = missing {
                let routes = splits.iter().map(|(_, carrier, _)| label(carrier)).collect();
                return Err(NoPlan::NoSuchRoute { name: name.clone(), routes });
            }
            splits.iter().filter(|(_, carrier, _)| names.iter().any(|name| means(name, carrier))).collect()
        }
        Wanted::Same => {
            let shares: Vec<Option<f64>> = splits
                .iter()
                .map(|(_, carrier, is_canary)| weights::percent(&carrier.weights(), is_canary))
                .collect();
            // Rounded shares of different totals are the same in the eyes of whoever set them.
            let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() < 1.0,
                (a, b) => a.is_none() && b.is_none(),
            };
            let first = shares.first().copied().flatten();
            if !shares.iter().all(|share| close(*share, first)) {
                let routes =
                    splits.iter().zip(&shares).map(|((_, carrier, _), share)| (label(carrier), *share));
                return Err(NoPlan::Ambiguous { routes: routes.collect() });
            }
            splits.iter().collect()
        }
    };
    chosen
        .into_iter()
        .map(|(number, carrier, is_canary)| {
            let from = carrier.weights();
            let before = History::of(&carrier.place.object).ratio_of(&carrier.place.pointer, is_canary);
            let to = weights::shifted(&from, is_canary, percent, before.as_deref())
                .map_err(|why| NoPlan::Weights { route: label(carrier), why })?;
            Ok(Moving { carrier: *number, from, to, is_canary: is_canary.clone() })
        })
        .collect()
}

/// Who asks for a step, and when: what the history tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occasion {
    /// The same for all objects that move together.
    pub id: String,
    /// `set`, `promote`, `abort`, `undo`, `run`.
    pub command: String,
    /// When, as RFC 3339 in UTC.
    pub at: String,
    /// Who; empty where unknown.
    pub by: String,
    /// Why, in the user's words.
    pub reason: String,
    /// All objects of the step (`NAMESPACE/NAME`), where it goes on with some only: it was interrupted, or an
    /// object was changed by somebody else meanwhile. Else empty.
    pub together: Vec<String>,
    /// What is noted on the objects beside the step: annotations, those to take away without a value.
    pub notes: BTreeMap<&'static str, Option<String>>,
}

/// The routes of one object that move, by JSON pointer.
type Moves = Vec<(String, Move)>;

/// The changes of a shift: one patch for each object, with the weights that differ and the annotation.
/// Objects none of whose weights differ are left alone.
///
/// # Errors
/// [`Mismatch`] where an object has no such weights.
pub fn changes(
    carriers: &[Carrier<'_>],
    canary: &str,
    percent: u32,
    moving: &[Moving],
    occasion: &Occasion,
) -> Result<Vec<Change>, Mismatch> {
    let mut objects: BTreeMap<String, (Arc<Object>, Moves)> = BTreeMap::new();
    for one in moving.iter().filter(|one| one.from != one.to) {
        let Some(carrier) = carriers.get(one.carrier) else { continue };
        let object = &carrier.place.object;
        let entry = objects.entry(object.key()).or_insert_with(|| (Arc::clone(object), Vec::new()));
        entry.1.push((carrier.place.pointer.clone(), Move { from: one.from.clone(), to: one.to.clone() }));
    }
    let mut together: BTreeSet<String> = occasion.together.iter().cloned().collect();
    together.extend(objects.keys().cloned());
    let together: Vec<String> = if together.len() > 1 { together.into_iter().collect() } else { Vec::new() };
    objects
        .values()
        .map(|(object, routes)| {
            let step = Step {
                id: occasion.id.clone(),
                command: occasion.command.clone(),
                at: occasion.at.clone(),
                by: occasion.by.clone(),
                canary: canary.to_owned(),
                percent,
                routes: routes.iter().cloned().collect(),
                together: together.clone(),
                reason: occasion.reason.clone(),
            };
            patch(object, routes, History::of(object).with(step), &occasion.notes).map(Change::Patch)
        })
        .collect()
}

/// The changes of a shift in manifests: the weights alone, because git keeps their history.
///
/// # Errors
/// [`Mismatch`] where an object has no such weights.
pub fn weights_only(carriers: &[Carrier<'_>], moving: &[Moving]) -> Result<Vec<Change>, Mismatch> {
    let mut objects: BTreeMap<String, Edit> = BTreeMap::new();
    for one in moving.iter().filter(|one| one.from != one.to) {
        let Some(carrier) = carriers.get(one.carrier) else { continue };
        let object = &carrier.place.object;
        let edit = objects.remove(&object.key()).unwrap_or_else(|| Edit::of(object));
        let moved = Move { from: one.from.clone(), to: one.to.clone() };
        objects.insert(object.key(), weigh(edit, &carrier.place.pointer, &moved)?);
    }
    Ok(objects.into_values().map(|edit| Change::Patch(edit.patch())).collect())
}

fn patch(
    object: &Object,
    routes: &[(String, Move)],
    history: History,
    notes: &BTreeMap<&'static str, Option<String>>,
) -> Result<crate::change::Patch, Mismatch> {
    let mut edit = Edit::of(object);
    for (name, text) in notes {
        let pointer = format!("/metadata/annotations/{}", name.replace('/', "~1"));
        edit = match text {
            Some(text) => edit.set(&pointer, Value::from(text.as_str()))?,
            None if object.get(&pointer).is_some() => edit.remove(&pointer)?,
            None => edit,
        };
    }
    for (pointer, one) in routes {
        edit = weigh(edit, pointer, one)?;
    }
    // Plain data always has a text.
    let text = history.to_text().unwrap_or_default();
    Ok(edit.set(&History::pointer(), Value::from(text))?.patch())
}

/// Gives a route's destinations the weights that differ.
fn weigh(mut edit: Edit, pointer: &str, one: &Move) -> Result<Edit, Mismatch> {
    for (at, (from, to)) in one.from.iter().zip(&one.to).enumerate() {
        if from != to {
            edit = edit.set(&format!("{pointer}/route/{at}/weight"), Value::from(*to))?;
        }
    }
    Ok(edit)
}

/// Why a step cannot be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoUndo {
    /// There is no step.
    Nothing,
    /// Somebody changed the weights after the step.
    ChangedSince {
        /// The object.
        object: String,
        /// The route.
        pointer: String,
        /// What the step left.
        left: Vec<u32>,
        /// What is there.
        found: Vec<u32>,
    },
}

/// The last step of the routes' objects: of all that moved together in it.
#[must_use]
pub fn last_step(carriers: &[Carrier<'_>]) -> Option<Step> {
    let steps = carriers.iter().filter_map(|carrier| History::of(&carrier.place.object).last().cloned());
    steps.max_by(|a, b| (&a.at, &a.id).cmp(&(&b.at, &b.id)))
}

/// The routes that take back a step: each to the weights that it had before.
///
/// # Errors
/// See [`NoUndo`].
pub fn undoing(carriers: &[Carrier<'_>], step: &Step) -> Result<Vec<Moving>, NoUndo> {
    let mut found = Vec::new();
    for (number, carrier) in carriers.iter().enumerate() {
        let history = History::of(&carrier.place.object);
        let Some(last) = history.steps.iter().rev().find(|other| other.id == step.id) else { continue };
        let Some(one) = last.routes.get(&carrier.place.pointer) else { continue };
        let now = carrier.weights();
        if now == one.from {
            continue;
        }
        if now != one.to {
            return Err(NoUndo::ChangedSince {
                object: carrier.place.object.key(),
                pointer: carrier.place.pointer.clone(),
                left: one.to.clone(),
                found: now,
            });
        }
        let is_canary = vec![false; now.len()];
        found.push(Moving { carrier: number, from: now, to: one.from.clone(), is_canary });
    }
    if found.is_empty() { Err(NoUndo::Nothing) } else { Ok(found) }
}

/// The objects that a step of several has not reached: it was interrupted. `kubectl mesh-canary ... --resume`
/// finishes it.
#[must_use]
pub fn unreached(carriers: &[Carrier<'_>], step: &Step) -> Vec<String> {
    let reached: BTreeSet<String> = carriers
        .iter()
        .filter(|carrier| History::of(&carrier.place.object).steps.iter().any(|other| other.id == step.id))
        .map(|carrier| carrier.place.object.key())
        .collect();
    step.together.iter().filter(|object| !reached.contains(*object)).cloned().collect()
}
