//! The factorized hierarchical search space (§4.1).

use rand::{Rng, RngExt};
use zoo_core::{Inheritance, SearchSpace};

use crate::{Op, Stage, variant};

/// MnasNet's search space. Each of seven stages chooses its operation (convolution, MBConv with expansion 3 or 6, SepConv), kernel
/// (3×3, 5×5), squeeze-and-excitation (none, a quarter), shortcut (none, identity), filters (0.75, 1 or 1.25 times those of
/// MobileNetV2) and layers (one fewer, as many, or one more than MobileNetV2). The paper's pooling as a shortcut is left out.
///
/// The paper's controller is trained by reinforcement learning. Here an evolution searches the same space.
#[derive(Debug, Clone, Copy)]
pub struct Mobile;

/// Channels and layers of MobileNetV2's stages.
const SKELETON: [(usize, usize); 7] =
    [(16, 1), (24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1)];
const OPS: [Op; 4] = [
    Op::Conv,
    Op::MbConv { expansion: 1 },
    Op::MbConv { expansion: 3 },
    Op::MbConv { expansion: 6 },
];

impl SearchSpace for Mobile {
    fn random(&self, rng: &mut dyn Rng) -> String {
        name(&std::array::from_fn(|index| stage(index, rng)))
    }

    /// Draws a random property of one stage again, until the stage changes.
    fn mutate(&self, genome: &str, rng: &mut dyn Rng) -> String {
        let mut stages = stages(genome);
        let index = rng.random_range(0..stages.len());
        let before = stages[index];
        while stages[index] == before {
            let drawn = stage(index, rng);
            let stage = &mut stages[index];
            match rng.random_range(0..6) {
                0 => stage.op = drawn.op,
                1 => stage.kernel_size = drawn.kernel_size,
                2 => stage.channels = drawn.channels,
                3 => stage.repeats = drawn.repeats,
                4 => stage.squeeze_excite = drawn.squeeze_excite,
                _ => stage.has_shortcut = drawn.has_shortcut,
            }
            stage.squeeze_excite &= stage.op != Op::Conv;
        }
        name(&stages)
    }

    /// One-point crossover of the stages.
    fn crossover(&self, genomes: [&str; 2], rng: &mut dyn Rng) -> [String; 2] {
        let [mut a, mut b] = genomes.map(stages);
        let cut = rng.random_range(0..=a.len());
        a[cut..].swap_with_slice(&mut b[cut..]);
        [name(&a), name(&b)]
    }

    /// Stages of the same kind correspond.
    fn inheritance(&self, child: &str, parent: &str) -> Inheritance {
        let [child, parent] = [child, parent].map(stages);
        let same = |index: &usize| {
            let [a, b] = [child[*index], parent[*index]];
            a == Stage { repeats: a.repeats, ..b }
        };
        let paths = (0..child.len())
            .filter(same)
            .flat_map(|index| [format!("stages.{index}"), format!("convs.{index}")]);
        let ends = ["stem", "head_conv", "classifier"].map(str::to_owned);
        let modules = ends.into_iter().chain(paths).map(|path| [path.clone(), path]).collect();
        Inheritance { modules, zeros: Vec::new() }
    }
}

fn name(stages: &[Stage; 7]) -> String {
    let codes = stages.map(|stage| stage.to_string());
    format!("mnasnet_{}", codes.join("_"))
}

fn stages(genome: &str) -> [Stage; 7] {
    variant(genome).expect("the search makes valid names").config.stages
}

/// Draws the properties of a stage.
fn stage(index: usize, rng: &mut dyn Rng) -> Stage {
    let (channels, repeats) = SKELETON[index];
    let op = OPS[rng.random_range(0..OPS.len())];
    let factor = [0.75, 1.0, 1.25][rng.random_range(0..3)];
    Stage {
        op,
        kernel_size: [3, 5][rng.random_range(0..2)],
        channels: (channels as f64 * factor) as usize,
        repeats: (repeats + rng.random_range(0..3) - 1).max(1),
        squeeze_excite: rng.random_bool(0.5) && op != Op::Conv,
        has_shortcut: rng.random_bool(0.5),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    proptest! {
        #[test]
        fn a_mutation_changes_one_stage(seed: u64) {
            let rng = &mut StdRng::seed_from_u64(seed);
            let before = Mobile.random(rng);
            let after = Mobile.mutate(&before, rng);
            let changed = stages(&before).iter().zip(&stages(&after)).filter(|(a, b)| a != b).count();
            prop_assert_eq!(changed, 1);
        }

        #[test]
        fn crossover_exchanges_the_last_stages(seed: u64) {
            let rng = &mut StdRng::seed_from_u64(seed);
            let parents = [Mobile.random(rng), Mobile.random(rng)];
            let children = Mobile.crossover([&parents[0], &parents[1]], rng);
            let [a, b] = parents.map(|name| stages(&name));
            let [c, d] = children.map(|name| stages(&name));
            let is_exchange = |cut: usize| {
                c[..cut] == a[..cut] && c[cut..] == b[cut..] && d[..cut] == b[..cut] && d[cut..] == a[cut..]
            };
            prop_assert!((0..=7).any(is_exchange));
        }
    }
}
