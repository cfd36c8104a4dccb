use std::ops::Range;

use zoo_simd::{Isa, Kernel, LANES, Lanes};

use super::{Operator, View};
use crate::graph::Node;
use crate::memory::Arena;
use crate::plan::buffers::{Format, Images};
use crate::plan::draft::{Step, Work};
use crate::plan::lower::Lowering;
use crate::plan::rows::rows;
use crate::threads::Member;

/// `x` if it is positive, otherwise `negative_slope · x`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeakyRelu {
    pub(crate) negative_slope: f32,
}

impl Operator for LeakyRelu {
    fn name(&self) -> &'static str {
        "leaky relu"
    }

    fn evaluate(&self, inputs: &[View<'_>], _shape: &[usize]) -> Vec<f32> {
        let leaky = |&x: &f32| if x < 0.0 { self.negative_slope * x } else { x };
        inputs[0].1.iter().map(leaky).collect()
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn lower<'g>(&'g self, node: &'g Node, lowering: &mut Lowering<'g>) -> bool {
        if lowering.images_of(node).is_none() {
            return false;
        }
        let inputs = vec![lowering.read(node.inputs[0], Format::Blocked)];
        lowering.blocked(node, inputs, move |at| {
            let work = Rows { isa: at.isa, op: *self, input: at.input(0), output: at.output() };
            Some(Step::new(work, self.name()).with_operations(2 * at.output_len()))
        });
        true
    }
}

/// The work of a LeakyReLU step.
#[derive(Debug)]
struct Rows {
    isa: Isa,
    op: LeakyRelu,
    input: Images,
    output: Images,
}

impl Work for Rows {
    fn cleared(&self) -> Option<Images> {
        Some(self.output)
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let height = self.output.shape[2];
        for (image, block, y) in rows(self.output.of(items), self.output.blocks(), height, member) {
            let row = Row {
                input: arena.at(self.input.at(image, block, y)),
                output: arena.at(self.output.at(image, block, y)),
                width: self.output.shape[3],
                negative_slope: self.op.negative_slope,
            };
            // SAFETY: the CPU supports `self.isa`; both images have this row; only this thread
            // writes it.
            unsafe { self.isa.run(&row) }
        }
    }
}

/// A row of one block of channels.
struct Row {
    input: *const f32,
    output: *mut f32,
    width: usize,
    negative_slope: f32,
}

impl Kernel for Row {
    type Output = ();

    /// # Safety
    ///
    /// The CPU supports the instruction set of `V`; the pointers are valid for the row.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        // SAFETY: the caller guarantees that the CPU supports `V` and that the pointers are valid.
        unsafe {
            let (zero, slope) = (V::splat(0.0), V::splat(self.negative_slope));
            for x in 0..self.width {
                let value = V::load(self.input.add(x * LANES));
                let value = value.min(zero).mul_add(slope, value.max(zero));
                value.store(self.output.add(x * LANES));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::passes::testing::graph;
    use crate::plan::testing::check;

    proptest! {
        #![proptest_config(crate::plan::testing::config())]

        #[test]
        fn leaky_relu_matches_its_definition(
            batch in 1..3_usize, channels in 1..40_usize, size in [1..9_usize, 1..9],
            negative_slope in 0.0..1.0_f32,
        ) {
            let shape = [batch, channels, size[0], size[1]];
            let mut graph = graph(shape);
            let x = graph.node(LeakyRelu { negative_slope }, [graph.input], shape);
            graph.outputs = vec![x];
            check(&graph)?;
        }
    }

    /// Tests images and, after a fully connected layer, vectors.
    #[test]
    fn it_computes_what_burns_layer_computes() {
        use burn::module::Module;
        use burn::nn::{LeakyRelu, LeakyReluConfig, Linear, LinearConfig};
        use burn::tensor::{Device, Distribution, Tensor, Tolerance};

        #[derive(Module, Debug)]
        struct Net {
            leaky: LeakyRelu,
            linear: Linear,
        }
        let forward = |net: &Net, images: Tensor<4>| {
            let x = net.leaky.forward(images).flatten::<2>(1, 3);
            net.leaky.forward(net.linear.forward(x))
        };
        let device = Device::flex();
        let net = Net {
            leaky: LeakyReluConfig::new().with_negative_slope(0.2).init(),
            linear: LinearConfig::new(3 * 4 * 5, 7).init(&device),
        };
        let images = Tensor::<4>::random([2, 3, 4, 5], Distribution::Default, &device) - 0.5;
        let mut plan = crate::Plan::compile(&net, images.dims(), 2, forward).unwrap();
        let labels: Vec<_> = plan.steps().into_iter().map(|step| step.label).collect();
        assert_eq!(labels.iter().filter(|label| *label == "leaky relu").count(), 2, "{labels:?}");
        let got = plan.run_tensor(images.clone()).unwrap().remove(0);
        forward(&net, images).into_data().assert_approx_eq::<f32>(&got, Tolerance::default());
    }

    #[test]
    fn a_nan_stays_a_nan() {
        let shape = [1, 2, 1, 3];
        let mut graph = graph(shape);
        graph.outputs = vec![graph.node(LeakyRelu { negative_slope: 0.1 }, [graph.input], shape)];
        let mut images = vec![-1.0; 6];
        images[4] = f32::NAN;
        for isa in Isa::available() {
            let mut plan = crate::Plan::of_graph(graph.clone(), isa, 1).unwrap();
            let got = plan.run(&images).unwrap().remove(0);
            let is_nan: Vec<bool> = got.iter().map(|x| x.is_nan()).collect();
            assert_eq!(is_nan, [false, false, false, false, true, false], "{}", isa.name());
        }
    }
}
