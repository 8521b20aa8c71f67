//! Numbers as the canary's commands say them.

use mesh_cli::text::{Styled, dim, plain};
use mesh_model::gate::Between;

/// `0.3/s`, `12/s`.
pub(crate) fn per_second(rate: f64) -> String {
    if rate >= 10.0 { format!("{rate:.0}/s") } else { format!("{rate:.1}/s") }
}

/// A fraction in percent: `0 %`, `0.25 %`, `12.5 %`.
pub(crate) fn fraction(rate: Option<f64>) -> Styled {
    match rate {
        None => dim("-"),
        Some(0.0) => plain("0 %"),
        Some(rate) if rate < 0.01 => plain(format!("{:.2} %", rate * 100.0)),
        Some(rate) => plain(format!("{:.1} %", rate * 100.0)),
    }
}

/// Where a latency lies: `50-100 ms`.
pub(crate) fn between(between: Option<Between>) -> Styled {
    match between {
        None => dim("-"),
        Some(Between { lower, upper: Some(upper) }) => plain(format!("{lower}-{upper} ms")),
        Some(Between { lower, upper: None }) => plain(format!("over {lower} ms")),
    }
}

/// A time, in whole seconds: `2m 30s`.
pub(crate) fn seconds(seconds: f64) -> String {
    let rounded = std::time::Duration::from_secs_f64(seconds.clamp(0.0, 1e9).round());
    humantime::format_duration(rounded).to_string()
}
