//! One shift: planned on what is there, looked at before it is made, written, and proven.

use std::cell::{OnceCell, RefCell};
use std::time::SystemTime;

use mesh_cli::confirm;
use mesh_cli::dry_run::{DryRun, DryRunArgs};
use mesh_cli::interrupt::Interrupts;
use mesh_cli::output::{self, Output};
use mesh_cli::text::{dim, plain, strong};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::canary::attempt::{self as model, Running, Standing};
use mesh_model::canary::carrier::Carrier;
use mesh_model::canary::history::Step;
use mesh_model::canary::plan::{self, Moving, NoPlan, NoUndo, Occasion, Wanted, label};
use mesh_model::canary::proof;
use mesh_model::canary::version::Version;
use mesh_model::change::Change;
use mesh_model::managed_fields::last_other;
use mesh_model::object::Object;
use mesh_model::routing::{KINDS, Routing};
use mesh_model::world::Assumption;
use mesh_source::cluster::FIELD_MANAGER;
use serde::Serialize;

use crate::apply::{self, How, Sink, Written};
use crate::attempt::{in_front, is_in_front};
use crate::preflight;
use crate::proof::{Proof, ProofArgs, Reverted};
use crate::subject::{Subject, because};

/// What all commands that move weights have in common.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ShiftArgs {
    /// Which version is the canary: a subset, or a host of its own.
    #[arg(long, value_name = "SUBSET")]
    pub(crate) canary: Option<String>,
    /// Only this route: its name, `http[0]`, or `NAMESPACE/NAME` of its VirtualService; may be repeated.
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: Vec<String>,
    /// All routes, also where they give the canary different shares now.
    #[arg(long, conflicts_with = "route")]
    pub(crate) all_routes: bool,
    /// Shift even where callers would get 503.
    #[arg(long)]
    pub(crate) force: bool,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) proof: ProofArgs,
    #[command(flatten)]
    pub(crate) dry_run: DryRunArgs,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Name]))]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// Works out the weights of routes by itself; the canary is that of [`Order::canary`], or of the last step.
pub(crate) type Weigh<'a> = &'a dyn Fn(&[Carrier<'_>], &Version<'_>) -> Vec<Moving>;

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Goal<'a> {
    /// The canary gets this share, in percent.
    Percent(u32),
    /// The weights before the last step.
    Back,
    /// What an interrupted step has not reached.
    Rest,
    /// Weights that a run knows.
    Weights(Weigh<'a>),
    /// Those of an attempt that is under way: planned on the World without it.
    Kept(&'a Running),
}

/// A shift that is asked for.
#[derive(Clone)]
pub(crate) struct Order<'a> {
    /// What the user calls the service.
    pub(crate) service: &'a str,
    /// The command, for the history.
    pub(crate) command: &'a str,
    /// Where the weights shall be.
    pub(crate) goal: Goal<'a>,
    /// The canary that the user named.
    pub(crate) canary: Option<&'a str>,
    /// Which routes.
    pub(crate) routes: Wanted,
    /// Whether it is made even where callers would get 503.
    pub(crate) force: bool,
    /// Why, for the history.
    pub(crate) reason: &'a str,
    /// What is noted on the objects beside the step, as in [`Occasion::notes`].
    pub(crate) notes: &'a [(&'static str, Option<String>)],
}

/// How shifts are made, all of a command in the same way.
pub(crate) struct Shifts<'a> {
    /// Where it is told.
    pub(crate) ui: &'a Ui,
    /// Where the World comes from, each time anew.
    pub(crate) source: &'a SourceArgs,
    /// Where the changes go.
    pub(crate) sink: &'a Sink,
    /// How they are written.
    pub(crate) how: How,
    /// How they are proven.
    pub(crate) proof: ProofArgs,
    /// Ctrl-C, from the first write on: what is begun is written to its end.
    pub(crate) interrupts: OnceCell<RefCell<Interrupts>>,
}

/// What became of an order.
pub(crate) enum Made {
    /// The weights of this service are so already.
    Already(String),
    /// Callers would get 503; nothing was written.
    Refused {
        /// The service, as `NAMESPACE/NAME`.
        service: String,
        /// Who, and why.
        refusals: Vec<String>,
    },
    /// It is written.
    Done(Box<Shifted>),
}

/// What was moved, as programs see it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Shifted {
    /// The service, as `NAMESPACE/NAME`.
    pub(crate) service: String,
    /// The canary.
    pub(crate) canary: Option<String>,
    /// Its share, in percent.
    pub(crate) percent: Option<u32>,
    /// The routes that moved.
    pub(crate) routes: Vec<Moved>,
    /// Who would get 503, and why: nothing was moved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) refusals: Vec<String>,
    /// What could change the preflight's answer, and cannot be known.
    pub(crate) assumptions: Vec<Assumed>,
    /// What the proxies say; absent where they were not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<Proof>,
}

/// Something that could not be known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Assumed {
    /// Its stable code; docs/doctor.md explains them.
    code: &'static str,
    /// What is assumed.
    text: String,
}

impl Assumed {
    /// Says it.
    pub(crate) fn say(&self, ui: &Ui) {
        mesh_cli::words::assumptions(ui, &[Assumption { code: self.code, text: self.text.clone() }]);
    }
}

impl From<Assumption> for Assumed {
    fn from(assumption: Assumption) -> Self {
        Self { code: assumption.code, text: assumption.text }
    }
}

/// A route that moved.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Moved {
    /// What a person calls it.
    pub(crate) route: String,
    /// Where it stands.
    pub(crate) at: String,
    /// The weights before.
    pub(crate) from: Vec<u32>,
    /// The weights after.
    pub(crate) to: Vec<u32>,
}

impl ShiftArgs {
    /// Makes a shift and says what became of it.
    pub(crate) fn shift(
        &self,
        ui: &Ui,
        command: &str,
        service: &str,
        goal: Goal<'_>,
    ) -> Result<Exit, Failure> {
        let sink = Sink::open(&self.source)?;
        let shifts = self.shifts(ui, &sink);
        match shifts.make_unless_tried(&self.order(command, service, goal))? {
            Ok(made) => self.tell(ui, made),
            Err(standing) => in_front(self, &shifts, command, service, &standing),
        }
    }

    /// How these arguments want shifts to be made.
    pub(crate) fn shifts<'a>(&'a self, ui: &'a Ui, sink: &'a Sink) -> Shifts<'a> {
        let is_table = matches!(self.output, Output::Table | Output::Wide);
        let objects_wanted = self.dry_run.dry_run != DryRun::None;
        let how = How {
            dry_run: self.dry_run.dry_run,
            // Without a dry run, programs get what was moved instead of objects.
            output: if objects_wanted || is_table { self.output } else { Output::Table },
            quiet: !is_table,
        };
        Shifts { ui, source: &self.source, sink, how, proof: self.proof, interrupts: OnceCell::new() }
    }

    /// The shift that these arguments ask for.
    pub(crate) fn order<'a>(&'a self, command: &'a str, service: &'a str, goal: Goal<'a>) -> Order<'a> {
        Order {
            service,
            command,
            goal,
            canary: self.canary.as_deref(),
            routes: self.wanted(),
            force: self.force,
            reason: &self.reason,
            notes: &[],
        }
    }

    /// Says what became of a shift.
    pub(crate) fn tell(&self, ui: &Ui, made: Made) -> Result<Exit, Failure> {
        let is_table = matches!(self.output, Output::Table | Output::Wide);
        let objects_wanted = self.dry_run.dry_run != DryRun::None;
        let shifted = match made {
            Made::Refused { service, refusals } if is_table => {
                let what = format!("these callers' requests to {service} would be answered with 503");
                preflight::say(ui, &what, &refusals)?;
                return Ok(Exit::No);
            }
            Made::Refused { service, refusals } => Shifted { service, refusals, ..Shifted::default() },
            Made::Already(service) if is_table => {
                ui.answer(plain(format!("{service}: nothing to do, the weights are so already")))?;
                return Ok(Exit::Yes);
            }
            Made::Already(service) => Shifted { service, ..Shifted::default() },
            Made::Done(shifted) => *shifted,
        };
        match self.output {
            Output::Table | Output::Wide => shifted.show(ui)?,
            Output::Json if !objects_wanted || !shifted.refusals.is_empty() => {
                output::json(ui, "CanaryShift", &shifted)?
            }
            Output::Yaml if !objects_wanted || !shifted.refusals.is_empty() => {
                output::yaml(ui, "CanaryShift", &shifted)?
            }
            _ => {}
        }
        Ok(shifted.exit())
    }

    pub(crate) fn wanted(&self) -> Wanted {
        if self.all_routes {
            Wanted::All
        } else if self.route.is_empty() {
            Wanted::Same
        } else {
            Wanted::Named(self.route.clone())
        }
    }
}

/// Why a shift was not made, though nothing is wrong with it.
enum Unmade {
    /// Somebody else was faster; with the routes that were to move.
    Conflict(Failure, Vec<String>),
    /// An attempt is in front of it.
    InFront(Box<Standing>),
}

/// What a step is about: the same when it is planned again.
struct Plan<'v, 'w> {
    canary: Option<&'v Version<'w>>,
    percent: Option<u32>,
    moving: Vec<Moving>,
}

impl Shifts<'_> {
    /// Ctrl-C, taken from now on at the latest.
    pub(crate) fn interrupts(&self) -> &RefCell<Interrupts> {
        self.interrupts.get_or_init(|| RefCell::new(Interrupts::take()))
    }

    /// Makes a shift: reads, plans, looks, writes, proves. Where somebody else was faster it reads and plans
    /// once more.
    ///
    /// # Errors
    /// Whatever keeps it from being planned or written; a conflict where somebody was faster twice, or an attempt is
    /// in front of it.
    pub(crate) fn make(&self, order: &Order<'_>) -> Result<Made, Failure> {
        self.make_unless_tried(order)?.map_err(|standing| is_in_front(&standing.running))
    }

    /// The same for who knows what to do with an attempt that is in front of it: nothing was written then.
    ///
    /// # Errors
    /// As [`make`](Self::make).
    pub(crate) fn make_unless_tried(
        &self,
        order: &Order<'_>,
    ) -> Result<Result<Made, Box<Standing>>, Failure> {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let mut occasion = Occasion {
            id: now.clone(),
            command: order.command.to_owned(),
            at: now,
            reason: order.reason.to_owned(),
            notes: order.notes.iter().cloned().collect(),
            ..Occasion::default()
        };
        if let (Sink::Cluster { writer, .. }, DryRun::None) = (self.sink, self.how.dry_run) {
            occasion.by = writer.who()?.unwrap_or_default();
        }
        let mut order = order.clone();
        let mut before = Vec::new();
        let mut is_second = false;
        loop {
            match self.once(&order, &mut occasion, &mut before)? {
                Ok(made) => return Ok(Ok(made)),
                Err(Unmade::InFront(standing)) => return Ok(Err(standing)),
                Err(Unmade::Conflict(failure, routes)) if !is_second => {
                    self.ui.note(dim(format!("{}; planning again", failure.message())));
                    is_second = true;
                    // What is written already would make the routes differ.
                    order.routes = Wanted::Named(routes);
                }
                Err(Unmade::Conflict(failure, _)) if before.is_empty() => return Err(failure),
                Err(Unmade::Conflict(failure, _)) => {
                    return Err(failure.hint(format!(
                        "done: {}; finish it with `kubectl mesh-canary set {} --resume`, or take it back with `undo`",
                        before.join(", "),
                        order.service
                    )));
                }
            }
        }
    }

    /// One try; `before` are the objects that earlier tries have written.
    fn once(
        &self,
        order: &Order<'_>,
        occasion: &mut Occasion,
        before: &mut Vec<String>,
    ) -> Result<Result<Made, Unmade>, Failure> {
        let ui = self.ui;
        let mut loaded = self.source.load_only(ui, &KINDS)?;
        if let Goal::Kept(running) = order.goal {
            let without = model::without(&loaded.world, running);
            loaded.world = without.map_err(|mismatch| Failure::conflict(format!("error: {mismatch}")))?;
        }
        let routing = Routing::new(&loaded.world);
        let subject = Subject::find(ui, &routing, &loaded, order.service)?;
        // Manifests have none.
        if let (Sink::Cluster { .. }, Ok(Some(standing))) =
            (self.sink, model::standing(&loaded.world, subject.service))
        {
            return Ok(Err(Unmade::InFront(Box::new(standing))));
        }
        let plan = self.plan(&subject, order, occasion)?;
        let share = plan.percent.unwrap_or_else(|| share_after(plan.canary, &subject, &plan.moving));
        let name = plan.canary.map(|canary| canary.name.clone()).unwrap_or_default();
        let changes = match self.sink {
            Sink::Cluster { .. } => plan::changes(&subject.carriers, &name, share, &plan.moving, occasion),
            Sink::Files => plan::weights_only(&subject.carriers, &plan.moving),
        };
        let changes = changes.map_err(|mismatch| Failure::conflict(format!("error: {mismatch}")))?;
        if changes.is_empty() && before.is_empty() {
            return Ok(Ok(Made::Already(subject.key())));
        }
        let assumptions = subject.assumptions();
        if !self.how.quiet {
            mesh_cli::words::assumptions(ui, &assumptions);
        }
        let refusals = preflight::refusals(ui, &subject, &plan.moving, &changes, order.force)?;
        if !refusals.is_empty() {
            return Ok(Ok(Made::Refused { service: subject.key(), refusals }));
        }
        if self.how.dry_run == DryRun::None {
            self.interrupts();
        }
        match apply::write(ui, self.sink, &loaded, &changes, self.how)? {
            Written::All => {}
            Written::Conflict { done, failure } => {
                let written = changes.iter().take(done).map(key);
                before.extend(written);
                occasion.together = changes.iter().map(key).chain(before.iter().cloned()).collect();
                let routes = plan.moving.iter().filter_map(|one| subject.carriers.get(one.carrier));
                return Ok(Err(Unmade::Conflict(failure, routes.map(label).collect())));
            }
        }
        let mut shifted = Shifted {
            service: subject.key(),
            canary: plan.canary.map(|canary| canary.name.clone()),
            percent: plan.percent.or(plan.canary.map(|_| share)),
            routes: plan.moving.iter().filter_map(|one| moved_route(&subject, one)).collect(),
            assumptions: assumptions.into_iter().map(Assumed::from).collect(),
            ..Shifted::default()
        };
        if self.how.dry_run == DryRun::None && !self.proof.is_skipped() {
            shifted.proof = self.prove(&subject, &plan.moving, &changes)?;
        }
        Ok(Ok(Made::Done(Box::new(shifted))))
    }

    fn plan<'v, 'w>(
        &self,
        subject: &'v Subject<'_, 'w>,
        order: &Order<'_>,
        occasion: &mut Occasion,
    ) -> Result<Plan<'v, 'w>, Failure> {
        let of_step = |step: &Step| subject.versions.iter().find(|version| version.name == step.canary);
        let last = plan::last_step(&subject.carriers);
        if let (Some(step), true) = (&last, matches!(order.goal, Goal::Percent(_) | Goal::Weights(_))) {
            warn_of_rest(self.ui, subject, step);
        }
        match order.goal {
            Goal::Percent(percent) => {
                let (canary, choice) = subject.canary(order.canary)?;
                self.ui.note(dim(format!("{} is the canary: {}", canary.name, because(&choice))));
                let moving = self.moving(subject, canary, percent, &order.routes)?;
                Ok(Plan { canary: Some(canary), percent: Some(percent), moving })
            }
            Goal::Weights(weigh) => {
                let (canary, _) = subject.canary(order.canary)?;
                let moving = weigh(&subject.carriers, canary);
                Ok(Plan { canary: Some(canary), percent: None, moving })
            }
            Goal::Back => {
                let step = last.ok_or_else(|| no_undo(&NoUndo::Nothing))?;
                let moving = plan::undoing(&subject.carriers, &step).map_err(|why| no_undo(&why))?;
                Ok(Plan { canary: of_step(&step), percent: None, moving })
            }
            Goal::Rest => {
                let step = last.ok_or_else(nothing_to_resume)?;
                let rest = plan::unreached(&subject.carriers, &step);
                if rest.is_empty() {
                    return Err(nothing_to_resume());
                }
                let Some(canary) = of_step(&step) else {
                    return Err(Failure::error(format!(
                        "the shift of {} was to {}, and no route has that any more",
                        step.at, step.canary
                    )));
                };
                self.ui.note(dim(format!(
                    "{} of {} to {} % has not reached {}",
                    step.command,
                    step.at,
                    step.percent,
                    rest.join(", ")
                )));
                // The same step goes on: `undo` takes back all of it.
                occasion.id.clone_from(&step.id);
                occasion.command.clone_from(&step.command);
                occasion.together.clone_from(&step.together);
                let moving = plan::moving(&subject.carriers, canary, step.percent, &Wanted::Named(rest));
                let moving = moving.map_err(no_plan)?;
                Ok(Plan { canary: Some(canary), percent: Some(step.percent), moving })
            }
            Goal::Kept(Running { attempt, .. }) => {
                let canary = subject.versions.iter().find(|version| version.name == attempt.canary);
                let moving = model::kept(&subject.carriers, attempt);
                let moving = moving.map_err(|stale| Failure::conflict(format!("error: {stale}")))?;
                Ok(Plan { canary, percent: Some(attempt.percent), moving })
            }
        }
    }

    /// The routes that move; where it is not clear which, somebody at a terminal is asked.
    pub(crate) fn moving(
        &self,
        subject: &Subject<'_, '_>,
        canary: &Version<'_>,
        percent: u32,
        wanted: &Wanted,
    ) -> Result<Vec<Moving>, Failure> {
        let error = match plan::moving(&subject.carriers, canary, percent, wanted) {
            Ok(moving) => return Ok(moving),
            Err(error) => error,
        };
        let NoPlan::Ambiguous { routes } = &error else { return Err(no_plan(error)) };
        if is_half_a_step(subject) {
            return plan::moving(&subject.carriers, canary, percent, &Wanted::All).map_err(no_plan);
        }
        let rows: Vec<String> = routes
            .iter()
            .map(|(route, share)| match share {
                Some(share) => format!("{route}: {share:.0} %"),
                None => format!("{route}: no weights"),
            })
            .collect();
        let all = format!("all {} of them", rows.len());
        let choices: Vec<String> = rows.iter().cloned().chain([all]).collect();
        let question = format!("The routes give {} different shares now. Which shall move?", canary.name);
        let Some(chosen) = confirm::select(&question, &choices)? else {
            for row in &rows {
                self.ui.note(plain(format!("  {row}")));
            }
            return Err(no_plan(error));
        };
        let wanted = match routes.get(chosen) {
            Some((route, _)) => Wanted::Named(vec![route.clone()]),
            None => Wanted::All,
        };
        plan::moving(&subject.carriers, canary, percent, &wanted).map_err(no_plan)
    }

    /// Whether the callers' proxies have the new weights, and the objects still do.
    fn prove(
        &self,
        subject: &Subject<'_, '_>,
        moving: &[Moving],
        changes: &[Change],
    ) -> Result<Option<Proof>, Failure> {
        let Sink::Cluster { writer, connection } = self.sink else { return Ok(None) };
        let after = subject
            .world()
            .after(changes)
            .map_err(|mismatch| Failure::conflict(format!("error: {mismatch}")))?;
        let routing = Routing::new(&after);
        let moved: Vec<&Carrier<'_>> = moving
            .iter()
            .filter(|one| one.from != one.to)
            .filter_map(|one| subject.carriers.get(one.carrier))
            .collect();
        let due = proof::due(&routing, subject.host, &moved);
        let mut proof = self.proof.prove(self.ui, connection, due, self.interrupts())?;
        for change in changes {
            let object = change.object();
            let routes = moving.iter().filter(|one| {
                subject.carriers.get(one.carrier).is_some_and(|it| object.means(&it.place.object))
            });
            // What cannot be read back now was written all the same.
            let Ok(found) = writer.get(&object) else { continue };
            for one in routes {
                let Some(carrier) = subject.carriers.get(one.carrier) else { continue };
                let now = found.as_ref().map(|found| weights(found, &carrier.place.pointer, one.to.len()));
                if now.as_ref() == Some(&one.to) {
                    continue;
                }
                proof.reverted.push(Reverted {
                    object: carrier.place.object.key(),
                    found: now.map_or_else(|| "gone".to_owned(), |now| list(&now)),
                    by: found
                        .as_ref()
                        .and_then(|found| last_other(found, FIELD_MANAGER))
                        .map(|wrote| format!("{} at {}", wrote.manager, wrote.at)),
                });
            }
        }
        Ok(Some(proof))
    }
}

impl Shifted {
    /// The exit code of a shift that was made.
    pub(crate) fn exit(&self) -> Exit {
        if self.refusals.is_empty() { self.proof.as_ref().map_or(Exit::Yes, Proof::exit) } else { Exit::No }
    }

    /// Says it.
    pub(crate) fn show(&self, ui: &Ui) -> Result<(), Failure> {
        for route in &self.routes {
            let change = format!("  {} -> {}", list(&route.from), list(&route.to));
            ui.answer(strong(&route.route) + plain(change))?;
        }
        self.proof.as_ref().map_or(Ok(()), |proof| proof.show(ui, "in force"))
    }
}

/// Whether the routes differ because a step of all of them has not reached some yet: it was interrupted, or is on
/// its way. They belong together all the same.
fn is_half_a_step(subject: &Subject<'_, '_>) -> bool {
    let Some(step) = plan::last_step(&subject.carriers) else { return false };
    let mut split = subject.carriers.iter().filter(|carrier| carrier.is_split());
    !plan::unreached(&subject.carriers, &step).is_empty()
        && split.all(|carrier| step.together.contains(&carrier.place.object.key()))
}

/// Warns of a step before that was interrupted.
fn warn_of_rest(ui: &Ui, subject: &Subject<'_, '_>, step: &Step) {
    let rest = plan::unreached(&subject.carriers, step);
    if !rest.is_empty() {
        ui.warning(&format!(
            "{} of {} to {} % has not reached {}: `kubectl mesh-canary set {} --resume` would finish it",
            step.command,
            step.at,
            step.percent,
            rest.join(", "),
            subject.service.object.name
        ));
    }
}

fn key(change: &Change) -> String {
    let object = change.object();
    format!("{}/{}", object.namespace, object.name)
}

pub(crate) fn list(weights: &[u32]) -> String {
    weights.iter().map(u32::to_string).collect::<Vec<_>>().join("/")
}

/// The weights of a route of an object, as [`Carrier::weights`] has them.
pub(crate) fn weights(object: &Object, pointer: &str, count: usize) -> Vec<u32> {
    let weight = |at: usize| {
        let weight = object.get(&format!("{pointer}/route/{at}/weight"));
        weight.and_then(serde_json::Value::as_u64).and_then(|weight| u32::try_from(weight).ok()).unwrap_or(0)
    };
    (0..count).map(weight).collect()
}

fn share_after(canary: Option<&Version<'_>>, subject: &Subject<'_, '_>, moving: &[Moving]) -> u32 {
    let Some(canary) = canary else { return 0 };
    let share = moving.iter().find_map(|one| {
        let carrier = subject.carriers.get(one.carrier)?;
        let is_canary: Vec<bool> =
            carrier.destinations.iter().map(|destination| canary.is(destination)).collect();
        mesh_model::canary::weights::percent(&one.to, &is_canary)
    });
    // Between 0 and 100.
    share.map_or(0, |share| share.round() as u32)
}

pub(crate) fn moved_route(subject: &Subject<'_, '_>, one: &Moving) -> Option<Moved> {
    let carrier = subject.carriers.get(one.carrier)?;
    Some(Moved { route: label(carrier), at: carrier.place.at(), from: one.from.clone(), to: one.to.clone() })
}

fn nothing_to_resume() -> Failure {
    Failure::error("no shift was interrupted: there is nothing to finish")
        .hint("a run that was stopped goes on with: kubectl mesh-canary run SERVICE --resume")
}

pub(crate) fn no_plan(error: NoPlan) -> Failure {
    match error {
        NoPlan::NoSplit { canary, routes } => {
            Failure::error(format!("no route splits traffic between {canary} and another version"))
                .hint(format!("routes: {}", routes.join(", ")))
        }
        NoPlan::NoSuchRoute { name, routes } => {
            Failure::usage(format!("no route {name}")).hint(format!("there are: {}", routes.join(", ")))
        }
        NoPlan::Ambiguous { routes } => {
            let routes = routes.iter().map(|(route, _)| route.as_str()).collect::<Vec<_>>().join(", ");
            Failure::usage("the routes give the canary different shares now")
                .hint(format!("say which with --route, or --all-routes: {routes}"))
        }
        NoPlan::Weights { route, why } => Failure::usage(format!("{route}: {why}")),
        NoPlan::Mismatch(mismatch) => Failure::conflict(format!("error: {mismatch}")),
    }
}

fn no_undo(why: &NoUndo) -> Failure {
    match why {
        NoUndo::Nothing => Failure::error("there is no step to take back")
            .hint("steps are kept on objects in a cluster; in manifests, git has the history"),
        NoUndo::ChangedSince { object, pointer, left, found } => Failure::conflict(format!(
            "error: the weights of VirtualService {object} {pointer} were {} after the last step, and are {} now: \
             somebody changed them",
            list(left),
            list(found)
        ))
        .hint("nothing was changed; set the weights that you want"),
    }
}
