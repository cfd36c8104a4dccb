//! Plans against the reference, on graphs with all sorts of shapes.

use proptest::prelude::*;

use crate::Plan;
use crate::graph::{Activation, Binary, Graph, Op, PoolKind, Source, ValueId, Window};
use crate::kernels::Isa;
use crate::passes::testing::{graph, noise};

/// Runs a graph's plans for all instruction sets and several numbers of threads.
fn check(graph: &Graph) -> Result<(), TestCaseError> {
    let images = noise(11, graph.shape(graph.input).iter().product());
    let expected = graph.evaluate(&images);
    for isa in Isa::available() {
        let mut first: Option<Vec<Vec<f32>>> = None;
        for threads in [1, 2, 3] {
            let mut plan = Plan::of_graph(graph.clone(), isa, threads).unwrap();
            // Twice, since the second run finds what the first left in memory.
            plan.run(&images).unwrap();
            let got = plan.run(&images).unwrap();
            for (got, expected) in got.iter().zip(&expected) {
                prop_assert_eq!(got.len(), expected.len());
                for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                    let error = (got - expected).abs();
                    let are_none = got.is_nan() && expected.is_nan();
                    prop_assert!(
                        are_none || got == expected || error <= 1e-4 * (1.0 + expected.abs()),
                        "{}, {threads} threads: {got} instead of {expected} at {i} of {:?}",
                        isa.name(),
                        plan.steps()
                    );
                }
            }
            // Not a bit depends on the number of threads.
            let first = first.get_or_insert_with(|| got.clone());
            let bits = |outputs: &[Vec<f32>]| -> Vec<u32> {
                outputs.iter().flatten().map(|x| x.to_bits()).collect()
            };
            prop_assert_eq!(bits(&got), bits(first));
        }
    }
    Ok(())
}

/// The size of what a window makes of images.
fn out_size(window: &Window, size: [usize; 2]) -> Option<[usize; 2]> {
    let axis = |i: usize| {
        let padded = window.before[i] + size[i] + window.after[i];
        let reach = (window.kernel[i] - 1) * window.dilation[i] + 1;
        Some(padded.checked_sub(reach)? / window.stride[i] + 1)
    };
    Some([axis(0)?, axis(1)?])
}

fn conv(
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
    let op = Op::Conv { window, groups, out_last: false, residual: false, activation };
    Some(graph.node(op, [x, weights, bias], [batch, channels, size[0], size[1]]))
}

fn relu() -> Op {
    Op::Activation(Activation::RELU)
}

fn windows() -> impl Strategy<Value = Window> {
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

const ACTIVATIONS: [Activation; 8] = [
    Activation::Identity,
    Activation::RELU,
    Activation::Clamp { low: 0.0, high: 6.0 },
    Activation::Sigmoid,
    Activation::Silu,
    Activation::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 },
    Activation::HardSwish { slope: 1.0 / 6.0, offset: 0.5 },
    Activation::Tanh,
];

fn activations() -> impl Strategy<Value = Activation> {
    prop::sample::select(&ACTIVATIONS[..])
}

/// A weight that is no number.
#[test]
fn what_is_no_number_stays_none() {
    let window = Window { before: [1, 1], after: [1, 1], ..Window::whole([3, 3]) };
    let pool = Op::Pool { kind: PoolKind::Max, window };
    for channels in [3, 20] {
        for activation in ACTIVATIONS {
            let shape = [1, channels, 6, 7];
            let mut graph = graph(shape);
            let mut offsets = noise(1, shape.iter().product());
            // Among others, so that it is neither the first nor the last that a window sees.
            offsets[3 * 7 + 3] = f32::NAN;
            let offsets = graph.constant(shape, offsets);
            let add = Op::Binary { op: Binary::Add, activation: Activation::Identity };
            let x = graph.node(add, [graph.input, offsets], shape);
            let x = conv(&mut graph, x, channels, Window::whole([1, 1]), 1, activation).unwrap();
            let alone = graph.node(Op::Activation(activation), [x], shape);
            graph.outputs = vec![graph.node(pool.clone(), [alone], shape)];
            check(&graph).unwrap();
            let images = noise(11, shape.iter().product());
            let count = graph.evaluate(&images)[0].iter().filter(|x| x.is_nan()).count();
            assert_eq!(count, 9 * channels, "{activation:?}");
        }
    }
}

proptest! {
    // Fewer where `PROPTEST_CASES` says so, as under valgrind.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.min(48)))]

    #[test]
    fn convolutions(
        batch in 1..4_usize, depth in 1..40_usize, channels in 1..80_usize,
        size in [1..20_usize, 1..34], window in windows(), activation in activations(),
        after_another: bool,
    ) {
        let mut graph = graph([batch, depth, size[0], size[1]]);
        let mut x = graph.input;
        if after_another {
            x = graph.node(relu(), [x], [batch, depth, size[0], size[1]]);
        }
        if let Some(x) = conv(&mut graph, x, channels, window, 1, activation) {
            graph.outputs = vec![x];
            check(&graph)?;
        }
    }

    #[test]
    fn pointwise_convolutions_with_residuals(
        batch in 1..3_usize, depth in 1..300_usize, channels in 1..100_usize,
        size in [1..9_usize, 1..30], activation in activations(),
    ) {
        let mut graph = graph([batch, depth, size[0], size[1]]);
        let window = Window::whole([1, 1]);
        let identity = Activation::Identity;
        let a = conv(&mut graph, 0, channels, window, 1, identity).unwrap();
        let b = conv(&mut graph, a, channels, window, 1, identity).unwrap();
        let add = Op::Binary { op: Binary::Add, activation };
        let x = graph.node(add, [a, b], [batch, channels, size[0], size[1]]);
        graph.outputs = vec![x];
        check(&graph)?;
    }

    #[test]
    fn winograd_convolutions(
        batch in 1..3_usize, depth in 16..70_usize, channels in 16..70_usize,
        size in [5..20_usize, 5..40], before in [0..3_usize, 0..3], after in [0..3_usize, 0..3],
        activation in activations(), residual: bool,
    ) {
        let mut graph = graph([batch, depth, size[0], size[1]]);
        let window = Window { before, after, ..Window::whole([3, 3]) };
        let identity = Activation::Identity;
        let mut x = conv(&mut graph, 0, channels, window, 1, identity).unwrap();
        let shape = graph.shape(x).to_vec();
        if residual {
            let other = conv(&mut graph, 0, channels, window, 1, activation).unwrap();
            x = graph.node(Op::Binary { op: Binary::Add, activation }, [x, other], shape);
        } else {
            x = graph.node(Op::Activation(activation), [x], shape);
        }
        graph.outputs = vec![x];
        check(&graph)?;
    }

    #[test]
    fn grouped_convolutions(
        batch in 1..3_usize, groups in 1..9_usize, inputs in 1..9_usize, outputs in 1..9_usize,
        size in [1..12_usize, 1..20], window in windows(),
    ) {
        let mut graph = graph([batch, groups * inputs, size[0], size[1]]);
        let relu = Activation::RELU;
        if let Some(x) = conv(&mut graph, 0, groups * outputs, window, groups, relu) {
            graph.outputs = vec![x];
            check(&graph)?;
        }
    }

    #[test]
    fn depthwise_convolutions(
        batch in 1..3_usize, channels in 2..40_usize, size in [1..20_usize, 1..34],
        window in windows(), activation in activations(),
    ) {
        let mut graph = graph([batch, channels, size[0], size[1]]);
        if let Some(x) = conv(&mut graph, 0, channels, window, channels, activation) {
            graph.outputs = vec![x];
            check(&graph)?;
        }
    }

    #[test]
    fn poolings(
        batch in 1..3_usize, channels in 1..40_usize, size in [1..20_usize, 1..20],
        mut window in windows(),
        kind in prop::sample::select(
            vec![PoolKind::Max, PoolKind::Average, PoolKind::PaddedAverage]
        ),
    ) {
        // More padding than half of a window leaves windows with nothing in them.
        for axis in 0..2 {
            window.before[axis] = window.before[axis].min(window.kernel[axis] / 2);
            window.after[axis] = window.before[axis];
        }
        if let Some([height, width]) = out_size(&window, size) {
            let mut graph = graph([batch, channels, size[0], size[1]]);
            let shape = [batch, channels, height, width];
            let x = graph.node(Op::Pool { kind, window }, [graph.input], shape);
            graph.outputs = vec![x];
            check(&graph)?;
        }
    }

    #[test]
    fn elementwise_operations(
        batch in 1..3_usize, channels in 1..40_usize, size in [1..9_usize, 1..9],
        op in prop::sample::select(vec![Binary::Add, Binary::Sub, Binary::Mul]),
        activation in activations(), flip: bool, gate in 0..4,
    ) {
        let shape = [batch, channels, size[0], size[1]];
        let mut graph = graph(shape);
        let x = graph.node(relu(), [graph.input], shape);
        let other = match gate {
            0 => graph.node(
                Op::Pool { kind: PoolKind::Average, window: Window::whole(size) },
                [x],
                [batch, channels, 1, 1],
            ),
            1 => graph.constant([1, 1, size[0], size[1]], noise(2, size[0] * size[1])),
            2 => graph.constant([1, channels, 1, 1], noise(2, channels)),
            _ => graph.node(Op::Activation(Activation::Tanh), [graph.input], shape),
        };
        let mut inputs = [x, other];
        if flip {
            inputs.reverse();
        }
        let x = graph.node(Op::Binary { op, activation }, inputs, shape);
        graph.outputs = vec![x];
        check(&graph)?;
    }

    #[test]
    fn batches(batch in 1..12_usize, channels in 1..40_usize, size in [4..12_usize, 4..12]) {
        // Images that are larger than weights, then the other way round, and a gate between.
        let mut graph = graph([batch, 3, size[0], size[1]]);
        let window = Window { before: [1, 1], after: [1, 1], ..Window::whole([3, 3]) };
        let relu = Activation::RELU;
        let x = conv(&mut graph, 0, channels, window, 1, relu).unwrap();
        let shape = graph.shape(x).to_vec();
        let pool = Op::Pool { kind: PoolKind::Average, window: Window::whole(size) };
        let pooled = graph.node(pool.clone(), [x], [batch, channels, 1, 1]);
        let pointwise = Window::whole([1, 1]);
        let gate = conv(&mut graph, pooled, channels, pointwise, 1, Activation::Sigmoid).unwrap();
        let mul = Op::Binary { op: Binary::Mul, activation: Activation::Identity };
        let x = graph.node(mul, [x, gate], shape);
        let y = conv(&mut graph, x, 48, window, 1, relu).unwrap();
        let pooled = graph.node(pool, [y], [batch, 48, 1, 1]);
        let flat = graph.node(Op::Reshape, [pooled], [batch, 48]);
        let weights = graph.constant([48, 50], noise(1, 2400));
        let logits = graph.node(Op::Linear, [flat, weights], [batch, 50]);
        graph.outputs = vec![x, logits];
        check(&graph)?;
    }

    #[test]
    fn images_that_depend_on_one_another(
        batch in 2..6_usize, channels in 1..40_usize, size in [1..9_usize, 1..9],
    ) {
        let [height, width] = size;
        let mut graph = graph([batch, channels, height, width]);
        let window = Window { before: [1, 1], after: [1, 1], ..Window::whole([3, 3]) };
        let x = conv(&mut graph, 0, 20, window, 1, Activation::RELU).unwrap();
        let swapped = Op::Transpose { axes: vec![1, 0, 2, 3] };
        let x = graph.node(swapped, [x], [20, batch, height, width]);
        let x = conv(&mut graph, x, 10, window, 1, Activation::RELU).unwrap();
        graph.outputs = vec![x];
        check(&graph)?;
    }

    #[test]
    fn concatenations(
        batch in 1..3_usize, parts in prop::collection::vec(1..4_usize, 1..5), odd: bool,
        size in [2..9_usize, 2..9],
    ) {
        // As in a dense block: what was concatenated is convolved and concatenated again.
        let unit = if odd { 9 } else { 16 };
        let mut graph = graph([batch, unit, size[0], size[1]]);
        let window = Window { before: [1, 1], after: [1, 1], ..Window::whole([3, 3]) };
        let mut parts_so_far = vec![graph.input];
        let mut channels = unit;
        let mut x = graph.input;
        for part in parts {
            let new = conv(&mut graph, x, part * unit, window, 1, Activation::RELU).unwrap();
            parts_so_far.push(new);
            channels += part * unit;
            let shape = [batch, channels, size[0], size[1]];
            x = graph.node(Op::Concat { axis: 1 }, parts_so_far.clone(), shape);
        }
        graph.outputs = vec![x];
        check(&graph)?;
    }

    #[test]
    fn gatherings(
        batch in 1..3_usize, size in [1..5_usize, 1..9],
        picks in prop::collection::vec(prop::option::weighted(0.9, (0..2_usize, 0..20_usize)), 1..50),
    ) {
        let shape = [batch, 20, size[0], size[1]];
        let mut graph = graph(shape);
        let other = graph.node(relu(), [graph.input], shape);
        let source = |pick| match pick {
            Some((input, channel)) => Source::Channel { input, channel },
            None => Source::Zero,
        };
        let sources: Vec<_> = picks.into_iter().map(source).collect();
        let shape = [batch, sources.len(), size[0], size[1]];
        let x = graph.node(Op::Gather { sources }, [graph.input, other], shape);
        graph.outputs = vec![x];
        check(&graph)?;
    }

    #[test]
    fn shifts(
        batch in 1..3_usize, channels in 1..20_usize, size in [1..9_usize, 1..9],
        start in [-2..3_isize, -2..3], step in [1..3_isize, 1..3], out in [1..9_usize, 1..9],
    ) {
        let mut graph = graph([batch, channels, size[0], size[1]]);
        let op = Op::Slice {
            start: vec![0, 0, start[0], start[1]],
            step: vec![1, 1, step[0], step[1]],
            fill: -1.0,
        };
        let x = graph.node(op, [graph.input], [batch, channels, out[0], out[1]]);
        graph.outputs = vec![x];
        check(&graph)?;
    }

    #[test]
    fn fully_connected_layers(
        batch in 1..10_usize, channels in 1..40_usize, size in [1..4_usize, 1..4],
        hidden in 1..100_usize, classes in 1..50_usize,
    ) {
        let mut graph = graph([batch, channels, size[0], size[1]]);
        let length = channels * size[0] * size[1];
        let x = graph.node(Op::Reshape, [graph.input], [batch, length]);
        let weights = graph.constant([length, hidden], noise(1, length * hidden));
        let bias = graph.constant([hidden], noise(2, hidden));
        let x = graph.node(Op::Linear, [x, weights, bias], [batch, hidden]);
        let x = graph.node(Op::Activation(Activation::Sigmoid), [x], [batch, hidden]);
        let weights = graph.constant([hidden, classes], noise(3, hidden * classes));
        let x = graph.node(Op::Linear, [x, weights], [batch, classes]);
        graph.outputs = vec![x];
        check(&graph)?;
    }

    #[test]
    fn enlargements(
        batch in 1..3_usize, depth in 1..20_usize, channels in 1..20_usize,
        size in [1..6_usize, 1..6], stride in [1..4_usize, 1..4], align_corners: bool,
    ) {
        let mut graph = graph([batch, depth, size[0], size[1]]);
        let weights = [depth, channels, stride[0], stride[1]];
        let weights = graph.constant(weights, noise(4, weights.iter().product()));
        let bias = graph.constant([channels], noise(5, channels));
        let op = Op::ConvTranspose { stride, padding: [0; 2], dilation: [1; 2], groups: 1 };
        let [height, width] = [size[0] * stride[0], size[1] * stride[1]];
        let shape = [batch, channels, height, width];
        let x = graph.node(op, [graph.input, weights, bias], shape);
        let shape = [batch, channels, 2 * height, 3 * width];
        let y = graph.node(Op::Resize { align_corners }, [x], shape);
        graph.outputs = vec![y];
        check(&graph)?;
    }
}

#[test]
fn zeros_beside_a_part_are_not_written_over_its_neighbours() {
    let shape = [1, 16, 3, 3];
    let mut graph = graph(shape);
    let [x, y] = [0, 1].map(|_| graph.node(relu(), [graph.input], shape));
    let of = |input: usize| (0..16).map(move |channel| Source::Channel { input, channel });
    let padded = of(0).chain([Source::Zero; 16]).collect();
    let padded = graph.node(Op::Gather { sources: padded }, [x], [1, 32, 3, 3]);
    for inputs in [[x, y], [y, x]] {
        let mut graph = graph.clone();
        let both = of(0).chain(of(1)).collect();
        let both = graph.node(Op::Gather { sources: both }, inputs, [1, 32, 3, 3]);
        graph.outputs = vec![padded, both];
        check(&graph).unwrap();
    }
}

#[test]
fn images_made_of_several_are_not_taken_for_one_each() {
    let mut graph = graph([4, 6, 1, 1]);
    let pairs = graph.node(Op::Reshape, [graph.input], [2, 12]);
    let weights = graph.constant([12, 5], noise(2, 60));
    let x = graph.node(Op::Linear, [pairs, weights], [2, 5]);
    graph.outputs = vec![x];
    check(&graph).unwrap();
}

#[test]
fn an_input_of_another_length_is_an_error() {
    let mut graph = graph([1, 2, 3, 3]);
    let x = graph.node(relu(), [graph.input], [1, 2, 3, 3]);
    graph.outputs = vec![x];
    let mut plan = Plan::of_graph(graph, Isa::best(), 1).unwrap();
    assert!(plan.run(&[0.0; 17]).is_err());
}

#[test]
fn little_memory_is_needed() {
    // Blocks with residuals: two of the large images are needed at a time, and room to compute in.
    let shape = [1, 64, 112, 112];
    let window = Window { before: [1, 1], after: [1, 1], ..Window::whole([3, 3]) };
    let mut graph = graph([1, 3, 112, 112]);
    let mut x = conv(&mut graph, 0, 64, window, 1, Activation::RELU).unwrap();
    for _ in 0..6 {
        let y = conv(&mut graph, x, 16, window, 1, Activation::RELU).unwrap();
        let y = conv(&mut graph, y, 64, window, 1, Activation::Identity).unwrap();
        let add = Op::Binary { op: Binary::Add, activation: Activation::RELU };
        x = graph.node(add, [x, y], shape);
    }
    let pool = Op::Pool { kind: PoolKind::Average, window: Window::whole([112, 112]) };
    let pooled = graph.node(pool, [x], [1, 64, 1, 1]);
    graph.outputs = vec![pooled];
    let plan = Plan::of_graph(graph, Isa::best(), 1).unwrap();
    let two_largest = 2 * shape.iter().product::<usize>() * size_of::<f32>();
    assert!(plan.activation_bytes() <= two_largest * 3 / 2, "{}", plan.activation_bytes());
}
