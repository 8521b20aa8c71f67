//! `what-can CALLER`: everything that a caller reaches.

use mesh_cli::layout::{self, Rows};
use mesh_cli::output::{self, HeaderArgs, Output};
use mesh_cli::source::AllNamespacesArgs;
use mesh_cli::text::{dim, plain, strong};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::judge::Verdict;
use mesh_model::question::what_can::{WhatCan, what_can};
use mesh_model::world::World;

use crate::words;

/// List what a caller can call, with which requests, resting on what, and why.
#[derive(clap::Args)]
#[command(before_help = "
# Everything that order-service can call in its namespace
kubectl mesh-authz what-can order-service -n orders

# What anybody without an identity can call in the whole mesh
kubectl mesh-authz what-can anonymous -A
")]
pub(crate) struct Arguments {
    /// The caller: a service or workload, sa/NAME, a full principal, or anonymous.
    #[arg(value_name = "CALLER")]
    caller: String,
    /// Show what it cannot call, and the rule that came closest.
    #[arg(long)]
    deny: bool,
    /// Show what it can and what it cannot call.
    #[arg(long, conflicts_with = "deny")]
    all: bool,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Json, Output::Yaml, Output::Name]))]
    output: Output,
    #[command(flatten)]
    headers: HeaderArgs,
    #[command(flatten)]
    namespaces: AllNamespacesArgs,
    #[command(flatten)]
    source: SourceArgs,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let loaded = self.source.load(ui)?;
        let caller = words::caller(ui, &loaded, &self.caller)?;
        let everywhere = self.namespaces.all_namespaces || loaded.anywhere;
        let within = (!everywhere).then_some(loaded.default_namespace.as_str());
        let answer = what_can(&mut Evaluator::new(&loaded.world), &caller, within);
        match self.output {
            Output::Json => output::json(ui, "WhatCan", &answer)?,
            Output::Yaml => output::yaml(ui, "WhatCan", &answer)?,
            Output::Name => {
                let mut names: Vec<&str> = answer
                    .targets
                    .iter()
                    .filter(|row| row.access.verdict != Verdict::Deny)
                    .map(|row| row.service.as_deref().unwrap_or(&row.workload))
                    .collect();
                names.sort_unstable();
                names.dedup();
                names.into_iter().try_for_each(|name| ui.answer(plain(name)))?;
            }
            Output::Table | Output::Wide => self.show(ui, &loaded.world, &answer)?,
        }
        Ok(Exit::Yes)
    }

    fn show(&self, ui: &Ui, world: &World, answer: &WhatCan) -> Result<(), Failure> {
        // Where nothing gets through there is nothing to say about what does.
        let details = if self.deny { 1 } else { 3 };
        let mut headers = vec!["SERVICE", "PORT", "VERDICT", "WORKLOAD"];
        headers.extend(["REQUESTS", "RESTS ON", "BECAUSE"].into_iter().skip(3 - details));
        let mut rows = Rows::new(3, &headers);
        for row in &answer.targets {
            let denied = row.access.verdict == Verdict::Deny;
            if !self.all && denied != self.deny {
                continue;
            }
            let why = match &row.access.nearest_miss {
                Some(miss) => words::nearest_miss(miss),
                None => words::because(&row.access.because),
            };
            let about = [
                row.service.as_ref().map_or_else(|| dim("-"), plain),
                plain(format!("{}/{}", row.access.port, row.access.protocol)),
                words::verdict(row.access.verdict),
                plain(&row.workload),
            ];
            let how = [
                if row.access.requests.is_empty() { dim("-") } else { plain(row.access.requests.join("; ")) },
                words::rests_on(&row.access.rests_on),
                plain(why),
            ];
            rows.row(about.into_iter().chain(how.into_iter().skip(3 - details)));
        }
        rows.show(ui, self.headers.no_headers)?;
        let verdicts = answer.targets.iter().map(|row| row.access.verdict);
        let hidden = !self.deny && !self.all && verdicts.clone().any(|verdict| verdict == Verdict::Deny);
        let rest = format!(
            ": {}, of {} targets and ports{}",
            words::counts(verdicts),
            answer.targets.len(),
            if hidden { " (--deny shows what it cannot call, and why)" } else { "" }
        );
        layout::say(ui, 0, 2, [strong(words::shorts(world, &answer.caller)), plain(rest)])?;
        words::assumptions(ui, &answer.assumptions);
        Ok(())
    }
}
