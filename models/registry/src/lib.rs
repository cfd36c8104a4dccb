//! All architectures of the zoo as one type, by name.
//!
//! [`VARIANTS`] is the table of all variants; [`variant`] looks up a name; [`Config::init`] builds the
//! network as a [`Network`]. Only this crate names architectures: a new one is a crate and a line in
//! `architectures!` below.
//! ```no_run
//! # use burn::tensor::Device;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::default();
//! let classifier = zoo_models::variant("resnet50")?.config.init(&device).into_classifier()?;
//! # let _ = classifier;
//! # Ok(())
//! # }
//! ```

mod published;

use std::sync::LazyLock;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use zoo_core::{
    Family, FeatureMaps, Head, HiddenLayer, ImageClassifier, ImageSegmenter, PyramidLevel,
    SearchSpace, TrainingOutput, Variant, WithMlpHead,
};

/// AE-CNN's search space: its genomes are names of networks.
pub static BLOCKS: &dyn SearchSpace = &zoo_ae_cnn::Blocks;

/// MnasNet's search space: its genomes are names of networks.
pub static MOBILE: &dyn SearchSpace = &zoo_mnasnet::Mobile;

pub use published::{UnknownName, all_published, published, with_weights};

macro_rules! architectures {
    (
        ($d:tt)
        classifiers { $($classifier:ident: $model:ident, $config:ident;)* }
        segmenters { $($segmenter:ident: $seg_model:ident, $seg_config:ident;)* }
    ) => {
        /// A network of any architecture that classifies images.
        #[expect(clippy::large_enum_variant, reason = "there are few networks in a program")]
        #[derive(Module, Debug)]
        pub enum Classifier {
            $(
                #[doc = concat!("See the crate `", stringify!($classifier), "`.")]
                $model(WithMlpHead<$classifier::$model>),
            )*
        }

        /// A network of any architecture that classifies pixels.
        #[derive(Module, Debug)]
        pub enum Segmenter {
            $(
                #[doc = concat!("See the crate `", stringify!($segmenter), "`.")]
                $seg_model($segmenter::$seg_model),
            )*
        }

        /// Configuration of a network of any architecture.
        #[expect(clippy::large_enum_variant, reason = "there are few configurations in a program")]
        #[derive(Debug, Clone)]
        pub enum Config {
            $(
                #[doc = concat!("See the crate `", stringify!($classifier), "`.")]
                $model($classifier::$config),
            )*
            $(
                #[doc = concat!("See the crate `", stringify!($segmenter), "`.")]
                $seg_model($segmenter::$seg_config),
            )*
        }

        /// The architectures: the classifiers in the order of their publication, then the
        /// segmenters.
        pub const FAMILIES: &[Family] = &[$($classifier::FAMILY,)* $($segmenter::FAMILY),*];

        /// All variants that have a row in their architecture's table.
        pub static VARIANTS: LazyLock<Vec<Variant<Config>>> = LazyLock::new(|| {
            let mut variants = Vec::new();
            $(variants.extend($classifier::VARIANTS.iter().cloned().map(|row| row.map(Config::$model)));)*
            $(variants.extend($segmenter::VARIANTS.iter().cloned().map(|row| row.map(Config::$seg_model)));)*
            variants
        });

        fn find(name: &str) -> Option<Variant<Config>> {
            None
                $(.or_else(|| Some($classifier::variant(name)?.map(Config::$model))))*
                $(.or_else(|| Some($segmenter::variant(name)?.map(Config::$seg_model))))*
        }

        impl Config {
            /// Builds the network with random weights. They are drawn at their first use.
            pub fn init(&self, device: &Device) -> Network {
                match self {
                    $(Self::$model(config) => {
                        Network::Classifier(Classifier::$model(WithMlpHead::new(config.init(device))))
                    })*
                    $(Self::$seg_model(config) => {
                        Network::Segmenter(Segmenter::$seg_model(config.init(device)))
                    })*
                }
            }

            /// Returns this configuration with another number of classes.
            pub fn with_num_classes(self, num_classes: usize) -> Self {
                match self {
                    $(Self::$model(config) => Self::$model(config.with_num_classes(num_classes)),)*
                    $(Self::$seg_model(config) => {
                        Self::$seg_model(config.with_num_classes(num_classes))
                    })*
                }
            }

            /// Returns this configuration with another number of channels of the images.
            pub fn with_in_channels(self, in_channels: usize) -> Self {
                match self {
                    $(Self::$model(config) => Self::$model(config.with_in_channels(in_channels)),)*
                    $(Self::$seg_model(config) => {
                        Self::$seg_model(config.with_in_channels(in_channels))
                    })*
                }
            }

            /// Number of classes.
            pub fn num_classes(&self) -> usize {
                match self {
                    $(Self::$model(config) => config.num_classes,)*
                    $(Self::$seg_model(config) => config.num_classes,)*
                }
            }

            /// Channels of the images.
            pub fn in_channels(&self) -> usize {
                match self {
                    $(Self::$model(config) => config.in_channels,)*
                    $(Self::$seg_model(config) => config.in_channels,)*
                }
            }

            /// Whether the network classifies images, not pixels.
            pub fn is_classifier(&self) -> bool {
                match self {
                    $(Self::$model(_) => true,)*
                    $(Self::$seg_model(_) => false,)*
                }
            }

            /// The architecture.
            pub fn family(&self) -> &'static Family {
                match self {
                    $(Self::$model(_) => &$classifier::FAMILY,)*
                    $(Self::$seg_model(_) => &$segmenter::FAMILY,)*
                }
            }
        }

        impl Classifier {
            /// Adds randomly initialized hidden layers after the classifier.
            fn with_hidden(self, hidden: &[HiddenLayer], num_classes: usize, device: &Device) -> Self {
                match self {
                    $(Self::$model(model) => {
                        Self::$model(model.with_hidden(hidden, num_classes, device))
                    })*
                }
            }
        }

        /// Evaluates an expression with the network of a classifier, of any architecture.
        macro_rules! of_classifier {
            ($d self:ident, $d network:ident => $d result:expr) => {
                match $d self {
                    $(Self::$model($d network) => $d result,)*
                }
            };
        }

        /// Evaluates an expression with the network of a segmenter, of any architecture.
        macro_rules! of_segmenter {
            ($d self:ident, $d network:ident => $d result:expr) => {
                match $d self {
                    $(Self::$seg_model($d network) => $d result,)*
                }
            };
        }
    };
}

architectures! {
    ($)
    classifiers {
        zoo_lenet: LeNet, LeNetConfig;
        zoo_alexnet: AlexNet, AlexNetConfig;
        zoo_vgg: Vgg, VggConfig;
        zoo_googlenet: GoogLeNet, GoogLeNetConfig;
        zoo_inception_v2: InceptionV2, InceptionV2Config;
        zoo_inception_v3: InceptionV3, InceptionV3Config;
        zoo_resnet: ResNet, ResNetConfig;
        zoo_inception_v4: InceptionV4, InceptionV4Config;
        zoo_inception_resnet_v2: InceptionResNetV2, InceptionResNetV2Config;
        zoo_squeezenet: SqueezeNet, SqueezeNetConfig;
        zoo_wide_resnet: WideResNet, WideResNetConfig;
        zoo_densenet: DenseNet, DenseNetConfig;
        zoo_xception: Xception, XceptionConfig;
        zoo_mobilenet_v1: MobileNetV1, MobileNetV1Config;
        zoo_shufflenet_v1: ShuffleNetV1, ShuffleNetV1Config;
        zoo_nasnet: NASNet, NASNetConfig;
        zoo_senet: SENet, SENetConfig;
        zoo_mobilenet_v2: MobileNetV2, MobileNetV2Config;
        zoo_shufflenet_v2: ShuffleNetV2, ShuffleNetV2Config;
        zoo_mnasnet: MnasNet, MnasNetConfig;
        zoo_ae_cnn: AeCnn, AeCnnConfig;
        zoo_mobilenet_v3: MobileNetV3, MobileNetV3Config;
        zoo_efficientnet: EfficientNet, EfficientNetConfig;
        zoo_ghostnet: GhostNet, GhostNetConfig;
    }
    segmenters {
        zoo_unet: UNet, UNetConfig;
    }
}

impl ImageClassifier for Classifier {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        of_classifier!(self, network => network.forward_maps(images, maps))
    }

    fn pyramid(&self) -> Vec<PyramidLevel> {
        of_classifier!(self, network => network.pyramid())
    }

    fn head(&self) -> &dyn Head {
        of_classifier!(self, network => network.head())
    }

    fn head_mut(&mut self) -> &mut dyn Head {
        of_classifier!(self, network => network.head_mut())
    }

    fn classifier_paths(&self) -> Vec<&'static str> {
        of_classifier!(self, network => network.classifier_paths())
    }

    fn forward_training(&self, images: Tensor<4>) -> TrainingOutput {
        of_classifier!(self, network => network.forward_training(images))
    }

    fn min_size(&self) -> usize {
        of_classifier!(self, network => network.min_size())
    }

    fn min_training_size(&self) -> usize {
        of_classifier!(self, network => network.min_training_size())
    }

    fn reset_classifier(&mut self, num_classes: usize, device: &Device) {
        of_classifier!(self, network => network.reset_classifier(num_classes, device));
    }

    fn attach_auxiliary(&mut self, device: &Device) {
        of_classifier!(self, network => network.attach_auxiliary(device));
    }
}

impl ImageSegmenter for Segmenter {
    fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        of_segmenter!(self, network => network.forward_features(images))
    }

    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        of_segmenter!(self, network => network.forward_maps(images, maps))
    }

    fn pyramid(&self) -> Vec<PyramidLevel> {
        of_segmenter!(self, network => network.pyramid())
    }

    fn forward_head(&self, features: Tensor<4>) -> Tensor<4> {
        of_segmenter!(self, network => network.forward_head(features))
    }

    fn min_size(&self) -> usize {
        of_segmenter!(self, network => network.min_size())
    }

    fn num_features(&self) -> usize {
        of_segmenter!(self, network => network.num_features())
    }

    fn classifier_paths(&self) -> Vec<&'static str> {
        of_segmenter!(self, network => network.classifier_paths())
    }

    fn reset_classifier(&mut self, num_classes: usize, device: &Device) {
        of_segmenter!(self, network => network.reset_classifier(num_classes, device));
    }
}

impl Config {
    /// Builds the network with these hidden layers in its classifier. A segmenter has no hidden layers.
    pub fn init_with_hidden(&self, hidden: &[HiddenLayer], device: &Device) -> Network {
        let Some(first) = hidden.first() else { return self.init(device) };
        match self.clone().with_num_classes(first.width).init(device) {
            Network::Classifier(network) => {
                Network::Classifier(network.with_hidden(hidden, self.num_classes(), device))
            }
            segmenter @ Network::Segmenter(_) => segmenter,
        }
    }
}

/// A network of any architecture.
#[expect(clippy::large_enum_variant, reason = "there are few networks in a program")]
#[derive(Module, Debug)]
pub enum Network {
    /// A network that classifies images.
    Classifier(Classifier),
    /// A network that classifies pixels.
    Segmenter(Segmenter),
}

/// The output of a [`Network`].
#[derive(Debug, Clone)]
pub enum Logits {
    /// Logits of each image, `[N, num_classes]`.
    Image(Tensor<2>),
    /// Logits of each pixel, `[N, num_classes, H, W]`.
    Pixel(Tensor<4>),
}

impl Logits {
    /// Returns the shape and the values of the logits.
    pub fn into_data(self) -> TensorData {
        match self {
            Self::Image(logits) => logits.into_data(),
            Self::Pixel(logits) => logits.into_data(),
        }
    }
}

impl Network {
    /// Computes the features.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → features `[N, num_features, h, w]`
    pub fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Classifier(network) => network.forward_features(images),
            Self::Segmenter(network) => network.forward_features(images),
        }
    }

    /// The maps that [`forward_pyramid`](Self::forward_pyramid) can compute, the finest first; of a
    /// segmenter those of the contracting path.
    pub fn pyramid(&self) -> Vec<PyramidLevel> {
        match self {
            Self::Classifier(network) => network.pyramid(),
            Self::Segmenter(network) => network.pyramid(),
        }
    }

    /// Computes the maps of the [`pyramid`](Self::pyramid) with these indices (0 is the finest), in the
    /// order of the network.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → maps `[N, channels, h, w]`
    ///
    /// # Panics
    ///
    /// When an index is not below the number of levels, or images are smaller than
    /// [`min_size`](Self::min_size).
    pub fn forward_pyramid(&self, images: Tensor<4>, levels: &[usize]) -> Vec<Tensor<4>> {
        match self {
            Self::Classifier(network) => network.forward_pyramid(images, levels),
            Self::Segmenter(network) => network.forward_pyramid(images, levels),
        }
    }

    /// Computes the logits `[N, num_classes]`, of a segmenter `[N, num_classes, H, W]`, from the features
    /// of [`forward_features`](Self::forward_features).
    pub fn forward_head(&self, features: Tensor<4>) -> Logits {
        match self {
            Self::Classifier(network) => Logits::Image(network.forward_head(features)),
            Self::Segmenter(network) => Logits::Pixel(network.forward_head(features)),
        }
    }

    /// Computes the logits of images `[N, C, H, W]`: `[N, num_classes]`, of a segmenter
    /// `[N, num_classes, H, W]`.
    ///
    /// # Panics
    ///
    /// When images are smaller than [`min_size`](Self::min_size).
    pub fn forward(&self, images: Tensor<4>) -> Logits {
        match self {
            Self::Classifier(network) => Logits::Image(network.forward(images)),
            Self::Segmenter(network) => Logits::Pixel(network.forward(images)),
        }
    }

    /// Smallest height and width of an image that the network can take, in pixels.
    pub fn min_size(&self) -> usize {
        match self {
            Self::Classifier(network) => network.min_size(),
            Self::Segmenter(network) => network.min_size(),
        }
    }

    /// The paths of the modules that belong to the classifier. A new classifier replaces them.
    pub fn classifier_paths(&self) -> Vec<&'static str> {
        match self {
            Self::Classifier(network) => network.classifier_paths(),
            Self::Segmenter(network) => network.classifier_paths(),
        }
    }

    /// Adds the auxiliary classifiers of the architecture, if it has any, randomly initialized.
    pub fn attach_auxiliary(&mut self, device: &Device) {
        if let Self::Classifier(network) = self {
            network.attach_auxiliary(device);
        }
    }

    /// Returns the network if it classifies images.
    ///
    /// # Errors
    ///
    /// When it is a segmenter.
    pub fn into_classifier(self) -> Result<Classifier, NotAClassifier> {
        match self {
            Self::Classifier(network) => Ok(network),
            Self::Segmenter(_) => Err(NotAClassifier),
        }
    }
}

/// The error for a network that classifies pixels, not images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAClassifier;

impl std::fmt::Display for NotAClassifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "this network classifies each pixel, not an image as a whole\n\
             hint: any other than U-Net does; `zoo list` shows them",
        )
    }
}

impl std::error::Error for NotAClassifier {}

/// Returns variants outside the tables that checkpoints are likely to belong to: some for each
/// architecture that has a number in its names.
pub fn unlisted() -> impl Iterator<Item = Variant<Config>> {
    let widths = WIDTHS
        .iter()
        .flat_map(|width| WIDENED.iter().map(move |(start, end)| format!("{start}{width}{end}")));
    let depths = (1..=9).map(|n| 6 * n + 4);
    let wide = depths.flat_map(|depth| (1..=12).map(move |k| format!("wrn_{depth}_{k}")));
    let deep = [8, 14, 26, 38, 50, 62, 164, 1202]
        .into_iter()
        .flat_map(|depth| ["", "_b"].map(|shortcut| format!("resnet{depth}_cifar{shortcut}")));
    let dense = [40, 100, 190, 250].into_iter().flat_map(|depth| {
        [12, 24, 32, 36, 40, 48].map(|growth| format!("densenet_bc_{depth}_k{growth}"))
    });
    let ghosts = ["025", "075", "150", "200"].map(|width| format!("ghostnet_{width}"));
    let names = widths.chain(wide).chain(deep).chain(dense).chain(ghosts);
    let names = names.chain(TIMM_RESNETS.map(str::to_owned));
    let vggs = ["vgg11", "vgg13", "vgg16", "vgg19"].into_iter().flat_map(|name| {
        let plain = ["_cifar", "_cifar_linear", "_cifar_4096", "_bn_cifar_4096"];
        plain.map(|end| format!("{name}{end}"))
    });
    let names = names.chain(vggs);
    names.filter_map(|name| find(&name))
}

/// ResNets of timm without a row in the table.
#[rustfmt::skip]
const TIMM_RESNETS: [&str; 28] = [
    "resnet50c", "resnet50s", "resnet50t", "resnet101c", "resnet101s", "resnet152c", "resnet152d",
    "resnet152s", "resnet200", "resnet200d", "resnext50d_32x4d", "resnext101_32x16d",
    "resnext101_32x32d", "seresnet18", "seresnet34", "seresnet50t", "seresnet101", "seresnet152",
    "seresnet152d", "seresnet200d", "seresnet269d", "seresnetaa50d", "seresnext26d_32x4d",
    "seresnext26t_32x4d", "seresnext101_32x8d", "seresnext101_64x4d", "seresnext101d_32x8d",
    "seresnextaa101d_32x8d",
];

/// Text before and after the width in the names of variants.
const WIDENED: [(&str, &str); 14] = [
    ("mobilenet_v1_", ""),
    ("mobilenet_v1_", "_keras"),
    ("mobilenet_v1_", "_timm"),
    ("mobilenet_v2_w", ""),
    ("mobilenet_v2_w", "_keras"),
    ("mobilenet_v2_w", "_cifar"),
    ("mobilenet_v3_small_w", ""),
    ("mobilenet_v3_large_w", ""),
    ("mobilenet_v3_small_w", "_timm"),
    ("mobilenet_v3_large_w", "_timm"),
    ("mobilenet_v3_small_w", "_tf"),
    ("mobilenet_v3_large_w", "_tf"),
    ("mnasnet", ""),
    ("mnasnet_a1_w", ""),
];
const WIDTHS: [&str; 22] = [
    "0_1", "0_15", "0_2", "0_25", "0_3", "0_35", "0_4", "0_5", "0_6", "0_7", "0_75", "0_8", "0_9",
    "1_1", "1_2", "1_25", "1_3", "1_4", "1_5", "1_75", "2_0", "2_5",
];

/// Looks up a variant by name, in the tables first.
///
/// # Errors
///
/// When no architecture has a variant of that name.
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

/// The error for a name that no variant has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVariant {
    /// The requested name.
    pub name: String,
    /// Similar names, the most similar first.
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
