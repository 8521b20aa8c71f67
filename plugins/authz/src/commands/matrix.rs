//! `matrix`: all callers against all targets.

use mesh_cli::layout::say;
use mesh_cli::output::{self, HeaderArgs};
use mesh_cli::source::AllNamespacesArgs;
use mesh_cli::text::{Styled, dim, plain, strong};
use mesh_cli::{Exit, Failure, SourceArgs, Table, Ui};
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::judge::Verdict;
use mesh_model::question::matrix::{Matrix, matrix};
use mesh_model::world::World;

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
            Shape::Table => self.show(ui, &loaded.world, &answer)?,
            Shape::Json => output::json(ui, "Matrix", &answer)?,
            Shape::Csv => ui.document(&csv(&answer))?,
            Shape::Dot => ui.document(&dot(&answer))?,
            Shape::Mermaid => ui.document(&mermaid(&answer))?,
        }
        Ok(Exit::Yes)
    }

    fn show(&self, ui: &Ui, world: &World, answer: &Matrix) -> Result<(), Failure> {
        if answer.targets.is_empty() {
            ui.note("No services or workloads found.");
            return Ok(());
        }
        let grid = grid(world, answer);
        if width(&grid) <= ui.width().map_or(PAGE, usize::from) {
            // The names of targets are rows like all others: they are not known beforehand.
            let mut table = Table::new(&[]).no_headers(true);
            let skipped = usize::from(self.headers.no_headers);
            grid.into_iter().skip(skipped).for_each(|row| table.row(row));
            ui.table(&table)?;
        } else {
            self.list(ui, world, answer)?;
        }
        let pairs = answer.callers.len() * answer.targets.len();
        let verdicts = answer.callers.iter().flat_map(|row| row.verdicts.iter().copied());
        let text = format!(": {}, of {pairs} pairs", words::counts(verdicts));
        let many = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let who =
            format!("{}, {}", many(answer.callers.len(), "caller"), many(answer.targets.len(), "target"));
        say(ui, 0, 2, [strong(who), plain(text)])?;
        words::assumptions(ui, &answer.assumptions);
        Ok(())
    }

    /// The pairs that are not denied, a row for each; on a terminal too narrow for that, below each
    /// caller.
    fn list(&self, ui: &Ui, world: &World, answer: &Matrix) -> Result<(), Failure> {
        let names: Vec<String> = answer.callers.iter().map(|row| words::short(world, &row.caller)).collect();
        let longest = |names: &[String]| names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let total = longest(&names) + longest(&answer.targets) + Verdict::Conditional.name().len() + 6;
        if ui.width().is_none_or(|width| total <= usize::from(width)) {
            let headers = ["CALLER", "TARGET", "VERDICT"];
            let mut table = Table::new(&headers).no_headers(self.headers.no_headers);
            for (caller, target, verdict) in open(answer) {
                table.row([plain(words::short(world, caller)), plain(target), words::verdict(verdict)]);
            }
            return if table.is_empty() { Ok(()) } else { ui.table(&table) };
        }
        let mut last = "";
        for (caller, target, verdict) in open(answer) {
            if caller != last {
                ui.answer(strong(words::short(world, caller)))?;
                last = caller;
            }
            let gap = " ".repeat(Verdict::Conditional.name().len() + 2 - verdict.name().len());
            ui.answer(plain("  ") + words::verdict(verdict) + plain(format!("{gap}{target}")))?;
        }
        Ok(())
    }
}

/// How wide a grid may be where there is no terminal.
const PAGE: usize = 120;

/// Callers down, targets across; without their namespace where their name alone says which.
fn grid(world: &World, answer: &Matrix) -> Vec<Vec<Styled>> {
    let name = |target: &String| target.split_once('/').map_or(target.clone(), |(_, name)| name.to_owned());
    let mut names: Vec<String> = answer.targets.iter().map(name).collect();
    let mut known: Vec<&String> = names.iter().collect();
    known.sort_unstable();
    if known.windows(2).any(|pair| pair.first() == pair.last()) {
        names = answer.targets.clone();
    }
    let mut grid = vec![std::iter::once(plain("CALLER")).chain(names.into_iter().map(plain)).collect()];
    for row in &answer.callers {
        let verdicts = row.verdicts.iter().map(|verdict| match verdict {
            Verdict::Deny => dim("-"),
            other => words::verdict(*other),
        });
        grid.push(std::iter::once(plain(words::short(world, &row.caller))).chain(verdicts).collect());
    }
    grid
}

fn width(grid: &[Vec<Styled>]) -> usize {
    let columns = grid.first().map_or(0, Vec::len);
    let widest = |column: usize| {
        let cells = grid.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.text.chars().count()).max().unwrap_or_default()
    };
    (0..columns).map(widest).sum::<usize>() + 3 * columns.saturating_sub(1)
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
