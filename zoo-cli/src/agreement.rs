//! Whether a network agrees with the graph that its weights came from.

use anyhow::{anyhow, ensure};
use burn::tensor::{Tensor, TensorData};
use zoo_import::Normalization;
use zoo_import::onnx::Graph;
use zoo_models::Network;

use crate::device::Backend;

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
) -> anyhow::Result<Agreement> {
    let shape = graph.image_shape(in_channels);
    let shape = shape.ok_or_else(|| anyhow!("the graph takes something else than images"))?;
    let side = size.min(SIDE).max(network.min_size());
    let (batch, height, width) =
        (shape.batch.unwrap_or(1), shape.height.unwrap_or(side), shape.width.unwrap_or(side));
    ensure!(
        batch <= MOST && height.max(width) <= 4 * size.max(SIDE),
        "{batch} images of {height}x{width} pixels are too many"
    );
    let device = Backend::Cpu.device()?;
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
    let theirs = crate::catch(|| graph.logits(images.clone(), shape.channels_last))??;
    let ours: Vec<f32> =
        crate::catch(|| network.forward(images).into_data())?.convert::<f32>().iter().collect();
    ensure!(
        ours.len() == theirs.len(),
        "the graph gives {} numbers, the network {}",
        theirs.len(),
        ours.len()
    );
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
