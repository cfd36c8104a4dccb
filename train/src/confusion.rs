//! A confusion matrix as an image.

use image::{Rgb, RgbImage};

/// With more classes than this, cells are small and only their colors can be shown.
const MOST_NAMED: usize = 100;

/// The side of a small cell, in pixels.
const SMALL: u32 = 4;

/// The height of a line of text, in pixels.
const LINE: u32 = 16;

/// Space around text, in pixels.
const GAP: u32 = 8;

/// The longest name that is written in full, in pixels.
const LONGEST: u32 = 240;

const INK: Rgb<u8> = Rgb([40; 3]);
const FAINT: Rgb<u8> = Rgb([110; 3]);
const WHITE: Rgb<u8> = Rgb([255; 3]);

/// Draws a confusion matrix: rows are true classes, columns predicted ones. The larger its share of
/// the row, the darker a cell.
///
/// The names of up to a hundred classes are written beside the rows and above the columns, and the
/// numbers into the cells. Numbers above 9999 are written as shares of their row.
pub fn confusion_image(names: &[String], confusion: &[Vec<usize>]) -> RgbImage {
    if names.len() > MOST_NAMED {
        let mut image = canvas(SMALL * names.len() as u32, SMALL * names.len() as u32);
        cells(&mut image, [0, 0], [SMALL, SMALL], confusion, |_, _, _| {});
        return image;
    }
    let largest = confusion.iter().flatten().max().copied().unwrap_or_default();
    let cell_text = |count: usize, total: usize| match largest > 9999 {
        true => format!("{:.1} %", 100.0 * count as f64 / total.max(1) as f64),
        false => count.to_string(),
    };
    let names: Vec<String> = names.iter().map(|name| shortened(name)).collect();
    let longest = names.iter().map(|name| width(name)).max().unwrap_or_default();
    let in_cells = if largest > 9999 { width("100.0 %") } else { width("9999") };
    // Long names are vertical, above narrow columns.
    let is_upright = longest > 120 || names.len() > 12;
    let column = (in_cells + 2 * GAP).max(if is_upright { 0 } else { longest + 2 * GAP });
    let cell = [column, column.clamp(LINE + 2 * GAP, 56)];
    let left = LINE + 2 * GAP + longest + GAP;
    let top = LINE + 2 * GAP + if is_upright { longest } else { LINE } + GAP;
    let count = names.len() as u32;
    let mut image = canvas(left + count * cell[0] + GAP, top + count * cell[1] + GAP);
    let matrix = [count * cell[0], count * cell[1]];
    write(&mut image, [left + middle(matrix[0], width("predicted")), GAP], "predicted", FAINT);
    write_up(&mut image, [GAP, top + middle(matrix[1], width("true"))], "true", FAINT);
    for (index, name) in (0..).zip(&names) {
        let row = top + index * cell[1] + middle(cell[1], LINE);
        write(&mut image, [left - GAP - width(name), row], name, INK);
        let column = left + index * cell[0];
        if is_upright {
            let at = [column + middle(cell[0], LINE), top - GAP - width(name)];
            write_up(&mut image, at, name, INK);
        } else {
            let at = [column + middle(cell[0], width(name)), top - GAP - LINE];
            write(&mut image, at, name, INK);
        }
    }
    cells(&mut image, [left, top], cell, confusion, |image, [x, y], (count, total)| {
        let text = cell_text(count, total);
        let is_dark = 2 * count > total;
        let ink = match count {
            0 => FAINT,
            _ if is_dark => WHITE,
            _ => INK,
        };
        let at = [x + middle(cell[0], width(&text)), y + middle(cell[1], LINE)];
        write(image, at, &text, ink);
    });
    image
}

fn canvas(width: u32, height: u32) -> RgbImage {
    RgbImage::from_pixel(width.max(1), height.max(1), WHITE)
}

/// Returns the offset that centers `inner` in `outer`.
fn middle(outer: u32, inner: u32) -> u32 {
    outer.saturating_sub(inner) / 2
}

/// Fills the cells, and calls `write` with the position of each, its number and its row's.
fn cells(
    image: &mut RgbImage,
    [left, top]: [u32; 2],
    [width, height]: [u32; 2],
    confusion: &[Vec<usize>],
    write: impl Fn(&mut RgbImage, [u32; 2], (usize, usize)),
) {
    for (row, counts) in (0..).zip(confusion) {
        let total: usize = counts.iter().sum();
        for (column, &count) in (0..).zip(counts) {
            let share = count as f32 / total.max(1) as f32;
            let color = shade(share, row == column);
            let [x, y] = [left + column * width, top + row * height];
            for (dx, dy) in (0..height - 1).flat_map(|dy| (0..width - 1).map(move |dx| (dx, dy))) {
                image.put_pixel(x + dx, y + dy, color);
            }
            write(image, [x, y], (count, total));
        }
    }
}

/// Returns blue for correct and red for wrong predictions, both from very light for nothing.
fn shade(share: f32, is_right: bool) -> Rgb<u8> {
    let full = if is_right { [30.0, 80.0, 160.0] } else { [190.0, 50.0, 40.0] };
    Rgb(full.map(|value| (245.0 + (value - 245.0) * share.sqrt()) as u8))
}

/// Returns a name, shortened with an ellipsis if it is too long.
fn shortened(name: &str) -> String {
    if width(name) <= LONGEST {
        return name.to_owned();
    }
    let mut short = String::new();
    for character in name.chars() {
        short.push(character);
        if width(&short) + width("…") > LONGEST {
            short.pop();
            break;
        }
    }
    short + "…"
}

/// Returns the bitmap of a character, or that of a question mark if there is none.
fn glyph(character: char) -> Option<&'static unifont::Glyph> {
    unifont::get_glyph(character).or_else(|| unifont::get_glyph('?'))
}

/// Returns the width of a line of text in pixels.
fn width(text: &str) -> u32 {
    text.chars().filter_map(glyph).map(|glyph| glyph.get_width() as u32).sum()
}

/// Returns the positions of the dark pixels of a line of text, from its upper left corner.
fn pixels(text: &str) -> impl Iterator<Item = [u32; 2]> {
    let glyphs = text.chars().filter_map(glyph).scan(0, |left, glyph| {
        let start = *left;
        *left += glyph.get_width();
        Some((start, glyph))
    });
    glyphs.flat_map(|(left, glyph)| {
        let dark = (0..LINE as usize)
            .flat_map(move |y| (0..glyph.get_width()).map(move |x| (x, y)))
            .filter(|&(x, y)| glyph.get_pixel(x, y));
        dark.map(move |(x, y)| [(left + x) as u32, y as u32])
    })
}

/// Writes from left to right; the given position is the upper left corner.
fn write(image: &mut RgbImage, [left, top]: [u32; 2], text: &str, ink: Rgb<u8>) {
    for [x, y] in pixels(text) {
        put(image, [left + x, top + y], ink);
    }
}

/// Writes from bottom to top; the given position is the upper left corner.
fn write_up(image: &mut RgbImage, [left, top]: [u32; 2], text: &str, ink: Rgb<u8>) {
    let length = width(text);
    for [x, y] in pixels(text) {
        put(image, [left + y, top + length - 1 - x], ink);
    }
}

fn put(image: &mut RgbImage, [x, y]: [u32; 2], ink: Rgb<u8>) {
    if x < image.width() && y < image.height() {
        image.put_pixel(x, y, ink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_are_written_and_cells_are_large() {
        let plain = confusion_image(&names(&["a", "b"]), &[vec![3, 1], vec![0, 12]]);
        assert!(plain.width() > 120 && plain.height() > 100, "{:?}", plain.dimensions());
        let ink = |image: &RgbImage| image.pixels().filter(|&&pixel| pixel == INK).count();
        assert!(ink(&plain) > 20);
        let long =
            confusion_image(&names(&["赤い花", "grüner Frosch"]), &[vec![3, 1], vec![0, 12]]);
        assert!(long.width() > plain.width() && ink(&long) > ink(&plain));
        // Names of any length and any script, counts of any size, and no class at all.
        let strange = names(&[&"x".repeat(500), "\u{10ffff}\n", ""]);
        let huge = vec![vec![usize::MAX / 4; 3]; 3];
        assert!(confusion_image(&strange, &huge).width() < 1000);
        assert!(confusion_image(&[], &[]).width() > 0);
    }

    #[test]
    fn of_many_classes_only_the_colors_are_shown() {
        let many: Vec<String> = (0..150).map(|number| number.to_string()).collect();
        let image = confusion_image(&many, &vec![vec![1; 150]; 150]);
        assert_eq!(image.dimensions(), (600, 600));
    }
}
