//! Embeddings of many image files, and the images that are similar by them.

#[cfg(feature = "train")]
mod plot;

use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::{Error, Model};

/// The embeddings of image files.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Embeddings {
    /// The files, in the order of the rows.
    pub paths: Vec<PathBuf>,
    /// The rows, one after another.
    pub values: Vec<f32>,
    /// Number of values in a row.
    pub length: usize,
}

/// Two images and their similarity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Indices of the rows, the smaller one first.
    pub rows: [usize; 2],
    /// The cosine of the angle between the embeddings, in `[-1, 1]`.
    pub similarity: f32,
}

impl Model {
    /// Computes the embeddings of image files in batches. `read` returns the bytes of a file. `done` receives the paths of each
    /// batch with the errors of those that could not be read; these have no row.
    ///
    /// # Errors
    ///
    /// As for [`embed`](Self::embed).
    pub fn embed_files(
        &mut self,
        paths: &[PathBuf],
        read: impl Fn(&Path) -> io::Result<Vec<u8>> + Sync,
        batch_size: usize,
        mut done: impl FnMut(&[PathBuf], &[(&Path, Error)]),
    ) -> Result<Embeddings, Error> {
        let mut embeddings = Embeddings::default();
        self.in_batches(
            paths,
            read,
            batch_size,
            |_, _| Ok(()),
            |model, paths, images| {
                let (mut pixels, mut errors) = (Vec::new(), Vec::new());
                let mut count = 0;
                for (path, image) in paths.iter().zip(images) {
                    match image {
                        Ok(image) => {
                            pixels.extend(image);
                            embeddings.paths.push(path.clone());
                            count += 1;
                        }
                        Err(error) => errors.push((path.as_path(), error)),
                    }
                }
                if count > 0 {
                    for row in model.embed_pixels(pixels, model.input_shape(count))? {
                        embeddings.length = row.len();
                        embeddings.values.extend(row);
                    }
                }
                done(paths, &errors);
                Ok::<_, Error>(())
            },
        )?;
        Ok(embeddings)
    }
}

impl Embeddings {
    /// The embedding of an image.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.length..][..self.length]
    }

    /// Scales each embedding to the length 1. A zero vector stays zero.
    pub fn normalize(&mut self) {
        for row in self.values.chunks_exact_mut(self.length.max(1)) {
            let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            if norm > 0.0 {
                row.iter_mut().for_each(|value| *value /= norm);
            }
        }
    }

    /// The `k` images that are most similar to an embedding, the most similar first: the index of each and its similarity.
    pub fn nearest(&self, query: &[f32], k: usize) -> Vec<(usize, f32)> {
        let mut all: Vec<(usize, f32)> =
            (0..self.paths.len()).map(|index| (index, cosine(self.row(index), query))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(k);
        all
    }

    /// All pairs of images with at least this similarity, the most similar first.
    pub fn pairs(&self, least: f32) -> Vec<Pair> {
        let mut unit = self.clone();
        unit.normalize();
        let of_row = |first: usize| {
            let pair = |second: usize| Pair {
                rows: [first, second],
                similarity: product(unit.row(first), unit.row(second)),
            };
            (first + 1..unit.paths.len())
                .map(pair)
                .filter(|pair| pair.similarity >= least)
                .collect()
        };
        let rows: Vec<Vec<Pair>> = (0..unit.paths.len()).into_par_iter().map(of_row).collect();
        let mut pairs = rows.concat();
        pairs.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
        pairs
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let norm = (product(a, a) * product(b, b)).sqrt();
    if norm > 0.0 { product(a, b) / norm } else { 0.0 }
}

fn product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embeddings() -> Embeddings {
        Embeddings {
            paths: ["a", "b", "c", "d"].map(PathBuf::from).into(),
            values: vec![3.0, 4.0, 0.0, 1.0, 6.0, 8.0, 0.0, 0.0],
            length: 2,
        }
    }

    #[test]
    fn similar_images_come_first() {
        let nearest = embeddings().nearest(&[0.0, 2.0], 2);
        assert_eq!(nearest, [(1, 1.0), (0, 0.8)]);
    }

    #[test]
    fn pairs_do_not_depend_on_the_length() {
        let pairs = embeddings().pairs(0.9);
        assert_eq!(pairs.len(), 1);
        assert_eq!(pairs[0].rows, [0, 2]);
        assert!((pairs[0].similarity - 1.0).abs() < 1e-6);
        let mut unit = embeddings();
        unit.normalize();
        assert_eq!(unit.values, [0.6, 0.8, 0.0, 1.0, 0.6, 0.8, 0.0, 0.0]);
    }
}
