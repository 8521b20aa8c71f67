//! `history SERVICE`: who moved what, when, why.

use mesh_cli::layout::Rows;
use mesh_cli::output::{self, Output};
use mesh_cli::text::{plain, strong};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::canary::carrier::Carrier;
use mesh_model::canary::history::{History, Step};
use mesh_model::canary::plan::label;
use mesh_model::routing::{KINDS, Routing};
use serde::Serialize;

use crate::subject::Subject;

/// Show the last steps of a service's canaries: when, what, from which weights to which, and why.
#[derive(Clone, Debug, clap::Args)]
#[command(before_help = "
# What was done to payment
kubectl mesh-canary history payment
")]
pub(crate) struct Arguments {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Json, Output::Yaml]))]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Serialize)]
struct Steps {
    service: String,
    steps: Vec<StepOf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepOf {
    virtual_service: String,
    #[serde(flatten)]
    step: Step,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let loaded = self.source.load_only(ui, &KINDS)?;
        let routing = Routing::new(&loaded.world);
        let subject = Subject::find(ui, &routing, &loaded, &self.service)?;
        let mut steps: Vec<StepOf> = Vec::new();
        for carrier in &subject.carriers {
            let object = &carrier.place.object;
            if steps.iter().any(|step| step.virtual_service == object.key()) {
                continue;
            }
            let all = History::of(object).steps.into_iter();
            steps.extend(all.map(|step| StepOf { virtual_service: object.key(), step }));
        }
        steps.sort_by(|a, b| (&a.step.at, &a.virtual_service).cmp(&(&b.step.at, &b.virtual_service)));
        let answer = Steps { service: subject.key(), steps };
        match self.output {
            Output::Json => output::json(ui, "CanaryHistory", &answer)?,
            Output::Yaml => output::yaml(ui, "CanaryHistory", &answer)?,
            _ if answer.steps.is_empty() => ui.note(match self.source.connection() {
                Some(_) => "No steps found: nothing was shifted yet, or not by mesh-canary.",
                None => "No steps found: they are kept on objects in a cluster; in manifests, git has the history.",
            }),
            _ => show(ui, &answer, &subject.carriers)?,
        }
        Ok(Exit::Yes)
    }
}

fn show(ui: &Ui, answer: &Steps, carriers: &[Carrier<'_>]) -> Result<(), Failure> {
    let list = |weights: &[u32]| weights.iter().map(u32::to_string).collect::<Vec<_>>().join("/");
    // A route that is gone has no name any more.
    let name = |object: &str, pointer: &str| {
        let is_it = |it: &&Carrier<'_>| it.place.object.key() == object && it.place.pointer == pointer;
        carriers.iter().find(is_it).map_or_else(|| format!("{object} {pointer}"), label)
    };
    let mut table = Rows::new(2, &["WHEN", "COMMAND", "BY", "ROUTE", "CANARY", "WEIGHTS", "REASON"]);
    for StepOf { virtual_service, step } in &answer.steps {
        for (pointer, one) in &step.routes {
            table.row([
                plain(&step.at),
                strong(&step.command),
                plain(&step.by),
                plain(name(virtual_service, pointer)),
                plain(&step.canary),
                plain(format!("{} -> {}", list(&one.from), list(&one.to))),
                plain(&step.reason),
            ]);
        }
    }
    table.show(ui, false)
}
