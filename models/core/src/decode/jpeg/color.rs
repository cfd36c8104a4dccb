//! Converts a row of samples to a row of pixels, with libjpeg's rounding and PIL's conversion of CMYK.

/// The color space of an image's components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    Gray,
    Rgb,
    /// Brightness (luma), and the differences of blue and red to it.
    YCbCr,
    /// Four inks. Adobe stores their inverse, and PIL assumes Adobe's convention.
    Cmyk,
    /// [`Cmyk`](Self::Cmyk), but with the first three inverted again and stored as
    /// [`YCbCr`](Self::YCbCr).
    Ycck,
}

/// Number of pixels that are converted at once.
const LANES: usize = 32;

/// Writes pixels from one row of samples of each component: one byte per pixel for gray, otherwise
/// three.
pub(super) fn convert(space: Space, components: &[Vec<u8>], output: &mut [u8]) {
    let [first, rest @ ..] = components else { return };
    let width = output.len() / if space == Space::Gray { 1 } else { 3 };
    if space == Space::Gray {
        return output.copy_from_slice(&first[..width]);
    }
    for (start, output) in (0..).step_by(LANES).zip(output.chunks_mut(3 * LANES)) {
        // The padding of the rows is as long as the samples that are read past the image.
        let lanes = |row: &[u8]| *row[start..].first_chunk::<LANES>().expect("rows are padded");
        let mut pixels = [lanes(first), lanes(&rest[0]), lanes(&rest[1])];
        if matches!(space, Space::YCbCr | Space::Ycck) {
            to_rgb(&mut pixels);
        }
        if matches!(space, Space::Cmyk | Space::Ycck) {
            let black = lanes(&rest[2]);
            for channel in &mut pixels {
                over_black(channel, &black, space);
            }
        }
        let [red, green, blue] = pixels;
        let (output, _) = output.as_chunks_mut::<3>();
        for (i, pixel) in output.iter_mut().enumerate() {
            *pixel = [red[i % LANES], green[i % LANES], blue[i % LANES]];
        }
    }
}

/// Computes the tables of `jdcolor.c` by arithmetic. The factors have 16 fractional bits; their whole
/// part, 1 or 2, is added separately, so that the products are of 16-bit numbers.
fn to_rgb(pixels: &mut [[u8; LANES]; 3]) {
    let product = |a: i16, b: i16| i32::from(a).wrapping_mul(i32::from(b));
    let rounded = |sum: i32| (sum.wrapping_add(1 << 15) >> 16) as i16;
    let clamped = |value: i16| value.clamp(0, 255) as u8;
    let [first, second, third] = pixels;
    for ((first, second), third) in first.iter_mut().zip(second).zip(third) {
        let y = i16::from(*first);
        let (blue, red) =
            (i16::from(*second).wrapping_sub(128), i16::from(*third).wrapping_sub(128));
        let more_red = rounded(product(red, 26345));
        let more_green = rounded(product(blue, -22554).wrapping_add(product(red, 18734)));
        let more_blue = rounded(product(blue, -14942));
        *first = clamped(y.wrapping_add(red).wrapping_add(more_red));
        *second = clamped(y.wrapping_sub(red).wrapping_add(more_green));
        *third = clamped(y.wrapping_add(blue << 1).wrapping_add(more_blue));
    }
}

/// Combines one color's ink with black.
fn over_black(channel: &mut [u8; LANES], black: &[u8; LANES], space: Space) {
    for (value, &black) in channel.iter_mut().zip(black) {
        let ink = u32::from(if space == Space::Ycck { *value } else { 255 - *value });
        let black = u32::from(black);
        let product = (ink * black).wrapping_add(128);
        *value = black.wrapping_sub(product.wrapping_add(product >> 8) >> 8) as u8;
    }
}
