//! Paths that are denied in one spelling only.

use super::context::Context;
use super::finding::{Lint, Severity};
use super::path_trial::{evaded, keeps_out, sample};
use crate::authorization::chain::RuleRef;
use crate::pattern::is_template;

pub(super) const LINT: Lint = Lint {
    code: "deny-exact-path",
    severity: Severity::Error,
    summary: "a denied path is let through with a slash more or less at its end",
    check,
};

fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding() {
        for value in context.values(policy) {
            if !keeps_out(&policy.action, &value) || value.text.contains('?') {
                continue;
            }
            let text = value.text;
            // `/admin` leaves `/admin/`; `/admin/*` leaves `/admin`.
            let (path, variant, fix) = match text.strip_suffix("/*").or_else(|| text.strip_suffix("/{**}")) {
                Some(parent) if !parent.is_empty() && !parent.contains('*') => {
                    (format!("{parent}/x"), parent.to_owned(), format!("\"{parent}\", \"{text}\""))
                }
                None if !text.contains('*') && !text.ends_with('/') && !is_template(text) => {
                    (text.to_owned(), format!("{text}/"), format!("\"{text}\", \"{text}/*\""))
                }
                _ => continue,
            };
            // A file has no slash behind it.
            let last = path.rsplit('/').next().unwrap_or_default();
            if last.contains('.') || sample(&path).is_none() {
                continue;
            }
            let rule = RuleRef { policy: number, rule: value.rule };
            let found = evaded(context, rule, &policy.action, &path, std::slice::from_ref(&variant));
            let Some((example, _)) = found else { continue };
            let text = format!(
                "`{text}` keeps {path} out and lets {variant} in, which most servers take for the same"
            );
            context.report(&policy.object, &value.pointer, text, Some(example), format!("Write {fix}."));
        }
    }
}
