//! From a row of samples to a row of pixels, with libjpeg's rounding and PIL's way from CMYK.

/// What the components of an image mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    Grey,
    Rgb,
    /// Brightness, and what blue and red have more than it.
    YCbCr,
    /// What four inks let through: Adobe stores their inverse, and PIL takes all for Adobe's.
    Cmyk,
    /// The same with the first three inverted once more, as [`YCbCr`](Self::YCbCr).
    Ycck,
}

/// How many pixels are converted at once.
const LANES: usize = 32;

/// Writes pixels from one row of samples for each component: one byte a pixel for grey, else three.
pub(super) fn convert(space: Space, components: &[Vec<u8>], output: &mut [u8]) {
    let [first, rest @ ..] = components else { return };
    let width = output.len() / if space == Space::Grey { 1 } else { 3 };
    if space == Space::Grey {
        return output.copy_from_slice(&first[..width]);
    }
    for (start, output) in (0..).step_by(LANES).zip(output.chunks_mut(3 * LANES)) {
        // Rows are longer than the image by as much as is read too far here.
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
        let [red, green, blue] = &pixels;
        for (i, pixel) in output.chunks_exact_mut(3).enumerate() {
            pixel.copy_from_slice(&[red[i], green[i], blue[i]]);
        }
    }
}

/// The tables of `jdcolor.c` as arithmetic: factors have 16 fractional bits, and their whole part,
/// which is 1 or 2, apart from them, so that products are of 16-bit numbers.
fn to_rgb(pixels: &mut [[u8; LANES]; 3]) {
    let product = |a: i16, b: i16| i32::from(a) * i32::from(b);
    let rounded = |sum: i32| ((sum + (1 << 15)) >> 16) as i16;
    let clamped = |value: i16| value.clamp(0, 255) as u8;
    for i in 0..LANES {
        let [y, blue, red] = [0, 1, 2].map(|channel| i16::from(pixels[channel][i]));
        let (blue, red) = (blue - 128, red - 128);
        pixels[0][i] = clamped(y + red + rounded(product(red, 26345)));
        pixels[1][i] = clamped(y - red + rounded(product(blue, -22554) + product(red, 18734)));
        pixels[2][i] = clamped(y + 2 * blue + rounded(product(blue, -14942)));
    }
}

/// What is seen of one color's ink together with black.
fn over_black(channel: &mut [u8; LANES], black: &[u8; LANES], space: Space) {
    for (value, &black) in channel.iter_mut().zip(black) {
        let ink = u32::from(if space == Space::Ycck { *value } else { 255 - *value });
        let black = u32::from(black);
        let product = ink * black + 128;
        *value = (black - ((product + (product >> 8)) >> 8)) as u8;
    }
}
