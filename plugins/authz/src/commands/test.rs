//! `test CASES.yaml...`: policy tests.

use std::collections::HashMap;

use mesh_cli::output;
use mesh_cli::text::{bad, dim, good, plain};
use mesh_cli::{Exit, Failure, Loaded, SourceArgs, Ui};
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::judge::Verdict;
use mesh_model::question::can::{Ask, can};
use mesh_model::question::target::{Caller, NotFound, Target, caller, find};
use serde::Serialize;

use crate::cases::{self, Placed};
use crate::{junit, words};

/// Check that requests are let through or refused as files of cases say.
#[derive(clap::Args)]
#[command(before_help = "
# Do the policies of a directory do what they should?
kubectl mesh-authz test cases.yaml -f deploy/

# In CI, with a report that it shows
kubectl mesh-authz test cases/*.yaml -f deploy/ -o junit > report.xml

# Would they still, after a change to the cluster?
kubectl mesh-authz test cases.yaml --what-if -f change.yaml
")]
pub(crate) struct Arguments {
    /// Files of cases; - for standard input.
    #[arg(value_name = "CASES", required = true)]
    cases: Vec<String>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Shape::Table)]
    output: Shape,
    #[command(flatten)]
    source: SourceArgs,
}

/// The shapes of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    Table,
    Json,
    Junit,
}

/// What came of a case.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    verdict: Verdict,
    rule: Option<String>,
    pub(crate) passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<String>,
    #[serde(rename = "expectRule", skip_serializing_if = "Option::is_none")]
    expect_rule: Option<String>,
    /// What the verdict depends on and the case does not state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    pub(crate) at: String,
    #[serde(skip)]
    pub(crate) file: String,
}

#[derive(Serialize)]
struct Results<'a> {
    results: &'a [Outcome],
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let mut cases = Vec::new();
        for path in &self.cases {
            cases.extend(cases::read(path)?);
        }
        let loaded = self.source.load(ui)?;
        let outcomes = Tester::new(&loaded).all(&cases)?;
        let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
        match self.output {
            Shape::Json => output::json(ui, "TestResult", &Results { results: &outcomes })?,
            Shape::Junit => ui.document(&junit::report(&outcomes))?,
            Shape::Table => show(ui, &outcomes, failed)?,
        }
        Ok(if failed == 0 { Exit::Yes } else { Exit::No })
    }
}

/// Decides cases, remembering names that it found.
pub(crate) struct Tester<'w> {
    loaded: &'w Loaded,
    evaluator: Evaluator<'w>,
    callers: HashMap<String, Caller<'w>>,
    targets: HashMap<String, Target<'w>>,
}

impl<'w> Tester<'w> {
    pub(crate) fn new(loaded: &'w Loaded) -> Self {
        Self {
            loaded,
            evaluator: Evaluator::new(&loaded.world),
            callers: HashMap::new(),
            targets: HashMap::new(),
        }
    }

    pub(crate) fn all(&mut self, cases: &[Placed]) -> Result<Vec<Outcome>, Failure> {
        cases.iter().enumerate().map(|(index, case)| self.one(index, case)).collect()
    }

    fn one(&mut self, index: usize, placed: &Placed) -> Result<Outcome, Failure> {
        let case = &placed.case;
        let world = &self.loaded.world;
        let scope = words::scope(self.loaded);
        let wrong = |error: NotFound| Failure::error(format!("{}: {error}", placed.at)).hint(error.hint());
        if !self.callers.contains_key(&case.from) {
            self.callers.insert(case.from.clone(), caller(world, &case.from, scope).map_err(wrong)?);
        }
        if !self.targets.contains_key(&case.to) {
            self.targets.insert(case.to.clone(), find(world, &case.to, scope).map_err(wrong)?);
        }
        let (Some(caller), Some(target)) = (self.callers.get(&case.from), self.targets.get(&case.to)) else {
            return Err(Failure::error(format!("{}: neither caller nor target", placed.at)));
        };
        let speaks = match &case.protocol {
            Some(text) => Some(cases::parse_protocol(text).map_err(Failure::usage)?),
            None => None,
        };
        let ask = Ask {
            caller: caller.clone(),
            target: target.clone(),
            port: case.port,
            or_service_port: false,
            speaks,
            request: case.request.request(),
            path: case.request.path(),
        };
        let answer = can(&mut self.evaluator, &ask);
        let as_expected = case.expect.as_ref().is_none_or(|expect| expect == answer.verdict.name());
        let by_rule = case.rule.as_ref().is_none_or(|rule| answer.rule.as_ref() == Some(rule));
        Ok(Outcome {
            name: case.name.clone().unwrap_or_else(|| format!("case {}", index + 1)),
            verdict: answer.verdict,
            rule: answer.rule,
            passed: as_expected && by_rule,
            expect: case.expect.clone(),
            expect_rule: case.rule.clone(),
            missing: answer.missing,
            at: placed.at.clone(),
            file: placed.file.clone(),
        })
    }
}

impl Outcome {
    /// The verdict.
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What came: `allow by orders/allow-shop/0`.
    fn came(&self) -> String {
        let missing = match self.missing.as_slice() {
            [] => String::new(),
            missing => format!("; it depends on: {}", missing.join(", ")),
        };
        format!("{}{}{missing}", self.verdict.name(), by(self.rule.as_ref()))
    }

    /// What was expected and what came.
    pub(crate) fn message(&self) -> String {
        let expected = match &self.expect {
            Some(expect) => format!("expected {expect}{}, ", by(self.expect_rule.as_ref())),
            None if self.expect_rule.is_some() => format!("expected it{}, ", by(self.expect_rule.as_ref())),
            None => String::new(),
        };
        format!("{expected}is {}", self.came())
    }
}

fn by(rule: Option<&String>) -> String {
    rule.map_or(String::new(), |rule| format!(" by {rule}"))
}

/// Failures last but for the count, where the eye is.
fn show(ui: &Ui, outcomes: &[Outcome], failed: usize) -> Result<(), Failure> {
    for outcome in outcomes.iter().filter(|outcome| outcome.passed) {
        ui.answer(good("ok    ") + plain(&outcome.name) + dim(format!(": {}", outcome.came())))?;
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.passed) {
        ui.answer(
            bad("FAIL  ")
                + plain(format!("{}: {}", outcome.name, outcome.message()))
                + dim(format!("  {}", outcome.at)),
        )?;
    }
    let count = format!("{failed} failed");
    let failed = if failed > 0 { bad(count) } else { plain(count) };
    let passed = outcomes.iter().filter(|outcome| outcome.passed).count();
    ui.answer(plain(format!("{passed} passed, ")) + failed)
}
