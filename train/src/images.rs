//! Decoding of samples in worker threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock};

use image::{RgbImage, imageops};
use rand::rngs::StdRng;
use zoo_core::decode::{decode_over, resize};
use zoo_core::{Background, Preprocess};

use crate::data::{Label, read_mask};
use crate::{Augment, Mask, Masked, Sample, Source};

/// Decodes images, and keeps decoded images as long as the budget allows.
#[derive(Debug)]
pub struct Images<L: Label = usize> {
    samples: Vec<Sample<L>>,
    preprocess: Preprocess,
    /// A slot for each sample; filled once.
    kept: Vec<OnceLock<Arc<L::Decoded>>>,
    budget: Arc<Budget>,
    broken: Broken,
}

/// The images that can't be read, by index: the reason, and whether it was reported.
#[derive(Debug, Default)]
struct Broken(Mutex<BTreeMap<usize, (String, bool)>>);

impl Broken {
    fn add(&self, index: usize, reason: String) {
        let mut broken = self.0.lock().expect("no thread panics with the lock");
        broken.entry(index).or_insert((reason, false));
    }

    fn count(&self) -> usize {
        self.0.lock().expect("no thread panics with the lock").len()
    }

    /// Returns sentences about those that were not reported yet.
    fn report(&self, name: impl Fn(usize) -> String) -> Vec<String> {
        let mut broken = self.0.lock().expect("no thread panics with the lock");
        let new = broken.iter_mut().filter(|(_, (_, told))| !told);
        new.map(|(&index, (reason, told))| {
            *told = true;
            format!("{} is left out: {reason}", name(index))
        })
        .collect()
    }
}

/// Memory for decoded images, shared by several [`Images`].
#[derive(Debug)]
pub struct Budget(AtomicUsize);

impl Budget {
    /// Creates a budget of this number of MiB.
    pub fn mib(mib: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(mib << 20)))
    }

    fn take(&self, bytes: usize) -> bool {
        let left = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }
}

impl<L: Label> Images<L> {
    /// Prepares to load these samples.
    pub fn new(samples: Vec<Sample<L>>, preprocess: Preprocess, budget: &Arc<Budget>) -> Self {
        let kept = samples.iter().map(|_| OnceLock::new()).collect();
        let budget = Arc::clone(budget);
        Self { samples, preprocess, kept, budget, broken: Broken::default() }
    }

    /// The samples that are loaded.
    pub fn samples(&self) -> &[Sample<L>] {
        &self.samples
    }

    /// The preprocessing of the images.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Number of images that could not be read so far.
    pub fn unreadable(&self) -> usize {
        self.broken.count()
    }

    /// Returns a sentence about each image that could not be read, only once for each image.
    pub fn complaints(&self) -> Vec<String> {
        self.broken.report(|index| self.samples[index].source.name())
    }

    /// Converts an image of the network's size to the network's input, `[C, S, S]`.
    pub fn values(&self, view: &RgbImage) -> Vec<f32> {
        let side = self.preprocess.crop;
        self.preprocess.sized(side, side).pixels(view)
    }

    /// Decodes an image and converts it to the kept form. All calls for one `Images` must use the
    /// same form.
    fn load(
        &self,
        index: usize,
        make: impl FnOnce(RgbImage, &L) -> Result<L::Decoded, String>,
    ) -> Option<Arc<L::Decoded>> {
        if let Some(kept) = self.kept[index].get() {
            return Some(Arc::clone(kept));
        }
        let Sample { source, label } = &self.samples[index];
        let image = read(source, self.preprocess.background);
        match image.and_then(|image| make(image, label)) {
            Ok(decoded) => {
                let decoded = Arc::new(decoded);
                if self.budget.take(L::bytes(&decoded)) {
                    let _ = self.kept[index].set(Arc::clone(&decoded));
                }
                Some(decoded)
            }
            Err(reason) => {
                self.broken.add(index, reason);
                None
            }
        }
    }
}

impl Images {
    /// Returns the part of an image that the network sees in classification, to the bit.
    pub fn plain(&self, index: usize) -> Option<Arc<RgbImage>> {
        self.load(index, |image, _| Ok(self.preprocess.crop(&image)))
    }

    /// Returns one random view of an image.
    pub(crate) fn view(
        &self,
        index: usize,
        augment: &Augment,
        rng: &mut StdRng,
    ) -> Option<RgbImage> {
        // No view needs more pixels than twice the network's size.
        let largest = 2 * self.preprocess.resize.max(self.preprocess.crop);
        let image = self.load(index, |image, _| Ok(shrink(image, largest, &self.preprocess)))?;
        Some(augment.apply(&image, &self.preprocess, rng))
    }
}

impl Images<Mask> {
    /// Returns an image and the classes of its pixels, both resized to the network's size.
    pub fn masked(&self, index: usize) -> Option<Arc<Masked>> {
        self.load(index, |image, mask| {
            let Preprocess { crop: side, interpolation, .. } = self.preprocess;
            let mut classes = read_mask(&mask.path).map_err(|error| error.to_string())?;
            if classes.dimensions() != image.dimensions() {
                return Err("its mask is of another size".to_owned());
            }
            classes = imageops::resize(&classes, side, side, imageops::FilterType::Nearest);
            for value in classes.iter_mut() {
                let class = mask.values.binary_search(value);
                *value = class.map_err(|_| "its mask has unknown values".to_owned())? as u8;
            }
            Ok(Masked { image: resize(&image, side, side, interpolation), classes })
        })
    }
}

fn read(source: &Source, background: Background) -> Result<RgbImage, String> {
    match source {
        Source::File(path) => {
            let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
            decoded(|| decode_over(&bytes, background))
        }
        Source::Packed { images, index } => {
            let [width, height] = images.size;
            let rgb = images.of(*index).iter().flat_map(|&value| [value; 3]).collect();
            RgbImage::from_raw(width, height, rgb).ok_or_else(|| "it has no pixels".to_owned())
        }
    }
}

/// Runs a decoder. A decoder that panics on a damaged file costs that file, not the run.
pub(crate) fn decoded<T, E: ToString>(decode: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(decode))
        .map_err(|_| "the decoder gave up".to_owned())?
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// Resizes an image whose shorter side is longer than `largest` to that length.
fn shrink(image: RgbImage, largest: u32, preprocess: &Preprocess) -> RgbImage {
    let (width, height) = image.dimensions();
    let shorter = width.min(height);
    if shorter <= largest {
        return image;
    }
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(largest) / u64::from(shorter);
        u32::try_from(side).expect("it is smaller than the image's")
    };
    resize(&image, scaled(width), scaled(height), preprocess.interpolation)
}

/// Runs jobs `0..jobs` in worker threads and returns the results in order.
///
/// Each worker is at most two results ahead of the consumer. The workers stop when the consumer
/// stops.
pub(crate) fn prefetch<T: Send, R>(
    jobs: std::ops::Range<usize>,
    workers: usize,
    load: impl Fn(usize) -> T + Sync,
    consume: impl FnOnce(&mut dyn Iterator<Item = T>) -> R,
) -> R {
    let workers = workers.clamp(1, jobs.len().max(1));
    std::thread::scope(|scope| {
        let load = &load;
        let receivers: Vec<_> = (0..workers)
            .map(|worker| {
                let (sender, receiver) = sync_channel(1);
                let jobs = jobs.clone().skip(worker).step_by(workers);
                scope.spawn(move || {
                    for job in jobs {
                        if sender.send(load(job)).is_err() {
                            break;
                        }
                    }
                });
                receiver
            })
            .collect();
        let mut results =
            jobs.clone().map_while(|job| receivers[(job - jobs.start) % workers].recv().ok());
        consume(&mut results)
        // The receivers are dropped here, which ends workers that wait to send.
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_workers_end_with_the_consumer() {
        for workers in [1, 2, 5, 40] {
            let all: Vec<_> = prefetch(3..20, workers, |job| job, |jobs| jobs.collect());
            assert_eq!(all, (3..20).collect::<Vec<_>>());
            let some: Vec<_> = prefetch(0..1000, workers, |job| job, |jobs| jobs.take(4).collect());
            assert_eq!(some, [0, 1, 2, 3]);
            let none: usize = prefetch(0..0, workers, |job| job, |jobs| jobs.count());
            assert_eq!(none, 0);
        }
    }

    #[test]
    fn a_decoder_that_panics_is_an_error() {
        let result = decoded(|| -> Result<(), String> { panic!("a broken file") });
        assert_eq!(result.unwrap_err(), "the decoder gave up");
    }

    #[test]
    fn the_budget_is_kept() {
        let budget = Budget::mib(1);
        assert!(budget.take(1 << 19) && budget.take(1 << 19) && !budget.take(1));
    }

    #[test]
    fn huge_images_are_shrunk_before_they_are_kept() {
        let preprocess = Preprocess::IMAGENET.sized(36, 32);
        let image = shrink(RgbImage::new(300, 200), 72, &preprocess);
        assert_eq!(image.dimensions(), (108, 72));
        assert_eq!(shrink(RgbImage::new(5, 300), 72, &preprocess).dimensions(), (5, 300));
    }
}
