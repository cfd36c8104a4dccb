use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::{Error, Outputs, Plan};

/// A module on a device, ready for inference.
///
/// On the CPU (Burn's Flex), the session compiles each computation into a [`Plan`], once for each shape of images. On
/// other devices, or if the engine lacks an operation of the module, Burn runs the module.
#[derive(Debug)]
pub struct Session<M> {
    module: M,
    device: Device,
    threads: usize,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    /// The plans, by the name of the computation and the shape of the images.
    Plans(HashMap<(&'static str, [usize; 4]), Plan>),
    /// The engine does not run on this device, or it is turned off.
    Unused,
    /// The engine lacks an operation.
    Lacking(Error),
}

impl<M: Module> Session<M> {
    /// Moves a module to a device. On the CPU it runs with [`default_threads`].
    pub fn new(module: M, device: &Device) -> Self {
        let engine = match is_cpu(device) {
            true => Engine::Plans(HashMap::new()),
            false => Engine::Unused,
        };
        let module = module.valid().to_device(device);
        Self { module, device: device.clone(), threads: default_threads(), engine }
    }

    /// Returns this session without the engine: Burn always runs the module. This is for comparisons.
    #[must_use]
    pub fn without_engine(self) -> Self {
        Self { engine: Engine::Unused, ..self }
    }

    /// Returns the module.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// Returns the module, on the session's device.
    pub fn into_module(self) -> M {
        self.module
    }

    /// Returns the device of the module.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the engine runs the module. This can become false when a plan is compiled.
    pub fn has_engine(&self) -> bool {
        matches!(self.engine, Engine::Plans(_))
    }

    /// Returns the error that names the operation that the engine lacks. `None` if the engine runs the module or is
    /// not used.
    pub fn lacking(&self) -> Option<&Error> {
        match &self.engine {
            Engine::Lacking(error) => Some(error),
            _ => None,
        }
    }

    /// Computes `forward` on `images`, row-major with shape `[N, C, H, W]`. The session caches its plans under `name`.
    ///
    /// # Panics
    ///
    /// When the number of values is not the product of `shape`, or when `forward` panics, as networks
    /// do on images that are too small.
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

    /// Computes a `forward` with one output, like [`run`](Self::run). Returns a tensor on the session's device.
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

    /// Returns the plan for images of a shape, and compiles it at the first call. `None` if Burn runs the module.
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

/// Whether the engine runs on this device.
fn is_cpu(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return *device == Device::flex();
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}

/// The number of threads that [`set_default_threads`] set; 0 for one per core.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of threads of a new [`Session`]: that of [`set_default_threads`], or one per core.
pub fn default_threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// Sets the number of threads of each new [`Session`] in this process; 0 for one per core.
pub fn set_default_threads(threads: usize) {
    THREADS.store(threads, Ordering::Relaxed);
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::tensor::{Distribution, activation::relu};

    use super::*;

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

    #[test]
    fn burn_runs_a_module_with_an_operation_that_the_engine_lacks() {
        let device = Device::flex();
        let conv = Conv2dConfig::new([1, 1], [1, 1]).init(&device);
        let mut session = Session::new(conv, &device);
        let sorted = session.run("sort", vec![3.0, 1.0, 2.0, 0.0], [1, 1, 2, 2], |_, x| x.sort(3));
        assert_eq!(sorted[0].iter::<f32>().collect::<Vec<_>>(), [1.0, 3.0, 0.0, 2.0]);
        assert!(!session.has_engine() && session.lacking().is_some());
    }
}
