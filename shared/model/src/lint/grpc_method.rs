//! gRPC calls that are not POST.

use super::context::Context;
use super::finding::{Lint, Severity};
use super::path_trial::sample;

pub(super) const LINT: Lint = Lint {
    code: "grpc-method",
    severity: Severity::Error,
    summary: "the operation names a gRPC call and a method other than POST, which gRPC always uses",
    check,
};

fn check(context: &mut Context<'_>) {
    for (_, policy) in context.policies() {
        for rule in policy.rules.iter().flatten() {
            for operation in &rule.to {
                let field = |name: &str| operation.iter().find(|values| values.field == name);
                let Some((paths, methods)) = field("paths").zip(field("methods")) else { continue };
                let posts =
                    methods.values.iter().any(|value| crate::pattern::Pattern::header(value).matches("POST"));
                if methods.values.is_empty() || posts || paths.values.is_empty() {
                    continue;
                }
                if !paths.values.iter().all(|path| is_grpc(path)) {
                    continue;
                }
                let path = paths.values.first().map_or("", String::as_str);
                let example = super::path_trial::with_method(context, policy, path, "POST", &methods.pointer);
                let text = format!(
                    "`{path}` is a gRPC call and gRPC always uses POST, so the operation with method {} never matches one",
                    methods.values.join(", ")
                );
                context.report(
                    &policy.object,
                    &methods.pointer,
                    text,
                    example,
                    "Write methods: [\"POST\"], or none.",
                );
            }
        }
    }
}

/// `/package.Service/Method`: a dot in the first of two segments, the second a name in capitals.
fn is_grpc(path: &str) -> bool {
    let path = sample(path).unwrap_or_default();
    let Some((service, method)) = path.trim_start_matches('/').split_once('/') else { return false };
    let name = service.rsplit('.').next().unwrap_or_default();
    service.contains('.')
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && !method.contains('/')
        && (method == "x" || method.starts_with(|c: char| c.is_ascii_uppercase()))
}
