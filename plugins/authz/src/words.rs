//! How answers about authorization are said on a terminal.

use mesh_cli::text::{Line, Styled, bad, dim, good, plain, strong, warn};
use mesh_cli::{Failure, Loaded, Ui};
use mesh_model::authorization::judge::Verdict;
use mesh_model::question::reason::{Because, NearestMiss, RestsOn};
use mesh_model::question::target::{self, Caller, NotFound, Scope, Target};
use mesh_model::world::Assumption;

/// A verdict in its colour.
pub(crate) fn verdict(verdict: Verdict) -> Styled {
    match verdict {
        Verdict::Allow => good(verdict.name()),
        Verdict::Deny => bad(verdict.name()),
        Verdict::Conditional | Verdict::Unknown => warn(verdict.name()),
    }
}

/// What a permission rests on; forgeable things stand out.
pub(crate) fn rests_on(rests: &[RestsOn]) -> Styled {
    let text = rests.iter().map(|rest| rest.name()).collect::<Vec<_>>().join(",");
    let forgeable = |rest: &RestsOn| matches!(rest, RestsOn::Header | RestsOn::Host | RestsOn::Plaintext);
    if rests.iter().all(forgeable) && !rests.is_empty() { warn(text) } else { plain(text) }
}

/// `namespace/name[rule] file:line`, else the reason in words.
pub(crate) fn because(reasons: &[Because]) -> String {
    let Some(first) = reasons.iter().find(|because| because.policy.is_some()).or(reasons.first()) else {
        return String::new();
    };
    match (&first.policy, first.rule, &first.at) {
        (Some(policy), rule, at) => {
            let kind = first.kind.filter(|kind| *kind != "AuthorizationPolicy");
            let kind = kind.map_or(String::new(), |kind| format!("{kind} "));
            let rule = rule.map_or(String::new(), |rule| format!("[{rule}]"));
            // In a cluster the place is the name once more.
            let at = at.as_ref().filter(|at| *at != policy).map_or(String::new(), |at| format!(" {at}"));
            format!("{kind}{policy}{rule}{at}")
        }
        (None, _, _) => first.text.clone(),
    }
}

/// What came closest, and what failed.
pub(crate) fn nearest_miss(miss: &NearestMiss) -> String {
    let at = miss.at.as_ref().filter(|at| **at != miss.policy).map_or(String::new(), |at| format!(" {at}"));
    format!("nearest {}[{}]{at}, if {}", miss.policy, miss.rule, miss.wanted)
}

/// Says what was assumed, under its codes.
pub(crate) fn assumptions(ui: &Ui, assumptions: &[Assumption]) {
    for assumption in assumptions {
        ui.note(dim("assumed ") + strong(assumption.code) + dim(format!(": {}", assumption.text)));
    }
}

/// A heading line: what an answer is about.
pub(crate) fn heading(name: &str, rest: &str) -> Line {
    strong(name) + plain(rest)
}

/// Finds a target, saying how its name was understood.
pub(crate) fn find<'w>(ui: &Ui, loaded: &'w Loaded, text: &str) -> Result<Target<'w>, Failure> {
    let target = target::find(&loaded.world, text, scope(loaded)).map_err(|error| not_found(&error))?;
    if let Some(note) = &target.note {
        ui.note(dim(note.clone()));
    }
    Ok(target)
}

/// Finds a caller, saying how its name was understood.
pub(crate) fn caller<'w>(ui: &Ui, loaded: &'w Loaded, text: &str) -> Result<Caller<'w>, Failure> {
    let caller = target::caller(&loaded.world, text, scope(loaded)).map_err(|error| not_found(&error))?;
    if let Caller::Workloads(Target { note: Some(note), .. }) = &caller {
        ui.note(dim(note.clone()));
    }
    Ok(caller)
}

/// Where names are looked for.
pub(crate) fn scope(loaded: &Loaded) -> Scope<'_> {
    Scope { namespace: &loaded.default_namespace, anywhere: loaded.anywhere }
}

/// A name that stands for nothing, with what is near.
pub(crate) fn not_found(error: &NotFound) -> Failure {
    Failure::error(error.to_string()).hint(error.hint())
}
