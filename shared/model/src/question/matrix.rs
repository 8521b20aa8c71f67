//! `matrix`: all callers against all targets.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::authorization::compile::Protocol;
use crate::authorization::connection::{self, Presents, Way};
use crate::authorization::evaluator::Evaluator;
use crate::authorization::judge::Verdict;
use crate::inbound::{self, InboundPort};
use crate::world::{Assumption, World};

use super::access::{anything, protocols};
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

/// A target: its workloads with the ports that are asked about.
struct Column {
    name: String,
    ends: Vec<(usize, Vec<InboundPort>)>,
}

/// All against all; `within` keeps targets of one namespace. A cell holds the most open verdict over
/// the target's ports and workloads: `allow` only where all of them are.
pub fn matrix(evaluator: &mut Evaluator<'_>, within: Option<&str>) -> Matrix {
    let world = evaluator.world();
    let columns = columns(world, within);
    let mut callers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, workload) in (0..).zip(&world.workloads) {
        if workload.injection.injected {
            let principal = world.principal(&workload.namespace, &workload.service_account);
            callers.entry(principal).or_default().push(number);
        }
    }
    let mut rows: Vec<Row> = callers
        .into_iter()
        .map(|(caller, numbers)| {
            let verdicts = columns.iter().map(|column| cell(evaluator, column, &numbers)).collect();
            Row { caller, verdicts }
        })
        .collect();
    let verdicts = columns.iter().map(|column| cell(evaluator, column, &[])).collect();
    rows.push(Row { caller: "anonymous".to_owned(), verdicts });
    let numbers: Vec<usize> = columns.iter().flat_map(|c| c.ends.iter().map(|(number, _)| *number)).collect();
    Matrix {
        targets: columns.into_iter().map(|column| column.name).collect(),
        callers: rows,
        assumptions: who_can::assumptions(world, &numbers).into_iter().collect(),
    }
}

fn columns(world: &World, within: Option<&str>) -> Vec<Column> {
    let wanted = |namespace: &str| within.is_none_or(|within| namespace == within);
    let mut columns: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, workload) in (0..).zip(&world.workloads) {
        if !wanted(&workload.namespace) {
            continue;
        }
        let mut in_service = false;
        for service in world.services_in(&workload.namespace) {
            if service.selector.as_ref().is_some_and(|selector| selector.selects(&workload.labels)) {
                in_service = true;
                columns.entry(service.object.key()).or_default().push(number);
            }
        }
        if !in_service && !inbound::ports(world, workload).is_empty() {
            columns.entry(workload.key()).or_default().push(number);
        }
    }
    let ports = |number: usize| {
        world.workloads.get(number).map_or(Vec::new(), |workload| inbound::ports(world, workload))
    };
    columns
        .into_iter()
        .map(|(name, numbers)| Column {
            name,
            ends: numbers.into_iter().map(|number| (number, ports(number))).collect(),
        })
        .collect()
}

/// The verdict of callers (none: anonymous) for a target.
fn cell(evaluator: &mut Evaluator<'_>, column: &Column, callers: &[usize]) -> Verdict {
    let world = evaluator.world();
    let open = anything();
    let mut verdicts: Vec<Verdict> = Vec::new();
    for (number, ports) in &column.ends {
        let Some(target) = world.workloads.get(*number) else { continue };
        for port in ports {
            let mut ways: Vec<Way> = Vec::new();
            for caller in callers.iter().filter_map(|number| world.workloads.get(*number)) {
                let way = connection::way(world, caller, target, port, None);
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
            if callers.is_empty() {
                ways.push(Way { presents: Presents::Plaintext, reason: None, at: None });
            }
            for way in &ways {
                for &protocol in protocols(port) {
                    let protocol: Protocol = protocol;
                    verdicts.push(evaluator.outcome(*number, port, way, protocol, &open).verdict);
                }
            }
        }
    }
    combined(&verdicts)
}

fn combined(verdicts: &[Verdict]) -> Verdict {
    let has = |verdict| verdicts.contains(&verdict);
    if verdicts.iter().all(|verdict| *verdict == Verdict::Deny) {
        Verdict::Deny
    } else if verdicts.iter().all(|verdict| *verdict == Verdict::Allow) {
        Verdict::Allow
    } else if has(Verdict::Unknown) && !has(Verdict::Conditional) && !has(Verdict::Allow) {
        Verdict::Unknown
    } else {
        Verdict::Conditional
    }
}
