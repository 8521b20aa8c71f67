//! The gate of a run: what is asked of Prometheus at each look, and what it says.

use std::time::Duration;

use mesh_cli::Failure;
use mesh_model::gate::query::ServiceName;
use mesh_model::gate::{
    Alpha, Check, Finding, Judgement, Limits, OwnLimit, OwnQuery, Rates, Reporter, Role, Tally, Verdict,
    Versions, Window, judge, judge_own,
};
use mesh_source::prometheus::{self, Prometheus};
use serde::Serialize;

use crate::subject::Subject;
use crate::traffic::{apart, ask, feed, scrape_interval, services, share};

/// Samples older than so many scrapes are stale.
const STALE_AFTER: f64 = 4.0;

/// The chance of a wrong verdict over a whole run.
pub(crate) const ALPHA: f64 = 0.05;

/// What the canary has to keep to, whatever step it is at.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Failures and latency, against limits and stable.
    pub(crate) limits: Limits,
    /// The user's own query with its limit.
    pub(crate) own: Option<(OwnQuery, OwnLimit)>,
}

impl Terms {
    /// Those of a step: where stable gets nothing any more there is nobody to compare with.
    fn of_step(&self, percent: u32, alpha: Alpha) -> Self {
        let mut terms = self.clone();
        terms.limits.alpha = alpha;
        if percent == 100 {
            terms.limits.tolerance = None;
            // A query that was only compared has nothing left to say.
            terms.own = terms.own.filter(|(_, limit)| limit.max.is_some());
            if let Some((_, limit)) = &mut terms.own {
                limit.tolerance = None;
            }
        }
        terms
    }

    /// Whether there is anything to judge requests by, beside the user's own query.
    fn has_limits(&self) -> bool {
        self.limits.max_error_rate.is_some()
            || self.limits.tolerance.is_some()
            || !self.limits.latency.is_empty()
    }
}

/// What one look saw and says.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Looked {
    /// The worst of all findings.
    pub(crate) verdict: Verdict,
    /// Why, the worst first.
    pub(crate) findings: Vec<Finding>,
    /// What else to know.
    pub(crate) notes: Vec<String>,
    /// How long the window is by now.
    pub(crate) seconds: f64,
    /// The canary's share of the requests of both in percent, as the reporter that counts saw it.
    pub(crate) split: Option<f64>,
    /// What was seen of stable since the window began, by the reporter that counts.
    pub(crate) stable_rates: Option<Rates>,
    /// What was seen of the canary.
    pub(crate) canary_rates: Option<Rates>,
}

/// A gate: which Prometheus, what it is asked, and what has been counted at this step.
pub(crate) struct Gate {
    prometheus: Prometheus,
    services: Vec<ServiceName>,
    versions: Versions,
    terms: Terms,
    /// Seconds between two scrapes.
    pub(crate) scrape: f64,
    /// Since the window of the step began.
    tally: Option<Tally>,
}

impl Gate {
    /// Opens it for a subject and its canary; asks once, to see that there is anything to ask.
    ///
    /// # Errors
    /// A Prometheus that does not answer; versions that metrics do not tell apart.
    pub(crate) fn open(
        prometheus: Prometheus,
        subject: &Subject<'_, '_>,
        canary: &str,
        terms: Terms,
    ) -> Result<Self, Failure> {
        let by_workload = apart(&subject.versions, canary, false);
        let versions = by_workload.or_else(|why| apart(&subject.versions, canary, true).map_err(|_| why));
        let versions = versions.map_err(|why| {
            Failure::error(format!("metrics do not tell the versions of {} apart: {why}", subject.key())).hint(
                "each version needs a Deployment of its own, or its own value of the pods' label `version`",
            )
        })?;
        let services = services(subject);
        let failure = |error: prometheus::Error| crate::traffic::failure(&error);
        let now = prometheus.now().map_err(failure)?;
        let answers = ask(&prometheus, &services, now).map_err(failure)?;
        let scrape = scrape_interval(&answers.requests);
        Ok(Self { prometheus, services, versions, terms, scrape, tally: None })
    }

    /// Which Prometheus.
    pub(crate) fn name(&self) -> &str {
        self.prometheus.name()
    }

    /// Whether it has counted anything of Istio's.
    pub(crate) fn has_istio(&self) -> bool {
        self.prometheus.has_istio()
    }

    /// Begins the window of a step.
    pub(crate) fn begin(&mut self) -> Result<(), prometheus::Error> {
        // Without the time there is no window, and no look passes.
        self.tally = None;
        self.tally = Some(Tally::new(self.versions.clone(), self.prometheus.now()?));
        Ok(())
    }

    /// Looks at the window of a step, which gives the canary `percent`.
    pub(crate) fn look(&mut self, percent: u32, alpha: Alpha) -> Result<Looked, prometheus::Error> {
        let Some(tally) = &mut self.tally else {
            self.begin()?;
            return Ok(Looked::nothing("the window begins only now: Prometheus did not answer before"));
        };
        let answers = ask(&self.prometheus, &self.services, tally.start())?;
        feed(tally, &answers);
        let window = tally.window(STALE_AFTER * self.scrape);
        let terms = self.terms.of_step(percent, alpha);
        let mut judgements = Vec::new();
        if terms.has_limits() || terms.own.is_none() {
            judgements.push(judge(&window, &terms.limits));
        }
        if let Some((query, limit)) = &terms.own {
            judgements.push(self.own(query, *limit, answers.at, window.seconds())?);
        }
        Ok(Looked::of(judgements, &window))
    }

    /// Asks the user's own query for each version. One of several workloads has no single number.
    fn own(
        &self,
        query: &OwnQuery,
        limit: OwnLimit,
        at: f64,
        seconds: f64,
    ) -> Result<Judgement, prometheus::Error> {
        let Some(service) = self.services.first() else { return Ok(judge_own(&[], None, limit)) };
        // Whole seconds, at least one.
        let seconds = seconds.ceil().max(1.0) as u64;
        let of = |role: Role| -> Result<Vec<mesh_model::gate::Series>, prometheus::Error> {
            let mut series = Vec::new();
            for identity in self.versions.of(role) {
                let text = query.text(identity, &service.namespace, &service.name, seconds);
                series.extend(self.prometheus.query(&text, at)?.series);
            }
            Ok(series)
        };
        let canary = of(Role::Canary)?;
        let stable = match limit.tolerance {
            Some(_) if query.tells_versions_apart() => Some(of(Role::Stable)?),
            _ => None,
        };
        Ok(judge_own(&canary, stable.as_deref(), limit))
    }
}

impl Looked {
    fn nothing(reason: &str) -> Self {
        let finding = Finding {
            check: Check::Data,
            reporter: None,
            verdict: Verdict::Inconclusive,
            reason: reason.to_owned(),
            needs: None,
        };
        Self {
            verdict: Verdict::Inconclusive,
            findings: vec![finding],
            notes: Vec::new(),
            seconds: 0.0,
            split: None,
            stable_rates: None,
            canary_rates: None,
        }
    }

    fn of(judgements: Vec<Judgement>, window: &Window) -> Self {
        let verdict = judgements.iter().map(|one| one.verdict).max().unwrap_or(Verdict::Inconclusive);
        let mut findings: Vec<Finding> = Vec::new();
        let mut notes = Vec::new();
        for one in judgements {
            findings.extend(one.findings);
            notes.extend(one.notes);
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        let reporter = if window.source.is_empty() { Reporter::Destination } else { Reporter::Source };
        let pair = window.by(reporter);
        let seconds = window.seconds();
        let rates = |role| (!pair.is_empty()).then(|| Rates::of(pair.of(role), seconds));
        Self {
            verdict,
            findings,
            notes,
            seconds,
            split: share(pair.canary.requests, pair.canary.requests + pair.stable.requests),
            stable_rates: rates(Role::Stable),
            canary_rates: rates(Role::Canary),
        }
    }
}

/// What a finding is about, in a word or two.
pub(crate) fn title(finding: &Finding) -> String {
    let check = match finding.check {
        Check::ErrorRate => "errors".to_owned(),
        Check::Comparison => "against stable".to_owned(),
        Check::Latency { quantile } => format!("p{}", (quantile * 1000.0).round() / 10.0),
        Check::Unattributed => "nowhere".to_owned(),
        Check::Own => "own query".to_owned(),
        Check::Data => "data".to_owned(),
    };
    match finding.reporter {
        Some(Reporter::Source) => format!("{check}, by clients"),
        Some(Reporter::Destination) => format!("{check}, by servers"),
        None => check,
    }
}

/// Reads a share of requests: `1%`, `0.5%` or `0.005`.
pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && number < scale => Ok(number / scale),
        // That nothing ever fails, no number of requests proves.
        Ok(_) => Err("it must be more than 0 and less than 100%".to_owned()),
        Err(_) => Err("write it as 1%, 0.5% or 0.005".to_owned()),
    }
}

/// Reads a latency: `300ms`, `2s`.
pub(crate) fn latency(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be more than 0".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write it as 300ms or 2s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_stable_gets_nothing_only_limits_of_the_canary_hold() {
        let terms = |max| Terms {
            limits: Limits {
                max_error_rate: Some(0.01),
                tolerance: Some(0.01),
                latency: Vec::new(),
                alpha: Alpha::default(),
            },
            own: OwnQuery::parse("up").ok().map(|query| (query, OwnLimit { max, tolerance: Some(1.0) })),
        };
        let before = terms(None).of_step(50, Alpha::default());
        assert!(before.own.is_some() && before.limits.tolerance.is_some());
        // A query without a limit gives no verdict: it would hold the last step for ever.
        let last = terms(None).of_step(100, Alpha::default());
        assert!(last.own.is_none() && last.limits.tolerance.is_none() && last.has_limits());
        let last = terms(Some(2.0)).of_step(100, Alpha::default());
        assert_eq!(last.own.map(|(_, limit)| (limit.max, limit.tolerance)), Some((Some(2.0), None)));
    }

    #[test]
    fn shares_are_read() {
        assert_eq!(fraction("1%"), Ok(0.01));
        assert_eq!(fraction("0.5 %"), Ok(0.005));
        assert_eq!(fraction("0.005"), Ok(0.005));
        for wrong in ["0", "1", "100%", "-1%", "NaN", "inf%", "", "%", "one"] {
            assert!(fraction(wrong).is_err(), "{wrong}");
        }
    }
}
