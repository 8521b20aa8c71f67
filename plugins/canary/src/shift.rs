//! One shift: planned on what is there, looked at before it is made, written, and told.

use std::time::SystemTime;

use mesh_cli::dry_run::{DryRun, DryRunArgs};
use mesh_cli::output::{self, Output};
use mesh_cli::text::{bad, dim, plain, strong, warn};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::canary::carrier::Carrier;
use mesh_model::canary::owner::owners;
use mesh_model::canary::plan::{self, Moving, NoPlan, NoUndo, Occasion, Wanted, label};
use mesh_model::canary::preflight::{Cause, Problem, problems};
use mesh_model::canary::version::Version;
use mesh_model::change::Change;
use mesh_model::routing::Routing;
use serde::Serialize;

use crate::apply::{self, How, Sink};
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
    /// Shift even where callers would get 503 for the canary's share.
    #[arg(long)]
    pub(crate) force: bool,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) dry_run: DryRunArgs,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Name]))]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// The canary gets this share, in percent.
    Percent(u32),
    /// The weights before the last step.
    Back,
}

/// What was moved, as programs see it.
#[derive(Serialize)]
struct Shifted {
    service: String,
    canary: Option<String>,
    percent: Option<u32>,
    routes: Vec<Moved>,
}

#[derive(Serialize)]
struct Moved {
    route: String,
    at: String,
    from: Vec<u32>,
    to: Vec<u32>,
}

impl ShiftArgs {
    /// Makes a shift.
    pub(crate) fn shift(&self, ui: &Ui, command: &str, service: &str, goal: Goal) -> Result<Exit, Failure> {
        let sink = Sink::open(&self.source)?;
        let loaded = self.source.load(ui)?;
        let routing = Routing::new(&loaded.world);
        let subject = Subject::find(ui, &routing, &loaded, service)?;
        let (canary, percent, moving) = match goal {
            Goal::Percent(percent) => {
                let (canary, choice) = subject.canary(self.canary.as_deref())?;
                ui.note(dim(format!("{} is the canary: {}", canary.name, because(&choice))));
                let moving =
                    plan::moving(&subject.carriers, canary, percent, &self.wanted()).map_err(no_plan)?;
                (Some(canary), Some(percent), moving)
            }
            Goal::Back => {
                let step = plan::last_step(&subject.carriers).ok_or_else(|| no_undo(&NoUndo::Nothing))?;
                let moving = plan::undoing(&subject.carriers, &step).map_err(|why| no_undo(&why))?;
                let canary = subject.versions.iter().find(|version| version.name == step.canary);
                (canary, None, moving)
            }
        };
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let occasion = Occasion {
            id: now.clone(),
            command: command.to_owned(),
            at: now,
            by: String::new(),
            reason: self.reason.clone(),
        };
        let share = percent.unwrap_or_else(|| share_after(canary, &subject, &moving));
        let name = canary.map(|canary| canary.name.clone()).unwrap_or_default();
        let changes = match &sink {
            Sink::Cluster { .. } => plan::changes(&subject.carriers, &name, share, &moving, &occasion),
            Sink::Files => plan::weights_only(&subject.carriers, &moving),
        };
        let changes = changes.map_err(|mismatch| Failure::conflict(format!("error: {mismatch}")))?;
        let is_table = matches!(self.output, Output::Table | Output::Wide);
        if changes.is_empty() && is_table {
            ui.answer(plain(format!("{}: nothing to do, the weights are so already", subject.key())))?;
            return Ok(Exit::Yes);
        }
        let moved: Vec<&Carrier<'_>> =
            moving.iter().filter_map(|one| subject.carriers.get(one.carrier)).collect();
        if !self.is_safe(ui, &subject, canary, share, &changes, &moved)? {
            return Ok(Exit::No);
        }
        let objects_wanted = self.dry_run.dry_run != DryRun::None;
        let how = How {
            dry_run: self.dry_run.dry_run,
            // Without a dry run, programs get what was moved instead of objects.
            output: if objects_wanted || is_table { self.output } else { Output::Table },
            quiet: !is_table,
        };
        apply::write(ui, &sink, &loaded, &changes, how)?;
        let shifted = Shifted {
            service: subject.key(),
            canary: canary.map(|canary| canary.name.clone()),
            percent,
            routes: moving.iter().filter_map(|one| moved_route(&subject, one)).collect(),
        };
        match self.output {
            Output::Table | Output::Wide => show(ui, &shifted)?,
            Output::Json if !objects_wanted => output::json(ui, "CanaryShift", &shifted)?,
            Output::Yaml if !objects_wanted => output::yaml(ui, "CanaryShift", &shifted)?,
            _ => {}
        }
        Ok(Exit::Yes)
    }

    fn wanted(&self) -> Wanted {
        if self.all_routes {
            Wanted::All
        } else if self.route.is_empty() {
            Wanted::Same
        } else {
            Wanted::Named(self.route.clone())
        }
    }

    /// Looks at the World after the change: whether no caller would get 503, or it is wanted all the same.
    fn is_safe(
        &self,
        ui: &Ui,
        subject: &Subject<'_, '_>,
        canary: Option<&Version<'_>>,
        share: u32,
        changes: &[Change],
        moved: &[&Carrier<'_>],
    ) -> Result<bool, Failure> {
        let mut told = Vec::new();
        for carrier in moved {
            let object = &carrier.place.object;
            if told.contains(&object.key()) {
                continue;
            }
            told.push(object.key());
            for owner in owners(object) {
                let text = format!(
                    "VirtualService {} belongs to {} ({}): {}",
                    object.key(),
                    owner.tool,
                    owner.evidence,
                    owner.effect
                );
                ui.warning(&text);
            }
            if carrier.in_force.is_empty() {
                ui.warning(&format!(
                    "{} is in force for nobody: another VirtualService comes before it, or nothing has a sidecar",
                    label(carrier)
                ));
            }
        }
        let (Some(canary), true) = (canary, share > 0) else { return Ok(true) };
        let after = subject
            .world()
            .after(changes)
            .map_err(|mismatch| Failure::conflict(format!("error: {mismatch}")))?;
        let routing = Routing::new(&after);
        let callers = routing.callers();
        let found = problems(&routing, subject.host, canary, moved, &callers);
        for problem in &found {
            ui.note(bad("503 ") + plain(words(problem)));
        }
        if found.is_empty() || self.force {
            return Ok(true);
        }
        ui.answer(
            warn("refused: ")
                + plain(format!(
                    "{share} % of these callers' requests to {} would be answered with 503; nothing was changed \
                     (--force shifts all the same)",
                    subject.key()
                )),
        )?;
        Ok(false)
    }
}

/// What callers would get, and from where.
fn words(problem: &Problem) -> String {
    let cluster = &problem.cluster;
    let what = match &problem.cause {
        Cause::HostUnknown => {
            format!("their proxies do not know {}: a Sidecar object leaves it out", cluster.host)
        }
        Cause::NoPort { port } => format!("{} has no port {port}", cluster.host),
        Cause::NoRule => {
            format!("no DestinationRule for {} defines subset {}", cluster.host, cluster.subset)
        }
        Cause::NoSubset { rule, at, hidden } => {
            let place = if at == rule { String::new() } else { format!(" {at}") };
            let hides = match hidden.as_slice() {
                [] => String::new(),
                hidden => format!(", and hides {}, which does", hidden.join(", ")),
            };
            format!(
                "they go by DestinationRule {rule}{place}, which does not define subset {}{hides}",
                cluster.subset
            )
        }
        Cause::NoEndpoints { labels, at } => {
            let place = if at.is_empty() { String::new() } else { format!(" ({at})") };
            format!("no pod has the labels {labels} of subset {}{place}", cluster.subset)
        }
        Cause::NotReady { pods } => format!("none of the {pods} pods of {} is ready", cluster.subset),
    };
    format!("for {}: {what}", problem.callers)
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

fn moved_route(subject: &Subject<'_, '_>, one: &Moving) -> Option<Moved> {
    let carrier = subject.carriers.get(one.carrier)?;
    Some(Moved { route: label(carrier), at: carrier.place.at(), from: one.from.clone(), to: one.to.clone() })
}

fn show(ui: &Ui, shifted: &Shifted) -> Result<(), Failure> {
    let list = |weights: &[u32]| weights.iter().map(u32::to_string).collect::<Vec<_>>().join("/");
    for route in &shifted.routes {
        let change = format!("  {} -> {}", list(&route.from), list(&route.to));
        ui.answer(strong(&route.route) + plain(change))?;
    }
    Ok(())
}

fn no_plan(error: NoPlan) -> Failure {
    match error {
        NoPlan::NoSplit { canary, routes } => {
            Failure::error(format!("no route splits traffic between {canary} and another version"))
                .hint(format!("routes: {}", routes.join(", ")))
        }
        NoPlan::NoSuchRoute { name, routes } => {
            Failure::usage(format!("no route {name}")).hint(format!("there are: {}", routes.join(", ")))
        }
        NoPlan::Ambiguous { routes } => {
            let routes = routes.iter().map(|(route, share)| match share {
                Some(share) => format!("{route} ({share:.0} %)"),
                None => route.clone(),
            });
            let routes = routes.collect::<Vec<_>>().join(", ");
            Failure::usage("the routes give the canary different shares now")
                .hint(format!("say which with --route, or --all-routes: {routes}"))
        }
        NoPlan::Weights { route, why } => Failure::usage(format!("{route}: {why}")),
        NoPlan::Mismatch(mismatch) => Failure::conflict(format!("error: {mismatch}")),
    }
}

fn no_undo(why: &NoUndo) -> Failure {
    let list = |weights: &[u32]| weights.iter().map(u32::to_string).collect::<Vec<_>>().join("/");
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
