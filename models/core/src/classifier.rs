use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchKindConversion, DispatchTensor};
use burn::module::Module;
use burn::tensor::{Device, PrimitiveConversionError, Tensor};

use crate::{FeatureMaps, Head, PyramidLevel};

/// A network that turns images into class scores.
///
/// A Burn tensor carries its backend in its device, so the same compiled model runs on every
/// backend. [`forward_on`](Self::forward_on) is the entry for code that is generic over
/// Burn's [`Backend`] trait.
pub trait ImageClassifier: Module {
    /// Runs the layers before the head, and hands the maps of the [`pyramid`](Self::pyramid) to
    /// `maps` on the way to the features. `None` where `maps` ended the pass before it came there.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → features `[N, num_features, h, w]`
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>>;

    /// The maps that [`forward_pyramid`](Self::forward_pyramid) can give, the finest first: one for
    /// each stride that the network has, the same as timm's `features_only` gives.
    fn pyramid(&self) -> Vec<PyramidLevel>;

    /// Computes the unpooled features, the last feature map of the network.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → features `[N, num_features, h, w]`
    fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        let features = self.forward_maps(images, &mut FeatureMaps::none());
        features.expect("nothing ends a pass of which no map is wanted")
    }

    /// Computes some maps of the [`pyramid`](Self::pyramid), by their places in it, the finest
    /// first, and no layer behind the last of them.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → maps `[N, channels, h, w]`, where `h` and `w` are about `H / stride`
    /// and `W / stride`
    ///
    /// # Panics
    ///
    /// When the pyramid has no such level, or an image is smaller than
    /// [`min_size`](Self::min_size).
    fn forward_pyramid(&self, images: Tensor<4>, levels: &[usize]) -> Vec<Tensor<4>> {
        check_size(&images, self.min_size());
        let pyramid = self.pyramid();
        let is_there = |level: &usize| *level < pyramid.len();
        assert!(levels.iter().all(is_there), "of {} levels, {levels:?} are wanted", pyramid.len());
        let wanted = pyramid.into_iter().enumerate().filter(|(level, _)| levels.contains(level));
        let mut maps = FeatureMaps::of(wanted.map(|(_, level)| level).collect());
        if !levels.is_empty() {
            self.forward_maps(images, &mut maps);
        }
        maps.into_tensors()
    }

    /// The layers behind the features.
    fn head(&self) -> &dyn Head;

    /// [`head`](Self::head), to be changed.
    fn head_mut(&mut self) -> &mut dyn Head;

    /// The paths of the modules whose parameters
    /// [`reset_classifier`](Self::reset_classifier) replaces; `classifier` alone in most networks.
    fn classifier_paths(&self) -> Vec<&'static str> {
        vec!["classifier"]
    }

    /// Classifies features.
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

    /// [`forward`](Self::forward) with what else the loss is computed from: the logits of
    /// auxiliary classifiers, where the architecture has them and
    /// [`attach_auxiliary`](Self::attach_auxiliary) was called.
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
    /// When the model lives on another backend than `B`, so that its logits are not `B`'s.
    fn forward_on<B: Backend>(
        &self,
        images: FloatTensor<B>,
    ) -> Result<FloatTensor<B>, PrimitiveConversionError>
    where
        DispatchTensor: DispatchKindConversion<B>,
    {
        self.forward(Tensor::from_primitive::<B>(images)).try_into_primitive::<B>()
    }

    /// Scores of each class at each place, whose average the logits are, where the head ends
    /// in an average: class activation maps.
    ///
    /// # Shapes
    ///
    /// features `[N, num_features, h, w]` → `[N, num_classes, h, w]`
    fn class_maps(&self, features: Tensor<4>) -> Option<Tensor<4>> {
        self.head().class_maps(features)
    }

    /// Side of the smallest square image that the network can take, in pixels.
    fn min_size(&self) -> usize {
        1
    }

    /// Side of the smallest square image that
    /// [`forward_training`](Self::forward_training) can take, in pixels.
    fn min_training_size(&self) -> usize {
        self.min_size()
    }

    /// Number of channels of the features.
    fn num_features(&self) -> usize {
        self.head().num_features()
    }

    /// Replaces the classifier by a fresh one for `num_classes` classes, for transfer learning,
    /// and so the auxiliary classifiers' last layers, where there are any.
    fn reset_classifier(&mut self, num_classes: usize, device: &Device) {
        self.head_mut().reset(num_classes, device);
    }

    /// Adds the fresh auxiliary classifiers that the architecture is trained with, where it has
    /// any. Inference has no use for them.
    fn attach_auxiliary(&mut self, device: &Device) {
        let _ = device;
    }
}

/// What a network computes while it is trained.
#[derive(Debug, Clone)]
pub struct TrainingOutput {
    /// The classifier's logits, `[N, num_classes]`.
    pub logits: Tensor<2>,
    /// The auxiliary classifiers' logits, `[N, num_classes]`, each with the factor of its loss.
    pub auxiliary: Vec<(f64, Tensor<2>)>,
}

/// Panics when images are smaller than a network can take, naming the smallest size.
///
/// # Panics
///
/// When height or width is below `min_size`.
pub fn check_size(images: &Tensor<4>, min_size: usize) {
    let [_, _, height, width] = images.dims();
    assert!(
        height.min(width) >= min_size,
        "images of {height}x{width} pixels are too small for this network, which takes \
         {min_size}x{min_size} and larger"
    );
}
