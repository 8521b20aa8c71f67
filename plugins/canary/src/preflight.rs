//! Looked at before anything is written: whether the World after it answers all callers, and who else writes
//! the objects.

use mesh_cli::layout;
use mesh_cli::text::{plain, warn};
use mesh_cli::{Failure, Ui};
use mesh_model::canary::carrier::Carrier;
use mesh_model::canary::owner::owners;
use mesh_model::canary::plan::{Moving, label};
use mesh_model::canary::preflight::{Cause, Problem, gaining, problems, thin};
use mesh_model::change::Change;
use mesh_model::routing::Routing;

use crate::subject::Subject;

/// Who would get 503 after some changes that move routes, and why; nobody where it is wanted all the same.
pub(crate) fn refusals(
    ui: &Ui,
    subject: &Subject<'_, '_>,
    moving: &[Moving],
    changes: &[Change],
    force: bool,
) -> Result<Vec<String>, Failure> {
    let moved: Vec<&Carrier<'_>> =
        moving.iter().filter_map(|one| subject.carriers.get(one.carrier)).collect();
    warn_of_owners(ui, &moved);
    unanswered(ui, subject, moving, changes, force)
}

/// The same where nobody's object is written.
pub(crate) fn unanswered(
    ui: &Ui,
    subject: &Subject<'_, '_>,
    moving: &[Moving],
    changes: &[Change],
    force: bool,
) -> Result<Vec<String>, Failure> {
    for thin in thin(&subject.versions, &subject.carriers, moving) {
        ui.warning(&format!(
            "{} gets {:.0} % of the requests with {} of {} ready pods",
            thin.version, thin.percent, thin.ready, thin.of
        ));
    }
    let after =
        subject.world().after(changes).map_err(|mismatch| Failure::conflict(format!("error: {mismatch}")))?;
    let routing = Routing::new(&after);
    let callers = routing.callers();
    let mut found = Vec::new();
    for (version, routes) in gaining(&subject.versions, &subject.carriers, moving) {
        found.extend(problems(&routing, subject.host, version, &routes, &callers));
    }
    let found: Vec<String> = found.iter().map(words).collect();
    if force {
        found.iter().for_each(|problem| ui.warning(problem));
        return Ok(Vec::new());
    }
    Ok(found)
}

/// Says that nothing was done, and why.
pub(crate) fn say(ui: &Ui, what: &str, refusals: &[String]) -> Result<(), Failure> {
    for problem in refusals {
        layout::note(ui, 2, [plain(problem)]);
    }
    let text = format!("{what}; nothing was changed (--force does it all the same)");
    layout::say(ui, 0, 2, vec![warn("refused: "), plain(text)])
}

fn warn_of_owners(ui: &Ui, moved: &[&Carrier<'_>]) {
    for carrier in moved {
        let object = &carrier.place.object;
        // The same warning is given once.
        for owner in owners(object) {
            ui.warning(&format!(
                "VirtualService {} belongs to {} ({}): {}",
                object.key(),
                owner.tool,
                owner.evidence,
                owner.effect
            ));
        }
        if carrier.in_force.is_empty() {
            ui.warning(&format!(
                "{} is in force for nobody: another VirtualService comes before it, or nothing has a sidecar",
                label(carrier)
            ));
        }
    }
}

/// What callers would get, and from where.
pub(crate) fn words(problem: &Problem) -> String {
    let cluster = &problem.cluster;
    let what = match &problem.cause {
        Cause::HostUnknown => {
            format!("their proxies do not know {}: a Sidecar object leaves it out", cluster.host)
        }
        Cause::NoPort { port } => format!("{} has no port {port}", cluster.host),
        Cause::NoRule => {
            format!("no DestinationRule for {} defines subset {}", cluster.host, cluster.subset)
        }
        Cause::NoSubset { rule, at, hidden } => {
            let place = if at == rule { String::new() } else { format!(" {at}") };
            let hides = match hidden.as_slice() {
                [] => String::new(),
                hidden => format!(", and hides {}, which does", hidden.join(", ")),
            };
            format!(
                "they go by DestinationRule {rule}{place}, which does not define subset {}{hides}",
                cluster.subset
            )
        }
        Cause::NoEndpoints { labels, at } => {
            let place = if at.is_empty() { String::new() } else { format!(" ({at})") };
            format!("no pod has the labels {labels} of subset {}{place}", cluster.subset)
        }
        Cause::NotReady { pods } => format!("none of the {pods} pods of {} is ready", cluster.subset),
    };
    format!("503 for {}: {what}", problem.callers)
}
