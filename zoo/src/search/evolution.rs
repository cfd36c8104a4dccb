use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use zoo_core::SearchSpace;

use super::Candidate;
use super::judge::{Judge, Request, Stop};

/// Draws that may miss the limits for each network of the first population.
const DRAWS: usize = 50;

/// Exponent of the reward for a latency beyond the target: MnasNet's soft constraint, §3.
const SOFT: f64 = -0.07;

/// Regularized evolution: the fittest of a sample is mutated, and the oldest network dies.
///
/// Real et al., 2018: [Regularized Evolution for Image Classifier Architecture Search](https://arxiv.org/abs/1802.01548), algorithm 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Evolution {
    /// Networks that are alive.
    pub(super) population: usize,
    /// Networks in a sample.
    pub(super) sample: usize,
    /// Children.
    pub(super) cycles: usize,
    /// Target latency in milliseconds.
    pub(super) target: Option<f64>,
}

/// MnasNet's reward: `accuracy · (latency / target)^w`, with `w` = -0.07 on both sides of the target (§3, soft constraint).
pub(super) fn reward(accuracy: f64, latency: Option<f64>, target: Option<f64>) -> f64 {
    match (latency, target) {
        (Some(latency), Some(target)) => accuracy * (latency / target).powf(SOFT),
        _ => accuracy,
    }
}

impl Evolution {
    /// Evolves until the last cycle, or until the judge stops.
    ///
    /// # Errors
    ///
    /// When the judge stops, or no network meets the limits.
    pub(super) fn run(
        &self,
        space: &dyn SearchSpace,
        image_size: usize,
        epochs: usize,
        seed: u64,
        judge: &mut Judge<'_>,
    ) -> Result<(), Stop> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut assess = |network: &str, generation, parents: &[&str]| {
            let candidate = Candidate { network: network.to_owned(), image_size };
            let request = Request { method: "search", generation, parents, candidate: &candidate };
            let Some(accuracy) = judge.assess(&request, epochs)? else { return Ok(None) };
            let latency = judge.latency(&candidate, epochs);
            Ok::<_, Stop>(Some(reward(accuracy, latency, self.target)))
        };
        let mut alive: VecDeque<(String, f64)> = VecDeque::new();
        for _ in 0..DRAWS * self.population {
            if alive.len() == self.population {
                break;
            }
            let network = space.random(&mut rng);
            if let Some(reward) = assess(&network, 0, &[])? {
                alive.push_back((network, reward));
            }
        }
        if alive.is_empty() {
            return Err(Stop::NothingFits);
        }
        for cycle in 1..=self.cycles {
            let parent = fittest(&alive, self.sample, &mut rng);
            let child = space.mutate(&parent, &mut rng);
            // A child beyond the limits is not born, and nothing dies for it.
            if let Some(reward) = assess(&child, cycle, &[&parent])? {
                alive.push_back((child, reward));
                alive.pop_front();
            }
        }
        Ok(())
    }
}

/// Returns the fittest of a random sample with replacement.
fn fittest(alive: &VecDeque<(String, f64)>, sample: usize, rng: &mut impl Rng) -> String {
    let all: Vec<_> = alive.iter().collect();
    let drawn = (0..sample.max(1)).map(|_| *all.choose(rng).expect("networks are alive"));
    drawn.max_by(|a, b| a.1.total_cmp(&b.1)).expect("a sample has a network").0.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reward_is_the_papers() {
        assert_eq!(reward(0.8, Some(10.0), Some(10.0)), 0.8);
        assert_eq!(reward(0.8, Some(10.0), None), 0.8);
        // The paper's rule for w: twice the latency is worth 5 % of accuracy.
        assert!((reward(0.8, Some(20.0), Some(10.0)) - 0.8 * 0.953).abs() < 1e-3);
        assert!(reward(0.8, Some(5.0), Some(10.0)) > 0.8);
    }

    #[test]
    fn a_large_sample_has_the_fittest() {
        let alive: VecDeque<_> = [("a", 0.1), ("b", 0.9), ("c", 0.5)]
            .map(|(name, reward)| (name.to_owned(), reward))
            .into();
        let rng = &mut StdRng::seed_from_u64(0);
        assert_eq!(fittest(&alive, 100, rng), "b");
        let names: std::collections::BTreeSet<_> =
            (0..100).map(|_| fittest(&alive, 1, rng)).collect();
        assert_eq!(names.len(), 3, "a sample of one is any network");
    }
}
