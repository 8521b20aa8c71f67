//! Policies that Istio takes and Envoy does not, so that the proxy never gets the update they are in.
//!
//! Measured on Envoy 1.36.4, 1.38.3 and 1.40.0 (tests/envoy/MEASURED.md, "Updates that Envoy does not
//! take").

use crate::pattern::is_template;
use crate::policy::{AuthorizationPolicy, Rule};
use crate::version::Profile;

/// Why proxies do not take a policy: they keep the configuration they had, or abort. `None` where they
/// take it.
#[must_use]
pub fn refused(policy: &AuthorizationPolicy, profile: &Profile) -> Option<String> {
    let rules = || policy.rules.iter().flatten();
    let key = rules().flat_map(|rule| &rule.when).find(|when| has_empty_name(&when.field));
    if let Some(when) = key {
        return Some(format!("`{}` has an empty name, and Envoy refuses the update", when.field));
    }
    if !profile.path_templates {
        return None;
    }
    rules().flat_map(paths).filter(|path| is_template(path)).find_map(|path| {
        let what = template_refused(path, profile.wide_templates)?;
        Some(format!("the template `{path}` {what}, and Envoy aborts"))
    })
}

/// A template of a policy with an operator inside a segment. Istio's webhook refuses it; Envoy reads it
/// as a regular expression of its own, which is not modelled.
#[must_use]
pub fn template_inside_segment<'a>(policy: &'a AuthorizationPolicy, profile: &Profile) -> Option<&'a str> {
    let is_inside = |path: &&String| {
        is_template(path)
            && path.split('/').any(|segment| is_template(segment) && segment != "{*}" && segment != "{**}")
    };
    let mut templates = policy.rules.iter().flatten().flat_map(paths).filter(is_inside);
    templates.next().filter(|_| profile.path_templates).map(String::as_str)
}

fn paths(rule: &Rule) -> impl Iterator<Item = &String> {
    let fields = rule.to.iter().flatten().filter(|values| values.field == "paths");
    fields.flat_map(|values| values.values.iter().chain(&values.not_values))
}

/// Whether a `when` key names nothing between its brackets.
#[must_use]
pub fn has_empty_name(key: &str) -> bool {
    let in_brackets = key.starts_with("request.headers[") || key.starts_with("request.auth.claims[");
    in_brackets && key.contains("[]")
}

/// What Envoy does not take about a template. It gets `*` and `**` for the operators, also inside a
/// segment, where they are characters like others.
#[must_use]
pub fn template_refused(template: &str, wide: bool) -> Option<String> {
    let sent = template.replace("{**}", "**").replace("{*}", "*");
    let Some(inside) = sent.strip_prefix('/') else {
        return Some("has no leading slash".to_owned());
    };
    let mut seen_rest = false;
    let mut segments = inside.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "*" | "**" if seen_rest => return Some("has an operator behind {**}".to_owned()),
            "*" => {}
            "**" => seen_rest = true,
            // One slash at the end is a segment of its own for people, not for Envoy.
            "" if segments.peek().is_none() => {}
            "" => return Some("has an empty segment".to_owned()),
            literal => {
                let known = |c: char| {
                    c.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@*".contains(c) || (wide && c == '=')
                };
                if let Some(bad) = literal.chars().find(|c| !known(*c)) {
                    return Some(format!("has the character `{bad}`"));
                }
            }
        }
    }
    None
}
