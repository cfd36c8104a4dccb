//! How a network is run: by a plan of zoo-engine on the processor, by Burn everywhere else.
//!
//! A graphics card may have memory for a network, but not bind its largest matrix to a kernel:
//! WebGPU promises 128 MiB, and the first fully connected layer of VGG has 411 MB. There the card
//! computes the features, and the processor the logits from them.

use std::collections::HashMap;

use anyhow::{Context, anyhow, ensure};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use zoo_core::{Parameter, parameters};
use zoo_engine::Plan;
use zoo_models::{Logits, Network};

use crate::device::{self, Backend};
use crate::output::channels;

/// A network that is ready to be run.
pub struct Runner {
    network: Network,
    /// The network on the processor, where the device does not hold its head.
    head: Option<Network>,
    backend: Backend,
    device: Device,
    threads: usize,
    way: Way,
}

enum Way {
    /// Plans by the images' shape, and whether they give the features too.
    Engine(HashMap<([usize; 4], bool), Plan>),
    /// Burn's own kernels.
    Burn {
        /// What the engine has no kernel for.
        reason: Option<String>,
    },
}

impl Runner {
    /// Moves a network to a backend's device, to run there.
    pub fn new(network: Network, backend: Backend, device: &Device) -> Self {
        let way = match backend {
            Backend::Cpu => Way::Engine(HashMap::new()),
            _ => Way::Burn { reason: None },
        };
        let (network, head) = match too_large(&network, backend) {
            Some((Parameter { path, shape, .. }, limit)) => {
                eprintln!(
                    "note: {path} has {} MB, and {} takes {} MB in one tensor here; cpu computes \
                     the logits from the features",
                    bytes(&shape) / 1_000_000,
                    backend.name(),
                    limit / 1_000_000
                );
                (network.clone().map(&mut LeaveOut { over: limit }), Some(network))
            }
            None => (network, None),
        };
        let (network, device) = (network.to_device(device), device.clone());
        Self { network, head, backend, device, threads: device::threads(), way }
    }

    /// What computes: `engine` or `burn`.
    pub fn computed_by(&self) -> &'static str {
        match self.way {
            Way::Engine(_) => "engine",
            Way::Burn { .. } => "burn",
        }
    }

    /// Why the engine does not run the network, where it was asked to.
    pub fn reason(&self) -> Option<&str> {
        match &self.way {
            Way::Engine(_) => None,
            Way::Burn { reason } => reason.as_deref(),
        }
    }

    /// The logits of images, row-major in this shape.
    ///
    /// # Errors
    ///
    /// When the network can't take images of that shape.
    pub fn logits(&mut self, images: Vec<f32>, shape: [usize; 4]) -> anyhow::Result<TensorData> {
        if let Some(plan) = self.plan(shape, false)? {
            let values = plan.run(&images)?.pop().expect("a plan gives the logits");
            return Ok(data(values, self.logits_shape(shape)));
        }
        self.by_burn(images, shape, |_, logits| logits.into_data().convert::<f32>())
    }

    /// The features and the logits of images, row-major in this shape.
    ///
    /// # Errors
    ///
    /// When the network can't take images of that shape.
    pub fn forward(
        &mut self,
        images: Vec<f32>,
        shape: [usize; 4],
    ) -> anyhow::Result<(TensorData, TensorData)> {
        if let Some(plan) = self.plan(shape, true)? {
            let features_shape = plan.output_shapes().next().unwrap_or_default();
            let mut outputs = plan.run(&images)?.into_iter();
            let mut next = || outputs.next().expect("a plan gives features and logits");
            let features = TensorData::new(next(), features_shape);
            return Ok((features, data(next(), self.logits_shape(shape))));
        }
        self.by_burn(images, shape, |features, logits| {
            (features.into_data().convert::<f32>(), logits.into_data().convert::<f32>())
        })
    }

    /// What is read of features and logits that Burn computes.
    fn by_burn<T>(
        &self,
        images: Vec<f32>,
        shape: [usize; 4],
        read: impl FnOnce(Tensor<4>, Logits) -> T,
    ) -> anyhow::Result<T> {
        check_size(&self.network, shape)?;
        let cpu = Backend::Cpu.device()?;
        // A backend that computes on its own time says at the reading what went wrong.
        let result = crate::catch(|| {
            let images = Tensor::<4>::from_data(TensorData::new(images, shape), &self.device);
            let features = self.network.forward_features(images);
            let logits = match &self.head {
                Some(head) => head.forward_head(features.clone().to_device(&cpu)),
                None => self.network.forward_head(features.clone()),
            };
            read(features, logits)
        });
        result.map_err(|error| {
            let [batch, ..] = shape;
            match self.backend.largest_tensor() {
                Some(limit) if error.to_string().contains("can't allocate buffer") => anyhow!(
                    "a layer's values for {batch} images are more than the {} MB that {} takes \
                     in one tensor here\nhint: fewer images at once, or --backend cpu",
                    limit / 1_000_000,
                    self.backend.name()
                ),
                _ => error.context(cannot_take(shape)),
            }
        })
    }

    /// The plan for images of a shape, unless Burn runs the network.
    ///
    /// # Errors
    ///
    /// When the network can't take images of that shape.
    pub fn plan(
        &mut self,
        shape: [usize; 4],
        with_features: bool,
    ) -> anyhow::Result<Option<&mut Plan>> {
        let Way::Engine(plans) = &self.way else { return Ok(None) };
        if !plans.contains_key(&(shape, with_features)) {
            check_size(&self.network, shape)?;
            let compiled =
                crate::catch(|| compile(&self.network, shape, self.threads, with_features));
            let compiled = compiled.with_context(|| cannot_take(shape))?;
            match compiled {
                Ok(plan) => {
                    if let Way::Engine(plans) = &mut self.way {
                        plans.insert((shape, with_features), plan);
                    }
                }
                Err(error) => self.way = Way::Burn { reason: Some(error.to_string()) },
            }
        }
        Ok(match &mut self.way {
            Way::Engine(plans) => plans.get_mut(&(shape, with_features)),
            Way::Burn { .. } => None,
        })
    }

    /// A plan gives each image's logits in a row.
    fn logits_shape(&self, images: [usize; 4]) -> LogitsShape {
        let [batch, _, height, width] = images;
        match self.network {
            Network::Classifier(_) => LogitsShape::OfImages { batch },
            Network::Segmenter(_) => LogitsShape::OfPixels { batch, height, width },
        }
    }
}

/// The first parameter that a backend does not hold in one tensor, and how many bytes it would.
fn too_large(network: &Network, backend: Backend) -> Option<(Parameter, u64)> {
    let limit = backend.largest_tensor()?;
    let mut parameters = parameters(network).into_iter();
    let parameter = parameters.find(|parameter| bytes(&parameter.shape) > limit)?;
    Some((parameter, limit))
}

fn bytes(shape: &[usize]) -> u64 {
    (size_of::<f32>() * shape.iter().product::<usize>()) as u64
}

/// Refuses a network that a backend can't hold as a whole, for what can't be shared with the
/// processor.
///
/// # Errors
///
/// When it can't; it says which parameter is too large.
pub fn ensure_held(network: &Network, backend: Backend) -> anyhow::Result<()> {
    let Some((Parameter { path, shape, .. }, limit)) = too_large(network, backend) else {
        return Ok(());
    };
    Err(anyhow!(
        "{path} of this network has {} MB, and {} takes {} MB in one tensor here\nhint: \
         --backend cpu",
        bytes(&shape) / 1_000_000,
        backend.name(),
        limit / 1_000_000
    ))
}

/// Leaves parameters out that are larger than so many bytes.
struct LeaveOut {
    over: u64,
}

impl ModuleMapper for LeaveOut {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if bytes(&param.lazy_shape()) <= self.over {
            return param;
        }
        let nothing = Tensor::zeros([1; D], &param.lazy_device());
        Param::initialized(param.id, nothing)
    }
}

/// What is said when a network panics on images of a shape.
fn cannot_take([_, count, height, width]: [usize; 4]) -> String {
    format!("the network can't take images of {}, {height}x{width} pixels", channels(count))
}

/// Refuses images that are too small for a network.
///
/// # Errors
///
/// When they are; it says how large they have to be.
fn check_size(network: &Network, [.., height, width]: [usize; 4]) -> anyhow::Result<()> {
    let smallest = network.min_size();
    ensure!(
        height.min(width) >= smallest,
        "images of {height}x{width} pixels are too small for this network\n\
         hint: it takes {smallest}x{smallest} and larger"
    );
    Ok(())
}

enum LogitsShape {
    OfImages { batch: usize },
    OfPixels { batch: usize, height: usize, width: usize },
}

fn data(values: Vec<f32>, shape: LogitsShape) -> TensorData {
    let length = values.len();
    match shape {
        LogitsShape::OfImages { batch } => TensorData::new(values, [batch, length / batch]),
        LogitsShape::OfPixels { batch, height, width } => {
            let classes = length / (batch * height * width);
            TensorData::new(values, [batch, classes, height, width])
        }
    }
}

/// Compiles a network's plan for images of a shape.
///
/// # Errors
///
/// When the engine has no kernel for one of the network's operations.
///
/// # Panics
///
/// When the network can't take images of that shape.
pub fn compile(
    network: &Network,
    shape: [usize; 4],
    threads: usize,
    with_features: bool,
) -> Result<Plan, zoo_engine::Error> {
    let rows = |logits: Logits| match logits {
        Logits::OfImages(logits) => logits,
        Logits::OfPixels(logits) => logits.flatten(1, 3),
    };
    if with_features {
        Plan::compile(network, shape, threads, |network, images| {
            let features = network.forward_features(images);
            (features.clone(), rows(network.forward_head(features)))
        })
    } else {
        Plan::compile(network, shape, threads, |network, images| rows(network.forward(images)))
    }
}
