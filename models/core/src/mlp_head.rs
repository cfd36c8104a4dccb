use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::layers::{Activation, HeadOrder};
use crate::{FeatureMaps, Head, ImageClassifier, PyramidLevel, TrainingOutput};

/// A hidden layer of an MLP head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiddenLayer {
    /// Outputs of the fully connected layer.
    pub width: usize,
    /// The activation after it.
    pub activation: Activation,
}

/// A network whose classifier can have hidden layers (an MLP head).
///
/// The network's own classifier is the first layer of the MLP. Without hidden layers this type has
/// the parameters and paths of the network.
#[derive(Debug, Clone)]
pub struct WithMlpHead<M> {
    network: M,
    tail: Vec<TailLayer>,
}

/// An activation and the fully connected layer after it.
#[derive(Module, Debug)]
struct TailLayer {
    #[module(skip)]
    activation: Activation,
    linear: Linear,
}

/// First segment of the paths of the layers after the network.
pub(crate) const TAIL: &str = "tail";

impl<M> WithMlpHead<M> {
    /// Wraps a network, without hidden layers.
    pub fn new(network: M) -> Self {
        Self { network, tail: Vec::new() }
    }

    /// Adds randomly initialized layers after the network. Its classifier must have as many outputs as
    /// the first hidden layer.
    #[must_use]
    pub fn with_hidden(self, hidden: &[HiddenLayer], num_classes: usize, device: &Device) -> Self {
        let outputs = hidden.iter().skip(1).map(|layer| layer.width).chain([num_classes]);
        let layer = |(layer, outputs): (&HiddenLayer, usize)| TailLayer {
            activation: layer.activation,
            linear: LinearConfig::new(layer.width, outputs).init(device),
        };
        Self { tail: hidden.iter().zip(outputs).map(layer).collect(), ..self }
    }

    /// The network without the added layers.
    pub fn network(&self) -> &M {
        &self.network
    }
}

impl<M: ImageClassifier> Module for WithMlpHead<M> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.tail.collect_devices(self.network.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        Self { network: self.network.fork(device), tail: self.tail.fork(device) }
    }

    fn to_device(self, device: &Device) -> Self {
        Self { network: self.network.to_device(device), tail: self.tail.to_device(device) }
    }

    fn train(self) -> Self {
        Self { network: self.network.train(), tail: self.tail.train() }
    }

    fn valid(&self) -> Self {
        Self { network: self.network.valid(), tail: self.tail.valid() }
    }

    fn materialize(self) -> Self {
        Self { network: self.network.materialize(), tail: self.tail.materialize() }
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        self.network.visit(visitor);
        if !self.tail.is_empty() {
            visitor.enter_module(TAIL, "Vec");
            self.tail.visit(visitor);
            visitor.exit_module(TAIL, "Vec");
        }
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        let network = self.network.map(mapper);
        if self.tail.is_empty() {
            return Self { network, tail: self.tail };
        }
        mapper.enter_module(TAIL, "Vec");
        let tail = self.tail.map(mapper);
        mapper.exit_module(TAIL, "Vec");
        Self { network, tail }
    }
}

impl<M: ImageClassifier + ModuleDisplay> ModuleDisplayDefault for WithMlpHead<M> {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content.add("network", &self.network).add(TAIL, &self.tail))
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}

impl<M: ImageClassifier + ModuleDisplay> ModuleDisplay for WithMlpHead<M> {}

impl<M: ImageClassifier> WithMlpHead<M> {
    fn forward_tail(&self, logits: Tensor<2>) -> Tensor<2> {
        self.tail.iter().fold(logits, |x, layer| layer.linear.forward(layer.activation.forward(x)))
    }
}

impl<M: ImageClassifier> ImageClassifier for WithMlpHead<M> {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        self.network.forward_maps(images, maps)
    }

    fn pyramid(&self) -> Vec<PyramidLevel> {
        self.network.pyramid()
    }

    fn head(&self) -> &dyn Head {
        self
    }

    fn head_mut(&mut self) -> &mut dyn Head {
        self
    }

    fn classifier_paths(&self) -> Vec<&'static str> {
        let mut paths = self.network.classifier_paths();
        paths.push(TAIL);
        paths
    }

    fn forward_training(&self, images: Tensor<4>) -> TrainingOutput {
        let output = self.network.forward_training(images);
        TrainingOutput { logits: self.forward_tail(output.logits), ..output }
    }

    fn min_size(&self) -> usize {
        self.network.min_size()
    }

    fn min_training_size(&self) -> usize {
        self.network.min_training_size()
    }

    fn attach_auxiliary(&mut self, device: &Device) {
        // Auxiliary classifiers have the outputs of the network's classifier, which is a hidden layer here.
        if self.tail.is_empty() {
            self.network.attach_auxiliary(device);
        }
    }
}

impl<M: ImageClassifier> Head for WithMlpHead<M> {
    fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        self.forward_tail(self.network.forward_head(features))
    }

    fn class_maps(&self, features: Tensor<4>) -> Option<Tensor<4>> {
        self.network.class_maps(features).filter(|_| self.tail.is_empty())
    }

    fn class_weights(&self, class: usize) -> Option<Tensor<1>> {
        self.network.head().class_weights(class).filter(|_| self.tail.is_empty())
    }

    fn activation(&self) -> Activation {
        self.network.head().activation()
    }

    fn accepts_pooled_features(&self) -> bool {
        self.network.head().accepts_pooled_features()
    }

    fn num_features(&self) -> usize {
        self.network.num_features()
    }

    fn num_classes(&self) -> usize {
        match self.tail.last() {
            Some(last) => {
                let [_, num_classes] = last.linear.weight.lazy_shape().dims();
                num_classes
            }
            None => self.network.head().num_classes(),
        }
    }

    fn reset(&mut self, num_classes: usize, device: &Device) {
        self.network.reset_classifier(num_classes, device);
        self.tail.clear();
    }

    fn set_order(&mut self, order: HeadOrder) -> bool {
        self.network.head_mut().set_order(order)
    }
}
