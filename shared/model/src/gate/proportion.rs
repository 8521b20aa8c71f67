//! What `k` of `n` prove about a rate: exact one-sided bounds (Clopper and Pearson, 1934).
//!
//! Each bound alone is wrong with a chance of at most `alpha`, for every rate and every count, however small:
//! no normal approximation, which fails exactly where canaries are, at few errors of few requests.

use statrs::function::beta::checked_beta_reg;

/// Counts beyond this are scaled down to it at the same rate. The bounds become a little wider and stay
/// valid; the series for the beta function would not converge any more near the mean.
const MOST: u64 = 1_000_000;

/// How often an interval is halved: a bound is exact to 13 digits after the point.
const HALVINGS: u32 = 44;

/// The rate that `k` of `n` prove to be exceeded: 0 when `k` is 0 or `n` is.
#[must_use]
pub fn lower(k: u64, n: u64, alpha: f64) -> f64 {
    let k = k.min(n);
    let (k, n) = if n > MOST { (scaled(k, n), MOST) } else { (k, n) };
    if k == 0 {
        return 0.0;
    }
    // At the bound, at least k of n have the chance alpha; below it less.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if at_least(k, n, middle) < alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The rate that `k` of `n` prove not to be exceeded: 1 when `k` is `n`, or `n` is 0.
#[must_use]
pub fn upper(k: u64, n: u64, alpha: f64) -> f64 {
    1.0 - lower(n - k.min(n), n, alpha)
}

/// The least number of requests of which `k` failing ones prove a rate of at most `limit`. `None` where a
/// million are not enough, as for a limit of 0.
///
/// With `k` = 0 it is about 3 / `limit` at 5 % (the rule of three): 299 for 1 %.
#[must_use]
pub fn needed(k: u64, limit: f64, alpha: f64) -> Option<u64> {
    let proves = |n: u64| upper(k, n, alpha) <= limit;
    let mut high = k.max(1);
    while !proves(high) {
        if high >= MOST {
            return None;
        }
        high = high.saturating_mul(2).min(MOST);
    }
    let mut low = 0;
    while low + 1 < high {
        let middle = u64::midpoint(low, high);
        if middle >= k && proves(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

/// The chance of at least `k` of `n`, 0 < k <= n, at a rate `p`: the regularized incomplete beta function.
#[expect(clippy::cast_precision_loss, reason = "at most a million")]
fn at_least(k: u64, n: u64, p: f64) -> f64 {
    // Arguments out of range are the only error, and there are none.
    checked_beta_reg(k as f64, (n - k) as f64 + 1.0, p).unwrap_or(1.0)
}

/// `k` of `n` as of a million, rounded down. [`upper`] rounds the other way by asking for the rest.
fn scaled(k: u64, n: u64) -> u64 {
    u64::try_from(u128::from(k) * u128::from(MOST) / u128::from(n.max(1))).unwrap_or(MOST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 1e-6
    }

    #[test]
    fn bounds_are_those_of_the_tables() {
        // R: binom.test(12, 240, alternative = "greater")$conf.int[1], and so on; the closed forms for 0 and n.
        assert!(near(upper(0, 299, 0.05), 1.0 - 0.05_f64.powf(1.0 / 299.0)));
        assert!(near(lower(10, 10, 0.05), 0.05_f64.powf(0.1)));
        assert!(near(lower(1, 20, 0.05), 1.0 - 0.95_f64.powf(1.0 / 20.0)));
        // Two-sided 95 % of 5 of 10: 0.1870860 and 0.8129140.
        assert!(near(lower(5, 10, 0.025), 0.187_086_0));
        assert!(near(upper(5, 10, 0.025), 0.812_914_0));
        assert_eq!((lower(0, 0, 0.05), upper(0, 0, 0.05)), (0.0, 1.0));
        assert_eq!((lower(0, 9, 0.05), upper(9, 9, 0.05)), (0.0, 1.0));
    }

    #[test]
    fn the_rule_of_three() {
        assert_eq!(needed(0, 0.01, 0.05), Some(299));
        assert_eq!(needed(1, 0.01, 0.05), Some(473));
        assert_eq!(needed(0, 0.5, 0.05), Some(5));
        assert_eq!(needed(0, 1.0, 0.05), Some(1));
        assert_eq!(needed(0, 0.0, 0.05), None);
    }

    #[test]
    fn large_counts_do_not_lose_their_way() {
        for n in [999_999_u64, 1_000_001, 1_000_000_000, u64::MAX / 4] {
            for k in [n / 100, n / 2, n - n / 100] {
                #[expect(clippy::cast_precision_loss, reason = "a rate")]
                let rate = k as f64 / n as f64;
                let (low, high) = (lower(k, n, 0.01), upper(k, n, 0.01));
                assert!(low < rate && rate < high && high - low < 0.005, "{k} of {n}: {low} {high}");
            }
        }
    }

    /// By adding up the binomial distribution, in logarithms: its ends are smaller than a double can be.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn sum_at_least(k: u64, n: u64, p: f64) -> f64 {
        let mut chance = n as f64 * (1.0 - p).ln();
        let mut sum = if k == 0 { chance.exp() } else { 0.0 };
        for i in 1..=n {
            chance += ((n - i + 1) as f64 / i as f64 * p / (1.0 - p)).ln();
            if i >= k {
                sum += chance.exp();
            }
        }
        sum
    }

    proptest! {
        #[test]
        fn a_bound_is_where_the_tail_has_the_chance_alpha(n in 1_u64..400, part in 0.0..1.0_f64, alpha in 0.001..0.2_f64) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small numbers")]
            let k = ((part * n as f64) as u64).clamp(1, n);
            let bound = lower(k, n, alpha);
            prop_assert!((sum_at_least(k, n, bound) - alpha).abs() < 1e-6);
        }

        #[test]
        fn more_errors_never_lower_a_bound(n in 1_u64..100_000, k in 0_u64..100_000, alpha in 0.0001..0.2_f64) {
            let k = k % n;
            prop_assert!(lower(k, n, alpha) <= lower(k + 1, n, alpha));
            prop_assert!(upper(k, n, alpha) <= upper(k + 1, n, alpha));
            prop_assert!(lower(k, n, alpha) <= upper(k, n, alpha));
        }

        #[test]
        fn more_data_at_the_same_rate_narrows(n in 1_u64..10_000, k in 0_u64..10_000, times in 2_u64..5) {
            let k = k % (n + 1);
            let width = |times: u64| upper(k * times, n * times, 0.05) - lower(k * times, n * times, 0.05);
            prop_assert!(width(times) <= width(1) + 1e-12);
        }

        #[test]
        fn needed_is_the_least(k in 0_u64..20, limit in 0.001..0.5_f64, alpha in 0.001..0.1_f64) {
            let n = needed(k, limit, alpha).unwrap();
            prop_assert!(upper(k, n, alpha) <= limit);
            prop_assert!(n == 1 || upper(k, n - 1, alpha) > limit);
        }
    }
}
