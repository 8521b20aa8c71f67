//! Hosts as Istio's networking objects name them.

/// A host of a networking object in a namespace as a full name: without a dot it is a Service of that
/// namespace, with one it is taken as it is (`ResolveShortnameToFQDN`).
#[must_use]
pub fn resolve(host: &str, namespace: &str) -> String {
    if host.contains('.') || host.contains('*') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.cluster.local")
    }
}

/// Whether a host with an optional leading wildcard covers a name (`host.Name.Matches`).
#[must_use]
pub fn covers(host: &str, name: &str) -> bool {
    match host.strip_prefix('*') {
        Some(suffix) => name.ends_with(suffix),
        None => host == name,
    }
}

/// Whether two hosts have names in common, each perhaps with a leading wildcard (`host.Name.Matches`).
#[must_use]
pub fn overlap(one: &str, other: &str) -> bool {
    match (one.strip_prefix('*'), other.strip_prefix('*')) {
        (Some(one), Some(other)) if one.len() < other.len() => other.ends_with(one),
        (Some(one), Some(other)) => one.ends_with(other),
        (Some(_), None) => covers(one, other),
        (None, _) => covers(other, one),
    }
}

/// Whether all names of a host are another's too (`host.Name.SubsetOf`).
#[must_use]
pub fn is_within(one: &str, other: &str) -> bool {
    match (one.strip_prefix('*'), other.strip_prefix('*')) {
        (Some(one), Some(other)) => one.len() >= other.len() && one.ends_with(other),
        (Some(_), None) => false,
        (None, _) => covers(other, one),
    }
}

/// The most specific of some hosts that cover a name: itself, else the longest wildcard, of these the
/// first of the alphabet (`MostSpecificHostMatch`).
#[must_use]
pub fn most_specific<'h>(name: &str, hosts: impl Iterator<Item = &'h str>) -> Option<&'h str> {
    let mut best: Option<&'h str> = None;
    for host in hosts {
        if host == name {
            return Some(host);
        }
        let Some(suffix) = host.strip_prefix('*') else { continue };
        let is_covered = name.strip_prefix('*').unwrap_or(name).ends_with(suffix);
        let is_better = best
            .is_none_or(|best| (std::cmp::Reverse(host.len()), host) < (std::cmp::Reverse(best.len()), best));
        if is_covered && is_better {
            best = Some(host);
        }
    }
    best
}

/// Whether an `exportTo` list of an object makes it visible in a namespace; an empty one does.
#[must_use]
pub fn exported(export_to: &[String], owner: &str, namespace: &str) -> bool {
    export_to.is_empty()
        || export_to.iter().any(|to| match to.as_str() {
            "*" => true,
            "." => owner == namespace,
            "~" => false,
            name => name == namespace,
        })
}
