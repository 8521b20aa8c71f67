//! Parts of routes in words.

use std::time::Duration;

use mesh_model::object::Object;
use mesh_model::routing::request::Request;
use mesh_model::virtual_service::{CallerMatch, HttpMatch, StringMatch};

/// `namespace/name`, and in manifests where the part of the object stands: `namespace/name file:line`.
pub(crate) fn located(object: &Object, pointer: &str) -> String {
    let (key, at) = (object.key(), object.at(pointer));
    if key == at { key } else { format!("{key} {at}") }
}

/// A duration as Istio writes it: `3s`, `1m30s`, `500ms`.
pub(crate) fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// What a match asks of the caller, each part in words.
pub(crate) fn of_caller(asked: &CallerMatch) -> Vec<String> {
    let mut parts = Vec::new();
    if !asked.gateways.is_empty() {
        parts.push(format!("it comes through {}", asked.gateways.join(" or ")));
    } else {
        // Where gateways are named, the rest is not looked at.
        parts.extend(asked.labels.iter().map(|(name, value)| format!("the caller has label {name}={value}")));
        if !asked.namespace.is_empty() {
            parts.push(format!("the caller is in namespace {}", asked.namespace));
        }
    }
    parts.extend(asked.port.map(|port| format!("the port is {port}")));
    parts
}

/// What a match asks of the request: each part in words, and whether the request has it.
pub(crate) fn of_request(matches: &HttpMatch, request: &Request) -> Vec<(String, bool)> {
    let mut parts: Vec<(String, HttpMatch)> = Vec::new();
    let only = HttpMatch::default;
    if let Some(uri) = &matches.uri {
        let part = HttpMatch { uri: Some(uri.clone()), ignore_case: matches.ignore_case, ..only() };
        let case = if matches.ignore_case { " (in any case)" } else { "" };
        parts.push((format!("{}{case}", text("path", uri)), part));
    }
    if let Some(method) = &matches.method {
        parts.push((text("method", method), HttpMatch { method: Some(method.clone()), ..only() }));
    }
    if let Some(authority) = &matches.authority {
        parts.push((text("Host", authority), HttpMatch { authority: Some(authority.clone()), ..only() }));
    }
    if let Some(scheme) = &matches.scheme {
        parts.push((text("scheme", scheme), HttpMatch { scheme: Some(scheme.clone()), ..only() }));
    }
    for (name, value) in &matches.headers {
        let headers = [(name.clone(), value.clone())].into();
        parts.push((text(&format!("header {name}"), value), HttpMatch { headers, ..only() }));
    }
    for (name, value) in &matches.without_headers {
        let without_headers = [(name.clone(), value.clone())].into();
        let unwanted = format!("not: {}", text(&format!("header {name}"), value));
        parts.push((unwanted, HttpMatch { without_headers, ..only() }));
    }
    for (name, value) in &matches.query {
        let query = [(name.clone(), value.clone())].into();
        parts.push((text(&format!("query parameter {name}"), value), HttpMatch { query, ..only() }));
    }
    parts.into_iter().map(|(words, part)| (words, request.fits(&part))).collect()
}

fn text(what: &str, matches: &StringMatch) -> String {
    match matches {
        StringMatch::Exact(exact) => format!("{what} is {exact}"),
        StringMatch::Prefix(prefix) => format!("{what} starts with {prefix}"),
        StringMatch::Regex(regex) => format!("{what} matches regex {regex}"),
        StringMatch::Present => format!("{what} is there"),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn all(parts: &[String]) -> String {
    match parts.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// A share of the requests: `90%`, `33.33%`.
pub(crate) fn percent(share: f64) -> String {
    format!("{}%", number(share))
}

/// A share rounded to two places, without zeros at its end.
pub(crate) fn number(share: f64) -> String {
    let text = format!("{share:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
