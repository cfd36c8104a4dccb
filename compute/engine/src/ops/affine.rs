use std::sync::Arc;

use zoo_simd::Activation;

use super::activation::{fused, suffix, value};
use super::elementwise::Elementwise;
use super::{Operator, View};
use crate::graph::Node;
use crate::plan::buffers::Format;
use crate::plan::draft::Step;
use crate::plan::lower::Lowering;

/// A factor and an offset for each channel (dimension 1). Inputs: images, factors `[C]`, offsets
/// `[C]`. Passes convert BatchNorm and operations with constants to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Affine {
    /// The activation of the result.
    pub(crate) activation: Activation,
}

impl Affine {
    /// An affine function without activation.
    pub(crate) const BARE: Self = Self { activation: Activation::Identity };
}

impl Operator for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let channels = shape[1];
        let inner: usize = shape[2..].iter().product();
        let affine = |(i, &x): (usize, &f32)| {
            let channel = i / inner % channels;
            value(self.activation, x * inputs[1].1[channel] + inputs[2].1[channel])
        };
        inputs[0].1.iter().enumerate().map(affine).collect()
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Operator>> {
        fused(self, |op| &mut op.activation, activation)
    }

    fn lower<'g>(&'g self, node: &'g Node, lowering: &mut Lowering<'g>) -> bool {
        let graph = lowering.graph();
        let affine = [1, 2].map(|index| graph.data(node.inputs[index]));
        let (Some(_), [Some(scale), Some(offset)]) = (lowering.images_of(node), affine) else {
            return false;
        };
        let inputs = vec![lowering.read(node.inputs[0], Format::Blocked)];
        lowering.blocked(node, inputs, move |at| {
            let (affine, activation) = ([scale, offset], self.activation);
            let step = Elementwise::affine(at.isa, affine, activation, at.input(0), at.output());
            let label = format!("{}{}", self.name(), suffix(activation));
            Some(Step::new(step, label).with_operations(2 * at.output_len()))
        });
        true
    }
}
