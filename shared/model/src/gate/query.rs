//! The PromQL that the gate asks.
//!
//! Requests are asked as raw samples: an instant query whose text is a range selector, as in `metric[60s]`,
//! answers with what was scraped, value and time. So the [`Tally`](super::Tally) sees births, resets and
//! staleness for itself, and needs no second query for `timestamp()`.
//!
//! Latency has twenty series where requests have one. There Prometheus takes the differences, series by
//! series by the same rule, and adds them up. A counter that was reset and has come further than before
//! goes unseen in it; the requests beside it have seen the reset.

use std::fmt::Write as _;

/// How long before the start of a window its first samples are looked for, in seconds: as long as Prometheus
/// itself takes an old sample for the current one (`--query.lookback-delta`, 5 minutes).
pub const LOOKBACK: f64 = 300.0;

/// A Service by the labels that Istio gives its metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceName {
    fn selector(&self) -> String {
        format!(
            "destination_service_name=\"{}\",destination_service_namespace=\"{}\"",
            escape(&self.name),
            escape(&self.namespace)
        )
    }
}

/// Raw samples of all requests to a Service, by both reporters, over the last `seconds` before the instant that
/// the query is evaluated at.
#[must_use]
pub fn requests(service: &ServiceName, seconds: f64) -> String {
    format!("istio_requests_total{{{}}}[{}]", service.selector(), duration(seconds))
}

/// Raw samples of what clients sent to a Service by its name, and for which their proxies knew no such
/// Service: then the labels of the Service are missing, and its host is all that is known. Ask it beside
/// [`requests`], and give both answers to the same [`Tally`](super::Tally).
///
/// The bare name is a client's of the same namespace; others write the namespace too.
#[must_use]
pub fn unrouted(service: &ServiceName, seconds: f64) -> [String; 2] {
    let seconds = duration(seconds);
    let (name, namespace) = (literal(&service.name), literal(&service.namespace));
    let of = |host: &str, more: &str| {
        format!(
            "istio_requests_total{{reporter=\"source\",destination_workload=~\"|unknown\",\
             destination_service_namespace!=\"{}\",destination_service=~\"{}(:[0-9]+)?\"{more}}}[{seconds}]",
            escape(&service.namespace),
            escape(host)
        )
    };
    [
        of(&format!("{name}\\.{namespace}(\\.svc(\\..+)?)?"), ""),
        of(&name, &format!(",source_workload_namespace=\"{}\"", escape(&service.namespace))),
    ]
}

/// How many requests to a Service took at most so long, by version and reporter, over the last `seconds`: the
/// cumulative buckets of a window.
#[must_use]
pub fn latency(service: &ServiceName, seconds: f64) -> String {
    let metric = format!("istio_request_duration_milliseconds_bucket{{{}}}", service.selector());
    let seconds = duration(seconds);
    // Absent at the start, or gone down since: what is there now counts.
    format!(
        "sum by (le, reporter, destination_workload, destination_workload_namespace, destination_version) \
         (({metric} - {metric} offset {seconds} >= 0) or {metric})"
    )
}

/// Requests per second of each version and reporter, for a graph; not for a verdict.
#[must_use]
pub fn graph(service: &ServiceName, seconds: f64) -> String {
    format!(
        "sum by (reporter, destination_workload, destination_workload_namespace, destination_version) \
         (rate(istio_requests_total{{{}}}[{}]))",
        service.selector(),
        duration(seconds)
    )
}

/// A text within the double quotes of a PromQL string.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            control if control.is_control() => {
                // A string cannot fail to be written to.
                let _ = write!(escaped, "\\u{:04x}", u32::from(control));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// A text that a regular expression (RE2) takes literally.
fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if !character.is_alphanumeric() && !matches!(character, '-' | '_') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// A duration of PromQL, rounded up to milliseconds; at least one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn duration(seconds: f64) -> String {
    let milliseconds = (seconds * 1000.0).ceil().max(1.0) as u64;
    if milliseconds.is_multiple_of(1000) {
        format!("{}s", milliseconds / 1000)
    } else {
        format!("{milliseconds}ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment() -> ServiceName {
        ServiceName { namespace: "orders".into(), name: "payment".into() }
    }

    #[test]
    fn queries_name_the_service() {
        assert_eq!(
            requests(&payment(), 60.0),
            "istio_requests_total{destination_service_name=\"payment\",\
             destination_service_namespace=\"orders\"}[60s]"
        );
        assert_eq!(
            unrouted(&payment(), 1.5)[0],
            "istio_requests_total{reporter=\"source\",destination_workload=~\"|unknown\",\
             destination_service_namespace!=\"orders\",\
             destination_service=~\"payment\\\\.orders(\\\\.svc(\\\\..+)?)?(:[0-9]+)?\"}[1500ms]"
        );
        assert!(unrouted(&payment(), 60.0)[1].contains("source_workload_namespace=\"orders\""));
        assert!(latency(&payment(), 60.0).contains(" offset 60s >= 0) or "));
    }

    #[test]
    fn no_name_breaks_out_of_its_quotes() {
        assert_eq!(escape("a\"} or up{x=\"\\\n\u{7}"), "a\\\"} or up{x=\\\"\\\\\\n\\u0007");
        assert_eq!(literal("a.b-c(d"), "a\\.b-c\\(d");
        assert_eq!([duration(0.0), duration(0.0015), duration(90.0)], ["1ms", "2ms", "90s"]);
    }
}
