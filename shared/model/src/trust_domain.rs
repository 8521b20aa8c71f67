//! Trust domains and their aliases.
//!
//! Rules: `pilot/pkg/security/trustdomain/bundle.go`.

/// The name that stands for the mesh's own trust domain in principals, whatever that is.
const LOCAL: &str = "cluster.local";

/// The mesh's trust domain and its aliases (`meshConfig.trustDomain`, `trustDomainAliases`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomains {
    all: Vec<String>,
}

impl TrustDomains {
    /// The mesh's own trust domain, then its aliases.
    #[must_use]
    pub fn new(own: impl Into<String>, aliases: impl IntoIterator<Item = String>) -> Self {
        Self { all: std::iter::once(own.into()).chain(aliases).collect() }
    }

    /// The mesh's own trust domain.
    #[must_use]
    pub fn own(&self) -> &str {
        self.all.first().map_or(LOCAL, String::as_str)
    }

    /// The own trust domain and all aliases.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(String::as_str)
    }

    /// A `principals` value as istiod hands it to the proxy: values of five parts whose trust domain
    /// is one of the mesh's, or `cluster.local`, once for each trust domain; all others as written.
    #[must_use]
    pub fn expand_principal(&self, value: &str) -> Vec<String> {
        let parts: Vec<&str> = value.split('/').collect();
        let [domain, rest @ ..] = parts.as_slice() else { return vec![value.to_owned()] };
        if parts.len() != 5 || *domain == "*" {
            return vec![value.to_owned()];
        }
        if *domain != LOCAL && !self.all.iter().any(|own| overlaps(domain, own)) {
            return vec![value.to_owned()];
        }
        let mut expanded = Vec::new();
        for own in &self.all {
            let principal =
                if is_suffix(own, domain) { value.to_owned() } else { format!("{own}/{}", rest.join("/")) };
            if !expanded.contains(&principal) {
                expanded.push(principal);
            }
        }
        expanded
    }

    /// A `trustDomains` value as istiod hands it to the proxy: a member of the list stands for the
    /// whole list, without the magic of `cluster.local`.
    #[must_use]
    pub fn expand(&self, value: &str) -> Vec<String> {
        if self.all.iter().any(|own| own == value) { self.all.clone() } else { vec![value.to_owned()] }
    }
}

impl Default for TrustDomains {
    fn default() -> Self {
        Self::new(LOCAL, [])
    }
}

/// `stringMatch` in `trustdomain/util.go`: either side may be the pattern.
fn overlaps(a: &str, b: &str) -> bool {
    a == b || b == "*" || is_prefix(a, b) || is_prefix(b, a) || is_suffix(a, b) || is_suffix(b, a)
}

fn is_prefix(text: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').is_some_and(|prefix| text.starts_with(prefix))
}

fn is_suffix(text: &str, pattern: &str) -> bool {
    pattern.strip_prefix('*').is_some_and(|suffix| text.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(value: &str) -> Vec<String> {
        TrustDomains::new("new-td", ["old-td".to_owned()]).expand_principal(value)
    }

    #[test]
    fn own_domain_alias_and_cluster_local_stand_for_all() {
        let both = ["new-td/ns/a/sa/b", "old-td/ns/a/sa/b"];
        assert_eq!(expand("new-td/ns/a/sa/b"), both);
        assert_eq!(expand("old-td/ns/a/sa/b"), both);
        assert_eq!(expand("cluster.local/ns/a/sa/b"), both);
    }

    #[test]
    fn a_pattern_that_covers_a_domain_is_kept() {
        assert_eq!(expand("*-td/ns/a/sa/b"), ["*-td/ns/a/sa/b"]);
        assert_eq!(expand("*d-td/ns/a/sa/b"), ["new-td/ns/a/sa/b", "*d-td/ns/a/sa/b"]);
        assert_eq!(expand("*/ns/a/sa/b"), ["*/ns/a/sa/b"]);
    }

    #[test]
    fn foreign_and_short_principals_are_kept() {
        assert_eq!(expand("other/ns/a/sa/b"), ["other/ns/a/sa/b"]);
        // istio#47322: fewer than five parts are not expanded, so this never matches here.
        assert_eq!(expand("cluster.local/*"), ["cluster.local/*"]);
        assert_eq!(expand("cluster.local/ns/a/*"), ["cluster.local/ns/a/*"]);
    }

    #[test]
    fn trust_domain_values_expand_by_exact_membership_only() {
        let domains = TrustDomains::new("new-td", ["old-td".to_owned()]);
        assert_eq!(domains.expand("old-td"), ["new-td", "old-td"]);
        assert_eq!(domains.expand("cluster.local"), ["cluster.local"]);
    }
}
