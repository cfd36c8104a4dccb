//! The search space of the paper, with the genetic operators on its genomes.

use std::ops::RangeInclusive;

use rand::{Rng, RngExt};
use zoo_core::{Inheritance, SearchSpace};

use crate::{Unit, name, variant};

/// The networks that a search draws from, and their genetic operators.
///
/// | | paper | here |
/// |---|---|---|
/// | units of a first genome | not stated | 3 to 9 |
/// | channels of a ResNet unit | 64, 128, 256 | 16, 32, 64, 128, 256 |
/// | blocks of a ResNet unit | 3 to 10 | 1 to 10 |
/// | growth rates of a DenseNet unit | 12, 20, 40 | 12, 20, 40 |
/// | layers of a DenseNet unit | to 10, to 10, to 5 | 1 to 10, 1 to 10, 1 to 5 |
/// | pooling units | as many as the image allows | at most 4 |
///
/// The smaller units make networks that train on a CPU.
#[derive(Debug, Clone, Copy)]
pub struct Blocks;

const FIRST_UNITS: RangeInclusive<usize> = 3..=9;
const CHANNELS: [usize; 5] = [16, 32, 64, 128, 256];
const BLOCKS: RangeInclusive<usize> = 1..=10;
const GROWTH_RATES: [(usize, RangeInclusive<usize>); 3] = [(12, 1..=10), (20, 1..=10), (40, 1..=5)];
/// 32 pixels become 2.
const MAX_POOLINGS: usize = 4;
/// Units of the longest genome that an operator makes.
const MAX_UNITS: usize = 16;

impl SearchSpace for Blocks {
    fn random(&self, rng: &mut dyn Rng) -> String {
        let count = rng.random_range(FIRST_UNITS);
        let mut units = vec![layers(rng)];
        while units.len() < count {
            let unit = unit(&units, rng);
            units.push(unit);
        }
        name(&units)
    }

    /// Adds, removes or alters a unit; each with a third of the probability.
    fn mutate(&self, genome: &str, rng: &mut dyn Rng) -> String {
        let mut units = units(genome);
        match rng.random_range(0..3) {
            0 if units.len() < MAX_UNITS => {
                let unit = unit(&units, rng);
                // The first unit takes the image, so it is not a pooling.
                let first = usize::from(unit.is_pooling());
                units.insert(rng.random_range(first..=units.len()), unit);
            }
            // As in the authors' code, the first unit is not removed.
            1 if units.len() > 1 => {
                units.remove(rng.random_range(1..units.len()));
            }
            _ => {
                let index = rng.random_range(0..units.len());
                units[index] = altered(units[index], rng);
            }
        }
        name(&units)
    }

    /// One-point crossover: each genome is cut at a random point, and the tails are exchanged.
    fn crossover(&self, genomes: [&str; 2], rng: &mut dyn Rng) -> [String; 2] {
        let [a, b] = genomes.map(units);
        // Cuts that make an invalid genome are drawn again. The cut in front of both is always valid.
        loop {
            let cuts = [rng.random_range(0..=a.len()), rng.random_range(0..=b.len())];
            let children =
                [[&a[..cuts[0]], &b[cuts[1]..]].concat(), [&b[..cuts[1]], &a[cuts[0]..]].concat()];
            if children.iter().all(|child| is_valid(child)) {
                return children.map(|child| name(&child));
            }
        }
    }

    /// The first units that both networks have correspond, and the last ones. A unit between them corresponds
    /// if only its depth differs.
    fn inheritance(&self, child: &str, parent: &str) -> Inheritance {
        let [child, parent] = [child, parent].map(units);
        let same = |(a, b): &(&Unit, &Unit)| a == b;
        let head = child.iter().zip(&parent).take_while(same).count();
        let tail = child[head..].iter().rev().zip(parent[head..].iter().rev());
        let tail = tail.take_while(same).count();
        let path = |index: usize| format!("units.{index}");
        let mut modules: Vec<_> = (0..head).map(|index| [path(index), path(index)]).collect();
        modules
            .extend((1..=tail).map(|back| [path(child.len() - back), path(parent.len() - back)]));
        if channels_after(&child) == channels_after(&parent) {
            modules.push(["classifier".to_owned(), "classifier".to_owned()]);
        }
        let mut zeros = Vec::new();
        let mut channels = channels_after(&child[..head]);
        for index in head..child.len() - tail {
            let mut known = 0;
            if let (
                Unit::ResNet { channels: a, blocks },
                Some(Unit::ResNet { channels: b, blocks: old }),
            ) = (child[index], parent.get(index))
                && child.len() == parent.len()
                && a == *b
            {
                modules.push([path(index), path(index)]);
                known = blocks.min(*old);
            }
            if let Unit::ResNet { channels: out, blocks } = child[index] {
                // The first block of a new unit has a projection if the channels differ.
                let first = usize::from(out != channels).max(known);
                let block = |block| format!("units.{index}.ResNet.{block}.convs.2.norm.gamma");
                zeros.extend((first..blocks).map(block));
            }
            channels = child[index].out_channels(channels);
        }
        Inheritance { modules, zeros }
    }
}

const IMAGE_CHANNELS: usize = 3;

fn channels_after(units: &[Unit]) -> usize {
    units.iter().fold(IMAGE_CHANNELS, |channels, unit| unit.out_channels(channels))
}

fn units(genome: &str) -> Vec<Unit> {
    variant(genome).expect("the search makes valid names").config.units.into_owned()
}

fn is_valid(units: &[Unit]) -> bool {
    let poolings = units.iter().filter(|unit| unit.is_pooling()).count();
    units.first().is_some_and(|unit| !unit.is_pooling())
        && poolings <= MAX_POOLINGS
        && units.len() <= MAX_UNITS
}

/// Draws a unit of any kind; a pooling only if there can be one more.
fn unit(units: &[Unit], rng: &mut dyn Rng) -> Unit {
    let poolings = units.iter().filter(|unit| unit.is_pooling()).count();
    match rng.random_range(0..3) {
        0 if poolings < MAX_POOLINGS => pooling(rng),
        _ => layers(rng),
    }
}

/// Draws a ResNet unit or a DenseNet unit.
fn layers(rng: &mut dyn Rng) -> Unit {
    if rng.random_bool(0.5) {
        let channels = CHANNELS[rng.random_range(0..CHANNELS.len())];
        Unit::ResNet { channels, blocks: rng.random_range(BLOCKS) }
    } else {
        let (growth_rate, layers) = &GROWTH_RATES[rng.random_range(0..GROWTH_RATES.len())];
        Unit::DenseNet { growth_rate: *growth_rate, layers: rng.random_range(layers.clone()) }
    }
}

fn pooling(rng: &mut dyn Rng) -> Unit {
    if rng.random_bool(0.5) { Unit::MaxPool } else { Unit::AvgPool }
}

/// Draws new parameters for a unit of the same kind.
fn altered(unit: Unit, rng: &mut dyn Rng) -> Unit {
    loop {
        let other = match unit {
            Unit::MaxPool => return Unit::AvgPool,
            Unit::AvgPool => return Unit::MaxPool,
            Unit::ResNet { .. } | Unit::DenseNet { .. } => layers(rng),
        };
        let is_same_kind = std::mem::discriminant(&other) == std::mem::discriminant(&unit);
        if is_same_kind && other != unit {
            return other;
        }
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
        fn operators_make_valid_genomes(seed: u64) {
            let rng = &mut StdRng::seed_from_u64(seed);
            let mut genomes = [Blocks.random(rng), Blocks.random(rng)];
            for _ in 0..20 {
                genomes = Blocks.crossover([&genomes[0], &genomes[1]], rng);
                genomes = genomes.map(|genome| Blocks.mutate(&genome, rng));
                for genome in &genomes {
                    prop_assert!(is_valid(&units(genome)), "{genome}");
                }
            }
        }

        #[test]
        fn crossover_keeps_all_units(seed: u64) {
            let rng = &mut StdRng::seed_from_u64(seed);
            let parents = [Blocks.random(rng), Blocks.random(rng)];
            let children = Blocks.crossover([&parents[0], &parents[1]], rng);
            let sorted = |genomes: &[String; 2]| {
                let mut codes: Vec<_> = genomes.iter().flat_map(|genome| units(genome)).map(|unit| unit.to_string()).collect();
                codes.sort();
                codes
            };
            prop_assert_eq!(sorted(&parents), sorted(&children));
            // A head of one parent is followed by a tail of the other.
            let [a, b] = [units(&parents[0]), units(&parents[1])];
            let child = units(&children[0]);
            let is_head_and_tail = |cut: usize| a.starts_with(&child[..cut]) && b.ends_with(&child[cut..]);
            prop_assert!((0..=child.len()).any(is_head_and_tail));
        }

        #[test]
        fn a_mutation_changes_one_unit(seed: u64) {
            let rng = &mut StdRng::seed_from_u64(seed);
            let before = units(&Blocks.random(rng));
            let after = units(&Blocks.mutate(&name(&before), rng));
            let head = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
            let tail = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
            let changed = before.len().max(after.len()) - head.min(after.len()) ;
            prop_assert!(before != after);
            prop_assert!(before.len().abs_diff(after.len()) <= 1);
            prop_assert!(changed <= 1 + tail, "{before:?} {after:?}");
        }
    }

    #[test]
    fn an_inserted_unit_starts_as_the_identity() {
        let inheritance = Blocks.inheritance("ae_cnn_r16x2_r16x2_m_d12x3", "ae_cnn_r16x2_m_d12x3");
        let pair = |child: &str, parent: &str| [child.to_owned(), parent.to_owned()];
        let modules = [
            pair("units.0", "units.0"),
            pair("units.3", "units.2"),
            pair("units.2", "units.1"),
            pair("classifier", "classifier"),
        ];
        assert_eq!(inheritance.modules, modules);
        let gamma = |block: usize| format!("units.1.ResNet.{block}.convs.2.norm.gamma");
        assert_eq!(inheritance.zeros, [gamma(0), gamma(1)]);

        let deeper = Blocks.inheritance("ae_cnn_r16x3_m", "ae_cnn_r16x2_m");
        assert_eq!(deeper.zeros, ["units.0.ResNet.2.convs.2.norm.gamma"]);
        let wider = Blocks.inheritance("ae_cnn_r16x2_r32x2", "ae_cnn_r16x2");
        assert_eq!(wider.zeros, ["units.1.ResNet.1.convs.2.norm.gamma"]);
    }
}
