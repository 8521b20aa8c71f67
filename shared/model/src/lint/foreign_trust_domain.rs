//! Identities whose trust domain no handshake accepts.

use super::context::Context;
use super::finding::{Lint, Severity};

pub(super) const LINT: Lint = Lint {
    code: "foreign-trust-domain",
    severity: Severity::Error,
    summary: "the handshake does not accept the trust domain that the policy names",
    check,
};

/// `plugin/authn/util.go`: only the mesh's trust domain, its aliases and those of caCertificates.
fn check(context: &mut Context<'_>) {
    let mesh = &context.world.mesh;
    if !mesh.is_known {
        return;
    }
    for (_, policy) in context.policies() {
        for value in context.values(policy) {
            let domain = match value.field {
                "principals" | "source.principal" => value.text.split('/').next().unwrap_or_default(),
                "trustDomains" | "source.trustDomain" => value.text,
                _ => continue,
            };
            let five = value.text.split('/').count() == 5;
            if domain.is_empty()
                || domain.contains('*')
                || domain.starts_with("spiffe:")
                || mesh.accepts_trust_domain(domain)
                || (domain == "cluster.local" && (five || value.field.contains("rincipal")))
            {
                continue;
            }
            let example =
                if five { super::identity::example(context, policy, &value, value.text) } else { None };
            let text = format!(
                "nobody of trust domain {domain} gets through the handshake: it is neither the mesh's ({}), nor an alias, nor in caCertificates",
                mesh.trust_domains.own()
            );
            let fix = "Write the mesh's trust domain, or add this one to trustDomainAliases.";
            context.report(&policy.object, &value.pointer, text, example, fix);
        }
    }
}
