use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchKindConversion, DispatchTensor};
use burn::module::Module;
use burn::tensor::{Device, PrimitiveConversionError, Tensor};

use crate::{FeatureMaps, Head, PyramidLevel};

/// A network that classifies images.
///
/// A Burn tensor carries its backend in its device, so the same compiled model runs on every
/// backend. Use [`forward_on`](Self::forward_on) in code that is generic over
/// Burn's [`Backend`] trait.
pub trait ImageClassifier: Module {
    /// Runs the layers before the head and passes each map of the [`pyramid`](Self::pyramid) to
    /// `maps`. Returns the features, or `None` if `maps` stopped the forward before them.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → features `[N, num_features, h, w]`
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>>;

    /// The maps that [`forward_pyramid`](Self::forward_pyramid) can compute, the finest first: one for
    /// each stride of the network, the same as timm's `features_only`.
    fn pyramid(&self) -> Vec<PyramidLevel>;

    /// Computes the features: the last feature map, before pooling. Networks whose head starts with an
    /// activation (DenseNet) return them without that activation; torchvision does the same, timm
    /// applies it.
    ///
    /// An image smaller than [`min_size`](Self::min_size) panics in Burn, without a clear message.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → features `[N, num_features, h, w]`
    fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        let features = self.forward_maps(images, &mut FeatureMaps::none());
        features.expect("no map was requested, so the forward does not stop early")
    }

    /// Computes the maps of the [`pyramid`](Self::pyramid) with these indices (0 is the finest), and no
    /// layer after the last of them. The maps are in the order of the network, whatever the order of
    /// `levels`; an index that occurs twice gives one map.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → maps `[N, channels, h, w]`, where `h` and `w` are about `H / stride`
    /// and `W / stride`
    ///
    /// # Panics
    ///
    /// When an index is not below the number of levels, or an image is smaller than
    /// [`min_size`](Self::min_size).
    fn forward_pyramid(&self, images: Tensor<4>, levels: &[usize]) -> Vec<Tensor<4>> {
        check_size(&images, self.min_size());
        let mut maps = FeatureMaps::of(self.pyramid(), levels);
        if !levels.is_empty() {
            self.forward_maps(images, &mut maps);
        }
        maps.into_tensors()
    }

    /// Classifies images, and returns the map of the [`pyramid`](Self::pyramid) with this index, from
    /// which gradients of the logits go no further back. Meant for explanations: the images are on a
    /// device with gradients, the network is frozen.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → map `[N, channels, h, w]`, logits `[N, num_classes]`
    ///
    /// # Panics
    ///
    /// When there is no such level, or an image is smaller than [`min_size`](Self::min_size).
    fn forward_from_map(&self, images: Tensor<4>, level: usize) -> (Tensor<4>, Tensor<2>) {
        check_size(&images, self.min_size());
        let mut maps = FeatureMaps::tracked(self.pyramid(), level);
        let features = self.forward_maps(images, &mut maps);
        let logits = self.forward_head(features.expect("the forward does not stop at the map"));
        (maps.into_tensors().remove(0), logits)
    }

    /// The layers that compute the logits from the features.
    fn head(&self) -> &dyn Head;

    /// The [`head`](Self::head), mutable.
    fn head_mut(&mut self) -> &mut dyn Head;

    /// The paths of the modules whose parameters
    /// [`reset_classifier`](Self::reset_classifier) replaces; only `classifier` in most networks.
    fn classifier_paths(&self) -> Vec<&'static str> {
        vec!["classifier"]
    }

    /// Computes the logits from the features.
    ///
    /// # Shapes
    ///
    /// features `[N, num_features, h, w]` → logits `[N, num_classes]`
    fn forward_head(&self, features: Tensor<4>) -> Tensor<2> {
        self.head().forward(features)
    }

    /// Classifies images.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → logits `[N, num_classes]`
    ///
    /// # Panics
    ///
    /// When an image is smaller than [`min_size`](Self::min_size).
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        check_size(&images, self.min_size());
        self.forward_head(self.forward_features(images))
    }

    /// Computes all logits that the training loss needs: those of [`forward`](Self::forward), and those
    /// of the auxiliary classifiers if [`attach_auxiliary`](Self::attach_auxiliary) has added any.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → logits, each `[N, num_classes]`
    ///
    /// # Panics
    ///
    /// When an image is smaller than [`min_training_size`](Self::min_training_size).
    fn forward_training(&self, images: Tensor<4>) -> TrainingOutput {
        TrainingOutput { logits: self.forward(images), auxiliary: Vec::new() }
    }

    /// [`forward`](Self::forward) for callers that are generic over Burn's backends.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → logits `[N, num_classes]`
    ///
    /// # Errors
    ///
    /// When the model is on another backend than `B`.
    fn forward_on<B: Backend>(
        &self,
        images: FloatTensor<B>,
    ) -> Result<FloatTensor<B>, PrimitiveConversionError>
    where
        DispatchTensor: DispatchKindConversion<B>,
    {
        self.forward(Tensor::from_primitive::<B>(images)).try_into_primitive::<B>()
    }

    /// Class activation maps: a score for each class at each position. Their mean over all positions
    /// is the logits. `None` if no such maps exist: the head has more than one layer.
    ///
    /// # Shapes
    ///
    /// features `[N, num_features, h, w]` → `[N, num_classes, h, w]`
    fn class_maps(&self, features: Tensor<4>) -> Option<Tensor<4>> {
        self.head().class_maps(features)
    }

    /// Smallest height and width of an image that the network can take, in pixels.
    fn min_size(&self) -> usize {
        1
    }

    /// Smallest height and width of an image that
    /// [`forward_training`](Self::forward_training) can take, in pixels.
    fn min_training_size(&self) -> usize {
        self.min_size()
    }

    /// Number of channels of the features.
    fn num_features(&self) -> usize {
        self.head().num_features()
    }

    /// Replaces the classifier by a randomly initialized one for `num_classes` classes. The hidden
    /// layers of a [`WithMlpHead`](crate::WithMlpHead) network are removed. The last layers of auxiliary
    /// classifiers are replaced, too.
    fn reset_classifier(&mut self, num_classes: usize, device: &Device) {
        self.head_mut().reset(num_classes, device);
    }

    /// Adds the auxiliary classifiers of the architecture, if it has any, randomly initialized. Only
    /// training uses them.
    fn attach_auxiliary(&mut self, device: &Device) {
        let _ = device;
    }
}

/// The logits that a network computes in training.
#[derive(Debug, Clone)]
pub struct TrainingOutput {
    /// The classifier's logits, `[N, num_classes]`.
    pub logits: Tensor<2>,
    /// The auxiliary classifiers' logits, `[N, num_classes]`, each with the factor of its loss.
    pub auxiliary: Vec<(f64, Tensor<2>)>,
}

/// Checks that images are not smaller than a network can take.
///
/// # Panics
///
/// When height or width is below `min_size`; the message names the smallest size.
pub fn check_size(images: &Tensor<4>, min_size: usize) {
    let [_, _, height, width] = images.dims();
    assert!(
        height.min(width) >= min_size,
        "images of {height}x{width} pixels are too small for this network, which takes \
         {min_size}x{min_size} and larger"
    );
}
