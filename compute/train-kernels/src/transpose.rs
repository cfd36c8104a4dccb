//! Transposition of lines of numbers into panels: first the first number of each line, then the
//! second of each line, …

use zoo_simd::LANES;

/// Number of elements after a panel that may be overwritten.
pub(crate) const SLACK: usize = LANES;

/// Packs `width` lines of `depth` numbers, a multiple of 16.
///
/// The number of lines is `width` rounded up to a multiple of 16; lines beyond `width` are ignored.
pub(crate) fn transpose(lines: &[f32], depth: usize, width: usize, panel: &mut [f32]) {
    assert!(depth.is_multiple_of(LANES) && lines.len() >= width.next_multiple_of(LANES) * depth);
    assert!(width <= LANES || width.is_multiple_of(LANES), "vectors end within a panel");
    assert!(panel.len() >= width * depth + SLACK);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        for i in (0..width).step_by(LANES) {
            // In the order of the steps, so that later vectors overwrite the excess of earlier
            // ones.
            for step in (0..depth).step_by(LANES) {
                // SAFETY: the CPU supports AVX-512; 16 lines of `depth` numbers start at `i`; the
                // last vector ends within the slack.
                unsafe {
                    x86::block(
                        lines.as_ptr().add(i * depth + step),
                        depth,
                        panel.as_mut_ptr().add(step * width + i),
                        width,
                    );
                }
            }
        }
        return;
    }
    for (i, line) in lines.chunks_exact(depth).take(width).enumerate() {
        let to = panel[i..].iter_mut().step_by(width);
        to.zip(line).for_each(|(to, from)| *to = *from);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Transposes 16 lines of 16 numbers.
    ///
    /// # Safety
    ///
    /// The CPU supports AVX-512; 16 numbers can be read at each of 16 lines, and written at each of
    /// 16 steps.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn block(lines: *const f32, depth: usize, panel: *mut f32, width: usize) {
        let mut a = [_mm512_setzero_ps(); 16];
        let mut b = a;
        for (i, a) in a.iter_mut().enumerate() {
            // SAFETY: the caller guarantees that 16 numbers can be read at each line.
            *a = unsafe { _mm512_loadu_ps(lines.add(i * depth)) };
        }
        for i in 0..8 {
            b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
        }
        // Now the vectors hold columns of four lines, one from each quarter of a vector.
        for i in (0..16).step_by(4) {
            let [b0, b1, b2, b3] =
                [b[i], b[i + 1], b[i + 2], b[i + 3]].map(|b| _mm512_castps_pd(b));
            a[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(b0, b2));
            a[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(b0, b2));
            a[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b1, b3));
            a[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b1, b3));
        }
        // Now they hold even quarters of eight lines, then odd ones.
        for j in 0..4 {
            b[j] = _mm512_shuffle_f32x4::<0x88>(a[j], a[4 + j]);
            b[4 + j] = _mm512_shuffle_f32x4::<0xdd>(a[j], a[4 + j]);
            b[8 + j] = _mm512_shuffle_f32x4::<0x88>(a[8 + j], a[12 + j]);
            b[12 + j] = _mm512_shuffle_f32x4::<0xdd>(a[8 + j], a[12 + j]);
        }
        for j in 0..4 {
            a[j] = _mm512_shuffle_f32x4::<0x88>(b[j], b[8 + j]);
            a[4 + j] = _mm512_shuffle_f32x4::<0x88>(b[4 + j], b[12 + j]);
            a[8 + j] = _mm512_shuffle_f32x4::<0xdd>(b[j], b[8 + j]);
            a[12 + j] = _mm512_shuffle_f32x4::<0xdd>(b[4 + j], b[12 + j]);
        }
        for (step, a) in a.iter().enumerate() {
            // SAFETY: the caller guarantees that 16 numbers can be written at each step.
            unsafe { _mm512_storeu_ps(panel.add(step * width), *a) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_is_the_transposition_of_its_lines() {
        let depth = 48;
        for width in (1..=16).chain([32]) {
            let lines: Vec<f32> = (0..32 * depth).map(|i| i as f32).collect();
            let mut panel = vec![0.0; width * depth + SLACK];
            transpose(&lines, depth, width, &mut panel);
            for (at, got) in panel[..width * depth].iter().enumerate() {
                assert_eq!(*got, lines[at % width * depth + at / width]);
            }
        }
    }
}
