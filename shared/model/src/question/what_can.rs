//! `what-can`: everything that a caller reaches.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::authorization::connection::{Presents, Way};
use crate::authorization::evaluator::Evaluator;
use crate::world::Assumption;

use super::access::{self, Access, access};
use super::target::Caller;
use super::who_can;

/// One row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The Service through which it is called, `namespace/name`; `null` for a call by address.
    pub service: Option<String>,
    /// The workload, `namespace/name`.
    pub workload: String,
    /// What can be sent.
    #[serde(flatten)]
    pub access: Access,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct WhatCan {
    /// The caller: a principal, or `anonymous`.
    pub caller: String,
    /// Its workloads, `namespace/name`.
    pub workloads: Vec<String>,
    /// The rows.
    pub targets: Vec<Row>,
    /// What was assumed.
    pub assumptions: Vec<Assumption>,
}

/// Answers for a caller; `within` keeps targets of these namespaces, all where `None`.
pub fn what_can(evaluator: &mut Evaluator<'_>, caller: &Caller<'_>, within: Option<&str>) -> WhatCan {
    let world = evaluator.world();
    let mut rows: Vec<Row> = Vec::new();
    let mut numbers = Vec::new();
    let mut doubts: BTreeSet<Assumption> = BTreeSet::new();
    for (number, target) in (0..).zip(&world.workloads) {
        if within.is_some_and(|namespace| target.namespace != namespace) {
            continue;
        }
        numbers.push(number);
        doubts.extend(who_can::asked(evaluator, number));
        for port in evaluator.ports(number).iter() {
            let mut ways: Vec<Way> = match caller {
                Caller::Anonymous => vec![Way { presents: Presents::Plaintext, reason: None, at: None }],
                Caller::Principal(principal) => vec![Way::identity(principal.clone())],
                Caller::Workloads(callers) => callers
                    .workloads
                    .iter()
                    .map(|caller| evaluator.way(*caller, number, port, None))
                    .collect(),
            };
            ways.sort();
            ways.dedup();
            for way in ways {
                for &protocol in access::protocols(port) {
                    let found = access(evaluator, number, port, &way, protocol);
                    doubts.extend(found.doubts.iter().cloned());
                    rows.push(Row {
                        service: port.service.as_ref().map(|(service, _)| service.clone()),
                        workload: target.key(),
                        access: found,
                    });
                }
            }
        }
    }
    rows.sort_by(|a, b| {
        let (x, y) = (&a.access, &b.access);
        (x.verdict, &a.workload, x.port, x.protocol).cmp(&(y.verdict, &b.workload, y.port, y.protocol))
    });
    let (name, workloads) = name(evaluator, caller);
    let mut assumptions = who_can::assumptions(world, &numbers);
    assumptions.extend(doubts);
    WhatCan { caller: name, workloads, targets: rows, assumptions: assumptions.into_iter().collect() }
}

/// A caller's principals, and its workloads.
#[must_use]
pub fn name(evaluator: &Evaluator<'_>, caller: &Caller<'_>) -> (String, Vec<String>) {
    let world = evaluator.world();
    match caller {
        Caller::Anonymous => ("anonymous".to_owned(), Vec::new()),
        Caller::Principal(principal) => (principal.clone(), Vec::new()),
        Caller::Workloads(target) => {
            let workloads: Vec<_> =
                target.workloads.iter().filter_map(|number| world.workloads.get(*number)).collect();
            let mut principals: Vec<String> =
                workloads.iter().map(|w| world.principal(&w.namespace, &w.service_account)).collect();
            principals.sort();
            principals.dedup();
            (principals.join(","), workloads.iter().map(|workload| workload.key()).collect())
        }
    }
}
