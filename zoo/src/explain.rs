//! Explanations of networks: what in an image speaks for a class, and what the parts of a network respond to.
//!
//! [`Model::explain`] computes a [`HeatMap`] by one of several [`Method`]s. [`HeatMap::overlay`] draws it on the photograph.
//! [`Model::channels`] are the feature maps of an image, [`Model::filters`] the weights of the first convolution, and
//! [`Model::dream`] makes an image that a class or a channel responds to. [`Model::deletion`], [`Model::insertion`] and
//! [`Model::randomized`] check a heat map.
//!
//! Of a segmenter, a heat map explains the pixels of a class: Seg-Grad-CAM (Vinogradova et al., 2020:
//! [Towards Interpretable Semantic Segmentation](https://arxiv.org/abs/2002.11434)). The logit `y` of the class is then the sum over
//! the pixels that the network predicts as it. The methods `grad-cam`, `hires-cam` and `layer-cam` suit segmenters.
//!
//! Guided backpropagation is left out: its pictures look the same for a network with random weights (Adebayo et al., 2018:
//! [Sanity Checks for Saliency Maps](https://arxiv.org/abs/1810.03292)).

mod channels;
mod check;
mod dream;
mod filters;
mod grid;
mod heat_map;
mod methods;
mod page;
mod randomized;
mod segment;

use std::fmt;
use std::str::FromStr;

use image::RgbImage;
use serde::{Deserialize, Serialize};
use zoo_models::Network;

pub use channels::Channels;
pub use check::{Curve, Order};
pub use dream::{Dream, DreamOptions, Objective, Response};
pub use filters::Filters;
pub use heat_map::HeatMap;
pub use page::Page;
pub use randomized::Randomized;

use crate::{Error, Model, probabilities};

/// A method that computes heat maps. `A` are the maps of a layer, with channels `k`, and `y` is the logit of the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The classifier at each position. Only for networks with one fully connected layer after the last maps.
    ///
    /// Zhou et al., 2016: [Learning Deep Features for Discriminative Localization](https://arxiv.org/abs/1512.04150).
    Cam,
    /// `Σ α_k A_k`, where `α_k` is the mean of `∂y/∂A_k`.
    ///
    /// Selvaraju et al., 2017: [Grad-CAM](https://arxiv.org/abs/1610.02391).
    GradCam,
    /// Grad-CAM with a weight for each position, from higher derivatives.
    ///
    /// Chattopadhay et al., 2018: [Grad-CAM++](https://arxiv.org/abs/1710.11063).
    #[serde(rename = "grad-cam++")]
    GradCamPlusPlus,
    /// `Σ ∂y/∂A_k ⊙ A_k`.
    ///
    /// Draelos and Carin, 2020: [HiResCAM](https://arxiv.org/abs/2011.08891).
    #[serde(rename = "hires-cam")]
    HiResCam,
    /// `Σ max(∂y/∂A_k, 0) ⊙ A_k`, which suits early layers, too.
    ///
    /// Jiang et al., 2021: [LayerCAM](https://doi.org/10.1109/TIP.2021.3089943).
    LayerCam,
    /// `Σ α_k A_k`, where `α_k` is the softmax of the logits of the image under the masks `A_k`. It needs no gradient.
    ///
    /// Wang et al., 2020: [Score-CAM](https://arxiv.org/abs/1910.01279), algorithm 1.
    ScoreCam,
    /// What the probability loses if a square of the image is gray.
    ///
    /// Zeiler and Fergus, 2014: [Visualizing and Understanding Convolutional Networks](https://arxiv.org/abs/1311.2901), §4.2.
    Occlusion,
    /// The gradients by the pixels, from the mean image to the image.
    ///
    /// Sundararajan et al., 2017: [Axiomatic Attribution for Deep Networks](https://arxiv.org/abs/1703.01365).
    IntegratedGradients,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 8] = [
        Self::Cam,
        Self::GradCam,
        Self::GradCamPlusPlus,
        Self::HiResCam,
        Self::LayerCam,
        Self::ScoreCam,
        Self::Occlusion,
        Self::IntegratedGradients,
    ];

    /// The name: `grad-cam`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cam => "cam",
            Self::GradCam => "grad-cam",
            Self::GradCamPlusPlus => "grad-cam++",
            Self::HiResCam => "hires-cam",
            Self::LayerCam => "layer-cam",
            Self::ScoreCam => "score-cam",
            Self::Occlusion => "occlusion",
            Self::IntegratedGradients => "integrated-gradients",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|method| method.name() == text);
        found.ok_or_else(|| format!("not a method ({})", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The maps that a method weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The features: the last maps before pooling, or before the classifier of a segmenter.
    Features,
    /// A level of the network's [`pyramid`](Network::pyramid), 0 the finest.
    Level(usize),
}

/// Options of [`Model::explain`].
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainOptions {
    /// The method.
    pub method: Method,
    /// The index of the class. If `None`, the most probable one; of a segmenter the most frequent one other than 0, the background.
    pub class: Option<usize>,
    /// The layers. The heat maps of several layers are scaled to a largest value of 1, and their mean is taken. If there is none, the
    /// features of a classifier, or the bottleneck of a segmenter: the coarsest level.
    pub layers: Vec<Layer>,
    /// The pixels of a segmenter's input that are explained, row-major. If `None`, those that are predicted as the class.
    pub pixels: Option<Vec<bool>>,
    /// Number of images in a batch, for methods that run the network many times.
    pub batch_size: usize,
}

impl Default for ExplainOptions {
    fn default() -> Self {
        Self {
            method: Method::GradCam,
            class: None,
            layers: Vec::new(),
            pixels: None,
            batch_size: 16,
        }
    }
}

/// A heat map, and the class that it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Index of the class.
    pub class: usize,
    /// Its name.
    pub label: String,
    /// Its probability, in `[0, 1]`; of a segmenter the mean over the explained pixels.
    pub probability: f32,
    /// The pixels of a segmenter's input that are explained, row-major. `None` for a classifier.
    pub pixels: Option<Vec<bool>>,
    /// The evidence for the class at each position.
    pub map: HeatMap,
}

impl Model {
    /// Computes which parts of an image speak for a class.
    ///
    /// # Errors
    ///
    /// When the model has no trained classifier, there is no such class or layer, the method does not suit the network, the network
    /// can't take the image, or a segmenter predicts no pixel as the class.
    ///
    /// # Panics
    ///
    /// When the options have another number of pixels than the network's input.
    pub fn explain(
        &mut self,
        image: &RgbImage,
        options: &ExplainOptions,
    ) -> Result<Explanation, Error> {
        let pixels = self.preprocess_images(std::slice::from_ref(image));
        let mut explanation = self.explain_pixels(pixels, self.input_shape(1), options)?;
        let region = self.preprocess().region(image.dimensions());
        explanation.map.place(region, image.dimensions());
        Ok(explanation)
    }

    /// Explains [preprocessed](Self::preprocess_images) pixels, row-major with the shape `[1, C, H, W]`. The map has no place in a
    /// photograph.
    ///
    /// # Errors
    ///
    /// As for [`explain`](Self::explain).
    ///
    /// # Panics
    ///
    /// As [`explain`](Self::explain).
    pub fn explain_pixels(
        &mut self,
        pixels: Vec<f32>,
        shape: [usize; 4],
        options: &ExplainOptions,
    ) -> Result<Explanation, Error> {
        if let Network::Segmenter(_) = self.network() {
            return self.explain_segments(pixels, shape, options);
        }
        self.ensure_classifies()?;
        let (features, logits) = self.forward(pixels.clone(), shape)?;
        let logits: Vec<f32> = logits.iter().collect();
        let probabilities = probabilities(&logits)?;
        let class = options.class.unwrap_or_else(|| most_probable(&probabilities));
        let Some(&probability) = probabilities.get(class) else {
            return Err(Error::NoSuchClass { class, classes: probabilities.len() });
        };
        let target = methods::Target { pixels, shape, features, class, probability };
        let map = self.heat_map(&target, options)?;
        Ok(Explanation { class, label: self.label(class), probability, pixels: None, map })
    }

    /// The name of a class, or `class 7` if it has none.
    fn label(&self, class: usize) -> String {
        let label = self.card().answers().get(class).cloned();
        label.unwrap_or_else(|| format!("class {class}"))
    }

    /// Finds a class by its index or its name, in any case. A name that several classes contain is ambiguous.
    ///
    /// # Errors
    ///
    /// When no class or several classes have this name; the error lists them or the most similar ones.
    pub fn class(&self, text: &str) -> Result<usize, Error> {
        let names = self.card().answers();
        let classes = names.len().max(self.card().num_classes);
        if let Ok(class) = text.parse::<usize>() {
            let is_there = class < classes;
            return if is_there { Ok(class) } else { Err(Error::NoSuchClass { class, classes }) };
        }
        let wanted = text.to_lowercase();
        let found = |is_found: &dyn Fn(&str) -> bool| {
            let found = names.iter().enumerate().filter(|(_, name)| is_found(&name.to_lowercase()));
            found.map(|(class, _)| class).collect::<Vec<_>>()
        };
        let mut candidates = found(&|name| name == wanted);
        if candidates.is_empty() {
            candidates = found(&|name| name.contains(&wanted));
        }
        match candidates[..] {
            [class] => Ok(class),
            [] => {
                let mut nearest: Vec<_> = names.iter().collect();
                let similarity = |name: &str| strsim::jaro_winkler(&name.to_lowercase(), &wanted);
                nearest.sort_by(|a, b| similarity(b).total_cmp(&similarity(a)));
                Err(Error::UnknownClass { name: text.to_owned(), nearest: listed(&nearest) })
            }
            _ => {
                let names: Vec<_> = candidates.iter().map(|class| &names[*class]).collect();
                Err(Error::AmbiguousClass { name: text.to_owned(), classes: listed(&names) })
            }
        }
    }

    /// The layers that [`explain`](Self::explain) can take, by name: the levels of the pyramid, and `features`.
    pub fn layers(&self) -> Vec<(String, Layer)> {
        let levels = self.network().pyramid().into_iter().enumerate();
        let levels = levels.map(|(index, level)| (level.name.into_owned(), Layer::Level(index)));
        levels.chain([("features".to_owned(), Layer::Features)]).collect()
    }

    /// Finds a layer by its name: `stages.2` or `features`.
    ///
    /// # Errors
    ///
    /// When there is none; the error lists the layers.
    pub fn layer(&self, name: &str) -> Result<Layer, Error> {
        let found = self.layers().into_iter().find(|(known, _)| known == name);
        found.map(|(_, layer)| layer).ok_or_else(|| self.no_such_layer(name))
    }

    /// The name of a layer that exists.
    fn layer_name(&self, layer: Layer) -> String {
        let found = self.layers().into_iter().find(|(_, known)| *known == layer);
        found.expect("the layer exists").0
    }

    /// Checks that there is a layer.
    fn ensure_layer(&self, layer: Layer) -> Result<(), Error> {
        let is_there = self.layers().iter().any(|(_, known)| *known == layer);
        if is_there { Ok(()) } else { Err(self.no_such_layer(&format!("{layer:?}"))) }
    }

    fn no_such_layer(&self, layer: &str) -> Error {
        let names: Vec<_> = self.layers().into_iter().map(|(name, _)| name).collect();
        Error::NoSuchLayer {
            network: self.card().variant.clone(),
            layer: layer.to_owned(),
            layers: names.join(", "),
        }
    }
}

/// The index of the largest probability.
fn most_probable(probabilities: &[f32]) -> usize {
    let classes = 0..probabilities.len();
    classes.max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap_or_default()
}

/// The first names, separated by commas.
fn listed(names: &[&String]) -> String {
    let first: Vec<_> = names.iter().take(5).map(|name| name.as_str()).collect();
    first.join(", ")
}

#[cfg(test)]
mod tests;
