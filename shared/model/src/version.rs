//! What differs between Istio's versions, by name.

use std::fmt;

/// A version of Istio, `major.minor.patch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
    /// The patch number.
    pub patch: u32,
}

impl Version {
    /// The version whose behaviour is assumed where none is known: the newest that was read.
    pub const NEWEST: Self = Self::new(1, 31, 0);

    /// A version by its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads `1.27`, `1.27.3`, `v1.27.3`, or an image tag such as `1.27.3-distroless`. A version
    /// without a patch number means the newest patch.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut numbers = text.split(['.', '-', '+']);
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        let patch = match numbers.next() {
            None => u32::MAX,
            Some(patch) => patch.parse().ok().unwrap_or(0),
        };
        Some(Self { major, minor, patch })
    }

    /// Whether this version has a change that was made in several release lines: at or after the
    /// patch of its own line, or of a line newer than all named.
    fn has(self, first: &[Self]) -> bool {
        let line = first.iter().find(|v| (v.major, v.minor) == (self.major, self.minor));
        match line {
            Some(version) => self.patch >= version.patch,
            None => first.iter().all(|v| (self.major, self.minor) > (v.major, v.minor)),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch == u32::MAX { Ok(()) } else { write!(f, ".{}", self.patch) }
    }
}

/// How a version of Istio reads authorization policies. Each field names the first version that
/// shows the behaviour in its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The version.
    pub version: Version,
    /// `targetRefs` exist (1.22). Before, the field is unknown and ignored.
    pub target_refs: bool,
    /// `{*}` and `{**}` in paths are templates (1.22). Before, they are literal characters.
    pub path_templates: bool,
    /// `source.serviceAccounts` exist (1.25). Before, the field is unknown and ignored.
    pub service_accounts: bool,
    /// Several CUSTOM providers on one workload can be allowed by a flag (1.30).
    pub multiple_custom_providers: bool,
    /// `source.trustDomains` exist (1.30.2).
    pub trust_domains: bool,
    /// `namespaces` and suffix `principals` are quoted in regular expressions (1.28.7, 1.29.3,
    /// 1.30.0; release note 59992).
    pub quoted_principals: bool,
    /// `serviceAccounts` are quoted in regular expressions (1.27.9, 1.28.6, 1.29.2, 1.30.0).
    pub quoted_service_accounts: bool,
    /// Each value of a repeated header is compared by itself (Envoy patch releases of March 2026,
    /// GHSA-ghc4-35x6-crw5). Before, the values are joined with commas.
    pub separate_header_values: bool,
    /// Template operators also match `=` and `*` (measured on Envoy 1.38, Istio 1.30).
    pub wide_templates: bool,
    /// `requestPrincipals` are split at their last slash (1.21.1; before, at the first).
    pub request_principal_last_slash: bool,
}

impl Profile {
    /// The behaviour of a version.
    #[must_use]
    pub fn new(version: Version) -> Self {
        let since = |major, minor, patch| version >= Version::new(major, minor, patch);
        Self {
            version,
            target_refs: since(1, 22, 0),
            path_templates: since(1, 22, 0),
            service_accounts: since(1, 25, 0),
            multiple_custom_providers: since(1, 30, 0),
            trust_domains: since(1, 30, 2),
            quoted_principals: version.has(&[
                Version::new(1, 28, 7),
                Version::new(1, 29, 3),
                Version::new(1, 30, 0),
            ]),
            quoted_service_accounts: version.has(&[
                Version::new(1, 27, 9),
                Version::new(1, 28, 6),
                Version::new(1, 29, 2),
                Version::new(1, 30, 0),
            ]),
            separate_header_values: version.has(&[
                Version::new(1, 27, 9),
                Version::new(1, 28, 6),
                Version::new(1, 29, 2),
                Version::new(1, 30, 0),
            ]),
            wide_templates: since(1, 30, 0),
            request_principal_last_slash: since(1, 21, 1),
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::new(Version::NEWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_counts_in_the_release_lines_that_got_it() {
        let quoted = |text| Profile::new(Version::parse(text).unwrap()).quoted_principals;
        assert!(!quoted("1.27.20"));
        assert!(!quoted("1.28.6"));
        assert!(quoted("1.28.7"));
        assert!(!quoted("1.29.2"));
        assert!(quoted("1.29.3"));
        assert!(quoted("1.30"));
        assert!(quoted("v1.31.1-distroless"));
    }

    #[test]
    fn versions_read_as_people_write_them() {
        assert_eq!(Version::parse("1.27.3").unwrap().to_string(), "1.27.3");
        assert_eq!(Version::parse("v1.27").unwrap().to_string(), "1.27");
        assert_eq!(Version::parse("latest"), None);
    }
}
