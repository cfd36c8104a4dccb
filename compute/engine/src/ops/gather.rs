use std::ops::Range;

use zoo_simd::LANES;

use super::{Inputs, Operator, View};
use crate::graph::Node;
use crate::memory::Arena;
use crate::plan::buffers::{Format, Images};
use crate::plan::draft::{Draft, Step, Work};
use crate::plan::lower::Lowering;
use crate::plan::rows::rows;
use crate::threads::Member;

/// Channels of several images in another order. A pass converts concatenations, splits and channel
/// shuffles to it.
#[derive(Debug, Clone)]
pub(crate) struct Gather {
    /// The source of each channel of the output.
    pub(crate) sources: Vec<Source>,
}

/// The source of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A channel of one of the node's inputs.
    Channel { input: usize, channel: usize },
    /// Zeros.
    Zero,
}

impl Operator for Gather {
    fn name(&self) -> &'static str {
        "gather channels"
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let inner = shape[2] * shape[3];
        let mut out = Vec::with_capacity(shape.iter().product());
        for image in 0..shape[0] {
            for source in &self.sources {
                match *source {
                    Source::Channel { input, channel } => {
                        let (from, values) = inputs[input];
                        let plane = (image * from[1] + channel) * inner;
                        out.extend_from_slice(&values[plane..plane + inner]);
                    }
                    Source::Zero => out.resize(out.len() + inner, 0.0),
                }
            }
        }
        out
    }

    fn inputs(&self) -> Inputs {
        Inputs::Operands
    }

    fn lower<'g>(&'g self, node: &'g Node, lowering: &mut Lowering<'g>) -> bool {
        let sources = self.sources.as_slice();
        let inputs = node.inputs.iter().map(|&input| lowering.read(input, Format::Blocked));
        let inputs = inputs.collect();
        let output = lowering.add(node.output, Format::Blocked);
        let weights = lowering.weights(node);
        let draft = Draft::new(inputs, output, move |at| {
            // Inputs that were computed directly in the output are not copied.
            let inputs = at.inputs();
            let is_in_place = |(index, images): (usize, &Images)| {
                whole_at(sources, index, images.shape[1])
                    .is_some_and(|start| at.is_in_place(index, start / LANES))
            };
            let in_place: Vec<bool> = inputs.iter().enumerate().map(is_in_place).collect();
            let blocks = Blocks::new(sources, &inputs, &in_place, at.output());
            (!blocks.blocks.is_empty()).then(|| Step::new(blocks, self.name()))
        });
        lowering.draft(Draft { weights, sources: Some(sources), ..draft });
        true
    }
}

/// Returns the first output channel of an input, if the output has all channels of the input in
/// order and they fill whole blocks.
pub(crate) fn whole_at(sources: &[Source], input: usize, channels: usize) -> Option<usize> {
    let is_of = |source: &Source| matches!(source, Source::Channel { input: i, .. } if *i == input);
    let start = sources.iter().position(is_of)?;
    let is_whole = sources.iter().filter(|source| is_of(source)).count() == channels
        && (0..channels).all(|channel| {
            sources.get(start + channel) == Some(&Source::Channel { input, channel })
        });
    let fills = channels.is_multiple_of(LANES) || start + channels == sources.len();
    (is_whole && fills && start % LANES == 0).then_some(start)
}

/// The work of a gather step.
#[derive(Debug)]
struct Blocks {
    output: Images,
    /// The blocks of the output that must be copied, with their origins.
    blocks: Vec<(usize, Origin)>,
}

/// The origin of a block.
#[derive(Debug)]
enum Origin {
    /// A block of an input.
    Block(Images, usize),
    /// For each channel its origin, or `None` for zeros.
    Each(Box<[Option<(Images, usize)>; LANES]>),
}

impl Blocks {
    /// Finds the blocks to copy. Inputs that are `in_place` are already in the output.
    fn new(sources: &[Source], inputs: &[Images], in_place: &[bool], output: Images) -> Self {
        let mut blocks = Vec::new();
        for (block, sources) in sources.chunks(LANES).enumerate() {
            let first = sources[0];
            let follows = |(lane, source): (usize, &Source)| match (first, *source) {
                (Source::Channel { input, channel }, Source::Channel { input: i, channel: c }) => {
                    channel % LANES == 0 && i == input && c == channel + lane
                }
                _ => false,
            };
            let origin = match first {
                Source::Channel { input, channel }
                    if sources.iter().enumerate().all(follows)
                        && (sources.len() == LANES
                            || channel + sources.len() == inputs[input].shape[1]) =>
                {
                    if in_place[input] {
                        continue;
                    }
                    Origin::Block(inputs[input], channel / LANES)
                }
                _ => Origin::Each(Box::new(std::array::from_fn(|lane| match sources.get(lane) {
                    Some(&Source::Channel { input, channel }) => Some((inputs[input], channel)),
                    _ => None,
                }))),
            };
            blocks.push((block, origin));
        }
        Self { output, blocks }
    }
}

impl Work for Blocks {
    fn cleared(&self) -> Option<Images> {
        Some(self.output)
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let [_, _, height, width] = self.output.shape;
        for (image, block, y) in rows(self.output.of(items), self.blocks.len(), height, member) {
            let (block, origin) = &self.blocks[block];
            let output = arena.at(self.output.at(image, *block, y));
            match origin {
                Origin::Block(from, block) => {
                    let input = arena.at(from.at(image, *block, y));
                    // SAFETY: both images have this row, and only this thread writes it.
                    unsafe { output.copy_from_nonoverlapping(input, width * LANES) }
                }
                Origin::Each(lanes) => {
                    for (lane, from) in lanes.iter().enumerate() {
                        let from = from.map(|(from, channel)| {
                            arena.at(from.at(image, channel / LANES, y) + channel % LANES)
                        });
                        for x in 0..width {
                            // SAFETY: both images have this row, and only this thread writes it.
                            unsafe {
                                let value = from.map_or(0.0, |from| *from.add(x * LANES));
                                *output.add(x * LANES + lane) = value;
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::passes::testing::graph;
    use crate::plan::testing::{check, relu};

    proptest! {
        #![proptest_config(crate::plan::testing::config())]

        #[test]
        fn gathers_match_their_definition(
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
            let x = graph.node(Gather { sources }, [graph.input, other], shape);
            graph.outputs = vec![x];
            check(&graph)?;
        }
    }

    #[test]
    fn zeros_after_a_part_do_not_overwrite_the_next_part() {
        let shape = [1, 16, 3, 3];
        let mut graph = graph(shape);
        let [x, y] = [0, 1].map(|_| graph.node(relu(), [graph.input], shape));
        let of = |input: usize| (0..16).map(move |channel| Source::Channel { input, channel });
        let padded = of(0).chain([Source::Zero; 16]).collect();
        let padded = graph.node(Gather { sources: padded }, [x], [1, 32, 3, 3]);
        for inputs in [[x, y], [y, x]] {
            let mut graph = graph.clone();
            let both = of(0).chain(of(1)).collect();
            let both = graph.node(Gather { sources: both }, inputs, [1, 32, 3, 3]);
            graph.outputs = vec![padded, both];
            check(&graph).unwrap();
        }
    }
}
