//! `status SERVICE`: how the traffic is split, for whom, and what each version answers.

use std::time::{Duration, Instant, SystemTime};

use mesh_cli::interrupt::Interrupts;
use mesh_cli::layout::{self, Rows};
use mesh_cli::live::Live;
use mesh_cli::output::{self, Output};
use mesh_cli::text::{Line, Styled, bad, dim, good, plain, strong, warn};
use mesh_cli::{Exit, Failure, Loaded, SourceArgs, Ui};
use mesh_model::gate::Reporter;
use mesh_model::object::Kind;
use mesh_model::routing::{KINDS, Routing};
use mesh_model::world::{Snapshot, World};
use mesh_source::cluster::{self, Connection};
use mesh_source::prometheus::Prometheus;

use crate::standing::{RouteStanding, Standing, VersionStanding};
use crate::subject::Subject;
use crate::traffic::{PrometheusArgs, Search, lately};
use crate::words::{between, fraction, per_second};

/// What a look of `--watch` reads anew: weights, subsets, pods. All else is as at the first look.
const WATCHED: [Kind; 3] = [Kind::VirtualService, Kind::DestinationRule, Kind::Pod];

/// How many looks in a row must agree for `--until stable`.
const AGREEING: u32 = 2;

/// Show how a service's traffic is split: for which callers, and what each version answers.
#[derive(Clone, Debug, clap::Args)]
#[command(before_help = "
# How payment's traffic is split
kubectl mesh-canary status payment

# Watch it
kubectl mesh-canary status payment -w

# In a script: wait until the observed split is what the weights say
kubectl mesh-canary status payment -w --until stable --timeout 5m
")]
pub(crate) struct Arguments {
    /// The service.
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,
    /// Which version is the canary: a subset, or a host of its own.
    #[arg(long, value_name = "SUBSET")]
    pub(crate) canary: Option<String>,
    #[command(flatten)]
    pub(crate) view: ViewArgs,
    /// Output format.
    #[arg(short, long, help_heading = "Flags", default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Name]))]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// What `status` shows, and how often.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ViewArgs {
    /// Look again and again. On a terminal the view is drawn in place, elsewhere a line tells each change.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// The time between two looks of --watch.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration, requires = "watch")]
    interval: Option<Duration>,
    /// When --watch ends: `stable` once the observed split is what the weights say, twice in a row (exit code
    /// 0; 3 if not before --timeout); `timeout` at --timeout (exit code 0).
    #[arg(long, value_name = "WHEN", requires = "watch")]
    until: Option<Until>,
    /// How long --until waits.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration, requires = "until")]
    timeout: Option<Duration>,
    /// Ask no Prometheus.
    #[arg(long, conflicts_with = "prometheus_url")]
    no_metrics: bool,
    #[command(flatten)]
    prometheus: PrometheusArgs,
}

/// When a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Until {
    /// The observed split is what the weights say.
    Stable,
    /// The time is up.
    Timeout,
}

/// Reads a duration above 0.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be more than 0".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write it as 10s, 2m or 1h".to_owned()),
    }
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let view = &self.view;
        let connection = self.source.connection();
        if view.watch && (connection.is_none() || self.source.is_what_if()) {
            return Err(Failure::usage("--watch watches a cluster: leave out -f and -k"));
        }
        if view.until == Some(Until::Stable) && view.no_metrics {
            return Err(Failure::usage("--until stable needs metrics: only they show the split"));
        }
        if view.watch && matches!(self.output, Output::Yaml | Output::Name) {
            return Err(Failure::usage("--watch has the formats table, wide and json"));
        }
        let search = match &connection {
            Some(connection) if !view.no_metrics => Some(Search::begin(connection.clone(), &view.prometheus)),
            _ => None,
        };
        let loaded = self.source.load_only(ui, &KINDS)?;
        let routing = Routing::new(&loaded.world);
        let subject = Subject::find(ui, &routing, &loaded, &self.service)?;
        if self.canary.is_some() {
            subject.canary(self.canary.as_deref())?;
        }
        let prometheus = search.map_or(Err(None), |search| search.end().map_err(Some));
        let numbers = |subject: &Subject<'_, '_>| match &prometheus {
            Ok(prometheus) => lately(prometheus, subject).map_err(Some),
            Err(why) => Err(why.clone()),
        };
        let standing = Standing::of(&subject, self.canary.as_deref(), numbers(&subject));
        match (&connection, view.watch) {
            (Some(connection), true) => {
                self.watch(ui, connection, &loaded, standing, prometheus.as_ref().map_err(Clone::clone))
            }
            _ => {
                self.show(ui, &standing)?;
                Ok(Exit::Yes)
            }
        }
    }

    fn show(&self, ui: &Ui, standing: &Standing) -> Result<(), Failure> {
        match self.output {
            Output::Json => output::json(ui, "CanaryStatus", standing),
            Output::Yaml => output::yaml(ui, "CanaryStatus", standing),
            Output::Name => {
                let mut names: Vec<&str> =
                    standing.routes.iter().map(|route| route.virtual_service.as_str()).collect();
                names.dedup();
                let say = |key: &&str| {
                    // As kubectl: without the namespace.
                    let name = key.rsplit('/').next().unwrap_or_default();
                    ui.answer(plain(format!("virtualservice.networking.istio.io/{name}")))
                };
                names.iter().try_for_each(say)
            }
            output => words(ui, standing, output == Output::Wide),
        }
    }

    fn watch(
        &self,
        ui: &Ui,
        connection: &Connection,
        loaded: &Loaded,
        first: Standing,
        prometheus: Result<&Prometheus, Option<String>>,
    ) -> Result<Exit, Failure> {
        let view = &self.view;
        let begun = Instant::now();
        let interval = view.interval.unwrap_or(Duration::from_secs(2));
        let timeout = view.timeout.unwrap_or(Duration::from_secs(300));
        let mut interrupts = Interrupts::take();
        let mut live = Live::on(ui).filter(|_| self.output != Output::Json);
        let asked = if prometheus.is_ok() { ", and 5 to Prometheus" } else { "" };
        ui.note(dim(format!("each look takes {} requests to the API server{asked}", WATCHED.len() + 1)));
        let service = first.service.clone();
        let (mut standing, mut told, mut agreeing) = (first, None, 0);
        let mut trouble: Option<String> = None;
        loop {
            let stable = standing.is_as_weighted();
            agreeing = if stable.is_ok() && trouble.is_none() { agreeing + 1 } else { 0 };
            let state = match (&trouble, &stable) {
                (Some(trouble), _) => warn(trouble.clone()),
                (None, Ok(())) => good("the observed split is what the weights say"),
                (None, Err(why)) => plain(why.clone()),
            };
            if let Some(live) = &mut live {
                let lines = view_of(&standing, &state, live.size().0);
                live.draw(&lines)?;
            } else if self.output == Output::Json {
                let text = serde_json::to_string(&standing).unwrap_or_default();
                if told.as_ref() != Some(&text) {
                    line_of_json(ui, "CanaryStatus", &standing)?;
                    told = Some(text);
                }
            } else {
                let text = brief(&standing);
                let text = format!("{text}; {}", state.text);
                if told.as_ref() != Some(&text) {
                    ui.answer(dim(clock()) + "  " + plain(text.clone()))?;
                    told = Some(text);
                }
            }
            if view.until == Some(Until::Stable) && agreeing >= AGREEING {
                return Ok(Exit::Yes);
            }
            if view.until.is_some() && begun.elapsed() >= timeout {
                if view.until == Some(Until::Timeout) {
                    return Ok(Exit::Yes);
                }
                drop(live);
                ui.note(warn(format!("not stable within {}", humantime::format_duration(timeout))));
                return Ok(Exit::Unknown);
            }
            if interrupts.sleep(interval) {
                // What a script waits for has not come.
                return Ok(if view.until == Some(Until::Stable) { Exit::Unknown } else { Exit::Yes });
            }
            trouble = None;
            match fresh(connection, loaded, &WATCHED) {
                Ok(now) => {
                    let routing = Routing::new(&now.world);
                    let found = now.world.services.iter().find(|one| one.object.key() == service);
                    match found.map(|service| Subject::of(&routing, service)) {
                        Some(Ok(subject)) => {
                            let numbers = match &prometheus {
                                Ok(prometheus) => lately(prometheus, &subject).map_err(Some),
                                Err(why) => Err(why.clone()),
                            };
                            standing = Standing::of(&subject, self.canary.as_deref(), numbers);
                        }
                        Some(Err(failure)) => return Err(failure),
                        None => return Err(Failure::error(format!("Service {service} is gone"))),
                    }
                }
                // It comes and goes, as while an API server restarts.
                Err(error) => trouble = Some(format!("not read: {error}")),
            }
        }
    }
}

/// A World with some kinds read anew.
pub(crate) fn fresh(
    connection: &Connection,
    loaded: &Loaded,
    kinds: &[Kind],
) -> Result<Loaded, cluster::Error> {
    let namespaces = [loaded.default_namespace.clone(), "istio-system".to_owned()];
    let read = cluster::read(connection, kinds, &namespaces, &mut |_| {})?;
    let old = loaded.world.objects().iter().filter(|object| !kinds.contains(&object.kind));
    let mut objects: Vec<_> = old.map(|object| object.as_ref().clone()).collect();
    objects.extend(read.objects);
    let gaps = loaded.world.gaps().to_vec();
    let snapshot = Snapshot { objects, gaps, istio_version: None };
    Ok(Loaded {
        world: World::new(snapshot),
        default_namespace: loaded.default_namespace.clone(),
        anywhere: loaded.anywhere,
    })
}

/// One line of JSON.
pub(crate) fn line_of_json(ui: &Ui, kind: &str, value: &impl serde::Serialize) -> Result<(), Failure> {
    let wrong = |error: serde_json::Error| Failure::error(format!("could not write {kind} as JSON: {error}"));
    let mut all = serde_json::Map::new();
    all.insert("apiVersion".to_owned(), output::API_VERSION.into());
    all.insert("kind".to_owned(), kind.into());
    if let serde_json::Value::Object(own) = serde_json::to_value(value).map_err(wrong)? {
        all.extend(own);
    }
    ui.document(&(serde_json::to_string(&all).map_err(wrong)? + "\n"))
}

/// The time, as it begins a line.
pub(crate) fn clock() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

fn weights(route: &RouteStanding) -> String {
    let shares = route.destinations.iter().map(|share| format!("{} {}", share.version, share.weight));
    shares.collect::<Vec<_>>().join(", ")
}

fn in_force(route: &RouteStanding) -> Styled {
    if route.in_force.is_empty() {
        let why = route.shadowed.iter().map(|shadow| match &shadow.by {
            Some(by) => format!("{by}: {}", shadow.why),
            None => shadow.why.to_owned(),
        });
        let why = why.collect::<Vec<_>>().join("; ");
        return warn(if why.is_empty() { "nobody".to_owned() } else { format!("nobody ({why})") });
    }
    let all = route.in_force.iter().map(|one| {
        let proxies = match one.proxies {
            0 => String::new(),
            1 => " (1 proxy)".to_owned(),
            many => format!(" ({many} proxies)"),
        };
        match &one.gateway {
            Some(gateway) => format!("gateway {}/{gateway}{proxies}", one.namespace),
            None => format!("{}{proxies}", one.namespace),
        }
    });
    plain(all.collect::<Vec<_>>().join(", "))
}

/// `v1 90 %, v2 10 %: 12/s` in one line.
fn brief(standing: &Standing) -> String {
    let mut parts: Vec<String> = Vec::new();
    for route in standing.routes.iter().filter(|route| !route.in_force.is_empty()) {
        parts.push(format!("{}: {}", route.route, weights(route)));
    }
    for version in &standing.versions {
        if let (Some(ready), Some(all)) = (version.ready, version.endpoints) {
            parts.push(format!("{} {ready}/{all} ready", version.name));
        }
    }
    parts.join("; ")
}

fn words(ui: &Ui, standing: &Standing, is_wide: bool) -> Result<(), Failure> {
    layout::say(ui, 0, 2, headline(standing, true).parts())?;
    ui.answer("")?;
    if standing.routes.is_empty() {
        let name = standing.service.rsplit('/').next().unwrap_or_default();
        let text = format!(
            "its pods share the requests evenly, whatever their version; make what is missing: kubectl mesh-canary \
             init {name}"
        );
        layout::say(ui, 0, 2, [plain(text)])?;
    } else {
        // In a cluster a route stands in the object that its name begins with.
        let has_places = standing.routes.iter().any(|route| route.at != route.virtual_service);
        let mut headers = vec!["ROUTE", "WEIGHTS", "IN FORCE FOR"];
        headers.extend(has_places.then_some("WHERE"));
        let mut rows = Rows::new(1, &headers);
        for route in &standing.routes {
            let name =
                if route.has_match { format!("{} (with match)", route.route) } else { route.route.clone() };
            let place = has_places.then(|| dim(&route.at));
            rows.row([strong(name), plain(weights(route)), in_force(route)].into_iter().chain(place));
        }
        rows.show(ui, false)?;
        ui.answer("")?;
        versions(ui, standing, is_wide)?;
    }
    if let Some(traffic) = &standing.traffic {
        let by = match traffic.reporter {
            Some(Reporter::Destination) => "the servers' proxies (no client's proxy has counted any)",
            _ => "the clients' proxies",
        };
        ui.note(dim(format!(
            "numbers: the last {:.0} s, from {}, counted by {by}; latency as the bounds of a bucket",
            traffic.seconds, traffic.prometheus
        )));
    }
    if let Some(why) = &standing.no_traffic {
        ui.note(dim(format!("no numbers: {why}")));
    }
    if standing.versions.iter().any(|version| version.ready.is_none()) {
        ui.note(dim("which pods are ready is not known from manifests"));
    }
    for assumed in &standing.assumptions {
        assumed.say(ui);
    }
    for owner in &standing.owners {
        let text = format!("{} owns {} ({}): {}", owner.tool, owner.object, owner.evidence, owner.effect);
        ui.warning(&text);
    }
    if !standing.unreached.is_empty() {
        ui.warning(&format!(
            "a shift was interrupted before it reached {}; repeat it, or take it back with undo",
            standing.unreached.join(", ")
        ));
    }
    if let Some(attempt) = &standing.attempt {
        let name = standing.service.rsplit('/').next().unwrap_or_default();
        let jobs = match attempt.jobs.as_slice() {
            [] => "nothing ends it: it has no Job any more".to_owned(),
            jobs => format!("Kubernetes ends it with Job {}", jobs.join(", ")),
        };
        ui.note(plain(format!(
            "an attempt gives {} {} % by VirtualService {}, in front of {}; {jobs}; keep it with \
             `kubectl mesh-canary promote {name} --try`, end it with `kubectl mesh-canary abort {name}`",
            attempt.canary,
            attempt.percent,
            attempt.virtual_services.join(", "),
            attempt.of
        )));
        if let Some(stale) = &attempt.stale {
            ui.warning(&format!("the attempt is out of date: {stale}"));
        }
    }
    if let Some(run) = &standing.run {
        let at = run.at.map_or_else(|| "before its first step".to_owned(), |at| format!("at {at} %"));
        let name = standing.service.rsplit('/').next().unwrap_or_default();
        ui.note(plain(format!(
            "a run that began {} is {at}: go on with `kubectl mesh-canary run {name} --resume`, go back with \
             `kubectl mesh-canary abort {name}`",
            run.began
        )));
    }
    Ok(())
}

fn headline(standing: &Standing, with_reason: bool) -> Line {
    let because = if with_reason { format!(" ({})", standing.because) } else { String::new() };
    let text = match (&standing.canary, standing.percent) {
        (Some(canary), Some(percent)) => format!("{percent:.0} % to {canary}, the canary{because}"),
        (Some(canary), None) => format!("{canary} is the canary{because}; {}", standing.no_percent()),
        (None, _) => standing.because.clone(),
    };
    strong(&standing.service) + format!(": {text}")
}

fn versions(ui: &Ui, standing: &Standing, is_wide: bool) -> Result<(), Failure> {
    let mut headers = vec!["VERSION", "READY"];
    if standing.traffic.is_some() {
        headers.extend(["SPLIT", "REQUESTS", "ERRORS", "P50", "P99"]);
        if is_wide {
            headers.push("COUNTED BY");
        }
    }
    // What is as it should be leaves room for the numbers.
    let is_odd =
        |one: &VersionStanding| one.workloads.is_empty() || (one.labels.is_none() && !one.subset.is_empty());
    let has_labels = is_wide || standing.traffic.is_none() || standing.versions.iter().any(is_odd);
    if has_labels {
        headers.extend(["WORKLOADS", "LABELS"]);
    }
    let mut all = Rows::new(1, &headers);
    for version in &standing.versions {
        let ready = match (version.ready, version.endpoints) {
            (Some(ready), Some(endpoints)) => {
                let text = format!("{ready}/{endpoints}");
                if ready == 0 { bad(text) } else { plain(text) }
            }
            _ => dim("?"),
        };
        let lately = standing.traffic.as_ref();
        let own = lately.and_then(|traffic| traffic.versions.iter().find(|one| one.name == version.name));
        let reporters = match (is_wide && lately.is_some(), standing.reporter()) {
            (true, _) => vec![Some(Reporter::Source), Some(Reporter::Destination)],
            (false, reporter) => vec![reporter],
        };
        for (number, reporter) in reporters.into_iter().enumerate() {
            let is_first = number == 0;
            let once = |cell: Styled| if is_first { cell } else { plain("") };
            let mut row = vec![strong(&version.name), once(ready.clone())];
            if lately.is_some() {
                let rates = own.and_then(|own| own.rates(reporter));
                let share =
                    own.and_then(|own| own.share).map_or(dim("-"), |share| plain(format!("{share:.1} %")));
                row.push(once(share));
                row.push(rates.map_or(dim("-"), |rates| plain(per_second(rates.requests_per_second))));
                row.push(fraction(rates.and_then(|rates| rates.error_rate)));
                row.push(between(rates.and_then(|rates| rates.p50)));
                row.push(between(rates.and_then(|rates| rates.p99)));
                if is_wide {
                    row.push(plain(match reporter {
                        Some(Reporter::Source) => "clients",
                        _ => "servers",
                    }));
                }
            }
            let workloads = match version.workloads.as_slice() {
                [] => warn("none"),
                all => plain(all.join(", ")),
            };
            row.push(once(workloads));
            row.push(once(match &version.labels {
                Some(labels) => dim(labels.clone()),
                None if version.subset.is_empty() => dim(version.host.clone()),
                None => bad("no DestinationRule defines this subset"),
            }));
            row.truncate(headers.len());
            all.row(row);
        }
    }
    all.show(ui, false)
}

/// The watch on a terminal.
fn view_of(standing: &Standing, state: &Styled, width: usize) -> Vec<Line> {
    let mut lines = vec![headline(standing, false)];
    for route in standing.routes.iter().filter(|route| !route.in_force.is_empty()) {
        lines.push(dim(format!("{}  ", route.route)) + plain(weights(route)));
    }
    let bar = width.saturating_sub(57).clamp(5, 40);
    for version in &standing.versions {
        let own = standing.traffic.as_ref();
        let own = own.and_then(|traffic| traffic.versions.iter().find(|one| one.name == version.name));
        let share = own.and_then(|own| own.share);
        let rates = own.and_then(|own| own.rates(standing.reporter()));
        let name: String = format!("{:<10}", version.name).chars().take(16).collect();
        let ready = match (version.ready, version.endpoints) {
            (Some(ready), Some(all)) => format!("{ready}/{all} ready"),
            _ => String::new(),
        };
        let mut line = strong(name) + "  " + crate::live::bar(share, bar).as_str();
        line = line + share.map_or("      -".to_owned(), |share| format!(" {share:5.1} %"));
        if let Some(rates) = rates {
            line = line + format!("  {:>7}", per_second(rates.requests_per_second));
            line = line + "  errors " + fraction(rates.error_rate);
        }
        lines.push(line + "  " + dim(ready));
    }
    lines.extend(layout::lines(Some(width.saturating_sub(1)), 0, 2, [state.clone()]));
    lines.push(dim(format!("{}  Ctrl-C ends the watch, and changes nothing", clock())).into());
    lines
}
