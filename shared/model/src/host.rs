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
