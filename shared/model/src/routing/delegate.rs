//! Delegation: a root VirtualService hands a route to another, which has no hosts of its own.
//!
//! Rules: `mergeVirtualServices` in `pilot/pkg/model/virtualservice_controller.go`, `MergeHTTPRoutes` in
//! `pilot/pkg/model/virtualservice.go`.

use std::collections::BTreeMap;

use crate::host;
use crate::virtual_service::{CallerMatch, HttpMatch, HttpRoute, INHERITED, StringMatch, VirtualService};

/// Why a root's route leads nowhere, or a delegate's route is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// No VirtualService without hosts has that name.
    NotFound {
        /// `namespace/name` of the root.
        root: String,
        /// `namespace/name` that it delegates to.
        delegate: String,
    },
    /// The delegate's `exportTo` leaves out the root's namespace.
    NotExported {
        /// `namespace/name` of the root.
        root: String,
        /// `namespace/name` of the delegate.
        delegate: String,
    },
    /// The delegate's matches are not within the root's: the route is left out.
    Conflict {
        /// `namespace/name` of the root.
        root: String,
        /// `namespace/name` of the delegate.
        delegate: String,
        /// The JSON pointer of the delegate's route.
        pointer: String,
    },
}

/// The VirtualServices with hosts, each with the routes of its delegates in place.
pub(crate) fn merged(
    all: Vec<VirtualService>,
    default_export_to: &[String],
) -> (Vec<VirtualService>, Vec<Dropped>) {
    let (roots, delegates): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| !one.hosts.is_empty());
    let delegates: BTreeMap<(String, String), VirtualService> = delegates
        .into_iter()
        .map(|one| ((one.object.namespace.clone(), one.object.name.clone()), one))
        .collect();
    let mut dropped = Vec::new();
    let merged = roots
        .into_iter()
        .map(|mut root| {
            let mut http = Vec::new();
            for route in std::mem::take(&mut root.http) {
                match &route.delegate {
                    None => http.push(route),
                    Some(name) => {
                        let found = delegates.get(name);
                        delegated(&root, &route, name, found, default_export_to, &mut http, &mut dropped);
                    }
                }
            }
            root.http = http;
            root
        })
        .collect();
    (merged, dropped)
}

fn delegated(
    root: &VirtualService,
    route: &HttpRoute,
    (namespace, name): &(String, String),
    delegate: Option<&VirtualService>,
    default_export_to: &[String],
    http: &mut Vec<HttpRoute>,
    dropped: &mut Vec<Dropped>,
) {
    let names = || (root.object.key(), format!("{namespace}/{name}"));
    let Some(delegate) = delegate else {
        let (root, delegate) = names();
        return dropped.push(Dropped::NotFound { root, delegate });
    };
    let export_to = delegate.export_to.as_deref().unwrap_or(default_export_to);
    if !host::exported(export_to, namespace, &root.object.namespace) {
        let (root, delegate) = names();
        return dropped.push(Dropped::NotExported { root, delegate });
    }
    for inner in &delegate.http {
        match merge(route, inner) {
            Some(merged) => http.push(merged),
            None => {
                let (root, delegate) = names();
                dropped.push(Dropped::Conflict { root, delegate, pointer: inner.place.pointer.clone() });
            }
        }
    }
}

/// A delegate's route under a root's; `None` where their matches contradict.
fn merge(root: &HttpRoute, delegate: &HttpRoute) -> Option<HttpRoute> {
    let mut merged = delegate.clone();
    merged.matches = merge_matches(&root.matches, &delegate.matches)?;
    merged.name = join(&root.name, &delegate.name);
    merged.delegate = None;
    for name in INHERITED {
        if let (None, Some(inherited)) = (merged.settings.get(name), root.settings.get(name)) {
            merged.settings.insert(name, inherited.clone());
        }
    }
    Some(merged)
}

fn join(root: &str, delegate: &str) -> String {
    match (root, delegate) {
        (root, "") => root.to_owned(),
        ("", delegate) => delegate.to_owned(),
        (root, delegate) => format!("{root}-{delegate}"),
    }
}

fn merge_matches(root: &[HttpMatch], delegate: &[HttpMatch]) -> Option<Vec<HttpMatch>> {
    if root.is_empty() {
        return Some(delegate.to_vec());
    }
    if delegate.is_empty() {
        return Some(root.to_vec());
    }
    let mut merged = Vec::new();
    for inner in delegate {
        let before = merged.len();
        merged.extend(
            root.iter().filter(|outer| !conflict(outer, inner)).map(|outer| merge_match(outer, inner)),
        );
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

fn merge_match(root: &HttpMatch, delegate: &HttpMatch) -> HttpMatch {
    let either = |root: &Option<StringMatch>, delegate: &Option<StringMatch>| {
        delegate.clone().or_else(|| root.clone())
    };
    let both = |root: &BTreeMap<String, StringMatch>, delegate: &BTreeMap<String, StringMatch>| {
        let mut both = root.clone();
        both.extend(delegate.clone());
        both
    };
    let (outer, inner) = (&root.caller, &delegate.caller);
    let mut labels = outer.labels.clone();
    labels.extend(inner.labels.clone());
    let caller = CallerMatch {
        gateways: if inner.gateways.is_empty() { &outer.gateways } else { &inner.gateways }.clone(),
        labels,
        namespace: if inner.namespace.is_empty() { &outer.namespace } else { &inner.namespace }.clone(),
        port: inner.port.or(outer.port),
    };
    HttpMatch {
        name: join(&root.name, &delegate.name),
        caller,
        uri: either(&root.uri, &delegate.uri),
        scheme: either(&root.scheme, &delegate.scheme),
        method: either(&root.method, &delegate.method),
        authority: either(&root.authority, &delegate.authority),
        headers: both(&root.headers, &delegate.headers),
        without_headers: both(&root.without_headers, &delegate.without_headers),
        query: both(&root.query, &delegate.query),
        ignore_case: delegate.ignore_case,
    }
}

/// `hasConflict`: whether a delegate's match is not within its root's.
fn conflict(root: &HttpMatch, delegate: &HttpMatch) -> bool {
    let single = [
        (&root.uri, &delegate.uri),
        (&root.scheme, &delegate.scheme),
        (&root.method, &delegate.method),
        (&root.authority, &delegate.authority),
    ];
    let maps = [
        (&root.headers, &delegate.headers),
        (&root.without_headers, &delegate.without_headers),
        (&root.query, &delegate.query),
    ];
    let (outer, inner) = (&root.caller, &delegate.caller);
    single.into_iter().any(|(root, delegate)| text_conflict(root.as_ref(), delegate.as_ref()))
        || maps.into_iter().any(|(root, delegate)| {
            delegate.iter().any(|(name, value)| text_conflict(root.get(name), Some(value)))
        })
        || root.ignore_case != delegate.ignore_case
        || matches!((outer.port, inner.port), (Some(a), Some(b)) if a != b)
        || (!outer.namespace.is_empty() && inner.namespace != outer.namespace)
        || inner.labels.iter().any(|(name, value)| outer.labels.get(name).is_some_and(|other| other != value))
        || (!outer.gateways.is_empty()
            && !inner.gateways.is_empty()
            && (outer.gateways.len() < inner.gateways.len()
                || inner.gateways.iter().any(|gateway| !outer.gateways.contains(gateway))))
}

/// `stringMatchConflict`. Empty texts count as absent there, because protobuf does not tell them apart.
fn text_conflict(root: Option<&StringMatch>, delegate: Option<&StringMatch>) -> bool {
    use StringMatch::{Exact, Prefix, Regex};
    let (Some(root), Some(delegate)) = (root, delegate) else { return false };
    match (root, delegate) {
        // The regex `*` is read as presence, and is a regex here.
        (Exact(root), Exact(delegate)) => root != delegate || root.is_empty(),
        (Prefix(root), Prefix(delegate) | Exact(delegate)) => {
            root.is_empty() || delegate.is_empty() || !delegate.starts_with(root.as_str())
        }
        (Exact(_), _) | (Prefix(_), _) | (Regex(_), _) | (StringMatch::Present, _) => true,
    }
}
