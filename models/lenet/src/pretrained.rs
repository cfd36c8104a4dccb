//! The network's name and its checkpoints' keys.

use zoo_core::{Family, KeyLayout, Paper, Variant};

use crate::LeNetConfig;

/// What the literature calls these networks.
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

/// The names that most people's LeNet-5 gives its layers, and this one too.
#[rustfmt::skip]
const PYTORCH: &[KeyLayout] = &[KeyLayout {
    name: "pytorch",
    rules: &[
        ("conv1", "conv1"),
        ("conv2", "conv2"),
        ("fc1", "fc1"),
        ("fc2", "fc2"),
        ("fc3", "fc3"),
    ],
    ..KeyLayout::EMPTY
}];

/// The only variant. The paper's 60,000 parameters become 61,706 where C3 sees all of S2.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<LeNetConfig>] = &[
    Variant {
        name: "lenet5",
        config: LeNetConfig { in_channels: 1, num_classes: 10 },
        size: 32, params: Some(61_706), gmacs: Some(0.000), layouts: PYTORCH, weights: &[],
    },
];

/// The variant with a name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<LeNetConfig>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
