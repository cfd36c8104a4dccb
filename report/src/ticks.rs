//! The round numbers of an axis.

/// Round numbers that enclose a range, with about `steps` steps.
pub(crate) fn linear([low, high]: [f64; 2], steps: usize) -> Vec<f64> {
    let is_range = low.is_finite() && high.is_finite() && high > low;
    let [low, high] = if is_range { [low, high] } else { [0.0, 1.0] };
    let step = round_step((high - low) / steps as f64);
    let first = (low / step + 1e-9).floor() as i64;
    let last = ((high / step - 1e-9).ceil() as i64).max(first + 1);
    (first..=last).map(|tick| tick as f64 * step).collect()
}

/// 1, 2 and 5 times the powers of ten that enclose a range of positive numbers.
pub(crate) fn logarithmic([low, high]: [f64; 2]) -> Vec<f64> {
    let is_range = low > 0.0 && high.is_finite() && high >= low;
    let [low, high] = if is_range { [low, high] } else { [1.0, 10.0] };
    let power = |value: f64| value.log10().floor() as i32;
    let candidates = (power(low)..=power(high) + 1)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10.0_f64.powi(power)));
    let mut ticks: Vec<f64> = candidates.collect();
    let first = ticks.iter().rposition(|tick| *tick <= low * (1.0 + 1e-9)).unwrap_or(0);
    let last = ticks.iter().position(|tick| *tick >= high * (1.0 - 1e-9));
    ticks.truncate(last.unwrap_or(ticks.len() - 1).max(first + 1) + 1);
    ticks.drain(..first);
    ticks
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10.0_f64.powf(least.log10().floor());
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
    round.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// The number of digits after the point that a number needs.
pub(crate) fn digits(number: f64) -> usize {
    let is_whole = |digits: &i32| {
        let scaled = number.abs() * 10.0_f64.powi(*digits);
        (scaled - scaled.round()).abs() <= 1e-6 * scaled
    };
    (0..12).find(is_whole).unwrap_or(12) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_range() {
        assert_eq!(linear([0.0, 1.0], 4), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(linear([0.0, 0.59], 4), [0.0, 0.2, 0.4, 0.6000000000000001]);
        assert_eq!(linear([0.0, 17.0], 4), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(linear([71.2, 78.9], 4), [70.0, 72.0, 74.0, 76.0, 78.0, 80.0]);
        assert_eq!(linear([-3.0, 1.0], 4), [-3.0, -2.0, -1.0, 0.0, 1.0]);
        for strange in [[0.0, 0.0], [0.0, f64::NAN], [f64::NEG_INFINITY, 1.0]] {
            assert_eq!(linear(strange, 4), linear([0.0, 1.0], 4));
        }
        assert_eq!([0.25, 0.2, 5.0, 0.0005, 0.0].map(digits), [2, 1, 0, 4, 0]);
    }

    #[test]
    fn logarithmic_ticks_enclose_the_range() {
        assert_eq!(logarithmic([3.1, 48.0]), [2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(logarithmic([1.0, 1.0]), [1.0, 2.0]);
        assert_eq!(logarithmic([0.0, 7.0]), logarithmic([1.0, 10.0]));
    }
}
