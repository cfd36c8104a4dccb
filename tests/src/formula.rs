//! Pseudo-random numbers that every implementation can compute from a tensor's name.
//!
//! `s(key, i)` is the SplitMix64 generator seeded with the FNV-1a hash of the key, as a
//! multiple of 2⁻²³ in `[-1, 1)`. See `fixtures/parity/README.md` for the whole of it.

/// Returns the numbers of a key for the indices `0..n`.
pub fn uniform(key: &str, n: usize) -> impl Iterator<Item = f64> {
    let seed = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (1..=n as u64).map(move |i| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z ^= z >> 30;
        z = z.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z ^= z >> 27;
        z = z.wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 40) as f64 / 8_388_608.0 - 1.0
    })
}

/// Returns the input of a reference run, row-major.
pub fn input(n: usize) -> Vec<f32> {
    uniform("input", n).map(|s| (2.0 * s) as f32).collect()
}

/// Returns a weight of two or more dimensions.
pub fn weight(key: &str, shape: &[usize], gain: f64) -> Vec<f32> {
    let fan_in: usize = shape[1..].iter().product();
    let bound = (3.0 * gain / fan_in as f64).sqrt();
    let n = shape.iter().product();
    uniform(key, n).map(|s| (s * bound) as f32).collect()
}

/// Returns `center + spread * s`.
pub fn around(key: &str, n: usize, center: f64, spread: f64) -> Vec<f32> {
    uniform(key, n).map(|s| (center + spread * s) as f32).collect()
}

/// Returns BatchNorm's running variance for a variance `v` in the reference run.
pub fn running_var(key: &str, n: usize, v: f64) -> Vec<f32> {
    uniform(key, n).map(|s| (v * (1.0 + 0.5 * s)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(values: &[f32]) -> u64 {
        values.iter().fold(0, |hash: u64, value| {
            hash.wrapping_mul(31).wrapping_add(u64::from(value.to_bits()))
        })
    }

    /// The digests come from the reference implementation.
    #[test]
    fn the_formula_is_the_references() {
        let (v, m) = (f64::from(1.2345_f32), f64::from(-0.0137_f32));
        let bn = "layer3.0.bn3";
        let mean = around(&format!("{bn}.running_mean"), 1024, m, 0.1 * v.sqrt());
        let cases = [
            (weight("layer4.2.conv2.weight", &[512, 512, 3, 3], 2.0), 0x48de_2c2b_c157_e4a6),
            (mean, 0xf73d_5b9f_0c1d_dd8e),
            (running_var(&format!("{bn}.running_var"), 1024, v), 0xe8e9_f585_4146_afa3),
            (around(&format!("{bn}.weight"), 1024, 1.0, 0.25), 0x77c4_b621_a66f_9b2f),
            (around("fc.bias", 1000, 0.0, 0.1), 0x3fb7_2143_c2fd_5e8b),
            (input(2 * 3 * 64 * 64), 0x1dd2_4b8c_7f52_97f2),
        ];
        for (values, expected) in cases {
            assert_eq!(digest(&values), expected);
        }
    }
}
