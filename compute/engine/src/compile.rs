//! The interface to Burn's models and tensors.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use zoo_graph::Outputs;
use zoo_simd::Isa;

use crate::graph::Graph;
use crate::{Error, Plan};

impl Plan {
    /// Compiles a model's forward pass for images of shape `[N, C, H, W]` and a number of threads.
    ///
    /// # Errors
    ///
    /// When the model can't be captured, or uses an operation that the engine lacks.
    ///
    /// # Panics
    ///
    /// When `forward` panics, as it does for images that are too small, or when `threads` is 0.
    pub fn compile<M: Module, O: Outputs>(
        model: &M,
        shape: [usize; 4],
        threads: usize,
        forward: impl FnOnce(&M, Tensor<4>) -> O,
    ) -> Result<Self, Error> {
        Self::of_recorded(zoo_graph::Graph::of_model(model, shape, forward)?, threads)
    }

    /// Compiles a recorded forward pass with the values of its parameters. Its outputs may be any
    /// values that its nodes compute.
    ///
    /// # Errors
    ///
    /// When the engine lacks an operation.
    ///
    /// # Panics
    ///
    /// When `threads` is 0.
    pub fn of_recorded(recorded: zoo_graph::Graph, threads: usize) -> Result<Self, Error> {
        assert!(threads > 0, "a plan needs a thread");
        Self::of_graph(Graph::of(recorded)?, Isa::best(), threads)
    }

    /// Runs the plan like [`run`](Self::run), on images in a tensor. Returns the outputs with their
    /// shapes.
    ///
    /// # Errors
    ///
    /// When the number of values is not that of the plan's shape.
    pub fn run_tensor(&mut self, images: Tensor<4>) -> Result<Vec<TensorData>, Error> {
        let images = images.into_data().convert::<f32>();
        let images = images.as_slice::<f32>().map_err(|error| Error::Capture {
            reason: format!("the images can't be read: {error:?}"),
        })?;
        let outputs = self.run(images)?;
        let shapes = self.output_shapes();
        Ok(outputs
            .into_iter()
            .zip(shapes)
            .map(|(out, shape)| TensorData::new(out, shape))
            .collect())
    }
}
