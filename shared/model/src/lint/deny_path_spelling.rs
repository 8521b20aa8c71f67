//! Spellings of a denied path that normalization leaves as they are.

use super::context::Context;
use super::finding::{Lint, Severity};
use super::path_trial::{evaded, keeps_out, sample};
use crate::authorization::chain::RuleRef;
use crate::path::Normalization;

pub(super) const LINT: Lint = Lint {
    code: "deny-path-spelling",
    severity: Severity::Warning,
    summary: "a denied path is let through in another spelling that servers may take for the same",
    check,
};

/// What each mode of `pathNormalization` leaves as it is: tests/envoy/MEASURED.md.
fn check(context: &mut Context<'_>) {
    for (number, policy) in context.deciding() {
        for value in context.values(policy) {
            if !keeps_out(&policy.action, &value) {
                continue;
            }
            let Some(path) = sample(value.text).filter(|path| path.len() > 1) else { continue };
            let mut variants = vec![format!("/{path}")];
            if let Some((parent, last)) = path.rsplit_once('/') {
                if !parent.is_empty() {
                    variants.push(format!("{parent}%2f{last}"));
                    variants.push(format!("{parent}//{last}"));
                }
                // The template's operators do not match brackets, which BASE leaves in place.
                if value.text.contains("{*}") || value.text.contains("{**}") {
                    variants.push(format!("{path}[x"));
                }
            }
            variants.push(format!("/x/..%2f{}", path.trim_start_matches('/')));
            let upper = path.to_ascii_uppercase();
            let only_case_left = variants.len();
            variants.push(upper);
            let rule = RuleRef { policy: number, rule: value.rule };
            let Some((example, variant)) = evaded(context, rule, &policy.action, &path, &variants) else {
                continue;
            };
            let by_case = variants.iter().position(|known| *known == variant) == Some(only_case_left);
            let normalization = context.world.mesh.normalization;
            let fix = match normalization {
                _ if by_case => {
                    "Policies compare paths with case: deny nothing by path, allow the paths that are open."
                        .to_owned()
                }
                Normalization::DecodeAndMergeSlashes => {
                    "Allow the paths that are open instead of denying those that are not.".to_owned()
                }
                _ => format!(
                    "Set meshConfig.pathNormalization.normalization: DECODE_AND_MERGE_SLASHES (it is {}), or allow the paths that are open instead.",
                    normalization.name()
                ),
            };
            let text = format!(
                "{path} is kept out and {variant} is not; it depends on the server behind whether that is the same"
            );
            context.report(&policy.object, &value.pointer, text, Some(example), fix);
        }
    }
}
