//! `matrix`: all callers against all targets.

use mesh_cli::output::{self, HeaderArgs};
use mesh_cli::source::AllNamespacesArgs;
use mesh_cli::text::plain;
use mesh_cli::{Exit, Failure, SourceArgs, Table, Ui};
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::judge::Verdict;
use mesh_model::question::matrix::{Matrix, matrix};

use crate::words;

/// Show who can call whom: all callers against all services.
#[derive(clap::Args)]
#[command(before_help = "
# Who can call whom in a namespace
kubectl mesh-authz matrix -n orders

# The whole mesh as a spreadsheet
kubectl mesh-authz matrix -A -o csv > mesh.csv

# As a picture
kubectl mesh-authz matrix -f deploy/ -o dot | dot -Tsvg > mesh.svg
")]
pub(crate) struct Arguments {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Shape::Table)]
    output: Shape,
    #[command(flatten)]
    headers: HeaderArgs,
    #[command(flatten)]
    namespaces: AllNamespacesArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// The shapes of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    Table,
    Json,
    Csv,
    Dot,
    Mermaid,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let loaded = self.source.load(ui)?;
        let everywhere = self.namespaces.all_namespaces || loaded.anywhere;
        let within = (!everywhere).then_some(loaded.default_namespace.as_str());
        let answer = matrix(&mut Evaluator::new(&loaded.world), within);
        match self.output {
            Shape::Table => self.show(ui, &answer)?,
            Shape::Json => output::json(ui, "Matrix", &answer)?,
            Shape::Csv => ui.document(&csv(&answer))?,
            Shape::Dot => ui.document(&dot(&answer))?,
            Shape::Mermaid => ui.document(&mermaid(&answer))?,
        }
        Ok(Exit::Yes)
    }

    /// Callers down, targets by number across: names would not fit.
    fn show(&self, ui: &Ui, answer: &Matrix) -> Result<(), Failure> {
        words::assumptions(ui, &answer.assumptions);
        if answer.targets.is_empty() {
            ui.note("No services or workloads found.");
            return Ok(());
        }
        let mut table = Table::new(&["CALLER", "TARGET", "VERDICT"]).no_headers(self.headers.no_headers);
        for row in &answer.callers {
            for (target, verdict) in answer.targets.iter().zip(&row.verdicts) {
                if *verdict != Verdict::Deny {
                    table.row([plain(&row.caller), plain(target), words::verdict(*verdict)]);
                }
            }
        }
        if !table.is_empty() {
            ui.table(&table)?;
        }
        let denied: usize = answer
            .callers
            .iter()
            .map(|row| row.verdicts.iter().filter(|v| **v == Verdict::Deny).count())
            .sum();
        let all = answer.callers.len() * answer.targets.len();
        ui.answer(plain(format!(
            "{} callers, {} targets: {} pairs open, {denied} denied",
            answer.callers.len(),
            answer.targets.len(),
            all - denied
        )))
    }
}

/// A field of a CSV line (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn csv(answer: &Matrix) -> String {
    let mut text = String::from("caller");
    for target in &answer.targets {
        text.push(',');
        text.push_str(&field(target));
    }
    text.push('\n');
    for row in &answer.callers {
        text.push_str(&field(&row.caller));
        for verdict in &row.verdicts {
            text.push(',');
            text.push_str(verdict.name());
        }
        text.push('\n');
    }
    text
}

/// The pairs that are not denied.
fn open(answer: &Matrix) -> impl Iterator<Item = (&str, &str, Verdict)> {
    answer.callers.iter().flat_map(|row| {
        answer
            .targets
            .iter()
            .zip(&row.verdicts)
            .filter(|(_, verdict)| **verdict != Verdict::Deny)
            .map(|(target, verdict)| (row.caller.as_str(), target.as_str(), *verdict))
    })
}

fn dot(answer: &Matrix) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = String::from("digraph mesh {\n  rankdir=LR;\n");
    for (caller, target, verdict) in open(answer) {
        let style = if verdict == Verdict::Allow { "solid" } else { "dashed" };
        let label = if verdict == Verdict::Allow { "" } else { verdict.name() };
        text.push_str(&format!(
            "  {} -> {} [style={style}, label=\"{label}\"];\n",
            quoted(caller),
            quoted(target)
        ));
    }
    text.push_str("}\n");
    text
}

fn mermaid(answer: &Matrix) -> String {
    let mut names: Vec<&str> = open(answer).flat_map(|(caller, target, _)| [caller, target]).collect();
    names.sort_unstable();
    names.dedup();
    let id = |name: &str| format!("n{}", names.binary_search(&name).unwrap_or_default());
    let mut text = String::from("flowchart LR\n");
    for name in &names {
        // Mermaid writes quotes and brackets as entities.
        let label = name.replace('"', "#quot;");
        text.push_str(&format!("  {}[\"{label}\"]\n", id(name)));
    }
    for (caller, target, verdict) in open(answer) {
        let arrow = if verdict == Verdict::Allow { "-->" } else { "-.->" };
        let label = if verdict == Verdict::Allow { String::new() } else { format!("|{}|", verdict.name()) };
        text.push_str(&format!("  {} {arrow}{label} {}\n", id(caller), id(target)));
    }
    text
}
