//! Test functions for operators. They compare plans with the operators' definitions, on graphs with
//! many shapes.

use proptest::prelude::*;

use zoo_graph::Window;
use zoo_simd::{Activation, Isa};

use crate::Plan;
use crate::graph::{Graph, ValueId};
use crate::ops::activation::Activate;
use crate::ops::conv::Conv;
use crate::passes::testing::noise;

/// Returns a configuration with at most 48 cases, or fewer if `PROPTEST_CASES` is lower, as under
/// valgrind.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig::with_cases(ProptestConfig::default().cases.min(48))
}

/// Compares a graph's plans for all instruction sets and 1 to 3 threads with its definition.
pub(crate) fn check(graph: &Graph) -> Result<(), TestCaseError> {
    let images = noise(11, graph.shape(graph.input).iter().product());
    let expected = graph.evaluate(&images);
    for isa in Isa::available() {
        let mut first: Option<Vec<Vec<f32>>> = None;
        for threads in [1, 2, 3] {
            let mut plan = Plan::of_graph(graph.clone(), isa, threads).unwrap();
            // Runs twice, because the second run starts with the memory that the first left.
            plan.run(&images).unwrap();
            let got = plan.run(&images).unwrap();
            for (got, expected) in got.iter().zip(&expected) {
                prop_assert_eq!(got.len(), expected.len());
                for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                    let error = (got - expected).abs();
                    let are_nan = got.is_nan() && expected.is_nan();
                    prop_assert!(
                        are_nan || got == expected || error <= 1e-4 * (1.0 + expected.abs()),
                        "{}, {threads} threads: {got} instead of {expected} at {i} of {:?}",
                        isa.name(),
                        plan.steps()
                    );
                }
            }
            // The bits do not depend on the number of threads.
            let first = first.get_or_insert_with(|| got.clone());
            let bits = |outputs: &[Vec<f32>]| -> Vec<u32> {
                outputs.iter().flatten().map(|x| x.to_bits()).collect()
            };
            prop_assert_eq!(bits(&got), bits(first));
        }
    }
    Ok(())
}

/// Returns the output size of a window on images of a size.
pub(crate) fn out_size(window: &Window, size: [usize; 2]) -> Option<[usize; 2]> {
    let axis = |i: usize| {
        let padded = window.before[i] + size[i] + window.after[i];
        let reach = (window.kernel[i] - 1) * window.dilation[i] + 1;
        Some(padded.checked_sub(reach)? / window.stride[i] + 1)
    };
    Some([axis(0)?, axis(1)?])
}

/// Adds a convolution with pseudo-random weights; `None` if the window is larger than the image.
pub(crate) fn conv(
    graph: &mut Graph,
    x: ValueId,
    channels: usize,
    window: Window,
    groups: usize,
    activation: Activation,
) -> Option<ValueId> {
    let [batch, depth, height, width] = graph.shape4(x)?;
    let size = out_size(&window, [height, width])?;
    let [kernel_h, kernel_w] = window.kernel;
    let shape = [channels, depth / groups, kernel_h, kernel_w];
    let scale = 1.0 / ((shape[1] * kernel_h * kernel_w) as f32).sqrt();
    let weights = noise(x as u64 + 5, shape.iter().product()).iter().map(|w| w * scale).collect();
    let weights = graph.constant(shape, weights);
    let bias = graph.constant([channels], noise(3, channels));
    let conv = Conv { activation, ..Conv::new(window, groups) };
    Some(graph.node(conv, [x, weights, bias], [batch, channels, size[0], size[1]]))
}

pub(crate) fn relu() -> Activate {
    Activate(Activation::RELU)
}

pub(crate) fn windows() -> impl Strategy<Value = Window> {
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    (pair(1..6), pair(1..4), pair(1..3), pair(0..3), pair(0..3)).prop_map(
        |(kernel, stride, dilation, before, after)| Window {
            kernel,
            stride,
            dilation,
            before,
            after,
        },
    )
}

pub(crate) const ACTIVATIONS: [Activation; 8] = [
    Activation::Identity,
    Activation::RELU,
    Activation::RELU6,
    Activation::Sigmoid,
    Activation::Silu,
    Activation::HARD_SIGMOID,
    Activation::HARD_SWISH,
    Activation::Tanh,
];

pub(crate) fn activations() -> impl Strategy<Value = Activation> {
    prop::sample::select(&ACTIVATIONS[..])
}
