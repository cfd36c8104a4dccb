use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchKindConversion, DispatchTensor};
use burn::module::Module;
use burn::tensor::{Device, PrimitiveConversionError, Tensor};

/// A network that classifies each pixel of an image.
pub trait ImageSegmenter: Module {
    /// Computes the features of each pixel.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → features `[N, num_features, H, W]`
    fn forward_features(&self, images: Tensor<4>) -> Tensor<4>;

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
        crate::check_size(&images, self.min_size());
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
