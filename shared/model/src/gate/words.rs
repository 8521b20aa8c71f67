//! Numbers as an operator reads them.

/// A measured rate: two digits that matter.
#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
pub(crate) fn rate(k: u64, n: u64) -> String {
    if n == 0 {
        return "none".to_owned();
    }
    let percent = 100.0 * k as f64 / n as f64;
    if percent == 0.0 {
        "0 %".to_owned()
    } else if percent < 0.1 {
        format!("{percent:.3} %")
    } else if percent < 1.0 {
        format!("{percent:.2} %")
    } else {
        format!("{percent:.1} %")
    }
}

/// A limit as it was typed: `0.01` is `1 %`.
pub(crate) fn percent(rate: f64) -> String {
    let text = format!("{:.6}", rate * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `p99`, `p99.9`.
pub(crate) fn quantile(q: f64) -> String {
    format!("p{}", percent(q).trim_end_matches(" %"))
}

/// `1 request`, `2 requests`.
pub(crate) fn requests(n: u64) -> String {
    if n == 1 { "1 request".to_owned() } else { format!("{n} requests") }
}

/// Kinds of failures with their counts, the most frequent first: `503 UF (12), 500 (3)`.
pub(crate) fn kinds(kinds: &std::collections::BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<_> = kinds.iter().filter(|&(_, &count)| count > 0).collect();
    sorted.sort_by_key(|&(kind, &count)| (std::cmp::Reverse(count), kind));
    let more = sorted.len().saturating_sub(3);
    let shown: Vec<String> = sorted.iter().take(3).map(|(kind, count)| format!("{kind}: {count}")).collect();
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more kinds") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [rate(12, 240), rate(2, 4100), rate(0, 9), rate(3, 1000), rate(0, 0)],
            ["5.0 %", "0.049 %", "0 %", "0.30 %", "none"]
        );
        assert_eq!(
            [percent(0.01), percent(0.001), percent(0.125), percent(1.0)],
            ["1 %", "0.1 %", "12.5 %", "100 %"]
        );
        assert_eq!([quantile(0.99), quantile(0.999), quantile(0.5)], ["p99", "p99.9", "p50"]);
    }

    #[test]
    fn the_most_frequent_kind_comes_first() {
        let of = [("500", 3), ("503 UF", 12), ("504", 1), ("505", 1), ("502", 0)];
        let all = of.iter().map(|&(kind, count)| (kind.to_owned(), count)).collect();
        assert_eq!(kinds(&all), "503 UF: 12, 500: 3, 504: 1 and 1 more kinds");
    }
}
