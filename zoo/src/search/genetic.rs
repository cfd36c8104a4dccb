use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use zoo_core::SearchSpace;

use super::Candidate;
use super::judge::{Judge, Request, Stop};

/// The first generation is filled up this often, since networks may miss the limits.
const ROUNDS: usize = 50;

/// The rates of the genetic search; the defaults are those of AE-CNN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Genetic {
    /// Networks in a generation.
    pub(super) population: usize,
    /// Generations after the first one.
    pub(super) generations: usize,
    /// Probability that two parents exchange their parts.
    pub(super) crossover: f64,
    /// Probability that a child is mutated.
    pub(super) mutation: f64,
    /// Networks that are drawn and measured for each one that is trained.
    pub(super) draws: usize,
}

/// A network with its fitness: its accuracy, or 0 if it can't be trained.
#[derive(Debug, Clone, PartialEq)]
struct Individual {
    network: String,
    fitness: f64,
}

impl Genetic {
    /// Searches until the last generation, or until the judge stops.
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
        let mut population: Vec<Individual> = Vec::with_capacity(self.population);
        for _ in 0..ROUNDS {
            let missing = self.population - population.len();
            if missing == 0 {
                break;
            }
            let drawn = (0..self.draws * missing).map(|_| {
                let network = space.random(&mut rng);
                Request::new("search", Candidate { network, image_size })
            });
            let mut drawn: Vec<_> = drawn.collect();
            let mut networks: Vec<String> =
                population.iter().map(|individual| individual.network.clone()).collect();
            drawn.retain(|request| {
                let network = &request.candidate.network;
                let is_new = !networks.contains(network);
                networks.push(network.clone());
                is_new
            });
            let drawn = judge.screen(drawn, missing)?;
            let individuals = assess(judge, drawn, epochs)?;
            population.extend(individuals.into_iter().filter(|one| one.fitness > 0.0));
        }
        if population.len() < 2 {
            return Err(Stop::NothingFits);
        }
        for generation in 1..=self.generations {
            let mut children = Vec::with_capacity(self.draws * self.population);
            while children.len() < self.draws * self.population {
                let parents = two_parents(&population, &mut rng);
                let parents = parents.map(|parent| population[parent].network.clone());
                let mut pair = parents.clone();
                if rng.random_bool(self.crossover) {
                    pair = space.crossover(parents.each_ref().map(String::as_str), &mut rng);
                }
                for mut network in pair {
                    if rng.random_bool(self.mutation) {
                        network = space.mutate(&network, &mut rng);
                    }
                    let candidate = Candidate { network, image_size };
                    let request = Request::new("search", candidate);
                    children.push(Request { generation, parents: parents.to_vec(), ..request });
                }
            }
            let children = judge.screen(children, self.population)?;
            population.extend(assess(judge, children, epochs)?);
            population = survivors(population, self.population, &mut rng);
        }
        Ok(())
    }
}

/// Trains candidates. One that fails has no fitness.
fn assess(
    judge: &mut Judge<'_>,
    requests: Vec<Request>,
    epochs: usize,
) -> Result<Vec<Individual>, Stop> {
    let accuracies = judge.assess(&requests, epochs)?.into_iter();
    let individuals = accuracies.zip(requests).map(|(accuracy, request)| Individual {
        network: request.candidate.network,
        fitness: accuracy.unwrap_or_default(),
    });
    Ok(individuals.collect())
}

/// Draws two, and returns the index of the fitter one: binary tournament selection.
fn tournament(population: &[Individual], rng: &mut StdRng) -> usize {
    let [a, b] = [(); 2].map(|()| rng.random_range(0..population.len()));
    if population[b].fitness > population[a].fitness { b } else { a }
}

/// Selects two different parents.
fn two_parents(population: &[Individual], rng: &mut StdRng) -> [usize; 2] {
    let first = tournament(population, rng);
    loop {
        let second = tournament(population, rng);
        if second != first {
            return [first, second];
        }
    }
}

/// Environmental selection: binary tournaments choose the survivors. The best of all replaces the worst survivor, if no
/// tournament has chosen it.
fn survivors(all: Vec<Individual>, count: usize, rng: &mut StdRng) -> Vec<Individual> {
    let by_fitness = |a: &&Individual, b: &&Individual| a.fitness.total_cmp(&b.fitness);
    let mut chosen: Vec<_> = (0..count).map(|_| all[tournament(&all, rng)].clone()).collect();
    let best = all.iter().max_by(by_fitness).expect("there are individuals");
    if !chosen.contains(best) {
        let worst = (0..count).min_by(|a, b| chosen[*a].fitness.total_cmp(&chosen[*b].fitness));
        chosen[worst.expect("there are survivors")] = best.clone();
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn individuals(fitness: &[f64]) -> Vec<Individual> {
        let individual =
            |(index, &fitness): (usize, &f64)| Individual { network: index.to_string(), fitness };
        fitness.iter().enumerate().map(individual).collect()
    }

    proptest! {
        #[test]
        fn the_best_individual_survives(
            fitness in prop::collection::vec(0.0..1.0_f64, 2..40), count in 1..20_usize, seed: u64,
        ) {
            let all = individuals(&fitness);
            let best = fitness.iter().copied().fold(0.0, f64::max);
            let survivors = survivors(all.clone(), count, &mut StdRng::seed_from_u64(seed));
            prop_assert_eq!(survivors.len(), count);
            prop_assert!(survivors.iter().all(|survivor| all.contains(survivor)));
            prop_assert!(survivors.iter().any(|survivor| survivor.fitness == best));
        }

        #[test]
        fn parents_are_two_individuals(
            fitness in prop::collection::vec(0.0..1.0_f64, 2..20), seed: u64,
        ) {
            let [a, b] = two_parents(&individuals(&fitness), &mut StdRng::seed_from_u64(seed));
            prop_assert!(a != b);
        }
    }

    #[test]
    fn tournaments_prefer_the_fitter_one() {
        let population = individuals(&[0.1, 0.9]);
        let mut rng = StdRng::seed_from_u64(0);
        let wins = (0..10_000).filter(|_| tournament(&population, &mut rng) == 1).count();
        // The worse one wins only if it is drawn twice.
        assert!((7_300..7_700).contains(&wins), "{wins}");
    }
}
