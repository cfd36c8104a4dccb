//! Every architecture of the zoo under one type, by name.
//!
//! [`VARIANTS`] is the table that listings, documents and tests go through; [`variant`] looks a
//! name up; [`Config::init`] builds the network as a [`Classifier`]. This is the only crate
//! that names architectures: a new one is a crate of its own and a line in
//! `architectures!` below.

use std::sync::LazyLock;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use zoo_core::{Family, ImageClassifier, Variant};

macro_rules! architectures {
    ($($krate:ident: $model:ident, $config:ident;)*) => {
        /// A network of any architecture.
        #[derive(Module, Debug)]
        pub enum Classifier {
            $(
                #[doc = concat!("See the crate `", stringify!($krate), "`.")]
                $model($krate::$model),
            )*
        }

        /// How to build a network of any architecture.
        #[derive(Debug, Clone)]
        pub enum Config {
            $(
                #[doc = concat!("See the crate `", stringify!($krate), "`.")]
                $model($krate::$config),
            )*
        }

        /// The architectures, in the order of their publication.
        pub const FAMILIES: &[Family] = &[$($krate::FAMILY),*];

        /// Every variant that has a row in its architecture's table.
        pub static VARIANTS: LazyLock<Vec<Variant<Config>>> = LazyLock::new(|| {
            let mut variants = Vec::new();
            $(
                let rows = $krate::VARIANTS.iter().cloned();
                variants.extend(rows.map(|row| row.map(Config::$model)));
            )*
            variants
        });

        fn find(name: &str) -> Option<Variant<Config>> {
            None$(.or_else(|| Some($krate::variant(name)?.map(Config::$model))))*
        }

        impl Config {
            /// Builds the network with fresh weights, which are drawn when they are first used.
            pub fn init(&self, device: &Device) -> Classifier {
                match self {
                    $(Self::$model(config) => Classifier::$model(config.init(device)),)*
                }
            }

            /// The same for another number of classes.
            pub fn with_num_classes(self, num_classes: usize) -> Self {
                match self {
                    $(Self::$model(config) => Self::$model(config.with_num_classes(num_classes)),)*
                }
            }

            /// The same for images of another number of channels.
            pub fn with_in_channels(self, in_channels: usize) -> Self {
                match self {
                    $(Self::$model(config) => Self::$model(config.with_in_channels(in_channels)),)*
                }
            }

            /// Number of classes to tell apart.
            pub fn num_classes(&self) -> usize {
                match self {
                    $(Self::$model(config) => config.num_classes,)*
                }
            }

            /// Channels of the images.
            pub fn in_channels(&self) -> usize {
                match self {
                    $(Self::$model(config) => config.in_channels,)*
                }
            }

            /// The architecture.
            pub fn family(&self) -> &'static Family {
                match self {
                    $(Self::$model(_) => &$krate::FAMILY,)*
                }
            }
        }

        impl ImageClassifier for Classifier {
            fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
                match self {
                    $(Self::$model(model) => model.forward_features(images),)*
                }
            }

            fn forward_head(&self, features: Tensor<4>) -> Tensor<2> {
                match self {
                    $(Self::$model(model) => model.forward_head(features),)*
                }
            }

            fn num_features(&self) -> usize {
                match self {
                    $(Self::$model(model) => model.num_features(),)*
                }
            }

            fn reset_classifier(&mut self, num_classes: usize, device: &Device) {
                match self {
                    $(Self::$model(model) => model.reset_classifier(num_classes, device),)*
                }
            }
        }
    };
}

architectures! {
    zoo_lenet: LeNet, LeNetConfig;
    zoo_resnet: ResNet, ResNetConfig;
    zoo_squeezenet: SqueezeNet, SqueezeNetConfig;
    zoo_mobilenet_v2: MobileNetV2, MobileNetV2Config;
    zoo_efficientnet: EfficientNet, EfficientNetConfig;
}

/// Looks up a variant by name, in the tables first.
///
/// # Errors
///
/// When no architecture has a network of that name.
pub fn variant(name: &str) -> Result<Variant<Config>, UnknownVariant> {
    find(name).ok_or_else(|| {
        let mut near: Vec<(f64, &'static str)> = VARIANTS
            .iter()
            .map(|variant| (strsim::jaro_winkler(variant.name, name), variant.name))
            .filter(|(similarity, _)| *similarity > 0.8)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        UnknownVariant {
            name: name.to_owned(),
            near: near.into_iter().take(3).map(|(_, name)| name).collect(),
        }
    })
}

/// There is no network of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVariant {
    /// The name that was asked for.
    pub name: String,
    /// Names that look like it, the most similar first.
    pub near: Vec<&'static str>,
}

impl std::fmt::Display for UnknownVariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no model is called `{}`\nhint: ", self.name)?;
        match self.near.as_slice() {
            [] => write!(f, "`zoo list` shows all of them"),
            near => write!(f, "did you mean {}?", near.join(", ")),
        }
    }
}

impl std::error::Error for UnknownVariant {}
