//! Where Burn's models and tensors come in.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use zoo_graph::Outputs;
use zoo_simd::Isa;

use crate::graph::Graph;
use crate::{Error, Plan};

impl Plan {
    /// Compiles what a model does with images of a shape, for so many threads.
    ///
    /// # Errors
    ///
    /// When the model uses an operation that has no kernel here.
    ///
    /// # Panics
    ///
    /// When the model's forward pass does, as for images that are too small, or when `threads`
    /// is 0.
    pub fn compile<M: Module, O: Outputs>(
        model: &M,
        shape: [usize; 4],
        threads: usize,
        forward: impl FnOnce(&M, Tensor<4>) -> O,
    ) -> Result<Self, Error> {
        assert!(threads > 0, "a plan needs a thread");
        let recorded = zoo_graph::Graph::of_model(model, shape, forward)?;
        Self::of_graph(Graph::of(recorded)?, Isa::best(), threads)
    }

    /// [`run`](Self::run) for images in a tensor; the outputs come as tensors' data.
    ///
    /// # Errors
    ///
    /// When the shape isn't the one that the plan is for.
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
