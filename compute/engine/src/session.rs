use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::{Error, Outputs, Plan};

/// A module on a device, ready to be run for inference.
///
/// On the processor (Burn's Flex), each computation is compiled into a [`Plan`] once for each shape of images. On other
/// devices, and where the engine has no kernel for an operation of the module, Burn's kernels run it.
#[derive(Debug)]
pub struct Session<M> {
    module: M,
    device: Device,
    threads: usize,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    /// The plans by what they compute and the images' shape.
    Plans(HashMap<(&'static str, [usize; 4]), Plan>),
    /// The engine does not run on this device, or is not wanted.
    Unused,
    /// The engine lacks a kernel.
    Lacking(Error),
}

impl<M: Module> Session<M> {
    /// Moves a module to a device, to run there with [`default_threads`].
    pub fn new(module: M, device: &Device) -> Self {
        let engine = match is_processor(device) {
            true => Engine::Plans(HashMap::new()),
            false => Engine::Unused,
        };
        let module = module.valid().to_device(device);
        Self { module, device: device.clone(), threads: default_threads(), engine }
    }

    /// The same without the engine: Burn's kernels run the module everywhere, to compare both.
    #[must_use]
    pub fn without_engine(self) -> Self {
        Self { engine: Engine::Unused, ..self }
    }

    /// The module.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// The module, on the session's device.
    pub fn into_module(self) -> M {
        self.module
    }

    /// The device that it is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether plans of the engine run it, as far as that is known before one is compiled.
    pub fn has_engine(&self) -> bool {
        matches!(self.engine, Engine::Plans(_))
    }

    /// The operation that the engine lacks, where Burn runs the module on the processor.
    pub fn lacking(&self) -> Option<&Error> {
        match &self.engine {
            Engine::Lacking(error) => Some(error),
            _ => None,
        }
    }

    /// Computes `forward` of images, which are row-major in their shape `[N, C, H, W]`. Its plans are kept under `name`.
    ///
    /// # Panics
    ///
    /// When there are not as many values as the shape says, or when `forward` panics, as networks do
    /// on images that are too small.
    pub fn run<O: Outputs>(
        &mut self,
        name: &'static str,
        images: Vec<f32>,
        shape: [usize; 4],
        forward: impl Fn(&M, Tensor<4>) -> O,
    ) -> Vec<TensorData> {
        if let Some(plan) = self.plan(name, shape, &forward) {
            let outputs = plan.run(&images).unwrap_or_else(|error| panic!("{error}"));
            let shapes = plan.output_shapes();
            return outputs
                .into_iter()
                .zip(shapes)
                .map(|(out, to)| TensorData::new(out, to))
                .collect();
        }
        let images = Tensor::from_data(TensorData::new(images, shape), &self.device);
        forward(&self.module, images).data()
    }

    /// The same for one output, as a tensor on the session's device.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn run_tensor<const D: usize>(
        &mut self,
        name: &'static str,
        images: Vec<f32>,
        shape: [usize; 4],
        forward: impl Fn(&M, Tensor<4>) -> Tensor<D>,
    ) -> Tensor<D> {
        if self.plan(name, shape, &forward).is_some() {
            let output = self.run(name, images, shape, forward).remove(0);
            return Tensor::from_data(output, &self.device);
        }
        let images = Tensor::from_data(TensorData::new(images, shape), &self.device);
        forward(&self.module, images)
    }

    /// The plan for images of a shape, which is compiled where it is new; none where Burn runs the module.
    ///
    /// # Panics
    ///
    /// When `forward` panics on images of this shape.
    pub fn plan<O: Outputs>(
        &mut self,
        name: &'static str,
        shape: [usize; 4],
        forward: impl Fn(&M, Tensor<4>) -> O,
    ) -> Option<&mut Plan> {
        let Engine::Plans(plans) = &self.engine else { return None };
        if !plans.contains_key(&(name, shape)) {
            let compiled = Plan::compile(&self.module, shape, self.threads, forward);
            match (compiled, &mut self.engine) {
                (Ok(plan), Engine::Plans(plans)) => {
                    plans.insert((name, shape), plan);
                }
                (Err(error), engine) => *engine = Engine::Lacking(error),
                (Ok(_), _) => {}
            }
        }
        match &mut self.engine {
            Engine::Plans(plans) => plans.get_mut(&(name, shape)),
            _ => None,
        }
    }
}

/// Whether the engine computes where this device does.
fn is_processor(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return *device == Device::flex();
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}

/// The threads that were asked for; 0 where nobody asked.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The threads of a new [`Session`]: as many as [`set_default_threads`] said, or else one per core.
pub fn default_threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// Says how many threads each new [`Session`] of this process has; 0 for one per core.
pub fn set_default_threads(threads: usize) {
    THREADS.store(threads, Ordering::Relaxed);
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::tensor::{Distribution, activation::relu};

    use super::*;

    /// What a plan gives is what Burn gives, whatever is computed and whatever the shape is.
    #[test]
    fn a_session_computes_what_burn_computes() {
        let device = Device::flex();
        let conv = Conv2dConfig::new([3, 8], [3, 3]).init(&device);
        let mut session = Session::new(conv.clone(), &device);
        for shape in [[1, 3, 9, 9], [2, 3, 9, 9], [1, 3, 12, 7]] {
            let images = Tensor::<4>::random(shape, Distribution::Default, &device);
            let values: Vec<f32> = images.to_data().iter().collect();
            let relued =
                session.run("relu", values.clone(), shape, |conv, x| relu(conv.forward(x)));
            let both = session.run("both", values, shape, |conv: &Conv2d, x| {
                (conv.forward(x.clone()), relu(conv.forward(x)))
            });
            let expected = conv.forward(images);
            expected.to_data().assert_approx_eq::<f32>(&both[0], Default::default());
            relu(expected).to_data().assert_approx_eq::<f32>(&both[1], Default::default());
            assert_eq!(relued[0], both[1]);
        }
        assert!(session.has_engine() && session.lacking().is_none());
    }

    /// Where the engine has no kernel, Burn computes, and the session says why.
    #[test]
    fn burn_computes_what_the_engine_lacks() {
        let device = Device::flex();
        let conv = Conv2dConfig::new([1, 1], [1, 1]).init(&device);
        let mut session = Session::new(conv, &device);
        let sorted = session.run("sort", vec![3.0, 1.0, 2.0, 0.0], [1, 1, 2, 2], |_, x| x.sort(3));
        assert_eq!(sorted[0].iter::<f32>().collect::<Vec<_>>(), [1.0, 3.0, 0.0, 2.0]);
        assert!(!session.has_engine() && session.lacking().is_some());
    }
}
