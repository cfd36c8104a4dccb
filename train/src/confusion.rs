//! A confusion matrix as a picture.

use image::{Rgb, RgbImage};

use crate::Evaluation;

/// A cell's side in pixels, with room for four digits.
const CELL: u32 = 20;

/// Digits of three by five pixels, a row in three bits.
const DIGITS: [[u8; 5]; 10] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b010, 0b010, 0b010],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
];

impl Evaluation {
    /// The confusion matrix as a picture: what is in rows, what it was taken for in columns, both
    /// numbered from 0 at the borders, the darker the more of the row.
    pub fn confusion_image(&self) -> RgbImage {
        let count = u32::try_from(self.confusion.len()).expect("classes are few");
        // Of many classes only the colours can be shown.
        let cell = if count <= 100 { CELL } else { 4 };
        let side = (count + 1) * cell;
        let mut image = RgbImage::from_pixel(side, side, Rgb([255; 3]));
        for (row, counts) in (1..).zip(&self.confusion) {
            let total = counts.iter().sum::<usize>().max(1);
            if cell == CELL {
                write(&mut image, [0, row], row as usize - 1, Rgb([110; 3]));
                write(&mut image, [row, 0], row as usize - 1, Rgb([110; 3]));
            }
            for (column, &number) in (1..).zip(counts) {
                let share = number as f32 / total as f32;
                let colour = shade(share, row == column);
                for y in 0..cell - 1 {
                    for x in 0..cell - 1 {
                        image.put_pixel(column * cell + x, row * cell + y, colour);
                    }
                }
                if cell == CELL && number > 0 {
                    let ink = if share > 0.5 { [255; 3] } else { [30; 3] };
                    write(&mut image, [column, row], number, Rgb(ink));
                }
            }
        }
        image
    }
}

/// From white to blue on the diagonal and to red beside it.
fn shade(share: f32, is_right: bool) -> Rgb<u8> {
    let full = if is_right { [31.0, 90.0, 160.0] } else { [190.0, 50.0, 40.0] };
    Rgb(full.map(|value| (245.0 + (value - 245.0) * share.sqrt()) as u8))
}

/// Writes a number into a cell.
fn write(image: &mut RgbImage, [column, row]: [u32; 2], number: usize, ink: Rgb<u8>) {
    let digits = number.to_string();
    let width = 4 * u32::try_from(digits.len()).expect("numbers are short") - 1;
    let left = column * CELL + (CELL - 1).saturating_sub(width) / 2;
    let top = row * CELL + (CELL - 6) / 2;
    for (place, digit) in (0..).zip(digits.bytes()) {
        for (y, bits) in (0..).zip(DIGITS[usize::from(digit - b'0')]) {
            for x in (0..3).filter(|x| bits >> (2 - x) & 1 == 1) {
                let (x, y) = (left + 4 * place + x, top + y);
                if x < image.width() && y < image.height() {
                    image.put_pixel(x, y, ink);
                }
            }
        }
    }
}
