use rand::Rng;

/// A space of networks for an architecture search. The name of a network is its genome: each name is
/// a variant that the registry builds.
pub trait SearchSpace: Sync {
    /// Draws a network.
    fn random(&self, rng: &mut dyn Rng) -> String;

    /// Changes one property of a network.
    ///
    /// # Panics
    ///
    /// When the name is not in the space.
    fn mutate(&self, name: &str, rng: &mut dyn Rng) -> String;

    /// Exchanges parts of two networks.
    ///
    /// # Panics
    ///
    /// When a name is not in the space.
    fn crossover(&self, names: [&str; 2], rng: &mut dyn Rng) -> [String; 2];
}
