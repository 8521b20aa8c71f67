//! `record`: today's verdicts as a file of cases.

use mesh_cli::output;
use mesh_cli::source::AllNamespacesArgs;
use mesh_cli::text::dim;
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::judge::Verdict;
use mesh_model::question::target::{Scope, find};
use mesh_model::question::who_can::{CallerKind, who_can};
use serde::Serialize;

use crate::cases::{Case, Placed, Stated};
use crate::commands::test::Tester;
use crate::words;

/// Write today's verdicts as cases for test, one for each caller and port.
#[derive(clap::Args)]
#[command(before_help = "
# Keep what a namespace allows and denies today
kubectl mesh-authz record -n orders > cases.yaml

# And see tomorrow whether it still does
kubectl mesh-authz test cases.yaml -n orders
")]
pub(crate) struct Arguments {
    /// Only this service or workload.
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    #[command(flatten)]
    namespaces: AllNamespacesArgs,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Serialize)]
struct File {
    cases: Vec<Case>,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let loaded = self.source.load(ui)?;
        let world = &loaded.world;
        let everywhere = self.namespaces.all_namespaces || loaded.anywhere;
        let mut targets = Vec::new();
        match &self.target {
            Some(text) => targets.push(words::find(ui, &loaded, text)?),
            None => {
                for service in &world.services {
                    let namespace = service.object.namespace.as_str();
                    if everywhere || namespace == loaded.default_namespace {
                        let name = format!("svc/{}", service.object.name);
                        // A Service without pods has nobody to ask about.
                        targets.extend(find(world, &name, Scope { namespace, anywhere: false }));
                    }
                }
            }
        }
        let mut evaluator = Evaluator::new(world);
        let mut cases: Vec<Placed> = Vec::new();
        for target in &targets {
            let to = match target.service {
                Some(_) => format!("svc/{}.{}", target.name, target.namespace),
                None => format!("{}.{}", target.name, target.namespace),
            };
            for row in who_can(&mut evaluator, target).callers {
                if row.kind == CallerKind::Bypass {
                    continue;
                }
                let witness = row.access.witness.as_ref().and_then(Stated::from_witness).unwrap_or_default();
                cases.push(Placed {
                    case: Case {
                        name: Some(format!(
                            "{} to {to} port {} {}",
                            row.caller, row.access.port, row.access.protocol
                        )),
                        from: row.caller.clone(),
                        to: to.clone(),
                        port: Some(row.access.port),
                        protocol: Some(row.access.protocol.to_owned()),
                        request: witness,
                        expect: None,
                        rule: None,
                    },
                    at: String::new(),
                    file: String::new(),
                });
            }
        }
        // A pattern of principals is nobody who could call.
        cases.retain(|placed| !placed.case.from.contains('*'));
        let outcomes = Tester::new(&loaded).all(&cases)?;
        let cases: Vec<Case> = cases
            .into_iter()
            .zip(&outcomes)
            .map(|(placed, outcome)| Case {
                expect: Some(outcome.verdict().name().to_owned()),
                ..placed.case
            })
            .collect();
        let unknown = outcomes.iter().filter(|outcome| outcome.verdict() == Verdict::Unknown).count();
        if unknown > 0 {
            ui.note(dim(format!("{unknown} verdicts are unknown and recorded as such")));
        }
        output::yaml(ui, "AuthorizationCases", &File { cases })?;
        Ok(Exit::Yes)
    }
}
