//! `matrix`: all callers against all targets.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::authorization::connection::{Presents, Way};
use crate::authorization::evaluator::Evaluator;
use crate::authorization::judge::Verdict;
use crate::world::Assumption;

use super::access::protocols;
use super::who_can;

/// The verdicts of one caller.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The principal, or `anonymous`.
    pub caller: String,
    /// One verdict for each target.
    pub verdicts: Vec<Verdict>,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// The targets, `namespace/name` of Services, else of workloads that no Service selects.
    pub targets: Vec<String>,
    /// A row for each caller.
    pub callers: Vec<Row>,
    /// What was assumed.
    pub assumptions: Vec<Assumption>,
}

/// A target: its workloads, one of each that are alike.
struct Column {
    name: String,
    numbers: Vec<usize>,
}

/// All against all; `within` keeps targets of one namespace. A cell is `allow` or `deny` only where
/// all of the target's ports and workloads are.
pub fn matrix(evaluator: &mut Evaluator<'_>, within: Option<&str>) -> Matrix {
    let world = evaluator.world();
    let columns = columns(evaluator, within);
    let mut callers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, workload) in (0..).zip(&world.workloads) {
        if workload.injection.injected {
            let principal = world.principal(&workload.namespace, &workload.service_account);
            callers.entry(principal).or_default().push(number);
        }
    }
    callers.insert("anonymous".to_owned(), Vec::new());
    let callers = callers
        .into_iter()
        .map(|(caller, numbers)| {
            let verdicts = columns.iter().map(|column| cell(evaluator, column, &numbers)).collect();
            Row { caller, verdicts }
        })
        .collect();
    let numbers: Vec<usize> = columns.iter().flat_map(|column| column.numbers.iter().copied()).collect();
    let mut assumptions = who_can::assumptions(world, &numbers);
    for &number in &numbers {
        assumptions.extend(who_can::asked(evaluator, number));
        assumptions.extend(evaluator.uncertain(number));
    }
    Matrix {
        targets: columns.into_iter().map(|column| column.name).collect(),
        callers,
        assumptions: assumptions.into_iter().collect(),
    }
}

fn columns(evaluator: &mut Evaluator<'_>, within: Option<&str>) -> Vec<Column> {
    let world = evaluator.world();
    let mut columns: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, workload) in (0..).zip(&world.workloads) {
        if within.is_some_and(|within| workload.namespace != within) {
            continue;
        }
        let mut in_service = false;
        for service in world.services_in(&workload.namespace) {
            if service.selector.as_ref().is_some_and(|selector| selector.selects(&workload.labels)) {
                in_service = true;
                columns.entry(service.object.key()).or_default().push(number);
            }
        }
        if !in_service && !evaluator.ports(number).is_empty() {
            columns.entry(workload.key()).or_default().push(number);
        }
    }
    columns
        .into_iter()
        .map(|(name, numbers)| {
            let alike = evaluator.alike(&numbers);
            Column { name, numbers: alike.iter().filter_map(|numbers| numbers.first().copied()).collect() }
        })
        .collect()
}

/// The verdict of callers (none: anonymous) for a target.
fn cell(evaluator: &mut Evaluator<'_>, column: &Column, callers: &[usize]) -> Verdict {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for &number in &column.numbers {
        for port in evaluator.ports(number).iter() {
            let mut ways: Vec<Way> = Vec::new();
            for &caller in callers {
                let way = evaluator.way(caller, number, port, None);
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
            if callers.is_empty() {
                ways.push(Way { presents: Presents::Plaintext, reason: None, at: None });
            }
            for way in &ways {
                for &protocol in protocols(port) {
                    verdicts.push(evaluator.verdict(number, port, way, protocol));
                }
            }
        }
    }
    combined(&verdicts)
}

fn combined(verdicts: &[Verdict]) -> Verdict {
    match verdicts {
        [] => Verdict::Deny,
        [first, rest @ ..] if rest.iter().all(|verdict| verdict == first) => *first,
        several if several.iter().all(|verdict| matches!(verdict, Verdict::Deny | Verdict::Unknown)) => {
            Verdict::Unknown
        }
        _ => Verdict::Conditional,
    }
}
