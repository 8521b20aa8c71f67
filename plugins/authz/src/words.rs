//! How answers about authorization are said on a terminal.

use mesh_cli::text::{Styled, bad, dim, good, plain, warn};
pub(crate) use mesh_cli::words::{assumptions, find, not_found, scope};
use mesh_cli::{Failure, Loaded, Ui};
use mesh_model::authorization::judge::Verdict;
use mesh_model::question::reason::{Because, NearestMiss, RestsOn};
use mesh_model::question::target::{self, Caller, Target};
use mesh_model::workload::Workload;
use mesh_model::world::World;
use serde_json::Value;

/// A verdict in its colour.
pub(crate) fn verdict(verdict: Verdict) -> Styled {
    match verdict {
        Verdict::Allow => good(verdict.name()),
        Verdict::Deny => bad(verdict.name()),
        Verdict::Conditional | Verdict::Unknown => warn(verdict.name()),
    }
}

/// How many there are of each: `2 allow, 1 conditional, 4 deny`.
pub(crate) fn counts(verdicts: impl Iterator<Item = Verdict> + Clone) -> String {
    let shown = [Verdict::Allow, Verdict::Conditional, Verdict::Unknown, Verdict::Deny].into_iter();
    let counts = shown.map(|wanted| (wanted, verdicts.clone().filter(|verdict| *verdict == wanted).count()));
    let counts = counts.filter(|(verdict, count)| *verdict != Verdict::Unknown || *count > 0);
    counts.map(|(verdict, count)| format!("{count} {}", verdict.name())).collect::<Vec<_>>().join(", ")
}

/// What a permission rests on; forgeable things stand out.
pub(crate) fn rests_on(rests: &[RestsOn]) -> Styled {
    let text = rests.iter().map(|rest| rest.name()).collect::<Vec<_>>().join(",");
    let forgeable = |rest: &RestsOn| matches!(rest, RestsOn::Header | RestsOn::Host | RestsOn::Plaintext);
    if rests.iter().all(forgeable) && !rests.is_empty() { warn(text) } else { plain(text) }
}

/// An identity of the mesh's own trust domain as `sa/NAME.NAMESPACE`, which commands take too; all others
/// as they are.
pub(crate) fn short(world: &World, caller: &str) -> String {
    let account = caller
        .strip_prefix(world.mesh.trust_domains.own())
        .and_then(|rest| rest.strip_prefix("/ns/"))
        .and_then(|rest| rest.split_once("/sa/"))
        .filter(|(_, name)| !name.contains(['/', '*']));
    match account {
        Some((namespace, name)) if !namespace.contains(['/', '*']) => format!("sa/{name}.{namespace}"),
        _ => caller.to_owned(),
    }
}

/// Several identities with commas between them, each as [`short`] has it.
pub(crate) fn shorts(world: &World, callers: &str) -> String {
    callers.split(',').map(|caller| short(world, caller)).collect::<Vec<_>>().join(", ")
}

/// `ALLOW namespace/name[rule] file:line`, else the reason in words.
pub(crate) fn because(reasons: &[Because]) -> String {
    let Some(first) = reasons.iter().find(|because| because.policy.is_some()).or(reasons.first()) else {
        return String::new();
    };
    if first.rule.is_some() || first.policy.is_none() {
        return place(first).unwrap_or_else(|| first.text.clone());
    }
    // Not a rule but a mode: `mTLS is STRICT by PeerAuthentication orders/default`.
    let what = first.text.split(": ").next().unwrap_or_default();
    format!("{what} by {}", place(first).unwrap_or_default())
}

/// The object behind a reason and where it stands: `ALLOW namespace/name[rule] file:line`.
pub(crate) fn place(because: &Because) -> Option<String> {
    let kind = because.action.or(because.kind).unwrap_or_default();
    Some(format!("{kind} {}", object(because)?))
}

/// The same without the word before it: `namespace/name[rule] file:line`.
pub(crate) fn object(because: &Because) -> Option<String> {
    let policy = because.policy.as_ref()?;
    let rule = because.rule.map_or(String::new(), |rule| format!("[{rule}]"));
    // In a cluster the place is the name once more.
    let at = because.at.as_ref().filter(|at| *at != policy).map_or(String::new(), |at| format!(" {at}"));
    Some(format!("{policy}{rule}{at}"))
}

/// What failed in the rule that came closest, and that rule.
pub(crate) fn nearest_miss(miss: &NearestMiss) -> String {
    let at = miss.at.as_ref().filter(|at| **at != miss.policy).map_or(String::new(), |at| format!(" {at}"));
    format!("nearest rule matches only if {}: {}[{}]{at}", miss.wanted, miss.policy, miss.rule)
}

/// A request as a person would write it down: `POST /api/payments`, and all else by name.
pub(crate) fn witness(witness: &Value) -> String {
    let text = |name: &str| witness.get(name).and_then(Value::as_str);
    let mut words = vec![text("method").unwrap_or("any").to_owned(), text("path").unwrap_or("*").to_owned()];
    if text("method").is_none() && text("path").is_none() {
        words = Vec::new();
    }
    for (name, value) in witness.as_object().into_iter().flatten() {
        if name != "method" && name != "path" {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            words.push(format!("{name}={value}"));
        }
    }
    if words.is_empty() { "any request".to_owned() } else { words.join(" ") }
}

/// Finds a caller, saying how its name was understood.
pub(crate) fn caller<'w>(ui: &Ui, loaded: &'w Loaded, text: &str) -> Result<Caller<'w>, Failure> {
    let caller = target::caller(&loaded.world, text, scope(loaded)).map_err(|error| not_found(&error))?;
    if let Caller::Workloads(Target { note: Some(note), .. }) = &caller {
        ui.note(dim(note.clone()));
    }
    if let Caller::Principal(principal) = &caller {
        let world = &loaded.world;
        let runs = |workload: &Workload| {
            world.principal(&workload.namespace, &workload.service_account) == *principal
        };
        // It may be wanted so, or be mistyped.
        if world.mesh.accepts_trust_domain(principal.split('/').next().unwrap_or_default())
            && !world.workloads.iter().any(runs)
        {
            ui.note(dim(format!("nothing that was read runs as {}", short(world, principal))));
        }
    }
    Ok(caller)
}
