//! Runs your own Burn model with Burn and with a plan.
//!
//! ```sh
//! cargo run --release --example your_model
//! ```
//!
//! In this workspace Burn's Flex is built without optimization
//! (`docs/decisions/0002-build-time.md`), so the times printed here favor the plan. Compare them in
//! your own project.

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Distribution, Tensor};
use zoo_engine::Plan;

/// Some convolutions and a classifier. The model does not depend on the engine.
#[derive(Module, Debug)]
struct Net {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    classifier: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let channels = [3, 64, 128, 256];
        let conv = |pair: &[usize]| {
            Conv2dConfig::new([pair[0], pair[1]], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_stride([2, 2])
                .init(device)
        };
        Self {
            convs: channels.windows(2).map(conv).collect(),
            norms: channels[1..].iter().map(|&c| BatchNormConfig::new(c).init(device)).collect(),
            classifier: LinearConfig::new(256, 10).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let layers = self.convs.iter().zip(&self.norms);
        let x = layers.fold(images, |x, (conv, norm)| relu(norm.forward(conv.forward(x))));
        self.classifier.forward(adaptive_avg_pool2d(x, [1, 1]).flatten(1, 3))
    }
}

fn main() -> Result<(), zoo_engine::Error> {
    let device = Device::flex();
    let net = Net::new(&device);
    let shape = [1, 3, 224, 224];
    let images = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let by_burn = net.forward(images.clone()).into_data();

    // Compile once for each shape of images.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut plan = Plan::compile(&net, shape, threads, |net, images| net.forward(images))?;
    let by_plan = plan.run_tensor(images.clone())?.remove(0);
    by_burn.assert_approx_eq::<f32>(&by_plan, burn::tensor::Tolerance::default());

    let best = |run: &mut dyn FnMut()| -> Duration {
        let time = |_| {
            let start = Instant::now();
            run();
            start.elapsed()
        };
        (0..20).map(time).min().unwrap_or_default()
    };
    let burn = best(&mut || drop(net.forward(images.clone()).into_data()));
    let planned = best(&mut || drop(plan.run_tensor(images.clone())));
    println!("Burn {burn:.2?}, plan {planned:.2?}");
    Ok(())
}
