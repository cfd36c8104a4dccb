use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchKindConversion, DispatchTensor};
use burn::module::Module;
use burn::tensor::{Device, PrimitiveConversionError, Tensor};

/// A network that turns images into class scores.
///
/// A Burn tensor carries its backend in its device, so the same compiled model runs on every
/// backend. [`forward_on`](Self::forward_on) is the entry for code that is generic over
/// Burn's [`Backend`] trait.
pub trait ImageClassifier: Module {
    /// Computes the unpooled features, the last feature map of the network.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → features `[N, num_features, h, w]`
    fn forward_features(&self, images: Tensor<4>) -> Tensor<4>;

    /// Classifies features.
    ///
    /// # Shapes
    ///
    /// features `[N, num_features, h, w]` → logits `[N, num_classes]`
    fn forward_head(&self, features: Tensor<4>) -> Tensor<2>;

    /// Classifies images.
    ///
    /// # Shapes
    ///
    /// images `[N, C, H, W]` → logits `[N, num_classes]`
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward_head(self.forward_features(images))
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

    /// Number of channels of the features.
    fn num_features(&self) -> usize;

    /// Replaces the classifier by a fresh one for `num_classes` classes, for transfer learning.
    fn reset_classifier(&mut self, num_classes: usize, device: &Device);
}
