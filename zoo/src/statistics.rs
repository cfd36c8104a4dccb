//! Statistics of results.

/// Spearman's rank correlation, in `[-1, 1]`: the correlation of the ranks, of which equal values share the mean.
pub(crate) fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| -> Vec<f64> {
        let rank = |x: &f64| {
            let below = values.iter().filter(|y| *y < x).count() as f64;
            let equal = values.iter().filter(|y| *y == x).count() as f64;
            below + (equal - 1.0) / 2.0
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

#[cfg(test)]
mod tests {
    use super::*;

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
