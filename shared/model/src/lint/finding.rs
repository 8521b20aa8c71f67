//! What a lint says.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::authorization::judge::Verdict;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A trap: it does something that its author may not have meant.
    Warning,
    /// It is surely broken, or open against its evident intent.
    Error,
}

impl Severity {
    /// `warning` or `error`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A request that shows what is wrong, and what really becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// Who sends it: an identity, or a client in plaintext.
    pub from: String,
    /// Who gets it, `namespace/name` of the workload.
    pub to: String,
    /// The workload's port.
    pub port: u16,
    /// What the client speaks: `http` or `tcp`.
    pub protocol: &'static str,
    /// The method; HTTP only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path as the client sends it; HTTP only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The host, where it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Headers that matter, each with its value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Issuer and subject of the token, where it carries one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// What becomes of it, and by which rule.
    pub happens: String,
    /// What one would expect.
    pub expected: String,
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.method, &self.path) {
            (Some(method), Some(path)) => write!(f, "{method} {path}")?,
            _ => f.write_str("a TCP connection")?,
        }
        let host = self.host.iter().map(|host| format!("host: {host}"));
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}"));
        let details: Vec<String> = host.chain(headers).collect();
        if !details.is_empty() {
            write!(f, " ({})", details.join(", "))?;
        }
        if let Some(token) = &self.token {
            write!(f, " with a token of {token}")?;
        }
        write!(f, " from {} to {} port {}", self.from, self.to, self.port)
    }
}

/// Something in an object that does not do what it seems to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The lint, in kebab-case; explained in `docs/lints.md`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The kind of the object.
    pub kind: &'static str,
    /// `namespace/name` of the object.
    pub object: String,
    /// The index of the rule, where the object has rules.
    pub rule: Option<usize>,
    /// `file:line`, or `namespace/name` in a cluster.
    pub at: String,
    /// What is wrong, as one sentence.
    pub text: String,
    /// A request that shows it, checked with the same logic that answers `can`; `null` where no
    /// request of the objects at hand can show it.
    pub request: Option<Example>,
    /// What to write instead.
    pub fix: String,
}

impl Finding {
    /// The namespace of the object.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.object.split_once('/').map_or("", |(namespace, _)| namespace)
    }
}

/// A lint as the list of lints shows it.
#[derive(Clone, Copy, Debug)]
pub struct Lint {
    /// Its stable name, in kebab-case.
    pub code: &'static str,
    /// How bad its findings are.
    pub severity: Severity,
    /// What it finds, in one line.
    pub summary: &'static str,
    pub(super) check: fn(&mut super::context::Context<'_>),
}

impl Serialize for Lint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({ "code": self.code, "severity": self.severity, "summary": self.summary })
            .serialize(serializer)
    }
}
