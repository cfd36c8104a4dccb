use image::RgbImage;
use zoo_core::{ImageClassifier, ImageSegmenter, initialize_parameters};
use zoo_models::Network;

use super::{ExplainOptions, Explanation, HeatMap};
use crate::model::{config, loading_device};
use crate::statistics::spearman;
use crate::{Error, Model};

/// The weights that [`Model::randomized`] replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Randomized {
    /// Those of the classifier. Its hidden layers are removed, if it has any.
    Classifier,
    /// All weights. BatchNorm's statistics are those of a new network.
    All,
}

impl Model {
    /// Returns this model with random weights, as for training from scratch, to check that a heat map depends on the weights.
    ///
    /// Adebayo et al., 2018: [Sanity Checks for Saliency Maps](https://arxiv.org/abs/1810.03292), §3.
    ///
    /// # Errors
    ///
    /// When this version does not have the network.
    pub fn randomized(&self, weights: Randomized, seed: u64) -> Result<Self, Error> {
        let mut card = self.card().clone();
        let device = self.session().device();
        let loading = loading_device(device);
        loading.seed(seed);
        let network = match weights {
            Randomized::Classifier => {
                card.hidden.clear();
                let mut network = self.network().clone();
                match &mut network {
                    Network::Classifier(it) => it.reset_classifier(card.num_classes, &loading),
                    Network::Segmenter(it) => it.reset_classifier(card.num_classes, &loading),
                }
                network
            }
            Randomized::All => {
                let config = config(&card).map_err(|unknown| Error::Name(unknown.into()))?;
                config.init_with_hidden(&card.hidden, &loading)
            }
        };
        initialize_parameters(&network);
        Ok(Self::new(network, card, device))
    }

    /// Explains an image as [`explain`](Self::explain) explained it by another model: for the same class and the same pixels.
    ///
    /// # Errors
    ///
    /// As for [`explain`](Self::explain).
    pub fn explain_again(
        &mut self,
        image: &RgbImage,
        explanation: &Explanation,
        options: &ExplainOptions,
    ) -> Result<HeatMap, Error> {
        let options = ExplainOptions {
            class: Some(explanation.class),
            pixels: explanation.pixels.clone(),
            ..options.clone()
        };
        Ok(self.explain(image, &options)?.map)
    }
}

impl HeatMap {
    /// Spearman's rank correlation of the absolute values of two maps of one size, in `[-1, 1]`; 0 if one of them is constant.
    ///
    /// # Panics
    ///
    /// When the maps have different sizes.
    pub fn rank_correlation(&self, other: &Self) -> f64 {
        assert_eq!(self.size, other.size, "the maps have different sizes");
        let absolute = |map: &Self| -> Vec<f64> {
            map.values.iter().map(|value| f64::from(value.abs())).collect()
        };
        spearman(&absolute(self), &absolute(other))
    }
}
