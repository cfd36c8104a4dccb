//! How a network is run: by a plan of zoo-engine on the processor, by Burn everywhere else.

use std::collections::HashMap;

use anyhow::Context;
use burn::tensor::{Device, Tensor, TensorData};
use zoo_engine::Plan;
use zoo_models::{Logits, Network};

use crate::device::{self, Backend};
use crate::model;

/// A network that is ready to be run.
pub struct Runner<'n> {
    network: &'n Network,
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

impl<'n> Runner<'n> {
    /// Runs a network that lives on the backend's device.
    pub fn new(network: &'n Network, backend: Backend, device: &Device) -> Self {
        let way = match backend {
            Backend::Cpu => Way::Engine(HashMap::new()),
            _ => Way::Burn { reason: None },
        };
        Self { network, device: device.clone(), threads: device::threads(), way }
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
        let images = Tensor::<4>::from_data(TensorData::new(images, shape), &self.device);
        Ok(model::forward(self.network, images)?.1.into_data().convert::<f32>())
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
        let images = Tensor::<4>::from_data(TensorData::new(images, shape), &self.device);
        let (features, logits) = model::forward(self.network, images)?;
        Ok((features.into_data().convert::<f32>(), logits.into_data().convert::<f32>()))
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
            model::check_size(self.network, shape)?;
            let compiled =
                crate::catch(|| compile(self.network, shape, self.threads, with_features));
            let compiled = compiled.with_context(|| model::cannot_take(shape))?;
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
