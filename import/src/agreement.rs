//! Whether a network agrees with the graph that its weights came from.

use burn::tensor::{Device, Tensor, TensorData};
use zoo_core::{CaughtPanic, catch_panic};
use zoo_models::Network;

use crate::Normalization;
use crate::onnx::{Graph, NotRun};

/// How far a network's logits are from a graph's.
#[derive(Debug, Clone, Copy)]
pub struct Agreement {
    /// The largest difference of a logit.
    pub difference: f32,
    /// The largest logit, whatever its sign.
    pub largest: f32,
}

impl Agreement {
    /// Whether the difference is what rounding makes.
    pub fn is_close(&self) -> bool {
        self.difference <= 1e-3 * self.largest
    }
}

/// Why a network and a graph can't be compared.
#[derive(Debug, thiserror::Error)]
pub enum NotCompared {
    /// The graph does not take images.
    #[error("the graph takes something else than images")]
    NoImages,
    /// The graph takes so many images, or such large ones, that the comparison would take too long.
    #[error("{batch} images of {height}x{width} pixels are too many")]
    TooLarge {
        /// Images in a batch.
        batch: usize,
        /// Their height in pixels.
        height: usize,
        /// Their width in pixels.
        width: usize,
    },
    /// The two have different numbers of outputs.
    #[error("the graph gives {graph} numbers, the network {network}")]
    Outputs {
        /// Those of the graph.
        graph: usize,
        /// Those of the network.
        network: usize,
    },
    /// The graph has an operation that is not computed here.
    #[error(transparent)]
    Graph(#[from] NotRun),
    /// One of the two can't take such images.
    #[error(transparent)]
    CaughtPanic(#[from] CaughtPanic),
}

/// Images of this side are large enough to tell, where the graph takes any.
const SIDE: usize = 224;

/// More images at once than a graph is asked to compute.
const MOST: usize = 16;

/// Computes the logits of a fixed image by a network on the processor, and by a graph.
///
/// `size` is the side of the images that the network was designed for.
///
/// # Errors
///
/// Why they can't be compared.
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
        // Where it is known what becomes of pixels, they are what the network is given: far from
        // them it may magnify its own rounding.
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
    // Where there is a NaN, nothing is close.
    let difference =
        differences.fold(
            0.0,
            |largest: f32, difference| {
                if difference <= largest { largest } else { difference }
            },
        );
    Ok(Agreement { difference, largest })
}

/// Numbers between -1 and 1 that look drawn, but are the same each time.
fn noise(count: usize) -> Vec<f32> {
    let number = |index: usize| (index as u32).wrapping_mul(2_654_435_761) as f32;
    (0..count).map(|index| number(index) / (u32::MAX / 2) as f32 - 1.0).collect()
}
