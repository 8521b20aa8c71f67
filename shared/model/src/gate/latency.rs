//! Latency from Prometheus' histograms.

use serde::Serialize;

use super::Trouble;
use super::sample::count;

/// How many requests took at most so long: cumulative buckets over one window.
///
/// Within a bucket nothing is known. `histogram_quantile` of Prometheus assumes that requests are spread
/// evenly there and prints a number to the microsecond; here a quantile is [`Between`] two bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bounds in milliseconds, ascending, the last infinite; and the requests up to each.
    buckets: Vec<(f64, u64)>,
}

/// Where a number lies: above `lower`, and at most `upper`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Between {
    /// Milliseconds; exclusive, but for 0.
    pub lower: f64,
    /// Milliseconds; `None` where the largest bucket is the one without a bound.
    pub upper: Option<f64>,
}

impl Histogram {
    /// From bucket bounds in milliseconds (label `le`) with cumulative counts, in any order.
    ///
    /// # Errors
    /// If these are not the buckets of a histogram: a bound twice, no `+Inf`, counts that fall as bounds
    /// rise, numbers that are no counts.
    pub fn new(buckets: impl IntoIterator<Item = (f64, f64)>) -> Result<Self, Trouble> {
        let wrong = |reason: &str| Trouble::Buckets { reason: reason.to_owned() };
        let mut sorted = Vec::new();
        for (bound, value) in buckets {
            if bound.is_nan() {
                return Err(wrong("a bound is NaN"));
            }
            sorted.push((bound, count(value).map_err(Trouble::from)?));
        }
        sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
        if sorted.last().is_none_or(|&(bound, _)| bound != f64::INFINITY) {
            return Err(wrong("there is no bucket +Inf"));
        }
        for pair in sorted.windows(2) {
            if pair[0].0 >= pair[1].0 {
                return Err(wrong("a bound is there twice"));
            }
            if pair[0].1 > pair[1].1 {
                return Err(wrong("a larger bucket has fewer requests"));
            }
        }
        Ok(Self { buckets: sorted })
    }

    /// The number of requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.buckets.last().map_or(0, |&(_, total)| total)
    }

    /// Where the quantile `q` (0.99 for p99) lies: in the bucket of the request of that rank. `None` without
    /// requests.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank, between 1 and the total"
    )]
    pub fn quantile(&self, q: f64) -> Option<Between> {
        let total = self.total();
        let rank = ((q * total as f64).ceil() as u64).clamp(1, total.max(1));
        let index = self.buckets.iter().position(|&(_, up_to)| up_to >= rank)?;
        let lower = index.checked_sub(1).map_or(0.0, |below| self.buckets[below].0);
        let upper = Some(self.buckets[index].0).filter(|bound| bound.is_finite());
        Some(Between { lower, upper })
    }

    /// How many requests took longer than `milliseconds`: at least, and at most. The two are the same where
    /// that is a bound of a bucket.
    #[must_use]
    pub fn slower(&self, milliseconds: f64) -> (u64, u64) {
        let total = self.total();
        let below = self.buckets.iter().rev().find(|(bound, _)| *bound <= milliseconds);
        let above = self.buckets.iter().find(|(bound, _)| *bound >= milliseconds);
        let up_to = |bucket: Option<&(f64, u64)>, otherwise| bucket.map_or(otherwise, |&(_, up_to)| up_to);
        (total - up_to(above, total), total - up_to(below, 0))
    }

    /// Both together. They are of one histogram, read in two parts, so the bounds are the same.
    ///
    /// # Errors
    /// If they are not.
    pub fn plus(&self, other: &Self) -> Result<Self, Trouble> {
        let same = self.buckets.len() == other.buckets.len()
            && self.buckets.iter().zip(&other.buckets).all(|(one, two)| one.0 == two.0);
        if !same {
            return Err(Trouble::Buckets {
                reason: "workloads of one version have different buckets".into(),
            });
        }
        let added = self.buckets.iter().zip(&other.buckets).map(|(one, two)| (one.0, one.1 + two.1));
        Ok(Self { buckets: added.collect() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(buckets: &[(f64, f64)]) -> Result<Histogram, String> {
        Histogram::new(buckets.iter().copied()).map_err(|trouble| trouble.to_string())
    }

    const INFINITE: f64 = f64::INFINITY;

    #[test]
    fn a_quantile_lies_within_a_bucket() {
        let histogram = histogram(&[(250.0, 90.0), (INFINITE, 100.0), (100.0, 50.0), (500.0, 99.0)]).unwrap();
        let between = |lower, upper| Some(Between { lower, upper });
        assert_eq!(histogram.quantile(0.5), between(0.0, Some(100.0)));
        assert_eq!(histogram.quantile(0.51), between(100.0, Some(250.0)));
        assert_eq!(histogram.quantile(0.99), between(250.0, Some(500.0)));
        assert_eq!(histogram.quantile(1.0), between(500.0, None));
        assert_eq!(histogram.slower(250.0), (10, 10));
        assert_eq!(histogram.slower(300.0), (1, 10));
        assert_eq!(histogram.slower(9000.0), (0, 1));
        assert_eq!(histogram.slower(1.0), (50, 100));
    }

    #[test]
    fn without_requests_there_is_no_quantile() {
        assert_eq!(histogram(&[(1.0, 0.0), (INFINITE, 0.0)]).unwrap().quantile(0.99), None);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let refused = |buckets: &[(f64, f64)]| histogram(buckets).unwrap_err();
        assert!(refused(&[]).contains("no bucket +Inf"));
        assert!(refused(&[(1.0, 1.0)]).contains("no bucket +Inf"));
        assert!(refused(&[(1.0, 1.0), (1.0, 1.0), (INFINITE, 1.0)]).contains("twice"));
        assert!(refused(&[(1.0, 2.0), (INFINITE, 1.0)]).contains("fewer"));
        assert!(refused(&[(INFINITE, f64::NAN)]).contains("NaN"));
        assert!(refused(&[(f64::NAN, 1.0), (INFINITE, 1.0)]).contains("NaN"));
    }

    proptest! {
        /// Whatever the durations were, the quantile and the slow ones are within the bounds.
        #[test]
        fn bounds_hold_what_is_true(mut durations in prop::collection::vec(0.0..1000.0_f64, 1..200), q in 0.01..1.0_f64, limit in 0.0..1000.0_f64) {
            let bounds = [5.0, 10.0, 50.0, 100.0, 500.0, INFINITE];
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let cumulative = bounds.map(|bound| (bound, durations.iter().filter(|&&d| d <= bound).count() as f64));
            let histogram = Histogram::new(cumulative).unwrap();
            durations.sort_by(f64::total_cmp);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank")]
            let rank = ((q * durations.len() as f64).ceil() as usize).clamp(1, durations.len());
            let exact = durations[rank - 1];
            let between = histogram.quantile(q).unwrap();
            prop_assert!(between.lower <= exact && between.upper.is_none_or(|upper| exact <= upper));
            let slow = durations.iter().filter(|&&d| d > limit).count() as u64;
            let (least, most) = histogram.slower(limit);
            prop_assert!(least <= slow && slow <= most);
        }
    }
}
