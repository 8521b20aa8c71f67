//! The verdict of one look at one step.

use serde::Serialize;

use super::words::{kinds, percent, quantile, rate, requests};
use super::{Alpha, Problem, Reporter, Role, Seen, Window, proportion};

/// What a look says. Ordered from good to bad, so that the worst of several is their maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Proven to keep to the limit.
    Pass,
    /// Neither is proven: too few requests, or numbers that prove nothing.
    Inconclusive,
    /// Proven to be beyond the limit.
    Fail,
}

/// What the canary has to keep to.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The largest share of requests that may fail, as a fraction (0.01 is 1 %). It holds whatever stable
    /// does: when stable is as bad, the canary is not to blame, but promoting is not the answer either.
    pub max_error_rate: Option<f64>,
    /// By how much the canary's share of failures may be above stable's in the same window, as a difference
    /// of fractions. A canary that is worse than that fails, though it keeps to the absolute limit. `None`
    /// compares nothing, as it must be once stable has no traffic.
    pub tolerance: Option<f64>,
    /// Latency.
    pub latency: Vec<LatencyLimit>,
    /// The chance of a wrong verdict.
    pub alpha: Alpha,
}

/// A limit of one quantile of the request duration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyLimit {
    /// Which, as a fraction: 0.99 for p99.
    pub quantile: f64,
    /// In milliseconds.
    pub milliseconds: f64,
}

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// The canary's share of failures against the limit.
    ErrorRate,
    /// The canary's share of failures against stable's.
    Comparison,
    /// A quantile of the canary's latency against the limit.
    Latency {
        /// Which quantile, as a fraction.
        quantile: f64,
    },
    /// Failures at clients that reached no version.
    Unattributed,
    /// The user's own query.
    Own,
    /// Whether there is anything to judge.
    Data,
}

/// The outcome of one check, for one reporter.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// Who counted; `None` where that plays no part.
    pub reporter: Option<Reporter>,
    /// What it says.
    pub verdict: Verdict,
    /// Why, in counts.
    pub reason: String,
    /// How many requests of the canary make a pass possible if no more of them fail. Only where that is
    /// what is missing.
    pub needs: Option<u64>,
}

/// All of one look.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// The worst of the findings.
    pub verdict: Verdict,
    /// Each check, the worst first.
    pub findings: Vec<Finding>,
    /// What else to know, such as a reporter that has no numbers.
    pub notes: Vec<String>,
}

impl Judgement {
    /// From findings; without any there is nothing that could have passed.
    pub(crate) fn of(mut findings: Vec<Finding>, notes: Vec<String>) -> Self {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        let verdict = findings.first().map_or(Verdict::Inconclusive, |finding| finding.verdict);
        Self { verdict, findings, notes }
    }

    /// The most requests that any check waits for.
    #[must_use]
    pub fn needs(&self) -> Option<u64> {
        self.findings.iter().filter_map(|finding| finding.needs).max()
    }
}

/// Judges a window.
///
/// # The rules
///
/// With one-sided exact bounds at the level that [`Alpha`] gives for one look:
///
/// - **Error rate**: fail if the lower bound is above the limit; pass if the upper bound is at most the limit.
/// - **Comparison**: the same with the difference between the canary and stable in the same window. Its bounds
///   are those of both rates at half the level each, which holds for any counts (Bonferroni).
/// - **Latency**: p99 <= 300 ms says that at most 1 % of the requests take longer than 300 ms. So it is an
///   error rate with slowness as the error; between two buckets, with the least number of slow requests for a
///   fail and the largest for a pass. This is the interval of a quantile by order statistics.
/// - **Unattributed**: requests without route, cluster or endpoint (NR, NC, UH) fail the step if there were none
///   right before it, or significantly fewer. Other failures without destination are held against the
///   error limit as a share of all requests that clients sent.
///
/// Each for the reporters that have numbers of the service. One that has none at all (clients without
/// sidecars, servers without sidecars, not scraped) is noted and left out: nobody could pass otherwise. One
/// that knows stable, but has no request to the canary, is inconclusive.
#[must_use]
pub fn judge(window: &Window, limits: &Limits) -> Judgement {
    let mut notes = Vec::new();
    let reporters: Vec<Reporter> =
        Reporter::ALL.into_iter().filter(|&reporter| !window.by(reporter).is_empty()).collect();
    let missing = Reporter::ALL.into_iter().filter(|reporter| !reporters.contains(reporter));
    for reporter in missing.filter(|_| !reporters.is_empty()) {
        let unseen = match reporter {
            Reporter::Source => "failures before the server are not seen",
            Reporter::Destination => "only what clients with a sidecar or a gateway sent is seen",
        };
        notes.push(format!("{reporter} have counted nothing of this service: {unseen}"));
    }
    let of_each = usize::from(limits.max_error_rate.is_some())
        + usize::from(limits.tolerance.is_some())
        + limits.latency.len();
    let checks = u32::try_from(of_each * reporters.len() + 1).unwrap_or(u32::MAX);
    let look = Look { window, pass: limits.alpha.pass(), fail: limits.alpha.fail(checks) };
    let mut findings = Vec::new();
    for &reporter in &reporters {
        findings.extend(limits.max_error_rate.map(|limit| look.error_rate(reporter, limit)));
        findings.extend(limits.tolerance.map(|tolerance| look.comparison(reporter, tolerance)));
        findings.extend(limits.latency.iter().map(|&limit| look.latency(reporter, limit)));
    }
    if reporters.is_empty() {
        findings.push(no_data(window));
    } else if of_each == 0 {
        findings.push(Finding {
            check: Check::Data,
            reporter: None,
            verdict: Verdict::Inconclusive,
            reason: "there is no limit to judge by".to_owned(),
            needs: None,
        });
    }
    findings.extend(look.unattributed(limits.max_error_rate));
    notes.extend(third_versions(window));
    Judgement::of(findings, notes)
}

/// Neither reporter knows the service.
fn no_data(window: &Window) -> Finding {
    let mut reason = "Prometheus has no istio_requests_total of either version".to_owned();
    if let Some(third) = third_versions(window) {
        reason = format!("{reason}; {third}");
    }
    if let Some(problem) = window.problems.first() {
        reason = format!("{reason}; {problem}");
    }
    Finding { check: Check::Data, reporter: None, verdict: Verdict::Inconclusive, reason, needs: None }
}

/// Requests that went elsewhere.
fn third_versions(window: &Window) -> Option<String> {
    let mut others = std::collections::BTreeMap::new();
    for ((_, workload), &count) in &window.others {
        // Both reporters count the same requests.
        let most = others.entry(workload.clone()).or_insert(0);
        *most = count.max(*most);
    }
    (!others.is_empty()).then(|| format!("requests to neither version: {}", kinds(&others)))
}

/// A window and the levels of this look.
struct Look<'a> {
    window: &'a Window,
    pass: f64,
    fail: f64,
}

/// What three-valued checks have in common: how many of how many, at least and at most.
struct Share {
    least: u64,
    most: u64,
    of: u64,
}

impl Look<'_> {
    fn error_rate(&self, reporter: Reporter, limit: f64) -> Finding {
        let pair = self.window.by(reporter);
        let canary = &pair.canary;
        let share = Share { least: canary.failures, most: canary.failures, of: canary.requests };
        let (verdict, needs) = self.against(&share, limit);
        let mut reason = format!("{}, limit {}", failed(canary), percent(limit));
        if pair.stable.requests > 0 {
            let stable = &pair.stable;
            let part = rate(stable.failures, stable.requests);
            reason.push_str(&format!(", stable {} of {} ({part})", stable.failures, stable.requests));
            if verdict == Verdict::Fail
                && proportion::lower(stable.failures, stable.requests, self.fail) > limit
            {
                reason.push_str("; stable fails as well: look first for what both depend on");
            }
        }
        self.finish(Check::ErrorRate, reporter, &[Role::Canary], verdict, reason, needs)
    }

    fn comparison(&self, reporter: Reporter, tolerance: f64) -> Finding {
        let pair = self.window.by(reporter);
        let (stable, canary) = (&pair.stable, &pair.canary);
        let bounds = |seen: &Seen, alpha: f64| {
            let alpha = alpha / 2.0;
            (
                proportion::lower(seen.failures, seen.requests, alpha),
                proportion::upper(seen.failures, seen.requests, alpha),
            )
        };
        let at_least = bounds(canary, self.fail).0 - bounds(stable, self.fail).1;
        let stable_at_least = bounds(stable, self.pass).0;
        let at_most = bounds(canary, self.pass).1 - stable_at_least;
        let (verdict, needs) = if at_least > tolerance {
            (Verdict::Fail, None)
        } else if at_most <= tolerance && stable.requests > 0 && canary.requests > 0 {
            (Verdict::Pass, None)
        } else {
            let limit = (tolerance + stable_at_least).min(1.0);
            let needed = proportion::needed(canary.failures, limit, self.pass / 2.0);
            (Verdict::Inconclusive, needed.filter(|&needed| needed > canary.requests))
        };
        let of = |seen: &Seen| {
            format!("{} of {} failed ({})", seen.failures, seen.requests, rate(seen.failures, seen.requests))
        };
        let reason = if stable.requests == 0 {
            "stable has had no requests to compare with".to_owned()
        } else if canary.requests == 0 {
            "the canary has had no requests to compare".to_owned()
        } else {
            format!("canary {}, stable {}, tolerance {}", of(canary), of(stable), percent(tolerance))
        };
        self.finish(Check::Comparison, reporter, &[Role::Canary, Role::Stable], verdict, reason, needs)
    }

    fn latency(&self, reporter: Reporter, limit: LatencyLimit) -> Finding {
        let check = Check::Latency { quantile: limit.quantile };
        let name = quantile(limit.quantile);
        let Some(histogram) = &self.window.by(reporter).canary.latency else {
            let reason = format!("there is no latency of the canary, so no {name}");
            return self.finish(check, reporter, &[Role::Canary], Verdict::Inconclusive, reason, None);
        };
        let (least, most) = histogram.slower(limit.milliseconds);
        let share = Share { least, most, of: histogram.total() };
        // Binary fractions: 1 - 0.99 is a little more than 0.01.
        let allowed = ((1.0 - limit.quantile) * 1e9).round() / 1e9;
        let (verdict, needs) = self.against(&share, allowed);
        let slow = if least == most { most.to_string() } else { format!("between {least} and {most}") };
        let mut reason = format!(
            "{slow} of {} took longer than {} ms, {} may",
            requests(share.of),
            limit.milliseconds,
            percent(allowed)
        );
        if let Some(between) = histogram.quantile(limit.quantile) {
            reason.push_str(&match between.upper {
                Some(upper) => format!(": {name} is between {} and {upper} ms", between.lower),
                None => format!(": {name} is above {} ms", between.lower),
            });
        }
        if least < most && verdict == Verdict::Inconclusive {
            reason.push_str("; a limit that is a bound of Istio's buckets can be checked exactly");
        }
        self.finish(check, reporter, &[Role::Canary], verdict, reason, needs)
    }

    /// Failures that reached nobody; nothing where there are none.
    fn unattributed(&self, limit: Option<f64>) -> Option<Finding> {
        let failures = &self.window.unattributed;
        if failures.nowhere + failures.other == 0 {
            return None;
        }
        let all = kinds(&failures.kinds);
        let (nowhere, before) = (failures.nowhere, failures.nowhere_before);
        let seconds = self.window.seconds();
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let seconds_before = failures.seconds_before as f64;
        let mut reason = format!("{} reached no version ({all})", requests(nowhere + failures.other));
        let is_new = nowhere > 0 && before == 0;
        // At an unchanged rate, each failure is in the window with this chance.
        let share = seconds / (seconds + seconds_before).max(f64::MIN_POSITIVE);
        let is_more = proportion::lower(nowhere, nowhere + before, self.fail) > share;
        let mut verdict = Verdict::Pass;
        if is_new || (nowhere > 0 && is_more) {
            verdict = Verdict::Fail;
            reason.push_str(&format!(
                ": there is no route, cluster or ready endpoint; {before} in the {} s before the step",
                failures.seconds_before
            ));
        } else if nowhere > 0 {
            reason
                .push_str(&format!("; so did {before} in the {} s before the step", failures.seconds_before));
        }
        if failures.other > 0 {
            let source = &self.window.source;
            let sent = source.stable.requests + source.canary.requests + failures.other;
            let share = Share { least: failures.other, most: failures.other, of: sent };
            // Without a limit of failures they are told, and prove nothing.
            let other = limit.map_or(Verdict::Pass, |limit| self.against(&share, limit).0);
            reason.push_str(&format!("; {} of {} that clients sent", failures.other, requests(sent)));
            verdict = verdict.max(other);
        }
        Some(self.finish(Check::Unattributed, Reporter::Source, &[], verdict, reason, None))
    }

    /// A share against its limit, and how many are needed if that is what is missing.
    fn against(&self, share: &Share, limit: f64) -> (Verdict, Option<u64>) {
        if proportion::lower(share.least, share.of, self.fail) > limit {
            (Verdict::Fail, None)
        } else if share.of > 0 && proportion::upper(share.most, share.of, self.pass) <= limit {
            (Verdict::Pass, None)
        } else {
            let needed = proportion::needed(share.most, limit, self.pass);
            (Verdict::Inconclusive, needed.filter(|&needed| needed > share.of))
        }
    }

    /// Takes what is wrong with the numbers into account.
    fn finish(
        &self,
        check: Check,
        reporter: Reporter,
        roles: &[Role],
        mut verdict: Verdict,
        mut reason: String,
        needs: Option<u64>,
    ) -> Finding {
        let concerns =
            |problem: &&Problem| problem.of.is_none_or(|(of, role)| of == reporter && roles.contains(&role));
        let problems: Vec<&Problem> = self.window.problems.iter().filter(concerns).collect();
        if problems.iter().any(|problem| problem.trouble.spoils()) {
            verdict = Verdict::Inconclusive;
        } else if !problems.is_empty() {
            verdict = verdict.max(Verdict::Inconclusive);
        }
        if verdict == Verdict::Inconclusive
            && let Some(needed) = needs
        {
            let pair = self.window.by(reporter);
            let has = match check {
                Check::Latency { .. } => pair.canary.latency.as_ref().map_or(0, super::Histogram::total),
                _ => pair.canary.requests,
            };
            reason.push_str(&format!("; needs {}, has {has}", requests(needed)));
        }
        for problem in problems {
            reason.push_str(&format!("; {problem}"));
        }
        let needs = needs.filter(|_| verdict == Verdict::Inconclusive);
        Finding { check, reporter: Some(reporter), verdict, reason, needs }
    }
}

/// How much of a version's traffic failed, and how.
fn failed(seen: &Seen) -> String {
    if seen.requests == 0 {
        return "the canary has had no requests".to_owned();
    }
    let part = rate(seen.failures, seen.requests);
    let failed = format!("{} of {} failed ({part})", seen.failures, requests(seen.requests));
    if seen.failures == 0 { failed } else { format!("{failed}: {}", kinds(&seen.kinds)) }
}
