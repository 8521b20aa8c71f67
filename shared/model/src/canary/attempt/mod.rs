//! A canary that ends by itself: copies of the VirtualServices in force, with the new weights, in front of them.
//!
//! A VirtualService that is private to a namespace or exported to it by name comes before older ones that are
//! public (`SelectVirtualServices` in `pilot/pkg/model/virtualservice.go`), so the original is never touched. It
//! is not enough to know the rule: every caller is asked, in the World with the copies, whether it takes exactly
//! what it would take if the originals had the new weights.

mod copy;
mod same;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canary::carrier::{Carrier, carriers};
use crate::canary::history::Move;
use crate::canary::plan::{Moving, weights_only};
use crate::change::{Change, Edit, Mismatch};
use crate::fuse;
use crate::mesh_config::{list, strings};
use crate::object::{Kind, Object};
use crate::routing::Routing;
use crate::service::Service;
use crate::virtual_service::{Place, VirtualService};
use crate::world::World;

/// The annotation by which a copy is known.
pub const ANNOTATION: &str = "kubectl-mesh.dev/attempt";

/// Its JSON pointer.
const POINTER: &str = "/metadata/annotations/kubectl-mesh.dev~1attempt";

/// What a copy says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The service, as `NAMESPACE/NAME`.
    pub service: String,
    /// The VirtualService that it is a copy of, as `NAMESPACE/NAME`.
    pub of: String,
    /// The canary.
    pub canary: String,
    /// Its share in percent.
    pub percent: u32,
    /// The routes whose weights differ, by object (`NAMESPACE/NAME`; a delegate's are in the delegate) and JSON
    /// pointer.
    pub routes: BTreeMap<String, BTreeMap<String, Move>>,
}

/// What is attempted.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// The Service: copies stand in its namespace, beside the Job that they burn with.
    pub service: &'a Object,
    /// The canary.
    pub canary: &'a str,
    /// Its share in percent.
    pub percent: u32,
}

/// Why copies cannot stand in for the originals.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoAttempt {
    /// The routes have the weights already, or are in force for nobody.
    #[error("no route that is in force for anybody would change")]
    Nothing,
    /// The original is itself private, or exported by name.
    #[error(
        "nothing can come before VirtualService {virtual_service} for {callers}: its exportTo names namespaces, \
         and of such VirtualServices the oldest is taken"
    )]
    NotPublic {
        /// The original, as `NAMESPACE/NAME`.
        virtual_service: String,
        /// For whom.
        callers: String,
    },
    /// A caller would take something else than the same with the new weights.
    #[error("with a copy in front of it, {callers} would not take the same routes: {what}")]
    Differs {
        /// For whom.
        callers: String,
        /// What is different.
        what: String,
    },
    /// An object is not as it was read.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// The name of the Job of a service's attempt; `id` tells it from those before it.
#[must_use]
pub fn job_name(service: &str, id: &str) -> String {
    // A Job's name is a label of its pods, of up to 63 characters.
    let room = 63_usize.saturating_sub("-try-".len() + id.len());
    let short: String = service.chars().take(room).collect();
    format!("{short}-try-{id}")
}

/// The copies that give the canary its new weights, without an owner yet. `routing` is of a World without
/// copies.
///
/// # Errors
/// See [`NoAttempt`].
pub fn copies(
    routing: &Routing<'_>,
    carriers: &[Carrier<'_>],
    moving: &[Moving],
    purpose: Purpose<'_>,
) -> Result<Vec<Object>, NoAttempt> {
    let moves = moves(carriers, moving);
    let originals = originals(routing, carriers, &moves);
    if originals.is_empty() {
        return Err(NoAttempt::Nothing);
    }
    let wanted = routing.world().after(&weights_only(carriers, moving)?)?;
    let mut refused = None;
    // At gateways the routes of all VirtualServices join: where others of the same host stand before the original,
    // a copy of the whole of it would come before them.
    for only_moving in [false, true] {
        let copies = originals.iter().map(|(one, namespaces)| {
            let attempt = Attempt {
                service: purpose.service.key(),
                of: one.object.key(),
                canary: purpose.canary.to_owned(),
                percent: purpose.percent,
                routes: moves_of(one, &moves),
            };
            copy::of(one, namespaces, &attempt, &purpose.service.namespace, only_moving)
        });
        let copies: Vec<Object> = copies.collect();
        let changes: Vec<Change> = copies.iter().map(|copy| Change::Create(youngest(copy))).collect();
        let found = routing.world().after(&changes)?;
        let originals: Vec<&VirtualService> = originals.iter().map(|(one, _)| *one).collect();
        match same::difference(&wanted, &found, &originals) {
            None => return Ok(copies),
            Some(difference) => refused = refused.or(Some(difference)),
        }
    }
    Err(refused.unwrap_or(NoAttempt::Nothing))
}

/// The moves of all routes that differ, by object and JSON pointer.
type Moves = BTreeMap<String, BTreeMap<String, Move>>;

fn moves(carriers: &[Carrier<'_>], moving: &[Moving]) -> Moves {
    let mut moves = Moves::new();
    for one in moving.iter().filter(|one| one.from != one.to) {
        let Some(carrier) = carriers.get(one.carrier) else { continue };
        let place = &carrier.place;
        let moved = Move { from: one.from.clone(), to: one.to.clone() };
        moves.entry(place.object.key()).or_default().insert(place.pointer.clone(), moved);
    }
    moves
}

/// The moves of a VirtualService's routes, delegated ones too.
fn moves_of(one: &VirtualService, moves: &Moves) -> Moves {
    let mut found = Moves::new();
    for place in places(one) {
        let key = place.object.key();
        if let Some(moved) = moves.get(&key).and_then(|routes| routes.get(&place.pointer)) {
            found.entry(key).or_default().insert(place.pointer.clone(), moved.clone());
        }
    }
    found
}

fn places(one: &VirtualService) -> impl Iterator<Item = &Place> {
    let http = one.http.iter().map(|route| &route.place);
    http.chain(one.tls.iter().chain(&one.tcp).map(|route| &route.place))
}

/// The VirtualServices (of delegated routes the roots) by which a moving route is in force, with the
/// namespaces of the callers.
fn originals<'r>(
    routing: &'r Routing<'_>,
    carriers: &[Carrier<'_>],
    moves: &Moves,
) -> Vec<(&'r VirtualService, BTreeSet<String>)> {
    let all = routing.virtual_services.all().iter().map(|one| {
        let moved = moves_of(one, moves);
        let has =
            |place: &Place| moved.get(&place.object.key()).is_some_and(|r| r.contains_key(&place.pointer));
        let in_force =
            carriers.iter().filter(|carrier| has(&carrier.place)).flat_map(|carrier| &carrier.in_force);
        (one, in_force.map(|client| client.namespace.clone()).collect::<BTreeSet<String>>())
    });
    all.filter(|(_, namespaces)| !namespaces.is_empty()).collect()
}

/// The object as the server would make it now, for a World: it sorts after all others.
fn youngest(copy: &Object) -> Object {
    let mut copy = copy.clone();
    if let Some(metadata) = copy.value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("creationTimestamp".to_owned(), Value::from("9999-12-31T23:59:59Z"));
    }
    copy
}

/// An attempt that is under way, as the objects of a World show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// What is attempted; of several copies, with the routes of all.
    pub attempt: Attempt,
    /// The copies.
    pub copies: Vec<Object>,
}

impl Running {
    /// The names of the Jobs that take the copies with them: one, but for a change that was interrupted.
    #[must_use]
    pub fn jobs(&self) -> BTreeSet<&str> {
        self.copies.iter().filter_map(job_of).collect()
    }

    /// The copies that no Job takes with it: they stay until somebody deletes them.
    pub fn orphans(&self) -> impl Iterator<Item = &Object> {
        self.copies.iter().filter(|copy| job_of(copy).is_none())
    }
}

fn job_of(copy: &Object) -> Option<&str> {
    let owners = list(copy.get("/metadata/ownerReferences")).iter();
    let jobs = owners.filter(|owner| owner.get("kind").and_then(Value::as_str) == Some(Kind::Job.name()));
    jobs.filter_map(|owner| owner.get("name")?.as_str()).next()
}

/// What a VirtualService says of itself, if it is a copy of ours.
#[must_use]
pub fn read(object: &Object) -> Option<Attempt> {
    serde_json::from_str(object.get(POINTER)?.as_str()?).ok()
}

/// The attempt of a service (`NAMESPACE/NAME`), if one is under way.
#[must_use]
pub fn running(world: &World, service: &str) -> Option<Running> {
    let mut found: Option<Running> = None;
    for object in world.objects().iter().filter(|object| object.kind == Kind::VirtualService) {
        let Some(attempt) = read(object).filter(|attempt| attempt.service == service) else { continue };
        let copy = object.as_ref().clone();
        match &mut found {
            None => found = Some(Running { attempt, copies: vec![copy] }),
            Some(running) => {
                running.copies.push(copy);
                for (object, routes) in attempt.routes {
                    running.attempt.routes.entry(object).or_default().extend(routes);
                }
            }
        }
    }
    found
}

/// The World as it is when the attempt has ended.
///
/// # Errors
/// [`Mismatch`] if the copies are not of this World.
pub fn without(world: &World, running: &Running) -> Result<World, Mismatch> {
    let gone = running.copies.iter().map(|copy| Change::Delete { object: copy.clone(), propagation: None });
    world.after(&gone.collect::<Vec<_>>())
}

/// The changes that put copies in place, to burn with a Job: those that are there already are changed, the
/// others made. Without a Job's uid, as before it is made, they can only be shown.
///
/// # Errors
/// [`Mismatch`] if a copy that is there has no such fields.
pub fn changes(
    running: Option<&Running>,
    copies: Vec<Object>,
    job: &Object,
) -> Result<Vec<Change>, Mismatch> {
    let there =
        |copy: &Object| running.and_then(|running| running.copies.iter().find(|one| one.key() == copy.key()));
    let changes = copies.into_iter().map(|copy| {
        let copy = fuse::owned(copy, job);
        let Some(there) = there(&copy) else { return Ok(Change::Create(copy)) };
        let mut edit = Edit::of(there);
        for pointer in ["/spec", "/metadata/ownerReferences", POINTER] {
            let value = copy.get(pointer).cloned().unwrap_or_default();
            edit = edit.set(pointer, value)?;
        }
        Ok(Change::Patch(edit.patch()))
    });
    changes.collect()
}

/// Why an attempt is no longer what it was when it was made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stale {
    /// A route of it is not there any more, or has other destinations.
    #[error("VirtualService {object} has no such route any more: {pointer}")]
    Route {
        /// The original, as `NAMESPACE/NAME`.
        object: String,
        /// The JSON pointer of the route.
        pointer: String,
    },
    /// The original was changed: a copy of it would be another one now.
    #[error("VirtualService {original} was changed since: its copy {copy} differs at {pointer}")]
    Changed {
        /// The original, as `NAMESPACE/NAME`.
        original: String,
        /// The copy, as `NAMESPACE/NAME`.
        copy: String,
        /// The first field of the copy that would be another.
        pointer: String,
    },
    /// No copy could be made now.
    #[error(transparent)]
    Refused(#[from] NoAttempt),
}

/// The weights that the originals get when an attempt is kept. `carriers` are of the World without it.
///
/// # Errors
/// [`Stale::Route`].
pub fn kept(carriers: &[Carrier<'_>], attempt: &Attempt) -> Result<Vec<Moving>, Stale> {
    let mut found = Vec::new();
    for (object, routes) in &attempt.routes {
        for (pointer, moved) in routes {
            let is_it = |carrier: &&Carrier<'_>| {
                carrier.place.object.key() == *object && carrier.place.pointer == *pointer
            };
            let position = carriers.iter().position(|carrier| is_it(&carrier));
            let carrier = position.and_then(|number| Some((number, carriers.get(number)?)));
            let Some((number, carrier)) = carrier.filter(|(_, one)| one.destinations.len() == moved.to.len())
            else {
                return Err(Stale::Route { object: object.clone(), pointer: pointer.clone() });
            };
            found.push(Moving {
                carrier: number,
                from: carrier.weights(),
                to: moved.to.clone(),
                is_canary: vec![false; moved.to.len()],
            });
        }
    }
    Ok(found)
}

/// How an attempt stands: what is under way, and why it is not what it was, if so.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What is under way.
    pub running: Running,
    /// Why its copies are out of date; `None` while they are what they would be now.
    pub stale: Option<Stale>,
}

/// The standing of a service's attempt; `None` without one.
///
/// # Errors
/// None that happen: the copies are of this World.
pub fn standing(world: &World, service: &Service) -> Result<Option<Standing>, Mismatch> {
    let Some(running) = running(world, &service.object.key()) else { return Ok(None) };
    let without = without(world, &running)?;
    let stale = stale(&without, service, &running).err();
    Ok(Some(Standing { running, stale }))
}

fn stale(without: &World, service: &Service, running: &Running) -> Result<(), Stale> {
    let routing = Routing::new(without);
    let Some(host) = routing.registry.of(&service.host(), &service.object.namespace) else {
        return Err(NoAttempt::Nothing.into());
    };
    let carriers = carriers(&routing, host, &routing.callers());
    let attempt = &running.attempt;
    let moving = kept(&carriers, attempt)?;
    let purpose = Purpose { service: &service.object, canary: &attempt.canary, percent: attempt.percent };
    let fresh = copies(&routing, &carriers, &moving, purpose)?;
    for copy in &fresh {
        let there = running.copies.iter().find(|there| there.key() == copy.key());
        let difference = match there {
            None => Some("/spec".to_owned()),
            Some(there) => first_difference(there, copy),
        };
        if let Some(pointer) = difference {
            let original = read(copy).map(|attempt| attempt.of).unwrap_or_default();
            return Err(Stale::Changed { original, copy: copy.key(), pointer });
        }
    }
    Ok(())
}

/// The first field of a copy that would be another one now.
fn first_difference(there: &Object, now: &Object) -> Option<String> {
    let (mut is, mut should) = (spec(there), spec(now));
    // Callers may come and go: it matters only that all who are there are named.
    let named: BTreeSet<String> = strings(is.get("exportTo")).into_iter().collect();
    if strings(should.get("exportTo")).iter().all(|namespace| named.contains(namespace)) {
        for spec in [&mut is, &mut should] {
            spec.as_object_mut().map(|spec| spec.remove("exportTo"));
        }
    }
    differs("/spec".to_owned(), &is, &should)
}

fn spec(object: &Object) -> Value {
    object.get("/spec").cloned().unwrap_or_default()
}

/// The pointer of the first part in which two values differ.
fn differs(pointer: String, a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let none = Value::Null;
            let part =
                |map: &serde_json::Map<String, Value>, name: &String| map.get(name).unwrap_or(&none).clone();
            names
                .into_iter()
                .find_map(|name| differs(format!("{pointer}/{name}"), &part(a, name), &part(b, name)))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.into_iter().find_map(|(index, (a, b))| differs(format!("{pointer}/{index}"), a, b))
        }
        _ => (a != b).then_some(pointer),
    }
}
