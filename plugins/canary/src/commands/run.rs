//! `run SERVICE`: step by step to the new version, as long as the gate lets it.

use std::cell::OnceCell;
use std::time::{Duration, Instant, SystemTime};

use mesh_cli::dry_run::DryRun;
use mesh_cli::output::{self, Output};
use mesh_cli::text::{dim, plain};
use mesh_cli::{Exit, Failure, Loaded, Table, Ui};
use mesh_model::canary::carrier::Carrier;
use mesh_model::canary::course::{self, Run};
use mesh_model::canary::plan::{self, Moving, Wanted, label};
use mesh_model::canary::preflight::problems;
use mesh_model::canary::version::Version;
use mesh_model::change::{Change, Edit};
use mesh_model::gate::{Alpha, LatencyLimit, Limits, OwnLimit, OwnQuery, proportion};
use mesh_model::object::Kind;
use mesh_model::routing::{KINDS, Routing};
use mesh_source::cluster::{Connection, Writer};
use mesh_source::prometheus::Prometheus;
use serde::{Deserialize, Serialize};

use crate::apply::{How, Sink};
use crate::commands::status::{duration, fresh};
use crate::gate::{ALPHA, Gate, Looked, Terms, fraction, latency, title};
use crate::preflight;
use crate::shift::{Goal, Made, Order, ShiftArgs, Shifts};
use crate::steps::{Action, Course, End, Event, Plan};
use crate::subject::{Subject, because};
use crate::telling::{Teller, Told, word};
use crate::traffic::{PrometheusArgs, failure};

/// What is read anew while a step waits: whether the weights are still those of the run, and whether the canary
/// can still take its share.
const WATCHED: [Kind; 3] = [Kind::VirtualService, Kind::DestinationRule, Kind::Pod];

/// The least time between two such readings, and between two glances of the live view.
const WATCH_EVERY: Duration = Duration::from_secs(10);
const GLANCE_EVERY: Duration = Duration::from_secs(2);

/// Give the canary its shares step by step, as long as its errors and latency allow it.
///
/// A step passes when the canary is proven to keep to the limits, by counts and not by ratios alone. It fails when
/// the opposite is proven: then the weights from before the run go back, and the exit code is 1. When neither is
/// proven, it waits for more requests until --max-wait is over, holds the weights, and the exit code is 3.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(before_help = "
# To the new version of payment in four steps, two minutes each
kubectl mesh-canary run payment --steps 10,25,50,100 --interval 2m --max-error-rate 1% --max-p99 300ms

# Only see the course, and how many requests a step needs
kubectl mesh-canary run payment --dry-run=client

# Go on after Ctrl-C, or after the machine died
kubectl mesh-canary run payment --resume
")]
pub(crate) struct Arguments {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// The canary's shares in percent, rising.
    #[arg(long, value_name = "PERCENT,...", value_delimiter = ',', default_value = "10,25,50,100", value_parser = clap::value_parser!(u32).range(1..=100))]
    steps: Vec<u32>,
    /// The least time at each step.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    interval: Duration,
    /// How much longer a step may wait for enough requests; three times the interval if not given.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_wait: Option<Duration>,
    /// The largest share of the canary's requests that may fail; 1% if no limit at all is given.
    #[arg(long, value_name = "PERCENT", value_parser = fraction)]
    max_error_rate: Option<f64>,
    /// By how much that share may be above stable's in the same window; as --max-error-rate if not given.
    #[arg(long, value_name = "PERCENT", value_parser = fraction)]
    tolerance: Option<f64>,
    /// The latency that half of the canary's requests must keep to.
    #[arg(long, value_name = "DURATION", value_parser = latency)]
    max_p50: Option<Duration>,
    /// The latency that 99 of 100 of the canary's requests must keep to.
    #[arg(long, value_name = "DURATION", value_parser = latency)]
    max_p99: Option<Duration>,
    /// One's own PromQL for a number that --query-max limits; {{workload}}, {{version}}, {{namespace}}, {{service}}
    /// and {{interval}} are filled in.
    #[arg(long, value_name = "PROMQL", value_parser = own_query)]
    query: Option<String>,
    /// The largest number that --query may give for the canary.
    #[arg(long, value_name = "NUMBER", requires = "query")]
    query_max: Option<f64>,
    /// By how much it may be above stable's.
    #[arg(long, value_name = "NUMBER", requires = "query")]
    query_tolerance: Option<f64>,
    /// Go on with the run that was stopped: its steps and limits hold.
    #[arg(long, conflicts_with_all = ["steps", "interval", "max_wait", "max_error_rate", "tolerance", "max_p50", "max_p99", "query", "canary", "route", "all_routes"])]
    resume: bool,
    #[command(flatten)]
    prometheus: PrometheusArgs,
    #[command(flatten, next_help_heading = "Flags")]
    shift: ShiftArgs,
}

fn own_query(text: &str) -> Result<String, String> {
    OwnQuery::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// What a run is held to, as it is kept on the routes' objects. Times are in seconds, latency in milliseconds,
/// shares are fractions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Settings {
    interval: f64,
    max_wait: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_error_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_p99: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_tolerance: Option<f64>,
}

impl Settings {
    fn terms(&self) -> Result<Terms, Failure> {
        let of = |quantile: f64, limit: Option<f64>| {
            limit.map(|milliseconds| LatencyLimit { quantile, milliseconds })
        };
        let own = self.query.as_ref().map(|query| {
            let limit = OwnLimit { max: self.query_max, tolerance: self.query_tolerance };
            OwnQuery::parse(query).map(|query| (query, limit))
        });
        let own = own.transpose().map_err(|error| Failure::usage(format!("--query: {error}")))?;
        Ok(Terms {
            limits: Limits {
                max_error_rate: self.max_error_rate,
                tolerance: self.tolerance,
                latency: of(0.5, self.max_p50).into_iter().chain(of(0.99, self.max_p99)).collect(),
                alpha: Alpha::default(),
            },
            own,
        })
    }

    fn plan(&self, steps: &[u32], scrape: f64) -> Plan {
        Plan {
            steps: steps.to_vec(),
            interval: self.interval,
            max_wait: self.max_wait,
            settle: 2.0 * scrape,
            every: scrape.max(1.0),
        }
    }
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let shift = &self.shift;
        if !matches!(shift.output, Output::Table | Output::Wide | Output::Json) {
            return Err(Failure::usage("run has the formats table, wide and json"));
        }
        self.check()?;
        let sink = Sink::open(&shift.source)?;
        let Sink::Cluster { writer, connection } = &sink else {
            return Err(Failure::usage(
                "a run watches real requests, and manifests have none: leave out -f and -k",
            ));
        };
        let prometheus = Prometheus::find(connection, &self.prometheus.options(Duration::from_secs(10)));
        let prometheus = prometheus.map_err(|error| failure(&error))?;
        let loaded = shift.source.load_only(ui, &KINDS)?;
        let routing = Routing::new(&loaded.world);
        let subject = Subject::find(ui, &routing, &loaded, &self.service)?;
        let (run, settings, from) =
            if self.resume { resumed(&subject)? } else { self.planned(ui, &subject)? };
        let gate = Gate::open(prometheus, &subject, &run.canary, settings.terms()?)?;
        let plan = settings.plan(&run.steps, gate.scrape);
        let alpha = Alpha {
            total: ALPHA,
            steps: u32::try_from(run.steps.len()).unwrap_or(u32::MAX),
            looks: plan.looks(),
        };
        let needs = needs(&settings, alpha);
        if shift.dry_run.dry_run != DryRun::None {
            let is_json = shift.output == Output::Json;
            course_of(ui, &subject, &run, &settings, needs, gate.name(), is_json)?;
            return Ok(Exit::Yes);
        }
        if !gate.has_istio() {
            ui.warning(&format!("{} has counted nothing of Istio's: no step will pass", gate.name()));
        }
        let mut teller = Teller::new(ui, shift.output == Output::Json, &run.service, &run.canary, &run.steps);
        teller.tell(&Told::Started {
            service: &run.service,
            canary: &run.canary,
            steps: &run.steps,
            from: run.steps.get(from).copied().unwrap_or_default(),
            needs,
            prometheus: gate.name(),
        })?;
        let shifts = Shifts {
            ui,
            source: &shift.source,
            sink: &sink,
            how: How { dry_run: DryRun::None, output: Output::Table, quiet: true },
            proof: shift.proof,
            interrupts: OnceCell::new(),
        };
        let notes = [(course::ANNOTATION, serde_json::to_string(&run).ok())];
        let going = Going {
            arguments: self,
            run: &run,
            connection,
            writer,
            loaded: &loaded,
            shifts,
            notes: &notes,
            gate,
            alpha,
            teller,
            begun: Instant::now(),
            why: Vec::new(),
            is_refused: false,
            lags: false,
        };
        going.go(plan, from)
    }

    /// What is wrong with the arguments, before anything is asked.
    fn check(&self) -> Result<(), Failure> {
        if !self.steps.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(Failure::usage("--steps must rise"));
        }
        if self.query.is_some() && self.query_max.is_none() && self.query_tolerance.is_none() {
            return Err(Failure::usage("--query needs a limit: --query-max, --query-tolerance or both"));
        }
        let is_compared = self.tolerance.is_some() || self.query_tolerance.is_some();
        let is_limited = self.max_error_rate.is_some()
            || self.max_p50.is_some()
            || self.max_p99.is_some()
            || self.query_max.is_some();
        // Else the last step could only be held.
        if is_compared && !is_limited && self.steps.last() == Some(&100) {
            return Err(Failure::usage("at 100 % nothing of stable is left to compare the canary with").hint(
                "add a limit of its own (--max-error-rate, --max-p99, --query-max), or end --steps below 100",
            ));
        }
        Ok(())
    }

    /// A new run of a subject.
    fn planned(&self, ui: &Ui, subject: &Subject<'_, '_>) -> Result<(Run, Settings, usize), Failure> {
        let milliseconds = |limit: Option<Duration>| limit.map(|limit| limit.as_secs_f64() * 1000.0);
        let has_limit = self.max_error_rate.is_some()
            || self.tolerance.is_some()
            || self.max_p50.is_some()
            || self.max_p99.is_some()
            || self.query.is_some();
        let max_error_rate = self.max_error_rate.or((!has_limit).then_some(0.01));
        let settings = Settings {
            interval: self.interval.as_secs_f64(),
            max_wait: self.max_wait.unwrap_or(self.interval * 3).as_secs_f64(),
            max_error_rate,
            tolerance: self.tolerance.or(max_error_rate),
            max_p50: milliseconds(self.max_p50),
            max_p99: milliseconds(self.max_p99),
            query: self.query.clone(),
            query_max: self.query_max,
            query_tolerance: self.query_tolerance,
        };
        let (canary, choice) = subject.canary(self.shift.canary.as_deref())?;
        ui.note(dim(format!("{} is the canary: {}", canary.name, because(&choice))));
        let first = self.steps.first().copied().unwrap_or(100);
        let moving = plan::moving(&subject.carriers, canary, first, &self.shift.wanted());
        let moving = moving.map_err(crate::shift::no_plan)?;
        let run = Run {
            id: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            service: subject.key(),
            canary: canary.name.clone(),
            steps: self.steps.clone(),
            before: Run::weights(&subject.carriers, &moving),
            limits: serde_json::to_value(&settings).unwrap_or_default(),
        };
        Ok((run, settings, 0))
    }
}

/// The run that the objects tell of, and the step that it is at.
fn resumed(subject: &Subject<'_, '_>) -> Result<(Run, Settings, usize), Failure> {
    let name = &subject.service.object.name;
    let Some(run) = Run::of_all(&subject.carriers) else {
        return Err(Failure::error(format!(
            "no run of {} was stopped: there is nothing to go on with",
            subject.key()
        ))
        .hint(format!("begin one: kubectl mesh-canary run {name}")));
    };
    if let Some((command, at)) = run.ended_by(&subject.carriers) {
        return Err(Failure::error(format!("the run of {} was ended by {command} at {at}", run.id))
            .hint(format!("begin a new one: kubectl mesh-canary run {name}")));
    }
    let changed = run.changed(&subject.carriers);
    if !changed.is_empty() {
        return Err(Failure::conflict(format!(
            "error: the weights are not those that the run has left: {}",
            changed.join(", ")
        ))
        .hint("nothing was changed; set the weights that you want, or begin a new run"));
    }
    let settings: Settings = serde_json::from_value(run.limits.clone()).map_err(|error| {
        Failure::error(format!("the limits of the run of {} cannot be read: {error}", run.id))
    })?;
    let from = run.at(&subject.carriers).unwrap_or(0);
    Ok((run, settings, from))
}

/// The least number of requests with which a step can pass, as far as that can be said.
fn needs(settings: &Settings, alpha: Alpha) -> Option<u64> {
    let needed = |limit: f64, alpha: f64| proportion::needed(0, limit, alpha);
    let absolute = settings.max_error_rate.and_then(|limit| needed(limit, alpha.pass()));
    let compared = settings.tolerance.and_then(|limit| needed(limit, alpha.pass() / 2.0));
    let p50 = settings.max_p50.and_then(|_| needed(0.5, alpha.pass()));
    let p99 = settings.max_p99.and_then(|_| needed(0.01, alpha.pass()));
    [absolute, compared, p50, p99].into_iter().flatten().max()
}

/// What a run would do, as programs see it. Times are in seconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CourseOf<'a> {
    service: &'a str,
    canary: &'a str,
    steps: Vec<StepOf>,
    interval: f64,
    max_wait: f64,
    /// The least number of requests to the canary that a step can pass with.
    needs: Option<u64>,
    prometheus: &'a str,
}

#[derive(Serialize)]
struct StepOf {
    percent: u32,
    route: String,
    weights: Vec<u32>,
}

/// Says what a run would do.
fn course_of(
    ui: &Ui,
    subject: &Subject<'_, '_>,
    run: &Run,
    settings: &Settings,
    needs: Option<u64>,
    prometheus: &str,
    is_json: bool,
) -> Result<(), Failure> {
    let canary = subject.versions.iter().find(|version| version.name == run.canary);
    let mut steps = Vec::new();
    for percent in &run.steps {
        let Some(canary) = canary else { continue };
        let moving = plan::moving(&subject.carriers, canary, *percent, &wanted(run, &subject.carriers));
        for one in moving.map_err(crate::shift::no_plan)? {
            let Some(carrier) = subject.carriers.get(one.carrier) else { continue };
            steps.push(StepOf { percent: *percent, route: label(carrier), weights: one.to });
        }
    }
    if is_json {
        let course = CourseOf {
            service: &run.service,
            canary: &run.canary,
            steps,
            interval: settings.interval,
            max_wait: settings.max_wait,
            needs,
            prometheus,
        };
        return output::json(ui, "CanaryCourse", &course);
    }
    let mut table = Table::new(&["STEP", "ROUTE", "WEIGHTS"]);
    for step in steps {
        let percent = plain(format!("{} %", step.percent));
        table.row([percent, plain(step.route), plain(crate::shift::list(&step.weights))]);
    }
    ui.table(&table)?;
    let seconds = crate::words::seconds;
    let needs = needs
        .map_or(String::new(), |needs| format!("; it passes with at least {needs} requests to the canary"));
    ui.answer(plain(format!(
        "each step takes at least {}, and at most {} longer{needs}; asks {prometheus}",
        seconds(settings.interval),
        seconds(settings.max_wait),
    )))
}

/// The routes of a run.
fn wanted(run: &Run, carriers: &[Carrier<'_>]) -> Wanted {
    let is_own = |carrier: &&Carrier<'_>| {
        let routes = run.before.get(&carrier.place.object.key());
        routes.is_some_and(|routes| routes.contains_key(&carrier.place.pointer))
    };
    Wanted::Named(carriers.iter().filter(is_own).map(label).collect())
}

/// A run on its way.
struct Going<'a> {
    arguments: &'a Arguments,
    run: &'a Run,
    connection: &'a Connection,
    writer: &'a Writer,
    /// What was there when it began.
    loaded: &'a Loaded,
    shifts: Shifts<'a>,
    notes: &'a [(&'static str, Option<String>)],
    gate: Gate,
    alpha: Alpha,
    teller: Teller<'a>,
    begun: Instant,
    /// Why it goes back, or ends.
    why: Vec<String>,
    /// Whether the first step would have cut callers off, and was not made.
    is_refused: bool,
    /// Whether a shift was written, and some proxies do not have it.
    lags: bool,
}

impl Going<'_> {
    /// The time, for the course.
    fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    fn go(mut self, plan: Plan, from: usize) -> Result<Exit, Failure> {
        let (mut course, mut action) = Course::begin(plan, from);
        loop {
            let event = match action {
                Action::Shift(step) => self.shift(step)?,
                Action::Wait(until) => self.wait(until, &course)?,
                Action::Begin => {
                    // A window that cannot be begun now is begun at the first look.
                    if let Err(error) = self.gate.begin() {
                        self.unanswered(&course, &crate::traffic::told(&error))?;
                    }
                    Event::Ticked { at: self.now() }
                }
                Action::Look => self.look(&course)?,
                Action::Back => self.back()?,
                Action::End(end) => return self.end(end, &course),
            };
            let interrupted = self.shifts.interrupts().borrow_mut().was() && !matches!(action, Action::Back);
            action = course.on(&event);
            // What was done is known first: a failed look goes back, whatever the user wants meanwhile.
            if interrupted && !matches!(action, Action::Back | Action::End(_)) {
                action = course.on(&Event::Interrupted);
            }
        }
    }

    fn percent(&self, course: &Course) -> u32 {
        course.step().and_then(|step| self.run.steps.get(step)).copied().unwrap_or_default()
    }

    fn order<'o>(&'o self, goal: Goal<'o>, notes: &'o [(&'static str, Option<String>)]) -> Order<'o> {
        Order {
            service: &self.arguments.service,
            command: "run",
            goal,
            canary: Some(&self.run.canary),
            routes: Wanted::All,
            force: self.arguments.shift.force,
            reason: &self.arguments.shift.reason,
            notes,
        }
    }

    fn shift(&mut self, step: usize) -> Result<Event, Failure> {
        let percent = self.run.steps.get(step).copied().unwrap_or_default();
        let run = self.run;
        let weigh = |carriers: &[Carrier<'_>], canary: &Version<'_>| -> Vec<Moving> {
            plan::moving(carriers, canary, percent, &wanted(run, carriers)).unwrap_or_default()
        };
        let made = self.shifts.make(&self.order(Goal::Weights(&weigh), self.notes));
        match made {
            Ok(Made::Already(_)) => {
                self.teller.tell(&Told::Shifted { percent, routes: &[], proof: None })?;
                Ok(Event::Proven { at: self.now() })
            }
            Ok(Made::Refused { refusals, .. }) => {
                self.why = refusals;
                // Before the first step nothing was moved, and there is nothing to take back.
                self.is_refused = step == 0;
                Ok(if step == 0 { Event::Unwritten } else { Event::Broken })
            }
            Ok(Made::Done(shifted)) => {
                let proof = shifted.proof.as_ref();
                self.teller.tell(&Told::Shifted { percent, routes: &shifted.routes, proof })?;
                Ok(match shifted.exit() {
                    Exit::Yes => Event::Proven { at: self.now() },
                    Exit::Conflict => {
                        let reverted = shifted.proof.iter().flat_map(|proof| &proof.reverted);
                        self.why = reverted
                            .map(|one| {
                                let by = one.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
                                format!("{} has {} again{by}", one.object, one.found)
                            })
                            .collect();
                        Event::Lost
                    }
                    _ if shifted.proof.as_ref().is_some_and(|proof| proof.interrupted) => Event::Interrupted,
                    _ => {
                        let proof = shifted.proof.unwrap_or_default();
                        self.lags = true;
                        self.why =
                            vec![format!("only {} of {} proxies have the weights", proof.have, proof.asked)];
                        Event::Unwritten
                    }
                })
            }
            Err(failure) => {
                self.why = vec![failure.message().to_owned()];
                Ok(if failure.exit() == Exit::Conflict { Event::Lost } else { Event::Unwritten })
            }
        }
    }

    /// Waits, and looks meanwhile whether the weights are still the run's and the canary can take its share.
    fn wait(&mut self, until: f64, course: &Course) -> Result<Event, Failure> {
        let mut watched = Instant::now();
        loop {
            let now = self.now();
            let rest = Duration::from_secs_f64((until - now).max(0.0));
            let is_over = rest.is_zero();
            // At least once in each wait, at its end: what follows is a look or a shift.
            if is_over || watched.elapsed() >= WATCH_EVERY {
                if let Some(event) = self.watch(course)? {
                    return Ok(event);
                }
                watched = Instant::now();
            }
            if is_over {
                return Ok(Event::Ticked { at: self.now() });
            }
            let pause = if self.teller.is_live() { rest.min(GLANCE_EVERY) } else { rest.min(WATCH_EVERY) };
            if self.shifts.interrupts().borrow_mut().sleep(pause) {
                return Ok(Event::Interrupted);
            }
            if self.teller.is_live() {
                let percent = self.percent(course);
                let looked = self.gate.look(percent, self.alpha).ok();
                self.teller.glance(looked.as_ref(), course.left(self.now()))?;
            }
        }
    }

    fn watch(&mut self, course: &Course) -> Result<Option<Event>, Failure> {
        let read = match fresh(self.connection, self.loaded, &WATCHED) {
            Ok(read) => read,
            // It comes and goes, as while an API server restarts; nothing passes meanwhile without being seen.
            Err(error) => {
                self.unanswered(course, &error.to_string())?;
                return Ok(None);
            }
        };
        let routing = Routing::new(&read.world);
        let found = read.world.services.iter().find(|one| one.object.key() == self.run.service);
        let Some(service) = found else {
            self.why = vec![format!("Service {} is gone", self.run.service)];
            return Ok(Some(Event::Lost));
        };
        let subject = Subject::of(&routing, service)?;
        let mut changed = self.run.changed(&subject.carriers);
        changed.extend(
            self.run
                .ended_by(&subject.carriers)
                .map(|(command, at)| format!("the run was ended by {command} at {at}")),
        );
        if !changed.is_empty() {
            self.why = changed;
            return Ok(Some(Event::Lost));
        }
        let Some(canary) = subject.versions.iter().find(|version| version.name == self.run.canary) else {
            self.why = vec![format!("no route has {} any more", self.run.canary)];
            return Ok(Some(Event::Lost));
        };
        let is_own = |carrier: &&Carrier<'_>| self.run.before.contains_key(&carrier.place.object.key());
        let routes: Vec<&Carrier<'_>> = subject.carriers.iter().filter(is_own).collect();
        let found = problems(&routing, subject.host, canary, &routes, &subject.callers);
        if found.is_empty() || self.arguments.shift.force {
            return Ok(None);
        }
        self.why = found.iter().map(preflight::words).collect();
        Ok(Some(Event::Broken))
    }

    fn look(&mut self, course: &Course) -> Result<Event, Failure> {
        let percent = self.percent(course);
        match self.gate.look(percent, self.alpha) {
            Ok(looked) => {
                let at = self.now();
                let left = course.left(at).map_or(0.0, |(interval, _)| interval);
                self.teller.tell(&Told::Looked { percent, left, looked: &looked })?;
                self.why = reasons(&looked);
                Ok(Event::Judged { verdict: looked.verdict, at })
            }
            Err(error) => {
                let why = crate::traffic::told(&error);
                self.unanswered(course, &why)?;
                self.why = vec![why];
                Ok(Event::Unanswered { at: self.now() })
            }
        }
    }

    fn unanswered(&mut self, course: &Course, why: &str) -> Result<(), Failure> {
        let percent = self.percent(course);
        self.teller.tell(&Told::Unanswered { percent, why })
    }

    fn back(&mut self) -> Result<Event, Failure> {
        self.teller.tell(&Told::Back { why: &self.why })?;
        let run = self.run;
        let weigh = |carriers: &[Carrier<'_>], canary: &Version<'_>| run.back(carriers, canary);
        let notes = [(course::ANNOTATION, None)];
        let mut order = self.order(Goal::Weights(&weigh), &notes);
        let reason = self.why.first().map_or("the gate failed", String::as_str);
        order.reason = reason;
        // On the way back nothing is better than what was there before.
        order.force = true;
        match self.shifts.make(&order) {
            Ok(Made::Done(shifted)) => {
                let exit = shifted.exit();
                let (percent, proof) = (shifted.percent.unwrap_or_default(), shifted.proof.as_ref());
                self.teller.tell(&Told::Shifted { percent, routes: &shifted.routes, proof })?;
                if exit == Exit::Yes {
                    return Ok(Event::Proven { at: self.now() });
                }
                self.why
                    .push("the weights from before are written, and not proven to be in force".to_owned());
                Ok(Event::Unwritten)
            }
            Ok(_) => Ok(Event::Proven { at: self.now() }),
            Err(failure) => {
                self.why.push(failure.message().to_owned());
                Ok(Event::Unwritten)
            }
        }
    }

    fn end(mut self, end: End, course: &Course) -> Result<Exit, Failure> {
        let name = self.run.service.rsplit('/').next().unwrap_or_default();
        let percent = self.percent(course);
        let why = self.why.join("; ");
        let on = format!("go on: kubectl mesh-canary run {name} --resume");
        let off = format!("go back: kubectl mesh-canary abort {name}");
        let (exit, text, percent) = match end {
            End::Passed => {
                let last = self.run.steps.last().copied().unwrap_or_default();
                self.forget();
                let text =
                    format!("{} has {last} % of the requests to {}", self.run.canary, self.run.service);
                (Exit::Yes, text, Some(last))
            }
            End::Failed => (Exit::No, format!("the weights from before the run are back: {why}"), None),
            End::FailedAndStuck => {
                (Exit::CouldNot, format!("the weights from before are not back: {why}; {off}"), None)
            }
            End::Held => (
                Exit::Unknown,
                format!("held at {percent} %, nothing is proven: {why}; {on}; {off}"),
                Some(percent),
            ),
            End::Interrupted => (Exit::Unknown, format!("the weights stay as they are; {on}; {off}"), None),
            End::Lost => (Exit::Conflict, format!("somebody else changed the routes: {why}"), None),
            End::Stuck if self.is_refused => (Exit::No, format!("refused, nothing was changed: {why}"), None),
            End::Stuck if self.lags => (Exit::Unknown, format!("held: {why}; {on}; {off}"), Some(percent)),
            End::Stuck => (Exit::CouldNot, format!("{why}; {on}; {off}"), None),
        };
        self.teller.tell(&Told::Ended { end: word(end), percent, text: &text })?;
        Ok(exit)
    }

    /// Takes the plan of the run from the objects: it is over. What is left of it would only be old.
    fn forget(&self) {
        for key in self.run.before.keys() {
            let Some((namespace, name)) = key.split_once('/') else { continue };
            let is_it = |object: &&std::sync::Arc<mesh_model::object::Object>| {
                object.kind == Kind::VirtualService && object.namespace == namespace && object.name == name
            };
            let Some(known) = self.loaded.world.objects().iter().find(is_it) else { continue };
            let reference = mesh_model::change::Reference::of(known);
            let Ok(Some(object)) = self.writer.get(&reference) else { continue };
            let edit = Edit::of(&object).remove(&Run::pointer());
            if let Ok(edit) = edit {
                let _ = self.writer.write(&Change::Patch(edit.patch()), false);
            }
        }
    }
}

/// Why a look says what it says.
fn reasons(looked: &Looked) -> Vec<String> {
    let worst = looked.findings.iter().filter(|finding| finding.verdict == looked.verdict);
    worst.map(|finding| format!("{}: {}", title(finding), finding.reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds the table of docs/canary-gate.md to what the gate asks for.
    #[test]
    fn the_documented_numbers_of_requests_are_those_of_the_gate() {
        let settings = Settings { interval: 120.0, max_wait: 360.0, ..Settings::default() };
        let alpha = Alpha { total: ALPHA, steps: 4, looks: settings.plan(&[10, 25, 50, 100], 15.0).looks() };
        // A limit and a comparison for each reporter, and requests that went nowhere.
        let fail = alpha.fail(5);
        let page = include_str!("../../../../docs/canary-gate.md");
        assert!(page.contains(&format!("up to {} looks", alpha.looks)), "{} looks", alpha.looks);
        for percent in [5.0, 2.0, 1.0, 0.5, 0.1, 50.0] {
            let rate = percent / 100.0;
            let of = |failed, alpha| proportion::needed(failed, rate, alpha).unwrap_or_default();
            let [none, one, five] = [0, 1, 5].map(|failed| of(failed, alpha.pass()));
            let compared = of(0, alpha.pass() / 2.0);
            let settings =
                Settings { max_error_rate: Some(rate), tolerance: Some(rate), ..Settings::default() };
            // What a run says before it begins.
            assert_eq!(needs(&settings, alpha), Some(compared));
            let certain = (0..=100).find(|failed| proportion::lower(*failed, 100, fail) > rate);
            let certain = certain.unwrap_or_default();
            let row = format!("| {percent} % | {none} | {one} | {five} | {compared} | {certain} |");
            assert!(page.contains(&row), "docs/canary-gate.md should say {row}");
        }
    }
}
