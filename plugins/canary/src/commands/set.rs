//! `set SERVICE WEIGHT`: the canary gets that many percent.

use std::time::SystemTime;

use mesh_cli::dry_run::DryRunArgs;
use mesh_cli::output::Output;
use mesh_cli::text::{dim, plain, strong};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::canary::plan::{self, Moving, NoPlan, Occasion, Wanted, label};
use mesh_model::routing::Routing;

use crate::apply::{self, How, Sink};
use crate::commands::status;
use crate::subject::{Subject, because};

/// Give the canary a share of a service's traffic, in percent.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(before_help = "
# Give the new version of payment half of the traffic
kubectl mesh-canary set payment 50

# In manifests, in place
kubectl mesh-canary set payment 50 -f deploy/
")]
pub(crate) struct Arguments {
    /// The service.
    #[arg(value_name = "SERVICE", required = true)]
    service: Option<String>,
    /// The canary's share in percent.
    #[arg(value_name = "WEIGHT", value_parser = clap::value_parser!(u32).range(0..=100))]
    weight: Option<u32>,
    /// Which version is the canary: a subset, or a host of its own.
    #[arg(long, value_name = "SUBSET")]
    canary: Option<String>,
    /// Only this route: its name, `http[0]`, or `NAMESPACE/NAME` of its VirtualService; may be repeated.
    #[arg(long, value_name = "ROUTE")]
    route: Vec<String>,
    /// All routes, also where they give the canary different shares now.
    #[arg(long, conflicts_with = "route")]
    all_routes: bool,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    view: status::ViewArgs,
    #[command(flatten)]
    dry_run: DryRunArgs,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Name]))]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

impl Arguments {
    /// `SERVICE` alone asks for the status.
    pub(crate) fn run_short(&self, ui: &Ui) -> Result<Exit, Failure> {
        if self.weight.is_some() {
            return self.run(ui);
        }
        let status = status::Arguments {
            service: self.service()?.to_owned(),
            view: self.view.clone(),
            output: self.output,
            source: self.source.clone(),
        };
        status.run(ui)
    }

    /// The service; clap asks for it unless a command is named.
    fn service(&self) -> Result<&str, Failure> {
        self.service.as_deref().ok_or_else(|| Failure::usage("no service is named"))
    }

    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let Some(percent) = self.weight else {
            return Err(Failure::usage("set needs a weight: the canary's share in percent"));
        };
        let sink = Sink::open(&self.source)?;
        let loaded = self.source.load(ui)?;
        let routing = Routing::new(&loaded.world);
        let subject = Subject::find(ui, &routing, &loaded, self.service()?)?;
        let (canary, choice) = subject.canary(self.canary.as_deref())?;
        ui.note(dim(format!("{} is the canary: {}", canary.name, because(&choice))));
        let wanted = if self.all_routes {
            Wanted::All
        } else if self.route.is_empty() {
            Wanted::Same
        } else {
            Wanted::Named(self.route.clone())
        };
        let moving = plan::moving(&subject.carriers, canary, percent, &wanted).map_err(no_plan)?;
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let occasion = Occasion {
            id: now.clone(),
            command: "set".to_owned(),
            at: now,
            by: String::new(),
            reason: self.reason.clone(),
        };
        let changes = plan::changes(&subject.carriers, &canary.name, percent, &moving, &occasion)
            .map_err(|mismatch| Failure::conflict(format!("error: {mismatch}")))?;
        apply::write(
            ui,
            &sink,
            &loaded,
            &changes,
            How { dry_run: self.dry_run.dry_run, output: self.output },
        )?;
        if matches!(self.output, Output::Table | Output::Wide) {
            show(ui, &subject, &moving)?;
        }
        Ok(Exit::Yes)
    }
}

fn show(ui: &Ui, subject: &Subject<'_, '_>, moving: &[Moving]) -> Result<(), Failure> {
    let list = |weights: &[u32]| weights.iter().map(u32::to_string).collect::<Vec<_>>().join("/");
    for one in moving {
        let Some(carrier) = subject.carriers.get(one.carrier) else { continue };
        let line = strong(label(carrier)) + plain(format!("  {} -> {}", list(&one.from), list(&one.to)));
        ui.answer(line)?;
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
            Failure::usage("the routes give the canary different shares now").hint(format!(
                "say which with --route, or --all-routes: {}",
                routes.collect::<Vec<_>>().join(", ")
            ))
        }
        NoPlan::Weights { route, why } => Failure::usage(format!("{route}: {why}")),
        NoPlan::Mismatch(mismatch) => Failure::conflict(format!("error: {mismatch}")),
    }
}
