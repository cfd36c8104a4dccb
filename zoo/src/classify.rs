//! Classification of many image files, and their decoding in batches.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use rayon::prelude::*;
use zoo_core::{catch_panic, decode::decode_over};

use crate::{Error, Model, Prediction, probabilities, top_k};

/// Options of [`Model::classify_files`].
#[derive(Debug, Clone, Copy)]
pub struct ClassifyOptions {
    /// Number of classes to return for each image.
    pub top_k: usize,
    /// The prediction is [`UNKNOWN_LABEL`](crate::UNKNOWN_LABEL) if no class has this probability, in `[0, 1]`.
    pub min_probability: f32,
    /// Number of images in a batch.
    pub batch_size: usize,
}

impl Model {
    /// Classifies image files in batches. `read` returns the bytes of a file. `answered` receives the paths of each batch, and for
    /// each path its most probable classes or the reason why it could not be read.
    ///
    /// Other threads decode the next images, at most two batches ahead, so memory does not grow with the number of files.
    ///
    /// # Errors
    ///
    /// As for [`classify`](Self::classify), and the errors of `answered`.
    pub fn classify_files<E: From<Error>>(
        &mut self,
        paths: &[PathBuf],
        read: impl Fn(&Path) -> io::Result<Vec<u8>> + Sync,
        options: ClassifyOptions,
        mut answered: impl FnMut(&[PathBuf], Vec<Result<Vec<Prediction>, Error>>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.ensure_classifies()?;
        // The plan is compiled while the first images are decoded.
        let first = |model: &mut Self, batch| model.plan(model.input_shape(batch)).map(drop);
        let answers = |model: &mut Self, images| model.answers(images, options);
        self.in_batches(paths, read, options.batch_size, first, |model, paths, images| {
            answered(paths, answers(model, images)?)
        })
    }

    /// Classifies a batch. An image that could not be read keeps its index and its error.
    fn answers(
        &mut self,
        images: Vec<Result<Vec<f32>, Error>>,
        options: ClassifyOptions,
    ) -> Result<Vec<Result<Vec<Prediction>, Error>>, Error> {
        let pixels: Vec<f32> = images.iter().flatten().flatten().copied().collect();
        let logits: Vec<f32> = match images.iter().flatten().count() {
            0 => Vec::new(),
            batch => self.logits(pixels, self.input_shape(batch))?.iter().collect(),
        };
        let names = self.card().answers();
        let mut rows = logits.chunks_exact(self.card().num_classes);
        let answer = |image: Result<_, Error>| {
            image?;
            let row = rows.next().expect("there is a row of logits for each image");
            let predictions = top_k(&probabilities(row)?, &names, options.top_k);
            match predictions.first() {
                Some(best) if best.probability < options.min_probability => {
                    Ok(vec![Prediction::unknown(best.probability)])
                }
                _ => Ok(predictions),
            }
        };
        Ok(images.into_iter().map(answer).collect())
    }

    /// Decodes and preprocesses image files in batches on other threads, at most two batches ahead. `first` runs with the size of
    /// the largest batch while the first one is decoded. `each` receives the paths of a batch, and for each its pixels or the
    /// reason why it could not be read.
    pub(crate) fn in_batches<E: From<Error>>(
        &mut self,
        paths: &[PathBuf],
        read: impl Fn(&Path) -> io::Result<Vec<u8>> + Sync,
        batch_size: usize,
        first: impl FnOnce(&mut Self, usize) -> Result<(), Error>,
        mut each: impl FnMut(&mut Self, &[PathBuf], Vec<Result<Vec<f32>, Error>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let preprocess = *self.preprocess();
        let pixels = |path: &PathBuf| -> Result<Vec<f32>, Error> {
            let bytes = read(path).map_err(Error::Bytes)?;
            // If a decoder panics on a damaged file, the other files are still used.
            let image = catch_panic(|| decode_over(&bytes, preprocess.background))??;
            Ok(preprocess.pixels(&image))
        };
        std::thread::scope(|scope| {
            // Two batches wait at most, while a third is decoded.
            let (sender, receiver) = sync_channel(2);
            let pixels = &pixels;
            scope.spawn(move || {
                for batch in paths.chunks(batch_size) {
                    let images: Vec<_> = batch.par_iter().map(pixels).collect();
                    if sender.send(images).is_err() {
                        break;
                    }
                }
            });
            first(self, paths.len().min(batch_size))?;
            for (batch, images) in paths.chunks(batch_size).zip(receiver) {
                each(self, batch, images)?;
            }
            Ok(())
        })
    }
}
