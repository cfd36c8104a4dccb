//! The variants and the key layouts of their checkpoints.

use zoo_core::layers::Activation;
use zoo_core::{Family, KeyLayout, Paper, Variant};

use crate::{LeNetConfig, PoolKind};

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "lenet",
    title: "LeNet",
    paper: Paper {
        authors: "LeCun et al.",
        year: 1998,
        title: "Gradient-Based Learning Applied to Document Recognition",
        url: "http://vision.stanford.edu/cs598_spring07/papers/Lecun98.pdf",
    },
};

pub(crate) const PAPER: LeNetConfig = LeNetConfig {
    activation: Activation::Tanh,
    pool: PoolKind::Average,
    map_size: 5,
    in_channels: 1,
    num_classes: 10,
};
const RELU: LeNetConfig =
    LeNetConfig { activation: Activation::Relu, pool: PoolKind::Max, ..PAPER };

/// Keys and shapes determine the size of the images, but not the activation and the pooling. The names
/// of files of networks with ReLU must say it: `lenet5_relu`, `lenet5_28_relu`.
const LAYOUTS: &[KeyLayout] = &[PYTORCH, FEATURES];
const LAYOUTS_28: &[KeyLayout] = &[PYTORCH, FEATURES, SEQUENTIAL];
const RELU_LAYOUTS: &[KeyLayout] = &[named("lenet5_relu", PYTORCH), named("lenet5_relu", FEATURES)];
const RELU_LAYOUTS_28: &[KeyLayout] = &[
    named("lenet5_28_relu", PYTORCH),
    named("lenet5_28_relu", FEATURES),
    named("lenet5_28_relu", SEQUENTIAL),
];

const fn named(file_prefix: &'static str, layout: KeyLayout) -> KeyLayout {
    KeyLayout { file_prefix, ..layout }
}

/// The most common names of the layers, which this network also has.
const PYTORCH: KeyLayout = KeyLayout {
    name: "pytorch",
    rules: &layers(["conv1", "conv2", "fc1", "fc2", "fc3"]),
    ..KeyLayout::EMPTY
};

/// The keys of implementations that name the layers as in AlexNet and VGG.
const FEATURES: KeyLayout = KeyLayout {
    name: "features",
    rules: &layers(["features.0", "features.3", "classifier.0", "classifier.2", "classifier.4"]),
    ..KeyLayout::EMPTY
};

/// The keys of a single list of layers, including activations, poolings and the flattening.
const SEQUENTIAL: KeyLayout = KeyLayout {
    name: "sequential",
    rules: &layers(["0", "3", "7", "9", "11"]),
    ..KeyLayout::EMPTY
};

const fn layers(keys: [&'static str; 5]) -> [(&'static str, &'static str); 5] {
    [("conv1", keys[0]), ("conv2", keys[1]), ("fc1", keys[2]), ("fc2", keys[3]), ("fc3", keys[4])]
}

/// The paper's network, whose 60,000 parameters become 61,706 because C3 takes all channels of S2; the
/// one for images of 28×28; and both with ReLU and max pooling.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<LeNetConfig>] = &[
    Variant {
        name: "lenet5",
        config: PAPER,
        size: 32, params: Some(61_706), gmacs: Some(0.0004), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "lenet5_relu",
        config: RELU,
        size: 32, params: Some(61_706), gmacs: Some(0.0004), layouts: RELU_LAYOUTS, weights: &[],
    },
    Variant {
        name: "lenet5_28",
        config: LeNetConfig { map_size: 4, ..PAPER },
        size: 28, params: Some(44_426), gmacs: Some(0.0003), layouts: LAYOUTS_28, weights: &[],
    },
    Variant {
        name: "lenet5_28_relu",
        config: LeNetConfig { map_size: 4, ..RELU },
        size: 28, params: Some(44_426), gmacs: Some(0.0003), layouts: RELU_LAYOUTS_28, weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<LeNetConfig>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
