//! `status SERVICE`: how the traffic is split, for whom, and what each version answers.

use mesh_cli::output::{self, Output};
use mesh_cli::text::{dim, plain, strong};
use mesh_cli::{Exit, Failure, SourceArgs, Table, Ui};
use mesh_model::canary::plan::label;
use mesh_model::routing::{KINDS, Routing};
use serde::Serialize;

use crate::subject::Subject;

/// Show how a service's traffic is split: for which callers, and what each version answers.
#[derive(Clone, Debug, clap::Args)]
#[command(before_help = "
# How payment's traffic is split
kubectl mesh-canary status payment
")]
pub(crate) struct Arguments {
    /// The service.
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Name]))]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Serialize)]
struct Status {
    service: String,
    routes: Vec<RouteStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteStatus {
    route: String,
    at: String,
    weights: Vec<u32>,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let loaded = self.source.load_only(ui, &KINDS)?;
        let routing = Routing::new(&loaded.world);
        let subject = Subject::find(ui, &routing, &loaded, &self.service)?;
        let status = Status {
            service: subject.key(),
            routes: subject
                .carriers
                .iter()
                .map(|carrier| RouteStatus {
                    route: label(carrier),
                    at: carrier.place.at(),
                    weights: carrier.weights(),
                })
                .collect(),
        };
        match self.output {
            Output::Json => output::json(ui, "CanaryStatus", &status)?,
            Output::Yaml => output::yaml(ui, "CanaryStatus", &status)?,
            _ => {
                let mut table = Table::new(&["ROUTE", "WEIGHTS", "WHERE"]);
                for route in &status.routes {
                    let weights = route.weights.iter().map(u32::to_string).collect::<Vec<_>>().join("/");
                    table.row([strong(&route.route), plain(weights), dim(&route.at)]);
                }
                ui.table(&table)?;
            }
        }
        Ok(Exit::Yes)
    }
}
