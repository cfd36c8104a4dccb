use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use zoo_core::SearchSpace;

use super::Candidate;
use super::judge::{Judge, Request, Stop};

/// The first population is filled up this often, since networks may miss the limits.
const ROUNDS: usize = 50;

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
    /// Children in all.
    pub(super) cycles: usize,
    /// Children of a cycle, which are trained at the same time: 1 on one device.
    pub(super) children: usize,
    /// Mutants that are measured for each child.
    pub(super) draws: usize,
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
        let mut alive: VecDeque<(String, f64)> = VecDeque::new();
        for _ in 0..ROUNDS {
            let missing = self.population - alive.len();
            if missing == 0 {
                break;
            }
            let drawn = (0..self.draws * missing).map(|_| {
                let network = space.random(&mut rng);
                Request::new("search", Candidate { network, image_size })
            });
            let drawn = judge.screen(drawn.collect(), missing)?;
            alive.extend(self.assess(judge, drawn, epochs)?);
        }
        if alive.is_empty() {
            return Err(Stop::NothingFits);
        }
        for cycle in 1..=self.cycles.div_ceil(self.children) {
            let mut children = Vec::with_capacity(self.children);
            for _ in 0..self.children {
                let mutants = (0..self.draws).map(|_| {
                    let parent = fittest(&alive, self.sample, &mut rng);
                    let network = space.mutate(&parent, &mut rng);
                    let request = Request::new("search", Candidate { network, image_size });
                    Request { generation: cycle, parents: vec![parent], ..request }
                });
                children.extend(judge.screen(mutants.collect(), 1)?);
            }
            // A child beyond the limits is not born, and nothing dies for it.
            let born = self.assess(judge, children, epochs)?;
            alive.drain(..born.len().min(alive.len()));
            alive.extend(born);
        }
        Ok(())
    }

    /// Trains candidates. Returns those that don't fail with their rewards.
    fn assess(
        &self,
        judge: &mut Judge<'_>,
        requests: Vec<Request>,
        epochs: usize,
    ) -> Result<Vec<(String, f64)>, Stop> {
        let accuracies = judge.assess(&requests, epochs)?.into_iter();
        let rewards = accuracies.zip(requests).filter_map(|(accuracy, request)| {
            let latency = judge.latency(&request.candidate);
            Some((request.candidate.network, reward(accuracy?, latency, self.target)))
        });
        Ok(rewards.collect())
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
