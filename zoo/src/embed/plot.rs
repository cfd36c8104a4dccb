//! A page that shows images where their embeddings are, in two dimensions.

use image::RgbImage;
use image::imageops::thumbnail;
use serde::Serialize;
use zoo_report::jpeg;

use super::{Embeddings, product};

/// Iterations of the power method for each component.
const ITERATIONS: usize = 200;

/// Width and height of the plot, and the largest side of a thumbnail, in the units of the drawing.
const SIZE: [f64; 2] = [960.0, 720.0];
const SIDE: f64 = 44.0;

/// Pixels of a thumbnail for each of these units.
const DENSITY: f64 = 2.0;

/// Number of colors in the style sheet.
const COLORS: usize = 6;

#[derive(Serialize)]
struct Page {
    title: String,
    size: [f64; 2],
    folders: Vec<Folder>,
    images: Vec<Placed>,
    /// The share of the variance that the two directions explain, in `[0, 1]`.
    explained: f64,
}

/// A folder and its color.
#[derive(Serialize)]
struct Folder {
    name: String,
    color: usize,
}

/// An image and its place.
#[derive(Serialize)]
struct Placed {
    path: String,
    color: usize,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    picture: Option<String>,
    components: [f32; 2],
}

impl Embeddings {
    /// The two principal components of each embedding (Pearson, 1901), and the share of the variance that they explain, in `[0, 1]`.
    pub fn principal_components(&self) -> (Vec<[f32; 2]>, f64) {
        let count = self.paths.len().max(1) as f32;
        let mut rows = self.values.clone();
        let mut mean = vec![0.0; self.length];
        for row in rows.chunks_exact(self.length.max(1)) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / count);
        }
        for row in rows.chunks_exact_mut(self.length.max(1)) {
            row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
        }
        let all = f64::from(product(&rows, &rows));
        let mut components = vec![[0.0; 2]; self.paths.len()];
        let mut variance = 0.0;
        for axis in 0..2 {
            let direction = main_direction(&rows, self.length);
            let projections = rows.chunks_exact_mut(self.length.max(1)).map(|row| {
                let length = product(row, &direction);
                // What is left is orthogonal to this direction.
                row.iter_mut().zip(&direction).for_each(|(value, unit)| *value -= length * unit);
                length
            });
            for (component, length) in components.iter_mut().zip(projections) {
                component[axis] = length;
                variance += f64::from(length * length);
            }
        }
        (components, if all > 0.0 { variance / all } else { 0.0 })
    }

    /// An HTML page with the images at their principal components. `open` returns the image of a row; without one, a dot is shown.
    pub fn plot(&self, title: &str, open: impl Fn(usize) -> Option<RgbImage>) -> String {
        let (components, explained) = self.principal_components();
        let range = |axis: usize| {
            let values = components.iter().map(|component| f64::from(component[axis]));
            let low = values.clone().fold(f64::INFINITY, f64::min);
            (low, (values.fold(f64::NEG_INFINITY, f64::max) - low).max(1e-9))
        };
        let ranges = [range(0), range(1)];
        let folder_of = |index: usize| {
            let parent = self.paths[index].parent().map(|parent| parent.display().to_string());
            parent.unwrap_or_default()
        };
        let mut names: Vec<String> = (0..self.paths.len()).map(folder_of).collect();
        names.sort();
        names.dedup();
        let color = |index: usize| names.binary_search(&folder_of(index)).unwrap_or(0) % COLORS;
        let placed = |(index, component): (usize, &[f32; 2])| {
            let place = |axis: usize| {
                let (low, length) = ranges[axis];
                let share = (f64::from(component[axis]) - low) / length;
                SIDE / 2.0 + share * (SIZE[axis] - SIDE)
            };
            let picture = open(index).filter(|image| image.width() > 0 && image.height() > 0);
            let [width, height] = picture.as_ref().map_or([SIDE; 2], |image| {
                let scale = SIDE / f64::from(image.width().max(image.height()));
                [image.width(), image.height()].map(|side| scale * f64::from(side))
            });
            let small = |image: RgbImage| {
                let [width, height] = [width, height].map(|side| ((DENSITY * side) as u32).max(1));
                jpeg(&thumbnail(&image, width, height))
            };
            Placed {
                path: self.paths[index].display().to_string(),
                color: color(index),
                x: place(0) - width / 2.0,
                // The vertical axis of a drawing points down.
                y: SIZE[1] - place(1) - height / 2.0,
                width,
                height,
                picture: picture.map(small),
                components: *component,
            }
        };
        let images = components.iter().enumerate().map(placed).collect();
        let folders = names.iter().enumerate();
        let folders =
            folders.map(|(index, name)| Folder { name: name.clone(), color: index % COLORS });
        let folders = if names.len() > 1 { folders.collect() } else { Vec::new() };
        let page = Page { title: title.to_owned(), size: SIZE, folders, images, explained };
        zoo_report::page(include_str!("plot.html"), &page)
    }
}

/// The unit vector along which the rows vary most, by the power method.
fn main_direction(rows: &[f32], length: usize) -> Vec<f32> {
    let norm = |vector: &[f32]| product(vector, vector).sqrt();
    let longest = rows.chunks_exact(length.max(1)).max_by(|a, b| norm(a).total_cmp(&norm(b)));
    let mut direction = longest.map_or_else(|| vec![0.0; length], <[f32]>::to_vec);
    for _ in 0..ITERATIONS {
        let length_of = norm(&direction);
        if length_of == 0.0 {
            break;
        }
        direction.iter_mut().for_each(|value| *value /= length_of);
        let mut next = vec![0.0; length];
        for row in rows.chunks_exact(length.max(1)) {
            let projection = product(row, &direction);
            next.iter_mut().zip(row).for_each(|(next, value)| *next += projection * value);
        }
        if norm(&next) == 0.0 {
            break;
        }
        direction = next;
    }
    let length_of = norm(&direction);
    if length_of > 0.0 {
        direction.iter_mut().for_each(|value| *value /= length_of);
    }
    direction
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn embeddings(values: &[[f32; 3]]) -> Embeddings {
        Embeddings {
            paths: (0..values.len()).map(|index| PathBuf::from(format!("a/{index}"))).collect(),
            values: values.concat(),
            length: 3,
        }
    }

    #[test]
    fn the_components_are_the_directions_of_largest_variance() {
        // Along (0, 3, 4) / 5, then along the first axis, around (1, 1, 1).
        let rows = [[1.0, 7.0, 9.0], [1.0, -5.0, -7.0], [2.0, 1.0, 1.0], [0.0, 1.0, 1.0]];
        let (components, explained) = embeddings(&rows).principal_components();
        let expected = [[10.0, 0.0], [-10.0, 0.0], [0.0, 1.0], [0.0, -1.0]];
        for axis in 0..2 {
            let sign = (components[2 * axis][axis] / expected[2 * axis][axis]).signum();
            for (component, expected) in components.iter().zip(expected) {
                assert!((sign * component[axis] - expected[axis]).abs() < 1e-4, "{components:?}");
            }
        }
        assert!((explained - 1.0).abs() < 1e-5);
    }

    #[test]
    fn equal_embeddings_have_no_direction() {
        let (components, explained) = embeddings(&[[1.0; 3]; 2]).principal_components();
        assert_eq!((components, explained), (vec![[0.0; 2]; 2], 0.0));
        assert_eq!(Embeddings::default().principal_components(), (Vec::new(), 0.0));
    }

    #[test]
    fn each_image_is_on_the_page() {
        let embeddings = embeddings(&[[0.0; 3], [1.0, 2.0, 3.0]]);
        let html = embeddings.plot("a <b>", |row| (row == 0).then(|| RgbImage::new(4, 3)));
        assert_eq!((html.matches("<image ").count(), html.matches("<circle ").count()), (1, 1));
        assert!(html.contains("a &lt;b&gt;") && html.contains("100.0 %"), "{html}");
    }
}
