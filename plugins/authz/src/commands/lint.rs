//! `lint`: policies that do not do what they seem to do.

use clap::ValueEnum;
use mesh_cli::output::{self, Output};
use mesh_cli::source::AllNamespacesArgs;
use mesh_cli::text::{Line, bad, dim, plain, strong, warn};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::lint::{Finding, LINTS, Lint, Severity, lint};
use serde::Serialize;

/// Find policies that do not do what they seem to do: exit code 1 if there are any.
#[derive(clap::Args)]
#[command(before_help = "
# What is wrong with the policies of a directory
kubectl mesh-authz lint -f deploy/

# Everything in the cluster, also what may be meant so
kubectl mesh-authz lint -A --fail-on warning

# All lints, each in a line
kubectl mesh-authz lint --list
")]
pub(crate) struct Arguments {
    /// Fail, with exit code 1, for findings that are at least this bad.
    #[arg(long, value_enum, default_value = "error", value_name = "SEVERITY")]
    fail_on: FailOn,
    /// Print the list of lints and look at nothing.
    #[arg(long)]
    list: bool,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Json, Output::Yaml]))]
    output: Output,
    #[command(flatten)]
    scope: AllNamespacesArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// What makes the command fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Errors only.
    Error,
    /// Errors and warnings.
    Warning,
}

impl FailOn {
    fn least(self) -> Severity {
        match self {
            Self::Error => Severity::Error,
            Self::Warning => Severity::Warning,
        }
    }
}

/// The answer, as programs see it.
#[derive(Serialize)]
struct View<'a> {
    errors: usize,
    warnings: usize,
    findings: &'a [Finding],
}

/// The list of lints, as programs see it.
#[derive(Serialize)]
struct List {
    lints: &'static [Lint],
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        if self.list {
            return self.show_list(ui);
        }
        let loaded = self.source.load(ui)?;
        let world = &loaded.world;
        let everywhere = self.scope.all_namespaces || loaded.anywhere;
        let findings: Vec<Finding> = lint(world)
            .into_iter()
            .filter(|finding| {
                // What the root namespace says holds in every other.
                everywhere
                    || finding.namespace() == loaded.default_namespace
                    || finding.namespace() == world.mesh.root_namespace
            })
            .collect();
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let view =
            View { errors: count(Severity::Error), warnings: count(Severity::Warning), findings: &findings };
        match self.output {
            Output::Json => output::json(ui, "Lint", &view)?,
            Output::Yaml => output::yaml(ui, "Lint", &view)?,
            Output::Table | Output::Wide | Output::Name => show(ui, &view)?,
        }
        let fails = findings.iter().any(|finding| finding.severity >= self.fail_on.least());
        Ok(if fails { Exit::No } else { Exit::Yes })
    }

    fn show_list(&self, ui: &Ui) -> Result<Exit, Failure> {
        match self.output {
            Output::Json => output::json(ui, "LintList", &List { lints: LINTS })?,
            Output::Yaml => output::yaml(ui, "LintList", &List { lints: LINTS })?,
            Output::Table | Output::Wide | Output::Name => {
                let mut table = mesh_cli::Table::new(&["LINT", "SEVERITY", "WHAT IT FINDS"]);
                for lint in LINTS {
                    table.row([strong(lint.code), plain(lint.severity.name()), plain(lint.summary)]);
                }
                ui.table(&table)?;
            }
        }
        Ok(Exit::Yes)
    }
}

/// Findings as blocks, the worst last, where the reader's eye is.
fn show(ui: &Ui, view: &View<'_>) -> Result<(), Failure> {
    let mut findings: Vec<&Finding> = view.findings.iter().collect();
    findings.sort_by_key(|finding| finding.severity);
    for finding in findings {
        for line in block(finding) {
            ui.answer(line)?;
        }
    }
    let many = |count: usize, word: &str| {
        if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
    };
    ui.answer(strong(format!("{}, {}", many(view.errors, "error"), many(view.warnings, "warning"))))
}

fn block(finding: &Finding) -> Vec<Line> {
    let severity = match finding.severity {
        Severity::Error => bad(finding.severity.name()),
        Severity::Warning => warn(finding.severity.name()),
    };
    let rule = finding.rule.map_or(String::new(), |rule| format!(" rule {rule}"));
    let place = if finding.at == finding.object { String::new() } else { format!("  {}", finding.at) };
    let mut lines = vec![
        severity
            + plain(" ")
            + strong(finding.code)
            + plain(format!("  {} {}{rule}", finding.kind, finding.object))
            + dim(place),
        Line::from(plain(format!("  {}", finding.text))),
    ];
    if let Some(request) = &finding.request {
        lines.push(dim("  request: ") + plain(request.to_string()));
        lines.push(dim("  happens: ") + plain(&request.happens));
        lines.push(dim("  expect:  ") + plain(&request.expected));
    }
    lines.push(dim("  fix:     ") + plain(&finding.fix));
    lines.push(Line::from(plain("")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_block() {
        let finding = Finding {
            code: "unused-selector",
            severity: Severity::Error,
            kind: "AuthorizationPolicy",
            object: "orders/payment".to_owned(),
            rule: None,
            at: "policy.yaml:7".to_owned(),
            text: "no pod has the labels app: payment-service".to_owned(),
            request: None,
            fix: "Write app: payment.".to_owned(),
        };
        let (ui, said) = Ui::recording(None);
        show(&ui, &View { errors: 1, warnings: 0, findings: &[finding] }).unwrap();
        assert_eq!(
            said.stdout(),
            "error unused-selector  AuthorizationPolicy orders/payment  policy.yaml:7
  no pod has the labels app: payment-service
  fix:     Write app: payment.

1 error, 0 warnings
"
        );
    }
}
