//! Samples of counters, and how far a counter has moved.

use std::collections::BTreeMap;

/// The labels of a series, without `__name__`.
pub type Labels = BTreeMap<String, String>;

/// A number at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Seconds since 1970, by Prometheus' clock: when it was scraped.
    pub at: f64,
    /// The number, which may be NaN or infinite.
    pub value: f64,
}

/// A series and the samples of it that were asked for, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// What tells it from other series.
    pub labels: Labels,
    /// Its samples. Prometheus leaves out the marks that end a series.
    pub samples: Vec<Sample>,
}

/// What is wrong with a sample of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// NaN.
    NotANumber,
    /// More or less than every number.
    Infinite,
    /// A count below 0.
    Negative,
    /// A count of halves: somebody's recording rule, not a counter.
    Fraction,
}

/// The largest number up to which doubles hold every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A count that is one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
pub(crate) fn count(value: f64) -> Result<u64, Fault> {
    if value.is_nan() {
        Err(Fault::NotANumber)
    } else if value.is_infinite() || value > EXACT {
        Err(Fault::Infinite)
    } else if value < 0.0 {
        Err(Fault::Negative)
    } else if value.fract() != 0.0 {
        Err(Fault::Fraction)
    } else {
        Ok(value as u64)
    }
}

/// A counter followed from sample to sample.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter {
    /// When its first sample was scraped.
    pub(crate) first: Option<f64>,
    /// The last sample: its time and count.
    last: Option<(f64, u64)>,
    /// How far it moved before the window, as far as samples of that time were seen.
    pub(crate) before: u64,
    /// How far it moved in the window.
    pub(crate) within: u64,
    /// How often it went down in the window.
    pub(crate) resets: u32,
    /// The first thing that is wrong with its samples.
    pub(crate) fault: Option<Fault>,
}

impl Counter {
    /// Follows it. Samples up to `start` only say where the window begins; those after `end`, and those seen
    /// before, are left out.
    pub(crate) fn follow(&mut self, samples: &[Sample], start: f64, end: f64) {
        for sample in samples {
            let is_new = self.last.is_none_or(|(at, _)| sample.at > at);
            // A time that is NaN is in no window.
            let is_in_time = sample.at <= end;
            if !(is_new && is_in_time) {
                continue;
            }
            let value = match count(sample.value) {
                Ok(value) => value,
                Err(fault) => {
                    self.fault.get_or_insert(fault);
                    continue;
                }
            };
            let is_within = sample.at > start;
            let (moved, went_down) = match self.last {
                Some((_, last)) if value >= last => (value - last, false),
                // After a reset it began at 0. What came before the reset, after the last sample, is lost.
                Some(_) => (value, true),
                // It was not there when the window began, so it began at 0.
                None if is_within => (value, false),
                None => (0, false),
            };
            if is_within {
                self.within += moved;
                self.resets += u32::from(went_down);
            } else {
                self.before += moved;
            }
            self.first.get_or_insert(sample.at);
            self.last = Some((sample.at, value));
        }
    }

    /// When it was last scraped.
    pub(crate) fn newest(&self) -> Option<f64> {
        self.last.map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(samples: &[(f64, f64)], start: f64, end: f64) -> Counter {
        let samples: Vec<Sample> = samples.iter().map(|&(at, value)| Sample { at, value }).collect();
        let mut counter = Counter::default();
        counter.follow(&samples, start, end);
        counter
    }

    #[test]
    fn last_minus_first() {
        let counter = followed(&[(1.0, 10.0), (2.0, 12.0), (3.0, 20.0), (4.0, 99.0)], 2.0, 3.5);
        assert_eq!((counter.before, counter.within, counter.resets), (2, 8, 0));
        assert_eq!(counter.newest(), Some(3.0));
    }

    #[test]
    fn a_series_born_in_the_window_counts_from_zero() {
        assert_eq!(followed(&[(3.0, 3.0), (4.0, 3.0)], 2.0, 5.0).within, 3);
        // One that was there already does not.
        assert_eq!(followed(&[(1.0, 3.0), (4.0, 3.0)], 2.0, 5.0).within, 0);
    }

    #[test]
    fn after_a_reset_what_came_since_counts() {
        let counter = followed(&[(1.0, 100.0), (3.0, 110.0), (4.0, 5.0), (5.0, 7.0)], 2.0, 5.0);
        assert_eq!((counter.within, counter.resets), (17, 1));
        // One before the window is nobody's concern.
        let counter = followed(&[(0.0, 100.0), (1.0, 5.0), (3.0, 6.0)], 2.0, 5.0);
        assert_eq!((counter.within, counter.resets), (1, 0));
    }

    #[test]
    fn what_is_no_count_is_named() {
        let fault = |value| followed(&[(3.0, value)], 2.0, 5.0).fault;
        assert_eq!(fault(f64::NAN), Some(Fault::NotANumber));
        assert_eq!(fault(f64::INFINITY), Some(Fault::Infinite));
        assert_eq!(fault(1e300), Some(Fault::Infinite));
        assert_eq!(fault(f64::NEG_INFINITY), Some(Fault::Infinite));
        assert_eq!(fault(-1.0), Some(Fault::Negative));
        assert_eq!(fault(0.5), Some(Fault::Fraction));
        assert_eq!(fault(-0.0), None);
    }

    #[test]
    fn samples_seen_twice_count_once() {
        let samples = [Sample { at: 1.0, value: 1.0 }, Sample { at: 3.0, value: 4.0 }];
        let mut counter = Counter::default();
        counter.follow(&samples, 2.0, 3.0);
        counter.follow(&samples, 2.0, 9.0);
        counter.follow(&[Sample { at: f64::NAN, value: 9.0 }], 2.0, 9.0);
        assert_eq!(counter.within, 3);
    }
}
