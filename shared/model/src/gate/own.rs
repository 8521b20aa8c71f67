//! The user's own query: one number per version.

use std::fmt;

use super::judge::Judgement;
use super::query::escape;
use super::words::percent;
use super::{Check, Finding, Identity, Role, Series, Verdict};

/// What may stand between `{{` and `}}`.
const PLACEHOLDERS: [&str; 5] = ["workload", "namespace", "version", "service", "interval"];

/// A PromQL query with placeholders, as Flagger and Argo Rollouts have them too:
/// `{{workload}}`, `{{namespace}}`, `{{version}}`, `{{service}}`, `{{interval}}`.
///
/// PromQL never has two braces in a row, so that nothing else in a query is mistaken for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnQuery {
    /// Text, and after each piece of it a placeholder; none after the last.
    pieces: Vec<(String, Option<&'static str>)>,
}

/// A placeholder that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPlaceholder {
    /// What stands between the braces.
    pub name: String,
}

impl fmt::Display for UnknownPlaceholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{{}}}}} is no placeholder; there are: {}", self.name, PLACEHOLDERS.join(", "))
    }
}

impl std::error::Error for UnknownPlaceholder {}

impl OwnQuery {
    /// Reads a query.
    ///
    /// # Errors
    /// If a placeholder is unknown or is not closed.
    pub fn parse(text: &str) -> Result<Self, UnknownPlaceholder> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let unknown = |name: &str| UnknownPlaceholder { name: name.trim().to_owned() };
            let (name, after) = after.split_once("}}").ok_or_else(|| unknown(after))?;
            let known = PLACEHOLDERS.into_iter().find(|known| *known == name.trim());
            pieces.push((before.to_owned(), Some(known.ok_or_else(|| unknown(name))?)));
            rest = after;
        }
        pieces.push((rest.to_owned(), None));
        Ok(Self { pieces })
    }

    /// Whether the query is another one for each version; otherwise its one number is taken for the canary's.
    #[must_use]
    pub fn tells_versions_apart(&self) -> bool {
        self.pieces.iter().any(|(_, name)| matches!(name, Some("workload" | "version")))
    }

    /// The query for one version. `seconds` is the length of the window. What the version has no name for
    /// becomes empty.
    #[must_use]
    pub fn text(&self, identity: &Identity, namespace: &str, service: &str, seconds: u64) -> String {
        let mut text = String::new();
        for (before, name) in &self.pieces {
            text.push_str(before);
            text.push_str(&match (name, identity) {
                (Some("workload"), Identity::Workload { name, .. }) => escape(name),
                (Some("namespace"), Identity::Workload { namespace, .. }) => escape(namespace),
                (Some("namespace"), Identity::Version(_)) => escape(namespace),
                (Some("version"), Identity::Version(version)) => escape(version),
                (Some("service"), _) => escape(service),
                (Some("interval"), _) => format!("{}s", seconds.max(1)),
                _ => String::new(),
            });
        }
        text
    }
}

/// The largest number that the user's own query may give for the canary, and by how much it may be above
/// stable's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnLimit {
    /// The largest number.
    pub max: Option<f64>,
    /// The largest difference to stable's.
    pub tolerance: Option<f64>,
}

/// Judges the answers to the user's own query.
///
/// How many requests are behind a number is not known, so nothing is proven: a number at or below the limit
/// passes, one above fails. Everything that is not one finite number is inconclusive.
#[must_use]
pub fn judge_own(canary: &[Series], stable: Option<&[Series]>, limit: OwnLimit) -> Judgement {
    let mut findings = Vec::new();
    let mut find = |verdict, reason: String| {
        findings.push(Finding { check: Check::Own, reporter: None, verdict, reason, needs: None });
    };
    match number(Role::Canary, canary) {
        Err(reason) => find(Verdict::Inconclusive, reason),
        Ok(canary) => {
            let verdict = |is_good| if is_good { Verdict::Pass } else { Verdict::Fail };
            if let Some(max) = limit.max {
                find(
                    verdict(canary <= max),
                    format!("the query gives {canary}, limit {max} ({})", percent(max)),
                );
            }
            match (limit.tolerance, stable.map(|stable| number(Role::Stable, stable))) {
                (None, _) => {}
                (Some(_), None) => {
                    find(Verdict::Inconclusive, "the query was not asked of stable".to_owned());
                }
                (Some(_), Some(Err(reason))) => find(Verdict::Inconclusive, reason),
                (Some(tolerance), Some(Ok(stable))) => find(
                    verdict(canary - stable <= tolerance),
                    format!("the query gives {canary}, of stable {stable}, tolerance {tolerance}"),
                ),
            }
        }
    }
    let notes = vec!["how many requests are behind the query's numbers is not known".to_owned()];
    Judgement::of(findings, notes)
}

/// The one number of an answer.
fn number(role: Role, series: &[Series]) -> Result<f64, String> {
    let [one] = series else {
        return Err(match series.len() {
            0 => format!("the query gives nothing for {role}"),
            many => format!("the query gives {many} numbers for {role}; sum or filter them to one"),
        });
    };
    match one.samples.last() {
        Some(sample) if sample.value.is_finite() => Ok(sample.value),
        Some(sample) if sample.value.is_nan() => Err(format!("the query gives NaN for {role}")),
        Some(_) => Err(format!("the query gives an infinite number for {role}")),
        None => Err(format!("the query gives nothing for {role}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Labels, Sample};

    fn workload(name: &str) -> Identity {
        Identity::Workload { namespace: "shop".into(), name: name.into() }
    }

    #[test]
    fn placeholders_are_filled_and_escaped() {
        let text = r#"rate(e{w="{{workload}}",n="{{ namespace }}"}[{{interval}}]) # {{service}}"#;
        let query = OwnQuery::parse(text).unwrap();
        assert_eq!(
            query.text(&workload(r#"a"b\"#), "x", "payment", 60),
            r#"rate(e{w="a\"b\\",n="shop"}[60s]) # payment"#
        );
        assert!(query.tells_versions_apart());
        assert!(!OwnQuery::parse("up{job=\"a\"}").unwrap().tells_versions_apart());
        assert_eq!(
            OwnQuery::parse("{{pod}}").unwrap_err().to_string(),
            "{{pod}} is no placeholder; there are: workload, namespace, version, service, interval"
        );
        assert!(OwnQuery::parse("{{workload").is_err());
    }

    #[test]
    fn only_one_finite_number_is_an_answer() {
        let series = |values: &[f64]| -> Vec<Series> {
            values
                .iter()
                .map(|&value| Series { labels: Labels::new(), samples: vec![Sample { at: 1.0, value }] })
                .collect()
        };
        let verdict = |canary: &[f64], stable: &[f64], tolerance| {
            let limit = OwnLimit { max: Some(0.01), tolerance };
            judge_own(&series(canary), Some(&series(stable)), limit).verdict
        };
        assert_eq!(verdict(&[0.01], &[], None), Verdict::Pass);
        assert_eq!(verdict(&[0.011], &[], None), Verdict::Fail);
        for bad in [&[][..], &[f64::NAN], &[f64::INFINITY], &[0.0, 0.0]] {
            assert_eq!(verdict(bad, &[], None), Verdict::Inconclusive, "{bad:?}");
            assert_eq!(verdict(&[0.0], bad, Some(0.0)), Verdict::Inconclusive, "{bad:?}");
        }
        assert_eq!(verdict(&[0.005], &[0.001], Some(0.001)), Verdict::Fail);
        assert_eq!(judge_own(&series(&[1.0]), None, OwnLimit::default()).verdict, Verdict::Inconclusive);
    }
}
