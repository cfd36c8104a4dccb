//! Statistics of results.

/// Spearman's rank correlation, in `[-1, 1]`: the correlation of the ranks, of which equal values share the mean.
pub(crate) fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| -> Vec<f64> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let rank = |x: &f64| {
            let below = sorted.partition_point(|y| y < x);
            let not_above = sorted.partition_point(|y| y <= x);
            ((below + not_above) as f64 - 1.0) / 2.0
        };
        values.iter().map(rank).collect()
    };
    let (a, b) = (ranks(a), ranks(b));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(&a), mean(&b));
    let product = |x: &[f64], mean_x: f64, y: &[f64], mean_y: f64| {
        x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>()
    };
    let deviations = product(&a, mean_a, &a, mean_a) * product(&b, mean_b, &b, mean_b);
    if deviations > 0.0 { product(&a, mean_a, &b, mean_b) / deviations.sqrt() } else { 0.0 }
}

/// Wilson's interval of a share, 95 % of whose intervals contain the true share (Wilson, 1927).
pub(crate) fn wilson(successes: usize, count: usize) -> [f64; 2] {
    /// The quantile of the normal distribution at 0.975.
    const Z: f64 = 1.959_963_985;
    let n = count.max(1) as f64;
    let share = successes as f64 / n;
    let center = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    [center - half, center + half].map(|bound| (bound / (1.0 + Z * Z / n)).clamp(0.0, 1.0))
}

/// McNemar's test, exact (McNemar, 1947): the probability that two equally good classifiers differ at least this much, in `[0, 1]`. The
/// arguments are the numbers of images that only the first and only the second one classifies correctly.
pub(crate) fn mcnemar(only_first: usize, only_second: usize) -> f64 {
    let (fewer, count) = (only_first.min(only_second), only_first + only_second);
    // Terms of the binomial distribution with probability 1/2, as logarithms.
    let mut term = count as f64 * 0.5_f64.ln();
    let mut sum = term.exp();
    for k in 1..=fewer {
        term += ((count - k + 1) as f64 / k as f64).ln();
        sum += term.exp();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_literature() {
        // Newcombe, 1998: Two-sided confidence intervals for the single proportion, table I, method 3.
        for (successes, count, expected) in
            [(81, 263, [0.2553, 0.3662]), (15, 148, [0.0624, 0.1605]), (0, 20, [0.0, 0.1611])]
        {
            for (bound, expected) in wilson(successes, count).into_iter().zip(expected) {
                assert!((bound - expected).abs() < 5e-5, "{bound} {expected}");
            }
        }
    }

    #[test]
    fn equal_mistakes_are_no_difference() {
        // SciPy's `binomtest(2, 12).pvalue` is 0.0386.
        assert!((mcnemar(10, 2) - 0.038_574).abs() < 1e-5);
        assert_eq!(mcnemar(10, 2), mcnemar(2, 10));
        assert_eq!([mcnemar(0, 0), mcnemar(7, 7), mcnemar(0, 1)], [1.0; 3]);
        assert!(mcnemar(5000, 5400) < 1e-4);
    }

    #[test]
    fn rank_correlation_ignores_the_scale() {
        let a = [1.0, 2.0, 3.0, 4.0];
        assert!((spearman(&a, &[1.0, 4.0, 9.0, 16.0]) - 1.0).abs() < 1e-12);
        assert!((spearman(&a, &[5.0, 4.0, 3.0, 1.0]) + 1.0).abs() < 1e-12);
        // SciPy's `spearmanr([1, 2, 3, 4], [1, 3, 3, 2])` is 0.316.
        assert!((spearman(&a, &[1.0, 3.0, 3.0, 2.0]) - 0.316_227_766).abs() < 1e-6);
        assert_eq!(spearman(&a, &[1.0; 4]), 0.0);
    }
}
