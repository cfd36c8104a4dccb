use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchKindConversion, DispatchTensor};
use burn::module::Module;
use burn::tensor::{Device, PrimitiveConversionError, Tensor};

use crate::{FeatureMaps, PyramidLevel, check_size};

/// A network that classifies each pixel of an image.
pub trait ImageSegmenter: Module {
    /// Computes the features of each pixel.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → features `[N, num_features, H, W]`
    fn forward_features(&self, images: Tensor<4>) -> Tensor<4>;

    /// The maps of the contracting path that [`forward_pyramid`](Self::forward_pyramid) can compute,
    /// the finest first. The last one is the bottleneck. Empty for a network that does not give them.
    fn pyramid(&self) -> Vec<PyramidLevel> {
        Vec::new()
    }

    /// [`forward_features`](Self::forward_features) that passes each map of the
    /// [`pyramid`](Self::pyramid) to `maps`. Returns `None` if `maps` stopped the forward before the
    /// features.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → features `[N, num_features, H, W]`
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let _ = maps;
        Some(self.forward_features(images))
    }

    /// Computes the maps of the [`pyramid`](Self::pyramid) with these indices (0 is the finest), and no
    /// layer after the last of them, in the order of the network.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → maps `[N, channels, h, w]`
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

    /// Classifies each pixel, and returns the map of the [`pyramid`](Self::pyramid) with this index,
    /// from which gradients of the logits go no further back. Meant for explanations: the images are on
    /// a device with gradients, the network is frozen.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → map `[N, channels, h, w]`, logits `[N, num_classes, H, W]`
    ///
    /// # Panics
    ///
    /// When there is no such level, or an image is smaller than [`min_size`](Self::min_size).
    fn forward_from_map(&self, images: Tensor<4>, level: usize) -> (Tensor<4>, Tensor<4>) {
        check_size(&images, self.min_size());
        let mut maps = FeatureMaps::tracked(self.pyramid(), level);
        let features = self.forward_maps(images, &mut maps);
        let logits = self.forward_head(features.expect("the forward does not stop at the map"));
        (maps.into_tensors().remove(0), logits)
    }

    /// Computes the logits from the features.
    ///
    /// # Shapes
    ///
    /// features `[N, num_features, H, W]` → logits `[N, num_classes, H, W]`
    fn forward_head(&self, features: Tensor<4>) -> Tensor<4>;

    /// Classifies each pixel of images.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → logits `[N, num_classes, H, W]`
    ///
    /// # Panics
    ///
    /// When an image is smaller than [`min_size`](Self::min_size).
    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        check_size(&images, self.min_size());
        self.forward_head(self.forward_features(images))
    }

    /// [`forward`](Self::forward) for callers that are generic over Burn's backends.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → logits `[N, num_classes, H, W]`
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

    /// Smallest height and width of an image that the network can take, in pixels.
    fn min_size(&self) -> usize {
        1
    }

    /// Number of channels of the features.
    fn num_features(&self) -> usize;

    /// The paths of the modules whose parameters
    /// [`reset_classifier`](Self::reset_classifier) replaces.
    fn classifier_paths(&self) -> Vec<&'static str> {
        vec!["classifier"]
    }

    /// Replaces the last layer by a randomly initialized one for `num_classes` classes.
    fn reset_classifier(&mut self, num_classes: usize, device: &Device);
}
