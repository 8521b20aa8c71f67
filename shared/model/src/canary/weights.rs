//! Weights: how a route's shares change when the canary's does.

use thiserror::Error;

/// Why weights cannot be worked out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// More than 100 percent.
    #[error("{0} percent is more than all")]
    TooMuch(u32),
    /// The route has no destination for the canary, or none but it.
    #[error("the route does not split between the canary and anything else")]
    NoSplit,
    /// Several other destinations have no share now, and none is known from before.
    #[error("the other destinations have no weight, so that nothing says how they share the rest")]
    NoRatio,
}

/// The weights of a route when the canary gets `percent` of its total.
///
/// The total stays as it is (a route that says no weights has 100); the other destinations keep their ratio
/// to each other, by largest remainders. Where they are all 0 now, `before` says the ratio: their weights
/// when they last had any. Several destinations of the canary keep theirs in the same way.
///
/// A total in which the share is no whole number is scaled up to 100, where every percentage is one.
///
/// # Errors
/// See [`Refused`].
pub fn shifted(
    weights: &[u32],
    is_canary: &[bool],
    percent: u32,
    before: Option<&[u32]>,
) -> Result<Vec<u32>, Refused> {
    if percent > 100 {
        return Err(Refused::TooMuch(percent));
    }
    let group = |wanted: bool| -> Vec<usize> {
        (0..weights.len()).filter(|at| is_canary.get(*at).copied().unwrap_or(false) == wanted).collect()
    };
    let (canary, others) = (group(true), group(false));
    if canary.is_empty() || others.is_empty() {
        return Err(Refused::NoSplit);
    }
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    let mut total = if sum == 0 { 100 } else { sum };
    let whole = |total: u64| (total * u64::from(percent)).is_multiple_of(100);
    if !whole(total) && total < 100 {
        total = 100;
    }
    let of_canary = (total * u64::from(percent) + 50) / 100;
    let mut shares = vec![0; weights.len()];
    share(&mut shares, weights, before, &canary, of_canary)?;
    share(&mut shares, weights, before, &others, total - of_canary)?;
    Ok(shares)
}

/// Deals an amount to some destinations by their ratio.
fn share(
    shares: &mut [u32],
    weights: &[u32],
    before: Option<&[u32]>,
    group: &[usize],
    amount: u64,
) -> Result<(), Refused> {
    let of = |source: &[u32]| -> Vec<u64> {
        group.iter().map(|at| u64::from(source.get(*at).copied().unwrap_or(0))).collect()
    };
    let mut ratio = of(weights);
    if ratio.iter().sum::<u64>() == 0 {
        ratio = before.map(of).unwrap_or_default();
    }
    if ratio.iter().sum::<u64>() == 0 {
        if amount == 0 {
            return Ok(());
        }
        match group {
            [_] => ratio = vec![1],
            _ => return Err(Refused::NoRatio),
        }
    }
    let total: u64 = ratio.iter().sum();
    let mut dealt: Vec<(u64, u64, usize)> = ratio
        .iter()
        .zip(group)
        .map(|(part, at)| (amount * part / total, amount * part % total, *at))
        .collect();
    let mut rest = amount - dealt.iter().map(|(share, _, _)| share).sum::<u64>();
    // The largest remainders first; of equals the one that stands first.
    dealt.sort_by_key(|(_, remainder, at)| (std::cmp::Reverse(*remainder), *at));
    for (part, _, at) in dealt {
        let extra = u64::from(rest > 0);
        rest -= extra;
        if let (Some(share), Ok(value)) = (shares.get_mut(at), u32::try_from(part + extra)) {
            *share = value;
        }
    }
    Ok(())
}

/// The canary's share of a route in percent; `None` where the route has no weight at all.
#[must_use]
pub fn percent(weights: &[u32], is_canary: &[bool]) -> Option<f64> {
    let total: u64 = weights.iter().copied().map(u64::from).sum();
    let canary: u64 = weights
        .iter()
        .zip(is_canary)
        .filter(|(_, is_canary)| **is_canary)
        .map(|(weight, _)| u64::from(*weight))
        .sum();
    // Weights are 32 bits wide: nothing is lost.
    #[expect(clippy::cast_precision_loss, reason = "sums of a few 32-bit numbers")]
    (total > 0).then(|| canary as f64 * 100.0 / total as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_destinations() {
        assert_eq!(shifted(&[100, 0], &[false, true], 50, None), Ok(vec![50, 50]));
        assert_eq!(shifted(&[90, 10], &[false, true], 0, None), Ok(vec![100, 0]));
        assert_eq!(shifted(&[0, 100], &[false, true], 10, None), Ok(vec![90, 10]));
        assert_eq!(shifted(&[10, 90], &[true, false], 100, None), Ok(vec![100, 0]));
    }

    #[test]
    fn third_destinations_keep_their_ratio() {
        assert_eq!(shifted(&[60, 30, 10], &[false, false, true], 40, None), Ok(vec![40, 20, 40]));
        assert_eq!(shifted(&[60, 30, 10], &[false, false, true], 50, None), Ok(vec![33, 17, 50]));
        assert_eq!(
            shifted(&[0, 0, 100], &[false, false, true], 40, Some(&[60, 30, 10])),
            Ok(vec![40, 20, 40])
        );
        assert_eq!(shifted(&[0, 0, 100], &[false, false, true], 40, None), Err(Refused::NoRatio));
    }

    #[test]
    fn totals_stay_or_become_a_hundred() {
        assert_eq!(shifted(&[9, 1], &[false, true], 50, None), Ok(vec![5, 5]));
        assert_eq!(shifted(&[9, 1], &[false, true], 25, None), Ok(vec![75, 25]));
        assert_eq!(shifted(&[900, 100], &[false, true], 25, None), Ok(vec![750, 250]));
        assert_eq!(shifted(&[0, 0], &[false, true], 25, None), Ok(vec![75, 25]));
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(shifted(&[100, 0], &[false, true], 101, None), Err(Refused::TooMuch(101)));
        assert_eq!(shifted(&[100], &[false], 10, None), Err(Refused::NoSplit));
        assert_eq!(shifted(&[100], &[true], 10, None), Err(Refused::NoSplit));
    }

    proptest! {
        #[test]
        fn sums_stay_and_the_canary_gets_its_share(
            weights in prop::collection::vec(0u32..2000, 2..6),
            canary in 0usize..6,
            percent in 0u32..=100,
        ) {
            let canary = canary % weights.len();
            let is_canary: Vec<bool> = (0..weights.len()).map(|at| at == canary).collect();
            let Ok(after) = shifted(&weights, &is_canary, percent, None) else {
                // Only for want of a ratio.
                let others: u32 = weights.iter().enumerate().filter(|(at, _)| *at != canary).map(|(_, w)| w).sum();
                prop_assert!(others == 0 && weights.len() > 2);
                return Ok(());
            };
            let before: u64 = weights.iter().copied().map(u64::from).sum();
            let total: u64 = after.iter().copied().map(u64::from).sum();
            prop_assert!(total == before || (before < 100 && total == 100));
            let share = f64::from(after[canary]) * 100.0 / total as f64;
            prop_assert!((share - f64::from(percent)).abs() * total as f64 <= 50.0 + 1e-6);
            // Shifting again to the same share changes nothing.
            prop_assert_eq!(shifted(&after, &is_canary, percent, Some(&weights)), Ok(after.clone()));
        }
    }
}
