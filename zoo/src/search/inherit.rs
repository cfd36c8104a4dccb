use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use zoo_core::{Inheritance, parameters};
use zoo_models::Classifier;

/// Returns the child with the parent's weights in the modules that correspond.
///
/// Where a layer of the child has more inputs, those that are new have the weight zero: the morphisms of Wei et al., 2016: [Network
/// Morphism](https://arxiv.org/abs/1603.01670).
pub(super) fn inherit(
    child: Classifier,
    parent: &Classifier,
    inheritance: &Inheritance,
) -> Classifier {
    let mut weights = Weights { paths: paths(parent), found: BTreeMap::new() };
    parent.visit(&mut weights);
    let paths = paths(&child);
    child.map(&mut Heir { paths, weights: weights.found, inheritance })
}

/// The paths of all parameters, the last first.
fn paths(network: &Classifier) -> Vec<String> {
    parameters(network).into_iter().rev().map(|parameter| parameter.path).collect()
}

/// Collects the weights of a network by path, with their shapes.
struct Weights {
    paths: Vec<String>,
    found: BTreeMap<String, (Vec<usize>, Tensor<1>)>,
}

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let path = self.paths.pop().expect("each parameter has a path");
        let tensor = parameter.val();
        self.found.insert(path, (tensor.shape().to_vec(), tensor.flatten(0, -1)));
    }
}

struct Heir<'a> {
    paths: Vec<String>,
    weights: BTreeMap<String, (Vec<usize>, Tensor<1>)>,
    inheritance: &'a Inheritance,
}

impl Heir<'_> {
    /// The parent's weight for a path of the child.
    fn weight(&self, path: &str) -> Option<&(Vec<usize>, Tensor<1>)> {
        self.inheritance.modules.iter().find_map(|[child, parent]| {
            let rest = path.strip_prefix(child).filter(|rest| rest.starts_with('.'))?;
            self.weights.get(&format!("{parent}{rest}"))
        })
    }
}

impl ModuleMapper for Heir<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.paths.pop().expect("each parameter has a path");
        if self.inheritance.zeros.contains(&path) {
            return parameter.map(|tensor| tensor.zeros_like());
        }
        let Some((shape, weight)) = self.weight(&path) else { return parameter };
        parameter.map(|tensor| {
            let size = tensor.dims();
            let Ok(shape) = <[usize; D]>::try_from(shape.as_slice()) else { return tensor };
            let weight = weight.clone().reshape(shape).to_device(&tensor.device());
            // The dimension of the inputs: `[out, in, h, w]` of a convolution, `[in, out]` of a fully connected layer.
            let inputs = if D == 2 { 0 } else { 1 };
            let is_wider = D > 1 && shape[inputs] < size[inputs];
            let same_outputs = (0..D).all(|axis| axis == inputs || shape[axis] == size[axis]);
            match () {
                () if shape == size => weight,
                () if is_wider && same_outputs => {
                    let ranges = shape.map(|length| 0..length);
                    tensor.zeros_like().slice_assign(ranges, weight)
                }
                () => tensor,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance};
    use zoo_core::{ImageClassifier, initialize_parameters};
    use zoo_models::{BLOCKS, Network, variant};

    use super::*;

    fn network(name: &str) -> Classifier {
        let Network::Classifier(network) = variant(name).unwrap().config.init(&Device::flex())
        else {
            panic!("{name} classifies")
        };
        initialize_parameters(&network);
        network
    }

    #[test]
    fn a_deeper_network_computes_the_same() {
        let images =
            Tensor::random([2, 3, 16, 16], Distribution::Normal(0.0, 1.0), &Device::flex());
        let name = "ae_cnn_r16x2_m_d12x3_r32x1";
        let parent = network(name);
        let expected = parent.forward(images.clone()).into_data();
        let same = |child: &str| {
            let inheritance = BLOCKS.inheritance(child, name);
            let child = inherit(network(child), &parent, &inheritance);
            let logits = child.forward(images.clone()).into_data();
            logits.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
        };
        // More blocks, a new residual unit, a dense unit whose channels the next unit does not use.
        same("ae_cnn_r16x4_m_d12x3_r32x1");
        same("ae_cnn_r16x2_m_d12x3_r32x1_r32x2");
        same("ae_cnn_r16x2_m_d12x3_d12x2_r32x1");
    }

    #[test]
    fn a_wider_layer_has_zeros_for_its_new_inputs() {
        let inheritance = Inheritance {
            modules: vec![["classifier".to_owned(), "classifier".to_owned()]],
            zeros: Vec::new(),
        };
        let child = inherit(network("ae_cnn_r32x1"), &network("ae_cnn_r16x1"), &inheritance);
        let mut weights = Weights { paths: paths(&child), found: BTreeMap::new() };
        child.visit(&mut weights);
        let (shape, weight) = &weights.found["classifier.linear.weight"];
        assert_eq!(shape, &[32, 10]);
        let rest = weight.clone().slice(160..320);
        assert_eq!(rest.abs().sum().into_scalar::<f32>(), 0.0);
    }
}
