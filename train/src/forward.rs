//! A network that is only run, not trained.

use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use zoo_engine::Plan;

/// Runs a network in validation mode: by plans of zoo-engine where it is told to, by Burn's own
/// kernels otherwise.
pub(crate) struct Forward<'a, M, const D: usize> {
    model: &'a M,
    device: &'a Device,
    forward: fn(&M, Tensor<4>) -> Tensor<D>,
    /// The threads of a plan; none where Burn computes.
    threads: Option<usize>,
    /// By the images' shape.
    plans: HashMap<[usize; 4], Plan>,
}

impl<'a, M: Module, const D: usize> Forward<'a, M, D> {
    pub(crate) fn new(
        model: &'a M,
        device: &'a Device,
        threads: Option<usize>,
        forward: fn(&M, Tensor<4>) -> Tensor<D>,
    ) -> Self {
        Self { model, device, forward, threads, plans: HashMap::new() }
    }

    /// What comes of images, row-major in a shape.
    pub(crate) fn run(&mut self, images: Vec<f32>, shape: [usize; 4]) -> Tensor<D> {
        if let Some(plan) = self.plan(shape) {
            let dims: Vec<usize> = plan.output_shapes().flatten().collect();
            let mut outputs = plan.run(&images).expect("the plan is for this shape");
            return Tensor::from_data(TensorData::new(outputs.remove(0), dims), self.device);
        }
        let images = Tensor::from_data(TensorData::new(images, shape), self.device);
        (self.forward)(self.model, images)
    }

    /// None where Burn computes, as where the engine has no kernel.
    fn plan(&mut self, shape: [usize; 4]) -> Option<&mut Plan> {
        let threads = self.threads?;
        if !self.plans.contains_key(&shape) {
            match Plan::compile(self.model, shape, threads, self.forward) {
                Ok(plan) => self.plans.insert(shape, plan),
                Err(_) => {
                    self.threads = None;
                    return None;
                }
            };
        }
        self.plans.get_mut(&shape)
    }
}
