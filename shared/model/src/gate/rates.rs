//! What a person wants to see of a version: requests per second, error rate, latency.

use serde::Serialize;

use super::{Between, Seen};

/// What one reporter saw of one version, as ratios of a window. For eyes, not for verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Requests per second, over the window.
    pub requests_per_second: f64,
    /// The share that failed, as a fraction; `None` without requests.
    pub error_rate: Option<f64>,
    /// Where the median latency lies.
    pub p50: Option<Between>,
    /// Where p99 lies.
    pub p99: Option<Between>,
}

impl Rates {
    /// Of what was seen over so many seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "ratios")]
    pub fn of(seen: &Seen, seconds: f64) -> Self {
        let latency = seen.latency.as_ref();
        Self {
            requests_per_second: if seconds > 0.0 { seen.requests as f64 / seconds } else { 0.0 },
            error_rate: (seen.requests > 0).then(|| seen.failures as f64 / seen.requests as f64),
            p50: latency.and_then(|histogram| histogram.quantile(0.5)),
            p99: latency.and_then(|histogram| histogram.quantile(0.99)),
        }
    }
}
