//! Comparison of a network with the graph that its weights came from.

use burn::tensor::{Device, Tensor, TensorData};
use zoo_core::{CaughtPanic, catch_panic};
use zoo_models::Network;

use crate::Normalization;
use crate::onnx::{Graph, NotRun};

/// The difference between the logits of a network and those of a graph.
#[derive(Debug, Clone, Copy)]
pub struct Agreement {
    /// The largest absolute difference of a logit.
    pub difference: f32,
    /// The largest absolute value of a logit.
    pub largest: f32,
}

impl Agreement {
    /// Whether rounding explains the difference.
    pub fn is_close(&self) -> bool {
        self.difference <= 1e-3 * self.largest
    }
}

/// The reason why a network and a graph can't be compared.
#[derive(Debug, thiserror::Error)]
pub enum NotCompared {
    /// The graph does not take images.
    #[error("the graph takes something else than images")]
    NoImages,
    /// The graph takes a batch of images that is too large for the comparison.
    #[error("{batch} images of {height}x{width} pixels are too many")]
    TooLarge {
        /// Number of images in the batch.
        batch: usize,
        /// Their height in pixels.
        height: usize,
        /// Their width in pixels.
        width: usize,
    },
    /// The two have different numbers of outputs.
    #[error("the graph gives {graph} numbers, the network {network}")]
    Outputs {
        /// Number of outputs of the graph.
        graph: usize,
        /// Number of outputs of the network.
        network: usize,
    },
    /// The graph has an operation that this crate does not compute.
    #[error(transparent)]
    Graph(#[from] NotRun),
    /// The graph or the network can't take such images.
    #[error(transparent)]
    CaughtPanic(#[from] CaughtPanic),
}

/// Side of the images, in pixels, if the graph does not fix it.
const SIDE: usize = 224;

/// The largest batch of a graph that is computed.
const MOST: usize = 16;

/// Computes the logits of a fixed image with a network on the CPU, and with a graph.
///
/// `size` is the side of the images that the network was designed for.
///
/// # Errors
///
/// When they can't be compared.
pub fn agreement(
    graph: &Graph,
    network: &Network,
    in_channels: usize,
    size: usize,
) -> Result<Agreement, NotCompared> {
    let shape = graph.image_shape(in_channels);
    let shape = shape.ok_or(NotCompared::NoImages)?;
    let side = size.min(SIDE).max(network.min_size());
    let (batch, height, width) =
        (shape.batch.unwrap_or(1), shape.height.unwrap_or(side), shape.width.unwrap_or(side));
    if batch > MOST || height.max(width) > 4 * size.max(SIDE) {
        return Err(NotCompared::TooLarge { batch, height, width });
    }
    let device = Device::flex();
    let images = [batch, in_channels, height, width];
    let images = TensorData::new(noise(images.iter().product()), images);
    let mut images = Tensor::<4>::from_data(images, &device);
    if let Some(Normalization { mean, std, .. }) = graph.normalization() {
        // If the normalization is known, the input is that of pixels: far outside that range a
        // network may amplify its own rounding errors.
        let each = |values: [f32; 3]| {
            let values = &values[..in_channels.min(3)];
            let shape = [1, values.len(), 1, 1];
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        images = (images.add_scalar(1.0).div_scalar(2.0) - each(mean)) / each(std);
    }
    let theirs = catch_panic(|| graph.logits(images.clone(), shape.channels_last))??;
    let ours: Vec<f32> =
        catch_panic(|| network.forward(images).into_data())?.convert::<f32>().iter().collect();
    if ours.len() != theirs.len() {
        return Err(NotCompared::Outputs { graph: theirs.len(), network: ours.len() });
    }
    let largest = theirs.iter().fold(0.0, |largest: f32, logit| largest.max(logit.abs()));
    let differences = ours.iter().zip(&theirs).map(|(ours, theirs)| (ours - theirs).abs());
    // `f32::max` would ignore a NaN.
    let difference = differences.fold(0.0, |largest: f32, difference| {
        if difference > largest || difference.is_nan() { difference } else { largest }
    });
    Ok(Agreement { difference, largest })
}

/// Returns pseudo-random numbers between -1 and 1, the same each time.
fn noise(count: usize) -> Vec<f32> {
    let number = |index: usize| (index as u32).wrapping_mul(2_654_435_761) as f32;
    (0..count).map(|index| number(index) / (u32::MAX / 2) as f32 - 1.0).collect()
}
